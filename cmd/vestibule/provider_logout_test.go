package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

const bye = "http://127.0.0.1:5555/bye"

// logout asks to be signed out and follows nothing.
func (b *browser) logout(w *world, v url.Values) *page {
	b.t.Helper()
	return b.send(http.MethodGet, w.url+"/logout?"+v.Encode(), nil, false)
}

// signedInStill says whether the browser gets a code without a page.
func (b *browser) signedInStill(w *world) bool {
	b.t.Helper()
	return b.asked(w, w.request(set("prompt", "none")).Encode()).location(b.t).Query().Get("code") != ""
}

func TestLogoutWithAHintEndsTheSessionAtOnce(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for name, late := range map[string]time.Duration{"at once": 0, "with a hint that expired": 20 * time.Minute} {
		b, tok := w.signedIn(acme.org)
		w.clock.pass(late)
		p := b.logout(w, url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"s&1"}})
		if to := p.location(t); !strings.HasPrefix(to.String(), bye+"?") || to.Query().Get("state") != "s&1" {
			t.Errorf("%s: sent to %s", name, to)
		}
		if b.signedInStill(w) {
			t.Errorf("%s: still signed in", name)
		}
		if status, _ := w.userinfo(tok.Access); status != 401 {
			t.Errorf("%s: userinfo %d", name, status)
		}
	}
}

func TestLogoutByPOSTFromTheAppsSite(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	p := b.send(http.MethodPost, w.url+"/logout", url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"x"}}, true)
	if p.status != http.StatusSeeOther || len(p.header["Set-Cookie"]) > 0 {
		t.Fatalf("%d %v", p.status, p.header)
	}
	if p = b.follow(p); !strings.HasPrefix(p.url.String(), bye) || p.url.Query().Get("state") != "x" {
		t.Errorf("at %s", p.url)
	}
	if b.signedInStill(w) {
		t.Error("still signed in")
	}
}

// Any site can send a browser to the logout address: without a token of this very session the person is
// asked (OpenID Connect RP-Initiated Logout section 2).
func TestLogoutWithoutAHintAsksThePerson(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	_, others := w.signedIn(acme.org)
	for name, ask := range map[string]url.Values{
		"nothing":                     {},
		"client and address":          {"client_id": {"payments"}, "post_logout_redirect_uri": {bye}, "state": {"7"}},
		"a token of another session":  {"id_token_hint": {others.ID}, "post_logout_redirect_uri": {bye}},
		"a token of a session, by id": {"id_token_hint": {others.ID}, "client_id": {"payments"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, tok := w.signedIn(acme.org)
			p := b.logout(w, ask)
			if p.status != 200 || p.header.Get("Location") != "" || len(forms(p)) == 0 {
				t.Fatalf("%d %s", p.status, textOf(p.body))
			}
			if !b.signedInStill(w) {
				t.Fatal("a GET without a hint ended the session")
			}
			form := forms(p)[0]
			to, err := p.url.Parse(form.action)
			w.must(err)
			if other := b.send(http.MethodPost, to.String(), form.values, true); other.status != http.StatusForbidden || !b.signedInStill(w) {
				t.Errorf("another site's form: %d", other.status)
			}
			done := b.follow(b.send(http.MethodPost, to.String(), form.values, false))
			if ask.Get("post_logout_redirect_uri") != "" && (!strings.HasPrefix(done.url.String(), bye) || done.url.Query().Get("state") != ask.Get("state")) {
				t.Errorf("sent to %s", done.url)
			}
			if b.signedInStill(w) {
				t.Error("still signed in after agreeing")
			}
			if status, _ := w.userinfo(tok.Access); status != 401 {
				t.Errorf("userinfo %d", status)
			}
			if status, _ := w.userinfo(others.Access); status != 200 {
				t.Errorf("somebody else's session ended: userinfo %d", status)
			}
		})
	}
}

func TestALogoutRequestThatIsWrongEndsNothingAndGoesNowhere(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	other := newWorld(t)
	_, foreign := other.signedIn(other.addOIDC("acme", nil).org)
	w.addApp("other", nil)
	b, tok := w.signedIn(acme.org)
	parts := strings.Split(tok.ID, ".")
	for name, ask := range map[string]url.Values{
		"an unregistered address":           {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {"https://evil.example/"}},
		"an address below":                  {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye + "/x"}},
		"a redirect_uri is no such address": {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {callback}},
		"an address and nobody's name":      {"post_logout_redirect_uri": {bye}},
		"a foreign token":                   {"id_token_hint": {foreign.ID}, "post_logout_redirect_uri": {bye}},
		"an access token":                   {"id_token_hint": {tok.Access}, "post_logout_redirect_uri": {bye}},
		"a bent token":                      {"id_token_hint": {parts[0] + "." + parts[1] + "x." + parts[2]}, "post_logout_redirect_uri": {bye}},
		"an unsigned token":                 {"id_token_hint": {"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + "."}, "post_logout_redirect_uri": {bye}},
		"junk":                              {"id_token_hint": {"junk"}},
		"another app's name":                {"id_token_hint": {tok.ID}, "client_id": {"other"}, "post_logout_redirect_uri": {bye}},
		"an unknown app":                    {"client_id": {"nobody"}, "post_logout_redirect_uri": {bye}},
		"the address twice":                 {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye, "https://evil.example/"}},
		"NUL":                               {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"a\x00"}},
	} {
		b.logout(w, ask).refusedHere(t, http.StatusBadRequest)
		b.send(http.MethodPost, w.url+"/logout", ask, true).refusedHere(t, http.StatusBadRequest)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	if !b.signedInStill(w) {
		t.Error("a refused request ended the session")
	}
}

func TestLogoutOfNobodySaysSoOrGoesOn(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	hint := url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}}
	b.logout(w, hint)
	if p := b.logout(w, hint); p.location(t).String() != bye {
		t.Errorf("a second time: %s", p.location(t))
	}
	if p := newBrowser(t).logout(w, url.Values{}); p.status != 200 || p.header.Get("Location") != "" {
		t.Errorf("nobody, nothing asked: %d", p.status)
	}
}

// Logging out of one organization leaves the other, and the app that was not named keeps its tokens.
func TestLogoutSaysWhatRemains(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	p := b.logout(w, url.Values{"id_token_hint": {tok.ID}})
	if p.status != 200 || !strings.Contains(textOf(p.body), "Okta of acme") {
		t.Errorf("the page does not say that the provider's session goes on: %d %s", p.status, textOf(p.body))
	}
}

// An app that an operator stopped sends nobody anywhere by our hand, also not whoever signs out.
func TestLogoutLeadsNobodyToAnAppThatWasStopped(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for _, to := range []directory.Status{directory.Suspended, directory.Archived} {
		w.must(w.h.broker.SetAppStatus(t.Context(), operator, w.app.ID, directory.Active))
		b, tok := w.signedIn(acme.org)
		w.must(w.h.broker.SetAppStatus(t.Context(), operator, w.app.ID, to))
		w.settled(acme.org)
		for name, ask := range map[string]url.Values{
			"a stranger":    {"client_id": {"payments"}, "post_logout_redirect_uri": {bye}},
			"with its hint": {"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}},
		} {
			who := newBrowser(t)
			if name != "a stranger" {
				who = b
			}
			p := who.logout(w, ask)
			if at := p.header.Get("Location"); p.status != http.StatusOK || at != "" || strings.Contains(p.body, "127.0.0.1:5555") {
				t.Errorf("%s, %s: %d, sent to %q", to, name, p.status, at)
			}
		}
	}
}
