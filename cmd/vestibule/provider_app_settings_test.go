package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
)

func TestOrganizationModeSaysWhetherRequestsNameOne(t *testing.T) {
	w := newWorld(t)
	acme, retail := w.addOIDC("acme", nil), w.addOIDC("retail", nil)
	required := w.entitledApp("required", acme.org, func(a *broker.App) { a.OrgMode = broker.OrgRequired })
	none := w.entitledApp("none", acme.org, func(a *broker.App) { a.OrgMode = broker.OrgNone })
	pinned := w.entitledApp("pinned", acme.org, func(a *broker.App) { a.Org = acme.org })
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: retail.org, App: pinned.app.ID}))
	for _, x := range []struct {
		name   string
		app    *world
		change func(url.Values)
		fault  string
	}{
		{"required, missing", required, nil, "invalid_request"},
		{"required, empty", required, set("organization", ""), "invalid_request"},
		{"required, by scope", required, set("scope", "openid organization:acme"), ""},
		{"required, there", required, in(acme.org), ""},
		{"none, there", none, in(acme.org), "invalid_request"},
		{"none, by scope", none, set("scope", "openid organization:acme"), "invalid_request"},
		{"none, by hint", none, set("login_hint", "ada@acme.example"), ""},
		{"pinned, missing", pinned, nil, ""},
		{"pinned, the same", pinned, set("organization", "acme"), ""},
		{"pinned, another", pinned, in(retail.org), "invalid_request"},
		{"pinned, one that is not there", pinned, set("organization", "nobody"), "invalid_request"},
	} {
		r := x.app.request(x.change)
		p := newBrowser(t).authorize(x.app, r)
		if x.fault != "" {
			p.errorFor(t, w, x.fault, r.Get("state"))
			if !strings.Contains(p.url.Query().Get("error_description"), "organization") {
				t.Errorf("%s: the error does not name the parameter: %s", x.name, p.url.Query().Get("error_description"))
			}
		} else if got := claims(t, x.app.redeem(p.code(t), r.verifier).ID)["org_id"]; got != string(acme.org) {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

// S6: the pin, the connections and the least context are the door's to keep, too: a code that was given
// before they were set opens nothing after.
func TestS6WhatAnAppAcceptsIsAskedAtEveryDoor(t *testing.T) {
	for name, set := range map[string]func(*broker.App){
		"the organization": func(a *broker.App) { a.Org = "org_other" },
		"the connections":  func(a *broker.App) { a.Connections = []directory.ConnectionID{"con_other"} },
		"the context":      func(a *broker.App) { a.MinACR = "urn:vestibule:acr:2fa" },
		"consent":          func(a *broker.App) { a.ThirdParty = true },
	} {
		w := newWorld(t)
		c := w.addOIDC("acme", nil)
		_, tok := w.signedIn(c.org)
		code, r := w.freshCode(c.org, nil)
		w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { set(a); return nil }))
		if got := w.redeem(code, r.verifier); got.Error != "invalid_grant" {
			t.Errorf("%s: the code gives %s", name, got.raw)
		}
		if status, _ := w.userinfo(tok.Access); status != http.StatusUnauthorized {
			t.Errorf("%s: the token tells %d", name, status)
		}
	}
}

func TestAnAppAcceptsOnlyItsConnections(t *testing.T) {
	w := newWorld(t)
	first := w.addOIDC("acme", func(c *upstream.Connection, _ *oidc.Config) { c.Guests = true })
	second := w.connectOIDC(first.org, "partner", func(c *upstream.Connection, _ *oidc.Config) { c.Guests = true })
	strict := w.entitledApp("strict", first.org, func(a *broker.App) { a.Connections = []directory.ConnectionID{second.con.ID} })
	b := newBrowser(t)
	w.must(nil)
	first.idp.SetAuto("acme-1")
	hint := func(v url.Values) { v.Set("login_hint", "ada@acme.example") }
	b.signIn(w, hint) // through acme
	if code, fault := b.silently(strict, in(first.org)); code != "" || fault == "" {
		t.Errorf("a session of another connection was accepted: %q", fault)
	}
	hops, r := len(b.hops), strict.request(in(first.org))
	tok := strict.redeem(b.authorize(strict, r).code(t), r.verifier)
	if tok.Status != http.StatusOK || !b.visited(second, hops) || b.visited(first, hops) {
		t.Errorf("not signed in anew by the connection that the app accepts: %v", b.hops[hops:])
	}
	if code, fault := newBrowser(t).silently(strict, in(first.org)); code != "" || fault != "login_required" {
		t.Errorf("nobody: %q", fault)
	}
	// Where none of its ways in is one that the app accepts, an organization is none to it.
	deaf := w.entitledApp("deaf", first.org, func(a *broker.App) { a.Connections = []directory.ConnectionID{"con_elsewhere"} })
	newBrowser(t).authorize(deaf, deaf.request(in(first.org))).refusedHere(t, http.StatusForbidden)
}

// An app that cannot do without a second step gets nobody without one: they are asked for it, and a silent
// request is told that somebody has to be.
func TestAnAppThatNeedsASecondStepGetsNobodyWithoutOne(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b, _ := w.signedIn(c.org)
	lowest := w.entitledApp("lowest", c.org, func(a *broker.App) { a.MinACR = "urn:vestibule:acr:1fa" })
	b.signIn(lowest, in(c.org))
	app := w.entitledApp("strict", c.org, func(a *broker.App) { a.MinACR = "urn:vestibule:acr:2fa" })
	r := app.request(in(c.org))
	if p := b.authorize(app, r); p.status != http.StatusOK || !strings.Contains(p.body, "Required by <strong>Strict</strong>") {
		t.Errorf("%d %s", p.status, p.body)
	}
	r = app.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "none") })
	b.authorize(app, r).errorFor(t, w, "interaction_required", r.Get("state"))
	odd := w.app
	odd.ID, odd.ClientID, odd.MinACR = directory.NewAppID(w.clock.now()), "odd", "urn:of:nobody"
	if err := w.h.broker.AddApp(t.Context(), operator, odd); err == nil {
		t.Error("a context that is not on the ladder was taken")
	}
}

// OpenID Connect Registration section 2: default_max_age holds where a request says nothing.
func TestAnAppsOwnMaxAgeHoldsWhereTheRequestSaysNothing(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b, _ := w.signedIn(c.org)
	app := w.entitledApp("fresh", c.org, func(a *broker.App) { a.MaxAge = time.Minute })
	w.clock.pass(2 * time.Minute)
	for _, x := range []struct {
		name   string
		change func(url.Values)
		again  bool
	}{{"nothing", in(c.org), true}, {"older is enough", func(v url.Values) { in(c.org)(v); v.Set("max_age", "3600") }, false}} {
		w.clock.pass(2 * time.Minute)
		hops := len(b.hops)
		tok := b.signIn(app, x.change)
		if got := b.visited(c, hops); got != x.again {
			t.Errorf("%s: asked again %v", x.name, got)
		}
		if claims(t, tok.ID)["auth_time"] == nil {
			t.Error("no auth_time")
		}
	}
}

// Row 75: an app that shares no sign-in takes nobody's word but a fresh one, once for each session.
func TestAnUnsharedAppIsSignedInToByItself(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	alone := w.entitledApp("alone", c.org, func(a *broker.App) { a.Unshared = true })
	b, _ := w.signedIn(c.org)
	if code, fault := b.silently(alone, in(c.org)); code != "" || fault != "login_required" {
		t.Errorf("another app's sign-in counted: %q", fault)
	}
	hops := len(b.hops)
	b.signIn(alone, in(c.org))
	if !b.visited(c, hops) {
		t.Error("signed in without a fresh proof")
	}
	if code, fault := b.silently(alone, in(c.org)); code == "" {
		t.Errorf("its own sign-in does not count: %q", fault)
	}
	if code, fault := b.silently(w, in(c.org)); code == "" {
		t.Errorf("the others lost theirs: %q", fault)
	}
	// A new session begins anew, also for an app that was there before.
	other := newBrowser(t)
	other.signIn(w, in(c.org))
	if code, fault := other.silently(alone, in(c.org)); code != "" || fault != "login_required" {
		t.Errorf("another session's sign-in counted: %q", fault)
	}
}

// Row 31: whoever proved that they belong reads which organization does not use the app and whom to ask,
// and the app hears access_denied when they go back; to everybody else the organization may not exist (S31).
func TestS31AnOrganizationThatDoesNotUseAnAppIsNamedToItsOwnPeopleAlone(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	stranger, _ := w.signedIn(w.addOIDC("retail", nil).org)
	b, _ := w.signedIn(c.org)
	app, secret := w.addApp("ledger", nil) // nobody is entitled
	ledger := w.as(app, secret)
	for _, mode := range []string{"query", "form_post"} {
		r := ledger.request(func(v url.Values) { in(c.org)(v); v.Set("response_mode", mode) })
		p := b.authorize(ledger, r)
		p.refusedHere(t, http.StatusForbidden)
		if text := textOf(p.body); !strings.Contains(text, "Acme doesn’t use Ledger") || !strings.Contains(p.body, "mailto:it@acme.example") {
			t.Errorf("the page: %s", text)
		}
		q := p.wayBack(t)
		if q.Get("error") != "access_denied" || q.Get("state") != r.Get("state") || q.Get("iss") != w.url {
			t.Errorf("%s: the app hears %v", mode, q)
		}
	}
	for name, other := range map[string]*browser{"nobody": newBrowser(t), "somebody else": stranger} {
		unknown := other.authorize(ledger, ledger.request(set("organization", "nobody-at-all")))
		p := other.authorize(ledger, ledger.request(in(c.org)))
		p.refusedHere(t, unknown.status)
		strip := func(p *page) string { return traceCode.ReplaceAllString(textOf(p.body), "") }
		if strip(p) != strip(unknown) || strings.Contains(p.body, "Acme") {
			t.Errorf("%s: another page than for an unknown one: %s", name, textOf(p.body))
		}
		if q := p.wayBack(t); q.Get("error") != "access_denied" {
			t.Errorf("%s: the app hears %v", name, q)
		}
	}
	if code, fault := b.silently(ledger, in(c.org)); code != "" || fault != "access_denied" {
		t.Errorf("prompt=none: %q", fault)
	}
}

// wayBack is what the app is told by the page's way back to it.
func (p *page) wayBack(t *testing.T) url.Values {
	t.Helper()
	for _, f := range forms(p) {
		if f.action == callback {
			return f.values
		}
	}
	_, after, found := strings.Cut(p.body, `href="`+callback+"?")
	query, _, _ := strings.Cut(after, `"`)
	q, err := url.ParseQuery(unescape(query))
	if !found || err != nil {
		t.Fatalf("no way back: %s", textOf(p.body))
	}
	return q
}

// Switching goes without a page where the session satisfies the other organization, whatever else the
// request asks for.
func TestSwitchingOrganizationsWithEverythingAsked(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.redeemed(t, b, in(strict))
	pair := w.entitledApp("pair", lax.org, func(a *broker.App) {
		a.Pairwise, a.MinACR, a.OrgMode = true, "urn:vestibule:acr:1fa", broker.OrgRequired
	})
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: strict, App: pair.app.ID}))
	sub := ""
	for _, org := range []directory.OrgID{lax.org, strict, lax.org} {
		r := pair.request(func(v url.Values) {
			in(org)(v)
			v.Set("prompt", "none")
			v.Set("claims", `{"id_token":{"acr":{"essential":true,"values":["urn:vestibule:acr:1fa"]},"name":null}}`)
		})
		got := claims(t, pair.redeem(b.authorize(pair, r).code(t), r.verifier).ID)
		if got["org_id"] != string(org) || got["name"] == nil || sub != "" && got["sub"] != sub {
			t.Errorf("%s: %v", org, got)
		}
		sub = got["sub"].(string)
	}
}

// A device is no way around it: whoever approves one for an app that shares no sign-in proves themselves anew.
func TestAnUnsharedAppsDeviceIsApprovedAfterAFreshSignIn(t *testing.T) {
	w, c := deviceWorld(t)
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.Unshared = true; return nil }))
	other := w.entitledApp("other", c.org, nil)
	b := newBrowser(t)
	b.signIn(other, in(c.org))
	hops := len(b.hops)
	b.types(w, w.terminal(in(c.org)).User)
	if !b.visited(c, hops) {
		t.Errorf("another app's sign-in counted: %v", b.hops[hops:])
	}
}

// A sign-in that ended counts no longer, though the session goes on with other apps.
func TestAnUnsharedAppsSignInThatEndedCountsNoMore(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	alone := w.entitledApp("alone", c.org, func(a *broker.App) { a.Unshared = true })
	b, _ := w.signedIn(c.org)
	b.signIn(alone, in(c.org))
	w.must(w.h.broker.SetAppStatus(t.Context(), operator, alone.app.ID, directory.Suspended))
	w.settled(c.org)
	w.must(w.h.broker.SetAppStatus(t.Context(), operator, alone.app.ID, directory.Active))
	if code, fault := b.silently(alone, in(c.org)); code != "" || fault != "login_required" {
		t.Errorf("a sign-in that was ended counted: %q", fault)
	}
	if code, fault := b.silently(w, in(c.org)); code == "" {
		t.Errorf("the others lost theirs: %q", fault)
	}
	hops := len(b.hops)
	b.signIn(alone, in(c.org))
	if !b.visited(c, hops) {
		t.Error("signed in without a fresh proof")
	}
}

// A device asks nothing about the age of the sign-in, so the app's own max_age holds for whoever approves.
func TestAnAppsOwnMaxAgeHoldsForItsDevices(t *testing.T) {
	w, c := deviceWorld(t)
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.MaxAge = time.Minute; return nil }))
	other := w.entitledApp("other", c.org, nil)
	b := newBrowser(t)
	b.signIn(other, in(c.org))
	w.clock.pass(2 * time.Minute)
	hops := len(b.hops)
	b.types(w, w.terminal(in(c.org)).User)
	if !b.visited(c, hops) {
		t.Errorf("an old sign-in approves: %v", b.hops[hops:])
	}
}
