package main

// lateMutants are the mistakes of rechecks.
var lateMutants = []mutant{
	{
		name: "recheck: a figure of just now spares a read",
		file: "host/pipeline/moved.go", old: "r.clock.Now().Add(-measureApart)", new: "r.clock.Now()",
		test: "^TestRecheckFigureOfJustNow$",
	},
	{
		name: "recheck: takes what a sink holds for a set, whose counts don't matter",
		file: "host/multiset/multiset.go", old: "\ts.counts[i]--\n\ts.left--\n", new: "\ts.left--\n",
		pkg: "./host/pipeline", test: "^TestRecheckAsked$",
	},
	{
		name: "recheck: takes what a sink holds for a set, in the file",
		file: "host/multiset/spill.go", old: "binary.BigEndian.PutUint32(e[:], count-1)", new: "binary.BigEndian.PutUint32(e[:], count)",
		test: "^TestSetLikeMap$",
	},
	{
		name: "recheck: doesn't raise the revision",
		file: "host/pipeline/recheck.go", old: "\treturn rev + 1\n", new: "\treturn 1\n",
		test: "^TestRecheckAsked$",
	},
	{
		name: "recheck: doesn't read what earlier ones added",
		file: "host/pipeline/held.go", old: "\tfor _, x := range receipts {\n", new: "\tfor _, x := range receipts {\n\t\tif x.Slice.Rev > 0 {\n\t\t\tcontinue\n\t\t}\n",
		test: "^TestRecheckAsked$",
	},
	{
		name: "recheck: doesn't know dead letters",
		file: "host/pipeline/held.go", old: "\t\tif x.Dead.Rows > 0 {\n", new: "\t\tif x.Dead.Rows > 1<<40 {\n",
		test: "^TestRecheckKnowsDeadLetters$",
	},
	{
		name: "recheck: sends what a sink lost as if it were late",
		file: "host/pipeline/held.go", old: "case sum != x.Delivered:", new: "case x.Slice.Rev > 1<<30:",
		test: "^TestRecheckRefuses$",
	},
	{
		name: "recheck: compares an entry that reaches out of its range",
		file: "host/pipeline/recheck.go", old: "\t\tif grown == span {\n\t\t\tbreak\n\t\t}\n", new: "\t\tif grown == grown {\n\t\t\tbreak\n\t\t}\n",
		test: "^TestRecheckWholeEntries$",
	},
	{
		name: "recheck: takes a figure of after the read for one of before",
		file: "host/pipeline/moved.go", old: "b.Range == now.Range && !b.At.After(at)", new: "b.Range == now.Range",
		test: "^TestRecheckFigureAfterTheRead$",
	},
	{
		name: "recheck: forgets after a crash what it found",
		file: "host/pipeline/recheck.go", old: "\tif at < 0 {\n\t\treturn nil\n\t}\n\tfound", new: "\tif at < 0 || r != nil {\n\t\treturn nil\n\t}\n\tfound",
		test: "^TestRecheckCrash$",
	},
}
