package vendorsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Project is one ELSA project. Its content is Records or Generated; with neither it is empty.
type Project struct {
	Key       string
	ID        int64
	Records   []ProjectRecord // in any order; records of one millisecond keep theirs
	Generated *GeneratedProject
}

// ProjectRecord is one record: its logTime (whole milliseconds count) and its other fields, in the order in which they are sent.
type ProjectRecord struct {
	Time   time.Time
	Fields []Field
}

// Field is one field of a record. JSON is its value word for word, which may hold bytes that aren't UTF-8 in a text.
type Field struct{ Name, JSON string }

// TextField is a field with a text, of any bytes.
func TextField(name string, text []byte) Field { return Field{name, jsonText(text)} }

// jsonText quotes a text and leaves every byte that needs no escape as it is.
func jsonText(text []byte) string {
	out := []byte{'"'}
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, '\\', 'n')
		case c < ' ':
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}

// GeneratedProject describes a project whose records are computed: Rows records at even distances in [From, To), each with
// a body of BodyBytes.
type GeneratedProject struct {
	From, To  time.Time
	Rows      int64
	BodyBytes int
}

// elsaProject is a project's content, addressed by record number, oldest first. It never changes, so its methods are safe
// for concurrent use.
type elsaProject struct {
	Project
	times []int64
}

func newElsaProject(p Project) (*elsaProject, error) {
	g := p.Generated
	switch {
	case p.Key == "" || len(p.Key) > elsaMaxKey || p.ID < 1:
		return nil, fmt.Errorf("project %q: want a key of 1 to %d characters and an ID", p.Key, elsaMaxKey)
	case g != nil && p.Records != nil:
		return nil, fmt.Errorf("project %s: has both Records and Generated", p.Key)
	case g != nil && (!g.To.After(g.From) || g.Rows < 0 || g.BodyBytes < 0):
		return nil, fmt.Errorf("project %s: generated: want From before To, and no negative sizes", p.Key)
	}
	p.Records = slices.Clone(p.Records)
	sort.SliceStable(p.Records, func(a, b int) bool { return p.Records[a].Time.UnixMilli() < p.Records[b].Time.UnixMilli() })
	e := &elsaProject{Project: p}
	for i, r := range p.Records {
		e.times = append(e.times, r.Time.UnixMilli())
		if slices.ContainsFunc(r.Fields, func(f Field) bool { return f.Name == "logTime" }) {
			return nil, fmt.Errorf("project %s: record %d: %w", p.Key, i, errors.New("logTime comes from its Time"))
		}
	}
	return e, nil
}

// span returns the record numbers [lo, hi) with from <= time < to, in Unix milliseconds.
func (e *elsaProject) span(from, to int64) (lo, hi int64) {
	first := func(ms int64) int64 {
		if g := e.Generated; g != nil {
			return int64(sort.Search(int(g.Rows), func(i int) bool { return e.at(int64(i)) >= ms }))
		}
		return int64(sort.Search(len(e.times), func(i int) bool { return e.times[i] >= ms }))
	}
	lo, hi = first(from), first(to)
	return lo, max(lo, hi)
}

func (e *elsaProject) at(i int64) int64 {
	if g := e.Generated; g != nil {
		span := g.To.UnixMilli() - g.From.UnixMilli()
		return g.From.UnixMilli() + int64(float64(span)*float64(i)/float64(g.Rows))
	}
	return e.times[i]
}

func (e *elsaProject) record(i int64) ProjectRecord {
	g := e.Generated
	if g == nil {
		return e.Records[i]
	}
	body := make([]byte, 0, g.BodyBytes)
	body = append(strconv.AppendInt(body, i, 10), ' ')
	for r := random(i); len(body) < g.BodyBytes; {
		body = append(strconv.AppendUint(body, r.next()%1_000_000, 36), " request served in ms "...)
	}
	return ProjectRecord{time.UnixMilli(e.at(i)).UTC(), []Field{
		{"projectName", jsonText([]byte(e.Key))},
		{"projectVersion", `"1.0"`},
		{"logLevel", `"INFO"`},
		{"host", `"10.0.0.1"`},
		{"logType", `"nelo2-log"`},
		{"logSource", `"http"`},
		TextField("body", body[:max(0, min(len(body), g.BodyBytes))]),
	}}
}

// names returns the names of the fields that the records [lo, hi) have, logTime first; only those of want, unless it is nil.
func (e *elsaProject) names(lo, hi int64, want []string) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] && (want == nil || slices.Contains(want, name)) {
			out = append(out, name)
		}
		seen[name] = true
	}
	add("logTime")
	if e.Generated != nil {
		hi = min(hi, lo+1) // all have the same
	}
	for i := lo; i < hi; i++ {
		for _, f := range e.record(i).Fields {
			add(f.Name)
		}
	}
	return out
}

// appendJSON appends a record as an object.
func appendJSON(dst []byte, r ProjectRecord, want []string) []byte {
	dst = append(dst, '{')
	begin := len(dst)
	for _, f := range slices.Concat(r.Fields, []Field{{"logTime", strconv.FormatInt(r.Time.UnixMilli(), 10)}}) {
		if want != nil && !slices.Contains(want, f.Name) {
			continue
		}
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, jsonText([]byte(f.Name))...), ':'), f.JSON...)
	}
	return append(dst, '}')
}

// appendCSV appends a record as a line; what has no value is empty, an empty text is quoted.
func appendCSV(dst []byte, r ProjectRecord, names []string) []byte {
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if name == "logTime" {
			dst = strconv.AppendInt(dst, r.Time.UnixMilli(), 10)
			continue
		}
		at := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Name == name })
		if at >= 0 && r.Fields[at].JSON != "null" {
			dst = appendCSVField(dst, plainText(r.Fields[at].JSON))
		}
	}
	return append(dst, '\r', '\n')
}

func appendCSVField(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}

// plainText undoes jsonText; other values stay as they are.
func plainText(value string) string {
	if len(value) < 2 || value[0] != '"' {
		return value
	}
	value = value[1 : len(value)-1]
	var out []byte
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			out = append(out, value[i])
			continue
		}
		n := 2
		if value[i+1] == 'u' {
			n = 6
		}
		var text string
		if err := json.Unmarshal([]byte(`"`+value[i:i+n]+`"`), &text); err != nil {
			return value
		}
		out = append(out, text...)
		i += n - 1
	}
	return string(out)
}

// Keys and IDs of the projects that SeededProjects makes.
const (
	SeedProject        = "Pb00001_shop"
	SeedProjectID      = 8171
	SeedOddProject     = "Pb00002_odd"
	SeedOddProjectID   = 8181
	SeedEmptyProject   = "Pb00003_empty"
	SeedEmptyProjectID = 16706
)

// SeededProjects makes three projects over some days, the same for the same options: one with the usual fields and some of its own,
// one whose bodies are the lines of the awkward log, and an empty one.
func SeededProjects(o SeedOptions) []Project {
	o = o.withDefaults()
	levels := []string{"DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR", "FATAL", "custom"}
	shop := Project{Key: SeedProject, ID: SeedProjectID}
	for i, r := range styledRecords(o, StyleMixed, 3) {
		fields := []Field{
			{"projectName", `"shop"`},
			{"projectVersion", `"1.0.0"`},
			{"logLevel", jsonText([]byte(levels[i%len(levels)]))},
			{"host", fmt.Sprintf(`"10.0.0.%d"`, i%7)},
			{"logSource", `"http"`},
			{"logType", `"nelo2-log"`},
			{"sendTime", strconv.FormatInt(r.Time.UnixMilli()+250, 10)},
			TextField("body", r.Line),
		}
		switch i % 5 {
		case 1:
			fields = append(fields, Field{"ExceptionType", `"java.io.IOException"`}, Field{"line", strconv.Itoa(i)})
		case 2:
			fields = append(fields, Field{"context", `{"user": {"id": 9007199254740993, "tags": ["a", null, "b,c"]}}`}, Field{"retry", "true"})
		case 3:
			fields = append(fields, Field{"ratio", "1.50e-3"}, Field{"note", `"two\nlines, \"quoted\""`}, Field{"empty", `""`})
		}
		shop.Records = append(shop.Records, ProjectRecord{r.Time, fields})
	}
	odd := Project{Key: SeedOddProject, ID: SeedOddProjectID}
	for _, r := range awkwardRecords(o) {
		odd.Records = append(odd.Records, ProjectRecord{r.Time, []Field{{"projectName", `"odd"`}, TextField("body", r.Line)}})
	}
	return []Project{shop, odd, {Key: SeedEmptyProject, ID: SeedEmptyProjectID}}
}
