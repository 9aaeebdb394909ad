package main

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/smtptest"
	"github.com/vestibule-id/vestibule/mfa"
)

// These stories are about second steps that are sent, and about what people are told.

var sixDigits = regexp.MustCompile(`(?m)^\s*([0-9]{6})\s*$`)

// mailsOf waits for a number of e-mails.
func mailsOf(t *testing.T, s *smtptest.Server, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := s.Taken(); len(got) >= n {
			var out []string
			for _, m := range got {
				out = append(out, m.Data)
			}
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d e-mails, not %d", len(s.Taken()), n)
		}
	}
}

// Row 60, S11: a code to the mailbox is a second step where the address is the person's beyond doubt.
func TestACodeByEmailIsASecondStep(t *testing.T) {
	s := &smtptest.Server{}
	w := worldIn(t, t.TempDir(), through(t, s))
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey", "email"]`})
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.authorize(w, r)
	if text := textOf(p.body); !strings.Contains(text, "Look in your mailbox") || !strings.Contains(text, "a…@acme.example") || strings.Contains(p.body, "ada@acme.example\"") {
		t.Fatalf("%s %d: %s", p.url, p.status, text)
	}
	mail := mailsOf(t, s, 1)[0]
	found := sixDigits.FindStringSubmatch(mail)
	if found == nil {
		t.Fatalf("no code in %s", mail)
	}
	code := found[1]
	wrong := "000000"
	if code == wrong {
		wrong = "111111"
	}
	if p = b.answer(p, "code", wrong); !strings.Contains(textOf(p.body), "4 tries left") {
		t.Errorf("%s", textOf(p.body))
	}
	// Another login of the same person has another code.
	other := newBrowser(t)
	q := other.authorize(w, w.request(in(acme.org)))
	if q = other.answer(q, "code", code); !strings.Contains(textOf(q.body), "didn’t match") {
		t.Errorf("a code of another login: %s", textOf(q.body))
	}
	tok := w.redeem(b.answer(p, "code", code).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("acr %v", got["acr"])
	}
	if strings.Contains(w.logged.String(), code) {
		t.Error("the code stands in the log")
	}
}

// Row 62, S12: whoever's second steps change is told, and it stands in the record.
func TestPeopleAreToldOfEveryChangeOfTheirSecondSteps(t *testing.T) {
	s := &smtptest.Server{}
	w := worldIn(t, t.TempDir(), through(t, s))
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`})
	b := newBrowser(t)
	p := b.enrols(w, w.request(in(acme.org)))
	p = b.answer(p, "code", w.keyOn(p).code(0))
	codes := recoveryCodes(t, p)
	b.keeps(p).code(t)
	other := newBrowser(t)
	p = other.authorize(w, w.request(in(acme.org))).asksCode(t)
	p = other.answer2(other.answer2(p, "method", ""), "method", "recovery_code")
	other.answer(p, "code", codes[0]).code(t)
	all := strings.Join(mailsOf(t, s, 3), "")
	for _, want := range []string{"authenticator app", "recovery codes", "ada@acme.example"} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody was told of %q: %s", want, all)
		}
	}
	for _, code := range codes {
		if strings.Contains(all, code) {
			t.Error("a recovery code stands in an e-mail")
		}
	}
	if got := w.recorded(acme.org, "factor.recovery_used"); len(got) != 1 {
		t.Errorf("recorded %v", got)
	}
}

// adaOf is the one person of a company.
func (w *world) adaOf(c company) mfa.Subject {
	w.t.Helper()
	list, err := w.h.store.PeopleAt(w.t.Context(), c.org, "", 10)
	w.must(err)
	p := list[0]
	return mfa.Subject{Realm: p.Realm, Home: p.Home, Org: p.Home, Person: p.ID, Email: p.Email}
}

// Row 63, S12: a bypass replaces the second step once, shuts out what was open before, and what is set up by
// it waits before it counts for step-up.
func TestS12ABypassLetsInOnceAndEndsWhatWasOpen(t *testing.T) {
	w, acme, b, app := guarded(t, nil)
	ada := w.adaOf(acme)
	code, _, err := w.h.factors.Bypass(t.Context(), operator, ada, 15*time.Minute)
	w.must(err)
	comes := func() (*browser, *page) {
		other := newBrowser(t)
		p := other.authorize(w, w.request(in(acme.org))).asksCode(t)
		return other, other.answer2(other.answer2(p, "method", ""), "method", "admin_bypass")
	}
	first, p := comes()
	second, q := comes() // the same code in two logins at once
	first.answer(p, "code", code).code(t)
	if q = second.answer(q, "code", code); strings.Contains(q.header.Get("Location"), "code=") {
		t.Error("taken twice")
	}
	// The browser that was signed in before is asked for everything again; the one that came back is not.
	b.authorize(w, w.request(in(acme.org))).asksCode(t)
	if got := claims(t, first.signIn(w, in(acme.org)).ID); got["acr"] == "urn:vestibule:acr:2fa" {
		t.Errorf("a bypass counts: acr %v", got["acr"])
	}
	// Over its time it is nothing, and of two the newer counts.
	late, _, err := w.h.factors.Bypass(t.Context(), operator, ada, time.Minute)
	w.must(err)
	old := late
	late, _, err = w.h.factors.Bypass(t.Context(), operator, ada, time.Minute)
	w.must(err)
	third, p := comes()
	if p = third.answer(p, "code", old); !strings.Contains(textOf(p.body), "4 tries left") {
		t.Errorf("the older one: %s", textOf(p.body))
	}
	w.clock.pass(61 * time.Second)
	if p = third.answer(p, "code", late); p.status/100 == 3 {
		t.Error("it is good after its time")
	}
	if _, _, err := w.h.factors.Bypass(t.Context(), operator, ada, 61*time.Minute); !errors.Is(err, mfa.ErrLife) {
		t.Errorf("for longer than an hour: %v", err)
	}
	if _, _, err := w.h.factors.Bypass(t.Context(), directory.Actor{Kind: directory.Engine}, ada, time.Minute); !errors.Is(err, directory.ErrDenied) {
		t.Errorf("by nobody who may: %v", err)
	}
	_ = app
}

// S12: what is set up after a recovery signs in, and does not step up, however it is set up again.
func TestS12WhatIsSetUpAfterARecoveryDoesNotStepUpForAWhile(t *testing.T) {
	w, acme, _, _ := guarded(t, map[string]string{"recovery.delay": `"24h"`})
	ada := w.adaOf(acme)
	n, err := w.h.factors.Reset(t.Context(), operator, ada)
	w.must(err)
	if n != 2 { // the app and the codes
		t.Errorf("%d were removed", n)
	}
	code, _, err := w.h.factors.Bypass(t.Context(), operator, ada, 15*time.Minute)
	w.must(err)
	b := newBrowser(t)
	p := b.authorize(w, w.request(in(acme.org)))
	b.answer(p, "code", code).code(t)
	// The session that the code opened cannot set one up to step up with.
	essential := func(v url.Values) {
		in(acme.org)(v)
		v.Set("claims", `{"id_token": {"acr": {"essential": true, "values": ["urn:vestibule:acr:2fa"]}}}`)
	}
	p = b.authorize(w, w.request(essential))
	if text := textOf(p.body); !strings.Contains(text, "second step this new") {
		t.Errorf("%s %d: %s", p.url, p.status, text)
	}
	// One that was set up after a recovery signs in, and its answers step nothing up until the time is over.
	fresh := newBrowser(t)
	p = fresh.enrols(w, w.request(in(acme.org)))
	phone := w.keyOn(p)
	fresh.keeps(fresh.answer(p, "code", phone.code(0))).code(t)
	list, err := w.h.factors.Held(t.Context(), operator, acme.org, ada.Person)
	w.must(err)
	from := w.clock.now().Add(24 * time.Hour)
	for _, e := range list {
		w.must(w.h.store.UpdateEnrollment(t.Context(), acme.org, e.ID, func(e *mfa.Enrollment) error { e.CountsFrom = from; return nil }))
	}
	w.clock.pass(time.Minute)
	other := newBrowser(t)
	r := w.request(in(acme.org))
	p = other.authorize(w, r).asksCode(t)
	tok := w.redeem(other.answer(p, "code", phone.code(0)).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] == "urn:vestibule:acr:2fa" {
		t.Errorf("it counts at once: %v", got["acr"])
	}
	w.clock.pass(time.Minute)
	p = other.authorize(w, w.request(essential))
	if strings.Contains(p.header.Get("Location"), "code=") {
		t.Errorf("it steps up at once: %s", p.header.Get("Location"))
	}
	w.clock.pass(24 * time.Hour)
	last := newBrowser(t)
	r = w.request(essential)
	p = last.authorize(w, r).asksCode(t)
	tok = w.redeem(last.answer(p, "code", phone.code(0)).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("it does not count when the time is over: %v", got["acr"])
	}
}

func TestTheOperatorsCommandsForSecondSteps(t *testing.T) {
	w, acme, b, _ := guarded(t, nil)
	ada := w.adaOf(acme)
	list, err := w.h.factors.Held(t.Context(), operator, acme.org, ada.Person)
	w.must(err)
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	for _, e := range list {
		if e.Method == "totp" {
			w.must(w.h.factors.Remove(t.Context(), operator, ada, e.ID))
			if err := w.h.factors.Remove(t.Context(), operator, ada, e.ID); !errors.Is(err, mfa.ErrNotFound) {
				t.Errorf("twice: %v", err)
			}
		}
	}
	// Another organization's administrators find nobody.
	bank := w.addOIDC("bank", nil)
	stranger := ada
	stranger.Home = bank.org
	if list, err := w.h.factors.Held(t.Context(), operator, bank.org, ada.Person); err != nil || len(list) != 0 {
		t.Errorf("S3: %+v %v", list, err)
	}
	if _, err := w.h.factors.Reset(t.Context(), operator, stranger); err == nil {
		t.Error("S3: another organization resets somebody")
	}
	if got := w.recorded(acme.org, "factor.removed"); len(got) != 1 {
		t.Errorf("recorded %v", got)
	}
	if p := b.authorize(w, w.request(in(acme.org))); p.header.Get("Location") != "" && strings.Contains(p.header.Get("Location"), "code=") {
		t.Error("what was open goes on")
	}
}
