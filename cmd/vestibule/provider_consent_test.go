package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

func thirdParty(a *broker.App) {
	a.ThirdParty, a.Name = true, "Ledger Sync"
	a.PolicyURI, a.TermsURI = "https://ledger.example/privacy", "javascript:alert(1)"
}

// asksConsent opens a request and stops at the question.
func (b *browser) asksConsent(w *world, change func(url.Values)) (*page, request) {
	b.t.Helper()
	r := w.request(change)
	p := b.authorize(w, r)
	if !strings.HasPrefix(p.url.Path, "/consent/") || p.status != http.StatusOK {
		b.t.Fatalf("no question but %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return p, r
}

// decides presses a button of the question.
func (b *browser) decides(p *page, decision string) *page {
	b.t.Helper()
	return b.follow(b.send(http.MethodPost, p.url.String(), url.Values{"decision": {decision}}, false))
}

func TestAThirdPartyAppLearnsNothingBeforeThePersonAgrees(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, r := b.asksConsent(app, func(v url.Values) {
		in(c.org)(v)
		v.Set("claims", `{"userinfo":{"birthdate":{"essential":true},"name":null}}`)
	})
	text := textOf(p.body)
	for _, said := range []string{"Ledger Sync", "ada@acme.example", "Acme", "your name and profile", "e-mail address", "127.0.0.1", "Allow", "Don’t allow"} {
		if !strings.Contains(text, said) {
			t.Errorf("the question does not say %q: %s", said, text)
		}
	}
	if strings.Contains(text, "date of birth") {
		t.Error("the profile says it already") // birthdate belongs to the scope profile, which was asked for
	}
	if strings.Contains(p.body, "javascript:") || !strings.Contains(p.body, `href="https://ledger.example/privacy"`) {
		t.Error("links of the app")
	}
	if got := p.header.Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'none'") || strings.Contains(got, "form-action") {
		t.Errorf("CSP %q", got)
	}
	// Reloading asks again and decides nothing.
	if again := b.get(w, p.url.Path); again.status != http.StatusOK || again.body != p.body {
		t.Errorf("reload: %d", again.status)
	}
	if code, fault := b.silently(app, in(c.org)); code != "" || fault != "consent_required" {
		t.Errorf("prompt=none before: %q %q", code, fault)
	}
	if tok := app.redeem(b.decides(p, "allow").code(t), r.verifier); tok.Status != http.StatusOK {
		t.Errorf("token: %s", tok.raw)
	}
	// It is not asked twice, in this browser or another, for the same or for less; it is for more.
	b.signIn(app, in(c.org))
	newBrowser(t).signIn(app, func(v url.Values) { in(c.org)(v); v.Set("scope", "openid") })
	byName := func(v url.Values) { in(c.org)(v); v.Set("claims", `{"userinfo":{"nickname":null,"email":null}}`) }
	for name, change := range map[string]func(url.Values){"the same": in(c.org), "by name what its scope brings": byName} {
		if code, fault := b.silently(app, change); code == "" {
			t.Errorf("%s, prompt=none after: %q", name, fault)
		}
	}
	b.asksConsent(app, func(v url.Values) { in(c.org)(v); v.Set("scope", "openid profile email phone") })
	b.asksConsent(app, func(v url.Values) { in(c.org)(v); v.Set("claims", `{"id_token":{"phone_number":null}}`) })
	b.asksConsent(app, func(v url.Values) { in(c.org)(v); v.Set("prompt", "consent") })
	if n := len(w.recorded(c.org, audit.ConsentGranted)); n != 1 {
		t.Errorf("%d consents recorded", n)
	}
}

func TestSayingNoIsAnAnswerAndIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, r := b.asksConsent(app, in(c.org))
	b.decides(p, "deny").errorFor(t, w, "access_denied", r.Get("state"))
	if got := b.decides(p, "allow"); got.status != http.StatusGone || got.sent() != "" {
		t.Errorf("allowed after it was denied: %d %s", got.status, got.url)
	}
	b.asksConsent(app, in(c.org))
	b.signIn(w, in(c.org)) // whoever says no is signed in all the same
}

// An app that was stopped while the person was asked is not answered, not even with a no.
func TestANoIsNotToldToAnAppThatWasStoppedMeanwhile(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, _ := b.asksConsent(app, in(c.org))
	w.must(w.h.broker.SetAppStatus(t.Context(), operator, app.app.ID, directory.Suspended))
	if got := b.decides(p, "deny"); got.sent() != "" || got.url.Host == "127.0.0.1:5555" || got.status/100 == 2 {
		t.Errorf("%d %s", got.status, got.url)
	}
}

// S39: consent given in one organization is none in another.
func TestS39ConsentIsForOneOrganization(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	app := w.entitledApp("ledger", lax.org, thirdParty)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: strict, App: app.app.ID}))
	p, _ := b.asksConsent(app, in(lax.org))
	b.decides(p, "allow").code(t)
	b.asksConsent(app, in(strict))
	if _, fault := b.silently(app, in(strict)); fault != "consent_required" {
		t.Errorf("prompt=none in the other organization: %q", fault)
	}
}

// The question belongs to the browser and the session that it was asked in.
func TestNobodyElseAnswersTheQuestion(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, _ := b.asksConsent(app, in(c.org))
	c.people("mallory", "mallory@acme.example")
	mallory := newBrowser(t)
	mallory.signIn(w, in(c.org))
	for name, thief := range map[string]*browser{"another person": mallory, "nobody": newBrowser(t)} {
		if got := thief.get(w, p.url.Path); got.status == http.StatusOK || strings.Contains(got.body, "ada@") {
			t.Errorf("%s sees the question: %d", name, got.status)
		}
		if got := thief.decides(p, "allow"); got.sent() != "" || got.status/100 == 2 {
			t.Errorf("%s answers it: %d %s", name, got.status, got.url)
		}
	}
	// From another site it is not taken either, whatever cookies come along.
	cross := b.send(http.MethodPost, p.url.String(), url.Values{"decision": {"allow"}}, true)
	if cross.status != http.StatusForbidden {
		t.Errorf("from another site: %d", cross.status)
	}
	for _, odd := range []url.Values{{}, {"decision": {"yes"}}, {"decision": {""}}} {
		if got := b.send(http.MethodPost, p.url.String(), odd, false); got.status != http.StatusSeeOther || got.location(t).Path != p.url.Path {
			t.Errorf("%v: %d", odd, got.status)
		}
	}
	b.decides(p, "allow").code(t)
	// Once answered it is over, and whoever comes back is told where to begin again.
	if back := b.get(w, p.url.Path); back.status != http.StatusGone || !strings.Contains(back.body, "http://127.0.0.1:5555/") {
		t.Errorf("after the answer: %d", back.status)
	}
	// A question that waits too long is over; so is one whose session ended.
	w.clock.pass(time.Minute)
	late, _ := b.asksConsent(app, func(v url.Values) { in(c.org)(v); v.Set("prompt", "consent") })
	ended := b.twin()
	for _, f := range forms(b.get(w, "/logout")) {
		b.send(http.MethodPost, w.url+f.action, f.values, false)
	}
	if got := ended.decides(late, "allow"); got.sent() != "" {
		t.Errorf("after the session ended: %s", got.url)
	}
	b.signIn(w, in(c.org))
	late, _ = b.asksConsent(app, func(v url.Values) { in(c.org)(v); v.Set("prompt", "consent") })
	w.clock.pass(11 * time.Minute)
	if got := b.decides(late, "allow"); got.status != http.StatusGone {
		t.Errorf("too late: %d", got.status)
	}
}

func TestOf16AnswersAtOnceOneGivesACode(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, _ := b.asksConsent(app, in(c.org))
	var mu sync.Mutex
	var all sync.WaitGroup
	codes := 0
	for range 16 {
		twin := b.twin()
		all.Go(func() {
			if twin.decides(p, "allow").sent() != "" {
				mu.Lock()
				codes++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if codes != 1 {
		t.Errorf("%d codes", codes)
	}
}

// What changed while the person thought counts: the door is asked again.
func TestS6TheDoorIsAskedAgainWhenThePersonAgrees(t *testing.T) {
	for name, end := range map[string]func(w *world, c company, app broker.App, p directory.PersonID) error{
		"the person": func(w *world, c company, _ broker.App, p directory.PersonID) error {
			return w.h.directory.SetPersonStatus(w.t.Context(), operator, c.org, p, directory.Suspended)
		},
		"the entitlement": func(w *world, c company, app broker.App, _ directory.PersonID) error {
			return w.h.store.RemoveEntitlement(w.t.Context(), c.org, app.ID)
		},
		"the app": func(w *world, _ company, app broker.App, _ directory.PersonID) error {
			return w.h.store.UpdateApp(w.t.Context(), app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil })
		},
		"the address": func(w *world, _ company, app broker.App, _ directory.PersonID) error {
			return w.h.store.UpdateApp(w.t.Context(), app.ID, func(a *broker.App) error { a.RedirectURIs = []string{"https://new.example/"}; return nil })
		},
	} {
		w := newWorld(t)
		c := w.addOIDC("acme", nil)
		app := w.entitledApp("ledger", c.org, thirdParty)
		b := newBrowser(t)
		p, _ := b.asksConsent(app, in(c.org))
		w.must(end(w, c, app.app, w.person(c, "acme-1").ID))
		if got := b.decides(p, "allow"); got.sent() != "" || got.url.Host == "127.0.0.1:5555" {
			t.Errorf("%s: %d %s", name, got.status, got.url)
		}
	}
}

func TestTakingConsentBackEndsWhatItGave(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	b := newBrowser(t)
	p, r := b.asksConsent(app, in(c.org))
	tok := app.redeem(b.decides(p, "allow").code(t), r.verifier)
	open := app.request(in(c.org))
	code := b.authorize(app, open).code(t) // given, not redeemed yet
	other := b.signIn(w, in(c.org))
	person := w.person(c, "acme-1").ID
	w.must(w.h.broker.RevokeConsent(t.Context(), operator, c.org, person, app.app.ID))
	if err := w.h.broker.RevokeConsent(t.Context(), directory.Actor{}, c.org, person, app.app.ID); err == nil {
		t.Error("nobody took it back")
	}
	if status, _ := app.userinfo(tok.Access); status != http.StatusUnauthorized {
		t.Errorf("its token still works: %d", status)
	}
	if got := app.redeem(code, open.verifier); got.Error != "invalid_grant" {
		t.Errorf("its code still works: %s", got.raw)
	}
	if status, _ := w.userinfo(other.Access); status != http.StatusOK {
		t.Errorf("another app's token ended: %d", status)
	}
	again, r2 := b.asksConsent(app, in(c.org))
	if n := len(w.recorded(c.org, audit.ConsentRevoked)); n != 1 {
		t.Errorf("%d records", n)
	}
	// Given again, what was opened before stays ended.
	w.clock.pass(time.Second)
	if got := app.redeem(b.decides(again, "allow").code(t), r2.verifier); got.Status != http.StatusOK {
		t.Errorf("given again: %s", got.raw)
	}
	if status, _ := app.userinfo(tok.Access); status != http.StatusUnauthorized {
		t.Errorf("the former token works again: %d", status)
	}
}

func TestAnAppOfTheOperatorsOwnAsksOnlyWhenItWants(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	p, r := b.asksConsent(w, func(v url.Values) { in(c.org)(v); v.Set("prompt", "consent"); v.Set("ui_locales", "es") })
	if !strings.Contains(textOf(p.body), "quiere usar tu cuenta") {
		t.Errorf("not in the language that was asked for: %s", textOf(p.body))
	}
	if tok := w.redeem(b.decides(p, "allow").code(t), r.verifier); tok.Status != http.StatusOK {
		t.Errorf("%s", tok.raw)
	}
}

// recorded are the targets of an organization's entries of one action.
func (w *world) recorded(org directory.OrgID, act audit.Action) []string {
	w.t.Helper()
	var out []string
	// One statement: an entry is on its way from one table to the other.
	for _, row := range w.query("SELECT target_id FROM audit WHERE org_id = $1 AND action = $2 UNION ALL SELECT target_id FROM audit_pending WHERE org_id = $3 AND action = $4",
		string(org), string(act), string(org), string(act)) {
		out = append(out, row[0])
	}
	return out
}
