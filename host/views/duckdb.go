package views

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks"
)

// longestLine is the most bytes of a record that readers of text are told to expect; DuckDB's own bounds are lower.
const longestLine = 64 << 20

// duckdb writes a view over one of DuckDB's table functions.
func (t *table) duckdb() (string, error) {
	glob, err := t.glob(bracketed)
	if err != nil {
		return "", err
	}
	from := doubled("'", t.duckdbURL(glob))
	var hive []string
	for _, p := range t.partitions {
		typ := "VARCHAR"
		if p.date {
			typ = "DATE"
		}
		hive = append(hive, fmt.Sprintf("%s: %s", doubled("'", p.name), typ))
	}
	options := []string{"hive_partitioning = false"}
	if len(hive) > 0 {
		options = []string{"hive_partitioning = true", "hive_types = {" + strings.Join(hive, ", ") + "}"}
	}
	var function string
	switch t.Files.Format {
	case "parquet":
		function, options = "read_parquet", append(options, "union_by_name = true")
	case "ndjson":
		function = "read_json"
		options = append(options, "format = 'newline_delimited'", fmt.Sprintf("maximum_object_size = %d", longestLine), "columns = {"+t.duckdbTypes()+"}")
	case "csv":
		function = "read_csv"
		options = append(options, "header = true", "auto_detect = false", "delim = ','", `quote = '"'`, `escape = '"'`, "allow_quoted_nulls = false",
			fmt.Sprintf("max_line_size = %d", longestLine), fmt.Sprintf("buffer_size = %d", 2*longestLine), "columns = {"+t.duckdbTypes()+"}")
	case "raw":
		return t.duckdbRaw(from)
	default:
		return "", t.cant(DuckDB, "its reader of Arrow files is an extension of its community; write parquet, or load the files with pyarrow")
	}
	return t.duckdbSetup() + fmt.Sprintf("CREATE OR REPLACE VIEW %s AS\nSELECT %s\nFROM %s(%s,\n  %s);\n",
		doubled(`"`, t.Name), t.duckdbColumns(), function, from, strings.Join(options, ",\n  ")), nil
}

// duckdbColumns lists what is selected: the stream's columns in their order, then what only folders tell.
func (t *table) duckdbColumns() string {
	var out []string
	for _, f := range t.Stream.Schema.Fields() {
		name := doubled(`"`, f.Name)
		if expression := t.duckdbValue(f); expression != "" && !t.isPartition(f.Name) {
			name = expression + " AS " + name
		}
		out = append(out, name)
	}
	for _, p := range t.partitions {
		if !t.Stream.Schema.HasField(p.name) {
			out = append(out, doubled(`"`, p.name))
		}
	}
	return strings.Join(out, ", ")
}

// duckdbValue turns what text formats write as text into the column's type; empty: it is that already.
func (t *table) duckdbValue(f arrow.Field) string {
	name := doubled(`"`, f.Name)
	if t.Files.Format == "parquet" {
		return ""
	}
	switch f.Type.ID() {
	case arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
		return "from_base64(" + name + ")"
	case arrow.MAP, arrow.LIST, arrow.STRUCT:
		if t.Files.Format == "csv" {
			return "CAST(CAST(" + name + " AS JSON) AS " + duckdbType(f.Type) + ")"
		}
	}
	return ""
}

// duckdbTypes are the columns of a file of text as it is read.
func (t *table) duckdbTypes() string {
	var out []string
	for _, f := range t.columns() {
		typ := duckdbType(f.Type)
		if t.duckdbValue(f) != "" {
			typ = "VARCHAR"
		}
		out = append(out, doubled("'", f.Name)+": "+doubled("'", typ))
	}
	return strings.Join(out, ", ")
}

// duckdbRaw splits whole files into lines: the readers of lines drop empty ones and split at carriage returns.
func (t *table) duckdbRaw(from string) (string, error) {
	if t.compressed() {
		return "", t.cant(DuckDB, "its readers of compressed lines drop empty ones and split at carriage returns; compression none, ndjson and parquet can be read exactly")
	}
	// Files that were compressed, by other settings before, stay in the pattern: read_text fails on them, which is better than leaving them out.
	columns := []string{"unnest(string_split(content[:-2], chr(10))) AS body"}
	for _, p := range t.partitions {
		value := fmt.Sprintf("url_decode(regexp_extract(filename, %s, 1))", doubled("'", "/"+regexpQuote(p.name)+"=([^/]*)/"))
		if p.date {
			value = "CAST(" + value + " AS DATE)"
		}
		columns = append(columns, value+" AS "+doubled(`"`, p.name))
	}
	return t.duckdbSetup() + fmt.Sprintf("CREATE OR REPLACE VIEW %s AS\nSELECT %s\nFROM read_text(%s);\n", doubled(`"`, t.Name), strings.Join(columns, ", "), from), nil
}

func regexpQuote(text string) string {
	var b strings.Builder
	for _, c := range text {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// duckdbURL is the place as DuckDB's file systems know it.
func (t *table) duckdbURL(path string) string {
	switch t.Files.Place {
	case sinks.OnS3:
		return "s3://" + path
	case sinks.OnGCS:
		return "gs://" + path
	case sinks.OnAzure:
		return "az://" + path
	}
	return path
}

// duckdbSetup loads what stores need. Credentials are looked for where the provider's own tools do.
func (t *table) duckdbSetup() string {
	name := doubled(`"`, t.Name+"_store")
	switch f := t.Files; f.Place {
	case sinks.OnS3:
		options := []string{"TYPE s3", "PROVIDER credential_chain", "SCOPE " + doubled("'", "s3://"+f.Root)}
		if f.Region != "" {
			options = append(options, "REGION "+doubled("'", f.Region))
		}
		if f.Endpoint != "" {
			scheme, host, _ := strings.Cut(f.Endpoint, "://")
			options = append(options, "ENDPOINT "+doubled("'", host), fmt.Sprintf("USE_SSL %t", scheme == "https"))
		}
		if f.PathStyle {
			options = append(options, "URL_STYLE 'path'")
		}
		return "INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;\nCREATE OR REPLACE SECRET " + name + " (" + strings.Join(options, ", ") + ");\n"
	case sinks.OnGCS:
		return "INSTALL httpfs; LOAD httpfs;\nCREATE OR REPLACE SECRET " + name + " (TYPE gcs, PROVIDER credential_chain, SCOPE " + doubled("'", "gs://"+f.Root) + ");\n"
	case sinks.OnAzure:
		return "INSTALL azure; LOAD azure;\nCREATE OR REPLACE SECRET " + name + " (TYPE azure, PROVIDER credential_chain);\n"
	}
	return ""
}

// duckdbType is the type of a column.
func duckdbType(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return "BOOLEAN"
	case *arrow.Int8Type:
		return "TINYINT"
	case *arrow.Int16Type:
		return "SMALLINT"
	case *arrow.Int32Type:
		return "INTEGER"
	case *arrow.Int64Type, *arrow.DurationType:
		return "BIGINT"
	case *arrow.Uint8Type:
		return "UTINYINT"
	case *arrow.Uint16Type:
		return "USMALLINT"
	case *arrow.Uint32Type:
		return "UINTEGER"
	case *arrow.Uint64Type:
		return "UBIGINT"
	case *arrow.Float16Type, *arrow.Float32Type:
		return "FLOAT"
	case *arrow.Float64Type:
		return "DOUBLE"
	case *arrow.Date32Type, *arrow.Date64Type:
		return "DATE"
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return "TIMESTAMPTZ"
		}
		return "TIMESTAMP"
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return "BLOB"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("DECIMAL(%d, %d)", t.Precision, t.Scale)
	case *arrow.MapType:
		return "MAP(" + duckdbType(t.KeyType()) + ", " + duckdbType(t.ItemType()) + ")"
	case *arrow.ListType:
		return duckdbType(t.Elem()) + "[]"
	}
	return "VARCHAR"
}
