package object

import (
	"context"
	"strings"
	"testing"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/object/store"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

type m = map[string]any

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   m
		want store.Place
	}{
		{"url", m{"url": "s3://lake/a/b/"}, store.Place{Bucket: "lake", Prefix: "a/b"}},
		{"url without prefix", m{"url": "gs://lake"}, store.Place{Bucket: "lake"}},
		{"shortest bucket", m{"bucket": "abc"}, store.Place{Bucket: "abc"}},
		{"longest bucket", m{"bucket": strings.Repeat("b", 222)}, store.Place{Bucket: strings.Repeat("b", 222)}},
		{"keys", m{"bucket": "lake", "prefix": "/a/"}, store.Place{Bucket: "lake", Prefix: "a"}},
		{"placeholders", m{"url": "s3://lake/{pipeline}/{source}"}, store.Place{Bucket: "lake", Prefix: "prod/elsa"}},
		{"query", m{"url": "s3://lake/a?endpoint=http://localhost:9000&path_style=false&region=x"}, store.Place{Bucket: "lake", Prefix: "a", Endpoint: "http://localhost:9000"}},
		{"endpoint without scheme", m{"bucket": "lake", "endpoint": "localhost:9000", "tls": m{"enabled": false}}, store.Place{Bucket: "lake", Endpoint: "http://localhost:9000"}},
	} {
		p, err := parse(config(t, tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		p.at.TLS = nil
		if p.at != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, p.at, tt.want)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for want, in := range map[string]m{
		"bucket: a bucket is needed":                 {},
		`bucket: "La ke"`:                            {"bucket": "La ke"},
		"bbb\" isn't the name of a bucket":           {"bucket": strings.Repeat("b", 223)},
		`bucket: "ab" isn't`:                         {"bucket": "ab"},
		"url: it stands for":                         {"url": "s3://lake", "bucket": "lake"},
		"begins with none of":                        {"url": "http://lake/x"},
		"url: size isn't one of":                     {"url": "s3://lake?size=1"},
		"{stream} isn't known":                       {"url": "s3://lake/{stream}"},
		"an empty name":                              {"url": "s3://lake/a//b"},
		"access_key and secret_key go together":      {"bucket": "lake", "credentials": m{"access_key": "x"}},
		"credentials.file: it is for gcs":            {"bucket": "lake", "credentials": m{"file": "x"}},
		"region: it is for s3":                       {"url": "gs://lake", "region": "x"},
		"credentials.access_key: the storage":        {"url": "azblob://lake"},
		"secret_key or sas_token, not both":          {"url": "azblob://lake", "credentials": m{"access_key": "a", "secret_key": "b", "sas_token": "c"}},
		"endpoint: it has a path":                    {"bucket": "lake", "endpoint": "https://x/y"},
		"endpoint: it isn't of the form":             {"bucket": "lake", "endpoint": "ftp://x"},
		"tls: it says the contrary":                  {"bucket": "lake", "endpoint": "http://x", "tls": m{"ca_file": "x"}},
		"isn't between 5MiB and 1GiB":                {"bucket": "lake", "upload": m{"part_size": "1MiB"}},
		"too few for part_size":                      {"bucket": "lake", "part_size": "1TiB"},
		"upload.concurrency: 65":                     {"bucket": "lake", "upload": m{"concurrency": 65}},
		"part_size: 10 bytes":                        {"bucket": "lake", "part_size": 10},
		`format: "xml"`:                              {"bucket": "lake", "format": "xml"},
		"format csv has none, gzip, zstd, not":       {"bucket": "lake", "format": "csv", "compression": "snappy"},
		"format parquet has zstd, snappy, none, not": {"bucket": "lake", "format": "parquet", "compression": "gzip"},
		"layout":        {"bucket": "lake", "layout": "_x"},
		"unknown field": {"bucket": "lake", "path": "x"},
	} {
		err := Definition.Check(context.Background(), config(t, in))
		if err == nil || fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", in, err, want)
		}
	}
}

// Every format is written by the same transaction; what stands in the objects is tried where the formats are.
func TestFormats(t *testing.T) {
	for format, extension := range map[string]string{
		"raw": ".log", "csv": ".csv", "parquet": ".parquet", "arrow": ".arrow", "arrow-stream": ".arrows",
	} {
		b := sinktest.NewBucket()
		k, err := open(context.Background(), config(t, m{"bucket": "lake", "format": format}), onBucket(b))
		if err != nil {
			t.Fatal(err)
		}
		carry(t, k, sinktest.Hours("one", 0, 6), 20)
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		all, err := committed(b)
		if err != nil || len(all) != 1 || !strings.HasSuffix(all[0].Path, extension) || all[0].Rows != 20 {
			t.Errorf("%s: %+v, %v", format, all, err)
		}
		wantClean(t, b)
	}
}
