package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/host/control"
	"github.com/sluice-io/sluice/host/ledger"
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/proto/flow"
)

var march = time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)

// days is a range in days of March, which may be broken.
func days(from, to float64) flow.Range {
	at := func(d float64) time.Time { return march.Add(time.Duration(d * float64(oneDay))) }
	return flow.Range{From: at(from), To: at(to)}
}

// TestStatusAsks takes the asked range from the file and the best clock that is known, and what a process said of its streams from what
// runs, else from the last start, else from the last run that knew it, else from the file.
func TestStatusAsks(t *testing.T) {
	t.Parallel()
	now := days(7.25, 8).From
	half := map[string]int64{"usage": (12 * time.Hour).Milliseconds()}
	slow := -24 * time.Hour.Seconds()
	to, ahead := days(2, 3).From, days(19, 20).From
	for _, tt := range []struct {
		name     string
		rng      config.Range
		host     bool
		settings string
		known    []ledger.AskedPartition
		runs     []pipelineSummary
		live     control.Snapshot
		want     flow.Ranges
		clock    string
	}{
		{"nothing has run: the default", config.Range{From: march}, false, `{}`, nil, nil, control.Snapshot{}, flow.Ranges{days(0, 6)}, clockHost},
		{"nothing has run: the file", config.Range{From: march}, false, `{"settle": "0s"}`, nil, nil, control.Snapshot{}, flow.Ranges{days(0, 7)}, clockHost},
		{"nothing has run: a placeholder", config.Range{From: march}, false, `{"settle": "${env:X}"}`, nil, nil, control.Snapshot{}, flow.Ranges{days(0, 6)}, clockHost},
		{
			"the last start",
			config.Range{From: march},
			false, `{}`,
			[]ledger.AskedPartition{{Partition: flow.Partition{Stream: "usage"}, Settle: 3 * oneDay}},
			[]pipelineSummary{{Settle: half}},
			control.Snapshot{},
			flow.Ranges{days(0, 4)},
			clockHost,
		},
		{"the last run that knew", config.Range{From: march}, false, `{}`, nil, []pipelineSummary{{}, {Settle: half}}, control.Snapshot{}, flow.Ranges{days(0, 6)}, clockHost},
		{"nothing settles any more", config.Range{From: march}, false, `{}`, nil, []pipelineSummary{{Settle: map[string]int64{}}, {Settle: half}}, control.Snapshot{}, flow.Ranges{days(0, 7)}, clockHost},
		{
			"what runs knows best",
			config.Range{From: march},
			false, `{}`,
			[]ledger.AskedPartition{{Partition: flow.Partition{Stream: "usage"}}},
			nil,
			control.Snapshot{Pipelines: []control.Pipeline{{Name: "other"}, {Name: "main", Settle: half, VendorNow: now.Add(-oneDay)}}},
			flow.Ranges{days(0, 5)},
			clockVendor,
		},
		{"the vendor's clock as of the last run", config.Range{From: march}, false, `{"settle":"0s"}`, nil, []pipelineSummary{{}, {VendorAhead: &slow}}, control.Snapshot{}, flow.Ranges{days(0, 6)}, clockCorrected},
		{"a pipeline that trusts this machine", config.Range{From: march}, true, `{"settle":"0s"}`, nil, []pipelineSummary{{VendorAhead: &slow}}, control.Snapshot{}, flow.Ranges{days(0, 7)}, clockHost},
		{"a closed range", config.Range{From: march, To: &to}, false, `{}`, nil, nil, control.Snapshot{}, flow.Ranges{days(0, 2)}, clockHost},
		{"a range that ends ahead", config.Range{From: march, To: &ahead}, false, `{}`, nil, nil, control.Snapshot{}, flow.Ranges{days(0, 6)}, clockHost},
		{"the last days", config.Range{Last: 4 * oneDay}, false, `{"settle": "0s"}`, nil, nil, control.Snapshot{}, flow.Ranges{days(3, 7)}, clockHost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &config.Pipeline{Name: "main", Range: tt.rng, Lag: 5 * time.Minute}
			p.Source.Type, p.Source.Config.JSON = "rapid7-usage", []byte(tt.settings)
			if tt.host {
				p.Clock = config.ClockHost
			}
			var s pipelineStatus
			horizon := s.setClock(p, tt.runs, tt.live, now).Add(-p.Lag)
			asked, open := askedOf(p, horizon)
			if want := tt.rng.To != &to; open != want {
				t.Errorf("open %v, want %v", open, want)
			}
			stream := streamsOf(p, tt.runs, tt.live, tt.known)["usage"]
			if diff := cmp.Diff(tt.want, stream.Asks(asked, horizon)); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if s.Clock != tt.clock || stream.Granularity != oneDay {
				t.Errorf("clock %s, want %s; granularity %s", s.Clock, tt.clock, stream.Granularity)
			}
		})
	}
}

func TestBehind(t *testing.T) {
	t.Parallel()
	figures := pipeline.Stream{Granularity: oneDay, Settle: oneDay}
	for _, tt := range []struct {
		name    string
		stream  pipeline.Stream
		last    time.Duration
		held    flow.Ranges // covered or unavailable
		horizon float64     // days
		want    time.Duration
	}{
		{"nothing lacks", pipeline.Stream{}, 0, flow.Ranges{days(0, 9)}, 9, 0},
		{"the end lacks", pipeline.Stream{}, 0, flow.Ranges{days(0, 7)}, 9, 2 * oneDay},
		{"a hole in the middle", pipeline.Stream{}, 0, flow.Ranges{days(0, 2), days(3, 9)}, 9, 7 * oneDay},
		{"all lacks", pipeline.Stream{}, 0, nil, 9, 9 * oneDay},
		{"a day that has just settled", figures, 0, flow.Ranges{days(0, 6)}, 8.25, 6 * time.Hour},
		{"a day that has yet to settle", figures, 0, flow.Ranges{days(0, 6)}, 7.99, 0},
		{"a day long since settled", figures, 0, flow.Ranges{days(0, 2), days(3, 9)}, 9, 5 * oneDay},
		{"today's snapshot lacks", pipeline.Stream{Snapshot: true}, 0, flow.Ranges{days(0, 1)}, 1.5, 12*time.Hour - time.Millisecond},
		{"the last days, without a hole", pipeline.Stream{}, 4 * oneDay, flow.Ranges{days(5, 9)}, 9, 0},
		{"the last days, not read for long", pipeline.Stream{}, 4 * oneDay, flow.Ranges{days(0, 1)}, 9, 8 * oneDay},
		{"the last days, never read", pipeline.Stream{}, 4 * oneDay, nil, 9, 4 * oneDay},
		{"the last days, a hole within", pipeline.Stream{}, 4 * oneDay, flow.Ranges{days(0, 1), days(4, 8)}, 9, oneDay},
		{"the last days, an old hole", pipeline.Stream{}, 4 * oneDay, flow.Ranges{days(0, 1), days(3, 9)}, 9, 0},
		{"snapshots of the last days", pipeline.Stream{Snapshot: true}, 4 * oneDay, flow.Ranges{{From: march, To: march.Add(time.Millisecond)}}, 9.5, 8*oneDay + 12*time.Hour - time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			horizon := days(tt.horizon, 99).From
			p := &config.Pipeline{Range: config.Range{From: march}}
			if tt.last > 0 {
				p.Range = config.Range{Last: tt.last}
			}
			asked, _ := askedOf(p, horizon)
			r := reading{pipeline: p, horizon: horizon}
			got := partitionStatus{want: tt.stream.Asks(asked, horizon)}
			r.judge(&got, tt.stream, got.want.Minus(tt.held), tt.held)
			if seconds(got.Behind) != tt.want || (got.Since == "") != (len(got.want.Minus(tt.held)) == 0) {
				t.Errorf("behind %s since %q, want %s", seconds(got.Behind), got.Since, tt.want)
			}
		})
	}
}

func TestCells(t *testing.T) {
	t.Parallel()
	asked := days(0, 10)
	for _, tt := range []struct {
		name string
		p    partitionStatus
		want string
	}{
		{"nothing", partitionStatus{want: flow.Ranges{asked}}, ".........."},
		{"all", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{asked}}, "##########"},
		{"a part", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{days(0, 1.5)}}, "#+........"},
		{"unavailable", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{days(1.5, 10)}, gone: flow.Ranges{days(0, 1.5)}}, "xx########"},
		{"failed is never hidden", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{days(0, 3.999)}, failed: flow.Ranges{days(3.999, 4)}}, "###!......"},
		{"failed, and covered since", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{asked}, failed: flow.Ranges{days(3, 4)}}, "##########"},
		{"planned", partitionStatus{want: flow.Ranges{asked}, planned: flow.Ranges{days(0, 2)}}, "--........"},
		{"asked in part", partitionStatus{want: flow.Ranges{days(0, 3)}, covered: flow.Ranges{days(0, 3)}}, "###       "},
		{"a millisecond lacks", partitionStatus{want: flow.Ranges{asked}, covered: flow.Ranges{{From: asked.From, To: asked.To.Add(-time.Millisecond)}}}, "#########+"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := (screen{}).draw(newScale(asked, 10, 0).cells(&tt.p)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r     flow.Range
		most  int
		least time.Duration
		unit  time.Duration
		n     int
	}{
		{days(0, 1), 24, 0, time.Hour, 24},
		{days(0, 1), 23, 0, 2 * time.Hour, 12},
		{days(0, 1), 100, oneDay, oneDay, 1},
		{days(0.3, 1.3), 30, 0, time.Hour, 25}, // begins on the hour before
		{days(0, 365), 60, 0, oneWeek, 53},
		{days(0, 3650), 20, 0, 32 * oneWeek, 17},
		{days(0, 0.00001), 20, 0, time.Minute, 1},
		{days(0, 0), 20, 0, 0, 0},
	} {
		s := newScale(tt.r, tt.most, tt.least)
		if s.unit != tt.unit || s.n != tt.n {
			t.Errorf("%s in %d cells: %d of %s, want %d of %s", tt.r, tt.most, s.n, s.unit, tt.n, tt.unit)
		}
		if s.n > 0 && (s.cell(0).From.After(tt.r.From) || s.cell(s.n-1).To.Before(tt.r.To)) {
			t.Errorf("%s: cells from %s to %s", tt.r, s.cell(0).From, s.cell(s.n-1).To)
		}
		if axis := s.axis(); len(axis) > s.n {
			t.Errorf("%s: axis %q is longer than %d", tt.r, axis, s.n)
		}
	}
}

// TestDrawing pins what is drawn, in testdata/status.
func TestDrawing(t *testing.T) {
	t.Parallel()
	day := 7.0
	few := []partitionStatus{
		{Stream: "events", Partition: "aee00b66-a543-43dc-b093-53963c2e8f41", Name: "web", covered: flow.Ranges{days(0, day)}, Rows: 1234567, Bytes: 1 << 30},
		{
			Stream: "events", Partition: "d8eacea6-3dbd-4163-8fc2-3ef5067bd7c9", covered: flow.Ranges{days(0, 2), days(3.1, 5)}, planned: flow.Ranges{days(5, 6)},
			Rows: 99, Bytes: 12345, failed: flow.Ranges{days(2, 3)},
			Failures: []failureStatus{
				{rangeOf(days(2, 2.5)), "", true, 8, "auth", "slice: read: 401 Unauthorized", "check the key and the region"},
				{rangeOf(days(2.5, 3)), "", true, 8, "auth", "slice: read: 401 Unauthorized", "check the key and the region"},
			},
		},
		{
			Stream: "events", Partition: "7f7c461f-2e71-4d50-8cdf-06c11ee67789", Name: "db\x1b[2J", covered: flow.Ranges{days(3, day)}, gone: flow.Ranges{days(0, 3)},
			Gone: []unavailableStatus{{rangeOf(days(0, 3)), "older than the vendor keeps"}},
		},
		{Stream: "events", Partition: "left", Dropped: true, Rows: 5},
	}
	var many []partitionStatus
	for i := range 200 {
		p := partitionStatus{Stream: "events", Partition: fmt.Sprintf("log-%03d", i), covered: flow.Ranges{days(0, 365)}, Rows: 1000, Bytes: 1 << 20}
		if i%8 == 0 {
			p.covered = flow.Ranges{days(0, float64(100+i))}
		}
		if i > 152 && i < 160 { // a week of them alike
			p.covered = flow.Ranges{days(0, 360)}
		}
		if i == 77 {
			p.covered, p.failed = flow.Ranges{days(0, 200), days(201, 365)}, flow.Ranges{days(200, 201)}
			p.Failures = []failureStatus{{rangeOf(days(200, 201)), "", false, 2, "transient", "503 Service Unavailable", "wait"}}
		}
		many = append(many, p)
	}
	hour := time.Hour.Hours() / 24
	for _, tt := range []struct {
		name  string
		d     drawing
		asked flow.Range
		parts []partitionStatus
	}{
		{"plain", drawing{}, days(0, day), few},
		{"80", drawing{bars: true, screen: screen{width: 80, unicode: true}}, days(0, day), few},
		{"ascii", drawing{bars: true, screen: screen{width: 80}}, days(0, day), few},
		{"color", drawing{bars: true, screen: screen{width: 80, unicode: true, color: true}}, days(0, day), few},
		{"200", drawing{bars: true, screen: screen{width: 200, unicode: true}}, days(0, day), few},
		{"narrow", drawing{bars: true, screen: screen{width: 40}}, days(0, day), few},
		{"hours", drawing{bars: true, screen: screen{width: 100}}, days(0, 20*hour), few[:2]},
		{"year", drawing{bars: true, screen: screen{width: 100}}, days(0, 365), many},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.d
			d.status, d.used = &pipelineStatus{asked: tt.asked, streams: map[string]pipeline.Stream{}}, map[cell]bool{}
			r := reading{pipeline: &config.Pipeline{}, horizon: tt.asked.To}
			k := sinkStatus{Name: "lake", Type: "file", Location: "/data/lake", Remembers: true, Known: true}
			for _, p := range tt.parts {
				if !p.Dropped {
					p.want = flow.Ranges{tt.asked}
				}
				missing := p.want.Minus(p.covered).Minus(p.gone)
				p.Gaps, p.Asked, p.Covered, p.Missing = rangesOf(missing), p.want.Duration().Milliseconds(),
					p.covered.Intersect(p.want).Duration().Milliseconds(), missing.Duration().Milliseconds()
				r.judge(&p, pipeline.Stream{}, missing, nil)
				k.Partitions = append(k.Partitions, p)
			}
			var b strings.Builder
			d.sink(&b, k)
			b.WriteString(d.screen.legend(d.used) + "\n")
			path := filepath.Join("testdata", "status", tt.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for line := range strings.Lines(b.String()) {
				if bar := strings.TrimRight(line, "\n"); d.bars && !d.screen.color && strings.Contains(bar, " % ") && len([]rune(bar)) > d.screen.width {
					t.Errorf("%d columns: %q", len([]rune(bar)), bar)
				}
			}
		})
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 900*time.Millisecond: "59s", 61 * time.Second: "1m01s", 61 * time.Minute: "1h01m", 50 * time.Hour: "2d2h",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
