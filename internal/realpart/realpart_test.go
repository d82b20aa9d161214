package realpart

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakeTB records how a test would have ended. Skipf and Fatalf end the goroutine, as testing.T's do.
type fakeTB struct {
	testing.TB
	skipped, failed string
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Skipf(format string, args ...any) {
	f.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// need runs Need in a goroutine of its own, which a fakeTB may end.
func need(name, remedy string) (tb *fakeTB, path string) {
	tb = &fakeTB{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Need(tb, name, remedy)
	}()
	<-done
	return tb, path
}

func TestNeed(t *testing.T) {
	bin := t.TempDir()
	present := filepath.Join(bin, "present-part")
	if err := os.WriteFile(present, []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		part        string
		require     string
		list        string // file below a fresh folder; "" leaves the variable empty
		wantPath    string
		wantSkipped string
		wantFailed  string
		wantList    string
	}{
		{name: "present", part: "present-part", require: "1", list: "missing", wantPath: present},
		{
			name: "missing", part: "absent-part", list: "missing",
			wantSkipped: "absent-part is missing; to enable this test: get\nit", wantList: "absent-part: get it\n",
		},
		{name: "missing, no list", part: "absent-part", wantSkipped: "absent-part is missing"},
		{name: "missing, required", part: "absent-part", require: "1", list: "missing", wantFailed: "SLUICE_REQUIRE_PARTS=1 forbids a skip"},
		{name: "missing, other value is not a requirement", part: "absent-part", require: "0", wantSkipped: "absent-part is missing"},
		{name: "list can't be written", part: "absent-part", list: "no/such/folder", wantFailed: "could not be written down"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", bin)
			t.Setenv(RequireEnv, tt.require)
			list := ""
			if tt.list != "" {
				list = filepath.Join(t.TempDir(), tt.list)
			}
			t.Setenv(MissingEnv, list)

			tb, path := need(tt.part, "get\nit")
			if path != tt.wantPath {
				t.Errorf("path: got %q, want %q", path, tt.wantPath)
			}
			checkEnd(t, "skipped", tb.skipped, tt.wantSkipped)
			checkEnd(t, "failed", tb.failed, tt.wantFailed)
			got, err := os.ReadFile(list)
			if err != nil && tt.wantList != "" {
				t.Fatal(err)
			}
			if string(got) != tt.wantList {
				t.Errorf("list: got %q, want %q", got, tt.wantList)
			}
		})
	}
}

func checkEnd(t *testing.T, what, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want it to contain %q", what, got, want)
	}
}

func TestNeedAppends(t *testing.T) {
	list := filepath.Join(t.TempDir(), "missing")
	t.Setenv("PATH", t.TempDir())
	t.Setenv(RequireEnv, "")
	t.Setenv(MissingEnv, list)
	need("first", "get first")
	need("second", "get second")
	got, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if want := "first: get first\nsecond: get second\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
