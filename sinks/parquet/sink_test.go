package parquet

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/sinks/parquetfile"
	"github.com/sluice-io/sluice/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for i, c := range parquetfile.Compressions() {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			sinktest.Run(t, func(*testing.T) sinktest.Driver {
				settings := fmt.Sprintf(`"compression": %q, "part_size": 2048`, c)
				return sinktest.Driver{
					Open: sinktest.OpenFolder(folder.Open, settings, false), Look: sinktest.OpenFolder(folder.Open, settings, true),
					Visible: sinktest.Visible(bodies),
					Stride:  17 + 30*i, // what differs from the file sink is the bytes of parts
				}
			})
		})
	}
}

// bodies returns those of a file.
func bodies(_ string, file []byte) (all []string, err error) {
	err = parquetfile.Read(bytes.NewReader(file), func(rec arrow.Record) error {
		all = append(all, sinktest.BodiesOf(rec)...)
		return nil
	})
	return all, err
}
