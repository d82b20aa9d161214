package rest

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRedactor(t *testing.T) {
	r := newRedactor([]string{"s3cr&t", "s3cr&t-and-more", ""})
	tests := []struct{ text, want string }{
		{"plain", "plain"},
		{"key s3cr&t!", "key ***!"},
		{"s3cr&t-and-more", "***"},
		{"q=s3cr%26t", "q=***"},
		{"Basic czNjciZ0", "Basic ***"},
		{"line\none\x00\x1b[31m", "line one [31m"},
		{"bad \xff byte", "bad byte"},
	}
	for _, tt := range tests {
		if got := r.excerpt([]byte(tt.text), excerptSize, false); got != tt.want {
			t.Errorf("excerpt(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
	for _, size := range []int{10, 11, 12, 13} {
		got := r.excerpt([]byte(strings.Repeat("é", 100)), size, false)
		if len(got) > size || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("excerpt to %d bytes = %q", size, got)
		}
	}
	// A secret across the cut is hidden whole.
	if got := r.excerpt([]byte(strings.Repeat("x", 97)+"s3cr&t-and-more"), 100, false); strings.Contains(got, "s3") {
		t.Errorf("part of a secret is left: %q", got)
	}
	// A secret that is read in part, as blanks before it aren't shown, isn't shown either.
	for n := range len("s3cr&t-and-more") {
		text := "the vendor's own words about the key" + strings.Repeat(" ", excerptSize) + "s3cr&t-and-more"[:n]
		if got := r.excerpt([]byte(text), excerptSize, true); strings.Contains(got, "s3") || !strings.HasSuffix(got, "…") || !strings.HasPrefix(got, "the vendor's") {
			t.Errorf("%d bytes of a secret: %q", n, got)
		}
	}
	if got := r.excerpt([]byte(strings.Repeat("é", 200)), 1000, true); !utf8.ValidString(got) {
		t.Errorf("a cut within a character: %q", got)
	}
	if got := r.excerpt([]byte("invalid key"), 1000, true); got != "invalid key…" {
		t.Errorf("words at a cut: %q", got)
	}
	cause := errors.New("s3cr&t")
	if err := r.err(cause); err.Error() != "***" || !errors.Is(err, cause) {
		t.Errorf("err = %v", err)
	}
}
