package elsa

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/proto/flow"
)

func TestMeasureCountsARange(t *testing.T) {
	asked := flow.Range{From: firstDay.Add(6 * time.Hour), To: firstDay.Add(30 * time.Hour)}
	for _, form := range []string{vendorsim.SearchTotal, vendorsim.SearchHits, vendorsim.SearchNone, vendorsim.SearchEnds} {
		t.Run(form, func(t *testing.T) {
			sim, base := newSim(t, func(o *vendorsim.Options) { o.Elsa.Search = form })
			s := newSource(t, simSettings(base))
			for _, key := range []string{vendorsim.SeedProject, vendorsim.SeedEmptyProject} {
				var want []flow.Measure
				for _, part := range asked.CutDays() {
					n := int64(0)
					for range sim.ProjectRecords(key, part.From, part.To) {
						n++
					}
					if form != vendorsim.SearchNone {
						want = append(want, flow.Measure{Range: part, Rows: n, Bytes: -1})
					}
				}
				got, err := s.Measure(t.Context(), flow.Partition{Stream: streamEvents, Key: key}, asked)
				if d := cmp.Diff(want, got); err != nil || d != "" {
					t.Errorf("project %s: %v\n%s", key, err, d)
				}
			}
		})
	}
}

func TestMeasureWhereTheSearchEnds(t *testing.T) {
	key := "Pb-many"
	_, base := newSim(t, func(o *vendorsim.Options) {
		o.Elsa.Search = vendorsim.SearchEnds
		o.Elsa.Projects = []vendorsim.Project{{
			Key: key, ID: 7, Generated: &vendorsim.GeneratedProject{From: firstDay, To: firstDay.AddDate(0, 0, 1), Rows: 12_000, BodyBytes: 8},
		}}
	})
	s := newSource(t, map[string]any{
		"base_url": base, "access_key": vendorsim.DemoAccessKey, "secret_key": vendorsim.DemoSecretKey, "project_key": key, "project_id": 7,
	})
	p := flow.Partition{Stream: streamEvents, Key: key}
	got, err := s.Measure(t.Context(), p, flow.Range{From: firstDay, To: firstDay.AddDate(0, 0, 2)})
	want := []flow.Measure{{Range: flow.Range{From: firstDay, To: firstDay.AddDate(0, 0, 1)}, Rows: -1, Bytes: -1}, {Range: flow.Range{From: firstDay.AddDate(0, 0, 1), To: firstDay.AddDate(0, 0, 2)}, Rows: 0, Bytes: -1}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("a count that ends at 10,000 isn't one: %v\n%s", err, d)
	}
	if _, err := s.Measure(t.Context(), flow.Partition{Stream: streamEvents, Key: "another"}, flow.Range{From: firstDay, To: firstDay.Add(1)}); fault.KindOf(err) != fault.Bug {
		t.Errorf("a project that isn't configured: %v", err)
	}
}

func TestCountsThatCanBeUnderstood(t *testing.T) {
	object := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		name string
		in   map[string]any
		rows int64
		told bool
	}{
		{"a text", object("totalCount", "17"), 17, true},
		{"nested", object("result", object("page", object("totalElements", "3"))), 3, true},
		{"too deep", object("result", object("page", object("data", object("total", "3")))), 0, false},
		{"not a count", object("total", "many"), 0, false},
		{"negative", object("total", "-4"), 0, false},
		{"the page's own", object("pageSize", "100", "data", []any{}), 0, false},
	} {
		if rows, told := countOf(c.in, 0); rows != c.rows || told != c.told {
			t.Errorf("%s: %d, %v", c.name, rows, told)
		}
	}
}
