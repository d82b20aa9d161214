package supervisor

import (
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/sluice-io/sluice/proto/sluice/v1"
)

// TestReservationsThatAreDoneAreForgotten: a plugin that lives for months makes very many.
func TestReservationsThatAreDoneAreForgotten(t *testing.T) {
	p := &Plugin{spec: Spec{Name: "fake"}, proc: &process{pid: 1}, started: time.Now()}
	h := &hostService{plugin: p, budget: &fakeBudget{}, made: map[string]struct{}{}}
	m, err := h.AcquireBudget(t.Context(), &v1.AcquireBudgetRequest{Key: "0123456789abcdef", Namespace: "n", Requests: 1})
	if err != nil || !m.GetGranted() {
		t.Fatalf("got %v, %v", m, err)
	}
	for _, done := range []bool{false, true} {
		if !h.isOurs(m.GetReservation()) {
			t.Error("it is forgotten before it is done")
		}
		if _, err := h.SettleBudget(t.Context(), &v1.SettleBudgetRequest{Reservation: m.GetReservation(), Requests: 1, Done: done}); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.made) > 0 {
		t.Errorf("kept: %v", h.made)
	}
}

// TestConnectionsOfAPluginAreBounded: each is an open file of the host's, which may have few.
func TestConnectionsOfAPluginAreBounded(t *testing.T) {
	t.Parallel()
	s, log := newSupervisor(t, Options{Budget: &fakeBudget{}})
	p := start(t, s, "connections")
	configure(t, p)
	held, err := p.Check(t.Context())
	if n, _ := strconv.Atoi(held); err != nil || n < maxConns-1 || n > maxConns { // its client may not have connected yet
		t.Errorf("a plugin holds %s connections (%v), want at most %d", held, err, maxConns)
	}
	if n := strings.Count(log.String(), "too many connections"); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}
