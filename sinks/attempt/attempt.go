// Package attempt is what the transactions of sinks have in common that send records as they come and remember nothing of them: the IDs by
// which a receiver knows records that come again, the account, and when nothing more is taken.
//
//	t.try, err = attempt.New(config, slice, &sink.closed)
//	return t.try.Append(ctx, batch, func(ids []string) ([]sinks.Rejected, error) { ... })
//	return t.try.Commit(ctx, account, func() error { ... })
package attempt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/columns"
	"github.com/sluice-io/sluice/sinks/recordid"
)

// Memory is the most bytes that an Attempt holds.
const Memory = recordid.Memory

// Check reports streams whose records can't be sent: a column that can't be written as text, or not be hashed for IDs. It is called when
// settings are read, so that a pipeline says so when it starts.
func Check(c sinks.Config) error {
	for _, st := range c.Streams {
		_, err := columns.New(st.Schema)
		if err == nil {
			err = recordid.Check(st.Schema, st.DigestColumns)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", st.Name, err)
		}
	}
	return nil
}

// Identity returns the identity of a sink whose receiver is known by its address alone.
func Identity(sinkType, address string) string {
	sum := sha256.Sum256([]byte(sinkType + " " + address))
	return hex.EncodeToString(sum[:16])
}

// Attempt is one try to send a slice. It isn't safe for concurrent use.
type Attempt struct {
	slice  flow.Slice
	closed *atomic.Bool // the sink's
	ids    *recordid.Sequence
	texts  []string // IDs of the batch's records
	rows   uint64   // that were taken
	broken error
	ended  bool
}

// New returns the attempt of a slice, or an error if the slice is none or the sink is closed.
func New(c sinks.Config, s flow.Slice, closed *atomic.Bool) (*Attempt, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if closed.Load() {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink is closed")
	}
	at := slices.IndexFunc(c.Streams, func(st sinks.Stream) bool { return st.Name == s.Stream })
	if at < 0 {
		return nil, fault.Errorf(fault.Bug, "begin a slice", "the sink wasn't opened for stream %q", s.Stream)
	}
	return &Attempt{slice: s, closed: closed, ids: recordid.New(s, c.Streams[at].DigestColumns)}, nil
}

// Append has send send a batch's records, which have these IDs; it returns what the receiver refuses for good, in any order. After an error
// nothing more is taken.
func (a *Attempt) Append(ctx context.Context, b flow.Batch, send func(ids []string) ([]sinks.Rejected, error)) ([]sinks.Rejected, error) {
	switch {
	case a.ended || a.closed.Load():
		return nil, sinks.ErrDead
	case a.broken != nil:
		return nil, a.broken
	}
	rejected, err := a.append(ctx, b, send)
	if err != nil {
		a.broken = fmt.Errorf("slice %s: %w", a.slice, err)
		return nil, a.broken
	}
	slices.SortFunc(rejected, func(a, b sinks.Rejected) int { return a.Row - b.Row })
	a.rows += uint64(b.Records.NumRows()) - uint64(len(rejected))
	return rejected, nil
}

func (a *Attempt) append(ctx context.Context, b flow.Batch, send func(ids []string) ([]sinks.Rejected, error)) ([]sinks.Rejected, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var err error
	if a.texts, err = a.ids.Append(a.texts[:0], b.Records); err != nil {
		return nil, err
	}
	return send(a.texts)
}

// Commit checks the account, has confirm, which may be nil, wait until the receiver has everything, and returns the receipt. Nothing more is
// taken after it.
func (a *Attempt) Commit(ctx context.Context, account sinks.Account, confirm func() error) (sinks.Receipt, error) {
	if a.ended || a.closed.Load() {
		return sinks.Receipt{}, sinks.ErrDead
	}
	a.ended = true
	switch err := errors.Join(ctx.Err(), a.broken); {
	case err != nil:
		return sinks.Receipt{}, err
	case !account.Balanced() || account.Delivered.Rows != a.rows:
		return sinks.Receipt{}, fault.Errorf(fault.Bug, "commit", "slice %s: %d rows were sent, delivered are %d of %d", a.slice, a.rows, account.Delivered.Rows, account.Read.Rows)
	}
	if confirm != nil {
		if err := confirm(); err != nil {
			return sinks.Receipt{}, fmt.Errorf("slice %s: %w", a.slice, err)
		}
	}
	return sinks.Receipt{
		Slice: a.slice, Delivered: account.Delivered, Dead: account.Dead, DeadLetters: account.DeadLetters, At: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// End lets nothing more be taken. What was sent stays sent.
func (a *Attempt) End() { a.ended = true }
