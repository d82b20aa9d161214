package elsa

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

// The gateway's error codes.
const (
	codeBadRequest     = 100
	codeAuthentication = 200
	codePermission     = 210
	codeNotFound       = 300
	codeQuota          = 400
	codeThrottled      = 410
	codeRateLimited    = 420
	codeTooLarge       = 430
	codeEndpoint       = 500
	codeTimeout        = 510
	codeUnexpected     = 900
)

// Waits and bounds of the gateway.
const (
	maxSkew   = 5 * time.Minute  // documented: a timestamp further away is invalid
	quotaWait = 15 * time.Minute // before a used-up quota is tried again, if the answer doesn't tell
)

// kindOfCode is the table from an error code to the decision it asks for; Unknown for a code that isn't documented.
func kindOfCode(code int) fault.Kind {
	switch code {
	case codeBadRequest, codeTooLarge:
		return fault.Config
	case codeAuthentication, codePermission:
		return fault.Auth
	case codeNotFound:
		return fault.NotFound
	case codeQuota, codeThrottled, codeRateLimited:
		return fault.Throttled
	case codeEndpoint, codeTimeout, codeUnexpected:
		return fault.Transient
	}
	return fault.Unknown
}

// refusal is what the gateway says in an error's body.
type refusal struct {
	code    int
	message string
}

var (
	codePattern    = regexp.MustCompile(`(?i)"?errorCode"?\s*[:>]\s*"?\s*([0-9]{1,6})\b`)
	messagePattern = regexp.MustCompile(`(?is)<message>\s*(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?\s*</message>`)
)

// parseRefusal reads an error's body: JSON with the code as a number or a text, or XML; also one that was cut.
func parseRefusal(text string) (refusal, bool) {
	var body struct {
		Error struct {
			Code    json.RawMessage `json:"errorCode"`
			Message json.RawMessage `json:"message"`
			Details json.RawMessage `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(text), &body) == nil && len(body.Error.Code) > 0 {
		if code, err := strconv.Atoi(strings.Trim(string(body.Error.Code), `" `)); err == nil {
			message := plainText(body.Error.Message)
			if details := plainText(body.Error.Details); details != "" {
				message += " (" + details + ")"
			}
			return refusal{code, message}, true
		}
	}
	m := codePattern.FindStringSubmatch(text)
	if m == nil {
		return refusal{}, false
	}
	code, err := strconv.Atoi(m[1])
	if err != nil {
		return refusal{}, false
	}
	r := refusal{code: code, message: text} // of an unknown form all is shown
	if m := messagePattern.FindStringSubmatch(text); m != nil {
		r.message = m[1]
	}
	return r, true
}

// isRefusal says whether an object holds an error of the documented form.
func isRefusal(object []byte) bool {
	var body struct {
		Error struct {
			Code json.RawMessage `json:"errorCode"`
		} `json:"error"`
	}
	return json.Unmarshal(object, &body) == nil && len(body.Error.Code) > 0
}

// plainText is a text's content, and the JSON of anything else but null.
func plainText(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) == nil { // null, too
		return s
	}
	return string(raw)
}

// printable makes a vendor's text fit for a line.
func printable(text string, most int) string {
	text = strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

const excerptBytes = 500

// refusedBy is the error of a good status with a text where records should be.
func refusedBy(text []byte, op, where string) error {
	text = text[:min(len(text), refusalRead)]
	r, ok := parseRefusal(string(text))
	if !ok {
		return fault.Errorf(fault.Corrupt, op, "the vendor answers 200 with neither records nor a known error %s: %s", where, printable(string(text), excerptBytes))
	}
	kind := kindOfCode(r.code)
	if kind == fault.Unknown {
		kind = fault.Corrupt
	}
	err := fault.Errorf(kind, op, "the vendor answers 200 with its error %d %s: %s", r.code, where, printable(r.message, excerptBytes))
	if r.code == codeQuota {
		err.RetryAfter = quotaWait
	}
	return err.WithHint(hintOfCode(r.code))
}

// hintOfCode says what an operator can do about a refusal.
func hintOfCode(code int) string {
	switch code {
	case codeBadRequest:
		return "the vendor refuses the request: check project_key, project_id and include_fields"
	case codeAuthentication:
		return "check access_key and secret_key, and that they belong to the cloud (public, gov, fin) of base_url"
	case codePermission:
		return "the key's account may not use ELSA: give its sub account the permission to, or use another key"
	case codeNotFound:
		return "check project_key and project_id, which belong together, and base_url"
	case codeQuota:
		return "the quota of the key is used up: raise it in the vendor's console, or set budget.requests and budget.window below it"
	case codeThrottled, codeRateLimited:
		return "set budget.requests and budget.window to what the vendor allows"
	case codeTooLarge:
		return "include_fields may name too many fields"
	}
	return ""
}

// explain adds to a refusal what the gateway's code says about it, and to a failed authentication what the clocks say.
func (c *client) explain(err error) error {
	var refused *rest.StatusError
	var classified *fault.Error
	if !errors.As(err, &refused) || !errors.As(err, &classified) || refused.Status >= 300 && refused.Status <= 399 {
		return err
	}
	r, known := parseRefusal(refused.Text)
	if !known {
		r.code = codeOfStatus(refused.Status)
	}
	if kind := kindOfCode(r.code); known && kind != fault.Unknown {
		classified.Kind = kind
	}
	if r.code == codeQuota && known && !refused.Told {
		classified.RetryAfter = quotaWait
	}
	if classified.Hint == "" {
		classified.Hint = hintOfCode(r.code)
	}
	if refused.Status == http.StatusUnauthorized && !refused.Date.IsZero() {
		c.compareClocks(classified, refused.Date)
	}
	return err
}

// codeOfStatus returns the error code that a status without a readable body most likely has.
func codeOfStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return codeBadRequest
	case http.StatusUnauthorized:
		return codeAuthentication
	case http.StatusForbidden:
		return codePermission
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusTooManyRequests:
		return codeThrottled
	case http.StatusRequestEntityTooLarge:
		return codeTooLarge
	}
	return 0
}

// compareClocks says so if this machine's clock is further from the vendor's than a signature may be.
func (c *client) compareClocks(e *fault.Error, vendor time.Time) {
	skew := c.now().Sub(vendor)
	word := "ahead of"
	if skew < 0 {
		skew, word = -skew, "behind"
	}
	if skew <= maxSkew {
		return
	}
	skew = skew.Round(time.Second)
	e.Err = fmt.Errorf("%w; this machine's clock is %v %s the vendor's, which allows %v", e.Err, skew, word, maxSkew)
	e.Hint = "set this machine's clock (NTP): it is " + skew.String() + " " + word + " the vendor's, which makes every signature invalid"
}
