package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// pushAnswer is what the pushed authorization request endpoint said.
type pushAnswer struct {
	Status      int
	Header      http.Header
	URI         string `json:"request_uri"`
	Expires     int    `json:"expires_in"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	raw         string
}

// push pushes a request as the world's app would; as authenticates it, nil by its secret.
func (w *world) push(form url.Values, as func(url.Values), change ...func(*http.Request)) pushAnswer {
	w.t.Helper()
	v := url.Values{}
	for name, values := range form {
		v[name] = values
	}
	if as != nil {
		as(v)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/par", strings.NewReader(v.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if as == nil && w.secret != "" {
		w.basic(req)
	}
	for _, c := range change {
		c(req)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	a := pushAnswer{Status: resp.StatusCode, Header: resp.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &a); err != nil {
		w.t.Fatalf("par %d: %q", resp.StatusCode, raw)
	}
	return a
}

// refusedWith checks an error answer of the endpoint.
func (a pushAnswer) refusedWith(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.Status != status || a.Error != code || a.URI != "" || a.Description == "" {
		t.Errorf("%s: %d %s, want %d %s", what, a.Status, a.raw, status, code)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control %q", what, a.Header.Get("Cache-Control"))
	}
	leaks(t, what, a.raw)
}

// opens is the front-channel request for what was pushed.
func (w *world) opens(uri string, change ...func(url.Values)) string {
	v := url.Values{"client_id": {w.app.ClientID}, "request_uri": {uri}}
	for _, c := range change {
		c(v)
	}
	return v.Encode()
}

func TestAPushedRequestSignsIn(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	r := w.request(in(acme.org))
	got := w.push(r.Values, nil)
	if got.Status != http.StatusCreated || got.Expires != 60 || !strings.HasPrefix(got.URI, "urn:ietf:params:oauth:request_uri:") || len(got.URI) < 34+43 {
		t.Fatalf("%d %s", got.Status, got.raw)
	}
	if got.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
		t.Errorf("headers %v", got.Header)
	}
	b := newBrowser(t)
	// RFC 9126 section 4, FAPI 2.0 section 5.3.2.2: what else the browser brings is ignored.
	p := b.follow(b.asked(w, w.opens(got.URI, set("state", "forged"), set("redirect_uri", "https://evil.example/"), set("scope", "openid"),
		set("code_challenge", strings.Repeat("x", 43)), set("response_type", "token"), set("nonce", "forged"))))
	if p.url.Query().Get("state") != r.Get("state") || p.url.Query().Get("iss") != w.url {
		t.Errorf("at the app: %s", p.url)
	}
	tok := w.redeem(p.code(t), r.verifier)
	if tok.Status != 200 || claims(t, tok.ID)["nonce"] != r.Get("nonce") || claims(t, tok.ID)["email"] == nil {
		t.Errorf("token: %s", tok.raw)
	}
}

// S48: a request_uri begins one login, within a minute, and is its client's alone.
func TestS48APushedRequestIsUsedOnceWithinAMinuteByItsClient(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	other := w.entitledApp("other", acme.org, nil)
	uri := w.push(w.request(in(acme.org)).Values, nil).URI
	newBrowser(t).asked(other, other.opens(uri)).refusedHere(t, http.StatusGone)
	newBrowser(t).asked(w, w.opens(uri+"x")).refusedHere(t, http.StatusGone)
	newBrowser(t).asked(w, "request_uri="+url.QueryEscape(uri)).refusedHere(t, http.StatusBadRequest)
	if p := newBrowser(t).asked(w, w.opens(uri)); p.status/100 != 3 {
		t.Fatalf("its client, after a thief tried: %d %s", p.status, textOf(p.body))
	}
	newBrowser(t).asked(w, w.opens(uri)).refusedHere(t, http.StatusGone)

	uri = w.push(w.request(in(acme.org)).Values, nil).URI
	w.clock.pass(59 * time.Second)
	b := newBrowser(t)
	p := b.asked(w, w.opens(uri))
	w.clock.pass(2 * time.Minute) // the login itself may take longer
	if b.follow(p).code(t) == "" {
		t.Error("no code")
	}
	uri = w.push(w.request(in(acme.org)).Values, nil).URI
	w.clock.pass(61 * time.Second)
	newBrowser(t).asked(w, w.opens(uri)).refusedHere(t, http.StatusGone)

	w.h.broker.Brief = lasting{w.h.broker.Brief}
	uri = w.push(w.request(in(acme.org)).Values, nil).URI
	w.clock.pass(61 * time.Second)
	newBrowser(t).asked(w, w.opens(uri)).refusedHere(t, http.StatusGone)
}

// A browser that comes by POST from another site comes again by GET: the first look spends nothing.
func TestAPushedRequestOpensByPost(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	r := w.request(in(acme.org))
	uri := w.push(r.Values, nil).URI
	b := newBrowser(t)
	v := url.Values{"client_id": {"payments"}, "request_uri": {uri}}
	if code := b.follow(b.send(http.MethodPost, w.url+"/authorize", v, true)).code(t); w.redeem(code, r.verifier).Status != 200 {
		t.Error("no tokens")
	}
	newBrowser(t).send(http.MethodPost, w.url+"/authorize", v, true).refusedHere(t, http.StatusGone)
}

func TestPushingChecksEverythingThatAuthorizeChecks(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	without := func(name string) func(url.Values) { return func(v url.Values) { v.Del(name) } }
	for name, c := range map[string]struct {
		change func(url.Values)
		code   string
	}{
		"no response_type":           {without("response_type"), "invalid_request"},
		"another response_type":      {set("response_type", "token"), "unsupported_response_type"},
		"no redirect_uri":            {without("redirect_uri"), "invalid_request"},
		"an unregistered one":        {set("redirect_uri", "https://evil.example/"), "invalid_request"},
		"no PKCE":                    {without("code_challenge"), "invalid_request"},
		"plain":                      {set("code_challenge_method", "plain"), "invalid_request"},
		"no openid":                  {set("scope", "profile"), "invalid_scope"},
		"a request_uri":              {set("request_uri", "urn:ietf:params:oauth:request_uri:x"), "invalid_request"},
		"another's client_id":        {set("client_id", "nobody"), "invalid_client"},
		"an unknown prompt":          {set("prompt", "dance"), "invalid_request"},
		"a state beyond all measure": {set("state", strings.Repeat("s", 5000)), "invalid_request"},
	} {
		status := 400
		if c.code == "invalid_client" {
			status = 401
		}
		r := w.request(in(acme.org))
		c.change(r.Values)
		w.push(r.Values, nil).refusedWith(t, name, status, c.code)
	}
	r := w.request(in(acme.org))
	twice := r.Encode() + "&state=again"
	w.rawPush(twice).oauthErrorIs(t, "a parameter twice", 400, "invalid_request")
	w.rawPush(strings.Repeat("a", 70<<10)).oauthErrorIs(t, "more than a form may weigh", 413, "invalid_request")
	if resp, _ := w.document("/par", nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", resp.StatusCode, resp.Header)
	}
}

func (w *world) rawPush(body string) *page {
	return w.raw(http.MethodPost, "/par", "application/x-www-form-urlencoded", strings.NewReader(body))
}

func TestPushingAuthenticatesTheClient(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	r := w.request(in(acme.org))
	w.push(r.Values, func(url.Values) {}).refusedWith(t, "the name of a confidential client alone", 401, "invalid_client")
	w.push(r.Values, set("client_secret", w.secret)).refusedWith(t, "by another method", 401, "invalid_client")
	thief := w.entitledApp("thief", acme.org, nil)
	thief.push(r.Values, nil).refusedWith(t, "for another client", 401, "invalid_client")
	k := newAppKey(t, "k1", "ES256")
	app := w.entitledApp("keyed", acme.org, keyed(t, k))
	r = app.request(in(acme.org))
	token := app.assertion(k, nil)
	got := app.push(r.Values, shows(token))
	if got.Status != http.StatusCreated {
		t.Fatalf("private_key_jwt: %s", got.raw)
	}
	app.push(r.Values, shows(token)).refusedWith(t, "an assertion again", 401, "invalid_client")
	if app.assertedAs(token) {
		t.Error("an assertion that pushed a request redeems as well")
	}
	b := newBrowser(t)
	code := b.follow(b.asked(app, app.opens(got.URI))).code(t)
	if tok := app.token(exchange(code, r.verifier, shows(app.assertion(k, nil))), nil); tok.Status != 200 {
		t.Errorf("%s", tok.raw)
	}
	// A public client may push as well.
	pub := w.entitledApp("public", acme.org, public)
	if got := pub.push(pub.request(in(acme.org)).Values, func(url.Values) {}); got.Status != http.StatusCreated {
		t.Errorf("a public client: %s", got.raw)
	}
}

func TestAnAppThatMustPushIsHeldToIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("pusher", acme.org, func(a *broker.App) { a.PAR = true })
	r := app.request(in(acme.org))
	newBrowser(t).asked(app, r.Encode()).errorFor(t, app, "invalid_request", r.Get("state"))
	b := newBrowser(t)
	b.send(http.MethodPost, w.url+"/authorize", r.Values, true).errorFor(t, app, "invalid_request", r.Get("state"))
	newBrowser(t).asked(app, r.Encode()+"&request_uri=https%3A%2F%2Fevil.example").errorFor(t, app, "request_uri_not_supported", r.Get("state"))
	if code := b.follow(b.asked(app, app.opens(app.push(r.Values, nil).URI))).code(t); app.redeem(code, r.verifier).Status != 200 {
		t.Error("pushed: no tokens")
	}
}

// Between pushing and opening the app may have been switched off, or have given up its address.
func TestAPushedRequestIsCheckedAgainWhenItOpens(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	uri := w.push(w.request(in(acme.org)).Values, nil).URI
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.RedirectURIs = []string{callback + "/new"}; return nil }))
	newBrowser(t).asked(w, w.opens(uri)).refusedHere(t, http.StatusBadRequest)
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.RedirectURIs = []string{callback}; return nil }))
	uri = w.push(w.request(in(acme.org)).Values, nil).URI
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil }))
	newBrowser(t).asked(w, w.opens(uri)).refusedHere(t, http.StatusForbidden)
}

func TestPushingStopsWhereTheShortLivedStoreIsGone(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	r := w.request(in(acme.org))
	w.h.broker.Brief = goneBrief{w.h.broker.Brief}
	w.push(r.Values, nil).refusedWith(t, "without a store", 503, "server_error")
}
