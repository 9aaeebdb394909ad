package main

import (
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa/webauthn/webauthntest"
)

// These stories hold passkeys and security keys to protocols.md section 4, S2, S3, S11, S22 and S31.

const (
	acr1   = "urn:vestibule:acr:1fa"
	acr2   = "urn:vestibule:acr:2fa"
	acrPhr = "urn:vestibule:acr:phr"
)

// options are what a page gives to its script.
func (p *page) options(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(p.body, `data-options="`)
	text, _, _ := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no passkey is asked for at %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return html.UnescapeString(text)
}

// gives posts what the page's script would.
func (b *browser) gives(p *page, credential string) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if _, asks := f.values["credential"]; asks {
			to, err := p.url.Parse(f.action)
			if err != nil {
				b.t.Fatal(err)
			}
			f.values.Set("credential", credential)
			return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
		}
	}
	b.t.Fatalf("no form for a passkey on %s: %s", p.url, textOf(p.body))
	return nil
}

// withPasskey is an organization that wants passkeys, and somebody of it who set one up.
func withPasskey(t *testing.T, more map[string]string) (*world, company, *browser, *webauthntest.Device) {
	t.Helper()
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	wishes := map[string]string{"mfa.requirement": `"always"`, "mfa.phishing_resistant": `true`, "mfa.methods": `["passkey"]`}
	w.policy(acme.org, wishes)
	b := newBrowser(t)
	d := webauthntest.New(t, w.url)
	r := w.request(in(acme.org))
	p := b.authorize(w, r)
	if !strings.Contains(textOf(p.body), "Set up a passkey") {
		t.Fatalf("%s %d %s", p.url, p.status, textOf(p.body))
	}
	tok := w.redeem(b.gives(p, d.Create(p.options(t))).code(t), r.verifier)
	w.strong(tok, acrPhr)
	w.policy(acme.org, more)
	return w, acme, b, d
}

func (w *world) strong(tok tokenAnswer, acr string) {
	w.t.Helper()
	got := claims(w.t, tok.ID)
	if got["acr"] != acr || acr == acrPhr && (!slices.Contains(texts(got["amr"]), "mfa") || !slices.Contains(texts(got["amr"]), "user")) {
		w.t.Errorf("acr %v, amr %v, want %s", got["acr"], got["amr"], acr)
	}
}

func TestAPasskeyIsSetUpInTheLoginAndAskedForInTheNext(t *testing.T) {
	w, acme, b, d := withPasskey(t, nil)
	w.strong(b.signIn(w, in(acme.org)), acrPhr)
	other := newBrowser(t)
	r := w.request(in(acme.org))
	p := other.authorize(w, r)
	if !strings.Contains(textOf(p.body), "Use your passkey") {
		t.Fatalf("%s", textOf(p.body))
	}
	// What a false page got from the device is nothing here, and costs a try and no more.
	far := d.Clone()
	far.Origin = "https://evil.example"
	before := p.options(t)
	p = other.gives(p, far.Get(before))
	if !strings.Contains(textOf(p.body), "4 tries left") || p.options(t) == before {
		t.Errorf("%s", textOf(p.body))
	}
	w.strong(w.redeem(other.gives(p, d.Get(p.options(t))).code(t), r.verifier), acrPhr)
	// Another person's passkey is none of Ada's.
	acme.people("acme-1", "ada@acme.example", "acme-2", "bob@acme.example")
	acme.idp.SetAuto("acme-2")
	bob := newBrowser(t)
	p = bob.authorize(w, w.request(in(acme.org)))
	bobs := webauthntest.New(t, w.url)
	bob.gives(p, bobs.Create(p.options(t))).code(t)
	acme.idp.SetAuto("acme-1")
	third := newBrowser(t)
	p = third.authorize(w, w.request(in(acme.org)))
	if p = third.gives(p, bobs.Any(p.options(t))); p.url.Host == "127.0.0.1:5555" {
		t.Error("Bob's passkey confirmed Ada")
	}
}

// S11: a security key that recognizes nobody is one thing held, so it makes two with a sign-in and is no
// phishing-resistant sign-in by itself; nor is it found without its owner being known.
func TestS11ASecurityKeyIsASecondStepAndNoMore(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["security_key", "passkey"]`, "mfa.phishing_resistant": `true`})
	d := webauthntest.New(t, w.url)
	d.Verifies = false
	b, r := newBrowser(t), w.request(in(acme.org))
	p := b.answer2(b.authorize(w, r), "method", "security_key")
	w.strong(w.redeem(b.gives(p, d.Create(p.options(t))).code(t), r.verifier), acr2)
	other := newBrowser(t)
	r = w.request(in(acme.org))
	p = other.authorize(w, r)
	w.strong(w.redeem(other.gives(p, d.Get(p.options(t))).code(t), r.verifier), acr2)
	// An app that asks for more gets a passkey set up, and nothing less.
	r = w.request(func(v url.Values) {
		in(acme.org)(v)
		v.Set("claims", `{"id_token":{"acr":{"essential":true,"value":"`+acrPhr+`"}}}`)
	})
	p = other.authorize(w, r)
	if !strings.Contains(textOf(p.body), "Set up a passkey") {
		t.Fatalf("%s %s", p.url, textOf(p.body))
	}
	better := webauthntest.New(t, w.url)
	w.strong(w.redeem(other.gives(p, better.Create(p.options(t))).code(t), r.verifier), acrPhr)
	first := newBrowser(t)
	p = first.authorize(w, w.request(func(url.Values) {}))
	if p = first.gives(p, d.Any(p.options(t))); !strings.Contains(textOf(p.body), "not accepted") {
		t.Errorf("%s %s", p.url, textOf(p.body))
	}
}

// Without an organization the page asks for any passkey, and whoever has one is in: in their home, with no
// identity provider, and as phishing-resistant as it gets.
func TestAPasskeyAloneSignsIn(t *testing.T) {
	w, acme, _, d := withPasskey(t, map[string]string{"login.sso_required": `false`})
	ask := func(b *browser, r request) *page {
		t.Helper()
		p := b.authorize(w, r)
		if !strings.Contains(p.body, "Sign in with a passkey") || strings.Contains(p.options(t), "allowCredentials") {
			t.Fatalf("%s %s", textOf(p.body), p.options(t))
		}
		return p
	}
	b, r := newBrowser(t), w.request(func(url.Values) {})
	p := ask(b, r)
	v := d.Any(p.options(t))
	tok := w.redeem(b.gives(p, v).code(t), r.verifier)
	w.strong(tok, acrPhr)
	if got := claims(t, tok.ID); got["email"] != "ada@acme.example" {
		t.Errorf("%v", got)
	}
	for _, hop := range b.hops {
		if strings.HasPrefix(hop, acme.idp.Base) {
			t.Error("the provider was asked")
		}
	}
	// S31: a typed or hinted address changes nothing of what is asked.
	hinted := newBrowser(t)
	q := ask(hinted, w.request(func(v url.Values) { v.Set("login_hint", "ada@elsewhere.example") }))
	if strings.Contains(q.options(t), "id\":") && strings.Contains(q.options(t), "allow") {
		t.Errorf("%s", q.options(t))
	}
	// An answer is for the login that asked, once.
	if q = hinted.gives(q, v); q.url.Host == "127.0.0.1:5555" || !strings.Contains(textOf(q.body), "not accepted") {
		t.Errorf("replayed: %s %s", q.url, textOf(q.body))
	}
	// A device that does not recognize its user is nobody, and so is one that nobody set up.
	d.Verifies = false
	if q = hinted.gives(q, d.Any(q.options(t))); q.url.Host == "127.0.0.1:5555" {
		t.Error("nobody was recognized")
	}
	d.Verifies = true
	stranger := webauthntest.New(t, w.url)
	stranger.Create(`{"challenge":"eA","rp":{"id":"localhost"},"user":{"id":"eA"}}`)
	if q = hinted.gives(q, stranger.Any(q.options(t))); q.url.Host == "127.0.0.1:5555" {
		t.Error("nobody's passkey")
	}
	if got := w.recorded(acme.org, "factor.doubted"); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
}

// On the page of an organization that leaves its people the choice, the same button stands.
func TestAnOrganizationsPageOffersPasskeysWhereItsRulesDo(t *testing.T) {
	w, acme, _, d := withPasskey(t, map[string]string{"login.sso_required": `false`, "login.methods": `["sso", "passkey"]`})
	b, r := newBrowser(t), w.request(in(acme.org))
	p := b.authorize(w, r)
	if text := textOf(p.body); !strings.Contains(text, "Continue with Okta of acme") || !strings.Contains(text, "Sign in with a passkey") || strings.Contains(text, "Password") {
		t.Fatalf("%s", text)
	}
	w.strong(w.redeem(b.gives(p, d.Any(p.options(t))).code(t), r.verifier), acrPhr)
	w.policy(acme.org, map[string]string{"login.methods": `["sso", "password"]`})
	if p = newBrowser(t).authorize(w, w.request(in(acme.org))); strings.Contains(p.body, "Sign in with a passkey") {
		t.Error("a passkey is offered that the rules do not allow")
	}
	// S31: an address that nobody has is asked as one that somebody has.
	var pages []string
	for _, typed := range []string{"ada@nowhere.example", "bob@nowhere.example"} {
		b := newBrowser(t)
		p := b.answer(b.authorize(w, w.request(func(url.Values) {})), "identifier", typed)
		pages = append(pages, strings.ReplaceAll(textOf(p.body), typed, "?"))
	}
	if pages[0] != pages[1] || !strings.Contains(pages[0], "Sign in with a passkey") {
		t.Errorf("%q", pages)
	}
}

// A copy of a device is refused where it signs in and where it confirms, and its owner's administrators can
// read so.
func TestACopiedPasskeyIsRefusedAndRecorded(t *testing.T) {
	w, acme, _, d := withPasskey(t, map[string]string{"login.sso_required": `false`})
	twin := d.Clone()
	b, r := newBrowser(t), w.request(func(url.Values) {})
	p := b.authorize(w, r)
	b.gives(p, d.Any(p.options(t))).code(t)
	b = newBrowser(t)
	p = b.authorize(w, w.request(func(url.Values) {}))
	if p = b.gives(p, twin.Any(p.options(t))); !strings.Contains(textOf(p.body), "There may be a copy") {
		t.Errorf("%s %s", p.url, textOf(p.body))
	}
	if got := w.recorded(acme.org, "factor.doubted"); len(got) != 1 {
		t.Errorf("recorded %v", got)
	}
}

// Whose rules send them to an identity provider go there, passkey or not: it then stands for the second step
// alone. A session that a passkey opened ends when the rule comes.
func TestAPasskeyOpensNothingWhereTheRulesSendPeopleToTheirProvider(t *testing.T) {
	w, acme, _, d := withPasskey(t, map[string]string{"login.sso_required": `false`})
	alone := func() (b *browser, asked bool) {
		t.Helper()
		b = newBrowser(t)
		r := w.request(func(url.Values) {})
		p := b.authorize(w, r)
		w.strong(w.redeem(b.gives(p, d.Any(p.options(t))).code(t), r.verifier), acrPhr)
		return b, slices.ContainsFunc(b.hops, func(hop string) bool { return strings.Contains(hop, strings.TrimPrefix(acme.idp.Base, "http://")) })
	}
	b, asked := alone()
	if asked {
		t.Fatal("the provider was asked, and no rule says so")
	}
	for name, rule := range map[string]map[string]string{
		"login.sso_required": {"login.sso_required": `true`},
		"login.methods":      {"login.methods": `["sso"]`},
	} {
		wishes := map[string]string{"login.sso_required": `false`, "login.methods": `["sso", "passkey"]`}
		w.policy(acme.org, wishes)
		if code, fault := b.silently(w, in(acme.org)); code == "" {
			t.Fatalf("%s: the session does not go on before the rule: %s", name, fault)
		}
		w.policy(acme.org, rule)
		if _, asked := alone(); !asked {
			t.Errorf("%s: a passkey alone signed somebody in", name)
		}
		if code, fault := b.silently(w, in(acme.org)); code != "" || fault != "interaction_required" && fault != "login_required" {
			t.Errorf("%s: the session of a passkey goes on: %q %q", name, code, fault)
		}
	}
}

// S2: a passkey counts where it was set up and below. The organization where its owner is a guest, and any
// other, learns nothing from it.
func TestS2APasskeyOpensNoOtherOrganization(t *testing.T) {
	h := newHostile(t)
	h.policy(h.bank.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey"]`, "mfa.phishing_resistant": `true`})
	h.bank.idp.SetAuto("vera")
	d := webauthntest.New(t, h.url)
	b, r := newBrowser(t), h.request(in(h.bank.org))
	p := b.authorize(h.world, r)
	h.strong(h.redeem(b.gives(p, d.Create(p.options(t))).code(t), r.verifier), acrPhr)
	h.policy(h.bank.org, map[string]string{"login.sso_required": `false`})
	h.bank.idp.SetAuto("")
	h.rogue.idp.SetAuto("")
	// She signs in with it and lands at home, though she is a guest at the other: it does not count there.
	b, r = newBrowser(t), h.request(func(url.Values) {})
	p = b.authorize(h.world, r)
	got := claims(t, h.redeem(b.gives(p, d.Any(p.options(t))).code(t), r.verifier).ID)
	if got["sub"] != string(h.vera) || got["org_id"] != string(h.bank.org) {
		t.Errorf("%v", got)
	}
	if code, fault := b.silently(h.world, in(h.bank.org)); code == "" {
		t.Errorf("at home: %s", fault)
	}
	if code, fault := b.silently(h.world, in(h.rogue.org)); code != "" || fault != "interaction_required" && fault != "login_required" {
		t.Errorf("as a guest: %q %q", code, fault)
	}
	if p := b.authorize(h.world, h.request(in(h.rogue.org))); !strings.HasPrefix(p.url.String(), h.rogue.idp.Base) {
		t.Errorf("the other organization did not ask for itself: %s", p.url)
	}
}

// What somebody proved by a passkey goes on only while it is theirs: removed, it signs nobody in.
func TestARemovedPasskeySignsNobodyIn(t *testing.T) {
	w, acme, _, d := withPasskey(t, map[string]string{"login.sso_required": `false`})
	who := w.person(acme, "acme-1")
	list, err := w.h.store.EnrollmentsOf(t.Context(), acme.org, who.ID)
	w.must(err)
	b := newBrowser(t)
	p := b.authorize(w, w.request(func(url.Values) {}))
	w.must(w.h.store.RemoveEnrollment(t.Context(), acme.org, list[0].ID))
	if p = b.gives(p, d.Any(p.options(t))); p.url.Host == "127.0.0.1:5555" || !strings.Contains(textOf(p.body), "not accepted") {
		t.Errorf("%s %s", p.url, textOf(p.body))
	}
}

// A page that stood open asks anew when its question is over, and the passkey of somebody who is
// suspended lets nobody in.
func TestAnOldQuestionIsAskedAnewAndWhoeverIsSuspendedStaysOut(t *testing.T) {
	w, acme, _, d := withPasskey(t, nil)
	b := newBrowser(t)
	p := b.authorize(w, w.request(in(acme.org)))
	old := d.Get(p.options(t))
	w.clock.pass(11 * time.Minute)
	if p = b.gives(p, old); p.url.Host == "127.0.0.1:5555" || d.Get(p.options(t)) == "" {
		t.Errorf("%s %s", p.url, textOf(p.body))
	}
	w.policy(acme.org, map[string]string{"login.sso_required": `false`})
	who := w.person(acme, "acme-1")
	w.must(w.h.directory.SetPersonStatus(t.Context(), operator, acme.org, who.ID, directory.Suspended))
	b = newBrowser(t)
	p = b.authorize(w, w.request(func(url.Values) {}))
	if p = b.gives(p, d.Any(p.options(t))); p.status != http.StatusForbidden {
		t.Errorf("%s %d %s", p.url, p.status, textOf(p.body))
	}
}
