package rapid7usage

import (
	"net/http"

	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

// newClient returns what asks the vendor. What the answers say is read by package rapid7, as for logentries.
func newClient(s settings, cfg plugins.Config) (*rest.Client, error) {
	o, err := s.Options(cfg)
	if err != nil {
		return nil, fault.New(fault.Config, "open "+Name, "", err)
	}
	o.BaseURL, o.PlainHTTP = s.place.URL(), true // http must be spelled out in base_url, which is permission enough
	o.Header = http.Header{"X-Api-Key": {s.APIKey}}
	o.Key = s.APIKey
	return rest.New(o)
}
