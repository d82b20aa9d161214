package vendorsim

import (
	"archive/zip"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// elsaAsk signs and sends a request as the vendor's sample does.
func elsaAsk(t *testing.T, sim *Sim, base, method, target, body string, skew time.Duration, secret string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, base+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	stamp := strconv.FormatInt(sim.Clock().Now().Add(skew).UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s %s\n%s\n%s", method, target, stamp, DemoAccessKey)
	r.Header.Set(elsaTimeHeader, stamp)
	r.Header.Set(elsaKeyHeader, DemoAccessKey)
	r.Header.Set(elsaSignatureHeader, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

func TestElsa(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var o Options
	o.Elsa.Projects = SeededProjects(SeedOptions{Start: day, Days: 1, Lines: 500})
	o.Elsa.Budget = Budget{Requests: 14, Window: time.Hour}
	sim, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	defer http.DefaultClient.CloseIdleConnections()
	sim.Clock().Set(day.AddDate(0, 0, 3))
	base, err := sim.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	project := fmt.Sprintf(`"projectKey": %q, "projectId": %d, "from": %d`, SeedProject, SeedProjectID, day.UnixMilli())
	all := 0
	for range sim.ProjectRecords(SeedProject, day, day.AddDate(0, 0, 1)) {
		all++
	}
	tests := []struct {
		name, method, target, body string
		skew                       time.Duration
		secret                     string
		status                     int
		text                       string
		rows                       int
	}{
		{"everything", "POST", elsaDownload, `{` + project + `}`, 0, DemoSecretKey, 200, "", all},
		{"count", "POST", elsaDownload, `{` + project + `, "count": 7}`, 0, DemoSecretKey, 200, "", 7},
		{"one millisecond, to exclusive", "POST", elsaDownload, `{` + project + `, "to": ` + strconv.FormatInt(day.UnixMilli()+1, 10) + `}`, 0, DemoSecretKey, 200, "", 3},
		{"empty range", "POST", elsaDownload, `{` + project + `, "to": ` + strconv.FormatInt(day.UnixMilli(), 10) + `}`, 0, DemoSecretKey, 200, "", 0},
		{"clock 4 minutes off", "POST", elsaDownload, `{` + project + `, "count": 1}`, 4 * time.Minute, DemoSecretKey, 200, "", 1},
		{"clock 6 minutes off", "POST", elsaDownload, `{` + project + `}`, -6 * time.Minute, DemoSecretKey, 401, `"errorCode":"200"`, 0},
		{"wrong secret", "POST", elsaDownload, `{` + project + `}`, 0, "x", 401, "Authentication Failed", 0},
		{"unknown project", "POST", elsaDownload, `{"projectKey": "x", "projectId": 1, "from": 1}`, 0, DemoSecretKey, 404, `"300"`, 0},
		{"limit out of range", "POST", elsaDownload, `{` + project + `, "limit": 1001}`, 0, DemoSecretKey, 400, "limit", 0},
		{"count out of range", "POST", elsaDownload, `{` + project + `, "count": 0}`, 0, DemoSecretKey, 400, "count", 0},
		{"text where a number belongs", "POST", elsaDownload, `{"projectKey": "x", "projectId": "1"}`, 0, DemoSecretKey, 400, "body", 0},
		{"unknown path", "POST", elsaSpace + "/logs/elsewhere", `{}`, 0, DemoSecretKey, 404, `"300"`, 0},
		{"fields", "GET", elsaFields + fmt.Sprintf("?projectKey=%s&projectId=%d&from=%d&to=%d", SeedProject, SeedProjectID, day.UnixMilli(), day.AddDate(0, 0, 1).UnixMilli()), "", 0, DemoSecretKey, 200, "ExceptionType", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, text := elsaAsk(t, sim, base, tt.method, tt.target, tt.body, tt.skew, tt.secret)
			if status != tt.status || !bytes.Contains(text, []byte(tt.text)) {
				t.Fatalf("%d %.300q, want %d and %q", status, text, tt.status, tt.text)
			}
			if status != 200 || tt.method == "GET" {
				return
			}
			z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			var rows []map[string]any
			f, err := z.File[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := json.NewDecoder(f).Decode(&rows); err != nil || len(rows) != tt.rows || len(z.File) != 1 {
				t.Errorf("%d rows in %d entries, %v, want %d", len(rows), len(z.File), err, tt.rows)
			}
		})
	}
	for range 10 {
		elsaAsk(t, sim, base, "GET", elsaFields, "", 0, DemoSecretKey)
	}
	if status, text := elsaAsk(t, sim, base, "GET", elsaFields, "", 0, DemoSecretKey); status != 429 || !bytes.Contains(text, []byte(`"420"`)) || sim.Stats().Beyond == 0 {
		t.Errorf("beyond the budget: %d %s", status, text)
	}
}

func TestElsaOptionsAreChecked(t *testing.T) {
	for want, e := range map[string]Elsa{
		"Elsa.Order":  {Order: "random"},
		"Elsa.Layout": {Layout: "xml"},
		"Elsa.Budget": {Budget: Budget{Requests: -1}},
		"has both":    {Projects: []Project{{Key: "a", ID: 1, Records: []ProjectRecord{}, Generated: &GeneratedProject{To: time.Unix(1, 0)}}}},
		"want a key":  {Projects: []Project{{Key: "a"}}},
	} {
		if _, err := New(Options{Elsa: e}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
