package vendorsim

import (
	"slices"
	"strconv"
	"time"
)

// Style is the look of a generated log's lines.
type Style string

// The styles. Lines are about 200 bytes on average in each.
const (
	StyleSyslog   Style = "syslog"   // RFC 3164
	StyleNginx    Style = "nginx"    // combined access log
	StyleJSON     Style = "json"     // an application's JSON lines
	StyleKeyValue Style = "keyvalue" // logfmt
	StyleJava     Style = "java"     // entries followed by the lines of a stack trace
	StyleWindows  Style = "windows"  // tab-separated, ended by CRLF
	StyleMixed    Style = "mixed"    // all of them by turns
)

var styles = []Style{StyleSyslog, StyleNginx, StyleJSON, StyleKeyValue, StyleJava, StyleWindows}

func (s Style) valid() bool { return s == StyleMixed || slices.Contains(styles, s) }

// random is SplitMix64: a few instructions, and pinned, so that the same seed makes the same lines for ever.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) n(n int) int { return int(r.next() % uint64(n)) }

func (r *random) pick(words []string) string { return words[r.n(len(words))] }

func (r *random) chance(percent int) bool { return r.n(100) < percent }

// layout is how a line shows its time; each has a fixed width so that it can be written over.
type layout uint8

const (
	noStamp     layout = iota
	stampSyslog        // Nov 22 03:11:22
	stampNginx         // 22/Nov/2026:03:11:22 +0000
	stampISO           // 2026-11-22T03:11:22.123Z
	stampJava          // 2026-11-22 03:11:22,123
	layouts
)

// stamp is where a line shows its time: an offset from the line's start.
type stamp struct {
	offset int
	layout layout
}

var stampForms = [layouts]struct {
	text    string
	width   int
	seconds int // offset of their two digits
	millis  int // offset of the three digits, or -1
}{
	stampSyslog: {text: "Jan _2 15:04:05", width: 15, seconds: 13, millis: -1},
	stampNginx:  {text: "02/Jan/2006:15:04:05 -0700", width: 26, seconds: 18, millis: -1},
	stampISO:    {text: "2006-01-02T15:04:05.000Z", width: 24, seconds: 17, millis: 20},
	stampJava:   {text: "2006-01-02 15:04:05,000", width: 23, seconds: 17, millis: 20},
}

// stampClock renders times into lines; it formats each layout once a minute.
type stampClock struct {
	minute [layouts]int64
	text   [layouts][]byte
}

// put writes the time ms over the beginning of dst.
func (c *stampClock) put(dst []byte, l layout, ms int64) {
	form := &stampForms[l]
	sec, milli := ms/1000, ms%1000
	minute := sec / 60
	if c.text[l] == nil || c.minute[l] != minute {
		c.minute[l] = minute
		c.text[l] = time.Unix(minute*60, 0).UTC().AppendFormat(c.text[l][:0], form.text)
	}
	copy(dst[:form.width], c.text[l])
	sec -= minute * 60
	dst[form.seconds] = byte('0' + sec/10)
	dst[form.seconds+1] = byte('0' + sec%10)
	if form.millis >= 0 {
		dst[form.millis] = byte('0' + milli/100)
		dst[form.millis+1] = byte('0' + milli/10%10)
		dst[form.millis+2] = byte('0' + milli%10)
	}
}

// writer makes lines of a style.
type writer struct {
	random
	style  Style
	number int
	trace  int // lines of the current stack trace that are still to come
	out    []byte
	stamp  stamp
}

func newWriter(seed uint64, style Style) *writer {
	w := &writer{random: random(seed), style: style}
	w.next()
	return w
}

var (
	hosts    = []string{"web-01", "web-02", "web-03", "db-primary", "db-replica-2", "edge-fra-1", "edge-sin-4", "batch-7", "queue-a", "gw-internal"}
	programs = []string{"sshd", "kernel", "systemd", "cron", "postfix/smtpd", "dhclient", "containerd", "haproxy", "chronyd", "auditd"}
	methods  = []string{"GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD"}
	paths    = []string{"/", "/api/v2/orders", "/api/v2/orders/search?status=open&sort=-created", "/static/app.4f2a91.js", "/login", "/health", "/api/v2/customers/export", "/images/catalogue/summer/hero-wide.webp", "/api/v2/carts"}
	agents   = []string{"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36", "curl/8.10.1", "kube-probe/1.31", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"}
	levels   = []string{"debug", "info", "info", "info", "info", "warn", "error"}
	services = []string{"checkout", "inventory", "payments", "mailer", "search-index", "session-store", "pricing"}
	messages = []string{
		"request completed", "connection pool exhausted, waiting for a free slot", "cache miss, loading from primary",
		"retrying after upstream timeout", "payment authorised by provider", "error: upstream closed the connection before the answer was complete",
		"session refreshed", "configuration reloaded without changes", "slow query took longer than its budget of 500ms",
		"job finished and its lease was given back", "user signed in from a new device", "Error while parsing the answer: unexpected end of input",
	}
	classes    = []string{"OrderService", "PaymentGateway", "SessionFilter", "InventoryRepository", "RetryTemplate", "HttpDispatcher"}
	exceptions = []string{"java.net.SocketTimeoutException: Read timed out", "java.lang.IllegalStateException: order is already closed", "org.postgresql.util.PSQLException: ERROR: deadlock detected"}
	sources    = []string{"Microsoft-Windows-Security-Auditing", "Service Control Manager", "Microsoft-Windows-TaskScheduler", "MSSQLSERVER"}
)

func (w *writer) str(s string)  { w.out = append(w.out, s...) }
func (w *writer) num(n int)     { w.out = strconv.AppendInt(w.out, int64(n), 10) }
func (w *writer) mark(l layout) { w.stamp = stamp{len(w.out), l}; w.str(blanks[:stampForms[l].width]) }
func (w *writer) address()      { w.num(10 + w.n(180)); w.dot(); w.dot(); w.dot() }
func (w *writer) dot()          { w.str("."); w.num(1 + w.n(254)) }
func (w *writer) hex(digits int) { // low digits of a random number
	const alphabet = "0123456789abcdef"
	v := w.next()
	for range digits {
		w.out = append(w.out, alphabet[v&15])
		v >>= 4
		if v == 0 {
			v = w.next()
		}
	}
}

const blanks = "                                "

// line appends one line without its line feed to dst; the stamp's offset counts from the start of dst.
func (w *writer) line(dst []byte) ([]byte, stamp) {
	w.out, w.stamp = dst, stamp{}
	style := w.style
	if w.trace > 0 {
		style = StyleJava
	} else if style == StyleMixed {
		style = styles[w.n(len(styles))]
	}
	w.number++
	switch style {
	case StyleNginx:
		w.nginx()
	case StyleJSON:
		w.json()
	case StyleKeyValue:
		w.keyValue()
	case StyleJava:
		w.java()
	case StyleWindows:
		w.windows()
	default:
		w.syslog()
	}
	return w.out, w.stamp
}

func (w *writer) syslog() {
	w.str("<")
	w.num(8*w.n(24) + w.n(8))
	w.str(">")
	w.mark(stampSyslog)
	w.str(" ")
	w.str(w.pick(hosts))
	w.str(" ")
	w.str(w.pick(programs))
	w.str("[")
	w.num(200 + w.n(32000))
	w.str("]: ")
	w.str(w.pick(messages))
	w.str("; peer ")
	w.address()
	w.str(" port ")
	w.num(1024 + w.n(64000))
	w.str(" conn=")
	w.hex(16)
	w.str(" seq=")
	w.num(w.number)
	if w.chance(60) {
		w.str(" msg=\"audit: op=connect res=success exe=/usr/sbin/")
		w.str(w.pick(programs))
		w.str(" subj=system_u:system_r:init_t:s0\"")
	}
}

func (w *writer) nginx() {
	w.address()
	w.str(" - - [")
	w.mark(stampNginx)
	w.str("] \"")
	w.str(w.pick(methods))
	w.str(" ")
	w.str(w.pick(paths))
	w.str(" HTTP/1.1\" ")
	w.str(w.pick([]string{"200", "200", "200", "200", "204", "301", "304", "404", "500", "502"}))
	w.str(" ")
	w.num(w.n(90000))
	w.str(" \"https://shop.example/")
	w.str(w.pick(services))
	w.str("\" \"")
	w.str(w.pick(agents))
	w.str("\" rt=0.")
	w.num(100 + w.n(900))
	w.str(" id=")
	w.hex(16)
}

func (w *writer) json() {
	w.str(`{"ts":"`)
	w.mark(stampISO)
	w.str(`","level":"`)
	w.str(w.pick(levels))
	w.str(`","service":"`)
	w.str(w.pick(services))
	w.str(`","trace":"`)
	w.hex(16)
	w.hex(16)
	w.str(`","msg":"`)
	w.str(w.pick(messages))
	if w.chance(5) {
		w.str(` \"Grüße, 世界\"`)
	}
	w.str(`","user":`)
	w.num(w.n(1000000))
	w.str(`,"duration_ms":`)
	w.num(w.n(4000))
	w.str(`,"labels":{"region":"eu-1","pod":"`)
	w.str(w.pick(services))
	w.str("-")
	w.hex(8)
	w.str(`"}}`)
}

func (w *writer) keyValue() {
	w.str("time=")
	w.mark(stampISO)
	w.str(" level=")
	w.str(w.pick(levels))
	w.str(" component=")
	w.str(w.pick(services))
	w.str(" msg=\"")
	w.str(w.pick(messages))
	w.str("\" client=")
	w.address()
	w.str(" request_id=")
	w.hex(16)
	w.str(" bytes_in=")
	w.num(w.n(100000))
	w.str(" bytes_out=")
	w.num(w.n(1000000))
	w.str(" attempt=")
	w.num(1 + w.n(4))
	w.str(" n=")
	w.num(w.number)
}

func (w *writer) java() {
	if w.trace > 0 {
		w.trace--
		w.str("\tat com.example.shop.internal.")
		w.str(w.pick(services)[:4])
		w.str(".")
		class := w.pick(classes)
		w.str(class)
		w.str(".lambda$execute$")
		w.num(w.n(9))
		w.str("(")
		w.str(class)
		w.str(".java:")
		w.num(20 + w.n(900))
		w.str(") ~[shop-backend-4.17.2.jar!/:4.17.2]")
		return
	}
	w.mark(stampJava)
	w.str(" INFO  [http-nio-8080-exec-")
	w.num(1 + w.n(200))
	w.str("] com.example.shop.internal.")
	w.str(w.pick(classes))
	w.str(" [traceId=")
	w.hex(16)
	w.hex(16)
	w.str(", spanId=")
	w.hex(16)
	w.str("] - ")
	w.str(w.pick(messages))
	w.str(" (order ")
	w.num(100000 + w.n(900000))
	w.str(")")
	if w.chance(12) {
		w.str(": ")
		w.str(w.pick(exceptions))
		w.trace = 3 + w.n(6)
	}
}

func (w *writer) windows() {
	w.mark(stampISO)
	w.str("\tWIN-")
	w.hex(8)
	w.str("\t")
	w.str(w.pick(sources))
	w.str("\t")
	w.num(4600 + w.n(200))
	w.str("\tInformation\tAn account was successfully logged on. Subject: S-1-5-21-")
	w.num(w.n(1 << 31))
	w.str(" Account: CONTOSO\\svc_")
	w.str(w.pick(services))
	w.str(" Logon Type: ")
	w.num(2 + w.n(9))
	w.str(" Process: C:\\Windows\\System32\\lsass.exe\r")
}
