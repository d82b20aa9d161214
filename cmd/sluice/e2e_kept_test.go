package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-io/sluice/plugins/vendorsim"
)

// TestKeptConnectionThatIsGone puts something before the vendor that closes each kept connection when it is used again, as servers and
// proxies do whose patience has just ended: net/http sends the request again by itself. That is no failure, and has its own budget.
func TestKeptConnectionThatIsGone(t *testing.T) {
	t.Parallel()
	r := seededRig(t, vendorsim.Options{}, 300)
	target, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	type used struct{ atomic.Int64 }
	type key struct{}
	var closed atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Context().Value(key{}).(*used).Add(1) == 1 {
			forward.ServeHTTP(w, q)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		closed.Add(1)
		_ = conn.Close() // the point of it
	}))
	front.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, &used{}) }
	front.Start()
	t.Cleanup(front.Close)
	r.url = front.URL
	r.pipeline["retry"] = obj{"attempts": 1}
	root := r.fileSink("out", "raw", "none")
	r.write()
	if c := r.run(0, "run"); strings.Contains(c.stderr.String(), "try again") {
		t.Errorf("a slice failed:\n%s", c.stderr.String())
	}
	r.mustHold(root, "raw", seedStart, seedEnd)
	r.mustKeepBudget()
	if closed.Load() == 0 {
		t.Error("no kept connection was used again")
	}
}
