package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks"
)

// Dead letters are staged per slice, sink and nonce under DeadPath/_staging/NONCE/: slice.json says whose they are,
// records.ndjson holds them. Both are durable before Commit, whose entry names the published file; after Commit the file
// is renamed to that name. At each start what a committed slice names is published, and the rest is swept.
const (
	stagingFolder = "_staging"
	stagedSlice   = "slice.json"
	stagedRecords = "records.ndjson"
)

// stager opens the dead letters of a slice and sink.
type stager func(w *work, l *leg) (*deadFile, error)

// deadFile is the dead letters of one slice and sink. Each line is one record:
//
//	{"v":1,"slice":ID,"selection":ID,"stream":S,"partition":P,"from":T,"to":T,"rev":N,"sink":NAME,
//	 "record":TEXT,"bytes":N,"reason":TEXT,"row":BASE64}
//
// A record that isn't UTF-8, or came in pieces because it is large, is "record_base64" instead. row is the record's Arrow stream with
// all of its columns, of those that a sink rejected.
type deadFile struct {
	folder string // staging
	root   string
	name   string // of the published file, relative to root, with slashes
	head   []byte
	file   *os.File
	out    *bufio.Writer
	limit  int64 // bytes of one record
	text   bool  // the stream's records are text

	hasher *flow.Hasher
	record io.WriteCloser // base64, while a record is open
	size   int64
	why    string // the last record's reason
	marked int64  // where rollBack goes to
}

type stagedOwner struct {
	V        int        `json:"v"`
	Slice    flow.Slice `json:"slice"`
	Sink     string     `json:"sink"`
	Identity string     `json:"identity"`
	Name     string     `json:"name"`
}

// stage opens the dead letters of a slice and sink in a folder of their own.
func (r *run) stage(w *work, l *leg) (*deadFile, error) {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:])
	d := &deadFile{
		root: r.cfg.DeadPath, folder: filepath.Join(r.cfg.DeadPath, stagingFolder, hex.EncodeToString(nonce[:])),
		limit: r.cfg.DeadRecord, text: len(l.stream.DigestColumns) == 0, hasher: flow.NewHasher(),
	}
	s := w.slice
	d.name = fmt.Sprintf("%s/%s-%s-%x.ndjson", l.sink.Name, s.From.Format("20060102T150405.000Z"), s.ID.String()[:16], nonce)
	head, err := json.Marshal(struct {
		V         int              `json:"v"`
		Slice     flow.SliceID     `json:"slice"`
		Selection flow.SelectionID `json:"selection"`
		Stream    string           `json:"stream"`
		Partition string           `json:"partition"`
		From      string           `json:"from"`
		To        string           `json:"to"`
		Rev       uint32           `json:"rev"`
		Sink      string           `json:"sink"`
	}{1, s.ID, s.Selection, s.Stream, s.Key, s.From.Format(flow.Layout), s.To.Format(flow.Layout), s.Rev, l.sink.Name})
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	d.head = head[:len(head)-1]
	owner, err := json.Marshal(stagedOwner{1, s, l.sink.Name, l.sink.Identity(), d.name})
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	r.deadMu.Lock() // nobody takes a folder for durable that another slice has just made
	err = makeFolder(filepath.Dir(d.folder), syncFolder)
	r.deadMu.Unlock()
	if err == nil {
		err = d.open(owner)
	}
	if err != nil {
		d.discard()
		return nil, fault.New(fault.Config, "dead letters", "check dead_letter.path: the folder must be writable and have room", err)
	}
	return d, nil
}

func (d *deadFile) open(owner []byte) (err error) {
	if err := os.Mkdir(d.folder, 0o777); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(d.folder, stagedSlice), owner); err != nil {
		return err
	}
	d.file, err = os.OpenFile(filepath.Join(d.folder, stagedRecords), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err == nil {
		d.out = bufio.NewWriterSize(d.file, 64<<10)
	}
	return err
}

// write adds a piece of the open record; the first piece opens it.
func (d *deadFile) write(p []byte) error {
	if d.record == nil {
		if _, err := d.out.Write(append(d.head[:len(d.head):len(d.head)], `,"record_base64":"`...)); err != nil {
			return d.broken(err)
		}
		d.record, d.size = base64.NewEncoder(base64.StdEncoding, d.out), 0
	}
	if d.size += int64(len(p)); d.size > d.limit {
		return fault.Errorf(fault.Oversize, "dead letters", "a record of more than %d bytes", d.limit).
			WithHint("raise dead_letter.max_record")
	}
	_, _ = d.hasher.Write(p)
	if _, err := d.record.Write(p); err != nil {
		return d.broken(err)
	}
	return nil
}

// whole writes a record that is there at once, with its Arrow row if there is one, and returns its sum.
func (d *deadFile) whole(body []byte, reason string, row []byte) (flow.Sum, error) {
	d.why = reason
	if int64(len(body)) > d.limit || !d.text || !utf8.Valid(body) {
		if err := d.write(body); err != nil {
			return flow.Sum{}, err
		}
		return d.end(reason, row)
	}
	text, err := plainJSON(string(body))
	if err != nil {
		return flow.Sum{}, err
	}
	tail, err := deadTail(int64(len(body)), reason, row)
	if err != nil {
		return flow.Sum{}, err
	}
	for _, part := range [][]byte{d.head, []byte(`,"record":`), text, tail} {
		if _, err := d.out.Write(part); err != nil {
			return flow.Sum{}, d.broken(err)
		}
	}
	return flow.SumOf(body), nil
}

// deadTail is what follows a record in its line.
func deadTail(size int64, reason string, row []byte) ([]byte, error) {
	text, err := plainJSON(reason)
	if err != nil {
		return nil, err
	}
	out := fmt.Appendf(nil, `,"bytes":%d,"reason":%s`, size, text)
	if row != nil {
		out = append(out, `,"row":"`...)
		out = base64.StdEncoding.AppendEncode(out, row)
		out = append(out, '"')
	}
	return append(out, "}\n"...), nil
}

// plainJSON writes a text as JSON, its <, > and & as they are.
func plainJSON(s string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// end closes the open record with the reason and returns its sum.
func (d *deadFile) end(reason string, row []byte) (flow.Sum, error) {
	if err := d.write(nil); err != nil { // opens an empty record
		return flow.Sum{}, err
	}
	tail, err := deadTail(d.size, reason, row)
	if err != nil {
		return flow.Sum{}, err
	}
	err = d.record.Close()
	d.record = nil
	if err == nil {
		_, err = d.out.Write(append([]byte{'"'}, tail...))
	}
	if err != nil {
		return flow.Sum{}, d.broken(err)
	}
	return d.hasher.Sum(), nil
}

// mark remembers the end of the last record, for rollBack.
func (d *deadFile) mark() error {
	err := d.out.Flush()
	if err == nil {
		d.marked, err = d.file.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		return d.broken(err)
	}
	return nil
}

// rollBack takes back what was written since mark.
func (d *deadFile) rollBack() error {
	err := d.out.Flush()
	if err == nil {
		err = d.file.Truncate(d.marked)
	}
	if err == nil {
		_, err = d.file.Seek(d.marked, io.SeekStart)
	}
	if err != nil {
		return d.broken(err)
	}
	return nil
}

func (d *deadFile) broken(err error) error {
	return fault.New(fault.Config, "dead letters", "check the disk of dead_letter.path", err)
}

// seal makes the staged file durable, its folder's name too: it must be found if the commit that follows names it.
func (d *deadFile) seal() error {
	err := d.out.Flush()
	if err == nil {
		err = d.file.Sync()
	}
	if e := d.file.Close(); err == nil {
		err = e
	}
	d.file = nil
	for _, folder := range []string{d.folder, filepath.Dir(d.folder), d.root, filepath.Dir(d.root)} {
		if err == nil {
			err = syncFolder(folder)
		}
	}
	if err != nil {
		return d.broken(err)
	}
	return nil
}

// publish renames the sealed file to the name that the commit holds.
func (d *deadFile) publish() error { return publishDead(d.root, d.folder, d.name) }

// discard removes what was staged.
func (d *deadFile) discard() {
	d.leave()
	_ = os.RemoveAll(d.folder)
}

// leave closes the file and keeps it staged.
func (d *deadFile) leave() {
	if d.file != nil {
		_ = d.file.Close()
		d.file = nil
	}
}

func publishDead(root, folder, name string) error {
	target := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if err := os.Rename(filepath.Join(folder, stagedRecords), target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dead letters: %w", err)
	}
	// The sink's folder may be new: its own name must last before what was staged goes.
	if err := errors.Join(syncFolder(filepath.Dir(target)), syncFolder(root)); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return os.RemoveAll(folder)
}

// sweepDead settles what was left staged for some sinks: published if the sink's commit names it, else removed. None of their slices may
// be at work. What belongs to a sink that isn't open now is left alone.
func (r *run) sweepDead(ctx context.Context, of sinkSet) error {
	staged, err := os.ReadDir(filepath.Join(r.cfg.DeadPath, stagingFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	for _, entry := range staged {
		folder := filepath.Join(r.cfg.DeadPath, stagingFolder, entry.Name())
		owner, err := readOwner(folder)
		if err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
		if !strings.HasSuffix(owner.Name, ".ndjson") || !filepath.IsLocal(filepath.FromSlash(owner.Name)) {
			// It never came as far as a commit: slice.json is durable before the first record. In the middle of a run it may be under way.
			if of != all {
				continue
			}
			if err := os.RemoveAll(folder); err != nil {
				return fmt.Errorf("dead letters: %w", err)
			}
			continue
		}
		if err := r.settleDead(ctx, folder, owner, of); err != nil {
			return err
		}
	}
	return nil
}

// readOwner reads whose a folder of staged dead letters is. One that doesn't say so has the zero owner.
func readOwner(folder string) (owner stagedOwner, err error) {
	text, err := os.ReadFile(filepath.Join(folder, stagedSlice))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stagedOwner{}, nil
	case err != nil:
		return stagedOwner{}, err
	}
	if json.Unmarshal(text, &owner) != nil {
		owner = stagedOwner{}
	}
	return owner, nil
}

func (r *run) settleDead(ctx context.Context, folder string, owner stagedOwner, of sinkSet) error {
	for _, i := range of.each() {
		if i >= len(r.cfg.Sinks) {
			break
		}
		s := r.cfg.Sinks[i]
		if s.Sink == nil {
			continue
		}
		if mine, err := r.staged(ctx, i, owner); err != nil {
			return fmt.Errorf("dead letters: sink %s: %w", s.Name, err)
		} else if !mine {
			continue
		}
		// A slice that isn't committed is read again, and its dead letters are made again with it.
		receipt, held, err := r.holdsAs(ctx, i, owner.Identity, owner.Slice)
		if err != nil {
			return fmt.Errorf("dead letters: sink %s: %w", s.Name, err)
		}
		named := held && receipt.DeadLetters == owner.Name
		if named {
			return publishDead(r.cfg.DeadPath, folder, owner.Name)
		}
		return os.RemoveAll(folder)
	}
	return nil
}

// staged reports whether a sink staged these dead letters. One whose account lasts for one run had another identity when it did.
func (r *run) staged(ctx context.Context, i int, owner stagedOwner) (bool, error) {
	s := r.cfg.Sinks[i]
	if !s.OneRun || s.Name != owner.Sink {
		return r.identity(i) == owner.Identity, nil
	}
	known, err := r.cfg.Ledger.Sinks(ctx)
	return slices.ContainsFunc(known, func(k ledger.SinkInfo) bool { return k.Identity == owner.Identity && k.Type == s.Type }), err
}

// publishFound publishes the dead letters of a commit that was found: they stay staged when the sink doesn't answer its commit.
func (r *run) publishFound(receipt sinks.Receipt) {
	if receipt.Dead.Rows == 0 || receipt.DeadLetters == "" {
		return
	}
	folder, err := stagedFolder(r.cfg.DeadPath, receipt)
	if err == nil {
		err = publishDead(r.cfg.DeadPath, folder, receipt.DeadLetters)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.cfg.Log.Warn("dead letters stay staged until the next start", "slice", receipt.Slice.String(), "error", err.Error())
	}
}

// addDead stages a piece of a record that the source couldn't put into a batch.
func (l *leg) addDead(w *work, piece flow.DeadPiece, stage stager) error {
	if err := l.needDead(w, stage); err != nil {
		return err
	}
	if piece.Last && l.dead.record == nil {
		sum, err := l.dead.whole(piece.Bytes, piece.Reason, nil)
		l.deadSum = l.deadSum.Plus(sum)
		return err
	}
	if err := l.dead.write(piece.Bytes); err != nil {
		return err
	}
	if !piece.Last {
		return nil
	}
	sum, err := l.dead.end(piece.Reason, nil)
	l.deadSum = l.deadSum.Plus(sum)
	return err
}

// addRejected stages the rows that the sink rejected and returns their sum.
func (l *leg) addRejected(w *work, b flow.Batch, rejected []sinks.Rejected, stage stager) (flow.Sum, error) {
	var sum flow.Sum
	if len(rejected) == 0 {
		return sum, nil
	}
	if err := l.needDead(w, stage); err != nil {
		return sum, err
	}
	seen := map[int]bool{}
	for _, rej := range rejected {
		if rej.Row < 0 || int64(rej.Row) >= b.Records.NumRows() || seen[rej.Row] {
			return sum, fault.Errorf(fault.Bug, "sink "+l.sink.Name, "it rejects row %d of %d, or twice", rej.Row, b.Records.NumRows())
		}
		seen[rej.Row] = true
		body, err := l.stream.row(b.Records, rej.Row)
		if err != nil {
			return sum, err
		}
		row, err := encodeRow(b.Records, rej.Row)
		if err != nil {
			return sum, err
		}
		one, err := l.dead.whole(body, rej.Reason, row)
		if err != nil {
			return sum, err
		}
		sum = sum.Plus(one)
	}
	l.deadSum = l.deadSum.Plus(sum)
	return sum, nil
}

func (l *leg) needDead(w *work, stage stager) (err error) {
	if l.dead == nil {
		l.dead, err = stage(w, l)
	}
	return err
}

// row returns the bytes of one row that the digest hashes.
func (s Stream) row(rec arrow.Record, row int) ([]byte, error) {
	if len(s.DigestColumns) > 0 {
		return flow.RowColumns(rec, s.DigestColumns, row)
	}
	bodyIndex, rawIndex, ok := flow.BodyColumns(rec.Schema())
	if !ok {
		return nil, fault.Errorf(fault.Bug, "dead letters", "the stream has no text body")
	}
	var raw *array.Binary
	if rawIndex >= 0 {
		raw, _ = rec.Column(rawIndex).(*array.Binary)
	}
	body, ok := rec.Column(bodyIndex).(*array.String)
	if !ok {
		return nil, fault.Errorf(fault.Bug, "dead letters", "the body isn't text")
	}
	return flow.RowBody(body, raw, row), nil
}

// encodeRow writes one row with its schema as an Arrow stream.
func encodeRow(rec arrow.Record, row int) ([]byte, error) {
	columns := make([]arrow.Array, rec.NumCols())
	for i := range columns {
		part := array.NewSlice(rec.Column(i), int64(row), int64(row)+1)
		// A copy that begins with the row: the library's writer fails on an empty list of texts in the midst of others.
		a, err := array.Concatenate([]arrow.Array{part}, memory.DefaultAllocator)
		part.Release()
		if err != nil {
			return nil, fmt.Errorf("dead letters: copy a row: %w", err)
		}
		defer a.Release()
		columns[i] = a
	}
	one := array.NewRecord(rec.Schema(), columns, 1)
	defer one.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(rec.Schema()))
	if err := errors.Join(w.Write(one), w.Close()); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return out.Bytes(), nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// makeFolder makes a folder and what leads to it. Each name is durable before the next one is made: a file in a folder whose own name a
// power cut takes away is lost with it, however often the file was synced. sync is syncFolder.
func makeFolder(path string, sync func(folder string) error) error {
	var missing []string
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := sync(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
