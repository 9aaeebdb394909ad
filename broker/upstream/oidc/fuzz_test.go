package oidc

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// canned is a network on which every address gives the same answer for its path.
type canned map[string]string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	body := c[r.URL.Path]
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// inProcess is a connection to a provider of canned answers, at a fixed time.
func inProcess(t testing.TB, key signingKey, net canned, now time.Time) upstream.Upstream {
	t.Helper()
	jwks, err := jsonOf(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.public()}})
	if err != nil {
		t.Fatal(err)
	}
	net["/.well-known/openid-configuration"] = `{"issuer":"https://idp.example","authorization_endpoint":"https://idp.example/a",` +
		`"token_endpoint":"https://idp.example/token","jwks_uri":"https://idp.example/jwks","userinfo_endpoint":"https://idp.example/u"}`
	net["/jwks"] = string(jwks)
	c, err := Check(settings(goodIssuer, Config{ClientID: "c"}))
	if err != nil {
		t.Fatal(err)
	}
	up, err := Protocol().Open(c, upstream.Env{
		Client: &http.Client{Transport: net}, Base: "https://login.vestibule.example", Now: func() time.Time { return now },
		Algorithms: func(context.Context, upstream.Connection) []string { return signatures },
	})
	if err != nil {
		t.Fatal(err)
	}
	return up
}

var fuzzNow = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func fuzzAttempt() upstream.Attempt {
	return upstream.Attempt{ID: strings.Repeat("i", 65), Nonce: strings.Repeat("n", 43), Verifier: strings.Repeat("v", 43), At: fuzzNow, Until: fuzzNow.Add(time.Hour)}
}

// FuzzClaims signs whatever it is given: a provider whose signature is right may still say anything.
func FuzzClaims(f *testing.F) {
	key := newKey(f)
	good := `{"iss":"https://idp.example","sub":"alice","aud":"c","nonce":"` + strings.Repeat("n", 43) + `","iat":1777863721,"exp":1777864021,"email":"a@b.example","email_verified":true,"groups":["x"],"_claim_names":{"groups":"s"}}`
	for _, seed := range []string{good, `{}`, `null`, `[]`, `{"aud":["c","d"],"azp":"c"}`, `{"sub":{"a":[1e999]}}`, `{"iat":1e400,"exp":-1}`, strings.Replace(good, "alice", `a\u0000b`, 1), strings.Replace(good, `"sub"`, `"sub":"x","sub"`, 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		token := key.jws([]byte(payload))
		up := inProcess(t, key, canned{"/token": `{"access_token":"at","token_type":"Bearer","id_token":"` + token + `"}`}, fuzzNow)
		a := fuzzAttempt()
		as, r, err := up.Arrive(t.Context(), a, upstream.Arrival{Method: "GET", Values: url.Values{"state": {a.ID}, "code": {"x"}}})
		sane(t, as, r, err)
	})
}

// FuzzArrival lets the browser bring, and the token endpoint answer, anything.
func FuzzArrival(f *testing.F) {
	key := newKey(f)
	a := fuzzAttempt()
	f.Add("GET", "state="+a.ID+"&code=x", `{"access_token":"at","id_token":"a.b.c"}`)
	f.Add("GET", "state="+a.ID+"&error=access_denied&error_description=AADSTS50105", "")
	f.Add("POST", "state=x&state=y&%00=%ff", "<html>")
	f.Add("GET", "state="+a.ID+"&code=x&iss=https://idp.example", "id_token=a.b.c&access_token=x")
	f.Fuzz(func(t *testing.T, method, query, answer string) {
		values, _ := url.ParseQuery(query)
		up := inProcess(t, key, canned{"/token": answer}, fuzzNow)
		as, r, err := up.Arrive(t.Context(), a, upstream.Arrival{Method: method, Values: values})
		if err == nil {
			t.Fatalf("believed without the provider's key: %+v", as.Key)
		}
		sane(t, as, r, err)
	})
}

func sane(t *testing.T, as upstream.Assertion, r upstream.Report, err error) {
	t.Helper()
	if err == nil && (as.Key.Subject == "" || as.Key.Issuer != goodIssuer || as.AuthTime.IsZero() || strings.ContainsRune(as.Key.Subject, 0)) {
		t.Errorf("believed: %+v", as)
	}
	if len(as.Claims) > upstream.MaxClaims || strings.ContainsAny(as.Email, "\r\n ,<>") {
		t.Errorf("assertion out of bounds: %+v", as)
	}
	for _, c := range r {
		if !utf8.ValidString(c.Got+c.Expected) || upstream.Shown(c.Got) != c.Got {
			t.Errorf("%+v cannot be shown", c)
		}
	}
}

// FuzzMetadata reads what a stranger calls its metadata and keys.
func FuzzMetadata(f *testing.F) {
	f.Add(`{"issuer":"https://idp.example","authorization_endpoint":"https://idp.example/a","token_endpoint":"https://idp.example/t","jwks_uri":"https://idp.example/k"}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AA"}]}`)
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","x5c":["AA"]}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		if m, err := parseMetadata([]byte(body), nil); err == nil {
			for _, u := range []string{m.authorization, m.token, m.jwks} {
				if again, err := upstream.CleanURL(u, nil); err != nil || again != u {
					t.Errorf("%q is not clean: %q %v", u, again, err)
				}
			}
		}
		if ks, err := parseKeys([]byte(body)); err == nil && len(ks.keys) == 0 {
			t.Error("an empty key set")
		}
	})
}
