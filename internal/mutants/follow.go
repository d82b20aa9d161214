package main

// followMutants break what a run that follows, forget and other selections promise.
var followMutants = []mutant{
	{
		name: "follow: an outage has no end",
		file: "host/pipeline/revive.go", old: "\t\tp.dry = 0\n\t}\n}", new: "\t}\n}",
		test: "^TestAfterAnOutageAllIsTried$",
	},
	{
		name: "retry: hurries a vendor that has said when",
		file: "host/pipeline/nudge.go", old: "case w.told:", new: "case false:",
		test: "^TestRetryNowLeavesTheVendorsWord$",
	},
	{
		name: "follow: up to the vendor's now, lag or not",
		file: "host/pipeline/run.go", old: "if to.IsZero() || r.ahead {\n\t\tto = horizon", new: "if to.IsZero() || r.ahead {\n\t\tto, _ = now, horizon",
		test: "^TestFollowReadsWhatHasClosed$",
	},
	{
		name: "follow: each tick opens a window",
		file: "host/pipeline/follow.go", old: "if w.parked || w.sinks&set == 0 || w.recheck != nil {", new: "if w != nil {",
		test: "^TestFollowGrowsWindows$",
	},
	{
		name: "follow: the vendor's clock is asked once",
		file: "host/pipeline/follow.go", old: "err = r.clock.ask(ctx, src, host)", new: "_ = host",
		test: "^TestFollowWhenClocksStep$",
	},
	{
		name: "follow: a timer is trusted through sleep",
		file: "host/pipeline/follow.go", old: "left := sleepCheck", new: "left := 100 * sleepCheck",
		test: "^TestFollowThroughSleep$",
	},
	{
		name: "follow: quarantine has no end",
		file: "host/pipeline/revive.go", old: "\t\t\tdefault:\n\t\t\t\tr.unpark(w, now)", new: "\t\t\tdefault:",
		test: "^TestFollowPassesABadSlice$",
	},
	{
		name: "follow: an outage makes slice after slice",
		file: "host/pipeline/revive.go", old: "if p.dry < dryAfter || !r.follows() {", new: "if p != nil {",
		test: "^TestFollowThroughAnOutage$",
	},
	{
		name: "follow: older gaps before the tail",
		file: "host/pipeline/schedule.go", old: "if r.cfg.Tail && r.follows() {", new: "if r.cfg.Tail && !r.follows() {",
		test: "^TestFollowTail$",
	},
	{
		name: "follow: a slice that was read in the end is a failure still",
		file: "host/pipeline/revive.go", old: "r.summary.Faults = dropFault(r.summary.Faults, w.slice.ID)", new: "_ = dropFault",
		test: "^TestFollowThroughAnOutage$",
	},
	{
		name: "follow: what came meanwhile must be there at the end",
		file: "host/pipeline/summary.go", old: "s.Due += missing.Minus(r.followWork()).Duration()", new: "s.Due += missing.Duration()",
		test: "^TestFollowStopsWithWorkLeft$",
	},
	{
		name: "follow: a range that counts back leaves a hole behind it",
		file: "host/pipeline/follow.go", old: "n > 0 && covered[n-1].To.Before(p.from) {", new: "n > 0 && covered[n-1].To.IsZero() {",
		test: "^TestFollowLast$",
	},
	{
		name: "forget: while the data is there",
		file: "host/pipeline/forget.go", old: "case !f.o.Remove && !f.o.Keep && len(one.Left) > 0:", new: "case false:",
		pkg: "./cmd/sluice", test: "^TestForget$",
	},
	{
		name: "forget: parts of commits",
		file: "host/pipeline/forget.go", old: "\tif len(split) > 0 {\n", new: "\tif len(split) > 1<<30 {\n",
		pkg: "./cmd/sluice", test: "^TestForget$",
	},
	{
		name: "forget: the data goes and the commit stays",
		file: "sinks/parts/withdraw.go", old: "r, err := k.log.Forget(ctx, first.Partition, first.Day(), numbers)", new: "r, err := commits[0], error(nil)",
		pkg: "./sinks/file", test: "^TestWithdraw$",
	},
	{
		name: "forget: what a crash left is in the way",
		file: "sinks/commitlog/remove.go", old: "if !old.forgotten || !old.rng().Meets(c.Slice.Range()) || stands(old.id) {", new: "if stands(old.id) || old.number > 0 {",
		pkg: "./sinks/file", test: "^TestWithdraw$",
	},
	{
		name: "forget: a forgotten slice of a topic is in the way",
		file: "sinks/kafka/coverage.go", old: "if e.forgotten || e.forgets != nil || !e.rng().Meets(s.Range()) {", new: "if !e.rng().Meets(s.Range()) {",
		test: "^TestCoverageHasNoHoles$",
	},
	{
		name: "selections: both in one folder",
		file: "sinks/commitlog/selection.go", old: "if s, ok := o.Streams[stream]; !ok || s.Selection == id {", new: "if o.V > 0 {",
		pkg: "./sinks/object", test: "^TestNewSelection$",
	},
	{
		name: "selections: let in by anyone",
		file: "sinks/commitlog/selection.go", old: "\tcase !add:\n", new: "\tcase !add && who == \"\":\n",
		pkg: "./sinks/object", test: "^TestNewSelection$",
	},
	{
		name: "to_bound: what is counted twice goes unseen",
		file: "cmd/sluice/tobound.go", old: "case pieces > all && set == boundExclusive:\n\t\treturn boundInclusive, nil", new: "case pieces > all && set == boundExclusive:\n\t\treturn set, nil",
		test: "^TestToBound$",
	},
}
