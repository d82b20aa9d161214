package main

// boundaryMutants are the mistakes of memory that host and plugin share: a frame that is half another, or that nobody reads, or a slot that is
// never free again; and of what a plugin may take of its host.
var boundaryMutants = []mutant{
	{
		name: "shm: what was copied isn't held against its ticket",
		file: "proto/shm/shm.go", old: "\tif !state.CompareAndSwap(r.Ticket, 0) {\n\t\treturn ErrGone\n\t}\n\treturn nil",
		new: "\tstate.CompareAndSwap(r.Ticket, 0)\n\treturn nil",
		pkg: "./proto/shm", test: "^TestNothingTornIsTaken$",
	},
	{
		name: "shm: a slot isn't freed by who took its frame",
		file: "proto/shm/shm.go", old: "\tif !state.CompareAndSwap(r.Ticket, 0) {\n", new: "\tif !state.CompareAndSwap(r.Ticket, r.Ticket) {\n",
		pkg: "./proto/shm", test: "^TestFramesGoRound$",
	},
	{
		name: "shm: a slot that is in use is filled",
		file: "proto/shm/shm.go", old: "\t\tif m.state(i).Load() != 0 {\n\t\t\tcontinue\n\t\t}\n", new: "",
		pkg: "./proto/shm", test: "^TestFramesGoRound$",
	},
	{
		name: "shm: a plugin can shorten what its host has mapped",
		file: "proto/shm/file_linux.go", old: "unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL", new: "unix.F_SEAL_GROW | unix.F_SEAL_SEAL",
		pkg: "./proto/shm", test: "^TestLengthIsSealed$",
	},
	{
		name: "shm: what a canceled read has left is never free again",
		file: "proto/shm/shm.go", old: "state.CompareAndSwap(given, 0) })", new: "_ = state })",
		pkg: "./plugins", test: "^TestSharedMemoryOfCanceledReads$",
	},
	{
		name: "shm: a read takes back what its host hasn't read yet",
		file: "plugins/read.go", old: "for pause := first; e.shared.InUse(); pause", new: "for pause := first; e.shared == nil; pause",
		pkg: "./plugins", test: "^TestFramesInSharedMemory$",
	},
	{
		name: "shm: a frame there costs no credit",
		file: "proto/wire/codec.go", old: "in.Size += int(length)", new: "in.Size += 0",
		pkg: "./plugins", test: "^TestFramesInSharedMemory$",
	},
	{
		name: "shm: frames go unencrypted by memory where encryption was asked for",
		file: "host/supervisor/plugin.go", old: "if p.sup.opts.MutualTLS {", new: "if p.sup.opts.MutualTLS && p.proc == nil {",
		pkg: "./host/supervisor", test: "^TestFramesComeByMemory$",
	},
	{
		name: "credit: a read never gets more than it begins with",
		file: "proto/credit/window.go", old: "\t\tif w.stalled || w.credit <= 0 {\n", new: "\t\tif w.stalled && w.credit < 0 {\n",
		pkg: "./proto/credit", test: "^TestWindowThatBegins$",
	},
	{
		name: "credit: a receiver that is slower gets all there is",
		file: "proto/credit/window.go", old: "\tif w.open && w.outstanding == 0 {\n", new: "\tif w.open {\n",
		pkg: "./proto/credit", test: "^TestWindowThatBegins$",
	},
	{
		name: "supervisor: the end of a process that never began is waited for",
		file: "host/supervisor/supervisor.go", old: "\t\tp.proc.giveUp()\n", new: "",
		pkg: "./host/supervisor", test: "^TestStartWithTooFewFiles$",
	},
	{
		name: "shm: a plugin closes a file that the host didn't give it",
		file: "proto/shm/file_linux.go", old: "\tif err = errors.Join(err, file.Close()); err != nil {\n", new: "\tif err = errors.Join(err, file.Close()); err != nil {\n\t\t_ = unix.Close(fd)\n",
		pkg: "./proto/shm", test: "^TestInherited$",
	},
	{
		name: "shm: a frame that is gone is left out",
		file: "host/supervisor/read.go", old: "\t\t\treturn r.gone(ctx)\n", new: "\t\t\tcontinue\n",
		pkg: "./host/supervisor", test: "^TestReadFails$/^shared-gone$",
	},
	{
		name: "shm: a length is believed before there is a block",
		file: "proto/wire/codec.go", old: "\tcase length < 1 || length > uint64(c.shared.Most()):", new: "\tcase length < 1:",
		pkg: "./proto/wire", test: "^TestSharedFramesOfAnyLength$",
	},
	{
		name: "shm: the host keeps a plugin's file open",
		file: "host/supervisor/process.go", old: "theirs = append(theirs, inR, outW, errW, p.frame)", new: "theirs = append(theirs, inR, outW, errW)",
		pkg: "./host/supervisor", test: "^TestFramesComeByMemory$",
	},
	{
		name: "credit: a read begins with all of its share",
		file: "host/supervisor/read.go", old: "\tr.window.Begin(firstShare)\n", new: "",
		pkg: "./host/supervisor", test: "^TestReadsBeginSmall$",
	},
	{
		name: "credit: grants are gathered by what isn't in use",
		file: "proto/credit/window.go", old: "w.owed >= w.limit/4 ||", new: "w.owed >= w.size/4 ||",
		pkg: "./proto/credit", test: "^TestGrantsAreGatheredByWhatIsInUse$",
	},
	{
		name: "credit: any number of tiny items is queued",
		file: "host/supervisor/read.go", old: "full := len(r.queue) >= r.most\n", new: "full := len(r.queue) < 0\n",
		pkg: "./host/supervisor", test: "^TestTinyItemsAreBounded$",
	},
	{
		name: "frames: what isn't sent in full takes any memory",
		file: "proto/wire/layout.go", old: "if l.held+more > MaxSpread {", new: "if l.held+more < 0 {",
		pkg: "./proto/wire", test: "^TestSpreadIsBounded$",
	},
	{
		name: "frames: a type takes any width",
		file: "proto/wire/schema.go", old: "if width > maxWidth {", new: "if width < 0 {",
		pkg: "./proto/wire", test: "^TestCompressedAndDictionaryFramesAreRefused$",
	},
	{
		name: "supervisor: a plugin opens any number of the host's files",
		file: "host/supervisor/hostservice.go", old: "if l.open.Add(1) <= maxConns {", new: "if l.open.Add(1) > 0 {",
		pkg: "./host/supervisor", test: "^TestConnectionsOfAPluginAreBounded$",
	},
	{
		name: "supervisor: half a secret is shown",
		file: "host/supervisor/redact.go", old: "\tif longest == 0 {\n", new: "\tif longest >= 0 {\n",
		pkg: "./host/supervisor", test: "^TestHalfASecretIsMasked$",
	},
}
