// Package vendorsim simulates the vendors' log APIs on one machine: for tests, benchmarks and the demo.
//
// It answers like the Rapid7 Log Search download API as documented, with its traps: a missing query means
// where(error), a wrong key reads as an unknown page (404), more matching lines than the limit are cut off
// without a word, the meaning of `to` is a setting, and requests and bytes are budgeted per key and window. Its
// lines are its own, made from a seed: the same seed, log and time give the same bytes, whatever range is asked
// for and in whatever order, so a test can compare what arrived with [Sim.Lines] byte for byte.
//
//	sim, err := vendorsim.New(vendorsim.Options{Logs: vendorsim.Seeded(vendorsim.SeedOptions{Start: day})})
//	if err != nil { ... }
//	defer sim.Close()
//	base, err := sim.Start("127.0.0.1:0") // http://127.0.0.1:PORT
//	// GET base/download/logs/ID?from=MS&to=MS&query=where(/.*/) with x-api-key: vendorsim.DemoKey
//	for _, r := range sim.Requests() { ... }  // what was asked and answered
//	if sim.Stats().Beyond > 0 { ... }         // someone broke the budget
//
// # Endpoints
//
// Each is served with and without the gateway's prefix /log_search.
//
//	GET /download/logs/{id[:id...]}   lines of up to ten logs, one log after the other, oldest first
//	GET /query/logs/{id[:id...]}      events of logs, a page at a time (POST /query/logs: the same by a body)
//	GET /query/logsets/{id}           events of a log set
//	GET /query/{id}                   a poll of a query that runs (a budget of its own)
//	GET /query/saved_queries[/{id}]   the saved queries
//	GET /management/logs[/{id}]       the logs as JSON (a budget of its own); logsets and labels likewise
//	GET /management/accounts/{id}[/users]  for the owner, by a signature instead of a key
//	GET /usage/organizations          the bytes of each day; [/logs[/{id}]] of each log, of one log (a budget of its own)
//	GET /usage/accounts/{id}          the same for the account of [Owner]
//	GET /validate                     200 for a known key, else 401
//	POST /api/v1/logs/download        ELSA: an archive of a project's records (signed; see [Elsa])
//	GET /api/v1/fields                ELSA: the names of a project's fields
//	any /                             200 without a key and outside every budget: for the Date header
//
// # Clocks
//
// The simulator has a wall clock of its own ([Clock]) that stamps the Date header and decides what exists yet:
// records later than it are never served. Budget windows run on its monotonic clock, which a wall clock that
// jumps doesn't move.
//
// # Faults
//
// A [Script] is a list of rules tried in order; the first that fires decides what happens to a request. From a
// file it is JSON:
//
//	{"seed": 7, "rules": [
//	  {"name": "busy",  "nth": [1, 2],       "fault": {"status": 503}},
//	  {"name": "limit", "log": "web", "every": 5, "times": 3,
//	                                         "fault": {"status": 429, "retry_after": "1"}},
//	  {"name": "cut",   "probability": 0.05, "fault": {"cut_after": 100000, "reset": true}},
//	  {"name": "stall", "nth": [9],          "fault": {"stall_after": 4096, "stall_for": "2s"}},
//	  {"name": "slow",  "nth": [10],         "fault": {"delay": "300ms", "rate": 65536}},
//	  {"name": "short", "nth": [11],         "fault": {"end_after": 1000}},
//	  {"name": "away",  "nth": [12],         "fault": {"redirect": "trap"}},
//	  {"name": "old",   "nth": [13],         "fault": {"framing": "close"}},
//	  {"name": "zip",   "nth": [14],         "fault": {"gzip": "checksum"}}
//	]}
//
// [Rule] and [Fault] describe every key.
//
// # What it does not do
//
// It doesn't check TLS clients, doesn't keep budgets across its own restarts, and knows only as much LEQL as a
// download needs: where() with nothing, one word, one quoted text or one regular expression.
package vendorsim
