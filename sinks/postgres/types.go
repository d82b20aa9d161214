package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/encode"
)

// Type returns the PostgreSQL type of an Arrow type, as format_type spells it, and false for one that the sink doesn't take.
func Type(t arrow.DataType) (string, bool) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return "boolean", true
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Uint8Type:
		return "smallint", true
	case *arrow.Int32Type, *arrow.Uint16Type:
		return "integer", true
	case *arrow.Int64Type, *arrow.Uint32Type, *arrow.DurationType:
		return "bigint", true
	case *arrow.Uint64Type, *arrow.Decimal128Type, *arrow.Decimal256Type:
		return "numeric", true
	case *arrow.Float16Type, *arrow.Float32Type:
		return "real", true
	case *arrow.Float64Type:
		return "double precision", true
	case *arrow.StringType, *arrow.LargeStringType, *arrow.NullType:
		return "text", true
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return "bytea", true
	case *arrow.Date32Type, *arrow.Date64Type:
		return "date", true
	case *arrow.Time32Type, *arrow.Time64Type:
		return "time without time zone", true
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return "timestamp without time zone", true
		}
		return "timestamp with time zone", true
	case *arrow.StructType, *arrow.MapType, arrow.ListLikeType:
		if _, err := encode.NewJSONValue("", t); err != nil {
			return "", false
		}
		return "jsonb", true
	}
	return "", false
}

// alike are types whose binary form is the same, so that a table that someone made may have them.
var alike = map[string][]string{"text": {"character varying"}}

// column is a column of the stream with its type in the table.
type column struct {
	name    string
	typ     string
	arrow   arrow.DataType
	json    encode.JSONValue // of jsonb
	bodyRaw bool             // takes what body can't hold
}

func (c column) takes(typ string) bool { return typ == c.typ || slices.Contains(alike[c.typ], typ) }

// columnsOf returns the table's columns for a stream's schema, and reports every column that doesn't fit.
func columnsOf(schema *arrow.Schema) ([]column, error) {
	var errs []error
	all := make([]column, 0, schema.NumFields())
	for _, f := range schema.Fields() {
		typ, ok := Type(f.Type)
		if !ok {
			errs = append(errs, fault.Errorf(fault.Config, "find the table's columns", "column %q is %s, which has no type in PostgreSQL", f.Name, f.Type))
			continue
		}
		if err := checkName("column", f.Name); err != nil {
			errs = append(errs, fault.New(fault.Config, "find the table's columns", "", err))
			continue
		}
		c := column{name: f.Name, typ: typ, arrow: f.Type}
		if typ == "jsonb" {
			c.json, _ = encode.NewJSONValue(f.Name, f.Type) // Type has tried
		}
		all = append(all, c)
	}
	if len(all) == 0 && len(errs) == 0 {
		return nil, errors.New("the stream has no columns")
	}
	if _, raw, ok := flow.BodyColumns(schema); ok && raw >= 0 && len(errs) == 0 {
		all[raw].bodyRaw = true
	}
	return all, errors.Join(errs...)
}

// unfit says why a value can't be stored. It makes a dead letter of its record.
func unfit(format string, args ...any) error { return &unfitError{fmt.Sprintf(format, args...)} }

type unfitError struct{ reason string }

func (e *unfitError) Error() string { return e.reason }
