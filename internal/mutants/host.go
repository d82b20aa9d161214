package main

// hostMutants are the mistakes of what the host does beside its slices: dead letters, the start, processes that crash.
var hostMutants = []mutant{
	{
		name: "dead letters: a sink that opens sweeps those of slices at work",
		file: "host/pipeline/bringup.go", old: "r.sweepDead(ctx, setOf(i))", new: "r.sweepDead(ctx, all)",
		test: "^TestDeadLettersAtWorkAreNotSwept$",
	},
	{
		name: "dead letters: those of a commit that was found stay staged",
		file: "host/pipeline/carry.go", old: "\t\t\tr.publishFound(found)\n", new: "",
		test: "^TestDeadLettersOfACommitThatWasFound$",
	},
	{
		name: "dead letters: published beside another host's commit",
		file: "host/pipeline/carry.go", old: "if l.dead != nil && receipt.DeadLetters != l.dead.name {", new: "if l.dead != nil && receipt.Entry > 1<<62 {",
		test: "^TestDeadLettersOfSomeoneElse$",
	},
	{
		name: "dead letters: what can't be read is removed",
		file: "host/pipeline/deadletter.go", old: "\tcase err != nil:\n\t\treturn stagedOwner{}, err\n", new: "\tcase err != nil:\n\t\treturn stagedOwner{}, nil\n",
		test: "^TestStagedDeadLettersThatCannotBeRead$",
	},
	{
		name: "dead letters: a power cut takes the folder that leads to them",
		file: "host/pipeline/deadletter.go", old: "err := sync(filepath.Dir(dir)); err != nil {", new: "err := sync(filepath.Dir(missing[0])); err != nil {",
		test: "^TestFoldersOfDeadLettersLast$",
	},
	{
		name: "dead letters: a file that no commit names is sent",
		file: "host/pipeline/deadretry.go", old: "\tif !named {\n", new: "\tif !named && highest > 1<<30 {\n",
		test: "^TestRetryDeadThatNoCommitNames$",
	},
	{
		name: "dead letters: what was left is sent again and again",
		file: "host/pipeline/deadretry.go", old: "plan = retryPlan{1, slice, letters.count, letters.left, letters.why, kept}", new: "plan = retryPlan{1, slice, letters.count, letters.left, letters.why, kept[:0]}",
		test: "^TestRetryDeadOfWhatWasLeft$",
	},
	{
		name: "dead letters: a recheck takes those that were sent for dead",
		file: "host/pipeline/held.go", old: "\t\tif only != nil && !only[n] {\n", new: "\t\tif only != nil && !only[n] && n < 0 {\n",
		test: "^TestHeldDead$",
	},
	{
		name: "dead letters: a recheck doesn't see that their file was moved",
		file: "host/pipeline/held.go", old: "\t\tonly = nil // it was moved", new: "\t\t_ = only // it was moved",
		test: "^TestHeldDead$",
	},
	{
		name: "dead letters: a recheck writes down once more those that are there",
		file: "host/pipeline/recheckcarry.go", old: "return l.dead.rollBack()", new: "return nil",
		test: "^TestRecheckAddsDeadLettersOnce$",
	},
	{
		name: "dead letters: those of a commit that isn't waited for are thrown away",
		file: "host/pipeline/carry.go", old: "\t\tl.keepDead()\n\t\treturn sinks.Receipt{}, fault.New(fault.InDoubt, \"sink \"+l.sink.Name, \"\", err)", new: "\t\treturn sinks.Receipt{}, fault.New(fault.InDoubt, \"sink \"+l.sink.Name, \"\", err)",
		test: "^TestDeadLettersOfACallThatComesBackLate$",
	},
	{
		name: "sinks: one that is another after it was opened again is taken for the same",
		file: "host/pipeline/bringup.go", old: "err == nil && st.ready && st.identity != o.open.Identity()", new: "err == nil && st.ready && st.identity == \"\"",
		test: "^TestASinkThatIsAnotherWhenItIsOpenedAgain$",
	},
	{
		name: "recheck: compares a part of an entry",
		file: "host/pipeline/held.go", old: "if !within.Contains(x.Slice.Range()) {", new: "if !within.Meets(x.Slice.Range()) {",
		test: "^TestHeldOfWholeEntries$",
	},
	{
		name: "start: what is healed last isn't recorded",
		file: "host/pipeline/heal.go", old: "\tif err := record(); err != nil {\n\t\treturn healed, err\n\t}\n\tfor day", new: "\tfor day",
		test: "^TestRecheckWithoutLedger$",
	},
	{
		name: "start: an entry that someone else committed below our last one is missed",
		file: "host/ledger/entries.go", old: "Dense: n == last}", new: "Dense: n <= last}",
		test: "^TestKnownDays$",
	},
	{
		name: "start: every slice of the sink is looked at for each day",
		file: "host/ledger/entries.go", old: "\t\t\tAND entry > 0 AND entry <= ?5\n", new: "\t\t\tAND entry <= ?5\n",
		test: "^TestPlans$/^known_days$",
	},
	{
		name: "start: the whole commit log is read",
		file: "sinks/commitlog/day.go", old: "if after == 0 || d.loaded || l.look {", new: "if after >= 0 || d.loaded || l.look {",
		pkg: "./sinks/commitlog", test: "^TestCommittedReadsWhatIsNew$",
	},
	{
		name: "recheck: every slice of the sink is looked at for a range",
		file: "host/ledger/record.go", old: "`AND entry > 0 AND `+entryDay", new: "`AND `+entryDay",
		test: "^TestPlans$/^receipts_of_a_range$",
	},
	{
		name: "status: late records hide dead letters",
		file: "host/ledger/runs.go", old: "NOT EXISTS (SELECT 1 FROM rechecks k WHERE", new: "NOT EXISTS (SELECT 1 FROM rechecks k WHERE k.rev < 0 AND",
		test: "^TestDeadNow$",
	},
	{
		name: "status: late records hide dead letters, by a ledger that was rebuilt",
		file: "host/ledger/runs.go", old: "AND l.rows + l.dead_rows <= (SELECT", new: "AND l.rows >= 0 OR l.rows + l.dead_rows <= (SELECT",
		test: "^TestDeadNow$",
	},
	{
		name: "crash: who ran beside it is charged",
		file: "host/pipeline/retry.go", old: "\tif company {\n", new: "\tif company && failures < 0 {\n",
		test: "^TestOnlyTheSliceThatCrashesAloneIsCharged$",
	},
	{
		name: "crash: what is tried alone isn't alone",
		file: "host/pipeline/schedule.go", old: "r.fatal == nil && !r.isAlone() {", new: "r.fatal == nil {",
		test: "^TestNothingStartsBesideASuspect$",
	},
	{
		name: "crash: one slice has its plugin given up",
		file: "host/supervisor/crashloop.go", old: "if len(recent)-(most-1) < c.limit.Starts {", new: "if len(recent) < c.limit.Starts {",
		test: "^TestCrashesSoonAfterTheStartCount$",
	},
	{
		name: "budget: reservations that are done are kept for ever",
		file: "host/supervisor/hostservice.go", old: "\tif s.Done { // or", new: "\tif s.Done && s.Bytes > 1<<62 { // or",
		test: "^TestReservationsThatAreDoneAreForgotten$",
	},
	{
		name: "detach: the last round waits until no try is under way",
		file: "host/pipeline/schedule.go", old: "r.onlyTries() && r.lastRound()", new: "r.running == 0 && r.lastRound()",
		test: "^TestTriesThatTakeLong$",
	},
	{
		name: "detach: the last round asks a vendor sooner than it said",
		file: "host/pipeline/sinkstate.go", old: "st.next = later(at, st.vendor)", new: "st.next = at",
		test: "^TestLastRoundWaitsForTheVendor$",
	},
	{
		name: "detach: a try whose read failed is made again at once, and for ever",
		file: "host/pipeline/sinkstate.go", old: "\t\tif w.lastErr != nil {\n\t\t\tst.fails,", new: "\t\tif w.lastErr != nil && false {\n\t\t\tst.fails,",
		test: "^TestDetachedSinkAndTheVendor$",
	},
	{
		name: "cli: a rebuild that is interrupted between two pipelines is a success",
		file: "cmd/sluice/rebuild.go", old: "failed = errors.Join(failed, ctx.Err())", new: "_ = ctx",
		test: "^TestInterruptedBetweenPipelines$",
	},
	{
		name: "cli: a run that leaves what hangs keeps an earlier summary",
		file: "cmd/sluice/run.go", old: "\t\tr.leave(stop, f.summary)\n", new: "",
		test: "^TestASecondSignalEndsARunWhoseOutputIsStuck$",
	},
}
