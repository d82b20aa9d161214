package opensearch

import (
	"bytes"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
)

// colTime is the field that every document has.
const colTime = "@timestamp"

// ecs are the fields of core columns and of columns that sources share; the rest goes below the source's name. docs/types.md has it
// as a table.
var ecs = map[string]string{
	flow.ColBody:              "message",
	flow.ColObservedTimestamp: "event.created",
	flow.ColSeverityText:      "log.level",
	flow.ColSeverityNumber:    "event.severity",
	flow.ColSource:            "event.module",
	flow.ColLogName:           "event.dataset",
	flow.ColAttributes:        "labels",
	"host":                    "host.name",
	flow.ColLogID:             "sluice.log_id",
	flow.ColReceivedFrom:      "sluice.received_from",
	flow.ColReceivedTo:        "sluice.received_to",
	flow.ColBodyRaw:           "sluice.body_raw",
}

// Field returns the field of a column with naming ecs; source is the source's type.
func Field(source, column string) string {
	if column == flow.ColTimestamp {
		return colTime
	}
	if f, ok := ecs[column]; ok {
		return f
	}
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' {
			return '_'
		}
		return r
	}, source)
	if name == "" {
		name = "source"
	}
	return name + "." + column
}

// documents turns a batch's rows into JSON. It isn't safe for concurrent use.
type documents struct {
	groups     []group // by the first part of a field's name; "" has those without
	timestamp  int     // columns, -1 without
	observed   int
	time       encode.JSONValue
	fallback   encode.JSONValue
	bound      [][]boundField
	stamp, obs boundField
}

type group struct {
	key    []byte // `"event":`
	fields []field
}

type field struct {
	key    []byte
	column int
	value  encode.JSONValue
	labels bool
}

type boundField struct {
	array  arrow.Array // nil: all null
	append func(dst []byte, row int) []byte
}

// newDocuments returns the documents of a schema. A column that can't be JSON is an error of kind fault.Config.
func newDocuments(naming, source string, schema *arrow.Schema) (*documents, error) {
	d := &documents{timestamp: -1, observed: -1}
	taken := map[string]string{}
	for i, f := range schema.Fields() {
		v, err := encode.NewJSONValue(f.Name, f.Type)
		if err != nil {
			return nil, err
		}
		_, isTime := f.Type.(*arrow.TimestampType)
		if f.Name == flow.ColTimestamp && isTime {
			d.timestamp, d.time = i, v
		} else if f.Name == flow.ColObservedTimestamp && isTime {
			d.observed, d.fallback = i, v
		}
		path := f.Name
		if naming == "ecs" {
			if d.timestamp == i {
				continue // it is @timestamp
			}
			path = Field(source, f.Name)
		}
		if first, ok := taken[path]; ok || path == colTime {
			return nil, fault.Errorf(fault.Config, "name the fields", "column %q would be the field %q, as %s is", f.Name, path, orTime(first))
		}
		taken[path] = f.Name
		d.add(naming, path, i, v, f)
	}
	d.bound = make([][]boundField, len(d.groups))
	return d, nil
}

func orTime(column string) string {
	if column == "" {
		return "the record's time"
	}
	return column
}

func (d *documents) add(naming, path string, column int, v encode.JSONValue, f arrow.Field) {
	parent, name, nested := strings.Cut(path, ".")
	if naming != "ecs" || !nested {
		parent, name = "", path
	}
	key := func(s string) []byte { return append(encode.AppendJSONString(nil, s), ':') }
	at := -1
	for i := range d.groups {
		if parent == "" && d.groups[i].key == nil || parent != "" && bytes.Equal(d.groups[i].key, key(parent)) {
			at = i
		}
	}
	if at < 0 {
		g := group{}
		if parent != "" {
			g.key = key(parent)
		}
		d.groups = append(d.groups, g)
		at = len(d.groups) - 1
	}
	m, isMap := f.Type.(*arrow.MapType)
	labels := naming == "ecs" && path == "labels" && isMap && m.KeyType().ID() == arrow.STRING && m.ItemType().ID() == arrow.STRING
	d.groups[at].fields = append(d.groups[at].fields, field{key: key(name), column: column, value: v, labels: labels})
}

// bind takes a batch.
func (d *documents) bind(rec arrow.Record) {
	bind := func(column int, v encode.JSONValue) boundField {
		a := rec.Column(column)
		if a.NullN() == a.Len() || a.DataType().ID() == arrow.NULL {
			return boundField{}
		}
		return boundField{array: a, append: v.Bind(a)}
	}
	d.stamp, d.obs = boundField{}, boundField{}
	if d.timestamp >= 0 {
		d.stamp = bind(d.timestamp, d.time)
	}
	if d.observed >= 0 {
		d.obs = bind(d.observed, d.fallback)
	}
	for i, g := range d.groups {
		d.bound[i] = d.bound[i][:0]
		for _, f := range g.fields {
			b := bind(f.column, f.value)
			if f.labels && b.array != nil {
				b.append = labels(b.array.(*array.Map))
			}
			d.bound[i] = append(d.bound[i], b)
		}
	}
}

// release lets go of the batch.
func (d *documents) release() {
	d.stamp, d.obs = boundField{}, boundField{}
	for i := range d.bound {
		clear(d.bound[i])
	}
}

func (b boundField) has(row int) bool { return b.array != nil && b.array.IsValid(row) }

// append appends a row's document. from stands for the time of a record that has none.
func (d *documents) append(dst []byte, row int, from string) []byte {
	dst = append(dst, `{"`+colTime+`":`...)
	switch {
	case d.stamp.has(row):
		dst = d.stamp.append(dst, row)
	case d.obs.has(row):
		dst = d.obs.append(dst, row)
	default:
		dst = append(dst, from...)
	}
	for i, g := range d.groups {
		inside := false
		for j, f := range g.fields {
			b := d.bound[i][j]
			if !b.has(row) {
				continue
			}
			dst = append(dst, ',')
			if g.key != nil && !inside {
				dst = append(append(dst, g.key...), '{')
				inside = true
			}
			dst = b.append(append(dst, f.key...), row)
		}
		if g.key != nil && inside {
			dst = append(dst, '}')
		}
	}
	return append(dst, '}')
}

// labels appends a map of texts as ECS wants labels: their names have no points, which would make objects of them. Names that become
// alike, and an empty one, get an underscore more.
func labels(m *array.Map) func(dst []byte, row int) []byte {
	keys, items := m.Keys().(*array.String), m.Items().(*array.String)
	seen := map[string]bool{}
	return func(dst []byte, row int) []byte {
		clear(seen)
		from, to := m.ValueOffsets(row)
		dst = append(dst, '{')
		for i := int(from); i < int(to); i++ {
			name := strings.ReplaceAll(keys.Value(i), ".", "_")
			for name == "" || seen[name] {
				name += "_"
			}
			seen[strings.Clone(name)] = true
			if i > int(from) {
				dst = append(dst, ',')
			}
			dst = append(encode.AppendJSONString(dst, name), ':')
			if items.IsNull(i) {
				dst = append(dst, "null"...)
			} else {
				dst = encode.AppendJSONString(dst, items.Value(i))
			}
		}
		return append(dst, '}')
	}
}
