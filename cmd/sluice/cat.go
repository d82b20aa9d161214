package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/encode"
	"github.com/sluice-io/sluice/sinks/file"
	"github.com/sluice-io/sluice/sinks/ipcfile"
	"github.com/sluice-io/sluice/sinks/parquetfile"
)

func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat FILE...",
		Short: "Print any file that Sluice writes",
		Long: "cat prints data files decompressed, Parquet and Arrow files as NDJSON, commit entries, owner.json and summaries as indented\n" +
			"JSON, and other text, such as metrics, reports and config files, as it is. Files that are staged are told by how they begin.\n" +
			"- is standard input, plain, gzip or zstd.",
		Example: "  sluice cat lake/stream=events/log_id=*/date=2026-11-01/*.zst | head",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(fmt.Errorf("`%s` wants at least one file; see `%s --help`", c.CommandPath(), c.CommandPath()))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.cat(args) },
	}
}

func (a *app) cat(names []string) error {
	defer keepPipeErrors()()
	for _, name := range names {
		err := a.catOne(name)
		if isReaderGone(err) {
			return nil
		}
		if err != nil {
			return failedError(err)
		}
	}
	return nil
}

func (a *app) catOne(name string) error {
	if name != "-" {
		st, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("cat: %w", err) // before what its name says of its format
		}
		if st.IsDir() {
			return fault.New(fault.Config, "cat", "name files in it, such as with find "+name+" -type f", fmt.Errorf("%s is a folder", name))
		}
		return catFile(a.stdout, name)
	}
	if err := catStream(a.stdout, a.stdin); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return nil
}

// catFile writes what a file of any sink holds to w.
func catFile(w io.Writer, name string) error {
	switch filepath.Ext(name) {
	case ".parquet":
		return catRecords(w, name, func(f *os.File, each func(arrow.Record) error) error { return parquetfile.Read(f, each) })
	case ".arrow", ".arrows":
		return catRecords(w, name, func(f *os.File, each func(arrow.Record) error) error { return ipcfile.Read(f, each) })
	}
	if file.CanCat(name) {
		return file.Cat(w, name)
	}
	return catByContent(w, name)
}

// catHead is how much of a file is looked at to tell what it is.
const catHead = 64 << 10

// catByContent writes a file whose name doesn't tell what it holds.
func catByContent(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, catHead)
	head, err := in.Peek(catHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	begins := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	base := filepath.Base(name)
	switch {
	case begins("PAR1"):
		return catRecords(w, name, func(f *os.File, each func(arrow.Record) error) error { return parquetfile.Read(f, each) })
	case begins("ARROW1"), begins("\xff\xff\xff\xff"): // a file, a stream
		return catRecords(w, name, func(f *os.File, each func(arrow.Record) error) error { return ipcfile.Read(f, each) })
	case begins("SQLite format 3\x00"), base == ledger.FileName+"-wal", base == ledger.FileName+"-shm":
		return fault.New(fault.Config, "cat", "`sluice ledger export` writes it as NDJSON or Parquet, `sluice status` shows what it says",
			fmt.Errorf("%s belongs to a ledger, which is an SQLite database", name))
	case base == "lock":
		return fault.New(fault.Config, "cat", "`sluice status` shows what runs, `sluice ledger export` what is known of past runs",
			fmt.Errorf("%s is a lock: it keeps a second run out of the folder, and holds no data", name))
	case begins("SLSPOOL"):
		return fault.New(fault.Config, "cat", "`sluice status` shows what the sinks lack; what they have is in their own files",
			fmt.Errorf("%s is of a spool: a slice as it was read, kept until every sink has it", name))
	case begins("\x1f\x8b"), begins("\x28\xb5\x2f\xfd"), isText(head):
		err := catStream(w, in)
		if err != nil && !isReaderGone(err) {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return err
	}
	return fault.New(fault.Config, "cat", "name a data file, a file of a _sluice folder or text, such as a report",
		fmt.Errorf("%s isn't a file that cat knows: it is no text, and of none of the formats that sinks write", name))
}

// isText reports whether the beginning of a file is that of UTF-8 text. A character may be cut off at its end.
func isText(head []byte) bool {
	for end := len(head); end >= 0 && end > len(head)-utf8.UTFMax; end-- {
		if utf8.Valid(head[:end]) {
			return !bytes.ContainsRune(head, 0)
		}
	}
	return false
}

// catRecords writes a file of batches as NDJSON.
func catRecords(w io.Writer, name string, read func(f *os.File, each func(arrow.Record) error) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var enc encode.Encoder
	var buf []byte
	err = read(f, func(rec arrow.Record) error {
		if enc == nil {
			if enc, err = encode.New(encode.NDJSON, rec.Schema()); err != nil {
				return err
			}
		}
		for row := 0; row < int(rec.NumRows()); {
			if buf, row, err = enc.Append(buf[:0], rec, row, 256<<10); err != nil {
				return err
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !isReaderGone(err) && !errors.Is(err, errEnough) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// catStream copies a stream, decompressed if it begins as gzip or zstd do.
func catStream(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var from io.Reader = in
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		from = z
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		from = z
	}
	_, err = io.Copy(w, from)
	return err
}

// keepPipeErrors makes a write to a pipe whose reader has gone an error instead of the end of this process, until the
// returned function is called. A handler, unlike an ignored signal, isn't passed on to plugins.
func keepPipeErrors() (restore func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}

// isReaderGone reports whether whoever read standard output has ended, as head does.
func isReaderGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
