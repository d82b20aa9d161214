package syslog

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/attempt"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

// settings are a syslog sink's keys in a config.
type settings struct {
	Address    string            `json:"address"`
	Framing    string            `json:"framing"`
	Facility   string            `json:"facility"`
	Severity   string            `json:"severity"`
	Hostname   string            `json:"hostname"`
	AppName    string            `json:"app_name"`
	ProcID     string            `json:"proc_id"`
	MsgID      string            `json:"msg_id"`
	Columns    map[string]string `json:"columns"`
	SDID       string            `json:"sd_id"`
	BOM        string            `json:"bom"`
	MaxMessage setting.Size      `json:"max_message"`
	Confirm    string            `json:"confirm"`
	Timeout    setting.Duration  `json:"timeout"`
	TLS        secure.Settings   `json:"tls"`
}

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "syslog sink",
  "type": "object",
  "additionalProperties": false,
  "required": ["address"],
  "properties": {
    "address": {
      "type": "string", "minLength": 1,
      "description": "Host and port of the receiver: logs.example.com:6514. TCP; TLS if tls says so."
    },
    "framing": {
      "type": "string", "enum": ["octet-counting", "lf"], "default": "octet-counting",
      "description": "How messages are told apart: octet-counting writes each message's length before it (RFC 6587, RFC 5425); lf ends each with a line feed, and a record that holds one becomes a dead letter."
    },
    "facility": {
      "type": "string", "default": "user",
      "enum": ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
      "description": "The facility of every message."
    },
    "severity": {
      "type": "string", "default": "info", "enum": ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"],
      "description": "The severity of records without severity_number."
    },
    "hostname": {
      "type": "string", "default": "{source}",
      "description": "Template of HOSTNAME. {pipeline}, {source}, {stream}, {partition}, {log_name}, {date}, {hour}, {labels.NAME} are replaced."
    },
    "app_name": {"type": "string", "default": "{log_name}", "description": "Template of APP-NAME."},
    "proc_id": {"type": "string", "default": "", "description": "Template of PROCID; empty is -."},
    "msg_id": {"type": "string", "default": "{stream}", "description": "Template of MSGID."},
    "columns": {
      "type": "object", "additionalProperties": false,
      "properties": {
        "hostname": {"type": "string", "minLength": 1}, "app_name": {"type": "string", "minLength": 1},
        "proc_id": {"type": "string", "minLength": 1}, "msg_id": {"type": "string", "minLength": 1}
      },
      "description": "Columns, or attributes as attributes.NAME, that hostname, app_name, proc_id and msg_id are taken from; where a record has none, the template counts."
    },
    "sd_id": {
      "type": "string", "default": "sluice@32473", "pattern": "^[A-Za-z0-9._-]{1,16}@[0-9][0-9.]{0,13}$",
      "description": "The name of the structured data: a name, @ and a private enterprise number. 32473 is the one for examples; put your own."
    },
    "bom": {
      "type": "string", "enum": ["auto", "always", "never"], "default": "auto",
      "description": "Whether a byte order mark stands before UTF-8, as RFC 5424 wants: auto: before texts that aren't pure ASCII; never: for receivers that take it for text."
    },
    "max_message": {
      "type": ["string", "integer"], "default": "8KiB", "minimum": 480, "pattern": "` + setting.SizePattern + `",
      "description": "The largest message that the receiver takes; a record that makes a larger one becomes a dead letter."
    },
    "confirm": {
      "type": "string", "enum": ["close", "sent"], "default": "close",
      "description": "What counts as delivered: close: the receiver has closed its end after ours, so it has read everything; sent: its machine has acknowledged every byte."
    },
    "timeout": {
      "type": "string", "default": "30s", "pattern": "` + setting.DurationPattern + `",
      "description": "How long connecting, one write and the confirmation may take each."
    },
    "tls": ` + secure.Schema + `
  }
}`

func defaults() settings {
	return settings{
		Framing: "octet-counting", Facility: "user", Severity: "info", Hostname: "{source}", AppName: "{log_name}", MsgID: "{stream}",
		SDID: "sluice@32473", BOM: "auto", MaxMessage: 8 << 10, Confirm: "close", Timeout: setting.Duration(30 * time.Second),
	}
}

// facilities and severities are named as syslog.conf names them, in the order of their numbers.
var (
	facilities = []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	severities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
)

// minMessage is what RFC 5424 demands of every receiver.
const minMessage = 480

// headerKeys are the header's fields that templates and columns fill.
var headerKeys = [4]string{"hostname", "app_name", "proc_id", "msg_id"}

func (s *settings) templates() [4]string {
	return [4]string{s.Hostname, s.AppName, s.ProcID, s.MsgID}
}

// parse reads and validates settings and reports everything that is wrong with them.
func parse(c sinks.Config) (settings, error) {
	s := defaults()
	if err := setting.Decode("syslog", c.Settings, &s); err != nil {
		return s, err
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || host == "" {
		bad("address: %q isn't HOST:PORT", s.Address)
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		bad("address: %q is no port", port)
	}
	errs = append(errs, setting.OneOf("framing", s.Framing, "octet-counting", "lf"), setting.OneOf("facility", s.Facility, facilities...),
		setting.OneOf("severity", s.Severity, severities...), setting.OneOf("bom", s.BOM, "auto", "always", "never"),
		setting.OneOf("confirm", s.Confirm, "close", "sent"))
	for i, text := range s.templates() {
		errs = append(errs, target.CheckText(c, headerKeys[i], text))
	}
	for key := range s.Columns {
		errs = append(errs, setting.OneOf("columns", key, headerKeys[:]...))
	}
	if name, number, ok := strings.Cut(s.SDID, "@"); !ok || !sdName(name) || strings.Trim(number, "0123456789.") != "" || number == "" || len(s.SDID) > 30 {
		bad("sd_id: %q isn't NAME@NUMBER", s.SDID)
	}
	if s.MaxMessage < minMessage {
		bad("max_message: %d bytes is less than the %d that every receiver takes", s.MaxMessage, minMessage)
	}
	if s.Timeout <= 0 {
		bad("timeout: it must be more than nothing")
	}
	if _, err := s.TLS.Config(c.Base); err != nil {
		errs = append(errs, err)
	}
	if err := setting.Check("syslog", errs...); err != nil {
		return s, err
	}
	return s, attempt.Check(c)
}
