package oidc

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
)

func TestProbe(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(d *desk)
		want    error
		failed  string // the check that says so
	}{
		"all is well":    {func(*desk) {}, nil, ""},
		"another issuer": {func(d *desk) { d.doc = with("issuer", "https://evil.example") }, ErrIssuer, "issuer"},
		"no keys":        {func(d *desk) { d.publish = nil }, ErrDiscovery, "keys"},
		"keys of no use": {func(d *desk) { d.algs = []string{"RS256"} }, ErrAlg, "keys"},
		"another method": {func(d *desk) {
			d.doc = with("token_endpoint_auth_methods_supported", []string{"private_key_jwt", "<b>"})
		}, ErrClientAuth, "client authentication"},
		"another response mode":  {func(d *desk) { d.doc = with("response_modes_supported", []string{"fragment"}) }, ErrRequest, "response mode"},
		"signs in another way":   {func(d *desk) { d.doc = with("id_token_signing_alg_values_supported", []string{"HS256"}) }, ErrAlg, "algorithm"},
		"down":                   {func(d *desk) { d.mood = upstreamtest.Dead }, upstream.ErrUnreachable, "discovery"},
		"says megabytes":         {func(d *desk) { d.mood = upstreamtest.Megabytes }, ErrDiscovery, "discovery"},
		"does not know us":       {func(d *desk) { d.refuse = answering("/token", 401, `{"error":"invalid_client"}`) }, ErrClientAuth, "client authentication"},
		"gives tokens to anyone": {func(d *desk) { d.refuse = answering("/token", 200, `{"access_token":"x","id_token":"y"}`) }, ErrTokenEndpoint, "token endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			test.prepare(d)
			r, err := d.up.(upstream.Prober).Probe(t.Context())
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			last := r[len(r)-1]
			if last.OK != (err == nil) || !last.OK && last.Name != test.failed {
				t.Errorf("%+v", r)
			}
			for _, c := range r {
				if c.Got != upstream.Shown(c.Got) || c.Got == "private_key_jwt <b>" {
					t.Errorf("raw text: %+v", c)
				}
			}
		})
	}
}

func answering(at string, status int, body string) func(http.ResponseWriter, string) bool {
	return func(w http.ResponseWriter, path string) bool {
		if path != at {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write([]byte(body))
		return true
	}
}

func TestAProbeAsksAnew(t *testing.T) {
	d := newDesk(t, nil)
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	d.publish = []jose.JSONWebKey{}
	if _, err := d.up.(upstream.Prober).Probe(t.Context()); !errors.Is(err, ErrDiscovery) {
		t.Fatalf("got %v", err)
	}
}

// Whoever has to mend it is told how a provider failed: silence, a cut and a page are mended by different
// people.
func TestAProbeTellsHowAProviderFailed(t *testing.T) {
	failures := map[string]func(http.ResponseWriter){
		"no answer in time": func(http.ResponseWriter) { time.Sleep(time.Second) },
		"a connection that was closed before the answer ended": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"an answer of another kind, such as a page":            func(w http.ResponseWriter) { w.Write([]byte("<html>We will be back soon")) },
		"status 500":                  func(w http.ResponseWriter) { w.WriteHeader(500); w.Write([]byte("<html>Oops")) },
		"status 503":                  func(w http.ResponseWriter) { w.WriteHeader(503) },
		"a redirect":                  func(w http.ResponseWriter) { w.Header().Set("Location", "https://x.example/"); w.WriteHeader(302) },
		"an answer that is too large": func(w http.ResponseWriter) { w.Write(make([]byte, maxAnswer+1)) },
	}
	for at, check := range map[string]string{"/openid-configuration": "discovery", "/token": "token endpoint"} {
		for want, fail := range failures {
			d := newDesk(t, nil)
			d.refuse = func(w http.ResponseWriter, path string) bool {
				if path == at {
					fail(w)
				}
				return path == at
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if want == "no answer in time" {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			r, err := d.up.(upstream.Prober).Probe(ctx)
			cancel()
			if last := r[len(r)-1]; err == nil || last.Name != check || last.Got != want {
				t.Errorf("%s, %s: %+v (%v)", check, want, last, err)
			}
		}
	}
}
