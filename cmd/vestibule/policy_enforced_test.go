package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/web"
)

// This file holds that settings of policy are what happens: at the next request of those who are signed in.

// keptFor is how long the browser was told to keep its sessions when it is closed; 0 is not at all.
func keptFor(t *testing.T, pages ...*page) (seconds int) {
	t.Helper()
	found := false
	for _, p := range pages {
		for _, line := range p.header.Values("Set-Cookie") {
			if c, err := http.ParseSetCookie(line); err == nil && c.Name == "vs" {
				seconds, found = c.MaxAge, true
			}
		}
	}
	if !found {
		t.Fatal("no session cookie")
	}
	return seconds
}

func TestSessionsSurviveTheBrowserWhereTheHomeOrganizationLetsThem(t *testing.T) {
	w := newWorld(t)
	acme, mex := w.addOIDC("acme", nil), w.addOIDC("mex", nil)
	b := newBrowser(t)
	signIn := func(c company) int {
		departure := b.depart(w, w.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") }))
		arrived := b.deliver(b.atProvider(w, departure))
		return keptFor(t, arrived, b.last)
	}
	if got := signIn(acme); got != 0 {
		t.Errorf("kept for %d s, and nobody said so", got)
	}
	w.policy(acme.org, map[string]string{"session.persistent": "true", "session.lifetime": `"8h"`})
	if got := signIn(acme); got < 8*3600-60 || got > 8*3600 {
		t.Errorf("kept for %d s, the session lives for eight hours", got)
	}
	// There is one cookie: somebody whose organization forbids it is in it now.
	if got := signIn(mex); got != 0 {
		t.Errorf("kept for %d s with a session that is not to be kept", got)
	}
	w.policy(mex.org, map[string]string{"session.persistent": "true"})
	if got := signIn(mex); got == 0 {
		t.Error("not kept although all are to be")
	}
	w.policy(acme.org, map[string]string{"session.persistent": "false"})
	if got := signIn(mex); got != 0 {
		t.Error("kept after one organization took it back")
	}
}

// S47: an organization that allows a few sessions ends its own part of the oldest, and nothing of others.
func TestS47TheOldestSessionGivesWayInTheOrganizationThatAllowsNoMore(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	other := w.addOrg("other", "")
	acme.people("ada", "ada@acme.example")
	first, second, third := newBrowser(t), newBrowser(t), newBrowser(t)
	tok := first.signIn(w, in(acme.org))
	w.member(other, w.person(acme, "ada").ID, acme.con.ID)
	if code, fault := first.silently(w, in(other)); code == "" {
		t.Fatalf("not signed in to the other organization: %s", fault)
	}
	w.clock.pass(time.Minute)
	second.signIn(w, in(acme.org))
	w.clock.pass(time.Minute)
	w.policy(acme.org, map[string]string{"session.max_per_user": "2"})
	for i, b := range []*browser{first, second} { // nobody is signed out before somebody signs in
		if code, fault := b.silently(w, in(acme.org)); code == "" {
			t.Fatalf("session %d ended by itself: %s", i, fault)
		}
	}
	third.signIn(w, in(acme.org))
	if code, _ := first.silently(w, in(acme.org)); code != "" {
		t.Error("three sessions where two are allowed")
	}
	if status, _ := w.userinfo(tok.Access); status == http.StatusOK {
		t.Error("a token of the session that gave way is still good")
	}
	if code, fault := first.silently(w, in(other)); code == "" {
		t.Errorf("another organization's part of the session ended too: %s", fault)
	}
	for i, b := range []*browser{second, third} {
		if code, fault := b.silently(w, in(acme.org)); code == "" {
			t.Errorf("session %d gave way too: %s", i+2, fault)
		}
	}
	// Who signs in again in one browser has one session still.
	third.signIn(w, func(v url.Values) { in(acme.org)(v); v.Set("prompt", "login") })
	if code, _ := second.silently(w, in(acme.org)); code == "" {
		t.Error("signing in again in the same browser cost another its session")
	}
}

// capabilities.md row 75: an organization that shares no sign-in between apps has each app ask for its own.
func TestEachAppAsksForASignInOfItsOwnWherePolicySaysSo(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	desk, secret := w.addApp("desk", nil)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: desk.ID}))
	at := func(v url.Values) { in(c.org)(v); v.Set("client_id", desk.ClientID) }
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	if code, fault := b.silently(w, at); code == "" {
		t.Fatalf("no single sign-on: %s", fault)
	}
	w.policy(c.org, map[string]string{"session.shared": "false"})
	b = newBrowser(t)
	tok := b.signIn(w, in(c.org))
	if code, fault := b.silently(w, in(c.org)); code == "" {
		t.Errorf("the app that was signed in to: %s", fault)
	}
	if code, fault := b.silently(w, at); code != "" || fault != "interaction_required" {
		t.Errorf("the sign-in was shared: %q", fault)
	}
	went := len(b.hops)
	r := w.request(at)
	code := b.authorize(w, r).code(t)
	if !b.visited(c, went) {
		t.Error("the other app did not ask the provider")
	}
	if got := w.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {r.verifier}},
		func(r *http.Request) { r.SetBasicAuth(desk.ClientID, secret) }); got.Status != http.StatusOK {
		t.Errorf("its code is worth nothing: %s", got.raw)
	}
	if code, fault := b.silently(w, at); code == "" {
		t.Errorf("its own sign-in does not last: %s", fault)
	}
	if status, _ := w.userinfo(tok.Access); status != http.StatusOK {
		t.Error("the first app's token is not good any more")
	}
	// Who signed out of the app has to sign in again.
	w.policy(c.org, map[string]string{"session.shared": "true"})
	if code, fault := b.silently(w, at); code == "" {
		t.Errorf("shared again: %s", fault)
	}
}

// from makes a browser come from an address, as a trusted proxy says.
type from struct {
	address string
	http.RoundTripper
}

func (f *from) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("X-Forwarded-For", f.address)
	return f.RoundTripper.RoundTrip(r)
}

func (b *browser) at(address string) *from {
	f := &from{address, b.client.Transport}
	b.client.Transport = f
	return f
}

// capabilities.md row 72: people sign in, and stay signed in, from the organization's networks alone.
func TestPeopleSignInFromTheNetworksOfTheirOrganizationAlone(t *testing.T) {
	w := worldIn(t, t.TempDir(), func(c *config) {
		c.Proxies = web.Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.9.0.0/16")}
	})
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	place := b.at("203.0.113.5")
	tok := b.signIn(w, func(v url.Values) { in(c.org)(v); v.Set("scope", "openid") })

	w.policy(c.org, map[string]string{"login.networks": `["192.0.2.0/24","2001:db8::/32"]`})
	if code, fault := b.silently(w, in(c.org)); code != "" || fault != "access_denied" {
		t.Errorf("a running session from elsewhere: %q", fault)
	}
	p := b.authorize(w, w.request(in(c.org)))
	if p.status != http.StatusForbidden || !strings.Contains(textOf(p.body), "You can’t sign in from here") {
		t.Errorf("%d %s", p.status, textOf(p.body))
	}
	if status, _ := w.userinfo(tok.Access); status != http.StatusOK {
		t.Errorf("an app, which is on no network of the person, is refused: %d", status)
	}
	for _, c2 := range []struct {
		from string
		ok   bool
	}{
		{"192.0.2.77", true}, {"2001:db8::1", true}, {"::ffff:192.0.2.77", true}, {"192.0.3.1", false},
		{"192.0.2.77, 203.0.113.5", false}, // the first is what a liberal client wrote itself
		{"203.0.113.5, 192.0.2.77", true},
		{"192.0.2.77, 10.9.1.1", true}, // behind two proxies
		{"nonsense", false},
	} {
		place.address = c2.from
		if code, fault := b.silently(w, in(c.org)); (code != "") != c2.ok {
			t.Errorf("from %s: %q %s", c2.from, code, fault)
		}
	}
	// A new sign-in from elsewhere ends before anything is issued, with who demands it in the story.
	stranger := newBrowser(t)
	stranger.at("203.0.113.9")
	p = stranger.authorize(w, w.request(in(c.org)))
	if p.status != http.StatusForbidden || stranger.cookies()["vs"] != "" {
		t.Errorf("%d, session %q", p.status, stranger.cookies()["vs"])
	}
	traces := w.says("trace "+codeOf(t, p), 0)
	if !strings.Contains(traces, "login.networks") && !strings.Contains(traces, "networks") {
		t.Errorf("the story does not say why:\n%s", traces)
	}
	// S31: whoever proved nothing learns nothing of the organization's networks.
	p = stranger.depart(w, w.request(in(c.org)))
	if strings.Contains(p.body, "network") {
		t.Error("a stranger is told of the organization's networks")
	}
}

func codeOf(t *testing.T, p *page) string {
	t.Helper()
	at := strings.Index(p.body, "VB-")
	if at < 0 {
		t.Fatalf("no trace code on the page: %s", textOf(p.body))
	}
	return p.body[at : at+12]
}

// An organization may use its parent's provider, and hold it to more than the parent does.
func TestSAMLProvidersAreHeldToThePolicyOfTheOrganizationThatTheLoginIsFor(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", func(c *upstream.Connection, _ *saml.Config) { c.Offered = true })
	strict := w.addOrg("strict", c.org)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	w.member(strict, w.person(c, "acme-1").ID, "")
	again := func(org directory.OrgID) request {
		return w.request(func(v url.Values) { in(org)(v); v.Set("prompt", "login") })
	}
	if to := b.depart(w, again(strict)).header.Get("Location"); strings.Contains(to, "Signature=") {
		t.Fatal("requests are signed, and nobody wanted it")
	}
	w.policy(strict, map[string]string{"sso.saml_signed_requests": "true"})
	if to := b.depart(w, again(strict)).header.Get("Location"); !strings.Contains(to, "&Signature=") {
		t.Errorf("the request is not signed: %s", to)
	}
	if to := b.depart(w, again(c.org)).header.Get("Location"); strings.Contains(to, "Signature=") {
		t.Error("a child's policy holds for its parent")
	}
	b.signIn(w, func(v url.Values) { in(strict)(v); v.Set("prompt", "login") })

	w.policy(strict, map[string]string{"sso.saml_encryption": "true"})
	p := b.authorize(w, again(strict))
	if p.url.Host == "127.0.0.1:5555" || !strings.Contains(textOf(p.body), "encrypt") {
		t.Errorf("an assertion in the clear: %s %d %s", p.url, p.status, textOf(p.body))
	}
	b.signIn(w, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
	_, doc := w.document(strings.TrimPrefix(upstream.MetadataURL(w.url, c.con.ID), w.url), nil)
	sp, err := fakeidp.ParseSP([]byte(doc))
	w.must(err)
	clear := fakeidp.SP{EntityID: sp.EntityID, ACS: sp.ACS}
	c.idp.AddSP(sp)
	b.signIn(w, func(v url.Values) { in(strict)(v); v.Set("prompt", "login") })
	c.idp.AddSP(clear)

	// What changes while the browser is at the provider holds when it comes back.
	w.policy(strict, map[string]string{"sso.saml_encryption": "false"})
	departure := b.depart(w, again(strict))
	answer := b.atProvider(w, departure)
	w.policy(strict, map[string]string{"sso.saml_encryption": "true"})
	if p := b.follow(b.deliver(answer)); p.url.Host == "127.0.0.1:5555" {
		t.Error("the policy of when the browser was sent away held")
	}

	w.policy(strict, map[string]string{"sso.saml_encryption": "false", "sso.signature_algorithms": `["ES256"]`})
	if p := b.authorize(w, again(strict)); p.url.Host == "127.0.0.1:5555" {
		t.Error("an algorithm that the organization refuses was believed from its parent's provider")
	}
}

// Signing in makes members only where the organization is open; whom it knows already it goes on knowing.
func TestSigningInMakesMembersWhereTheOrganizationIsOpen(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.people("ada", "ada@acme.example", "ben", "ben@acme.example", "cyd", "cyd@acme.example")
	known := newBrowser(t)
	known.signIn(w, in(c.org))
	invited := w.account(c.org, "cyd@acme.example", w.clock.now())
	for i, join := range []string{"approval", "invited", "provisioned"} {
		w.policy(c.org, map[string]string{"members.join": `"` + join + `"`})
		c.idp.SetAuto("ben")
		p := newBrowser(t).authorize(w, w.request(in(c.org)))
		if p.status != http.StatusForbidden || !strings.Contains(textOf(p.body), "You don’t have access to Acme") {
			t.Errorf("%s: %d %s", join, p.status, textOf(p.body))
		}
		if code, fault := known.silently(w, in(c.org)); code == "" {
			t.Errorf("%s: a member is no member any more: %s", join, fault)
		}
		c.idp.SetAuto("ada")
		newBrowser(t).signIn(w, in(c.org))
		if i == 0 {
			continue
		}
		c.idp.SetAuto("cyd") // an account was made for them, which the provider's word is linked to
		newBrowser(t).signIn(w, in(c.org))
		if got := w.person(c, "cyd").ID; got != invited {
			t.Errorf("%s: %s signed in and not %s", join, got, invited)
		}
	}
	w.policy(c.org, map[string]string{"members.join": `"open"`})
	c.idp.SetAuto("ben")
	newBrowser(t).signIn(w, in(c.org))
}

// S2: another organization's connection is worth nothing until the policy of this one names it, and then it
// counts for whom this one knows, while it is switched on.
func TestS2AnotherOrganizationsConnectionCountsWherePolicyNamesIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	acme.people("ada", "ada@acme.example", "eve", "eve@acme.example")
	host := w.addOrg("host", "")
	child := w.addOrg("child", host)
	b := newBrowser(t)
	b.signIn(w, in(acme.org))
	ada := w.person(acme, "ada").ID
	for _, org := range []directory.OrgID{host, child} {
		if code, _ := b.silently(w, in(org)); code != "" {
			t.Fatal("a stranger is in")
		}
		w.member(org, ada, "") // by its own account of her, not by Acme's
		if code, _ := b.silently(w, in(org)); code != "" {
			t.Fatal("Acme's word counts where nobody named it")
		}
	}
	w.policy(host, map[string]string{"login.trusted_connections": `["` + string(acme.con.ID) + `"]`})
	for _, org := range []directory.OrgID{host, child} { // what is set holds below
		if code, fault := b.silently(w, in(org)); code == "" {
			t.Errorf("Acme's word does not count where it was named: %s", fault)
		}
	}
	w.policy(child, map[string]string{"login.trusted_connections": `[]`})
	if code, _ := b.silently(w, in(child)); code != "" {
		t.Error("a child that trusts nobody trusts whom its parent does")
	}
	stranger := newBrowser(t)
	acme.idp.SetAuto("eve")
	stranger.signIn(w, in(acme.org))
	if code, _ := stranger.silently(w, in(host)); code != "" {
		t.Error("whoever Acme names is a member")
	}
	w.change(acme, func(c *upstream.Connection) { c.Status = upstream.Disabled })
	if code, _ := b.silently(w, in(host)); code != "" {
		t.Error("a connection that is switched off counts")
	}
	w.change(acme, func(c *upstream.Connection) { c.Status = upstream.Active })
	w.policy(host, map[string]string{"login.trusted_connections": `["con_gone"]`})
	if code, _ := b.silently(w, in(host)); code != "" {
		t.Error("a connection that is not named counts")
	}
}
