package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/sluice-io/sluice/internal/realpart/hec"
)

// What the receivers of TestWires have, read by what the sinks' pages say of their records.

func hecRecords(events []hec.Event) ([]wireRecord, error) {
	var out []wireRecord
	for _, e := range events {
		var line string
		if json.Unmarshal(e.Event, &line) != nil {
			var object struct {
				Body string `json:"body"`
				Raw  []byte `json:"body_raw"`
			}
			if err := json.Unmarshal(e.Event, &object); err != nil {
				return nil, fmt.Errorf("event %s: %w", e.Event, err)
			}
			if line = object.Body; object.Raw != nil {
				line = string(object.Raw)
			}
		}
		out = append(out, wireRecord{e.Fields["record_id"], e.Fields["log_id"], line})
	}
	return out, nil
}

func otlpRecords(all []*logs.ResourceLogs, id string) ([]wireRecord, error) {
	var out []wireRecord
	for _, r := range all {
		log := attribute(r.GetResource().GetAttributes(), "sluice.log_id").GetStringValue()
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				x := wireRecord{attribute(l.GetAttributes(), id).GetStringValue(), log, l.GetBody().GetStringValue()}
				if x.log == "" {
					x.log = attribute(l.GetAttributes(), "log_id").GetStringValue() // an event of Splunk's protocol has it there
				}
				switch b := l.GetBody().GetValue().(type) {
				case *common.AnyValue_BytesValue:
					x.line = string(b.BytesValue)
				case *common.AnyValue_KvlistValue:
					x.line = attribute(b.KvlistValue.GetValues(), "body").GetStringValue()
					if raw := attribute(b.KvlistValue.GetValues(), "body_raw").GetStringValue(); raw != "" {
						line, err := base64.StdEncoding.DecodeString(raw)
						if err != nil {
							return nil, err
						}
						x.line = string(line)
					}
				}
				out = append(out, x)
			}
		}
	}
	return out, nil
}

func attribute(all []*common.KeyValue, key string) *common.AnyValue {
	for _, a := range all {
		if a.GetKey() == key {
			return a.GetValue()
		}
	}
	return nil
}

// syslogRecords reads messages with the one element of structured data that such records have.
func syslogRecords(messages []string) ([]wireRecord, error) {
	var out []wireRecord
	for _, m := range messages {
		_, rest, ok := strings.Cut(m, " [sluice@32473")
		data, line, _ := strings.Cut(rest, "]")
		if !ok {
			return nil, fmt.Errorf("message %.200q has no structured data", m)
		}
		param := func(name string) string {
			_, after, _ := strings.Cut(data, " "+name+`="`)
			value, _, _ := strings.Cut(after, `"`)
			return value
		}
		out = append(out, wireRecord{param("id"), param("log_id"), strings.TrimPrefix(line, " ")})
	}
	return out, nil
}

// ask asks OpenSearch.
func ask(ctx context.Context, method, url string, question, into any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// opensearchWrites counts the documents that were written into an index, those that aren't to be found yet too.
func opensearchWrites(ctx context.Context, url, index string) (int, error) {
	var stats struct {
		All struct {
			Primaries struct {
				Indexing struct {
					Total int `json:"index_total"`
				} `json:"indexing"`
			} `json:"primaries"`
		} `json:"_all"`
	}
	err := ask(ctx, http.MethodGet, url+"/_stats/indexing?ignore_unavailable=true&index="+index, obj{}, &stats)
	return stats.All.Primaries.Indexing.Total, err
}

func opensearchRecords(ctx context.Context, url, index string) ([]wireRecord, error) {
	if err := ask(ctx, http.MethodPost, url+"/"+index+"/_refresh", obj{}, new(obj)); err != nil {
		return nil, err
	}
	type page struct {
		Scroll string `json:"_scroll_id"`
		Hits   struct {
			Hits []struct {
				ID     string `json:"_id"`
				Source struct {
					Message string `json:"message"`
					Sluice  struct {
						LogID string `json:"log_id"`
						Raw   []byte `json:"body_raw"`
					} `json:"sluice"`
				} `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	var out []wireRecord
	var p page
	err := ask(ctx, http.MethodPost, url+"/"+index+"/_search?scroll=1m", obj{"size": 5000}, &p)
	for err == nil && len(p.Hits.Hits) > 0 {
		for _, h := range p.Hits.Hits {
			line := h.Source.Message
			if h.Source.Sluice.Raw != nil {
				line = string(h.Source.Sluice.Raw)
			}
			out = append(out, wireRecord{h.ID, h.Source.Sluice.LogID, line})
		}
		scroll := p.Scroll
		p = page{}
		err = ask(ctx, http.MethodPost, url+"/_search/scroll", obj{"scroll": "1m", "scroll_id": scroll}, &p)
	}
	return out, err
}
