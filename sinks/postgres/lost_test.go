package postgres

import (
	"testing"
	"time"

	"github.com/sluice-io/sluice/sinks/sinktest"
)

// testConnectionLost breaks the connection while the driver reads a row. The driver's reading may outlast its COPY, but not Append: the
// batch isn't its sender's any more.
func (r rig) testConnectionLost(t *testing.T) {
	database := r.Database(t)
	var lost *txn
	returned, read := make(chan struct{}), make(chan struct{})
	k, err := open(t.Context(), r.config(database, nil), func(name string, do func() error) error {
		if name != "copy" {
			return do()
		}
		row := lost.copier.bound[0].value
		lost.copier.bound[0].value = func(dst []byte, i int) ([]byte, error) {
			if i == 0 {
				r.Exec(t, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = '"+database+"'")
				defer close(read)
				<-returned
				time.Sleep(100 * time.Millisecond) // Append would let go of the batch now
				if lost.copier.bound[0].value == nil {
					t.Error("Append has let go of a batch that is still read")
				}
			}
			return row(dst, i)
		}
		defer close(returned)
		return do()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s := sinktest.Hours("p", 0, 1)
	x, err := k.Begin(t.Context(), s, 0, sinktest.Schema)
	if err != nil {
		t.Fatal(err)
	}
	lost = x.(*txn)
	if err := sinktest.Append(t.Context(), x, s, []string{"one", "two", "three"}); err == nil {
		t.Error("a batch was taken by a server that has ended the session")
	}
	<-read
	if err := x.Abort(); err != nil {
		t.Error(err)
	}
}
