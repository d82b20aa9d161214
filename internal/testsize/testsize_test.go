package testsize

import "testing"

func TestOf(t *testing.T) {
	for _, tt := range []struct {
		size, parts, want string
	}{{"", "", "sample"}, {"full", "", "full"}, {"", "1", "full"}, {"small", "0", "sample"}} {
		t.Setenv("SLUICE_TEST_SIZE", tt.size)
		t.Setenv("SLUICE_REQUIRE_PARTS", tt.parts)
		if got := Of("full", "sample"); got != tt.want {
			t.Errorf("size %q, parts %q: %s, want %s", tt.size, tt.parts, got, tt.want)
		}
		var s skipped
		if Alone(&s); bool(s) != (tt.want == "sample") {
			t.Errorf("size %q, parts %q: what measures is skipped: %v", tt.size, tt.parts, s)
		}
	}
}

type skipped bool

func (s *skipped) Helper()     {}
func (s *skipped) Skip(...any) { *s = true }
