package rapid7

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxListing is how long a list may be, in bytes; a guard, not a limit of the vendor's.
const maxListing = 256 << 20

// ErrNoList says that an answer isn't the list that was asked for.
var ErrNoList = errors.New("the answer isn't the documented JSON")

// Each calls use with every element of a list in JSON, which stands under a key of an object or is all there is. One element is held
// at a time, and it is use's until that returns. r is read to its end, so that what follows the list, or that it was cut, shows.
// Errors of r and of use are returned as they are; others wrap ErrNoList.
func Each(r io.Reader, key string, use func(element json.RawMessage) error) error {
	in := &listed{r: io.LimitReader(r, maxListing+1)}
	err := in.each(json.NewDecoder(in), key, use)
	switch {
	case in.err != nil:
		return in.err
	case in.n > maxListing:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrNoList, maxListing)
	case in.used != nil:
		return in.used
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoList, err)
	}
	return nil
}

// listed remembers where an error came from.
type listed struct {
	r    io.Reader
	n    int64
	err  error // of r
	used error // of use
}

func (l *listed) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

func (l *listed) each(d *json.Decoder, key string, use func(json.RawMessage) error) error {
	begin, err := d.Token()
	if err != nil {
		return err
	}
	found := false
	switch begin {
	case json.Delim('['):
		found = true
		err = l.elements(d, use)
	case json.Delim('{'):
		found, err = l.member(d, key, use)
	}
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("it holds no list %q", key)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return nil
}

// member finds the list among an object's members.
func (l *listed) member(d *json.Decoder, key string, use func(json.RawMessage) error) (found bool, err error) {
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return found, err
		}
		if name != key {
			if err := skip(d); err != nil {
				return found, err
			}
			continue
		}
		if begin, err := d.Token(); err != nil || begin != json.Delim('[') || found {
			return found, errors.Join(err, fmt.Errorf("%q is no list, or there twice", key))
		}
		found = true
		if err := l.elements(d, use); err != nil {
			return found, err
		}
	}
	_, err = d.Token() // the end
	return found, err
}

func (l *listed) elements(d *json.Decoder, use func(json.RawMessage) error) error {
	for d.More() {
		var element json.RawMessage
		if err := d.Decode(&element); err != nil {
			return err
		}
		if l.used = use(element); l.used != nil {
			return l.used
		}
	}
	_, err := d.Token() // the end
	return err
}

// skip passes a value.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
