package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// TestDeadLettersAtWorkAreNotSwept: a sink that opens while another one's slice has dead letters staged leaves them alone, whether the
// other remembers what it was given or not.
func TestDeadLettersAtWorkAreNotSwept(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		t.Run(fmt.Sprint(remembers), func(t *testing.T) {
			b := newBench(t, 1, 2)
			b.source.maxCut = 1000
			b.detachLast(endTime)
			detach := b.edit
			opened := make(chan struct{})
			b.edit = func(c *Config) {
				detach(c)
				late := c.Sinks[1].Sink
				var tries atomic.Int64
				c.Sinks[1].Sink, c.Sinks[1].Known = nil, late.Identity()
				c.Sinks[1].Open = func(context.Context) (sinks.Sink, error) {
					if tries.Add(1) == 1 {
						return nil, errDown
					}
					return late, nil
				}
				if !remembers {
					c.FirstRun = true
					c.Sinks[0].Sink = noMemory{c.Sinks[0].Sink.(*fakeSink)}
				}
			}
			b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
			b.sinks[0].fail = func(op string, _ flow.Slice) error {
				if op == "commit" { // sealed, and not committed
					select {
					case <-opened:
					case <-time.After(endTime):
						return errors.New("the other sink wasn't opened meanwhile")
					}
				}
				return nil
			}
			var once atomic.Bool
			b.sinks[1].fail = func(op string, _ flow.Slice) error {
				if op == "begin" && once.CompareAndSwap(false, true) { // it was adopted before
					close(opened)
				}
				return nil
			}
			s, err := b.run(span(0, 30))
			if err != nil || !s.Complete() || s.DeadLetters != 1 {
				t.Fatalf("got %v, %+v", err, s)
			}
			b.wantDead(9)
		})
	}
}

// TestFoldersOfDeadLettersLast: of all folders that are new, the names are durable, each before the next one is made.
func TestFoldersOfDeadLettersLast(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a", "b", "dead")
	var synced []string
	sync := func(folder string) error {
		rel, err := filepath.Rel(root, folder)
		left, _ := os.ReadDir(folder)
		synced = append(synced, fmt.Sprintf("%s of %d", rel, len(left)))
		return err
	}
	for range 2 {
		if err := makeFolder(path, sync); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{". of 1", "a of 1", "a/b of 1"}; !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
	if err := makeFolder(filepath.Join(path, "c", "d"), func(string) error { return errDown }); !errors.Is(err, errDown) {
		t.Errorf("a folder that can't be synced: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, "c", "d")); err == nil {
		t.Error("a folder was made in one that isn't durable")
	}
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
	b.edit = func(c *Config) { c.DeadPath = path }
	if s, err := b.run(span(0, 20)); err != nil || s.DeadLetters != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// wantDead fails unless the files of dead letters that the first sink's receipts name hold these milliseconds, and no others are there.
func (b *bench) wantDead(want ...int64) {
	b.t.Helper()
	var got []string
	for _, r := range b.sinks[0].store.receipts {
		if r.Dead.Rows == 0 {
			continue
		}
		found, err := CheckDead(context.Background(), filepath.Join(b.dir, "dead"), r)
		if err != nil || found != nil {
			b.t.Errorf("%s: %+v, %v", r.Slice, found, err)
		}
	}
	got = b.deadRecords()
	var all []string
	for _, ms := range want {
		all = append(all, fmt.Sprint(at(ms).UnixMilli()))
	}
	slices.Sort(got)
	slices.Sort(all)
	if !slices.Equal(got, all) {
		b.t.Errorf("dead letters %v, want %v", got, all)
	}
}

// TestDeadLettersOfACommitThatWasFound: the sink answers neither the commit nor the question after it, and the next try finds it. Its dead
// letters are where people and rechecks look for them, without another start.
func TestDeadLettersOfACommitThatWasFound(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
	answers := &deafSink{fakeSink: b.sinks[0]}
	b.edit = func(c *Config) { c.Sinks[0].Sink = answers }
	s, err := b.run(span(0, 30))
	if err != nil || !s.Complete() || answers.deaf != 2 || len(b.kinds(Found)) != 1 {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.wantDead(9)
	if left, err := filepath.Glob(filepath.Join(b.dir, "dead", stagingFolder, "*")); err != nil || len(left) > 0 {
		t.Errorf("staged still: %v, %v", left, err)
	}
}

// deafSink takes its first commit without an answer, and then doesn't answer the first question for it.
type deafSink struct {
	*fakeSink
	deaf int // answers that it owed
}

func (k *deafSink) Begin(ctx context.Context, s flow.Slice, attempt uint32, schema *arrow.Schema) (sinks.Txn, error) {
	txn, err := k.fakeSink.Begin(ctx, s, attempt, schema)
	return deafTxn{txn, k}, err
}

func (k *deafSink) Lookup(ctx context.Context, s flow.Slice) (sinks.Receipt, error) {
	if k.deaf == 1 {
		k.deaf++
		return sinks.Receipt{}, errDown
	}
	return k.fakeSink.Lookup(ctx, s)
}

type deafTxn struct {
	sinks.Txn
	sink *deafSink
}

func (x deafTxn) Commit(ctx context.Context, a sinks.Account) (sinks.Receipt, error) {
	r, err := x.Txn.Commit(ctx, a)
	if err == nil && x.sink.deaf == 0 {
		x.sink.deaf++
		return sinks.Receipt{}, sinks.ErrInDoubt
	}
	return r, err
}

// TestDeadLettersOfSomeoneElse: a commit in doubt turns out to be another one's, which names its own dead letters. Ours are no one's.
func TestDeadLettersOfSomeoneElse(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
	st := b.sinks[0].store
	b.sinks[0].fail = func(op string, s flow.Slice) error {
		if op != "commit" {
			return nil
		}
		dead := flow.SumOf(fmt.Append(nil, at(9).UnixMilli()))
		st.mu.Lock()
		defer st.mu.Unlock()
		st.receipts = append(st.receipts, sinks.Receipt{Slice: s, Entry: 1, Dead: dead, DeadLetters: "s0/of-another-host.ndjson", At: time.Now().UTC()})
		return sinks.ErrInDoubt
	}
	if _, err := b.run(span(0, 30)); err != nil {
		t.Fatal(err)
	}
	if got := b.deadRecords(); len(got) > 0 {
		t.Errorf("dead letters %v that no commit names", got)
	}
}

// TestStagedDeadLettersThatCannotBeRead aren't taken for what never came to a commit.
func TestStagedDeadLettersThatCannotBeRead(t *testing.T) {
	b, asked := withDead(t, nil)
	folder := filepath.Join(b.dir, "dead", stagingFolder, "0123456789abcdef")
	// A folder in the place of the file: it is there, and reading it fails.
	if err := os.MkdirAll(filepath.Join(folder, stagedSlice), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(asked); err == nil || !strings.Contains(err.Error(), "dead letters") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("it was removed: %v", err)
	}
}

// TestRetryDeadOfWhatWasLeft: what couldn't be made a record again takes its file's place, and is sent once when it can be.
func TestRetryDeadOfWhatWasLeft(t *testing.T) {
	for _, crash := range append([]Step{""}, retrySteps...) {
		t.Run(string(crash), func(t *testing.T) {
			b := newBench(t, 1, 1)
			b.source.maxCut = 1000
			asked := span(-20, -1)
			b.sinks[0].reject = func(body string) bool {
				return body == fmt.Sprint(at(-3).UnixMilli()) || body == fmt.Sprint(at(-5).UnixMilli())
			}
			if s, err := b.run(asked); err != nil || s.DeadLetters != 2 {
				t.Fatalf("got %v, %+v", err, s)
			}
			b.sinks[0].reject = nil
			b.damageLetter()
			b.retryDead("")
			b.wantDead(-3)
			files, _ := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			before, _, _ := strings.Cut(string(text), `,"row":`) // as a later version would, that makes it of its bytes
			if err := os.WriteFile(files[0], []byte(before+"}\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			if crash != "" {
				b.retryDead(crash)
			}
			for range 3 {
				for _, f := range b.retryDead("") {
					if f.Err != nil {
						t.Error(f.Err)
					}
				}
			}
			b.sinks[0].store.wantExactly(t, asked)
			b.wantDead()
		})
	}
}

// TestRetryDeadThatNoCommitNames: a copy, or what is left of a commit that was forgotten and made anew, would be there twice.
func TestRetryDeadThatNoCommitNames(t *testing.T) {
	b, asked := withDead(t, nil)
	b.sinks[0].reject = nil
	files, err := filepath.Glob(filepath.Join(b.dir, "dead", "s0", "*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	copied := strings.TrimSuffix(files[0], ".ndjson") + "-copy.ndjson"
	if err := os.WriteFile(copied, text, 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, f := range b.retryDead("") {
			if refused := fault.KindOf(f.Err) == fault.Config && fault.HintOf(f.Err) != ""; refused != (f.Path == copied) {
				t.Errorf("%s: %v", f.Path, f.Err)
			}
		}
	}
	b.sinks[0].store.wantExactly(t, asked)
	if _, err := os.Stat(copied); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

// TestDeadLettersOfACallThatComesBackLate: the commit of a sink that isn't waited for names its dead letters when it takes place at last.
func TestDeadLettersOfACallThatComesBackLate(t *testing.T) {
	b := newBench(t, 8, 2)
	b.source.maxCut = 1000
	b.edit = func(c *Config) {
		c.Sinks[0].Patience, c.MaxBackoff = 20*time.Millisecond, 10*time.Millisecond
	}
	k := &stuckSink{op: "commit", hold: make(chan struct{})}
	b.sinks[0].reject = func(body string) bool { return body == fmt.Sprint(at(9).UnixMilli()) }
	b.sinks[0].fail = func(o string, _ flow.Slice) error { k.wait(o); return nil }
	asked := span(0, 30)
	free := sync.OnceFunc(func() { close(k.hold) })
	defer free()
	b.during = func(Event) {
		if b.sinks[1].store.heldOf(logA.Partition).Covers(asked) { // the other has it all, and the call still hangs
			free()
		}
	}
	if s, err := b.run(asked); err != nil || !s.Complete() || len(b.kinds(Found)) != 1 {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.wantDead(9)
}

// TestRecheckAddsDeadLettersOnce: of dead letters that come again beside new ones only the new are added.
func TestRecheckAddsDeadLettersOnce(t *testing.T) {
	b := newBench(t, 1, 1)
	b.source.maxCut = 1000
	b.source.dead = func(ms int64) bool { return ms == at(7).UnixMilli() }
	unfit := map[int64]bool{at(5).UnixMilli(): true, at(7).UnixMilli(): true, at(9).UnixMilli(): true}
	b.source.serves = func(ms int64) []string {
		if unfit[ms] {
			return nil // not yet
		}
		return []string{fmt.Sprint(ms)}
	}
	if s, err := b.run(span(0, 30)); err != nil || s.DeadLetters != 1 {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.source.dead = func(ms int64) bool { return unfit[ms] }
	b.edit = func(c *Config) { c.Recheck = Recheck{Asked: true} }
	if s, err := b.run(span(0, 30)); err != nil || s.DeadLetters != 2 {
		t.Fatalf("got %v, %+v", err, s)
	}
	b.wantDead(5, 7, 9)
}
