package fakeidp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
)

func TestCodesAreGivenOutOnce(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	code := a.code(ada, None)
	if _, err := a.redeem(code); err != nil {
		t.Fatal(err)
	}
	if _, err := a.redeem(code); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the second time: %v", err)
	}
	for name, options := range map[string][]oauth2.AuthCodeOption{
		"no verifier":    nil,
		"wrong verifier": {oauth2.VerifierOption(oauth2.GenerateVerifier())},
		"other redirect": {oauth2.VerifierOption(a.pkce), oauth2.SetAuthURLParam("redirect_uri", callback+"2")},
	} {
		if _, err := a.config.Exchange(t.Context(), a.code(ada, None), options...); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := a.config
	other.ClientID, other.ClientSecret = "public", ""
	if _, err := other.Exchange(t.Context(), a.code(ada, None), oauth2.VerifierOption(a.pkce)); err == nil {
		t.Error("another application redeemed the code")
	}
}

func TestOldCodesAndPagesAreRefused(t *testing.T) {
	p, now := oidcProvider(), time.Now()
	p.Now = func() time.Time { return now }
	a := newParty(t, start(t, p))
	page := a.get(a.depart())
	code := a.press(p, page, ada, None).location.Query().Get("code")
	now = now.Add(61 * time.Second)
	if _, err := a.redeem(code); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("an old code: %v", err)
	}
	now = now.Add(30 * time.Minute)
	if back := a.press(p, page, ada, None); back.status != http.StatusGone || back.location != nil {
		t.Errorf("an old page: %d %v", back.status, back.location)
	}
}

func TestClientsProveThemselves(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := oidcProvider()
	start(t, p)
	p.AddClient(Client{ID: "signs", Redirects: []string{callback}, Keys: []crypto.PublicKey{other.Public()}})
	p.AddClient(Client{ID: "signs", Redirects: []string{callback}, Keys: []crypto.PublicKey{key.Public()}}) // replaces it
	a := newParty(t, p)

	assertion := func(key *ecdsa.PrivateKey, claims jwt.Claims) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sound := func(id string) jwt.Claims {
		return jwt.Claims{Issuer: "signs", Subject: "signs", Audience: jwt.Audience{p.Base + "/token"}, ID: id, Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute))}
	}
	old, elsewhere, eternal := sound("4"), sound("5"), sound("6")
	old.Expiry = jwt.NewNumericDate(time.Now().Add(-5 * time.Minute))
	elsewhere.Audience = jwt.Audience{"https://elsewhere.example"}
	eternal.Expiry = nil
	good := assertion(key, sound("1"))
	by := func(assertion string) func(*http.Request, url.Values) {
		return func(_ *http.Request, f url.Values) {
			f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			f.Set("client_assertion", assertion)
		}
	}
	for _, c := range []struct {
		name   string
		client string
		prove  func(*http.Request, url.Values)
		want   int
	}{
		{"basic", "vestibule", func(r *http.Request, _ url.Values) { r.SetBasicAuth("vestibule", url.QueryEscape("s e:cret%")) }, 200},
		{"post", "vestibule", func(_ *http.Request, f url.Values) {
			f.Set("client_id", "vestibule")
			f.Set("client_secret", "s e:cret%")
		}, 200},
		{"wrong secret", "vestibule", func(r *http.Request, _ url.Values) { r.SetBasicAuth("vestibule", "guess") }, 401},
		{"no secret", "vestibule", func(_ *http.Request, f url.Values) { f.Set("client_id", "vestibule") }, 401},
		{"nobody", "vestibule", func(*http.Request, url.Values) {}, 401},
		{"public", "public", func(_ *http.Request, f url.Values) { f.Set("client_id", "public") }, 200},
		{"key", "signs", by(good), 200},
		{"key again", "signs", by(good), 401},
		{"other key", "signs", by(assertion(other, sound("3"))), 401},
		{"old assertion", "signs", by(assertion(key, old)), 401},
		{"other audience", "signs", by(assertion(key, elsewhere)), 401},
		{"no expiry", "signs", by(assertion(key, eternal)), 401},
		{"without its key", "signs", func(_ *http.Request, f url.Values) { f.Set("client_id", "signs") }, 401},
	} {
		a.config.ClientID = c.client
		form, proof := url.Values{"grant_type": {"authorization_code"}, "code": {a.code(ada, None)}, "redirect_uri": {callback}, "code_verifier": {a.pkce}}, &http.Request{Header: http.Header{}}
		c.prove(proof, form)
		req, err := http.NewRequest("POST", p.Base+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = proof.Header
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if got := a.do(req); got.status != c.want {
			t.Errorf("%s: status %d, want %d: %s", c.name, got.status, c.want, got.body)
		}
	}
}

func TestARolloverKeepsTheOldKeyPublished(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	before, err := a.redeem(a.code(ada, None))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	after, err := a.redeem(a.code(ada, None))
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, token := range []*oauth2.Token{before, after} {
		raw := token.Extra("id_token").(string)
		if _, err := a.verifier.Verify(t.Context(), raw); err != nil {
			t.Error(err)
		}
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		kids = append(kids, parsed.Headers[0].KeyID)
	}
	if kids[0] == kids[1] {
		t.Error("the new key was not used")
	}
}

func TestATenantIsNamedAsEntraIDDoes(t *testing.T) {
	p := oidcProvider()
	p.Tenant = "9b0c5f0e-0000-4000-8000-000000000001"
	p.People = []Person{{ID: "x", Email: "x@techcorp.example", EmailVerified: true, Name: "X", Attributes: map[string][]string{"hd": {"techcorp.example"}, "roles": {"a", "b"}}}}
	a := newParty(t, start(t, p))
	got := a.claims(p.People[0], None)
	if got["tid"] != p.Tenant || got["oid"] != "x" || got["email_verified"] != nil {
		t.Errorf("claims %v", got)
	}
	if got["hd"] != "techcorp.example" || !reflect.DeepEqual(got["roles"], []any{"a", "b"}) {
		t.Errorf("attributes %v", got)
	}
	if other := a.claims(p.People[0], OtherTenant); other["tid"] == p.Tenant || other["iss"] == p.Base {
		t.Errorf("the other tenant has claims %v", other)
	}
}

// claims signs in and reads the ID token without any check.
func (a *party) claims(who Person, m Misbehavior) map[string]any {
	a.t.Helper()
	token, err := a.redeem(a.code(who, m))
	if err != nil {
		a.t.Fatal(err)
	}
	return payload(a.t, token.Extra("id_token").(string))
}

func payload(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || len(parts) != 3 {
		t.Fatalf("no JWT: %s", raw)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
