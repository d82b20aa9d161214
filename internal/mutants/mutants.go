package main

// mutants are the mistakes, by the part of the program that would make them.
var mutants = []mutant{
	{
		name: "plans without the coverage",
		file: "host/pipeline/partition.go", old: "gaps[i] = want.Minus(p.covered[i])", new: "gaps[i] = want",
		test: "^TestEveryMillisecondOnce$/^0$",
	},
	{
		name: "plans without the coverage, seen from outside",
		file: "host/pipeline/partition.go", old: "gaps[i] = want.Minus(p.covered[i])", new: "gaps[i] = want",
		pkg: "./cmd/sluice", test: "^TestTwoSinks$",
	},
	{
		name: "covers the future: asks for it",
		file: "host/pipeline/clock.go", old: "now.Add(-lag).Truncate(time.Millisecond)", new: "now.Add(lag).Truncate(time.Millisecond)",
		test: "^TestTheFutureIsNeitherAskedForNorCovered$",
	},
	{
		name: "asks for what a coarse clock can't call closed",
		file: "host/pipeline/clock.go", old: "if c.tellsSeconds() {", new: "if false {",
		test: "^TestAHorizonIsNoFinerThanTheVendorsClock$",
	},
	{
		name: "covers the future: takes the host's clock for the vendor's",
		file: "host/pipeline/clock.go", old: "if host {\n\t\tc.set(c.now())", new: "if true {\n\t\tc.set(c.now())",
		pkg: "./cmd/sluice", test: "^TestVendorClock$",
	},
	{
		name: "covers the future: commits an answer that is too young",
		file: "host/pipeline/carry.go", old: "young > 0 {", new: "young > 1<<62 {",
		test: "^TestAnAnswerThatIsTooYoungIsNotCommitted$",
	},
	{
		name: "writes the ledger before the sink",
		file: "host/pipeline/carry.go",
		old:  "receipt, err := r.commitLeg(ctx, w, l, m)",
		new: "_ = r.cfg.Ledger.Record(ctx, l.sink.Identity(), sinks.Receipt{Slice: w.slice, Delivered: l.delivered, Dead: l.deadSum, At: time.Now()})\n" +
			"\t\t\treceipt, err := r.commitLeg(ctx, w, l, m)",
		test: "^TestEveryMillisecondOnce$",
	},
	{
		name: "commits a truncated read: the source doesn't see the cap",
		file: "plugins/rapid7download/source.go", old: "if d.rows >= s.client.settings.most() {", new: "if d.rows > s.client.settings.most() {",
		pkg: "./cmd/sluice", test: "^TestEveryLineOnce$/^csv$",
	},
	{
		name: "commits a truncated read: the host takes it for complete",
		file: "host/supervisor/collect.go", old: "c.end = &flow.Truncated{Slice: c.read.slice, Into: parts, Rows: m.GetRows(), Bytes: m.GetBytes()}", new: "c.end = io.EOF",
		test: "^TestRead$/^truncated$",
	},
	{
		name: "takes a cut stream for an end: of the vendor",
		file: "plugins/rest/answer.go", old: "err = a.cut(err)", new: "err = io.EOF",
		pkg: "./cmd/sluice", test: "^TestFaultyVendor$",
	},
	{
		name: "takes a cut stream for an end: a text that ends by closing",
		file: "plugins/rest/answer.go", old: "return r.ProtoMajor == 1 && r.ContentLength < 0", new: "return r.ProtoMajor == 9 && r.ContentLength < 0",
		test: "^TestAnswersThatProveNothing$",
	},
	{
		name: "takes a cut stream for an end: of the plugin",
		file: "host/supervisor/read.go", old: `return p.violation("a read ended without Done or Truncated")`, new: "return io.EOF",
		test: "^TestReadFails$",
	},
	{
		name: "renames before the commit point is durable",
		file: "sinks/commitlog/staging.go",
		old:  "\tif err := l.fs.SyncDir(d.dir); err != nil {\n\t\treturn sinks.Receipt{}, s.doubt(err)\n\t}\n\tif e.Commit != nil {",
		new:  "\tif e.Commit != nil {",
		pkg:  "./sinks/file", test: "^TestConformance$/^ndjson_none$",
	},
	{
		name: "renames before the commit point",
		file: "sinks/commitlog/staging.go",
		old:  "\t\tnumber := d.last + 1\n",
		new:  "\t\tnumber := d.last + 1\n\t\tif e.Commit != nil {\n\t\t\tfor i, p := range e.Commit.Parts {\n\t\t\t\t_ = l.place(s.nonce, i, p.Bytes, l.final(p.Path), true)\n\t\t\t}\n\t\t}\n",
		pkg:  "./sinks/file", test: "^TestConformance$/^ndjson_none$",
	},
	{
		name: "replaces an existing log entry",
		file: "sinks/commitlog/staging.go", old: "l.fs.PutAbsent(filepath.Join(s.dir, entryName), name)", new: "l.fs.Rename(filepath.Join(s.dir, entryName), name)",
		pkg: "./sinks/file", test: "^TestConformance$/^ndjson_none$",
	},
	{
		name: "spool: a file is used whatever its checksums say",
		file: "host/spool/frame.go", old: "if !bytes.Equal(w.tag[:], head[16:]) {", new: "if len(w.tag) == 0 {",
		test: "^TestDamage$",
	},
	{
		name: "spool: a file is used without its end mark",
		file: "host/spool/frame.go", old: "\t\tcase err != nil:\n\t\t\treturn err\n\t\tcase first !=", new: "\t\tcase err != nil:\n\t\t\treturn nil\n\t\tcase first !=",
		test: "^TestDamage$",
	},
	{
		name: "spool: a read ends when no sink takes it any more",
		file: "host/pipeline/carry.go", old: "if len(alive) == 0 && !r.keepsOn(reader, legs) {", new: "if len(alive) == 0 {",
		test: "^TestASinkThatFailsCostsNoSecondRead$",
	},
	{
		name: "spool: a file stays when every sink has the slice",
		file: "host/pipeline/spool.go", old: "\tif !needed {\n", new: "\tif !needed && r == nil {\n",
		test: "^TestASinkThatFailsCostsNoSecondRead$",
	},
	{
		name: "plan: the budget's share is ignored",
		file: "cmd/sluice/plan.go", old: "budget.Allowed(b.allRequests, b.share), budget.Allowed(b.allOf, b.share)",
		new: "budget.Allowed(b.allRequests, 1), budget.Allowed(b.allOf, 1)", test: "^TestForecastHolds$",
	},
	{
		name: "sweeps a folder that a late commit then names: not taken away first",
		file: "sinks/commitlog/settle.go",
		old:  "\terr := l.fs.Rename(l.meta(stagingDir, n.String()), swept)\n",
		new:  "\tswept = l.meta(stagingDir, n.String())\n\t_, err := l.fs.Lstat(swept)\n",
		pkg:  "./sinks/file", test: "^TestConformance$/^ndjson_none$",
	},
	{
		name: "sweeps a folder that a late commit then names: the log isn't read again",
		file: "sinks/commitlog/settle.go",
		old:  "\tif err := l.refresh(ctx, d); err != nil {\n\t\treturn err\n\t}\n\treturn l.settleSwept(d, n, swept)",
		new:  "\treturn l.settleSwept(d, n, swept)",
		pkg:  "./sinks/file", test: "^TestConformance$/^ndjson_none$",
	},
	{
		name: "heals the ledger downwards from a log that lost entries",
		file: "host/pipeline/heal.go", old: "if !seen[day] {", new: "if !seen[day] && r == nil {",
		test: "^TestALogThatLostEntriesStopsThePipeline$",
	},
	{
		name: "heals the ledger downwards, seen from outside",
		file: "host/pipeline/heal.go", old: "if !seen[day] {", new: "if !seen[day] && r == nil {",
		pkg: "./cmd/sluice", test: "^TestDataFolder$/^lost_entries$",
	},
	{
		name: "grants without release",
		file: "proto/credit/window.go", old: "\tw.outstanding += n\n\treturn nil", new: "\tw.outstanding += n\n\tw.owed += n\n\treturn w.flush()",
		test: "^(TestWindow|TestPair)$",
	},
	{
		name: "grants without release, in a read",
		file: "host/supervisor/collect.go", old: "\tif in.Batch != nil || in.Dead != nil {\n\t\tif c.layout == nil {",
		new:  "\tif in.Batch != nil || in.Dead != nil {\n\t\tdefer func() { _ = c.read.window.Release(int64(in.Size)) }()\n\t\tif c.layout == nil {",
		test: "^TestNothingComesWithoutRelease$",
	},
	{
		name: "drops a rejected record: from the dead letters and the sums",
		file: "host/pipeline/deadletter.go", old: "\tif len(rejected) == 0 {\n", new: "\tif len(rejected) >= 0 {\n",
		test: "^TestDeadLettersAndRejectedRecordsAreKept$",
	},
	{
		name: "drops a rejected record: counted, not kept",
		file: "host/pipeline/carry.go", old: "if err := l.dead.seal(); err != nil {", new: "if err := error(nil); err != nil {",
		test: "^TestDeadLettersAndRejectedRecordsAreKept$",
	},
	{
		name: "kafka: takes an aborted marker for a commit",
		file: "sinks/kafka/tape.go", old: "if !isCommit(r) {", new: "if len(r.Key) < 4 {",
		test: "^TestForeignTransaction$",
	},
	{
		name: "kafka: doesn't see a commit above somebody else's open transaction",
		file: "sinks/kafka/tape.go", old: "return t.readOpen(ctx, partition, offset, end, take)", new: "return nil",
		test: "^TestForeignTransaction$",
	},
	{
		name: "kafka: takes a commit in doubt for one that failed",
		file: "sinks/kafka/txn.go", old: "only a fence and the markers tell.\n\t\tk.drop(t.lane)", new: "only a fence and the markers tell.",
		test: "^TestNoRaceConformance$/^lost_answer_of_each_step$",
	},
}
