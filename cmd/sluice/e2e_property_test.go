package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/plugins/vendorsim"
	"github.com/sluice-io/sluice/proto/flow"
)

// TestAnythingHoldsWhatWasServed draws a range, a cap, a vendor's manners and a script of faults from a seed and runs each source
// through the real program: whatever was drawn, what is committed in the end is what was served, each record once, and its range is
// covered once. The host may be killed on the way, and a second run goes further than the first.
//
// SLUICE_PROPERTY_ROUNDS draws more often, SLUICE_PROPERTY_SEED begins with another seed. A round is played again by its name:
//
//	go test ./cmd/sluice -run 'TestAnythingHoldsWhatWasServed/elsa/seed=7$'
func TestAnythingHoldsWhatWasServed(t *testing.T) {
	t.Parallel()
	rounds, first := number(t, "SLUICE_PROPERTY_ROUNDS", testsize.Of[uint64](2, 1)), number(t, "SLUICE_PROPERTY_SEED", 1)
	for name, source := range map[string]func(*draw) *rig{
		"rapid7-download": (*draw).download, "logentries": (*draw).events, "elsa": (*draw).elsa, "rapid7-usage": (*draw).usage,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := first; seed < first+rounds; seed++ {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					if rounds > 1 { // else they would come last, each with a processor that waits for it
						t.Parallel()
					}
					d := &draw{Rand: rand.New(rand.NewPCG(seed, xxh3.HashString(name))), t: t}
					t.Cleanup(func() {
						if t.Failed() {
							t.Logf("drawn:\n  %s", strings.Join(d.drawn, "\n  "))
						}
					})
					d.play(name, source)
				})
			}
		})
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// draw is one round.
type draw struct {
	*rand.Rand
	t      *testing.T
	drawn  []string
	config obj                       // of the source
	format string                    // of the files
	verify func(r *rig, root string) // that a root holds what was served in the rig's range
}

func (d *draw) say(format string, args ...any) {
	d.drawn = append(d.drawn, fmt.Sprintf(format, args...))
}

func (d *draw) coin() bool { return d.IntN(2) == 0 }

func pick[T any](d *draw, of ...T) T { return of[d.IntN(len(of))] }

// between draws an instant in whole milliseconds.
func (d *draw) between(from, to time.Time) time.Time {
	return from.Add(time.Duration(d.Int64N(to.Sub(from).Milliseconds()+1)) * time.Millisecond)
}

// seed is what the logs and projects are made of.
func (d *draw) seed() vendorsim.SeedOptions {
	s := vendorsim.SeedOptions{Seed: d.Uint64N(1 << 20), Start: seedStart, Days: 2, Lines: 200 + d.IntN(1800), LongLine: 1 + d.IntN(40_000)}
	d.say("%+v", s)
	return s
}

// budget draws a short budget of requests, which the source is told.
func (d *draw) budget() vendorsim.Budget {
	b := vendorsim.Budget{Requests: int64(20 + d.IntN(80)), Bytes: 1 << 40, Window: time.Second, Fixed: d.coin()}
	d.say("%d requests a second, fixed windows: %t", b.Requests, b.Fixed)
	d.config["budget"] = obj{"requests": b.Requests, "window": "1s", "share": 1}
	return b
}

// play runs a round.
func (d *draw) play(name string, source func(*draw) *rig) {
	d.config = obj{"http": obj{"timeout": "1s"}}
	window := flow.Range{From: seedStart.Add(-time.Hour), To: seedStart.AddDate(0, 0, 2).Add(time.Hour)} // a little more than there is
	d.format = pick(d, "ndjson", "csv")
	r := source(d)
	asked := flow.Range{From: d.between(window.From, window.To.Add(-time.Millisecond))}
	if asked.To = d.between(asked.From.Add(time.Millisecond), window.To); d.IntN(4) > 0 { // mostly one that holds something
		asked.From = d.between(window.From, seedStart.Add(12*time.Hour))
		asked.To = d.between(asked.From.Add(12*time.Hour), window.To)
	}
	further := asked
	if d.coin() {
		further = flow.Range{From: d.between(window.From, asked.From), To: d.between(asked.To, window.To)}
	}
	d.say("%v, then %v", asked, further)
	p, root := r.pipelineOf("out", name, d.format, d.config)
	parallel := 1 + d.IntN(4)
	p["flow"] = obj{"parallel": parallel, "window": fmt.Sprintf("%dMiB", 4*parallel), "slice": pick(d, "auto", "auto", "1h", "7h", "1MB")}
	d.say("config %v, flow %v, %s", d.config, p["flow"], d.format)
	for n, want := range []flow.Range{asked, further} {
		r.from, r.to = want.From, want.To
		p["range"] = obj{"from": r.from.Format(time.RFC3339Nano), "to": r.to.Format(time.RFC3339Nano)}
		r.only(p)
		if n == 0 && d.IntN(3) == 0 {
			d.say("killed after the first commit")
			c := r.prepare("run").start()
			c.await("a commit or the end", func() bool {
				select {
				case <-c.ended:
					return true
				default:
					return len(commits(d.t, root)) > 0
				}
			})
			c.kill()
		}
		r.run(0, "run")
		d.verify(r, root)
	}
	if s := r.sim.Stats(); s.Beyond > 0 || s.KeysLeaked > 0 {
		d.t.Errorf("%d requests beyond a budget, %d keys leaked", s.Beyond, s.KeysLeaked)
	}
	r.run(0, "run").mustSay("nothing to do")
}

// faults draws a script of what the vendor may do to requests below a path, beside what the source's own list adds.
func (d *draw) faults(path string, more ...vendorsim.Fault) vendorsim.Script {
	s := vendorsim.Script{Seed: d.Uint64()}
	for n := range d.IntN(5) {
		at := vendorsim.At(d.Int64N(20_000))
		rule := vendorsim.Rule{
			Name: fmt.Sprint("fault ", n), Path: path, Times: 1 + d.IntN(2),
			Fault: pick(d, append(more,
				vendorsim.Fault{Status: pick(d, 408, 500, 502, 503, 504)},
				vendorsim.Fault{Status: 429, RetryAfter: pick(d, "1", "1", "1", "0")},
				vendorsim.Fault{CutAfter: at, Reset: d.coin()},
				vendorsim.Fault{CutAfter: vendorsim.At(1 << 40)}, // no end
				vendorsim.Fault{StallAfter: at},
				vendorsim.Fault{Framing: "close"},
				vendorsim.Fault{Delay: 50 * time.Millisecond, Rate: 1 << 20},
				vendorsim.Fault{Gzip: pick(d, "checksum", "truncated", "garbage", "plain")},
			)...),
		}
		if d.coin() {
			rule.Every = 1 + d.IntN(6)
		} else {
			rule.Nth = []int{1 + d.IntN(12), 1 + d.IntN(12)}
		}
		s.Rules = append(s.Rules, rule)
		text, err := rule.Fault.MarshalJSON()
		if err != nil {
			d.t.Fatal(err)
		}
		d.say("%s: every %d, nth %v, %d times: %s", rule.Path, rule.Every, rule.Nth, rule.Times, text)
	}
	return s
}

// download draws a vendor of rapid7-download.
func (d *draw) download() *rig {
	seed := d.seed()
	o := vendorsim.Options{
		Logs: vendorsim.Seeded(seed), Download: d.budget(), ToInclusive: d.coin(), Gzip: d.coin(), ChunkBytes: 1 + d.IntN(100_000),
		Faults: d.faults("/download/"),
	}
	d.config["limit"], d.config["gzip"] = 20+d.IntN(2000), d.coin()
	if o.ToInclusive {
		d.config["to_bound"] = "inclusive"
	}
	r := newRig(d.t, o)
	d.config["logs"] = r.logs
	d.holdLogs(o.Logs, false)
	return r
}

// events draws a vendor of logentries. Whether it includes 'to' doesn't matter to what comes.
func (d *draw) events() *rig {
	seed := d.seed()
	if d.IntN(4) == 0 {
		seed.Lines = 25_000 // more than a slice may be
	}
	o := vendorsim.Options{
		Logs: vendorsim.Seeded(seed), Queries: d.budget(), ToInclusive: d.coin(), ChunkBytes: 1 + d.IntN(100_000), Faults: d.faults("/query/"),
	}
	o.Query = vendorsim.QueryOptions{
		Immediate: true, Partial: d.coin(), LowerCase: d.coin(), Related: d.coin(), NextAlways: d.coin(), NextNever: d.coin(),
		Sequence: pick(d, "", "number", "bare"), Unescaped: d.coin(),
	}
	if seed.Lines < 1000 && d.coin() {
		o.Query.Vary, o.Query.Polls = d.Uint64()|1, 2
	}
	if d.coin() { // of the continuations alone, which end 404 when they have expired
		o.Faults.Rules = append(o.Faults.Rules, vendorsim.Rule{
			Name: "expired", Path: "/query/c2f0", Times: 1, Fault: vendorsim.Fault{Status: pick(d, 404, 503)},
		})
	}
	d.say("%+v", o.Query)
	o.Labels = []vendorsim.Label{
		{ID: "00000000-0000-4000-8000-000000000001", Name: "Error", Word: "error"}, {ID: "00000000-0000-4000-8000-000000000002", Word: "GET"},
	}
	o.Logsets = []vendorsim.Logset{{ID: vendorsim.SeedLogsetID, Name: "front", Logs: []string{vendorsim.SeedWebID, vendorsim.SeedAppID}}}
	d.config["logs"] = []any{vendorsim.SeedWebID, vendorsim.SeedAppID, vendorsim.SeedAwkwardID, vendorsim.SeedEmptyID}
	if d.coin() {
		d.config["logs"], d.config["logsets"] = []any{"awkward", strings.ToUpper(vendorsim.SeedEmptyID)}, []any{"front"}
	}
	d.trouble(&o.Faults)
	r := newRig(d.t, o)
	d.holdLogs(o.Logs, true)
	return r
}

// trouble lets lists and names fail, too, now and then.
func (d *draw) trouble(s *vendorsim.Script) {
	if d.coin() {
		return
	}
	rule := vendorsim.Rule{Name: "trouble", Path: "/management/", Times: 1 + d.IntN(3), Fault: vendorsim.Fault{Status: pick(d, 500, 503)}}
	d.say("%s: the first %d times: %d", rule.Path, rule.Times, rule.Fault.Status)
	s.Rules = append(s.Rules, rule)
}

// holdLogs compares lines, and with timed the times at which the vendor received them.
func (d *draw) holdLogs(logs []vendorsim.Log, timed bool) {
	d.verify = func(r *rig, root string) {
		d.t.Helper()
		for _, l := range logs {
			served := map[string]int{}
			for _, record := range l.Records {
				if at := record.Time.Truncate(time.Millisecond); !at.Before(r.from) && at.Before(r.to) {
					served[keyOf(timed, at.Format(flow.Layout), record.Line)]++
				}
			}
			d.compare(filepath.Join(root, "stream=events", "log_id="+l.ID), timed, served)
		}
		r.mustCover(root, r.from, r.to)
	}
}

// keyOf tells records apart: by their bytes, with timed by their time to the millisecond, too.
func keyOf(timed bool, at string, line []byte) string {
	if !timed {
		return string(line)
	}
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		at = t.UTC().Format(flow.Layout)
	}
	return at + " " + string(line)
}

// compare requires that the files below a folder hold just the records that were served.
func (d *draw) compare(dir string, timed bool, served map[string]int) {
	d.t.Helper()
	left := maps.Clone(served)
	err := eachRecord(dir, d.format, func(at string, line []byte) { left[keyOf(timed, at, line)]-- })
	if err != nil {
		d.t.Fatal(err)
	}
	missing, extra, example := 0, 0, ""
	for key, n := range left {
		if missing, extra = missing+max(n, 0), extra+max(-n, 0); n != 0 {
			example = fmt.Sprintf("%d times %.200q", n, key)
		}
	}
	if missing+extra > 0 {
		d.t.Errorf("%s: of %d kinds of records %d are missing and %d too many; for example %s", dir, len(served), missing, extra, example)
	}
}

// elsa draws a vendor of elsa.
func (d *draw) elsa() *rig {
	seed := d.seed()
	quota := func(status int) vendorsim.Fault {
		return vendorsim.Fault{Status: status, RetryAfter: "1", Body: `{"error":{"errorCode":"400","message":"Quota Exceeded"}}`}
	}
	o := vendorsim.Options{
		Faults: d.faults("/api/v1/logs", quota(429), quota(200), vendorsim.Fault{Status: 504},
			vendorsim.Fault{Zip: pick(d, "checksum", "truncated", "nested", "traversal", "garbage")}),
		Elsa: vendorsim.Elsa{
			Projects: vendorsim.SeededProjects(seed), ToInclusive: d.coin(), Budget: d.budget(),
			Order:  pick(d, vendorsim.OldestFirst, vendorsim.NewestFirst, vendorsim.MixedOrder),
			Layout: pick(d, vendorsim.LayoutArray, vendorsim.LayoutLines), Entries: 1 + d.IntN(5), BOM: d.coin(), NumberCodes: d.coin(), XMLErrors: d.coin(),
		},
	}
	d.config["count"], d.config["limit"], d.config["format"] = 20+d.IntN(3000), 20+d.IntN(900), pick(d, "JSON", "CSV")
	if o.Elsa.ToInclusive {
		d.config["to_bound"] = "inclusive"
	}
	var projects []any
	var keys []string
	for _, p := range o.Elsa.Projects {
		projects, keys = append(projects, obj{"key": p.Key, "id": p.ID}), append(keys, p.Key)
	}
	d.config["projects"] = projects
	d.say("order %s, layout %s, %d entries, byte order mark %t", o.Elsa.Order, o.Elsa.Layout, o.Elsa.Entries, o.Elsa.BOM)
	r := newRig(d.t, o)
	r.env, r.logs = append(r.env, "E2E_ELSA_KEY="+vendorsim.DemoSecretKey), keys
	d.verify = func(r *rig, root string) {
		d.t.Helper()
		for _, p := range o.Elsa.Projects {
			served := map[string]int{}
			for record := range r.sim.ProjectRecords(p.Key, r.from, r.to) {
				i := slices.IndexFunc(record.Fields, func(f vendorsim.Field) bool { return f.Name == "body" })
				served[keyOf(true, record.Time.Format(time.RFC3339Nano), []byte(bodyOf(d.t, record.Fields[i])))]++
			}
			d.compare(filepath.Join(root, "stream=events", "log_id="+p.Key), true, served)
		}
		r.mustCover(root, r.from, r.to)
	}
	return r
}

// usage draws a vendor of rapid7-usage.
func (d *draw) usage() *rig {
	clock := vendorsim.NewClock(0)
	clock.Freeze(seedStart.AddDate(0, 0, 4+d.IntN(10)))
	o := vendorsim.Options{
		Logs: vendorsim.Seeded(d.seed()), Clock: clock, ChunkBytes: 1 + d.IntN(1000), Faults: d.faults("/usage/"),
		Usage: vendorsim.UsageOptions{
			Budget: d.budget(), Days: 36_500, Beyond: pick(d, vendorsim.UsageClamp, vendorsim.UsageEmpty, vendorsim.UsageNotFound, vendorsim.UsageRefuse),
			Quoted: d.coin(), Descending: d.coin(), Single: d.coin(), ExclusiveTo: d.coin(), NoPeriod: d.coin(),
		},
	}
	d.format = "ndjson"
	d.trouble(&o.Faults)
	r := newRig(d.t, o)
	form := pick(d, "logs", "organization", "log")
	if d.config["form"] = form; form == "log" {
		d.config["logs"] = r.logs
	}
	if d.coin() {
		d.config["time_range"] = pick(d, "Last7Days", "Last30Days", "yesterday")
	}
	d.say("%+v, clock at %s", o.Usage, clock.Now())
	d.verify = func(r *rig, root string) {
		d.t.Helper()
		want := map[string]float64{}
		for day := flow.Day(r.from); !day.AddDate(0, 0, 1).After(r.to); day = day.AddDate(0, 0, 1) {
			for _, id := range r.logs {
				key := day.Format(time.DateOnly) + " " + id
				if form == "organization" {
					key = day.Format(time.DateOnly) + " "
				}
				if n := r.sim.DayBytes(id, day); n > 0 {
					want[key] += float64(n)
				}
			}
		}
		dir := filepath.Join(root, "stream=usage")
		if _, err := os.Stat(dir); err != nil && len(want) == 0 {
			return
		}
		for _, record := range recordsOf(d.t, dir) {
			key := asText(record["day"]) + " " + asText(record["log_id"])
			if record["bytes"] != want[key] {
				d.t.Errorf("%s: %v bytes, want %v; or it is there twice", key, record["bytes"], want[key])
			}
			delete(want, key)
		}
		if len(want) > 0 {
			d.t.Errorf("no record of %v", want)
		}
	}
	return r
}
