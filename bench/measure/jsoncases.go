package main

import (
	"context"
	"fmt"
)

// jsonCases read what vendors send as JSON. Their throughput is that of the JSON, unpacked, and they have no peer: no script signs these
// requests or follows these pages.
func jsonCases() []benchCase {
	const (
		elsa = `type: elsa, config: {base_url: "%s", access_key: %s, secret_key: "${env:BENCH_SECRET_KEY}", project_key: %s, project_id: %d}`
		// The simulator answers at once, a page for each request: what is measured is the client.
		events = `type: logentries, config: {base_url: "%s", api_key: "${env:BENCH_API_KEY}", logs: ["%s"], budget: {requests: 1000000000}}`
	)
	of := func(key, title string, source func(v *vendor) string, count func(v *vendor) int64) benchCase {
		return benchCase{
			Key: key, Title: "`sluice run`, " + title, Group: groupJSON, Peak: true, Warm: true,
			run: func(ctx context.Context, b *bench, folder string) (r run, err error) {
				before, err := b.vendor.json(ctx)
				if err != nil {
					return r, err
				}
				if r, err = runSluice(ctx, b, folder, job{source: source(b.vendor), flow: quarterDay, sink: sinkNDJSON}); err != nil {
					return r, err
				}
				after, err := b.vendor.json(ctx)
				r.Bytes = after - before
				return r, err
			},
			check: func(_ context.Context, b *bench, folder string) error {
				return checkCount(folder, ndjsonExtension, countLines, count(b.vendor))
			},
		}
	}
	zipped := of(keyELSA, "ELSA's zip to NDJSON", func(v *vendor) string {
		return fmt.Sprintf(elsa, v.ReplayURL, v.AccessKey, v.ProjectKey, v.ProjectID)
	}, func(v *vendor) int64 { return v.ProjectCount })
	pages := of(keyLogentries, "Logentries' pages of 500 events to NDJSON", func(v *vendor) string {
		return fmt.Sprintf(events, v.ReplayURL, v.Events)
	}, func(v *vendor) int64 { return v.EventCount })
	return []benchCase{zipped, pages, again(zipped)}
}
