package sinks

import (
	"fmt"
	"testing"

	"github.com/sluice-io/sluice/internal/realpart/kafka"
	"github.com/sluice-io/sluice/internal/realpart/opensearch"
	"github.com/sluice-io/sluice/internal/realpart/otelcol"
	"github.com/sluice-io/sluice/internal/realpart/postgres"
	"github.com/sluice-io/sluice/internal/realpart/rsyslog"
	"github.com/sluice-io/sluice/internal/realpart/s3"
)

// rows starts what the sinks need and returns the cases. The first stands again at the end: an A/A pair.
func rows(b *testing.B) []row {
	b.Helper()
	broker := kafka.Start(b, kafka.Options{})
	store := s3.Start(b, "bench")
	db := postgres.Start(b)
	database := db.Database(b)
	search := opensearch.Start(b)
	const token = "5ca1ab1e-0000-4000-8000-0000000000e5"
	collector := otelcol.Start(b, otelcol.Options{HECToken: token, Drop: true})
	syslog := rsyslog.Start(b)

	file := func(settings string) string {
		return fmt.Sprintf(`{name: out, type: file, config: {path: ./out, %s}}`, settings)
	}
	bus := func(n, settings string) string {
		return fmt.Sprintf(`{name: out, type: kafka, config: {brokers: ["%s"], topic: %s-%%d, marker_topic: %s-%%d-markers, create_topics: {partitions: 4}, %s}}`,
			broker.Address, n, n, settings)
	}
	object := func(n, settings string) string {
		return fmt.Sprintf(`{name: out, type: object, config: {url: "s3://bench/%s-%%d", endpoint: "%s", region: %s, path_style: true, `+
			`credentials: {access_key: %s, secret_key: %s}, %s}}`, n, store.Endpoint, s3.Region, s3.AccessKey, s3.SecretKey, settings)
	}
	raw := row{title: "file, raw", sink: file("format: raw")}
	return []row{
		raw,
		{"file, ndjson", file("format: ndjson"), false},
		{"file, ndjson, zstd", file("format: ndjson, compression: zstd"), false},
		{"file, csv", file("format: csv"), false},
		{"stdout, ndjson, into a pipe", `{name: out, type: stdout, config: {format: ndjson}}`, true},
		{"parquet, zstd", `{name: out, type: parquet, config: {path: ./out, compression: zstd}}`, false},
		{"arrow, zstd", `{name: out, type: arrow, config: {path: ./out, compression: zstd}}`, false},
		{"kafka, raw, transactions", bus("raw", "value: raw"), false},
		{"kafka, json, transactions", bus("json", "value: json"), false},
		{"object (S3), ndjson, zstd", object("ndjson", "format: ndjson, compression: zstd"), false},
		{"object (S3), parquet", object("parquet", "format: parquet"), false},
		{"object (S3), raw", object("raw", "format: raw"), false},
		{"postgres", fmt.Sprintf(`{name: out, type: postgres, config: {host: 127.0.0.1, port: %d, database: %s, user: %s, password: %s, table: "public.t%%d"}}`,
			db.Port, database, postgres.User, postgres.Password), false},
		{"opensearch", fmt.Sprintf(`{name: out, type: opensearch, config: {urls: ["%s"], index: bench-%%d}}`, search.URL), false},
		{"otlp, grpc", fmt.Sprintf(`{name: out, type: otlp, config: {endpoint: "http://%s"}}`, collector.GRPC), false},
		{"splunk_hec, the collector's receiver", fmt.Sprintf(`{name: out, type: splunk_hec, config: {endpoint: "%s", token: %s}}`, collector.HEC, token), false},
		{"syslog, TCP", fmt.Sprintf(`{name: out, type: syslog, config: {address: "%s"}}`, syslog.Address), false},
		{raw.title + ", again", raw.sink, false},
	}
}
