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
	}
}
