// Package metrics writes figures in Prometheus's text format, for the textfile collector of node_exporter and whatever else reads it.
//
//	set := metrics.Set{}
//	rows := set.Counter("sluice_rows_total", "Records that a sink has committed.")
//	rows.Add(12, "pipeline", "prod", "sink", "lake")
//	err := metrics.WriteFile(path, set)
//
// It measures nothing itself and serves nothing: a Set is filled anew each time from what the ledger and a run know, and forgotten.
package metrics
