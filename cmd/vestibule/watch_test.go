package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/delivery"
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

	b.authorize(w, w.request(func(v url.Values) { v.Set("organization", "nobody-knows") }))
	for _, grant := range []string{"authorization_code", "refresh_token", "ana@acme.example"} {
		w.token(url.Values{"grant_type": {grant}, "code": {"geheim"}, "refresh_token": {"geheim"}, "redirect_uri": {callback}, "code_verifier": {strings.Repeat("v", 43)}},
			func(r *http.Request) {
				if grant != "refresh_token" {
					r.SetBasicAuth(w.app.ClientID, w.secret)
				}
			})
	}
	w.must(w.h.store.Enqueue(t.Context(), delivery.Job{ID: "job_1", Kind: broker.LogoutToken, Org: string(acme.org), Target: "app_1", Host: "app.example",
		CreatedAt: time.Now().Add(-95 * time.Second), NotBefore: w.clock.now().Add(time.Hour), NotAfter: w.clock.now().Add(2 * time.Hour)}))

	rec := httptest.NewRecorder()
	m.handler(w.h.broker.Log).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	measured, missing := rec.Body.String(), false
	for _, want := range []string{
		`vestibule_http_requests_total{route="POST /token",status="2xx"} 1`, `vestibule_http_requests_total{route="none",status="4xx"} 1`,
		`vestibule_http_request_seconds_count{route="GET /userinfo"} 1`, `vestibule_outbound_calls_total{outcome="2xx",to="provider"}`,
		`vestibule_outbound_call_seconds_count{method="POST",to="provider"} 1`,
		`vestibule_recorded_total{action="login.succeeded"} 1`, `vestibule_store_transactions_total{outcome="committed"}`, `vestibule_build_info{version=`,
		`vestibule_logins_total{fault="",outcome="succeeded"} 2`, `vestibule_logins_total{fault="flows.org_unavailable",outcome="refused"} 1`,
		`vestibule_token_requests_total{grant_type="authorization_code",outcome="issued"} 1`,
		`vestibule_token_requests_total{grant_type="authorization_code",outcome="invalid_grant"} 1`,
		`vestibule_token_requests_total{grant_type="other",outcome="unsupported_grant_type"} 1`,
		`vestibule_token_requests_total{grant_type="refresh_token",outcome="invalid_client"} 1`,
		`vestibule_short_lived_seconds_count{operation="take",outcome="done"}`, `vestibule_short_lived_usable{backend="`, `vestibule_epochs_total `,
		`vestibule_epoch_began_timestamp_seconds 1`, `vestibule_short_lived_stops_total 0`, `vestibule_admitting 1`, `vestibule_admission_stops_total 0`,
		`vestibule_deliveries_waiting{kind="logout_token"} 1`, `vestibule_deliveries_oldest_seconds{kind="logout_token"} 9`,
	} {
		if !strings.Contains(measured, want) {
			t.Errorf("/metrics lacks %s", want)
			missing = true
		}
	}
	if missing {
		t.Log(measured)
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
