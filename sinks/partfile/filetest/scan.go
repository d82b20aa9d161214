package filetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sluice-io/sluice/proto/flow"
	"github.com/sluice-io/sluice/sinks/partfile"
)

// Scan writes records of every type that a digest may count and requires that the format's Scan gives back the Sum of each, or says
// why it may not. exact are how many columns must be given back exactly, at least.
func Scan(t *testing.T, f partfile.Format, exact int) {
	t.Helper()
	s := Schema()
	r := rand.New(rand.NewPCG(9, 9))
	rec := Record(memory.DefaultAllocator, r, s, 400, 0.2)
	defer rec.Release()
	file, rejected := Write(t, f, partfile.Info{Slice: Slice("x"), Schema: s, PartSize: 1 << 40}, nil, rec)
	if len(rejected[0]) > 0 {
		t.Fatalf("rejected: %v", rejected[0])
	}
	var all []string
	for i, field := range s.Fields() {
		if _, err := flow.RowColumns(rec, []string{field.Name}, 0); err != nil || rec.Column(i).NullN() == 400 {
			continue // no digest has it
		}
		of := partfile.Stored{Path: "x" + f.Extension(), Schema: s, Digest: []string{field.Name}}
		if why := f.Lossy(of); why != "" {
			t.Logf("%s: %s", field.Type, why)
			continue
		}
		all = append(all, field.Name)
		if err := scans(f, file, of, rec); err != nil {
			t.Errorf("column of %s: %v", field.Type, err)
		}
	}
	if len(all) < exact {
		t.Errorf("%d columns are given back exactly, want %d at least", len(all), exact)
	}
	if err := scans(f, file, partfile.Stored{Path: "x" + f.Extension(), Schema: s, Digest: all}, rec); err != nil {
		t.Errorf("all columns: %v", err)
	}
	told(t, f)
}

// told has a digest of columns that the path tells, with others and alone.
func told(t *testing.T, f partfile.Format) {
	t.Helper()
	text := arrow.BinaryTypes.String
	s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: text}, {Name: flow.ColLogID, Type: text}}, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer rows.Release()
	rows.Field(0).(*array.StringBuilder).AppendValues([]string{"a", "", "c"}, nil)
	rows.Field(1).(*array.StringBuilder).AppendValues([]string{"x", "x", "x"}, nil)
	rec := rows.NewRecord()
	defer rec.Release()
	info := partfile.Info{Slice: Slice("x"), Schema: s, PartSize: 1 << 40}
	of := partfile.Stored{Path: "x" + f.Extension(), Schema: s}
	if f.Typed() {
		info.Omit = []string{flow.ColLogID}
		of.Told = map[string]string{flow.ColLogID: "x"}
	}
	file, _ := Write(t, f, info, nil, rec)
	for _, digest := range [][]string{{"id", flow.ColLogID}, {flow.ColLogID, "id"}, {flow.ColLogID}} {
		of.Digest = digest
		if err := scans(f, file, of, rec); err != nil {
			t.Errorf("digest of %v: %v", digest, err)
		}
	}
}

func scans(f partfile.Format, file []byte, of partfile.Stored, rec arrow.Record) error {
	var want, got []flow.Sum
	if err := flow.EachRecord(rec, of.Digest, func(s flow.Sum) error { want = append(want, s); return nil }); err != nil {
		return err
	}
	if err := f.Scan(bytes.NewReader(file), of, func(s flow.Sum) error { got = append(got, s); return nil }); err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("record %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	return nil
}
