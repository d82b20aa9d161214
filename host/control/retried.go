package control

// Retried is what a retry ended in one pipeline.
type Retried struct {
	Pipeline    string `json:"pipeline"`
	Quarantined int    `json:"quarantined"` // slices
	Waits       int    `json:"waits"`       // slices that waited for their next try
	Partitions  int    `json:"partitions"`  // that were stopped
	Sinks       int    `json:"sinks"`       // that were down or given up
	Error       string `json:"error,omitempty"`
}
