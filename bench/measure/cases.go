package main

import (
	"context"
)

// benchCase is one way to do one piece of work.
type benchCase struct {
	Key     string // by which other cases and goals name it
	Title   string
	Group   group
	Base    string // key of the case that the throughput is a ratio of; "" for none
	Repeats string // key of the case that this one repeats, for the A/A pair; "" if it repeats none
	Peak    bool   // of Sluice: its memory is judged
	Warm    bool   // runs once before the rounds, because the simulator makes its answer then
	// Optional: that it fails, or takes longer than optionalTime, is said in the output and ends nothing. Other releases of a peer may want other words.
	Optional bool
	run      func(ctx context.Context, b *bench, folder string) (run, error)
	check    func(ctx context.Context, b *bench, folder string) error
}

// group is a heading of the table.
type group string

// Groups, in their order in the table.
const (
	groupLines group = "Lines of a download"
	groupGzip  group = "A compressed answer"
	groupKafka group = "Kafka, acks=all, one transaction"
	groupJSON  group = "JSON, unpacked"
)

// Keys of cases.
const (
	keyCurl         = "curl"
	keyRaw          = "raw"
	keyRawDefault   = "raw-default"
	keyNDJSON       = "ndjson"
	keyParquet      = "parquet"
	keyPyarrow      = "pyarrow"
	keyDuckJSON     = "duckdb-ndjson"
	keyDuckParquet  = "duckdb-parquet"
	keyConnect      = "redpanda-connect"
	keyFluentBit    = "fluent-bit"
	keyCurlGzip     = "curl-gzip"
	keyRawGzip      = "raw-gzip"
	keyKafkaTool    = "kafka-tool"
	keyKafka        = "kafka"
	keyKafkaDefault = "kafka-default"
	keyConnectKafka = "redpanda-connect-kafka"
	keyELSA         = "elsa"
	keyLogentries   = "logentries"
)

// What the second of an A/A pair has behind its key and its title.
const (
	againSuffix = "-again"
	againTitle  = ", again"
)

// Names of files end in these.
const (
	parquetExtension = ".parquet"
	ndjsonExtension  = ".ndjson"
	rawExtension     = ".log"
)

// Parts of a config. A source is filled in by vendor.source.
const (
	wholeDay           = "slice: 24h" // one request a day, as curl's
	quarterDay         = "slice: 6h"
	sinkRaw            = "type: file, config: {path: ./out, format: raw}"
	sinkNDJSON         = "type: file, config: {path: ./out, format: ndjson}"
	sinkParquet        = "type: parquet, config: {path: ./out, compression: zstd}"
	sourceDownload     = `type: rapid7-download, config: {base_url: "%[1]s", ` + settingsDownload + `}`
	sourceDownloadGzip = `type: rapid7-download, config: {base_url: "%[2]s", ` + settingsDownload + `, gzip: true}`
	sourceDownloadMade = `type: rapid7-download, config: {base_url: "%[1]s", ` + settingsDownload + `, gzip: true}` // compressed while it is sent
	settingsDownload   = `api_key: "${env:BENCH_API_KEY}", logs: ["%[3]s"], budget: {requests: 1000000}`
)

// cases returns the cases on a memory file system, or on disk, where what counts is that data is durable. Peers that aren't installed are
// left out.
func (o options) cases(b *bench, disk bool) []benchCase {
	curl := benchCase{Key: keyCurl, Title: "`curl > file`", Group: groupLines, run: runCurl, check: checkCurl}
	if disk {
		curl.Title, curl.run = "`curl > file && sync file`", runCurlSync
	}
	raw := sluiceCase(keyRaw, "raw", sourceDownload, wholeDay, sinkRaw, checkRaw)
	ndjson := sluiceCase(keyNDJSON, "NDJSON", sourceDownload, wholeDay, sinkNDJSON, checkNDJSON)
	parquet := sluiceCase(keyParquet, "Parquet zstd", sourceDownload, wholeDay, sinkParquet, checkParquet)
	all := []benchCase{curl, raw, ndjson, parquet}
	if o.brief {
		return based(all)
	}
	all = append(all, sluiceCase(keyRawDefault, "raw, default slices", sourceDownload, "", sinkRaw, checkRaw))
	if !disk {
		all = append(all, b.peers.lines()...)
	}
	all = append(all, again(curl), again(raw), again(ndjson), again(parquet))
	if disk {
		return based(all)
	}
	gzipped := sluiceCase(keyRawGzip, "raw, from a gzip'd answer", sourceDownloadGzip, wholeDay, sinkRaw, checkRaw)
	gzipped.Group = groupGzip
	all = append(all,
		benchCase{Key: keyCurlGzip, Title: "`curl --compressed > file`", Group: groupGzip, Warm: true, run: runCurlCompressed, check: checkCurl},
		gzipped, again(gzipped))
	if b.broker != nil {
		all = append(all, b.broker.cases(b.peers)...)
	}
	all = append(all, jsonCases()...)
	return based(all)
}

// based names the case that each group's ratios are of: its first.
func based(all []benchCase) []benchCase {
	first := map[group]string{}
	for i := range all {
		c := &all[i]
		if c.Group == groupJSON {
			continue // each has another answer before it
		}
		if first[c.Group] == "" {
			first[c.Group] = c.Key
		}
		c.Base = first[c.Group]
	}
	return all
}

func again(c benchCase) benchCase {
	c.Repeats = c.Key
	c.Key += againSuffix
	c.Title += againTitle
	return c
}

func sluiceCase(key, title, source, flow, sink string, check func(context.Context, *bench, string) error) benchCase {
	return benchCase{
		Key: key, Title: "`sluice run`, " + title, Group: groupLines, Peak: true, check: check,
		run: func(ctx context.Context, b *bench, folder string) (run, error) {
			return runSluice(ctx, b, folder, job{source: b.vendor.source(source), flow: flow, sink: sink})
		},
	}
}
