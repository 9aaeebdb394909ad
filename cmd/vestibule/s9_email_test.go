package main

import (
	"net/url"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// emailOf is what the id token and userinfo say of the address, in one line; they must agree.
func emailOf(t *testing.T, w *world, b *browser, change func(url.Values)) string {
	t.Helper()
	tok := b.signIn(w, change)
	_, info := w.userinfo(tok.Access)
	say := func(c map[string]any) string {
		mail, ok := c["email"].(string)
		verified, said := c["email_verified"].(bool)
		switch {
		case !ok && said, ok && !said:
			return "half an answer"
		case !ok:
			return "withheld"
		case verified:
			return mail + " verified"
		}
		return mail + " unverified"
	}
	id := say(claims(t, tok.ID))
	if got := say(info); got != id {
		t.Errorf("id token: %s, userinfo: %s", id, got)
	}
	return id
}

// lenient is an app that takes addresses that nobody verified.
func (w *world) lenient(orgs ...directory.OrgID) *world {
	app, secret := w.addApp("lenient", func(a *broker.App) { a.AnyEmail = true })
	for _, o := range orgs {
		w.must(w.h.directory.Entitle(w.t.Context(), operator, directory.Entitlement{Org: o, App: app.ID}))
	}
	other := *w
	other.app, other.secret = app, secret
	return &other
}

// email_verified is true only for a domain that is the token's organization's now, of an address that is
// the person's identifier.
func TestS9AnAddressIsVerifiedOnlyByTheTokensOrganization(t *testing.T) {
	w := newWorld(t)
	home, host := w.addOIDC("home", nil), w.addOIDC("host", nil)
	below := w.addOrg("below", home.org)
	w.change(home, func(c *upstream.Connection) { c.Offered = true })
	lax := w.lenient(home.org, host.org, below)
	b := newBrowser(t)
	if got := emailOf(t, w, b, in(home.org)); got != "ada@home.example verified" {
		t.Errorf("at home: %s", got)
	}
	ada := w.person(home, "home-1").ID
	w.member(host.org, ada, home.con.ID)
	w.member(below, ada, "")
	for _, c := range []struct {
		what     string
		w        *world
		org      directory.OrgID
		expected string
	}{
		{"a guest's, at the host", w, host.org, "withheld"},
		{"a guest's, at the host, for an app that takes any", lax, host.org, "ada@home.example unverified"},
		{"below the organization that verified it", w, below, "ada@home.example verified"},
	} {
		if got := emailOf(t, c.w, b, in(c.org)); got != c.expected {
			t.Errorf("%s: %s, want %s", c.what, got, c.expected)
		}
	}
}

// The claim is checked at each issue: it follows the domain, not the day of the first login.
func TestS9VerificationIsCheckedNow(t *testing.T) {
	for name, gone := range map[string]func(w *world, c company){
		"released": func(w *world, c company) {
			w.must(w.h.directory.ReleaseDomain(w.t.Context(), c.org, "home.example"))
		},
		"doubtful": func(w *world, c company) { w.domain(c, func(d *directory.Domain) { d.Doubtful = true }) },
		"another's": func(w *world, c company) {
			w.must(w.h.directory.ReleaseDomain(w.t.Context(), c.org, "home.example"))
			w.must(w.h.directory.DeclareDomain(w.t.Context(), operator, w.addOrg("buyer", ""), "home.example", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.addOIDC("home", nil)
			b := newBrowser(t)
			tok := b.signIn(w, in(c.org))
			gone(w, c)
			if _, info := w.userinfo(tok.Access); info["email"] != nil {
				t.Errorf("userinfo: %v", info)
			}
			if got := emailOf(t, w, b, in(c.org)); got != "withheld" {
				t.Errorf("the next token: %s", got)
			}
			if got := emailOf(t, w.lenient(c.org), b, in(c.org)); got != "ada@home.example unverified" {
				t.Errorf("for an app that takes any: %s", got)
			}
		})
	}
}

// nOAuth: a provider that sends an address without vouching for it, or one that it does not own.
func TestS9AProvidersWordAloneVerifiesNothing(t *testing.T) {
	w := newWorld(t)
	bank := w.addOIDC("bank", nil)
	rogue := w.addOIDC("rogue", nil)
	lax := w.lenient(rogue.org, bank.org)

	rogue.idp.SetMisbehavior("unverified-email")
	b := newBrowser(t)
	if got := emailOf(t, w, b, in(rogue.org)); got != "withheld" {
		t.Errorf("not vouched for: %s", got)
	}
	if got := emailOf(t, lax, b, in(rogue.org)); got != "ada@rogue.example unverified" {
		t.Errorf("not vouched for, for an app that takes any: %s", got)
	}
	// The account exists; now its provider says it were the bank's.
	rogue.idp.SetMisbehavior("")
	rogue.people("rogue-1", "ada@bank.example")
	p := newBrowser(t).authorize(w, w.request(in(rogue.org)))
	if p.sent() != "" {
		t.Error("signed in with an address of the bank")
	}
	if q := w.person(rogue, "rogue-1"); q.Email == "ada@bank.example" {
		t.Error("the address of the bank was kept")
	}
	// And an administrator writes it into the account by hand.
	w.must(w.h.directory.UpdatePerson(t.Context(), rogue.org, w.person(rogue, "rogue-1").ID, func(q *directory.Person) error {
		q.Email, q.EmailSince = "ada@bank.example", w.clock.now()
		return nil
	}))
	if got := emailOf(t, w, b, in(rogue.org)); got != "withheld" {
		t.Errorf("an address of the bank under our signature: %s", got)
	}
	if got := emailOf(t, lax, b, in(rogue.org)); got != "ada@bank.example unverified" {
		t.Errorf("for an app that takes any: %s", got)
	}
}

// An address that the provider changed is verified only when it becomes an identifier again.
func TestS9AChangedAddressIsNotVerifiedByTheOldOne(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	if got := emailOf(t, w, b, in(c.org)); got != "ada@acme.example verified" {
		t.Fatal(got)
	}
	ceo := w.account(c.org, "ceo@acme.example", w.clock.now())
	c.people("acme-1", "ceo@acme.example")
	w.clock.pass(time.Minute)
	if got := emailOf(t, w, newBrowser(t), in(c.org)); got != "withheld" {
		t.Errorf("the address that identifies %s is verified for somebody else: %s", ceo, got)
	}
}
