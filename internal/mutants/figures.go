package main

// figureMutants are the mistakes of what holds deliveries against the vendor's figures, and of what is told of them.
var figureMutants = []mutant{
	{
		name: "figures: a day that is covered in part is judged",
		file: "host/reconcile/judge.go", old: "case !d.Covered:", new: "case !d.Covered && d.Bytes < 0:",
		test: "^TestJudge$",
	},
	{
		name: "figures: one that may still grow is taken",
		file: "host/reconcile/judge.go", old: "func settled(d Day) bool { return", new: "func settled(d Day) bool { return d.Bytes >= 0 ||",
		test: "^TestJudge$",
	},
	{
		name: "figures: an empty day passes",
		file: "host/reconcile/judge.go", old: "case had == 0 && figure > few:", new: "case had == 0 && figure < 0:",
		test: "^TestJudge$",
	},
	{
		name: "figures: the mean instead of the median",
		file: "host/reconcile/judge.go", old: "\tscale = median(ratios)\n", new: "\tfor _, x := range ratios {\n\t\tscale += x / float64(len(ratios))\n\t}\n",
		test: "^TestCalibrationIsRobust$",
	},
	{
		name: "figures: no record weighs more than its bytes",
		file: "host/reconcile/judge.go", old: "for _, overhead := range overheads {", new: "for _, overhead := range overheads[:0] {",
		test: "^TestCalibrationIsRobust$",
	},
	{
		name: "figures: dead letters that were sent again count twice",
		file: "host/reconcile/days.go", old: "if r.Slice.Rev == 0 || isLate {", new: "if r.Slice.Rev == 0 || isLate || !isLate {",
		test: "^TestLateRevisionsAreToldFromDeadLetters$",
	},
	{
		name: "figures: what was indexed after the figure counts against it",
		file: "host/reconcile/days.go", old: "if d.Figure.Told() && e.Read.After(d.Figure.At) {", new: "if d.Figure.Told() && e.Read.After(d.Figure.At) && e.Rows == 0 {",
		test: "^TestDays$",
	},
	{
		name: "figures: a log without a figure is told to be empty before the day has settled",
		file: "plugins/rapid7/meter.go", old: "if !has && (!settled || !told[d] && !documented) {", new: "if !has && (!settled && has || !told[d] && !documented) {",
		pkg: "./plugins/rapid7download", test: "^TestMeasureTellsUsageByDay$",
	},
	{
		name: "figures: a request for each log",
		file: "plugins/rapid7/meter.go", old: "if !m.last.days.Contains(asked) ||", new: "if m.last.days.Contains(asked) || m.last.days.Empty() ||",
		pkg: "./plugins/rapid7download", test: "^TestMeasureTellsUsageByDay$",
	},
	{
		name: "figures: of a log that is read through a query",
		file: "plugins/rapid7download/client.go", old: "if c.settings.Query != rapid7.MatchAll {", new: "if c.settings.Query == \"\" {",
		test: "^TestMeasureIsOfWholeLogs$",
	},
	{
		name: "figures: a count that ends where the search ends",
		file: "plugins/elsa/measure.go", old: "if rows == searchEnd {", new: "if rows < 0 {",
		test: "^TestMeasureWhereTheSearchEnds$",
	},
	{
		name: "figures: asked for at each run",
		file: "host/pipeline/sample.go", old: "since > -sampleRefused && since < sampleEvery", new: "since > -sampleRefused && since < 0",
		test: "^TestClosedDaysAreSampled$",
	},
	{
		name: "figures: never taken again",
		file: "host/pipeline/sample.go", old: "if !m.At.Before(m.To.Add(sampleSettles)) {", new: "if !m.At.Before(m.To) {",
		test: "^TestClosedDaysAreSampled$",
	},
	{
		name: "figures: a run that was stopped waits for them",
		file: "host/pipeline/sample.go", old: "if !stopped {", new: "if stopped || !stopped {",
		test: "^TestStoppedRunsDontWaitForSamples$",
	},
	{
		name: "report: hours are rounded up",
		file: "host/report/document.go", old: "hundredths := ms % hour * 100 / hour", new: "hundredths := (ms%hour*100 + hour - 1) / hour",
		test: "^TestHoursAreNeverMoreThanThereAre$",
	},
	{
		name: "report: the clock is in it",
		file: "host/report/build.go", old: "AsOf: stamp(asOf), Over:", new: "AsOf: stamp(time.Now()), Over:",
		test: "^TestReport$",
	},
	{
		name: "report: a slice of another month counts",
		file: "host/report/build.go", old: "if b.month.Contains(r.Slice.Range()) {", new: "if r.Slice.From.Before(b.month.To) {",
		test: "^TestReportAddsUp$",
	},
	{
		name: "sql: quotes in a path end the text",
		file: "host/views/quote.go", old: "strings.ReplaceAll(text, mark, mark+mark)", new: "text",
		test: "^TestSQLIsParsed$",
	},
	{
		name: "sql: quotes in a path, seen by the engine",
		file: "host/views/quote.go", old: `strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(text)`, new: "text",
		pkg: "./cmd/sluice", test: "^TestSQLReadsWhatWasWritten$",
	},
	{
		name: "sql: compressed files are left out",
		file: "host/views/views.go", old: "\t\tend += \"*\"\n", new: "",
		pkg: "./cmd/sluice", test: "^TestSQLReadsWhatWasWritten$",
	},
}
