package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// This file holds what the stories of attacks say often.

// person finds whom a subject of the company's provider means.
func (w *world) person(c company, subject string) directory.Person {
	w.t.Helper()
	p, err := w.h.directory.PersonByIdentity(w.t.Context(), c.org, directory.IdentityKey{Connection: c.con.ID, Issuer: c.con.Issuer, Subject: subject})
	w.must(err)
	return p
}

// link ties a subject of the company's provider to a person, as an administrator did.
func (w *world) link(c company, subject string, p directory.PersonID) {
	w.t.Helper()
	w.must(w.h.directory.LinkPerson(w.t.Context(), operator, c.org, directory.Identity{
		Key: directory.IdentityKey{Connection: c.con.ID, Issuer: c.con.Issuer, Subject: subject},
		Org: c.org, Person: p, CreatedAt: w.clock.now(), LastLogin: w.clock.now(),
	}))
}

// member makes somebody a guest of org, who may be proved by the connection that accepts names.
func (w *world) member(org directory.OrgID, p directory.PersonID, accepts directory.ConnectionID) {
	w.t.Helper()
	w.must(w.h.directory.AddMember(w.t.Context(), operator, directory.Membership{
		Org: org, Person: p, Kind: "guest", Status: directory.Active, Source: "manual", Accepts: accepts,
	}))
}

// change changes a connection as its organization's administrator would.
func (w *world) change(c company, change func(*upstream.Connection)) {
	w.t.Helper()
	w.must(w.h.connections.Update(w.t.Context(), operator, c.org, c.con.ID, func(x *upstream.Connection) error { change(x); return nil }))
}

// policy sets settings of an organization.
func (w *world) policy(org directory.OrgID, wishes map[string]string) {
	w.t.Helper()
	raw := map[string]json.RawMessage{}
	for k, v := range wishes {
		raw[k] = json.RawMessage(v)
	}
	w.must(w.h.directory.SetPolicy(w.t.Context(), operator, org, raw))
}

// people gives the company's provider these people, by id and address, and signs the first in.
func (c company) people(pairs ...string) {
	var list []fakeidp.Person
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fakeidp.Person{ID: pairs[i], Email: pairs[i+1], EmailVerified: true, Name: "Somebody " + pairs[i]})
	}
	c.idp.SetPeople(list...)
	c.idp.SetAuto(pairs[0])
}

// formPost lets an OpenID provider answer by POST from its own site, as SAML does.
func formPost(_ *upstream.Connection, c *oidc.Config) { c.ResponseMode = "form_post" }

// signIn signs a browser in and gives the app's tokens.
func (b *browser) signIn(w *world, change func(url.Values)) tokenAnswer {
	b.t.Helper()
	r := w.request(change)
	tok := w.redeem(b.authorize(w, r).code(b.t), r.verifier)
	if tok.Status != http.StatusOK {
		b.t.Fatalf("token: %s", tok.raw)
	}
	return tok
}

// silently asks with prompt=none and gives the code, or the error.
func (b *browser) silently(w *world, change func(url.Values)) (code, fault string) {
	b.t.Helper()
	p := b.authorize(w, w.request(func(v url.Values) {
		v.Set("prompt", "none")
		if change != nil {
			change(v)
		}
	}))
	q := p.url.Query()
	if p.url.Host != "127.0.0.1:5555" {
		b.t.Fatalf("prompt=none ended at %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return q.Get("code"), q.Get("error")
}

// get opens an address of the house and stays there.
func (b *browser) get(w *world, at string) *page {
	b.t.Helper()
	return b.send(http.MethodGet, w.url+at, nil, false)
}

// depart opens an authorization request and stops where the browser is sent to the provider: at its
// address, or at the page that posts itself there.
func (b *browser) depart(w *world, r request) *page {
	b.t.Helper()
	p := b.send(http.MethodGet, w.url+"/authorize?"+r.Encode(), nil, false)
	for range 4 {
		at := p.header.Get("Location")
		if at == "" || !strings.HasPrefix(at, "/") {
			break
		}
		p = b.get(w, at)
	}
	if p.status/100 != 3 && selfPosting(p) == nil {
		b.t.Fatalf("no departure: %d %s", p.status, textOf(p.body))
	}
	return p
}

// loginOf reads the login's id out of a departure: the state begins with it.
func loginOf(t *testing.T, departure *page) string {
	t.Helper()
	state := ""
	if f := selfPosting(departure); f != nil {
		state = f.values.Get("RelayState")
	} else if to, err := url.Parse(departure.header.Get("Location")); err == nil {
		state = to.Query().Get("state") + to.Query().Get("RelayState")
	}
	if len(state) < 43 {
		t.Fatalf("no login in %s", departure.header.Get("Location"))
	}
	return state[:43]
}

// atProvider goes on from a departure until the provider has answered, and stops before the answer
// reaches us: it is a redirect to us, or a page that posts itself to us.
func (b *browser) atProvider(w *world, departure *page) *page {
	b.t.Helper()
	p := departure
	for range 6 {
		if at := p.header.Get("Location"); at != "" {
			if strings.HasPrefix(at, w.url) {
				return p
			}
			to, err := p.url.Parse(at)
			if err != nil {
				b.t.Fatal(err)
			}
			p = b.send(http.MethodGet, to.String(), nil, false)
			continue
		}
		f := selfPosting(p)
		if f == nil || strings.HasPrefix(f.action, w.url) {
			break
		}
		p = b.send(http.MethodPost, f.action, f.values, true)
	}
	if f := selfPosting(p); f == nil {
		b.t.Fatalf("the provider did not answer: %s %d %s", p.url, p.status, textOf(p.body))
	}
	return p
}

// deliver brings the provider's answer to us and stops at what we say.
func (b *browser) deliver(answer *page) *page {
	b.t.Helper()
	if at := answer.header.Get("Location"); at != "" {
		return b.send(http.MethodGet, at, nil, false)
	}
	f := selfPosting(answer)
	return b.send(http.MethodPost, f.action, f.values, true)
}

// sent is the code that the browser brings to the app, or "".
func (p *page) sent() string {
	for _, to := range []string{p.url.String(), p.header.Get("Location")} {
		if at, err := url.Parse(to); err == nil && strings.HasPrefix(to, callback) {
			return at.Query().Get("code")
		}
	}
	return ""
}

// nothing fails when a browser got a code or holds a session.
func (b *browser) nothing(w *world, at *page) {
	b.t.Helper()
	if at.sent() != "" {
		b.t.Errorf("a code was given: %s", at.url)
	}
	if code, fault := b.silently(w, nil); code != "" || fault != "login_required" {
		b.t.Errorf("somebody is signed in: code %q, error %q", code, fault)
	}
}
