package sms_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/templates"
)

// gateway records what it is sent and answers with a status.
type gateway struct {
	status int
	bodies [][]byte
	heads  []http.Header
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.bodies, g.heads = append(g.bodies, body), append(g.heads, r.Header)
	if g.status/100 == 3 {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(g.status)
}

func open(t *testing.T, g *gateway) *sms.Gateway {
	t.Helper()
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	return &sms.Gateway{URL: server.URL + "/send?key=hidden", Secret: []byte("0123456789abcdef0123456789abcdef"), Client: (&outbound.Guard{}).Client([]string{u.Host}),
		Now: func() time.Time { return time.Unix(1_790_000_000, 0) }}
}

func class(err error) string {
	if err == nil {
		return ""
	}
	return strings.SplitN(err.Error(), ":", 2)[0]
}

var message = sms.Message{ID: "job_1", To: "+491701234567", Text: "482913 is your code.", Organization: "org_1"}

func TestAGatewayCanTellThatItIsUs(t *testing.T) {
	g := &gateway{status: 202}
	out := open(t, g)
	if err := out.Deliver(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	var got sms.Message
	if err := json.Unmarshal(g.bodies[0], &got); err != nil || got != message {
		t.Errorf("%s", g.bodies[0])
	}
	h := g.heads[0]
	if h.Get("Webhook-Id") != "job_1" || h.Get("Webhook-Timestamp") != "1790000000" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v", h)
	}
	signed := sms.Sign(out.Secret, "job_1", "1790000000", g.bodies[0])
	if h.Get("Webhook-Signature") != signed {
		t.Errorf("%s, not %s", h.Get("Webhook-Signature"), signed)
	}
	for name, other := range map[string]string{
		"another secret": sms.Sign([]byte("x"), "job_1", "1790000000", g.bodies[0]), "another id": sms.Sign(out.Secret, "job_2", "1790000000", g.bodies[0]),
		"another time": sms.Sign(out.Secret, "job_1", "1790000001", g.bodies[0]), "another body": sms.Sign(out.Secret, "job_1", "1790000000", []byte("{}")),
	} {
		if other == signed {
			t.Error(name)
		}
	}
	// The example of the specification (github.com/standard-webhooks/standard-webhooks, its libraries' tests).
	secret, err := sms.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	if got := sms.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(got)
	}
}

func TestWhatAGatewaySaysIsClassed(t *testing.T) {
	for status, want := range map[int]string{200: "", 204: "", 302: "redirect", 400: "status 400", 401: "status 401", 404: "status 404", 408: "status 408", 429: "status 429", 500: "status 500", 503: "status 503"} {
		err := open(t, &gateway{status: status}).Deliver(t.Context(), message)
		if got := class(err); got != want {
			t.Errorf("%d is %q, not %q", status, got, want)
		}
		if final := status/100 == 4 && status != 408 && status != 429; delivery.Final(err) != final {
			t.Errorf("%d is final: %v", status, !final)
		}
	}
	closed := open(t, &gateway{status: 200})
	closed.Client = (&outbound.Guard{}).Client(nil)
	err := closed.Deliver(t.Context(), message)
	if class(err) != "address" {
		t.Errorf("an address that nobody opened: %v", err)
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("the address in the log: %v", err)
	}
}

func TestASecretIsLongAndWrittenAsSuch(t *testing.T) {
	for text, good := range map[string]bool{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": true, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": false, "whsec_MfKQ9r8GKYqr": false, "whsec_": false, "": false, "whsec_not base64 at all, is it": false,
	} {
		if _, err := sms.Secret(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// taking is a Transport that keeps what it is given.
type taking []sms.Message

func (k *taking) Deliver(_ context.Context, m sms.Message) error { *k = append(*k, m); return nil }

func TestAnSMSIsWrittenWhenItIsSent(t *testing.T) {
	assets, err := templates.NewAssets()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := templates.New(assets)
	if err != nil {
		t.Fatal(err)
	}
	var out taking
	s := sms.Sender{Pages: pages, Out: &out, Undelivered: func(delivery.Job, delivery.Delivery) (audit.Entry, bool) { return audit.Entry{}, false }}
	job := func(template, nobody string) delivery.Job {
		return delivery.Job{ID: "job_1", Org: "org_1", Payload: []byte(`{"to":"+491701234567","lang":"es","template":"` + template + `","message":{"Code":"482913","App":"Payments","Host":"login.example.com"}` + nobody + `}`)}
	}
	if err := s.Send(t.Context(), job("sms/code", "")); err != nil || len(out) != 1 {
		t.Fatal(err)
	}
	if want := (sms.Message{ID: "job_1", To: "+491701234567", Organization: "org_1", Text: "482913 es su clave para Payments. No la diga a nadie.\n\n@login.example.com #482913"}); out[0] != want {
		t.Errorf("%+v", out[0])
	}
	for want, j := range map[string]delivery.Job{"nobody": job("sms/code", `,"nobody":true`), "message": job("mail/code", ""), "payload": {ID: "job_2"}} {
		if err := s.Send(t.Context(), j); class(err) != want || len(out) != 1 {
			t.Errorf("%s: %v", want, err)
		}
	}
}
