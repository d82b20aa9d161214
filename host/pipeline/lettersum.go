package pipeline

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-io/sluice/proto/flow"
)

// letterHead is where a line of dead letters has said which kind of record follows: before it come only names and the slice.
const letterHead = 64 << 10

// Keys of a letter's line before its record. Inside of a JSON string their quotes would be escaped.
var (
	textKey   = []byte(`"record":`)
	base64Key = []byte(`"record_base64":"`)
)

// nextLetter reads a line of dead letters and returns the Sum of its record, which may be longer than the memory has room for. io.EOF at
// the end.
func nextLetter(in *bufio.Reader) (flow.Sum, error) {
	head, err := in.Peek(letterHead)
	if len(head) == 0 {
		return flow.Sum{}, err
	}
	if end := bytes.IndexByte(head, '\n'); end >= 0 {
		head = head[:end]
	}
	at := bytes.Index(head, base64Key)
	if at < 0 {
		return textLetter(in)
	}
	if _, err := in.Discard(at + len(base64Key)); err != nil {
		return flow.Sum{}, err
	}
	hasher := flow.NewHasher()
	if _, err := io.Copy(hasher, base64.NewDecoder(base64.StdEncoding, &untilQuote{in: in})); err != nil {
		return flow.Sum{}, err
	}
	for {
		_, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return flow.Sum{}, orUnexpected(err)
		}
		return hasher.Sum(), nil
	}
}

// maxLetterLine bounds in bytes a line whose record is text: those are no longer than a batch may be, and escaped.
const maxLetterLine = 4 * maxLetter

// textLetter reads a line whose record is text.
func textLetter(in *bufio.Reader) (flow.Sum, error) {
	line, tooLong, err := readLine(in, maxLetterLine)
	if err != nil {
		return flow.Sum{}, orUnexpected(err)
	}
	if tooLong {
		return flow.Sum{}, fmt.Errorf("a line of more than %d bytes", maxLetterLine)
	}
	if !bytes.Contains(line, textKey) {
		return flow.Sum{}, errors.New("a line without a record")
	}
	var l letter
	if err := json.Unmarshal(line, &l); err != nil {
		return flow.Sum{}, err
	}
	return flow.SumOf(l.body()), nil
}

func orUnexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// untilQuote reads up to the quote that ends a text of base64, which holds none.
type untilQuote struct {
	in  *bufio.Reader
	end bool
}

// Read implements io.Reader.
func (u *untilQuote) Read(p []byte) (int, error) {
	if u.end {
		return 0, io.EOF
	}
	text, err := u.in.Peek(min(len(p), 4<<10))
	if len(text) == 0 {
		return 0, orUnexpected(err)
	}
	if at := bytes.IndexByte(text, '"'); at >= 0 {
		u.end = true
		n := copy(p, text[:at])
		_, err := u.in.Discard(at + 1)
		if n == 0 && err == nil {
			err = io.EOF
		}
		return n, err
	}
	n := copy(p, text)
	_, err = u.in.Discard(n)
	return n, err
}
