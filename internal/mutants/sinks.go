package main

// sinkMutants break what sinks promise about a slice whose outcome isn't simple: what isn't known, what comes late, what a crash left.
var sinkMutants = []mutant{
	{
		name: "kafka: an offset that is refused in the middle ends an audit",
		file: "sinks/kafka/audit.go", old: "if errors.Is(err, kerr.OffsetOutOfRange) && refused < mostRefused {", new: "if errors.Is(err, kerr.OffsetOutOfRange) && refused < 0 {",
		test: "^TestAuditRefused$",
	},
	{
		name: "kafka: a topic that goes while it is read back isn't missing",
		file: "sinks/kafka/audit.go", old: "\t\tif errors.Is(err, kerr.UnknownTopicOrPartition) {\n\t\t\ta.add(", new: "\t\tif errors.Is(err, kerr.UnknownTopicOrPartition) && refused < 0 {\n\t\t\ta.add(",
		test: "^TestAuditEnds$",
	},
	{
		name: "kafka: a partition that brings nothing is read without end",
		file: "sinks/kafka/audit.go", old: "empty > mostRefused", new: "empty < 0",
		test: "^TestAuditEnds$",
	},
	{
		name: "commitlog: a living process leaves what a dead one committed",
		file: "sinks/commitlog/day.go", old: "return l.rollForward(e.Commit, false)", new: "return nil",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^commit_of_one_that_died_beside$",
	},
	{
		name: "commitlog: what a dead process committed is told before it lasts",
		file: "sinks/commitlog/day.go", old: "err = l.settleEntry(d, e, n > after+1)", new: "_ = e",
		test: "^TestEntryOfOneThatDied$",
	},
	{
		name: "commitlog: a sink whose path moved up writes all again",
		file: "sinks/commitlog/owner.go", old: "\t\t\tcase o.sameSink(want):\n", new: "\t\t\tcase o.sameSink(want) && left < 0:\n",
		test: "^TestPathMovedUp$",
	},
	{
		name: "commitlog: a sink whose prefix moved up writes all again",
		file: "sinks/commitlog/storelog.go", old: "\t\tcase o.sameSink(want):\n", new: "\t\tcase o.sameSink(want) && left < 0:\n",
		test: "^TestPrefixMovedUp$",
	},
	{
		name: "commitlog: data in a bucket that nobody accounts for is taken over",
		file: "sinks/commitlog/storelog.go", old: "\t\tcase root == \"\":\n", new: "\t\tcase root == \"\" && left < 0:\n",
		test: "^TestPrefixMovedUp$",
	},
	{
		name: "commitlog: an entry that was linked twice is somebody else's",
		file: "sinks/commitlog/staging.go", old: "return c.nonce == s.nonce }); i >= 0 {", new: "return c.nonce == s.nonce }); i >= 1<<30 {",
		test: "^TestLinkSentTwice$",
	},
	{
		name: "commitlog: a commit that was ended takes place",
		file: "sinks/commitlog/staging.go",
		old:  "\t\tif err := ctx.Err(); err != nil {\n\t\t\treturn sinks.Receipt{}, err\n\t\t}\n\t\tnumber :=", new: "\t\tnumber :=",
		test: "^TestCommitOfOneThatWasEnded$",
	},
	{
		name: "commitlog: a power cut takes the folder that leads to the root",
		file: "sinks/commitlog/log.go", old: "err := l.fs.SyncDir(filepath.Dir(dir)); err != nil {", new: "err := error(nil); err != nil {",
		test: "^TestPowerCut$",
	},
	{
		name: "commitlog: a power cut brings a part back that was deleted",
		file: "sinks/commitlog/remove.go", old: "return l.fs.SyncDir(filepath.Dir(final))", new: "_ = filepath.Dir(final)\n\treturn nil",
		test: "^TestPowerCut$",
	},
	{
		name: "commitlog: a power cut takes the owner of a root",
		file: "sinks/commitlog/owner.go", old: "return l.fs.SyncDir(l.meta())", new: "return nil",
		test: "^TestPowerCut$",
	},
	{
		name: "files: a block is filled anew while it is hashed",
		file: "sinks/parts/writer.go", old: "\t\tdefer hashing.Wait() // even if the file panics: the caller uses b again\n", new: "",
		test: "^TestBlocksAreHashed$",
	},
	{
		name: "files: a large block isn't hashed",
		file: "sinks/parts/writer.go", old: "hashing.Go(func() { p.hash.Write(b) })", new: "hashing.Go(func() { p.hash.Write(nil) })",
		pkg: "./sinks/file", test: "^TestHashesOfParts$",
	},
	{
		name: "commitlog: half a part becomes data",
		file: "sinks/commitlog/settle.go", old: "if info.Size() != size {", new: "if info.Size() < 0 {",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^part_of_one_that_died_is_damaged$",
	},
	{
		name: "commitlog: an attempt that doesn't say whose it is is deleted",
		file: "sinks/commitlog/settle.go", old: "\t\treturn l.sweepUnknown(ctx, n, swept)", new: "\t\tl.discard(swept)\n\t\treturn nil",
		pkg: "./sinks/file", test: "^TestConformance$/^raw_none$/^folder_of_one_that_died_is_damaged$",
	},
	{
		name: "commitlog: another device shows after the commit point",
		file: "sinks/commitlog/log.go", old: "if ok && ok2 && a.Dev != b.Dev {", new: "if ok && ok2 && a.Dev != b.Dev && a.Dev == 0 {",
		test: "^TestAnotherDevice$",
	},
	{
		name: "forget: what a crash left is there twice when its time is cut elsewhere",
		file: "sinks/commitlog/remove.go", old: "!old.rng().Meets(c.Slice.Range())", new: "old.id != c.Slice.ID",
		pkg: "./sinks/file", test: "^TestWithdraw$",
	},
	{
		name: "forget: deletes the data of a commit that stands",
		file: "sinks/commitlog/remove.go", old: "|| stands(old.id) {", new: "|| stands(old.id) && len(d.commits) == 0 {",
		pkg: "./sinks/file", test: "^TestWithdraw$",
	},
	{
		name: "object: an entry that was sent twice is somebody else's",
		file: "sinks/commitlog/storestaging.go", old: "i >= 0 && e.Commit != nil {", new: "i >= 0 && e.Commit == nil {",
		pkg: "./sinks/object", test: "^TestEntrySentTwice$",
	},
	{
		name: "object: an entry whose number is taken, maybe by itself, surely failed",
		file: "sinks/commitlog/storestaging.go", old: "return 0, fmt.Errorf(\"%w: %w\", errUnknown, err) // what has the number may be this entry", new: "return 0, err",
		test: "^TestTakenByItself$",
	},
	{
		name: "object: an entry that no store gives back is put",
		file: "sinks/commitlog/storestaging.go", old: "if len(b) > MaxObject {", new: "if len(b) > 1<<40 {",
		test: "^TestEntryBeyondWhatIsRead$",
	},
	{
		name: "object: an object that stands for a folder is taken for an entry",
		file: "sinks/commitlog/store.go", old: "if err == nil && (key == \"\" || strings.HasSuffix(key, \"/\")) {", new: "if err == nil && strings.HasPrefix(key, \"/\") {",
		pkg: "./sinks/object", test: "^TestFolderMarkers$",
	},
	{
		name: "object: an object without its end is completed",
		file: "sinks/commitlog/storeupload.go",
		old:  "\tf.sends.Wait()\n\tif err := f.failure(); err != nil {\n\t\treturn err\n\t}\n", new: "\tf.sends.Wait()\n",
		pkg: "./sinks/object", test: "^TestLastPieceFails$",
	},
	{
		name: "object: an upload that may be completed late is forgotten",
		file: "sinks/commitlog/storeupload.go", old: "s.note(ours(f.upload.Complete(s.ctx)))", new: "ours(f.upload.Complete(s.ctx))",
		pkg: "./sinks/object", test: "^TestLateUpload$",
	},
	{
		name: "object: a refusal after an unanswered put is taken for the answer",
		file: "sinks/object/store/errors.go", old: "if !unsure || err == nil ||", new: "if true || err == nil ||",
		test: "^TestRefusedAfterUnanswered$",
	},
	{
		name: "object: an error shows the signature in a request's address",
		file: "sinks/object/store/errors.go", old: "return of.Err", new: "return err",
		test: "^TestAddressStaysSecret$",
	},
	{
		name: "object: an Append waits for an upload that nobody waits for",
		file: "sinks/parts/txn.go", old: "\tdefer t.cancelWith(ctx)() // a large record is waited for\n", new: "",
		pkg: "./sinks/object", test: "^TestAppendEnds$",
	},
	{
		name: "postgres: a batch is read after it was given back",
		file: "sinks/postgres/copy.go", old: "\tc.err = errReleased\n", new: "",
		test: "^TestReadAfterAppend$",
	},
	{
		name: "postgres: a forget that failed has a receipt",
		file: "sinks/postgres/withdraw.go", old: "return sinks.Receipt{}, classify(op, err)", new: "return e.receipt(p), classify(op, err)",
		test: "^TestServer$/^forget$",
	},
	{
		name: "postgres: a transaction that was rolled back is a commit",
		file: "sinks/postgres/txn.go", old: "case err == nil && tag.String() == \"COMMIT\":", new: "case err == nil:",
		test: "^TestServer$/^rolled_back$",
	},
	{
		name: "postgres: rows that a trigger leaves out aren't missed",
		file: "sinks/postgres/txn.go", old: "tag.RowsAffected() != want {", new: "tag.RowsAffected() > want {",
		test: "^TestServer$/^trigger$",
	},
	{
		name: "kafka: the markers are read before the fence",
		file: "sinks/kafka/producer.go",
		old: "\tclient, err := k.fence(ctx, k.transactionalID(l.Partition), l.limit)\n\tif err != nil {\n\t\treturn err\n\t}\n" +
			"\t// Only now can the markers not change under what is read.\n" +
			"\tif err := k.readMarkers(ctx, k.markerPartition(l.Partition)); err != nil {\n\t\tclient.Close()\n\t\treturn err\n\t}\n",
		new: "\tif err := k.readMarkers(ctx, k.markerPartition(l.Partition)); err != nil {\n\t\treturn err\n\t}\n" +
			"\tclient, err := k.fence(ctx, k.transactionalID(l.Partition), l.limit)\n\tif err != nil {\n\t\treturn err\n\t}\n",
		test: "^TestFenceBeforeMarkers$",
	},
	{
		name: "kafka: markers that were deleted are asked for without end",
		file: "sinks/kafka/tape.go", old: "case start > offset:", new: "case start > offset && end == 0:",
		test: "^TestMarkersThatWereLost$",
	},
	{
		name: "splunk_hec: a collector too busy to acknowledge is sent the slice again",
		file: "sinks/splunkhec/sink.go", old: "if err != nil && fault.KindOf(err) != fault.Throttled {", new: "if err != nil {",
		test: "^TestBusyAcks$",
	},
	{
		name: "senders: a server's trouble is an error of the configuration",
		file: "sinks/secure/explain.go", old: "return \"\" // the server is in trouble", new: "return \"see tls\" // the server is in trouble",
		test: "^TestExplain$",
	},
}
