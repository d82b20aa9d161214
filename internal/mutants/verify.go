package main

// verifyMutants break what `sluice verify` promises: that anything that isn't as it was committed is found.
var verifyMutants = []mutant{
	{
		name: "verify: doesn't compare bytes",
		file: "sinks/audit.go", old: "case got.Bytes != want.Bytes:", new: "case false:",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit$",
	},
	{
		name: "verify: doesn't compare the digest",
		file: "sinks/audit.go", old: "case got.Digest != want.Digest:", new: "case false:",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit$",
	},
	{
		name: "verify: doesn't look for files that no commit names",
		file: "host/verify/verify.go", old: "if err := v.strays(ctx); err != nil && !v.passes(ctx, err) {", new: "if err := ctx.Err(); err != nil {",
		test: "^TestSink$",
	},
	{
		name: "verify: takes a copy under another name for a stranger's file",
		file: "sinks/commitlog/strays.go", old: "case dataName.MatchString(e.Name()):", new: "case partName.MatchString(e.Name()):",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit_of_damage$",
	},
	{
		name: "verify: doesn't compare the SHA-256",
		file: "sinks/parts/audit.go", old: "\tcase sum != p.SHA256:", new: "\tcase sum == \"\":",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit_of_damage$",
	},
	{
		name: "verify: believes a ledger that holds more than the sink",
		file: "host/verify/ledger.go", old: "if _, ok := seen[id]; !ok {", new: "if _, ok := seen[id]; !ok && r.Entry == 0 {",
		test: "^TestLedger$",
	},
	{
		name: "verify: doesn't wait for a host to record what it has committed",
		file: "host/verify/ledger.go", old: "if len(missing) == 0 || !v.Running || ", new: "if len(missing) >= 0 || !v.Running || ",
		test: "^TestLedger$",
	},
	{
		name: "verify: counts a forgotten commit",
		file: "host/verify/verify.go", old: "return slices.Contains(one.Forgets, c.Entry)", new: "return false",
		test: "^TestSink$",
	},
	{
		name: "verify: changes a root that it only reads",
		file: "sinks/commitlog/day.go", old: "synced bool) error {\n\tif l.look {", new: "synced bool) error {\n\tif l.look && e.Commit == nil {",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit_beside_a_writer$",
	},
	{
		name: "verify: doesn't look for parts that aren't in place yet",
		file: "sinks/commitlog/readonly.go", old: "if !errors.Is(gone, fs.ErrNotExist) {", new: "if f != nil || gone != nil {",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^audit_beside_a_writer$",
	},
	{
		name: "verify: counts others' messages",
		file: "sinks/kafka/audit.go", old: " || r.ProducerID != a.place.producer", new: "",
		test: "^TestAudit$",
	},
	{
		name: "verify: doesn't compare dead letters",
		file: "host/pipeline/deadcheck.go", old: "\tcase what != \"\":", new: "\tcase false:",
		test: "^TestCheckDead$",
	},
	{
		name: "verify: takes dead letters that were sent again for late records",
		file: "host/verify/drift.go", old: "if sum.Rows > dead {", new: "if sum.Rows > 0 {",
		test: "^TestCompare$",
	},
}
