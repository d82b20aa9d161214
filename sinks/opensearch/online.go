package opensearch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/target"
)

// online proves that the cluster can be reached with these credentials, and of each index that is known before a slice is, that it is
// there and takes documents, or can come to be. It writes no document and makes no index.
func online(ctx context.Context, c sinks.Config) (string, error) {
	s, err := parse(c)
	if err != nil {
		return "", err
	}
	k, i, err := connect(ctx, s, c)
	if err != nil {
		return "", err
	}
	defer k.close()
	said := []string{fmt.Sprintf("%s answers at %s", i, k.node())}
	for _, name := range []string{"partition", "log_name", "date", "hour"} {
		if s.index.Uses(name) {
			return said[0] + "; the index " + s.Index + " is known with the first slice; nothing was written", nil
		}
	}
	var names []string
	for _, st := range c.Streams {
		v := target.Values{Pipeline: c.Pipeline, Source: c.Source, Stream: st.Name, PartitionBy: st.PartitionBy, Labels: c.Labels}
		name, err := s.index.Fill(v, escapeIndex)
		if err == nil {
			err = checkIndex(name)
		}
		if err != nil {
			return "", fault.New(fault.Config, "name the index", "", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		var found string
		if s.DataStream {
			found, err = k.tryDataStream(ctx, name)
		} else {
			found, err = k.tryIndex(ctx, name)
		}
		if err != nil {
			return "", err
		}
		said = append(said, found)
	}
	return strings.Join(said, "; ") + "; nothing was written", nil
}

func (c *client) tryDataStream(ctx context.Context, name string) (string, error) {
	const op = "look at the data stream"
	there, err := c.get(ctx, op, "/_data_stream/"+url.PathEscape(name), new(struct{}))
	if err != nil {
		return "", err
	}
	if there {
		return "the data stream " + name + " is there", nil
	}
	var all struct {
		Templates []struct {
			Name  string `json:"name"`
			Index struct {
				Patterns   []string  `json:"index_patterns"`
				DataStream *struct{} `json:"data_stream"`
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	if _, err := c.get(ctx, op, "/_index_template", &all); err != nil {
		return "", err
	}
	for _, t := range all.Templates {
		for _, p := range t.Index.Patterns {
			if ok, _ := path.Match(p, name); ok && t.Index.DataStream != nil {
				return "the data stream " + name + " isn't there, the index template " + t.Name + " makes it", nil
			}
		}
	}
	return "", fault.Errorf(fault.Config, op, "neither the data stream %s is there nor an index template with data_stream that matches it", name).
		WithHint("make the template; docs/sinks/opensearch.md shows one")
}

// tryIndex updates a document that isn't there, which needs the right to write and changes nothing.
func (c *client) tryIndex(ctx context.Context, name string) (string, error) {
	const op = "look at the index"
	there, err := c.get(ctx, op, "/"+url.PathEscape(name)+"/_mapping", new(struct{}))
	if err != nil {
		return "", err
	}
	if !there {
		return "the index " + name + " isn't there, the first record makes it", nil
	}
	a, err := c.send(ctx, request{method: http.MethodPost, path: "/" + url.PathEscape(name) + "/_update/sluice-check-online", body: []byte(`{"doc":{}}`)})
	if err != nil {
		return "", err
	}
	if a.StatusCode == http.StatusNotFound { // as it must be
		return "the index " + name + " is there and may be written to", a.Body.Close()
	}
	return "", a.refusal(op)
}
