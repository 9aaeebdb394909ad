package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
)

// cookies is what the browser holds for the house.
func (b *browser) cookies() map[string]string { return b.jar["localhost"] }

// twin is a browser with a copy of another's cookies: a thief's, or the same one earlier.
func (b *browser) twin() *browser {
	c := newBrowser(b.t)
	c.jar["localhost"] = map[string]string{}
	for k, v := range b.cookies() {
		c.jar["localhost"][k] = v
	}
	return c
}

// The id is renewed whenever the session rises, and an id that was known before is worth nothing after
// (session fixation).
func TestTheSessionsSecretIsNewAtEveryRise(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.authorize(w, w.request(nil)) // before: a login in progress, no session
	if b.cookies()["vs"] != "" {
		t.Error("a session cookie before anybody signed in")
	}
	b.signIn(w, in(c.org))
	first := b.twin()
	if first.cookies()["vs"] == "" {
		t.Fatal("no session cookie")
	}
	b.signIn(w, in(c.org)) // single sign-on proves nothing new
	if b.cookies()["vs"] != first.cookies()["vs"] {
		t.Error("the secret changed although nothing was proved")
	}
	b.signIn(w, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
	if b.cookies()["vs"] == first.cookies()["vs"] {
		t.Fatal("the secret is the same after a new proof")
	}
	if code, fault := first.silently(w, nil); code != "" || fault != "login_required" {
		t.Errorf("the former secret still works: %q", fault)
	}
	if code, fault := b.silently(w, nil); code == "" {
		t.Errorf("the new secret does not: %s", fault)
	}
}

func TestAnUnknownSessionIDIsNeverAdopted(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	planted := strings.Repeat("A", 43)
	for name, value := range map[string]string{
		"well-formed": planted, "two": planted + "." + strings.Repeat("B", 43), "empty": "", "short": "abc", "long": strings.Repeat("A", 5000),
		"dots": "......", "not text": "%00\x01",
	} {
		b := newBrowser(t)
		b.jar["localhost"] = map[string]string{"vs": value, "vb": value}
		b.signIn(w, in(c.org))
		if got := b.cookies()["vs"]; got == value || strings.Contains(got, "AAAA") || len(got) != 43 {
			t.Errorf("%s: the session's cookie is %q", name, got)
		}
		if name == "well-formed" {
			continue // of the right form, the browser's cookie is as good as one of ours: it is no right by itself
		}
		if got := b.cookies()["vb"]; got == value {
			t.Errorf("%s: the browser's cookie is still %q", name, got)
		}
	}
}

func TestCookiesAreHostOnlyHTTPOnlyAndLax(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	departure := b.depart(w, w.request(in(c.org)))
	arrived := b.deliver(b.atProvider(w, departure))
	all := append(departure.header.Values("Set-Cookie"), arrived.header.Values("Set-Cookie")...)
	seen := map[string]bool{}
	for _, line := range all {
		ck, err := http.ParseSetCookie(line)
		w.must(err)
		seen[ck.Name] = true
		if !ck.HttpOnly || ck.SameSite != http.SameSiteLaxMode || ck.Domain != "" || ck.Path != "/" {
			t.Errorf("%s", line)
		}
		if ck.Name != "vr" && (ck.MaxAge != 0 || !ck.Expires.IsZero()) {
			t.Errorf("outlives the browser: %s", line)
		}
		if ck.Name != "vr" && len(ck.Value) != 43 {
			t.Errorf("%s holds something else than 256 bits: %s", ck.Name, ck.Value)
		}
	}
	if !seen["vb"] || !seen["vs"] {
		t.Errorf("cookies: %v", all)
	}
}

// A browser holds up to five sessions of different people, the newest first, each of one person.
func TestABrowserHoldsFiveSessionsOfDifferentPeople(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	names := []string{"p1", "p2", "p3", "p4", "p5", "p6"}
	subs := map[string]any{}
	for _, n := range names {
		c.people(n, n+"@acme.example")
		subs[n] = claims(t, b.signIn(w, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") }).ID)["sub"]
	}
	if n := strings.Count(b.cookies()["vs"], ".") + 1; n != 5 {
		t.Errorf("%d sessions", n)
	}
	silent := func(hint string) any {
		r := w.request(func(v url.Values) {
			in(c.org)(v)
			v.Set("prompt", "none")
			if hint != "" {
				v.Set("login_hint", hint)
			}
		})
		code := b.authorize(w, r).sent()
		if code == "" {
			return nil
		}
		return claims(t, w.redeem(code, r.verifier).ID)["sub"]
	}
	if got := silent(""); got != subs["p6"] {
		t.Errorf("the current session is not the newest one")
	}
	if got := silent("p3@acme.example"); got != subs["p3"] {
		t.Errorf("the hint did not find the session of p3: %v", got)
	}
	if got := silent("p1@acme.example"); got != nil {
		t.Errorf("the oldest of six sessions is still here")
	}
	if got := silent("p5@acme.example"); got != subs["p5"] {
		t.Errorf("p5: %v", got)
	}
}

// S47: lifetime and idle time are measured for each organization, from when it was opened there.

// twoLegs is a world where one person is proved for two organizations: a strict one and a lax one.
func twoLegs(t *testing.T) (w *world, lax company, strict directory.OrgID, b *browser) {
	t.Helper()
	w = newWorld(t)
	lax = w.addOIDC("lax", func(c *upstream.Connection, _ *oidc.Config) { c.Offered = true })
	strict = w.addOrg("strict", lax.org)
	b = newBrowser(t)
	b.signIn(w, in(lax.org))
	w.member(strict, w.person(lax, "lax-1").ID, "")
	return w, lax, strict, b
}

func TestS47AStricterOrganizationEndsItsOwnLegAndNoOther(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.policy(strict, map[string]string{"session.lifetime": `"30m"`})
	w.redeemed(t, b, in(strict))
	w.clock.pass(31 * time.Minute)
	if code, fault := b.silently(w, in(strict)); code != "" || fault != "interaction_required" {
		t.Errorf("after its longest session the strict one: code %q, error %q", code, fault)
	}
	if code, fault := b.silently(w, in(lax.org)); code == "" {
		t.Errorf("the strict one ended the other's leg: %q", fault)
	}
	// And using the lax one does not prolong the strict one.
	b.signIn(w, in(lax.org))
	if code, _ := b.silently(w, in(strict)); code != "" {
		t.Error("the lax one opened the strict one again")
	}
	// A new proof does, and starts its time anew.
	b.signIn(w, func(v url.Values) { in(strict)(v); v.Set("prompt", "login") })
	w.clock.pass(29 * time.Minute)
	if code, fault := b.silently(w, in(strict)); code == "" {
		t.Errorf("29 minutes after a new proof: %q", fault)
	}
}

func TestS47IdleTimeIsEachOrganizationsOwn(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.policy(strict, map[string]string{"session.idle": `"10m"`})
	w.redeemed(t, b, in(strict))
	for range 3 {
		w.clock.pass(5 * time.Minute)
		b.signIn(w, in(lax.org))
	}
	if code, _ := b.silently(w, in(strict)); code != "" {
		t.Error("using another organization kept the strict one alive")
	}
	if code, fault := b.silently(w, in(lax.org)); code == "" {
		t.Errorf("the lax one ended: %q", fault)
	}
}

func TestS47PromptNoneAndTokensAreNoActivityOfThePerson(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.policy(lax.org, map[string]string{"session.idle": `"30m"`})
	for range 4 { // a page that asks silently, and an app that uses its token
		w.clock.pass(9 * time.Minute)
		r := w.request(func(v url.Values) { in(lax.org)(v); v.Set("prompt", "none") })
		if code := b.authorize(w, r).sent(); code != "" {
			w.userinfo(w.redeem(code, r.verifier).Access)
		}
		b.silently(w, in(strict))
	}
	for name, org := range map[string]directory.OrgID{"lax": lax.org, "strict": strict} {
		if code, _ := b.silently(w, in(org)); code != "" {
			t.Errorf("%s: 36 minutes without the person, and the session goes on", name)
		}
	}
}

func TestS47ThePersonsOwnSignInsAreActivity(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	w.policy(c.org, map[string]string{"session.idle": `"30m"`})
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	for range 4 {
		w.clock.pass(20 * time.Minute)
		b.signIn(w, in(c.org))
	}
	w.clock.pass(31 * time.Minute)
	if code, _ := b.silently(w, nil); code != "" {
		t.Error("idle for 31 minutes, and the session goes on")
	}
}

// What was held when a leg was opened is a ceiling: loosening the policy later prolongs nothing, at home or
// elsewhere.
func TestS47HeldIsACeilingWhenPolicyIsLoosened(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.policy(strict, map[string]string{"session.lifetime": `"30m"`})
	w.redeemed(t, b, in(strict))
	w.policy(strict, map[string]string{"session.lifetime": `"8h"`})
	w.clock.pass(31 * time.Minute)
	if code, _ := b.silently(w, in(strict)); code != "" {
		t.Error("a loosened policy prolonged a leg")
	}
	w.policy(lax.org, map[string]string{"session.lifetime": `"30m"`})
	x := newBrowser(t)
	x.signIn(w, in(lax.org))
	w.policy(lax.org, map[string]string{"session.lifetime": `"8h"`})
	w.clock.pass(31 * time.Minute)
	if code, _ := x.silently(w, in(lax.org)); code != "" {
		t.Error("a loosened policy prolonged a session")
	}
}

func TestS47TheHomeOrganizationsLifetimeEndsTheSession(t *testing.T) {
	w := newWorld(t)
	home, host := w.addOIDC("home", nil), w.addOIDC("host", nil)
	w.policy(home.org, map[string]string{"session.lifetime": `"30m"`})
	b := newBrowser(t)
	b.signIn(w, in(home.org))
	w.member(host.org, w.person(home, "home-1").ID, home.con.ID)
	w.redeemed(t, b, in(host.org))
	w.clock.pass(31 * time.Minute)
	if code, fault := b.silently(w, in(host.org)); code != "" || fault != "login_required" {
		t.Errorf("a guest's session outlived what home allows: code %q, error %q", code, fault)
	}
}

// And it is today's lifetime that counts, not the one of the day on which the session began.
func TestS47TheHomeOrganizationsLifetimeIsFoldedAnew(t *testing.T) {
	w := newWorld(t)
	home, host := w.addOIDC("home", nil), w.addOIDC("host", nil)
	b := newBrowser(t)
	b.signIn(w, in(home.org))
	w.member(host.org, w.person(home, "home-1").ID, home.con.ID)
	w.redeemed(t, b, in(host.org))
	w.clock.pass(31 * time.Minute)
	w.policy(home.org, map[string]string{"session.lifetime": `"30m"`})
	if code, fault := b.silently(w, in(host.org)); code != "" || fault != "login_required" {
		t.Errorf("code %q, error %q", code, fault)
	}
}

// A session that its person ended is over for every copy of its cookie.
func TestAnEndedSessionIsOverForEveryCopyOfItsCookie(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	thief := b.twin()
	p := b.get(w, "/logout")
	for _, f := range forms(p) {
		if strings.HasPrefix(f.action, "/logout/confirm") {
			b.send(http.MethodPost, w.url+f.action, f.values, false)
		}
	}
	if b.cookies()["vs"] != "" {
		t.Error("the cookie is still there")
	}
	if code, fault := thief.silently(w, nil); code != "" || fault != "login_required" {
		t.Errorf("code %q, error %q", code, fault)
	}
	if p := thief.get(w, "/logout"); strings.Contains(p.body, "ada@acme.example") {
		t.Error("the ended session still tells whose it was")
	}
}

func TestAPersonWhoIsSignedOutEverywhereIsSignedOutEverywhere(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	browsers := []*browser{newBrowser(t), newBrowser(t)}
	for _, b := range browsers {
		b.signIn(w, in(c.org))
	}
	w.clock.pass(time.Second)
	w.must(w.h.directory.UpdatePerson(context.Background(), c.org, w.person(c, "acme-1").ID, func(p *directory.Person) error {
		p.SessionsAfter = w.clock.now()
		return nil
	}))
	for _, b := range browsers {
		if code, fault := b.silently(w, nil); code != "" || fault != "login_required" {
			t.Errorf("code %q, error %q", code, fault)
		}
	}
	w.clock.pass(time.Second)
	browsers[0].signIn(w, in(c.org))
	if code, fault := browsers[0].silently(w, nil); code == "" {
		t.Errorf("signed in again: %q", fault)
	}
}

// Switching says precisely what is missing (protocols.md section 1).
func TestSwitchingToAnOrganizationThatTheSessionDoesNotSatisfyAsksForInteraction(t *testing.T) {
	w := newWorld(t)
	one := w.addOIDC("one", nil)
	two := w.addOIDC("two", nil)
	w.connectOIDC(two.org, "two-b", nil) // two ways in: a page would ask which
	b := newBrowser(t)
	b.signIn(w, in(one.org))
	if code, fault := b.silently(w, in(two.org)); code != "" || fault != "interaction_required" {
		t.Errorf("code %q, error %q", code, fault)
	}
}

// The picker takes what it offered and nothing else.
func TestThePickerTakesOnlyWhatItOffered(t *testing.T) {
	w, _, strict, b := twoLegs(t)
	stranger := w.addOIDC("stranger", nil)
	p := b.authorize(w, w.request(nil))
	for _, org := range []string{string(stranger.org), "", "org_made_up"} {
		got := b.follow(b.send(http.MethodPost, w.url+p.url.Path+"/choose", url.Values{"org": {org}, "step": {"choose"}}, false))
		if got.status < 400 || got.sent() != "" {
			t.Errorf("%q: %s %d", org, got.url, got.status)
		}
	}
	b.pick(p, strict).code(t)
}

// A session that ended in one tab gives nothing in the other, and its person can go on by signing in.
func TestASessionThatEndsWhileAPickerIsOpenGivesNothing(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	p := b.authorize(w, w.request(nil))
	if !strings.Contains(p.body, "/choose") {
		t.Fatalf("no picker: %s", textOf(p.body))
	}
	tab := b.twin()
	done := tab.get(w, "/logout")
	for _, f := range forms(done) {
		if strings.HasPrefix(f.action, "/logout/confirm") {
			tab.send(http.MethodPost, w.url+f.action, f.values, false)
		}
	}
	lax.idp.SetAuto("") // whoever asks the provider now has to sign in there
	at := b.pick(p, strict)
	if at.sent() != "" {
		t.Error("a code after signing out")
	}
	if !strings.HasPrefix(at.url.String(), lax.idp.Base) && at.status < 400 {
		t.Errorf("neither signing in again nor refused: %s %d", at.url, at.status)
	}
}

// An app that shows the token of the person it knows gets a code for that person or none (OpenID Connect
// Core section 3.1.2.1).
func TestATokenHintSignsInNobodyElse(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.people("ada", "ada@acme.example", "eve", "eve@acme.example")
	b := newBrowser(t)
	ada := b.signIn(w, in(c.org))
	c.idp.SetAuto("eve")
	eve := b.signIn(w, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
	ask := func(x *browser, hint, prompt string) (sub any, fault string) {
		r := w.request(func(v url.Values) {
			in(c.org)(v)
			v.Set("id_token_hint", hint)
			if prompt != "" {
				v.Set("prompt", prompt)
			}
		})
		p := x.authorize(w, r)
		if p.sent() == "" {
			return nil, p.url.Query().Get("error")
		}
		return claims(t, w.redeem(p.sent(), r.verifier).ID)["sub"], ""
	}
	is := func(tok tokenAnswer) any { return claims(t, tok.ID)["sub"] }
	w.clock.pass(20 * time.Minute) // the tokens are over: as hints they are good
	if sub, fault := ask(b, ada.ID, "none"); sub != is(ada) {
		t.Errorf("Ada's session is in this browser: %v %s", sub, fault)
	}
	if sub, fault := ask(b, eve.ID, "none"); sub != is(eve) {
		t.Errorf("Eve's session is in this browser: %v %s", sub, fault)
	}
	x := newBrowser(t)
	x.signIn(w, in(c.org)) // Eve
	if sub, fault := ask(x, ada.ID, "none"); sub != nil || fault != "login_required" {
		t.Errorf("Ada is not signed in here: %v %s", sub, fault)
	}
	if sub, fault := ask(x, ada.ID, ""); sub != nil || fault != "login_required" {
		t.Errorf("the provider signed somebody else in: %v %s", sub, fault)
	}
	for name, hint := range map[string]string{"garbage": "x.y.z", "an access token": ada.Access, "bent": ada.ID[:len(ada.ID)-4] + "AAAA"} {
		if sub, fault := ask(b, hint, "none"); sub != nil || fault != "invalid_request" {
			t.Errorf("%s: %v %s", name, sub, fault)
		}
	}
	desk, secret := w.addApp("desk", nil)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: desk.ID}))
	w.app, w.secret = desk, secret
	if sub, fault := ask(b, ada.ID, "none"); sub != nil || fault != "invalid_request" {
		t.Errorf("another app's token: %v %s", sub, fault)
	}
}
