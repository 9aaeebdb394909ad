package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
)

// hostile is a world of two organizations. Bank is the victim's: Vera is at home there and Mallory works
// there too. Rogue belongs to the attacker, its identity provider says whatever it likes; Vera is a guest
// there, and an account of Rogue's provider is linked to her. Mallory is a guest of Rogue as well.
type hostile struct {
	*world
	bank, rogue   company
	vera, mallory directory.PersonID
}

func newHostile(t *testing.T) *hostile {
	w := newWorld(t)
	h := &hostile{world: w, bank: w.addOIDC("bank", nil), rogue: w.addOIDC("rogue", nil)}
	h.bank.people("vera", "vera@bank.example", "mallory", "mallory@bank.example")
	h.rogue.people("r-vera", "vera@rogue.example", "r-own", "own@rogue.example")
	h.vera, h.mallory = h.join("vera"), h.join("mallory")
	h.member(h.rogue.org, h.vera, "")
	h.member(h.rogue.org, h.mallory, "")
	h.link(h.rogue, "r-vera", h.vera)
	return h
}

// join lets somebody of the bank sign in for the first time.
func (h *hostile) join(subject string) directory.PersonID {
	h.t.Helper()
	h.bank.idp.SetAuto(subject)
	newBrowser(h.t).signIn(h.world, in(h.bank.org))
	return h.person(h.bank, subject).ID
}

// The organization of an attacker signs somebody in who is a guest there, and asks for their home.
func TestS2ASessionOfAIsWorthNothingInB(t *testing.T) {
	h := newHostile(t)
	h.bank.idp.SetAuto("") // the bank's provider asks for a password from now on
	b := newBrowser(t)
	if got := claims(t, b.signIn(h.world, in(h.rogue.org)).ID)["sub"]; got != string(h.vera) {
		t.Fatalf("the story does not begin: signed in as %v", got)
	}
	if code, fault := b.silently(h.world, in(h.bank.org)); code != "" || fault != "interaction_required" {
		t.Errorf("prompt=none for the bank: code %q, error %q", code, fault)
	}
	p := b.authorize(h.world, h.request(in(h.bank.org)))
	if p.url.Host == "127.0.0.1:5555" || !strings.HasPrefix(p.url.String(), h.bank.idp.Base) {
		t.Errorf("the bank did not ask for itself: %s", p.url)
	}
	if strings.Contains(p.url.RawQuery, "vera") {
		t.Errorf("the proof of Rogue told the bank's page who it is: %s", p.url)
	}
}

// Nor does it identify: Rogue's word does not make us tell where else Vera belongs.
func TestS2AProofDoesNotTellOfOtherOrganizations(t *testing.T) {
	h := newHostile(t)
	third := h.addOIDC("third", nil)
	h.member(third.org, h.vera, "")
	b := newBrowser(t)
	b.signIn(h.world, in(h.rogue.org))
	if code, fault := b.silently(h.world, nil); code == "" {
		t.Errorf("Rogue is the only organization that the proof is good for, and was not taken: %q", fault)
	}
	for _, change := range []func(url.Values){nil, func(v url.Values) { v.Set("login_hint", "own@rogue.example") }} {
		p := b.authorize(h.world, h.request(change))
		for _, name := range []string{"Bank", "Third"} {
			if strings.Contains(textOf(p.body), name) {
				t.Errorf("told of %s: %s", name, textOf(p.body))
			}
		}
	}
}

// Mallory proves herself at the bank, and in the same login, or with the session that it left, Rogue's
// provider says that she is Vera: what Mallory proved at the bank does not become Vera's.
func TestS2WhatSomebodyElseProvedIsNotMine(t *testing.T) {
	for name, goOn := range map[string]func(h *hostile, b *browser, p *page) *page{
		"the picker of the same login": func(h *hostile, b *browser, p *page) *page { return b.pick(p, h.rogue.org) },
		"the session": func(h *hostile, b *browser, p *page) *page {
			b.pick(p, h.bank.org).code(h.t)
			return b.authorize(h.world, h.request(func(v url.Values) { in(h.rogue.org)(v); v.Set("prompt", "login") }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			h.member(h.rogue.org, h.mallory, h.bank.con.ID)
			h.rogue.idp.SetAuto("r-vera")
			h.bank.idp.SetAuto("mallory")
			b := newBrowser(t)
			goOn(h, b, b.answer(b.authorize(h.world, h.request(nil)), "identifier", "mallory@bank.example"))
			h.member(h.rogue.org, h.mallory, "")
			b.authorize(h.world, h.request(in(h.rogue.org)))
			h.bank.idp.SetAuto("")
			r := h.request(func(v url.Values) { in(h.bank.org)(v); v.Set("prompt", "none") })
			if code := b.authorize(h.world, r).url.Query().Get("code"); code != "" {
				if sub := claims(t, h.redeem(code, r.verifier).ID)["sub"]; sub != string(h.mallory) {
					t.Errorf("a code for %v in the bank", sub)
				}
			}
		})
	}
}

// pick presses an organization in the picker and goes on.
func (b *browser) pick(p *page, org directory.OrgID) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if strings.HasSuffix(f.action, "/choose") {
			f.values.Set("org", string(org))
			return b.follow(b.send(http.MethodPost, "http://"+p.url.Host+f.action, f.values, false))
		}
	}
	b.t.Fatalf("no picker at %s: %s", p.url, textOf(p.body))
	return nil
}

// A guest's membership names the connection that the organization accepts: that one counts, and no other.
func TestS2AGuestIsProvedByTheConnectionThatTheMembershipNames(t *testing.T) {
	h := newHostile(t)
	h.rogue.idp.SetAuto("r-own")
	newBrowser(t).signIn(h.world, in(h.rogue.org))
	own := h.person(h.rogue, "r-own").ID
	h.bank.idp.SetAuto("")

	b := newBrowser(t)
	b.signIn(h.world, in(h.rogue.org))
	h.member(h.bank.org, own, "")
	if code, _ := b.silently(h.world, in(h.bank.org)); code != "" {
		t.Error("a guest whose membership names no connection was let in by one")
	}
	h.member(h.bank.org, own, h.bank.con.ID)
	if code, _ := b.silently(h.world, in(h.bank.org)); code != "" {
		t.Error("a guest was let in by another connection than the named one")
	}
	h.member(h.bank.org, own, h.rogue.con.ID)
	if code, fault := b.silently(h.world, in(h.bank.org)); code == "" {
		t.Errorf("the named connection does not count: %q", fault)
	}
	// What lets a guest in lets nobody else in.
	h.rogue.idp.SetAuto("r-vera")
	v := newBrowser(t)
	v.signIn(h.world, in(h.rogue.org))
	if code, _ := v.silently(h.world, in(h.bank.org)); code != "" {
		t.Error("Vera was let into the bank by a connection that another guest's membership names")
	}
}

// A connection that is offered counts below its organization, not above and not beside.
func TestS2AnOfferedConnectionCountsBelowAlone(t *testing.T) {
	w := newWorld(t)
	top := w.addOrg("top", "")
	left := w.connectOIDC(w.addOrg("left", top), "left", func(c *upstream.Connection, _ *oidc.Config) { c.Offered = true })
	right, below := w.addOrg("right", top), w.addOrg("below", left.org)
	b := newBrowser(t)
	b.signIn(w, in(left.org))
	ada := w.person(left, "left-1").ID
	for name, c := range map[string]struct {
		org  directory.OrgID
		good bool
	}{"above": {top, false}, "beside": {right, false}, "below": {below, true}} {
		w.member(c.org, ada, "")
		if code, fault := b.silently(w, in(c.org)); (code != "") != c.good {
			t.Errorf("%s: code %q, error %q", name, code, fault)
		}
	}
	w.change(left, func(c *upstream.Connection) { c.Offered = false })
	if code, _ := b.silently(w, in(below)); code != "" {
		t.Error("below, it still counts when it is offered no more")
	}
}

// Whatever Rogue's provider says, whatever Rogue's administrators set, and whatever Mallory does with her
// own account at the bank: nobody but Mallory herself ever gets a code that is good in the bank.
func TestS2NoSequenceOfLoginsLinksAndSwitchesGivesACodeInB(t *testing.T) {
	h := newHostile(t)
	h.bank.people("mallory", "mallory@bank.example") // Vera is never at the keyboard
	subjects := []string{"r-vera", "r-own", "r-new", "vera", "bank-mallory"}
	addresses := []string{"vera@bank.example", "mallory@bank.example", "own@rogue.example", "bank", "rogue", "nobody@nowhere.example"}
	good := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		b := newBrowser(t)
		p := b.get(h.world, "/authorize")
		var pending []request
		did := []string{}
		judge := func(what string) {
			did = append(did, what)
			if p.url.Host != "127.0.0.1:5555" {
				return
			}
			code, state := p.url.Query().Get("code"), p.url.Query().Get("state")
			p = b.get(h.world, "/authorize")
			for _, r := range pending {
				if code == "" || r.Get("state") != state {
					continue
				}
				tok := h.redeem(code, r.verifier)
				if tok.Status != http.StatusOK {
					continue
				}
				c := claims(t, tok.ID)
				good[c["org_id"].(string)]++
				if c["org_id"] == string(h.bank.org) && c["sub"] != string(h.mallory) {
					rt.Fatalf("a token of %v in the bank after %v", c["sub"], did)
				}
			}
		}
		start := func(change func(url.Values)) {
			r := h.request(change)
			pending = append(pending, r)
			p = b.authorize(h.world, r)
		}
		form := func(suffix string, fill func(url.Values)) bool {
			for _, f := range forms(p) {
				if strings.HasSuffix(f.action, suffix) {
					fill(f.values)
					p = b.follow(b.send(http.MethodPost, h.url+f.action, f.values, false))
					return true
				}
			}
			return false
		}
		orgs := []directory.OrgID{h.bank.org, h.rogue.org}
		org := func() directory.OrgID { return rapid.SampledFrom(orgs).Draw(rt, "org") }
		rt.Repeat(map[string]func(*rapid.T){
			"organization": func(*rapid.T) {
				o := org()
				start(in(o))
				judge("organization=" + string(o))
			},
			"silent": func(*rapid.T) {
				o := org()
				start(func(v url.Values) { in(o)(v); v.Set("prompt", "none") })
				judge("silent " + string(o))
			},
			"anything": func(*rapid.T) { start(nil); judge("no organization") },
			"another": func(rt *rapid.T) {
				prompt := rapid.SampledFrom([]string{"select_account", "login", "consent"}).Draw(rt, "prompt")
				start(func(v url.Values) { v.Set("prompt", prompt) })
				judge("prompt=" + prompt)
			},
			"hint": func(rt *rapid.T) {
				hint := rapid.SampledFrom(addresses).Draw(rt, "hint")
				start(func(v url.Values) { v.Set("login_hint", hint) })
				judge("hint " + hint)
			},
			"type": func(rt *rapid.T) {
				typed := rapid.SampledFrom(addresses).Draw(rt, "typed")
				if form("/identify", func(v url.Values) { v.Set("identifier", typed) }) {
					judge("typed " + typed)
				}
			},
			"card": func(*rapid.T) {
				o := org()
				if form("/identify", func(v url.Values) { v.Del("identifier"); v.Set("org", string(o)) }) {
					judge("card " + string(o))
				}
			},
			"pick": func(*rapid.T) {
				o := org()
				if form("/choose", func(v url.Values) { v.Set("org", string(o)); v.Set("remember", "1") }) {
					judge("picked " + string(o))
				}
			},
			"account": func(rt *rapid.T) {
				if !strings.HasPrefix(p.url.Path, "/select/") {
					return
				}
				var offered []string
				for _, session := range p.accounts() {
					offered = append(offered, session)
				}
				slices.Sort(offered)
				if len(offered) == 0 {
					return
				}
				chosen := rapid.SampledFrom(offered).Draw(rt, "account")
				p = b.takes(p, chosen)
				judge("account " + chosen)
			},
			"agree": func(*rapid.T) {
				if strings.HasPrefix(p.url.Path, "/consent/") {
					p = b.decides(p, "allow")
					judge("agreed")
				}
			},
			"other": func(*rapid.T) {
				if strings.HasPrefix(p.url.Path, "/login/") && p.url.Host != "127.0.0.1:5555" {
					p = b.follow(b.get(h.world, p.url.Path+"?other=1"))
					judge("other")
				}
			},
			"rogue says": func(rt *rapid.T) {
				who := rapid.SampledFrom(subjects).Draw(rt, "who")
				mail := rapid.SampledFrom(addresses[:3]).Draw(rt, "mail")
				h.rogue.people(who, mail)
				did = append(did, "Rogue's provider says "+who+" "+mail)
			},
			"rogue's administrator": func(rt *rapid.T) {
				n := rapid.IntRange(0, 31).Draw(rt, "settings")
				h.change(h.rogue, func(c *upstream.Connection) {
					c.Offered, c.Authoritative, c.Guests = n&1 > 0, n&2 > 0, n&4 > 0
				})
				accepts := directory.ConnectionID("")
				if n&8 > 0 {
					accepts = h.bank.con.ID
				}
				h.member(h.rogue.org, h.mallory, accepts)
				h.member(h.rogue.org, h.vera, accepts)
				did = append(did, "Rogue's administrator")
			},
			"leave": func(rt *rapid.T) {
				if rapid.Bool().Draw(rt, "everything") {
					b = newBrowser(t)
				}
				p = b.get(h.world, "/authorize")
			},
		})
	})
	if good[string(h.bank.org)] == 0 || good[string(h.rogue.org)] == 0 {
		t.Errorf("the walk never got anywhere, so it proved nothing: %v", good)
	}
}

// Nothing crosses realms: a session of one realm is never read for another.
func TestS26ASessionOfOneRealmIsNeverReadInAnother(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	bravo := directory.NewRealmID(w.clock.now())
	w.must(w.h.directory.AddRealm(t.Context(), operator, directory.Realm{ID: bravo, Handle: "bravo", Scope: directory.ScopeRealm, Status: directory.Active}))
	org := w.addOrgIn(bravo, "emea", "")
	emea := *w
	emea.main = bravo
	there := emea.connectOIDC(org, "emea", nil)
	b := newBrowser(t)
	one := claims(t, b.signIn(w, in(acme.org)).ID)
	if code, fault := b.silently(w, in(there.org)); code != "" || fault == "" {
		t.Errorf("a session of realm main opened an organization of bravo: %q", fault)
	}
	two := claims(t, b.signIn(w, in(there.org)).ID)
	if one["sub"] == two["sub"] || one["realm"] == two["realm"] || two["realm"] != string(bravo) {
		t.Errorf("the realms are one: %v %v", one, two)
	}
	if err := w.h.directory.AddMember(t.Context(), operator, directory.Membership{Org: there.org, Person: w.person(acme, "acme-1").ID, Kind: "guest", Status: directory.Active}); err == nil {
		t.Error("a person of one realm became a member in another")
	}
	// An address typed at an app of realm main finds nothing of bravo.
	stranger := newBrowser(t)
	p := stranger.authorize(w, w.request(nil))
	if p = stranger.answer(p, "identifier", "ada@emea.example"); p.url.Host == "127.0.0.1:5555" {
		t.Error("an address of another realm was found")
	}
}
