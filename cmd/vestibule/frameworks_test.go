package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// imitated is a library that none of our tests can run: its requests, parameter by parameter, as its source has them.
type imitated struct {
	name, framework string
	// ask is the authorization request, without client_id, redirect_uri and the challenge of the verifier.
	ask      url.Values
	verifier string
	// pushed has the request go to the pushed authorization request endpoint, with the secret in it.
	pushed bool
	// redeem is what the token request has besides code, redirect_uri, code_verifier, and client_id and
	// client_secret; those two are in the header when basic is set.
	redeem url.Values
	basic  bool
	// end is the request to sign out, without id_token_hint and post_logout_redirect_uri; nil for none.
	end url.Values
}

// The state of ASP.NET Core is sealed properties, and its nonce a time and two numbers.
var (
	aspState = "CfDJ8" + strings.Repeat("mZ0_-x9QkT", 70)
	aspNonce = "638982720000000000." + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0b9ad1c2-4f5e-46e1-9d4c-2a7f6a3b8c1d", 2)))
	aspAsks  = url.Values{"response_type": {"code"}, "scope": {"openid profile email offline_access"}, "state": {aspState}, "nonce": {aspNonce}, "x-client-SKU": {"ID_NET9_0"}, "x-client-ver": {"8.3.0.0"}}
	aspPosts = url.Values{"response_type": {"code"}, "scope": {"openid profile email offline_access"}, "state": {aspState}, "nonce": {aspNonce}, "response_mode": {"form_post"}}
	aspEnds  = url.Values{"state": {aspState}, "x-client-SKU": {"ID_NET9_0"}, "x-client-ver": {"8.3.0.0"}}
)

var (
	redeems = url.Values{"grant_type": {"authorization_code"}}
	notRun  = []imitated{
		{name: "ASP.NET Core 8", framework: "aspnet", ask: aspAsks, verifier: strings.Repeat("v", 43), redeem: redeems, end: aspEnds},
		{name: "ASP.NET Core 9", framework: "aspnet", ask: aspAsks, verifier: strings.Repeat("v", 43), pushed: true, redeem: redeems, end: aspEnds},
		{name: "ASP.NET Core by form_post", framework: "aspnet", ask: aspPosts, verifier: strings.Repeat("v", 43), pushed: true, redeem: redeems},
		{name: "Socialite", framework: "laravel", verifier: strings.Repeat("v", 96), redeem: redeems,
			ask: url.Values{"response_type": {"code"}, "scope": {"openid email profile"}, "state": {strings.Repeat("s", 40)}, "nonce": {strings.Repeat("n", 40)}}},
		{name: "OmniAuth", framework: "rails", verifier: strings.Repeat("0a", 64), basic: true,
			ask:    url.Values{"response_type": {"code"}, "scope": {"openid profile email"}, "state": {strings.Repeat("5f", 16)}, "nonce": {strings.Repeat("e4", 16)}},
			redeem: url.Values{"grant_type": {"authorization_code"}, "scope": {"openid profile email"}}},
	}
)

// What ASP.NET Core, Socialite and OmniAuth send signs somebody in to an app as `app create` registers it.
func TestTheRequestsOfLibrariesThatWereNotRunSignPeopleIn(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	for _, l := range notRun {
		t.Run(l.name, func(t *testing.T) { l.signsIn(t, w) })
	}
}

func (l imitated) signsIn(t *testing.T, w *world) {
	said := w.commanded("app create App --for " + l.framework + " --org acme --url http://127.0.0.1:5555 --client-id " + clientIDOf(l.name))
	f, err := frameworkNamed(l.framework)
	if err != nil {
		t.Fatal(err)
	}
	id, secret, callback := clientIDOf(l.name), "", "http://127.0.0.1:5555"+f.callbacks[0]
	for _, line := range strings.Split(said, "\n") {
		if name, value, _ := strings.Cut(line, "="); strings.HasSuffix(name, "CLIENT_SECRET") || strings.HasSuffix(name, "ClientSecret") {
			secret = value
		}
	}
	challenge := sha256.Sum256([]byte(l.verifier))
	ask := url.Values{"client_id": {id}, "redirect_uri": {callback}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	for name, v := range l.ask {
		ask[name] = v
	}
	b := newBrowser(t)
	var answer url.Values
	for range 5 { // a sign-in during which the service learns of a new app begins again
		q := ask
		if l.pushed {
			pushed := w.push(ask, set("client_secret", secret), func(r *http.Request) { r.Header.Del("Authorization") })
			if pushed.Status != http.StatusCreated || !strings.HasPrefix(pushed.Header.Get("Content-Type"), "application/json") {
				t.Fatalf("pushed: %s", pushed.raw)
			}
			q = url.Values{"client_id": {id}, "request_uri": {pushed.URI}}
		}
		p := b.signsInAt(w.url + "/authorize?" + q.Encode())
		if answer = p.url.Query(); l.ask.Get("response_mode") == "form_post" && !changedMeanwhile(p) {
			form := p.answerForm(t)
			if answer = form.values; form.action != callback {
				t.Errorf("the answer goes to %s", form.action)
			}
		}
		if !changedMeanwhile(p) {
			break
		}
	}
	if answer.Get("state") != l.ask.Get("state") || answer.Get("code") == "" || answer.Get("iss") != w.url {
		t.Fatalf("answered %v", answer)
	}
	redeem := url.Values{"code": {answer.Get("code")}, "redirect_uri": {callback}, "code_verifier": {l.verifier}}
	if !l.basic {
		redeem.Set("client_id", id)
		redeem.Set("client_secret", secret)
	}
	for name, v := range l.redeem {
		redeem[name] = v
	}
	tok := w.token(redeem, func(r *http.Request) {
		if r.Header.Set("Accept", "application/json"); l.basic {
			r.SetBasicAuth(id, secret)
		}
	})
	if tok.Status != http.StatusOK || tok.Expires == 0 || (tok.Refresh != "") != strings.Contains(l.ask.Get("scope"), "offline_access") {
		t.Fatalf("token: %s", tok.raw)
	}
	got := claims(t, tok.ID)
	if got["nonce"] != l.ask.Get("nonce") || got["email"] != "ada@acme.example" || got["org_handle"] != "acme" || got["iss"] != w.url || header(t, tok.ID)["alg"] != f.alg {
		t.Errorf("id token %v %v", header(t, tok.ID), got)
	}
	if l.end == nil {
		return
	}
	end := url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {"http://127.0.0.1:5555" + f.ended[0]}}
	for name, v := range l.end {
		end[name] = v
	}
	p := b.follow(b.send(http.MethodGet, w.url+"/logout?"+end.Encode(), nil, false))
	if p.url.Path != f.ended[0] || p.url.Query().Get("state") != l.end.Get("state") {
		t.Errorf("signing out ended at %s %d %s", p.url, p.status, textOf(p.body))
	}
}

// signsInAt goes as far as an app of the test's, or the page that takes the answer to it.
func (b *browser) signsInAt(to string) *page {
	b.t.Helper()
	p := b.send(http.MethodGet, to, nil, false)
	for range 20 {
		next, err := p.url.Parse(p.header.Get("Location"))
		if err != nil {
			b.t.Fatal(err)
		}
		switch {
		case p.status/100 == 3 && next.Host == "127.0.0.1:5555":
			return &page{url: next, status: p.status, header: p.header}
		case p.status/100 == 3:
			p = b.send(http.MethodGet, next.String(), nil, false)
		case strings.Contains(p.body, `name="identifier"`):
			form := forms(p)[0]
			form.values.Set("identifier", "ada@acme.example")
			to, err := p.url.Parse(form.action)
			if err != nil {
				b.t.Fatal(err)
			}
			p = b.send(http.MethodPost, to.String(), form.values, false)
		default:
			return p
		}
	}
	b.t.Fatalf("too many hops: %v", b.hops)
	return nil
}
