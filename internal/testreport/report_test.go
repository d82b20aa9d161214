package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	const (
		start   = `{"Action":"start","Package":"m/a"}` + "\n"
		okLine  = `{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"}` + "\n"
		pass    = `{"Action":"pass","Package":"m/a"}` + "\n"
		skipped = `{"Action":"run","Package":"m/a","Test":"TestS"}
{"Action":"output","Package":"m/a","Test":"TestS","Output":"=== RUN   TestS\n"}
{"Action":"output","Package":"m/a","Test":"TestS","Output":"    a_test.go:1: no zstd\n"}
{"Action":"output","Package":"m/a","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestS"}
`
	)
	for _, tt := range []struct {
		name    string
		in      string
		forbid  bool
		want    string
		wantErr string // "" for none
	}{
		{
			name: "quiet when all is well",
			in: start + `{"Action":"output","Package":"m/a","Test":"TestX","Output":"chatter\n"}
{"Action":"pass","Package":"m/a","Test":"TestX"}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
` + okLine + pass,
			want: "ok  \tm/a\t0.1s\n1 tests and subtests ended, 0 skipped\n",
		},
		{
			name: "failed test is shown whole",
			in: start + `{"Action":"output","Package":"m/a","Test":"TestX","Output":"x_test.go:1: got 1\n"}
{"Action":"output","Package":"m/a","Test":"TestY","Output":"fine\n"}
{"Action":"pass","Package":"m/a","Test":"TestY"}
{"Action":"fail","Package":"m/a","Test":"TestX"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}
{"Action":"fail","Package":"m/a"}
`,
			want:    "x_test.go:1: got 1\nFAIL\tm/a\t0.1s\n2 tests and subtests ended, 0 skipped\n",
			wantErr: "failed: m/a",
		},
		{
			name: "panic cuts a test short",
			in: start + `{"Action":"output","Package":"m/a","Test":"TestX","Output":"panic: boom\n"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}
{"Action":"fail","Package":"m/a"}
`,
			want:    "panic: boom\nFAIL\tm/a\t0.1s\n0 tests and subtests ended, 0 skipped\n",
			wantErr: "failed: m/a",
		},
		{
			name: "build failure",
			in: `{"ImportPath":"m/a [m/a.test]","Action":"build-output","Output":"a.go:1: undefined: x\n"}
{"ImportPath":"m/a [m/a.test]","Action":"build-fail"}
` + start + `{"Action":"output","Package":"m/a","Output":"FAIL\tm/a [build failed]\n"}
{"Action":"fail","Package":"m/a","FailedBuild":"m/a [m/a.test]"}
`,
			want:    "a.go:1: undefined: x\nFAIL\tm/a [build failed]\n0 tests and subtests ended, 0 skipped\n",
			wantErr: "failed: build m/a [m/a.test], m/a",
		},
		{
			name: "skip is named",
			in:   start + skipped + okLine + pass,
			want: "ok  \tm/a\t0.1s\nskipped:\n  m/a TestS: a_test.go:1: no zstd\n1 tests and subtests ended, 1 skipped\n",
		},
		{
			name: "skip is forbidden", forbid: true,
			in:      start + skipped + okLine + pass,
			want:    "ok  \tm/a\t0.1s\nskipped:\n  m/a TestS: a_test.go:1: no zstd\n1 tests and subtests ended, 1 skipped\n",
			wantErr: "1 tests were skipped",
		},
		{
			name: "package without tests is no skipped test", forbid: true,
			in: start + `{"Action":"output","Package":"m/a","Output":"?   \tm/a\t[no test files]\n"}
{"Action":"skip","Package":"m/a"}
`,
			want: "?   \tm/a\t[no test files]\n0 tests and subtests ended, 0 skipped\n",
		},
		{
			name: "package without an end", in: start,
			want: "0 tests and subtests ended, 0 skipped\n", wantErr: "never ended: m/a",
		},
		{name: "nothing", in: "", want: "0 tests and subtests ended, 0 skipped\n", wantErr: "no package was tested"},
		{name: "not test output", in: "go: cannot find main module\n", wantErr: "line 1 is not an event"},
		{name: "JSON of something else", in: start + `{"level":"info"}`, wantErr: "line 2 is not an event"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			err := r.read(strings.NewReader(tt.in))
			if err == nil {
				err = r.finish(tt.forbid)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if (got == "") != (tt.wantErr == "") || !strings.Contains(got, tt.wantErr) {
				t.Errorf("error: got %q, want it to contain %q", got, tt.wantErr)
			}
		})
	}
}

func TestSlowest(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	err := r.read(strings.NewReader(`{"Action":"pass","Package":"m/a","Test":"TestQuick","Elapsed":0.5}
{"Action":"pass","Package":"m/a","Test":"TestSlow/one","Elapsed":10.06}
{"Action":"pass","Package":"m/a","Test":"TestSlow/two/deep","Elapsed":20}
{"Action":"pass","Package":"m/a","Test":"TestSlow/two","Elapsed":25}
{"Action":"pass","Package":"m/a","Test":"TestSlow","Elapsed":50}
{"Action":"fail","Package":"m/b","Test":"TestMiddling","Elapsed":2}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.slowest(2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("slowest:\n    30.1s  m/a TestSlow\n     2.0s  m/b TestMiddling\n", out.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}
