package views

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks"
)

// clickhouse writes a view over one of ClickHouse's table functions. What folders tell is taken from the path.
func (t *table) clickhouse() (string, error) {
	glob, err := t.glob(noPattern)
	if err != nil {
		return "", err
	}
	var format string
	settings := []string{"use_hive_partitioning = 0"}
	switch t.Files.Format {
	case "parquet":
		format = "Parquet"
	case "ndjson":
		format = "JSONEachRow"
		settings = append(settings, "date_time_input_format = 'best_effort'")
	case "csv":
		format = "CSVWithNames"
		settings = append(settings, "date_time_input_format = 'best_effort'", "input_format_csv_empty_as_default = 0", "format_csv_allow_single_quotes = 0", "input_format_csv_trim_whitespaces = 0", `format_csv_null_representation = ''`)
	case "raw":
		format = "LineAsString"
	case "arrow":
		format = "Arrow"
	case "arrow-stream":
		format = "ArrowStream"
	}
	var structure, selected []string
	for _, f := range t.columns() {
		structure = append(structure, clickhouseName(f.Name)+" "+t.clickhouseRead(f))
	}
	for _, f := range t.selectable() {
		name := clickhouseName(f.Name)
		switch {
		case t.isPartition(f.Name):
			name = t.clickhousePartition(f.Name) + " AS " + name
		case t.isBinary(f):
			name = "base64Decode(" + name + ") AS " + name
		}
		selected = append(selected, name)
	}
	for _, p := range t.partitions {
		if t.Files.Format == "raw" || !t.Stream.Schema.HasField(p.name) {
			selected = append(selected, t.clickhousePartition(p.name)+" AS "+clickhouseName(p.name))
		}
	}
	from, err := t.clickhouseFrom(glob, format, strings.Join(structure, ", "))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS\nSELECT %s\nFROM %s\nSETTINGS %s;\n",
		clickhouseName(t.Name), strings.Join(selected, ", "), from, strings.Join(settings, ", ")), nil
}

// selectable are the columns of the view, but for those that only folders tell.
func (t *table) selectable() []arrow.Field {
	if t.Files.Format == "raw" {
		return t.columns()
	}
	return t.Stream.Schema.Fields()
}

func (t *table) isBinary(f arrow.Field) bool {
	if t.Files.Format != "ndjson" && t.Files.Format != "csv" {
		return false
	}
	return f.Type.ID() == arrow.BINARY || f.Type.ID() == arrow.LARGE_BINARY || f.Type.ID() == arrow.FIXED_SIZE_BINARY
}

func (t *table) clickhousePartition(name string) string {
	value := "decodeURLComponent(extract(_path, " + backslashed("/"+regexpQuote(name)+"=([^/]*)/") + "))"
	for _, p := range t.partitions {
		if p.name == name && p.date {
			return "toDate(" + value + ")"
		}
	}
	return value
}

func (t *table) clickhouseFrom(glob, format, structure string) (string, error) {
	f := t.Files
	place, s, q := glob, backslashed(structure), backslashed(format)
	switch f.Place {
	case sinks.OnS3:
		bucket, key, _ := strings.Cut(glob, "/")
		host := "https://" + bucket + ".s3.amazonaws.com/"
		switch {
		case f.Endpoint != "" && f.PathStyle:
			host = f.Endpoint + "/" + bucket + "/"
		case f.Endpoint != "":
			scheme, rest, _ := strings.Cut(f.Endpoint, "://")
			host = scheme + "://" + bucket + "." + rest + "/"
		case f.Region != "" && f.PathStyle:
			host = "https://s3." + f.Region + ".amazonaws.com/" + bucket + "/"
		case f.Region != "":
			host = "https://" + bucket + ".s3." + f.Region + ".amazonaws.com/"
		}
		return "s3(" + backslashed(host+key) + ", " + q + ", " + s + ")", nil
	case sinks.OnGCS:
		return "gcs(" + backslashed("https://storage.googleapis.com/"+place) + ", " + q + ", " + s + ")", nil
	case sinks.OnAzure:
		return "", fmt.Errorf("clickhouse asks for the account's key in the statement itself to read Azure: write it by hand, from %s", glob)
	}
	return "file(" + backslashed(place) + ", " + q + ", " + s + ")", nil
}

func clickhouseName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// clickhouseRead is the type by which a column of a file is read.
func (t *table) clickhouseRead(f arrow.Field) string {
	if t.Files.Format == "raw" {
		return "String"
	}
	typ := clickhouseType(f.Type)
	if t.Files.Format == "csv" && (f.Type.ID() == arrow.MAP || f.Type.ID() == arrow.LIST || f.Type.ID() == arrow.STRUCT) {
		typ = "String" // JSON
	}
	if strings.HasPrefix(typ, "Map(") || strings.HasPrefix(typ, "Array(") {
		return typ // neither can be null: a null is an empty one
	}
	return "Nullable(" + typ + ")"
}

func clickhouseType(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return "Bool"
	case *arrow.Int8Type:
		return "Int8"
	case *arrow.Int16Type:
		return "Int16"
	case *arrow.Int32Type:
		return "Int32"
	case *arrow.Int64Type, *arrow.DurationType:
		return "Int64"
	case *arrow.Uint8Type:
		return "UInt8"
	case *arrow.Uint16Type:
		return "UInt16"
	case *arrow.Uint32Type:
		return "UInt32"
	case *arrow.Uint64Type:
		return "UInt64"
	case *arrow.Float16Type, *arrow.Float32Type:
		return "Float32"
	case *arrow.Float64Type:
		return "Float64"
	case *arrow.Date32Type, *arrow.Date64Type:
		return "Date32"
	case *arrow.TimestampType:
		return "DateTime64(9, 'UTC')"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("Decimal(%d, %d)", t.Precision, t.Scale)
	case *arrow.MapType:
		return "Map(" + clickhouseType(t.KeyType()) + ", Nullable(" + clickhouseType(t.ItemType()) + "))"
	case *arrow.ListType:
		return "Array(Nullable(" + clickhouseType(t.Elem()) + "))"
	}
	return "String"
}
