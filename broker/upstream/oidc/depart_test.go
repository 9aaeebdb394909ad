package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/upstreamtest"
)

func departure(t *testing.T, d *desk, a upstream.Attempt) url.Values {
	t.Helper()
	dep, err := d.up.Depart(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(dep.URL)
	if err != nil || dep.Form != nil || !strings.HasPrefix(dep.URL, d.issuer+"/authorize?") {
		t.Fatalf("departs to %s, %v", dep.URL, err)
	}
	for name, values := range u.Query() {
		if len(values) != 1 {
			t.Errorf("%s is sent %d times", name, len(values))
		}
	}
	return u.Query()
}

func TestADepartureSaysEverything(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) {
		c.Prompt, c.DomainHint, c.HostedDomain, c.ACRValues, c.ResponseMode = "select_account", "acme.example", "acme.example", []string{"2", "3"}, "form_post"
	})
	a := attempt()
	a.LoginHint = "alice+x&y@acme.example"
	got := departure(t, d, a)
	want := map[string]string{
		"response_type": "code", "client_id": clientID, "scope": "openid email profile", "state": a.ID, "nonce": a.Nonce,
		"redirect_uri":   "https://login.vestibule.example/arrive/con_1",
		"code_challenge": challenge(a.Verifier), "code_challenge_method": "S256",
		"login_hint": a.LoginHint, "prompt": "select_account", "domain_hint": "acme.example", "hd": "acme.example",
		"acr_values": "2 3", "response_mode": "form_post",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Get(name), value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("sent more than was meant: %v", got)
	}
}

func TestAForcedDepartureAsksForAFreshProof(t *testing.T) {
	d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.Prompt = "select_account" })
	a := attempt()
	a.Force = true
	if got := departure(t, d, a); got.Get("prompt") != "login" || got.Get("max_age") != "0" {
		t.Errorf("%v", got)
	}
	minute := 90 * time.Second
	a.Force, a.MaxAge = false, &minute
	if got := departure(t, d, a); got.Get("max_age") != "90" || got.Get("prompt") != "select_account" {
		t.Errorf("%v", got)
	}
}

func TestAHintThatCannotBeAnAddressIsNotSent(t *testing.T) {
	d := newDesk(t, nil)
	for _, h := range []string{"a\x00b", "\xff", strings.Repeat("x", 400)} {
		a := attempt()
		a.LoginHint = h
		if got := departure(t, d, a); got.Has("login_hint") {
			t.Errorf("%.10q was sent", h)
		}
	}
}

func TestPKCEWheneverMetadataAllows(t *testing.T) {
	for name, test := range map[string]struct {
		setting string
		methods []string
		want    bool
	}{
		"announced":       {"auto", []string{"S256"}, true},
		"nothing is said": {"auto", nil, true},
		"plain alone":     {"auto", []string{"plain"}, false},
		"never":           {"never", []string{"S256"}, false},
		"always":          {"always", []string{"plain"}, true},
	} {
		d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.PKCE = test.setting })
		d.doc = with("code_challenge_methods_supported", test.methods)
		if got := departure(t, d, attempt()); got.Has("code_challenge") != test.want || got.Get("code_challenge_method") == "plain" {
			t.Errorf("%s: %v", name, got)
		}
		if _, _, err := d.login(t, attempt(), nil); err != nil {
			t.Errorf("%s: login: %v", name, err)
		}
	}
}

func TestACodeWithoutItsVerifierIsWorthless(t *testing.T) {
	d := newDesk(t, nil)
	a := attempt()
	dep, _ := d.up.Depart(t.Context(), a)
	in := d.arrival(t, dep, "alice", upstreamtest.None)
	a.Verifier = attempt().Verifier
	if _, _, err := d.up.Arrive(t.Context(), a, in); !errors.Is(err, ErrTokenEndpoint) {
		t.Fatalf("got %v", err)
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	d := newDesk(t, func(c *upstream.Connection, cfg *Config) {
		cfg.AuthMethod, cfg.KeyID = PrivateKeyJWT, "k1"
		c.Secret, _ = json.Marshal(Secret{PrivateKey: pemKey(t, key)})
	})
	var form url.Values
	var header http.Header
	inner := d.server.Config.Handler
	d.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			r.ParseForm()
			form, header = r.PostForm, r.Header.Clone()
			r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
		}
		inner.ServeHTTP(w, r)
	})
	if _, _, err := d.login(t, attempt(), nil); err != nil {
		t.Fatal(err)
	}
	if header.Get("Authorization") != "" || form.Has("client_secret") || form.Get("client_id") != clientID ||
		form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Errorf("%v", form)
	}
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(&key.PublicKey)
	if err != nil || jws.Signatures[0].Protected.KeyID != "k1" {
		t.Fatalf("%v", err)
	}
	var claims struct {
		Iss, Sub, Aud, JTI string
		Iat, Exp           int64
	}
	json.Unmarshal(payload, &claims)
	if claims.Iss != clientID || claims.Sub != clientID || claims.Aud != d.issuer+"/token" || claims.JTI == "" || claims.Exp-claims.Iat != 60 {
		t.Errorf("%+v", claims)
	}
}

func TestTheSecretTravelsAsConfigured(t *testing.T) {
	for method, inBody := range map[string]bool{ClientSecretBasic: false, ClientSecretPost: true} {
		d := newDesk(t, func(_ *upstream.Connection, c *Config) { c.AuthMethod = method })
		var form url.Values
		basic := false
		inner := d.server.Config.Handler
		d.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				r.ParseForm()
				form = r.PostForm
				_, _, basic = r.BasicAuth()
				r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
			}
			inner.ServeHTTP(w, r)
		})
		if _, _, err := d.login(t, attempt(), nil); err != nil {
			t.Fatal(err)
		}
		if (form.Get("client_secret") == clientSecret) != inBody || basic == inBody || d.hit("/token") != 1 {
			t.Errorf("%s: body %v, header %v, %d requests", method, form.Has("client_secret"), basic, d.hit("/token"))
		}
	}
}

func TestEndpointsByHandNeedNoDiscovery(t *testing.T) {
	d := newDesk(t, nil)
	c := d.connection(t, "con_2", func(_ *upstream.Connection, cfg *Config) {
		cfg.Endpoints = &Endpoints{Authorization: d.issuer + "/authorize", Token: d.issuer + "/token", JWKS: d.issuer + "/jwks"}
	})
	d.up = d.open(t, Protocol(), c)
	if _, _, err := d.login(t, attempt(), nil); err != nil || d.hit("/openid-configuration") != 0 {
		t.Fatalf("%v after %d discoveries", err, d.hit("/openid-configuration"))
	}
}
