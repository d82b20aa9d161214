package config

import (
	"fmt"
	"log/slog"
)

const hidden = "***"

// Secret is a value that prints as *** in every format, in JSON, text and slog. The zero Secret is empty.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value. Whoever calls it keeps it out of logs, errors and files.
func (s Secret) Reveal() string { return s.value }

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// String implements fmt.Stringer.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return hidden }

// MarshalText implements encoding.TextMarshaler; JSON uses it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Secrets are the secret values of one component, for a Redactor.
type Secrets []Secret
