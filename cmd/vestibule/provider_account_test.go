package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
)

func pickAccount(v url.Values) { v.Set("prompt", "select_account") }

// threeAccounts is a browser where three people of two companies are signed in, the last one current.
func threeAccounts(t *testing.T) (w *world, acme company, b *browser, subs map[string]any) {
	t.Helper()
	w = newWorld(t)
	acme = w.addOIDC("acme", nil)
	retail := w.addOIDC("retail", nil)
	b, subs = newBrowser(t), map[string]any{}
	for _, n := range []string{"ada", "bob"} {
		acme.people(n, n+"@acme.example")
		subs[n] = claims(t, b.signIn(w, func(v url.Values) { in(acme.org)(v); v.Set("prompt", "login") }).ID)["sub"]
	}
	subs["rita"] = claims(t, b.signIn(w, in(retail.org)).ID)["sub"]
	acme.idp.SetAuto("") // whoever is sent to acme's provider sees a page there
	return w, acme, b, subs
}

// accounts are what a page offers: the value of each account by what it shows.
func (p *page) accounts() map[string]string {
	out := map[string]string{}
	for _, part := range strings.Split(p.body, `name="session" value="`)[1:] {
		value, rest, _ := strings.Cut(part, `"`)
		label, _, _ := strings.Cut(rest, "</button>")
		out[textOf("<x"+label)] = value
	}
	return out
}

func (b *browser) asksAccount(w *world, change func(url.Values)) (*page, request) {
	b.t.Helper()
	r := w.request(change)
	p := b.authorize(w, r)
	if !strings.HasPrefix(p.url.Path, "/select/") || p.status != http.StatusOK {
		b.t.Fatalf("no accounts but %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return p, r
}

func (b *browser) takes(p *page, session string) *page {
	b.t.Helper()
	return b.follow(b.send(http.MethodPost, p.url.String(), url.Values{"session": {session}}, false))
}

func TestSelectAccountOffersWhoIsSignedInHere(t *testing.T) {
	w, _, b, subs := threeAccounts(t)
	p, r := b.asksAccount(w, pickAccount)
	offered := p.accounts()
	if len(offered) != 4 || offered["Use another account"] == "" {
		t.Fatalf("offered %v", offered)
	}
	text := textOf(p.body)
	for _, address := range []string{"ada@", "bob@", "rita@"} {
		if strings.Contains(p.body, address) {
			t.Errorf("%s stands there unmasked", address)
		}
	}
	if !strings.Contains(text, "Acme") || !strings.Contains(text, "Retail") || !strings.Contains(text, "Payments") {
		t.Errorf("the page says %s", text)
	}
	for _, who := range []string{"ada", "bob"} {
		label := who[:1] + "…@acme.example"
		for shown, session := range offered {
			if !strings.HasPrefix(shown, label) {
				continue
			}
			// The same page serves again: the Back button does no harm.
			code := b.takes(p, session).code(t)
			if tok := w.redeem(code, r.verifier); tok.Status != http.StatusOK || claims(t, tok.ID)["sub"] != subs[who] {
				t.Errorf("%s: %s", who, tok.raw)
			}
		}
	}
	// Whom the person chose last is whom an app gets that asks for nobody.
	if tok := b.signIn(w, nil); claims(t, tok.ID)["sub"] != subs["bob"] {
		t.Error("the chosen account is not the current one")
	}
}

// Only what this browser holds can be chosen, and another account means the provider.
func TestSelectAccountTakesNoSessionOfAnotherBrowser(t *testing.T) {
	w, acme, b, _ := threeAccounts(t)
	p, _ := b.asksAccount(w, func(v url.Values) { in(acme.org)(v); pickAccount(v) })
	acme.people("mallory", "mallory@acme.example")
	mallory := newBrowser(t)
	mallory.signIn(w, in(acme.org))
	acme.idp.SetAuto("")
	for name, session := range p.accounts() {
		if got := mallory.takes(p, session); got.sent() != "" {
			t.Errorf("%s: chosen in another browser: %s", name, got.url)
		}
	}
	for _, forged := range []string{"another", "ses_06gv0000000000000000000000", "x", strings.Repeat("A", 43)} {
		if got := b.takes(p, forged); got.sent() != "" || got.url.Host != strings.TrimPrefix(acme.idp.Base, "http://") {
			t.Errorf("%q: %d %s", forged, got.status, got.url)
		}
	}
	if got := b.send(http.MethodPost, p.url.String(), url.Values{}, false); got.status != http.StatusSeeOther || got.location(t).Path != p.url.Path {
		t.Errorf("nothing chosen: %d", got.status)
	}
	if got := b.send(http.MethodPost, p.url.String(), url.Values{"session": {"another"}}, true); got.status != http.StatusForbidden {
		t.Errorf("from another site: %d", got.status)
	}
	w.clock.pass(11 * time.Minute)
	if got := b.get(w, p.url.Path); got.status != http.StatusGone {
		t.Errorf("too late: %d", got.status)
	}
}

func TestSelectAccountAsksNobodyWhereNobodyIsSignedIn(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	newBrowser(t).authorize(w, w.request(func(v url.Values) { in(c.org)(v); pickAccount(v) })).code(t)
}

// S53: one request that waits for a choice begins no more logins than its network may begin.
func TestS53ChoicesAreCountedPerNetwork(t *testing.T) {
	w := worldIn(t, t.TempDir(), func(c *config) { c.Limits = broker.DefaultLimits(); c.Limits.AuthorizePerNetwork.Most = 8 })
	c := w.addOIDC("acme", nil)
	b, _ := w.signedIn(c.org)
	p, _ := b.asksAccount(w, func(v url.Values) { in(c.org)(v); pickAccount(v) })
	last := 0
	for range 10 {
		last = b.send(http.MethodPost, p.url.String(), url.Values{"session": {"another"}}, false).status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the tenth choice: %d", last)
	}
}

// A hint of the app's narrows the choice; for an app that shares no sign-in, others are none.
func TestSelectAccountOffersWhomTheAppCanHave(t *testing.T) {
	w, acme, b, subs := threeAccounts(t)
	p, _ := b.asksAccount(w, func(v url.Values) {
		in(acme.org)(v)
		pickAccount(v)
		v.Set("claims", `{"id_token":{"sub":{"value":"`+subs["ada"].(string)+`"}}}`)
	})
	if offered := p.accounts(); len(offered) != 2 {
		t.Errorf("offered %v", offered)
	}
	alone := w.entitledApp("alone", acme.org, func(a *broker.App) { a.Unshared = true })
	if got := b.authorize(alone, alone.request(func(v url.Values) { in(acme.org)(v); pickAccount(v) })); strings.HasPrefix(got.url.Path, "/select/") {
		t.Error("an app that shares no sign-in was offered others'")
	}
}
