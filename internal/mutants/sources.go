package main

// sourceMutants are the mistakes of the vendors' sources, by what they promise.
var sourceMutants = []mutant{
	// Signatures and keys.
	{
		name: "owner's signature: the vendor's sample, which signs nothing",
		file: "plugins/logentries/sign.go", old: "\tmac.Write([]byte(method + contentType", new: "\t_ = ([]byte(method + contentType",
		test: "^TestSign$",
	},
	{
		name: "owner's signature: the sample's, seen by the vendor",
		file: "plugins/logentries/sign.go", old: "\tmac.Write([]byte(method + contentType", new: "\t_ = ([]byte(method + contentType",
		pkg: "./cmd/sluice", test: "^TestEveryStreamOfLogentries$",
	},
	{
		name: "owner's signature: a slash in front of the path",
		file: "plugins/logentries/sign.go", old: `strings.Trim(path, "/")`, new: `"/" + strings.Trim(path, "/")`,
		test: "^TestSnapshots$",
	},
	{
		name: "owner's signature: one for all attempts",
		file: "plugins/logentries/sign.go", old: "date := now.UTC()", new: "date := now.UTC().Truncate(240 * time.Hour)",
		test: "^TestOwnerSignsEachAttempt$",
	},
	{
		name: "owner key is sent",
		file: "plugins/logentries/sign.go", old: `r.Header.Set("Authorization-Api-Key", s.OwnerKeyID+":"+proof)`,
		new:  "r.Header.Set(\"Authorization-Api-Key\", s.OwnerKeyID+\":\"+proof)\n\tr.Header.Set(\"X-Owner\", s.OwnerKey)",
		test: "^TestSnapshots$",
	},
	{
		name: "API key beside the owner's signature",
		file: "plugins/logentries/client.go", old: "signed.Header, signed.Key, signed.Secrets = nil, s.OwnerKeyID,", new: "signed.Key, signed.Secrets = s.OwnerKeyID,",
		pkg: "./cmd/sluice", test: "^TestEveryStreamOfLogentries$",
	},
	{
		name: "x-api-key goes with a redirect",
		file: "plugins/rest/request.go", old: "response, err := c.transport.RoundTrip(request)",
		new:  "response, err := (&http.Client{Transport: c.transport}).Do(request)",
		test: "^TestRedirectIsNeverFollowed$",
	},
	{
		name: "x-api-key goes with a link to a foreign origin",
		file: "plugins/logentries/links.go", old: "if !allowed || u.User != nil {", new: "if !allowed && u.User != nil {",
		test: "^TestFollow$",
	},
	{
		name: "x-api-key goes with a link over plain http",
		file: "plugins/logentries/links.go", old: `strings.HasPrefix(origin, "https://") && vendorHost.MatchString(strings.TrimPrefix(origin, "https://"))`,
		new:  `vendorHost.MatchString(u.Host)`,
		test: "^TestFollow$",
	},
	{
		name: "elsa's signature: the query isn't signed",
		file: "plugins/elsa/sign.go", old: "r.URL.RequestURI()", new: "r.URL.Path",
		test: "^TestNowCheckAndDiscover$",
	},
	{
		name: "elsa's signature: made before the wait for the budget",
		file: "plugins/rest/request.go", old: "\tif err := l.acquire(ctx, 1); err != nil {\n\t\treturn nil, err\n\t}\n\tif err := l.wait(time.Time{}, \"vendor\")",
		new: "\tif r.Sign != nil {\n\t\tearly, err := c.newRequest(ctx, r)\n\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\tr.Sign = func(q *http.Request) { q.Header = early.Header }\n\t}\n" +
			"\tif err := l.acquire(ctx, 1); err != nil {\n\t\treturn nil, err\n\t}\n\tif err := l.wait(time.Time{}, \"vendor\")",
		test: "^TestSignedAfterTheWaitForTheBudget$",
	},
	{
		name: "elsa's signature: one for all attempts",
		file: "plugins/elsa/client.go", old: "sign(q, c.now(),", new: "sign(q, c.now().Truncate(time.Hour),",
		test: "^TestEachAttemptIsSignedAnew$",
	},
	{
		name: "elsa blames the key for a wrong clock",
		file: "plugins/elsa/refusal.go", old: "if skew <= maxSkew {", new: "if skew <= 1000*maxSkew {",
		test: "^TestAWrongClockIsNamed$",
	},

	// What was cut or spoilt.
	{
		name: "elsa: rows that are as many as count aren't truncated",
		file: "plugins/elsa/source.go", old: "return rows >= o.Count ||", new: "return rows > o.Count ||",
		test: "^TestReachedCountIsTruncated$",
	},
	{
		name: "elsa: rows that are as many as the vendor's default count aren't truncated",
		file: "plugins/elsa/source.go", old: " || rows == documentedCount ||", new: " ||",
		test: "^TestWhatCountsAsCut$",
	},
	{
		name: "elsa: a cut answer is cut in halves, whatever times it saw",
		file: "plugins/elsa/source.go", old: "plugins.SplitTruncated(slice, d.order.evidence(slice))", new: "plugins.SplitTruncated(slice, nil)",
		test: "^TestReachedCountIsTruncated$",
	},
	{
		name: "elsa: what is asked isn't held against the documented ranges",
		file: "plugins/elsa/client.go", old: "if err := body.check(); err != nil {", new: "if err := body.check(); false {",
		test: "^TestBodyIsCheckedBeforeItIsSent$",
	},
	{
		name: "elsa: a checksum isn't looked at",
		file: "plugins/elsa/zip.go", old: "e.crc.Sum32() != e.file.CRC32", new: "e.crc.Sum32() != e.crc.Sum32()",
		test: "^TestArchiveLimits$",
	},
	{
		name: "elsa: no limit on what an archive unpacks to for a byte of it",
		file: "plugins/elsa/zip.go", old: "case a.total > a.limits.ratioFrom &&", new: "case a.total > 1<<60 &&",
		test: "^TestArchiveLimits$",
	},
	{
		name: "elsa: names of entries that lead out of the archive",
		file: "plugins/elsa/zip.go", old: "case !local(f.Name):", new: "case false && !local(f.Name):",
		test: "^TestFaults$/^traversal$",
	},
	{
		name: "elsa: an error with status 200 is taken for records",
		file: "plugins/elsa/client.go", old: "case bytes.Equal(start, []byte(\"PK\")):", new: "case bytes.HasPrefix(start, nil):",
		test: "^TestFaults$",
	},
	{
		name: "elsa: a record that is too long is left out",
		file: "plugins/elsa/decode.go", old: "\tif err := e.archive.pause(func() error { return e.out.Dead(ctx, reason, r) }); err != nil {",
		new:  "\tif _, err := io.Copy(io.Discard, r); err != nil {",
		test: "^TestOddEntries$",
	},
	{
		name: "elsa: records in a long wrapper are one record",
		file: "plugins/elsa/decodejson.go", old: "\t\t\tif err := e.suspectLong(p, inArray); err != nil {", new: "\t\t\tif err := e.suspectLong(p, inArray); false {",
		test: "^TestOddEntries$",
	},
	{
		name: "elsa: a long quoted field without an end takes the records behind it",
		file: "plugins/elsa/csv.go", old: "\tcase csvQuoted:\n\t\treturn errShort\n", new: "",
		test: "^TestOddEntries$",
	},
	{
		name: "elsa: a quote in a plain field of a long record opens one",
		file: "plugins/elsa/csv.go", old: "case c == '\"' && e.state == csvBegin:", new: "case c == '\"':",
		test: "^TestOddEntries$",
	},
	{
		name: "elsa: CSV that goes on loses the blanks of its first value",
		file: "plugins/elsa/decode.go", old: "\tif len(e.header) == 0 {\n\t\treturn e.feed.token()\n\t}\n", new: "\tif e.feed.r != nil {\n\t\treturn e.feed.token()\n\t}\n",
		test: "^TestOddEntries$",
	},
	{
		name: "elsa: a spool disk that fails is the vendor's archive",
		file: "plugins/elsa/zip.go", old: "\tif a.disk.err != nil {", new: "\tif false {",
		test: "^TestBrokenSpoolDisk$",
	},
	{
		name: "elsa: a quota that names a second waits a quarter of an hour",
		file: "plugins/elsa/refusal.go", old: "r.code == codeQuota && known && !refused.Told", new: "r.code == codeQuota && known",
		test: "^TestFaults$/^quota,_told_when$",
	},
	{
		name: "elsa: rows come as the archive has them",
		file: "plugins/elsa/sort.go", old: "\t\ts.sorted = false\n", new: "",
		test: "^TestEveryRecordArrivesInOrder$",
	},
	{
		name: "elsa: includeFields are sent as they were pasted",
		file: "plugins/elsa/config.go", old: "\t\tf = strings.TrimSpace(f)\n", new: "",
		test: "^TestNamesAreTrimmedAndSentOnce$",
	},
	{
		name: "elsa: fields that have no column are dropped",
		file: "plugins/elsa/row.go", old: "\tr.attributes = append(r.attributes, a)\n}\n", new: "\t_ = a\n}\n",
		test: "^TestGoldenBatches$",
	},
	{
		name: "query: events of a page that isn't finished are taken",
		file: "plugins/logentries/decode.go", old: `return find(p.links, "self")`, new: `if len(p.events) > 0 {
		return "", false
	}
	return find(p.links, "self")`,
		test: "^TestWhateverHappensEachEventArrivesOnce$",
	},
	{
		name: "query: a link counts by the case of its name",
		file: "plugins/logentries/links.go", old: "strings.EqualFold(l.rel, rel)", new: "l.rel == strings.ToUpper(rel[:1])+rel[1:]",
		test: "^TestDecodePage$",
	},
	{
		name: "query: the first of many links is taken",
		file: "plugins/logentries/links.go", old: "if strings.EqualFold(l.rel, rel) && l.href != \"\" {", new: "if l.href != \"\" {",
		test: "^TestWhateverHappensEachEventArrivesOnce$",
	},
	{
		name: "query: a sequence number is read as the rounded one",
		file: "plugins/logentries/decode.go", old: "\tif hasExact {", new: "\tif hasExact && !e.ordered {",
		test: "^TestDecodeSequence$",
	},
	{
		name: "query: events that were seen come again",
		file: "plugins/logentries/decode.go", old: "e.ordered && e.sequence <= p.sequence\n}", new: "e.ordered && e.sequence < p.sequence\n}",
		test: "^TestFresh$",
	},
	{
		name: "query: events at `to` are in both slices",
		file: "plugins/logentries/poll.go", old: "events[len(events)-1].at >= to {", new: "events[len(events)-1].at > to {",
		test: "^TestEveryByteArrives$",
	},
	{
		name: "query: a page that shows itself again goes on for ever",
		file: "plugins/logentries/poll.go", old: "\tcase full:\n", new: "\tcase full && len(events) > 0:\n",
		test: "^TestWhatCanNotBeRead$",
	},
	{
		name: "query: a slow sink lets the link expire",
		file: "plugins/logentries/poll.go", old: "\tselect {\n\tcase n.ready <- struct{}{}:\n\tdefault: // the last one hasn't been passed on: it is replaced\n\t}\n",
		new:  "\tn.ready <- struct{}{}\n",
		test: "^TestSlowSinkDoesNotStopPolling$",
	},
	{
		name: "query: a slice that is too dense is cut in halves",
		file: "plugins/logentries/poll.go", old: "n := int(min(estimate/(capShare*float64(p.rowCap))+1, maxPieces))", new: "n := 2",
		test: "^TestDenseSliceIsCutEarly$",
	},
	{
		name: "query: pages grow to what was too large before",
		file: "plugins/logentries/poll.go", old: "if 2*b.size <= p.sizes.page {", new: "if true {",
		test: "^TestPagesOfFatEventsAreAskedForOnce$",
	},
	{
		name: "query: large pages are read ahead of the sink",
		file: "plugins/logentries/poll.go", old: "\tp.room.Release(most - held)\n", new: "\tp.room.Release(most + 0*held)\n\tif b != nil {\n\t\tb.held = 0\n\t}\n",
		test: "^TestOneLargePageAtATime$",
	},
	{
		name: "query: a link is polled too rarely",
		file: "plugins/logentries/poll.go", old: "most: 6 * time.Second", new: "most: 30 * time.Second",
		test: "^TestPaceKeepsLinksAlive$",
	},
	{
		name: "query: per_page is left to the vendor",
		file: "plugins/logentries/client.go", old: `values := url.Values{"per_page": {strconv.Itoa(perPage)}}`, new: `values := url.Values{}`,
		test: "^TestGoldenRequests$",
	},
	{
		name: "query: a calculation is asked for",
		file: "plugins/rapid7/leql.go", old: `(?i)\b(calculate|groupby)`, new: `\b(calculate|groupby)`,
		test: "^TestCalculation$",
	},
	{
		name: "snapshots: tokens by which one can write are kept",
		file: "plugins/logentries/snapshot.go", old: "\t\tdelete(object, key)\n", new: "\t\t_ = key\n",
		test: "^TestSnapshots$",
	},
	{
		name: "snapshots: a list that was cut is committed",
		file: "plugins/rapid7/list.go", old: "\tcase in.err != nil:\n\t\treturn in.err\n", new: "\tcase in.err != nil:\n\t\treturn nil\n",
		test: "^TestEachKeepsErrors$",
	},
	{
		name: "snapshots: yesterday's is taken today",
		file: "host/pipeline/stream.go", old: "if vendor.Before(s.Day().Add(24 * time.Hour)) {", new: "if true {",
		test: "^TestSnapshotAnsweredTheNextDay$",
	},

	// Usage.
	{
		name: "usage: a day is read before its figure has settled",
		file: "host/pipeline/stream.go", old: "settled := horizon.Add(-s.Settle)", new: "settled := horizon",
		test: "^TestDailyStream$",
	},
	{
		name: "usage: a day is read before its figure has settled, seen from outside",
		file: "plugins/rapid7usage/source.go", old: "func (s *source) Settle(string) time.Duration { return s.settle }", new: "func (s *source) Settle(string) time.Duration { return 0 }",
		pkg: "./cmd/sluice", test: "^TestADayThatSettlesIsNotMissing$",
	},
	{
		name: "usage: status forgets that days settle",
		file: "cmd/sluice/statusread.go", old: "\t\t\ts.Settle = settle\n", new: "\t\t\t_ = settle\n",
		test: "^TestADayThatSettlesIsNotMissing$",
	},
	{
		name: "usage: figures of other days are taken for the day's",
		file: "plugins/rapid7/usage.go", old: "\t\tif f.Day.Equal(of) {\n", new: "\t\tif true {\n",
		pkg: "./plugins/rapid7usage", test: "^TestForms$",
	},
	{
		name: "usage: a day that the vendor has forgotten is committed as empty",
		file: "plugins/rapid7/usage.go", old: "return perLog && len(r.Figures.Figures) == 0", new: "return perLog && len(r.Figures.Figures) < 0",
		pkg: "./plugins/rapid7usage", test: "^TestBeyondTheLookBack$",
	},
	{
		name: "usage: one of two figures is taken",
		file: "plugins/rapid7/usagedecode.go", old: "\tcase c.seen[at]:\n", new: "\tcase c.seen[at] && at.log == \"?\":\n",
		test: "^TestDecodeUsageRefuses$",
	},
	{
		name: "usage: a figure in quotation marks is none",
		file: "plugins/rapid7/usagedecode.go", old: "\tif data[0] == '\"' {\n\t\tif err := json.Unmarshal(data, &text); err != nil {", new: "\tif data[0] == 'x' {\n\t\tif err := json.Unmarshal(data, &text); err != nil {",
		test: "^TestDecodeUsage$",
	},
	{
		name: "usage: a figure that is missing is a zero",
		file: "plugins/rapid7/usagedecode.go", old: "\tcase !n.known:\n", new: "\tcase !n.known && c.seen[at]:\n",
		test: "^TestDecodeUsage$",
	},

	// Times of lines.
	{
		name: "time: a clock without a zone is taken for UTC",
		file: "plugins/logtime/forms.go", old: "if !p.zoned {", new: "if false {",
		test: "^TestAuto$",
	},
	{
		name: "time: any ten digits are a time",
		file: "plugins/logtime/forms.go", old: "const epochNear = 400 * 24 * time.Hour", new: "const epochNear = 40_000 * 24 * time.Hour",
		test: "^TestAuto$",
	},
	{
		name: "time: RFC 3164 is of this year, in January too",
		file: "plugins/logtime/parser.go", old: "{middle.Year(), middle.Year() - 1, middle.Year() + 1}", new: "{middle.Year()}",
		test: "^TestYears$",
	},
	{
		name: "time: an hour that clocks show twice is the later one",
		file: "plugins/logtime/forms.go", old: " || p.twice(t) {", new: " {",
		test: "^TestClocksThatChange$",
	},
	{
		name: "time: a time that clocks skip is moved",
		file: "plugins/logtime/forms.go", old: " || t.Hour() != hour || t.Day() != day ||", new: " ||",
		test: "^TestClocksThatChange$",
	},
	{
		name: "time: a line's own time leaves no trace of the vendor's, elsa",
		file: "plugins/elsa/batch.go", old: "\tif r.timed {\n\t\tb.vendor", new: "\tif false {\n\t\tb.vendor",
		test: "^TestTimesOfBodies$",
	},
	{
		name: "time: a line's own time leaves no trace of the vendor's, logentries",
		file: "plugins/logentries/events.go", old: "\te.more = append(e.more, field{logtime.VendorTimestamp,", new: "\t_ = append(e.more, field{logtime.VendorTimestamp,",
		test: "^TestTimesOfMessages$",
	},

	// What keys may see, and what they may ask for.
	{
		name: "discovery: log sets are left out",
		file: "plugins/logentries/source.go", old: "\tfor _, set := range sets {\n", new: "\tfor _, set := range sets[:0] {\n",
		pkg: "./cmd/sluice", test: "^TestScripts$/^sources$",
	},
	{
		name: "discovery: a name that several logs have is one of them",
		file: "plugins/logentries/directory.go", old: "\tcase len(found) == 1:\n\t\treturn found[0], nil\n\tcase len(found) > 1:\n\t\treturn listedName{}",
		new:  "\tcase len(found) >= 1:\n\t\treturn found[0], nil\n\tcase len(found) > 1:\n\t\treturn listedName{}",
		test: "^TestPartitionsByNameAndSet$",
	},
	{
		name: "discovery: check --online takes a wrong owner key",
		file: "plugins/logentries/source.go", old: "\tif settings.OwnerKey != \"\" {", new: "\tif settings.OwnerKey == \"\" {",
		pkg: "./cmd/sluice", test: "^TestScripts$/^sources$",
	},
	{
		name: "discovery: a moment's trouble of the vendor at the start ends the run",
		file: "host/pipeline/retry.go", old: "return v.wait, v.action == actRetry || v.action == actWait", new: "return v.wait, false",
		pkg: "./cmd/sluice", test: "^TestAVendorInTroubleAtTheStart$",
	},
	{
		name: "budget: each pipeline has its own",
		file: "plugins/rest/client.go", old: "c.budgetKey = plugins.BudgetKey(cmp.Or(o.BudgetOrigin, c.origin), o.Key)",
		new: "c.budgetKey = plugins.BudgetKey(cmp.Or(o.BudgetOrigin, c.origin), fmt.Sprintf(\"%s %p\", o.Key, c))",
		pkg: "./cmd/sluice", test: "^TestOneBudgetForOneKey$",
	},
	{
		name: "budget: queries cost nothing",
		file: "plugins/logentries/client.go", old: `Path: "/query/logs/" + url.PathEscape(logID), Limit: c.query, Waiting: w}`, new: `Path: "/query/logs/" + url.PathEscape(logID), Waiting: w}`,
		pkg: "./cmd/sluice", test: "^TestOneBudgetForOneKey$",
	},
	{
		name: "budget: polls count as queries",
		file: "plugins/logentries/client.go", old: "Path: t.path, Limit: c.poll,", new: "Path: t.path, Limit: c.query,",
		test: "^TestBudgetsByNamespace$",
	},
	{
		name: "memory: what a source holds isn't counted",
		file: "host/pipeline/pipeline.go", old: "int64(parallel)*(largestRecord+source+Buffers(streams, all))", new: "int64(parallel)*(largestRecord+Buffers(streams, all))",
		pkg: "./cmd/sluice", test: "^TestScripts$/^look$",
	},
	{
		name: "secrets: a refusal that is cut shows a part of the key",
		file: "plugins/rest/redact.go", old: "\t\ts = r.whole(s) + more\n", new: "\t\ts += more\n",
		test: "^TestCutRefusal$",
	},
}
