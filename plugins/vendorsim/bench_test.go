package vendorsim

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// readerEnv makes the test binary a client that reads one URL, so that the benchmark's own CPU is the server's.
const readerEnv = "VENDORSIM_TEST_READER_URL"

func readURL(url string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Api-Key", DemoKey)
	transport := &http.Transport{DisableCompression: true, ReadBufferSize: 256 << 10}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	buf := make([]byte, 256<<10)
	for {
		if _, err := resp.Body.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkServe reports the simulator's own CPU time per GB of lines; a second process reads them.
func BenchmarkServe(b *testing.B) {
	for _, stamped := range []bool{false, true} {
		b.Run(fmt.Sprintf("stamped=%t", stamped), func(b *testing.B) {
			const size = 1 << 30
			from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			sim, err := New(Options{
				Download: Budget{Requests: 1 << 40, Bytes: 1 << 60},
				Logs: []Log{{ID: "bulk", Name: "bulk", Generated: &Generated{
					Seed: 1, From: from, To: from.Add(24 * time.Hour), Bytes: size, Stamped: stamped,
				}}},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer sim.Close()
			base, err := sim.Start("127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			url := fmt.Sprintf("%s/download/logs/bulk?from=%d&to=%d&query=where(/.*/)", base, from.UnixMilli(), from.Add(24*time.Hour).UnixMilli())
			before := cpu()
			for b.Loop() {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), readerEnv+"="+url)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
			used := cpu() - before
			served := sim.Stats().Bytes
			b.SetBytes(served / int64(b.N))
			b.ReportMetric(used.Seconds()/(float64(served)/1e9), "cpu-s/GB")
		})
	}
}
