package main

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// answering are the three ways in which a provider's answer comes back.
func answering(t *testing.T, story func(t *testing.T, w *world, c company)) {
	for name, add := range map[string]func(*world) company{
		"OpenID, GET":  func(w *world) company { return w.addOIDC("acme", nil) },
		"OpenID, POST": func(w *world) company { return w.addOIDC("acme", formPost) },
		"SAML":         func(w *world) company { return w.addSAML("acme", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			story(t, w, add(w))
		})
	}
}

// The takeover by one link: the attacker starts a login, keeps the cookie, and lets the victim's browser
// bring the answer.
func TestS1AStartsBDeliversAReloads(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		a, b := newBrowser(t), newBrowser(t)
		departure := a.depart(w, w.request(in(c.org)))
		at := b.follow(b.deliver(b.atProvider(w, departure)))
		if at.status < 400 {
			t.Errorf("B was let on: %s %d", at.url, at.status)
		}
		b.nothing(w, at)
		a.nothing(w, a.get(w, "/login/"+loginOf(t, departure)))
	})
}

// A victim who is signed in here already is no less protected, and stays who they are.
func TestS1AVictimWithASessionIsNotMovedAndGivesNothing(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		c.people("victim", "victim@acme.example", "mallory", "mallory@acme.example")
		a, b := newBrowser(t), newBrowser(t)
		before := claims(t, b.signIn(w, in(c.org)).ID)["sub"]
		departure := a.depart(w, w.request(in(c.org)))
		b.follow(b.deliver(b.atProvider(w, departure)))
		a.nothing(w, a.get(w, "/login/"+loginOf(t, departure)))

		// The other way round: the attacker's own answer does not make the victim the attacker.
		c.idp.SetAuto("mallory")
		answer := a.atProvider(w, a.depart(w, w.request(in(c.org))))
		b.follow(b.deliver(answer))
		if got := claims(t, b.signIn(w, in(c.org)).ID)["sub"]; got != before {
			t.Errorf("the victim is %v now", got)
		}
	})
}

// posting are the ways in which an answer comes without a cookie.
func posting(t *testing.T, story func(t *testing.T, w *world, c company)) {
	for name, add := range map[string]func(*world) company{
		"OpenID": func(w *world) company { return w.addOIDC("acme", formPost) },
		"SAML":   func(w *world) company { return w.addSAML("acme", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			story(t, w, add(w))
		})
	}
}

func ticketOf(t *testing.T, parked *page) string {
	t.Helper()
	at := parked.header.Get("Location")
	if parked.status != http.StatusSeeOther || !strings.Contains(at, "?t=") {
		t.Fatalf("no ticket: %d %q %s", parked.status, at, textOf(parked.body))
	}
	return at
}

func TestS1WhatArrivesIsParkedAndTheRowLearnsNothing(t *testing.T) {
	posting(t, func(t *testing.T, w *world, c company) {
		a := newBrowser(t)
		departure := a.depart(w, w.request(in(c.org)))
		id := loginOf(t, departure)
		before, err := w.h.store.Brief().Get(t.Context(), "login/"+id)
		w.must(err)
		parked := a.deliver(a.atProvider(w, departure))
		ticket := ticketOf(t, parked)
		if len(parked.header.Values("Set-Cookie")) != 0 {
			t.Errorf("the arrival set a cookie: %v", parked.header.Values("Set-Cookie"))
		}
		after, err := w.h.store.Brief().Get(t.Context(), "login/"+id)
		w.must(err)
		if !bytes.Equal(before, after) {
			t.Errorf("the login's row learned of the answer before the ticket was shown:\n%s\n%s", before, after)
		}
		// The cookie without the ticket is worth nothing.
		if p := a.get(w, "/login/"+id); strings.Contains(p.header.Get("Location"), "code=") {
			t.Error("the cookie alone finished the login")
		}
		a.follow(a.get(w, ticket)).code(t)
	})
}

func TestS1ATicketShownWithoutTheCookieDestroysTicketAnswerAndLogin(t *testing.T) {
	posting(t, func(t *testing.T, w *world, c company) {
		a, b := newBrowser(t), newBrowser(t)
		departure := a.depart(w, w.request(in(c.org)))
		ticket := ticketOf(t, a.deliver(a.atProvider(w, departure)))
		b.get(w, "/logout") // B has been here, and has cookies of its own
		if p := b.get(w, ticket); p.status < 400 {
			t.Errorf("the ticket worked without the login's cookie: %d %s", p.status, p.header.Get("Location"))
		}
		if p := a.get(w, ticket); p.status < 400 {
			t.Errorf("the ticket worked twice: %d", p.status)
		}
		p := a.get(w, "/login/"+loginOf(t, departure))
		if p.status != http.StatusGone {
			t.Errorf("the login is still there: %d %s", p.status, textOf(p.body))
		}
		a.nothing(w, p)
	})
}

func TestS1ATicketBelongsToOneLogin(t *testing.T) {
	posting(t, func(t *testing.T, w *world, c company) {
		a := newBrowser(t)
		one, two := a.depart(w, w.request(in(c.org))), a.depart(w, w.request(in(c.org)))
		ticket := ticketOf(t, a.deliver(a.atProvider(w, one)))
		_, t1, _ := strings.Cut(ticket, "?")
		if p := a.get(w, "/login/"+loginOf(t, two)+"?"+t1); p.status < 400 {
			t.Errorf("the ticket of one login worked in another: %d", p.status)
		}
		if p := a.get(w, ticket); p.status < 400 {
			t.Errorf("the ticket worked after it was shown to another login: %d", p.status)
		}
		// A made-up ticket is none: its browser sees where the login stands, another one nothing.
		three := loginOf(t, a.depart(w, w.request(in(c.org))))
		at := "/login/" + three + "?t=" + strings.Repeat("x", 43)
		if p := a.get(w, at); p.header.Get("Location") != "/login/"+three {
			t.Errorf("made-up ticket: %d %s", p.status, p.header.Get("Location"))
		}
		if p := newBrowser(t).get(w, at); p.status != http.StatusGone {
			t.Errorf("made-up ticket in another browser: %d", p.status)
		}
	})
}

func TestS1TheFirstAnswerIsTheOnlyOne(t *testing.T) {
	posting(t, func(t *testing.T, w *world, c company) {
		c.people("ada", "ada@acme.example", "eve", "eve@acme.example")
		a := newBrowser(t)
		departure := a.depart(w, w.request(in(c.org)))
		first := a.atProvider(w, departure)
		c.idp.SetAuto("eve")
		second := newBrowser(t).atProvider(w, departure) // the same request, answered for somebody else
		ticket := ticketOf(t, a.deliver(first))
		if p := newBrowser(t).deliver(second); p.status < 400 {
			t.Errorf("a second answer was taken: %d", p.status)
		}
		if p := a.deliver(first); p.status < 400 {
			t.Errorf("the same answer was taken twice: %d", p.status)
		}
		r := a.follow(a.get(w, ticket))
		r.code(t)
		if got := w.person(c, "ada").Email; got != "ada@acme.example" {
			t.Errorf("signed in as %s", got)
		}
	})
}

func TestS1ThePathsConnectionMustBeTheLogins(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		other := w.addOIDC("other", nil)
		a := newBrowser(t)
		departure := a.depart(w, w.request(in(c.org)))
		answer := a.atProvider(w, departure)
		bent := func(at string) string { return strings.Replace(at, string(c.con.ID), string(other.con.ID), 1) }
		var p *page
		if at := answer.header.Get("Location"); at != "" {
			p = a.send(http.MethodGet, bent(at), nil, false)
		} else {
			f := selfPosting(answer)
			p = a.send(http.MethodPost, bent(f.action), f.values, true)
		}
		if p.status < 400 {
			t.Errorf("an answer was taken at another connection's address: %d %s", p.status, p.header.Get("Location"))
		}
		a.nothing(w, a.deliver(answer))
	})
}

// A provider that is asked for nothing opens nothing (unsolicited answers, made-up states).
func TestS1AnAnswerNobodyAskedForIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	a := newBrowser(t)
	answer := selfPosting(a.atProvider(w, a.depart(w, w.request(in(c.org)))))
	for name, relay := range map[string]string{"none": "", "short": "abc", "made up": strings.Repeat("x", 65)} {
		f := url.Values{"SAMLResponse": {answer.values.Get("SAMLResponse")}}
		if relay != "" {
			f.Set("RelayState", relay)
		}
		if p := newBrowser(t).send(http.MethodPost, answer.action, f, true); p.status < 400 || p.status >= 500 {
			t.Errorf("%s: %d", name, p.status)
		}
	}
}

func TestS1AStolenLoginAddressIsWorthNothing(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	a, b := newBrowser(t), newBrowser(t)
	p := a.authorize(w, w.request(nil))
	if q := b.send(http.MethodGet, p.url.String(), nil, false); q.status != http.StatusGone {
		t.Errorf("another browser was shown the login: %d", q.status)
	}
	f := forms(p)[0]
	f.values.Set("identifier", "ada@acme.example")
	if q := b.send(http.MethodPost, w.url+f.action, f.values, false); q.status != http.StatusGone {
		t.Errorf("another browser answered: %d", q.status)
	}
	a.answer(p, "identifier", "ada@acme.example").code(t)
}
