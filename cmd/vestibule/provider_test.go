package main

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// The tests of provider_*_test.go hold the OpenID provider to its requirements, one by one, as an app
// and an attacker meet them: over HTTP.

// as is the same world seen by another app.
func (w *world) as(app broker.App, secret string) *world {
	other := *w
	other.app, other.secret = app, secret
	return &other
}

// entitledApp is one more app, which the organization may use.
func (w *world) entitledApp(clientID string, org directory.OrgID, change func(*broker.App)) *world {
	w.t.Helper()
	app, secret := w.addApp(clientID, change)
	w.must(w.h.directory.Entitle(w.t.Context(), operator, directory.Entitlement{Org: org, App: app.ID}))
	return w.as(app, secret)
}

// public makes an app one without a secret.
func public(a *broker.App) { a.Method, a.Secrets = broker.NoSecret, nil }

// asked sends an authorization request and follows nothing.
func (b *browser) asked(w *world, query string) *page {
	b.t.Helper()
	return b.send(http.MethodGet, w.url+"/authorize?"+query, nil, false)
}

// location is where a page sends the browser, or the test ends.
func (p *page) location(t *testing.T) *url.URL {
	t.Helper()
	to, err := p.url.Parse(p.header.Get("Location"))
	if err != nil || p.header.Get("Location") == "" {
		t.Fatalf("no redirect: %d %s", p.status, textOf(p.body))
	}
	return to
}

// errorFor checks an error answer at the app's address: its code, iss (RFC 9207) and state, no code.
func (p *page) errorFor(t *testing.T, w *world, code, state string) {
	t.Helper()
	to := p.url
	if p.header.Get("Location") != "" {
		to = p.location(t)
	}
	if !strings.HasPrefix(to.String(), callback+"?") {
		t.Fatalf("not at the app but at %s: %d %s", to, p.status, textOf(p.body))
	}
	q := to.Query()
	if q.Get("error") != code {
		t.Errorf("error %q (%s), want %q", q.Get("error"), q.Get("error_description"), code)
	}
	if q.Get("iss") != w.url {
		t.Errorf("iss %q in an error (RFC 9207)", q.Get("iss"))
	}
	if q.Get("state") != state {
		t.Errorf("state %q, want %q", q.Get("state"), state)
	}
	if q.Has("code") || q.Get("error_description") == "" {
		t.Errorf("answer %v", q)
	}
}

// traceCode is the code under which the operator finds the story of an error page.
var traceCode = regexp.MustCompile(`\bVB-[0-9A-Z]{4}-[0-9A-Z]{4}\b`)

// refusedHere checks that a request ended at a page of ours, with what a person needs, and sent the
// browser nowhere.
func (p *page) refusedHere(t *testing.T, status int) {
	t.Helper()
	if at := p.header.Get("Location"); at != "" {
		t.Fatalf("redirected to %s", at)
	}
	if p.status != status {
		t.Errorf("status %d, want %d: %s", p.status, status, textOf(p.body))
	}
	if got := p.header.Get("Content-Type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("content type %q", got)
	}
	if !traceCode.MatchString(textOf(p.body)) {
		t.Errorf("no code for the operator on the page: %s", textOf(p.body))
	}
}

// signedIn is a fresh sign-in of the organization's person: the browser and the app's tokens.
func (w *world) signedIn(org directory.OrgID) (*browser, tokenAnswer) {
	w.t.Helper()
	b := newBrowser(w.t)
	r := w.request(in(org))
	tok := w.redeem(b.authorize(w, r).code(w.t), r.verifier)
	if tok.Status != http.StatusOK {
		w.t.Fatalf("token: %s", tok.raw)
	}
	return b, tok
}

// freshCode is a code that nobody redeemed, and its request.
func (w *world) freshCode(org directory.OrgID, change func(url.Values)) (string, request) {
	w.t.Helper()
	r := w.request(func(v url.Values) {
		in(org)(v)
		if change != nil {
			change(v)
		}
	})
	return newBrowser(w.t).authorize(w, r).code(w.t), r
}

// errSecretPath is an error as a storage engine writes it; nothing of it may leave the house.
var errSecretPath = errors.New(`disk I/O error: open /var/lib/private/vestibule.db: INSERT INTO token_grants`)

// leaks finds what an answer must never say.
func leaks(t *testing.T, what, answer string) {
	t.Helper()
	for _, inner := range []string{"disk I/O", "vestibule.db", "INSERT", "token_grants", "/var/lib", ".go:", "goroutine", "sql"} {
		if strings.Contains(answer, inner) {
			t.Errorf("%s says %q: %s", what, inner, answer)
		}
	}
}
