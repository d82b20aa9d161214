package views

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/sinks"
)

// spark writes a table of Spark SQL over the files where they lie.
func (t *table) spark() (string, error) {
	var using string
	options := []string{}
	option := func(key, value string) {
		options = append(options, backslashed(key)+" = "+backslashed(value))
	}
	switch t.Files.Format {
	case "parquet":
		if t.Files.Nanos {
			return "", t.cant(Spark, "it refuses timestamps with nanoseconds; timestamps us or ms can be read")
		}
		using = "PARQUET"
	case "ndjson":
		using = "JSON"
		option("timestampFormat", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSXXX")
		option("mode", "FAILFAST")
	case "csv":
		using = "CSV"
		option("header", "true")
		option("multiLine", "true")
		option("escape", `"`)
		option("emptyValue", "")
		option("timestampFormat", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSXXX")
		option("mode", "FAILFAST")
	case "raw":
		using = "TEXT"
		option("lineSep", "\n")
	default:
		return "", t.cant(Spark, "it has no reader of Arrow files; parquet can be read")
	}
	location, rest := t.base()
	if !t.hive && len(rest) > 0 {
		option("recursiveFileLookup", "true")
	}
	if using != "PARQUET" {
		option("pathGlobFilter", "*"+t.extension()+"*")
	}
	var columns []string
	for _, f := range t.columns() {
		if !t.isPartition(f.Name) {
			columns = append(columns, "  "+doubled("`", f.Name)+" "+t.hiveType(f.Type, Spark))
		}
	}
	partitions := t.below()
	for _, p := range partitions {
		columns = append(columns, "  "+doubled("`", p.name)+" "+p.hiveType())
	}
	sql := fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n%s\n)\nUSING %s\n", doubled("`", t.Name), strings.Join(columns, ",\n"), using)
	if len(options) > 0 {
		sql += "OPTIONS (" + strings.Join(options, ", ") + ")\n"
	}
	if len(partitions) > 0 {
		sql += "PARTITIONED BY (" + names(partitions) + ")\n"
	}
	sql += "LOCATION " + backslashed(t.hadoopURL("s3a://", location)+"/") + ";\n"
	if len(partitions) > 0 {
		sql += "MSCK REPAIR TABLE " + doubled("`", t.Name) + ";\n"
	}
	return sql, nil
}

// athena writes an external table of Athena, whose DDL is Hive's.
func (t *table) athena() (string, error) {
	if t.Files.Place != sinks.OnS3 || t.Files.Endpoint != "" {
		return "", fmt.Errorf("athena reads Amazon S3, and this sink writes elsewhere: an object sink with url s3://BUCKET/PREFIX is what it can read")
	}
	if !t.hive {
		return "", fmt.Errorf("athena knows folders of the form NAME=VALUE alone, whose name no column has, and the layout has others: %s", strings.Join(t.files.Folders, "/"))
	}
	var format string
	switch t.Files.Format {
	case "parquet":
		format = "STORED AS PARQUET\n"
	case "ndjson":
		format = "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\n"
	case "csv":
		return "", t.cant(Athena, "its reader of CSV takes a line break in a value for the end of the record; ndjson and parquet can be read")
	case "raw":
		return "", t.cant(Athena, "its reader of lines takes a carriage return for the end of the record, too; ndjson and parquet can be read")
	default:
		return "", t.cant(Athena, "it has no reader of Arrow files; parquet can be read")
	}
	location, _ := t.base()
	var columns []string
	for _, f := range t.columns() {
		if !t.isPartition(f.Name) {
			columns = append(columns, "  "+doubled("`", f.Name)+" "+strings.ToLower(t.hiveType(f.Type, Athena)))
		}
	}
	sql := fmt.Sprintf("CREATE EXTERNAL TABLE IF NOT EXISTS %s (\n%s\n)\n", doubled("`", t.Name), strings.Join(columns, ",\n"))
	partitions := t.below()
	if len(partitions) > 0 {
		var of []string
		for _, p := range partitions {
			of = append(of, doubled("`", p.name)+" "+strings.ToLower(p.hiveType()))
		}
		sql += "PARTITIONED BY (" + strings.Join(of, ", ") + ")\n"
	}
	sql += format + "LOCATION " + doubled("'", t.hadoopURL("s3://", location)+"/")
	sql += ";\n"
	if len(partitions) > 0 {
		sql += "MSCK REPAIR TABLE " + doubled("`", t.Name) + ";\n"
	}
	return sql, nil
}

func names(all []partition) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = doubled("`", p.name)
	}
	return strings.Join(out, ", ")
}

func (p partition) hiveType() string {
	if p.date {
		return "DATE"
	}
	return "STRING"
}

// hadoopURL is a place as Hadoop's file systems know it.
func (t *table) hadoopURL(s3, path string) string {
	switch t.Files.Place {
	case sinks.OnS3:
		return s3 + path
	case sinks.OnGCS:
		return "gs://" + path
	case sinks.OnAzure:
		container, rest, _ := strings.Cut(path, "/")
		account := t.Files.Endpoint
		if account == "" {
			account = "ACCOUNT.dfs.core.windows.net"
		}
		_, host, found := strings.Cut(account, "://")
		if found {
			account = host
		}
		return "abfss://" + container + "@" + account + "/" + rest
	}
	return "file://" + path
}

// hiveType is the type of a column. Athena's reader of JSON takes times as text: its own form of them isn't the files'.
func (t *table) hiveType(of arrow.DataType, e Engine) string {
	text := t.Files.Format != "parquet"
	switch of := of.(type) {
	case *arrow.BooleanType:
		return "BOOLEAN"
	case *arrow.Int8Type:
		return "TINYINT"
	case *arrow.Int16Type, *arrow.Uint8Type:
		return "SMALLINT"
	case *arrow.Int32Type, *arrow.Uint16Type:
		return "INT"
	case *arrow.Int64Type, *arrow.Uint32Type, *arrow.DurationType:
		return "BIGINT"
	case *arrow.Uint64Type:
		if text {
			return "DECIMAL(20, 0)"
		}
		return "BIGINT"
	case *arrow.Float16Type, *arrow.Float32Type:
		return "FLOAT"
	case *arrow.Float64Type:
		return "DOUBLE"
	case *arrow.Date32Type, *arrow.Date64Type:
		return "DATE"
	case *arrow.TimestampType:
		if e == Athena && text {
			return "STRING"
		}
		return "TIMESTAMP"
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		if text {
			return "STRING" // base64
		}
		return "BINARY"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("DECIMAL(%d, %d)", of.Precision, of.Scale)
	case *arrow.MapType:
		if t.Files.Format == "csv" {
			return "STRING" // JSON
		}
		return "MAP<" + t.hiveType(of.KeyType(), e) + ", " + t.hiveType(of.ItemType(), e) + ">"
	case *arrow.ListType:
		if t.Files.Format == "csv" {
			return "STRING"
		}
		return "ARRAY<" + t.hiveType(of.Elem(), e) + ">"
	}
	return "STRING"
}
