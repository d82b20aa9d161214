package main

// accountMutants are the mistakes that would make the account say what isn't so: read = delivered + dead + filtered, each counted and hashed
// by both ends, and how far behind the coverage is.
var accountMutants = []mutant{
	{
		name: "account: the source's SDK doesn't hash what it sends",
		file: "plugins/emitter.go", old: "\te.sum = e.sum.Plus(sum)\n", new: "\te.sum = e.sum.Plus(sum.Minus(sum))\n",
		pkg: "./plugins", test: "^TestBatchesAreCutIntoFrames$",
	},
	{
		name: "account: the host takes the source's word",
		file: "host/supervisor/collect.go", old: "case sum != c.sum:", new: "case sum != c.sum && r == nil:",
		pkg: "./host/supervisor", test: "^TestReadFails$",
	},
	{
		name: "account: the host compares counts alone",
		file: "host/supervisor/collect.go", old: "case sum != c.sum:", new: "case sum.Rows != c.sum.Rows || sum.Bytes != c.sum.Bytes:",
		pkg: "./host/supervisor", test: "^TestReadFails$/^manifest$",
	},
	{
		name: "account: what arrives at the sinks isn't held against the manifest",
		file: "host/pipeline/carry.go", old: "if manifest.Sum != read || manifest.Slice.ID != w.slice.ID {", new: "if manifest.Slice.ID != w.slice.ID {",
		pkg: "./host/pipeline", test: "^TestManifestMustFitWhatCame$",
	},
	{
		name: "account: the manifest of another slice",
		file: "host/pipeline/carry.go", old: "if manifest.Sum != read || manifest.Slice.ID != w.slice.ID {", new: "if manifest.Sum != read {",
		pkg: "./host/pipeline", test: "^TestManifestMustFitWhatCame$/^slice$",
	},
	{
		name: "account: commits one that doesn't balance",
		file: "host/pipeline/balance.go", old: "\tif a.Balanced() {\n", new: "\tif a.Balanced() || a.Read.Rows > 0 {\n",
		pkg: "./host/pipeline", test: "^TestOnlyABalancedAccountIsCommitted$",
	},
	{
		name: "account: balances by counts alone",
		file: "sinks/sink.go", old: "return a.Read == a.Delivered.Plus(a.Dead).Plus(a.Filtered)",
		new: "return a.Read.Rows == a.Delivered.Plus(a.Dead).Plus(a.Filtered).Rows",
		pkg: "./host/pipeline", test: "^TestOnlyABalancedAccountIsCommitted$",
	},
	{
		name: "account: takes any receipt",
		file: "host/pipeline/balance.go", old: "if r.Slice.ID == s.ID && r.Delivered == a.Delivered && r.Dead == a.Dead {", new: "if r.Slice.ID == s.ID {",
		pkg: "./host/pipeline", test: "^TestReceiptMustFitTheAccount$",
	},
	{
		name: "account: the ledger forgets the digest of a receipt",
		file: "host/ledger/record.go", old: "int64(r.Delivered.Rows), int64(r.Delivered.Bytes), r.Delivered.Digest.String(),",
		new: "int64(r.Delivered.Rows), int64(r.Delivered.Bytes), r.Dead.Digest.String(),",
		pkg: "./host/ledger", test: "^TestReceiptRoundTrip$",
	},
	{
		name: "account: an export of two moments",
		file: "host/ledger/export.go", old: "if err := t.read(ctx, tx, pipelines, row); err != nil {",
		new: "tx, err := l.reader.BeginTx(ctx, nil)\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n\t\tdefer func() { _ = tx.Rollback() }()\n\t\tif err := t.read(ctx, tx, pipelines, row); err != nil {",
		pkg: "./host/ledger", test: "^TestExportIsOfOneMoment$",
	},
	{
		name: "behind: goes by the newest hole",
		file: "cmd/sluice/behind.go", old: "p.firstMissing = missing[0].From\n", new: "p.firstMissing = missing[len(missing)-1].From\n",
		pkg: "./cmd/sluice", test: "^TestBehind$",
	},
	{
		name: "behind: a pipeline that never ran passes",
		file: "cmd/sluice/behind.go", old: "for n, p := range slices.Concat(k.Partitions, k.unknown) {", new: "for n, p := range slices.Clone(k.Partitions) {",
		pkg: "./cmd/sluice", test: "^TestScripts$/^behind$",
	},
	{
		name: "behind: a log that was never committed isn't known",
		file: "cmd/sluice/run.go", old: "\tr.recordAsked(ctx, p)\n", new: "",
		pkg: "./cmd/sluice", test: "^TestScripts$/^behind$",
	},
	{
		name: "behind: a range that moves on hides what it leaves",
		file: "cmd/sluice/behind.go", old: "p.firstMissing = h.To\n", new: "_ = h\n",
		pkg: "./cmd/sluice", test: "^TestBehind$",
	},
	{
		name: "status: draws what is covered over what failed",
		file: "cmd/sluice/bars.go", old: "case within(failed, at) > 0:", new: "case within(failed, at) > 0 && covered == 0:",
		pkg: "./cmd/sluice", test: "^TestCells$",
	},
	{
		name: "metrics: a quote in a name ends it",
		file: "host/metrics/text.go", old: "\"\\n\", `\\n`, `\"`, `\\\"`)", new: "\"\\n\", `\\n`)",
		pkg: "./host/metrics", test: "^TestParses$",
	},
	{
		name: "hints: a revision tells all that its hours hold",
		file: "host/ledger/coverage.go", old: " AND (rev = 0 OR state = 'split') -- a", new: " -- a",
		pkg: "./host/ledger", test: "^TestHints$",
	},
	{
		name: "ledger: a sink is found at whichever of its targets",
		file: "host/ledger/sinks.go", old: "name, registered_ms DESC, identity", new: "name, identity",
		pkg: "./host/ledger", test: "^TestSinksLastFirst$",
	},
	{
		name: "report: asks of a sink what it isn't given",
		file: "host/report/build.go", old: "b.isAsked(p) && s.takes(p.Stream)", new: "b.isAsked(p)",
		pkg: "./host/report", test: "^TestReport$",
	},
	{
		name: "history: each pipeline has the exit of the worst",
		file: "cmd/sluice/summary.go", old: "Exit: p.exit, Summary", new: "Exit: t.Exit, Summary",
		pkg: "./cmd/sluice", test: "^TestEachPipelineHasItsOwnExit$",
	},
	{
		name: "sql: one selection of several",
		file: "cmd/sluice/sqlcmd.go", old: "owner.OtherFolders(stream)...)", new: "owner.OtherFolders(stream)[:0]...)",
		pkg: "./cmd/sluice", test: "^TestNewSelection$",
	},
	{
		name: "plan: counts are weights",
		file: "host/forecast/usage.go", old: "u.weighs || m.Bytes >= 0", new: "true",
		pkg: "./host/forecast", test: "^TestCountsAloneWeighNothing$",
	},
}
