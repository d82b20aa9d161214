package file

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/sinktest"
	"github.com/sluice-io/sluice/sinks/textfile"
)

// withdrawable is a file sink as forget sees it.
type withdrawable interface {
	sinks.Sink
	sinks.Memory
	sinks.Lister
	sinks.Withdrawer
	sinks.Clearer
	sinks.Auditor
}

func openWithdrawable(t *testing.T, root string) withdrawable {
	t.Helper()
	k, err := driver(encode.Raw, textfile.Plain).Open(nil, root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k.(withdrawable)
}

func strays(t *testing.T, k sinks.Lister) (out []string) {
	t.Helper()
	for path, err := range k.Strays(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

// TestWithdraw: the entry first, then the parts; what a crash leaves in between is a stray, is cleared when that is asked for, and isn't in
// the way of the same slice.
func TestWithdraw(t *testing.T) {
	root := t.TempDir()
	k := openWithdrawable(t, root)
	ctx := t.Context()
	s, other := sinktest.Hours("one", 0, 1), sinktest.Hours("one", 1, 2)
	write := func(s flow.Slice) sinks.Receipt {
		t.Helper()
		r, err := sinktest.Write(ctx, k, s, sinktest.Bodies(s, 200))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r, kept := write(s), write(other)
	if len(r.Parts) < 2 {
		t.Fatalf("parts: %v", r.Parts)
	}
	left, err := k.Left(ctx, r)
	if err != nil || len(left) != len(r.Parts) {
		t.Errorf("left: %v, %v", left, err)
	}
	crashed, err := k.Withdraw(ctx, []sinks.Receipt{r}, false) // as if it ended before it came to the parts
	if err != nil || !slices.Equal(crashed.Forgets, []uint64{r.Entry}) {
		t.Fatalf("%+v, %v", crashed, err)
	}
	if got := strays(t, k); len(got) != len(r.Parts) {
		t.Errorf("strays: %v", got)
	}
	again := write(s)
	if got := strays(t, k); len(got) > 0 {
		t.Errorf("strays after the slice was written again: %v", got)
	}
	if gone, err := k.Clear(ctx, []sinks.Receipt{r}, []sinks.Receipt{again, kept}); err != nil || len(gone) > 0 {
		t.Errorf("cleared %v of a commit that stands, %v", gone, err)
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{again}, true); err != nil {
		t.Fatal(err)
	}
	if left, err := k.Left(ctx, again); err != nil || len(left) > 0 {
		t.Errorf("left after delete: %v, %v", left, err)
	}
	if left, err := k.Left(ctx, kept); err != nil || len(left) != len(kept.Parts) {
		t.Errorf("the other slice has %v, %v", left, err)
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{again}, true); err == nil {
		t.Error("a commit was withdrawn twice")
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{kept}, false); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = openWithdrawable(t, root)
	gone, err := k.Clear(ctx, []sinks.Receipt{kept}, nil)
	if err != nil || len(gone) != len(kept.Parts) || len(strays(t, k)) > 0 {
		t.Errorf("cleared %v, %v", gone, err)
	}
	// The same time cut elsewhere: what was to be deleted goes before its records are there a second time, and nothing else does.
	whole := write(sinktest.Hours("one", 0, 2))
	if _, err := k.Withdraw(ctx, []sinks.Receipt{whole}, false); err != nil {
		t.Fatal(err)
	}
	first := write(s)
	if got := strays(t, k); len(got) > 0 {
		t.Errorf("%d strays after a part of the time was written again", len(got))
	}
	late := flow.NewSlice(s.Partition, s.From, s.To, 1)
	again = write(late)
	if _, err := k.Withdraw(ctx, []sinks.Receipt{again}, false); err != nil {
		t.Fatal(err)
	}
	second := write(other)
	if got := strays(t, k); len(got) != len(again.Parts) {
		t.Errorf("%d strays beside a revision of %d parts that was forgotten", len(got), len(again.Parts))
	}
	again = write(late)
	for _, r := range []sinks.Receipt{first, second, again} {
		if left, err := k.Left(ctx, r); err != nil || len(left) != len(r.Parts) {
			t.Errorf("%s has %v, %v", r.Slice, left, err)
		}
		if _, err := k.Audit(ctx, r, func(flow.Sum) error { return nil }); err != nil {
			t.Errorf("%s: %v", r.Slice, err)
		}
	}
	if _, err := k.Withdraw(ctx, []sinks.Receipt{again, first, second}, true); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(root, "stream=events", "*", "*", "*")); len(files) > 0 {
		t.Errorf("files are left: %v", files)
	}
}
