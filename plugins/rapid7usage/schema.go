package rapid7usage

import (
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rapid7"
)

// streams is the one stream, which logentries has, too.
func streams() []plugins.Stream {
	usage := rapid7.UsageStream()
	usage.Main = true
	return []plugins.Stream{usage}
}
