package plugins

import (
	"os"
	"testing"
	"time"
)

func TestAPluginEndsWithItsHost(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan int, 1)
	endWithHost(r, func(code int) { ended <- code })
	select {
	case <-ended:
		t.Fatal("it ended while the host held its stdin open")
	case <-time.After(20 * time.Millisecond):
	}
	w.Close()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it lives on after its host has gone")
	}
}

func TestAStdinThatIsNoPipeSaysNothing(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	endWithHost(f, func(int) { t.Error("it ended") })
	time.Sleep(20 * time.Millisecond)
}
