package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// vendorCommand is the word by which this program becomes the simulated vendor, a process of its own.
const vendorCommand = "vendor"

// offer is what the vendor serves, as it prints it when it is ready.
type offer struct {
	BaseURL    string `json:"base_url"`   // as the simulator answers
	ReplayURL  string `json:"replay_url"` // answers that were made once: compressed lines, ELSA's archives, pages of events
	APIKey     string `json:"api_key"`
	AccessKey  string `json:"access_key"`
	SecretKey  string `json:"secret_key"`
	Log        string `json:"log"`    // of lines, for downloads
	Events     string `json:"events"` // a smaller log, for queries
	ProjectKey string `json:"project_key"`
	ProjectID  int64  `json:"project_id"`

	EventCount   int64 `json:"event_count"`
	ProjectCount int64 `json:"project_count"`
}

// goods says what a vendor shall have.
type goods struct {
	size, events, records int64 // bytes of lines; bytes of the smaller log; records of the ELSA project
	days                  int
	start                 time.Time
}

// args are the arguments that make a process serve g.
func (g goods) args() []string {
	return []string{
		vendorCommand, fmt.Sprintf("-size=%d", g.size), fmt.Sprintf("-events=%d", g.events), fmt.Sprintf("-records=%d", g.records),
		fmt.Sprintf("-days=%d", g.days), "-start=" + g.start.Format(time.DateOnly),
	}
}

// serveVendor is the main function of the vendor's process. It ends with SIGTERM.
func serveVendor(args []string) error {
	var g goods
	flags := flag.NewFlagSet(vendorCommand, flag.ContinueOnError)
	flags.Int64Var(&g.size, "size", 1<<30, "bytes of lines")
	flags.Int64Var(&g.events, "events", 0, "bytes of lines of the log for queries")
	flags.Int64Var(&g.records, "records", 0, "records of the ELSA project")
	flags.IntVar(&g.days, "days", 1, "days of data")
	start := flags.String("start", "", "first day")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if g.start, err = time.Parse(time.DateOnly, *start); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return g.serve(ctx)
}

// heldRecords is how many records of a project are held in memory, at about 700 bytes each.
const heldRecords = 1_000_000

// project returns the ELSA project: few records of every kind where they are to be had, many of one kind that are made on the way.
func (g goods) project(end time.Time) vendorsim.Project {
	if g.records <= heldRecords {
		return vendorsim.SeededProjects(vendorsim.SeedOptions{Start: g.start, Days: g.days, Lines: int(g.records)})[0]
	}
	return vendorsim.Project{Key: vendorsim.SeedProject, ID: vendorsim.SeedProjectID, Generated: &vendorsim.GeneratedProject{
		From: g.start, To: end, Rows: g.records, BodyBytes: 213,
	}}
}

func (g goods) serve(ctx context.Context) error {
	end := g.start.AddDate(0, 0, g.days)
	endless := vendorsim.Budget{Requests: 1 << 40, Bytes: 1 << 60}
	o := vendorsim.Options{
		Download: endless, Queries: endless, Polls: endless, Gzip: true, RequestLog: 1,
		Query: vendorsim.QueryOptions{Immediate: true, Unescaped: true},
	}
	lines := func(name string, size int64) vendorsim.Log {
		return vendorsim.Log{ID: vendorsim.LogID(name), Name: name, Generated: &vendorsim.Generated{Seed: 1, From: g.start, To: end, Bytes: size}}
	}
	o.Logs = append(o.Logs, lines("bulk", g.size))
	made := offer{APIKey: vendorsim.DemoKey, AccessKey: vendorsim.DemoAccessKey, SecretKey: vendorsim.DemoSecretKey, Log: o.Logs[0].ID}
	if g.events > 0 {
		o.Logs = append(o.Logs, lines("events", g.events))
		made.Events = o.Logs[1].ID
	}
	if g.records > 0 {
		p := g.project(end)
		o.Elsa.Projects = []vendorsim.Project{p}
		made.ProjectKey, made.ProjectID = p.Key, p.ID
		if made.ProjectCount = int64(len(p.Records)); p.Generated != nil {
			made.ProjectCount = p.Generated.Rows
		}
	}
	sim, err := vendorsim.New(o)
	if err != nil {
		return err
	}
	defer sim.Close()
	if made.Events != "" {
		made.EventCount = sim.Count(made.Events, g.start, end)
	}
	if made.BaseURL, err = sim.Start("127.0.0.1:0"); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	made.ReplayURL = "http://" + listener.Addr().String()
	server := &http.Server{Handler: newReplay(sim.Handler()), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		return err
	}
	<-ctx.Done()
	err = server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// isReplayed tells what is made once: what would cost the simulator more than the client.
func isReplayed(r *http.Request) bool {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/download/"):
		return isCompressed(r)
	default:
		return strings.HasPrefix(path, "/query/") || strings.HasSuffix(path, "/logs/download")
	}
}

// isCompressed tells whether the client takes gzip.
func isCompressed(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}
