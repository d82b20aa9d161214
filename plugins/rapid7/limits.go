package rapid7

import (
	"time"

	"github.com/sluice-io/sluice/plugins"
)

// The documented limits per key. Sources with one key share them through their namespaces.
var (
	DownloadLimit   = plugins.Limit{Namespace: "download", Requests: 150, Bytes: 75_000_000_000, Window: 15 * time.Minute}
	QueryLimit      = plugins.Limit{Namespace: "query", Requests: 1500, Window: 15 * time.Minute}
	PollLimit       = plugins.Limit{Namespace: "poll", Requests: 10000, Window: 15 * time.Minute}
	ManagementLimit = plugins.Limit{Namespace: "management", Requests: 1500, Window: 15 * time.Minute}
	UsageLimit      = plugins.Limit{Namespace: "usage", Requests: 500, Window: 15 * time.Minute}
)
