package fakeidp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// What is wrong with the claims of an answer, by a reading that shares nothing with what wrote it.
var oidcDefects = map[Misbehavior][]string{
	None:            nil,
	WrongAudience:   {"audience"},
	Old:             {"expired", "signed in long ago"},
	UnknownKey:      {"unknown key"},
	Unsigned:        {"unsigned"},
	NoEmail:         {"no address"},
	UnverifiedEmail: {"unverified address"},
	ForeignEmail:    {"foreign address"},
	FastClock:       {"from the future"},
	OtherTenant:     {"issuer"},
	OtherRequest:    {"nonce"},
}

func TestEveryMisbehaviorOfOIDCIsExactlyThatDefect(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA"} {
		p := oidcProvider()
		p.Algorithm = algorithm
		a := newParty(t, start(t, p))
		for m, want := range oidcDefects {
			token, err := a.redeem(a.code(ada, m))
			if err != nil {
				t.Fatalf("%s: %v", m, err)
			}
			raw := token.Extra("id_token").(string)
			if got := a.defects(raw); !slices.Equal(got, want) {
				t.Errorf("%s %q: defects %q, want %q", algorithm, m, got, want)
			}
			a.sameAtUserInfo(m, token, payload(t, raw))
		}
	}
}

// defects lists, in alphabetical order, everything that is wrong with an ID token for ada.
func (a *party) defects(raw string) (found []string) {
	a.t.Helper()
	note := func(wrong bool, name string) {
		if wrong {
			found = append(found, name)
		}
	}
	c, now := payload(a.t, raw), float64(time.Now().Unix())
	note(c["aud"] != "vestibule", "audience")
	note(c["exp"].(float64) < now, "expired")
	note(c["email"] != nil && !strings.HasSuffix(c["email"].(string), "@techcorp.example"), "foreign address")
	note(c["iat"].(float64) > now+60 || c["auth_time"].(float64) > now+60, "from the future")
	note(c["iss"] != a.p.Base, "issuer")
	note(c["email"] == nil, "no address")
	note(c["nonce"] != "nonce-1", "nonce")
	note(c["auth_time"].(float64) < now-60, "signed in long ago")
	note(c["sub"] != ada.ID, "subject")
	switch a.signature(raw) {
	case "unknown":
		note(true, "unknown key")
	case "none":
		note(true, "unsigned")
	case "wrong":
		note(true, "wrong signature")
	}
	note(c["email"] != nil && c["email_verified"] != true, "unverified address")
	return found
}

// signature verifies by the published keys, as one reads the standard and not as a library does.
func (a *party) signature(raw string) string {
	a.t.Helper()
	parts := strings.Split(raw, ".")
	text, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var header struct{ Alg, Kid string }
	if err := json.Unmarshal(text, &header); err != nil {
		a.t.Fatal(err)
	}
	if header.Alg == "none" && parts[2] == "" {
		return "none"
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(a.get(a.p.Base+"/jwks").body), &set); err != nil {
		a.t.Fatal(err)
	}
	if len(set.Key(header.Kid)) != 1 {
		return "unknown"
	}
	signed, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(header.Alg)})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := signed.Verify(set.Key(header.Kid)[0].Key); err != nil {
		return "wrong"
	}
	return "sound"
}

func (a *party) sameAtUserInfo(m Misbehavior, token *oauth2.Token, claims map[string]any) {
	a.t.Helper()
	req, _ := http.NewRequest("GET", a.p.Base+"/userinfo", nil)
	token.SetAuthHeader(req)
	var info map[string]any
	if err := json.Unmarshal([]byte(a.do(req).body), &info); err != nil {
		a.t.Fatal(err)
	}
	for _, name := range []string{"sub", "email", "email_verified"} {
		if info[name] != claims[name] {
			a.t.Errorf("%s: userinfo says %s=%v, the ID token %v", m, name, info[name], claims[name])
		}
	}
}

func TestTroublesOfTheTokenEndpoint(t *testing.T) {
	p := oidcProvider()
	p.Delay = 150 * time.Millisecond
	a := newParty(t, start(t, p))
	redeem := func(m Misbehavior) (*http.Response, error) {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {a.code(ada, m)}, "redirect_uri": {callback},
			"code_verifier": {a.pkce}, "client_id": {"vestibule"}, "client_secret": {"s e:cret%"}}
		return http.PostForm(p.Base+"/token", form)
	}
	if resp, err := redeem(Down); err == nil {
		t.Errorf("down: answered %s", resp.Status)
	}
	for m, check := range map[Misbehavior]func(status int, body []byte) bool{
		Unavailable: func(status int, body []byte) bool { return status == 503 && bytes.Contains(body, []byte("<h1>")) },
		Garbage:     func(status int, body []byte) bool { return status == 200 && !json.Valid(body) },
		Megabytes:   func(status int, body []byte) bool { return status == 200 && len(body) > hugeBody && a.sound(body) },
		Slow:        func(status int, body []byte) bool { return status == 200 && a.sound(body) },
	} {
		began := time.Now()
		resp, err := redeem(m)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if !check(resp.StatusCode, body) {
			t.Errorf("%s: status %d, %d bytes", m, resp.StatusCode, len(body))
		}
		if took := time.Since(began); m == Slow && took < p.Delay {
			t.Errorf("slow took %v only", took)
		}
	}
}

// sound says whether a token answer is right once it has been read.
func (a *party) sound(body []byte) bool {
	var token struct {
		ID string `json:"id_token"`
	}
	return json.Unmarshal(body, &token) == nil && len(a.defects(token.ID)) == 0
}

func TestAProviderInTroubleIsInTroubleEverywhere(t *testing.T) {
	for kind, paths := range map[Kind][]string{
		OIDC: {"/.well-known/openid-configuration", "/jwks", "/userinfo"},
		SAML: {"/saml/metadata"},
	} {
		p := start(t, &Provider{Kind: kind, Delay: 50 * time.Millisecond})
		for _, path := range paths {
			read := func() (int, []byte, error) {
				resp, err := http.Get(p.Base + path)
				if err != nil {
					return 0, nil, err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return resp.StatusCode, body, err
			}
			_, right, err := read()
			if err != nil {
				t.Fatal(err)
			}
			p.SetMisbehavior(Down)
			if status, _, err := read(); err == nil {
				t.Errorf("%s is up: %d", path, status)
			}
			p.SetMisbehavior(Unavailable)
			if status, _, _ := read(); status != 503 {
				t.Errorf("%s unavailable: %d", path, status)
			}
			p.SetMisbehavior(Garbage)
			if _, body, _ := read(); string(body) != garbage {
				t.Errorf("%s garbage: %.40q", path, body)
			}
			p.SetMisbehavior(Megabytes)
			if _, body, _ := read(); len(body) != hugeBody+len(right) || !same(bytes.TrimSpace(body), bytes.TrimSpace(right)) {
				t.Errorf("%s megabytes: %d bytes", path, len(body))
			}
			p.SetMisbehavior(Slow)
			if began := time.Now(); true {
				_, body, _ := read()
				if took := time.Since(began); took < p.Delay || !same(body, right) {
					t.Errorf("%s slow: %v", path, took)
				}
			}
			p.SetMisbehavior(None)
		}
	}
}

// same compares two documents that name the same things in any order.
func same(a, b []byte) bool {
	x, y := bytes.Fields(bytes.ReplaceAll(a, []byte("<"), []byte(" <"))), bytes.Fields(bytes.ReplaceAll(b, []byte("<"), []byte(" <")))
	slices.SortFunc(x, bytes.Compare)
	slices.SortFunc(y, bytes.Compare)
	return slices.EqualFunc(x, y, bytes.Equal)
}

func TestWhoDecidesWhatGoesWrong(t *testing.T) {
	p := oidcProvider()
	wicked := ada
	wicked.ID, wicked.Misbehavior = "wicked", WrongAudience
	p.People = []Person{ada, wicked}
	a := newParty(t, start(t, p))
	wrong := func(who Person, m Misbehavior) string {
		c := a.claims(who, m)
		switch {
		case c["aud"] != "vestibule":
			return "audience"
		case c["nonce"] != "nonce-1":
			return "nonce"
		case c["email"] == nil:
			return "email"
		}
		return ""
	}
	check := func(who Person, m Misbehavior, want string) {
		t.Helper()
		if got := wrong(who, m); got != want {
			t.Errorf("%s pressing %q: wrong in %q, want %q", who.ID, m, got, want)
		}
	}
	check(ada, None, "")
	check(wicked, None, "audience")
	check(wicked, OtherRequest, "nonce")
	p.SetMisbehavior(NoEmail)
	check(ada, None, "email")
	check(wicked, None, "audience")
	check(ada, OtherRequest, "nonce")
	p.SetMisbehavior(None)
	check(ada, None, "")
	page := a.get(a.depart())
	unknown := url.Values{"request": {fields(page.body).Get("request")}, "person": {ada.ID}, "misbehavior": {"no-such"}}
	if got := a.post(p.Base+"/answer", unknown); got.status != http.StatusBadRequest {
		t.Errorf("an unknown misbehavior: %d", got.status)
	}
}

func TestEveryTrickHasItsWords(t *testing.T) {
	for _, kind := range both {
		labels := map[string]bool{}
		for _, trick := range Tricks(kind) {
			if trick.Label == "" || !strings.HasSuffix(trick.Sentence, ".") || labels[trick.Label] {
				t.Errorf("%s: %+v", kind, trick)
			}
			labels[trick.Label] = true
		}
	}
	tested := len(oidcDefects) - 1 + 5 // the five troubles above
	if got := len(Tricks(OIDC)); got != tested {
		t.Errorf("%d tricks of OpenID Connect, %d tested", got, tested)
	}
	if got := len(Tricks(SAML)); got != len(samlDefects)-1 {
		t.Errorf("%d tricks of SAML, %d tested", got, len(samlDefects)-1)
	}
}

func TestASlowAnswerEndsWhenNobodyWaits(t *testing.T) {
	p := start(t, &Provider{Kind: OIDC, Misbehavior: Slow, Delay: time.Hour})
	c := http.Client{Timeout: 50 * time.Millisecond}
	if _, err := c.Get(p.Base + "/jwks"); err == nil {
		t.Error("answered")
	}
}
