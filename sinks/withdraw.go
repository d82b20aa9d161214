package sinks

import "context"

// Withdrawer is implemented by sinks with Memory whose commits can be withdrawn: what they covered is a gap again.
type Withdrawer interface {
	// Left says what is there of a commit's data, one line for each part, table or topic; none if it is gone. It is cheap next to
	// reading the data, and where only that would tell it says that data is left.
	Left(ctx context.Context, r Receipt) ([]string, error)
	// Withdraw makes one durable entry that withdraws commits of one partition and day, all of which must stand, and returns its
	// receipt, with Forgets set. Without remove it leaves data alone: the caller sees to it that none is left, or it will be there
	// twice. With remove the commits' data goes: with the entry, or after it is durable; then a crash in between, and an error with a
	// receipt, leave data that no commit names. ErrInDoubt: the entry may be there, Committed tells.
	Withdraw(ctx context.Context, commits []Receipt, remove bool) (Receipt, error)
	// Removes reports whether Withdraw can remove data.
	Removes() bool
}

// Clearer is implemented by a Withdrawer whose data may outlast a Withdraw that was to remove it. Clear removes the data of commits that
// were withdrawn, as far as no commit that stands names it, and returns what it removed.
type Clearer interface {
	Clear(ctx context.Context, withdrawn, standing []Receipt) ([]string, error)
}
