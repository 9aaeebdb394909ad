package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// security.md S54, S58: what the operator's tools collect holds no organization, no person, no secret.
func TestMeasurementsAndSpansTellOfLoginsAndNeverOfPeople(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracing, err := newTracing(t.Context(), nil, sdktrace.WithSyncer(spans))
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	w := worldIn(t, t.TempDir(), func(c *config) { c.Watch = watcher{metrics: m, tracing: tracing, now: time.Now} })
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	if status, _ := w.userinfo(tok.Access); status != 200 {
		t.Fatalf("userinfo: %d", status)
	}
	b.asked(w, "client_id=nobody&login_hint=ana@acme.example&state=geheim")
	b.get(w, "/nothing/ana@acme.example")
	if _, fault := b.silently(w, nil); fault != "" {
		t.Fatal(fault)
	}

	rec := httptest.NewRecorder()
	m.handler(w.h.broker.Log).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	measured := rec.Body.String()
	for _, want := range []string{
		`vestibule_http_requests_total{route="POST /token",status="2xx"} 1`, `vestibule_http_requests_total{route="none",status="4xx"} 1`,
		`vestibule_http_request_seconds_count{route="GET /userinfo"} 1`, `vestibule_outbound_calls_total{outcome="2xx"}`,
		`vestibule_recorded_total{action="login.succeeded"} 1`, `vestibule_store_transactions_total{outcome="committed"}`, `vestibule_build_info{version=`,
	} {
		if !strings.Contains(measured, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	var traced strings.Builder
	names := map[string]int{}
	for _, s := range spans.GetSpans() {
		names[s.Name]++
		traced.WriteString(s.Name + " " + s.Status.Description)
		for _, a := range s.Attributes {
			traced.WriteString(" " + string(a.Key) + "=" + a.Value.Emit())
		}
		traced.WriteString("\n")
	}
	for _, want := range []string{"GET /authorize", "POST /token", "transaction", "call POST", "none"} {
		if names[want] == 0 {
			t.Errorf("no span %q among %v", want, names)
		}
	}
	for _, secret := range []string{"ana@", "Ana", "geheim", tok.Access, tok.Access[len(tok.Access)-20:], string(acme.org), w.app.ClientID + `"`, "log_", "nobody"} {
		if strings.Contains(measured, secret) {
			t.Errorf("/metrics holds %q", secret)
		}
		if strings.Contains(traced.String(), secret) {
			t.Errorf("a span holds %q", secret)
		}
	}
}

// BenchmarkWatcher is what measuring costs one request.
func BenchmarkWatcher(b *testing.B) {
	w := watcher{metrics: newMetrics(), now: time.Now}
	r := httptest.NewRequest("GET", "/keys", nil)
	for b.Loop() {
		_, done := w.request(r, "GET /keys")
		done(200)
	}
}
