package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store"
)

// realms lets a story suspend a realm, which nobody can do yet.
type realms struct {
	directory.Realms
	suspended atomic.Bool
}

func (r *realms) Realm(ctx context.Context, id directory.RealmID) (directory.Realm, error) {
	found, err := r.Realms.Realm(ctx, id)
	if r.suspended.Load() {
		found.Status = directory.Suspended
	}
	return found, err
}

// admitted is a person before every door: a browser with a session, one that is at its provider with a
// login of the app, a code that was not redeemed, and an access token.
type admitted struct {
	*world
	company
	realms    *realms
	parent    directory.OrgID
	person    directory.Person
	session   *browser
	elsewhere *browser // at the provider, with another session or none
	answer    *page
	code      string
	verifier  string
	access    string
}

// admit brings somebody before every door, twenty minutes after they signed in.
func admit(t *testing.T) *admitted {
	t.Helper()
	w := newWorld(t)
	a := &admitted{world: w, realms: &realms{Realms: w.h.directory.Realms}, session: newBrowser(t), elsewhere: newBrowser(t)}
	w.h.directory.Realms = a.realms
	a.parent = w.addOrg("group", "")
	a.company = w.connectOIDC(w.addOrg("acme", a.parent), "acme", nil)
	a.session.signIn(w, in(a.org))
	a.admittedAgain(t)
	return a
}

func (a *admitted) admittedAgain(t *testing.T) {
	t.Helper()
	a.person = a.world.person(a.company, "acme-1")
	a.clock.pass(20 * time.Minute)
	a.access = a.session.signIn(a.world, in(a.org)).Access
	r := a.request(in(a.org))
	a.code, a.verifier = a.session.authorize(a.world, r).code(t), r.verifier
	a.answer = a.elsewhere.atProvider(a.world, a.elsewhere.depart(a.world, a.request(in(a.org))))
}

// tries every door and names those that let the person through.
func (a *admitted) tries(t *testing.T, again bool) (open []string) {
	t.Helper()
	silent := a.request(func(v url.Values) { in(a.org)(v); v.Set("prompt", "none") })
	if a.session.authorize(a.world, silent).sent() != "" {
		open = append(open, "single sign-on")
	}
	if a.elsewhere.follow(a.elsewhere.deliver(a.answer)).sent() != "" && !again {
		open = append(open, "code issue")
	}
	if tok := a.redeem(a.code, a.verifier); tok.Status == http.StatusOK || tok.Error != "invalid_grant" && tok.Error != "invalid_client" {
		open = append(open, "redemption: "+tok.raw)
	}
	if status, _ := a.userinfo(a.access); status != http.StatusUnauthorized {
		open = append(open, "userinfo")
	}
	return open
}

func TestS6TheDoorsAreOpenWhileEveryConditionHolds(t *testing.T) {
	a := admit(t)
	if code, fault := a.session.silently(a.world, in(a.org)); code == "" {
		t.Errorf("single sign-on: %s", fault)
	}
	a.elsewhere.follow(a.elsewhere.deliver(a.answer)).code(t)
	if tok := a.redeem(a.code, a.verifier); tok.Status != http.StatusOK {
		t.Errorf("redemption: %s", tok.raw)
	}
	if status, _ := a.userinfo(a.access); status != http.StatusOK {
		t.Errorf("userinfo: %d", status)
	}
}

// One condition is taken away at a time, and every door is tried.
func TestS6NoDoorOpensWhenOneConditionIsGone(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		gone func(a *admitted) error
		// again: a login that begins or goes on now may be good, for it brings a new proof.
		again bool
	}{
		"the realm is suspended":  {gone: func(a *admitted) error { a.realms.suspended.Store(true); return nil }},
		"the person is suspended": {gone: func(a *admitted) error { return a.setPerson(directory.Suspended) }},
		"the person is archived":  {gone: func(a *admitted) error { return a.setPerson(directory.Archived) }},
		"the person is signed out everywhere": {again: true, gone: func(a *admitted) error {
			return a.h.directory.UpdatePerson(ctx, a.org, a.person.ID, func(p *directory.Person) error { p.SessionsAfter = a.clock.now(); return nil })
		}},
		"the membership is suspended":   {gone: func(a *admitted) error { return a.membership(directory.Suspended, time.Time{}) }},
		"the membership has expired":    {gone: func(a *admitted) error { return a.membership(directory.Active, a.clock.now().Add(-time.Second)) }},
		"the membership is removed":     {gone: func(a *admitted) error { return a.h.directory.EndMembership(ctx, operator, a.org, a.person.ID) }},
		"the organization is suspended": {gone: func(a *admitted) error { return a.setOrg(a.org, directory.Suspended) }},
		"the organization is archived":  {gone: func(a *admitted) error { return a.setOrg(a.org, directory.Archived) }},
		"an ancestor is suspended":      {gone: func(a *admitted) error { return a.setOrg(a.parent, directory.Suspended) }},
		"the app is suspended": {gone: func(a *admitted) error {
			return a.h.broker.Apps.UpdateApp(ctx, a.app.ID, func(x *broker.App) error { x.Status = directory.Suspended; return nil })
		}},
		"the entitlement is removed": {gone: func(a *admitted) error { return a.h.directory.RemoveEntitlement(ctx, a.org, a.app.ID) }},
		"the connection is disabled": {gone: func(a *admitted) error {
			a.change(a.company, func(c *upstream.Connection) { c.Status = upstream.Disabled })
			return nil
		}},
		"the protocol is allowed no more": {gone: func(a *admitted) error { a.policy(a.org, map[string]string{"sso.protocols": `["saml"]`}); return nil }},
		"an ancestor allows the protocol no more": {gone: func(a *admitted) error {
			a.policy(a.parent, map[string]string{"sso.protocols": `["saml"]`})
			return nil
		}},
		"the longest session is shorter": {again: true, gone: func(a *admitted) error {
			a.policy(a.org, map[string]string{"session.lifetime": `"15m"`})
			return nil
		}},
		"an ancestor's longest session is shorter": {again: true, gone: func(a *admitted) error {
			a.policy(a.parent, map[string]string{"session.lifetime": `"15m"`})
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := admit(t)
			a.must(c.gone(a))
			for _, door := range a.tries(t, c.again) {
				t.Errorf("%s lets somebody through", door)
			}
			if c.again {
				return
			}
			if p := newBrowser(t).authorize(a.world, a.request(in(a.org))); p.sent() != "" {
				t.Error("a new login lets somebody through")
			}
		})
	}
}

func (a *admitted) setPerson(to directory.Status) error {
	return a.h.directory.SetPersonStatus(context.Background(), operator, a.org, a.person.ID, to)
}

func (a *admitted) setOrg(org directory.OrgID, to directory.Status) error {
	return a.h.directory.SetOrgStatus(context.Background(), operator, org, to)
}

func (a *admitted) membership(status directory.Status, until time.Time) error {
	return a.h.directory.AddMember(context.Background(), operator, directory.Membership{
		Org: a.org, Person: a.person.ID, Kind: "member", Status: status, Source: "jit", Until: until,
	})
}

// invited is a guest of host, proved by the connection of home that the membership names, before the
// doors of host.
func invited(t *testing.T) (a *admitted, home company, homeParent directory.OrgID) {
	t.Helper()
	w := newWorld(t)
	a = &admitted{world: w, realms: &realms{Realms: w.h.directory.Realms}, session: newBrowser(t), elsewhere: newBrowser(t)}
	homeParent = w.addOrg("holding", "")
	home = w.connectOIDC(w.addOrg("home", homeParent), "home", nil)
	host := w.addOIDC("host", nil)
	a.session.signIn(w, in(home.org))
	a.person = w.person(home, "home-1")
	w.member(host.org, a.person.ID, home.con.ID)
	a.company = company{host.org, home.con, home.idp}
	a.access = a.session.signIn(w, in(host.org)).Access
	r := w.request(in(host.org))
	a.code, a.verifier = a.session.authorize(w, r).code(t), r.verifier
	return a, home, homeParent
}

func TestS6AGuestIsLetThroughWhileTheNamedConnectionMayBeBelieved(t *testing.T) {
	for name, gone := range map[string]func(a *admitted, home company, parent directory.OrgID){
		"nothing": nil,
		"the connection is disabled": func(a *admitted, home company, _ directory.OrgID) {
			a.change(home, func(c *upstream.Connection) { c.Status = upstream.Disabled })
		},
		"its organization is suspended": func(a *admitted, home company, _ directory.OrgID) {
			a.must(a.setOrg(home.org, directory.Suspended))
		},
		"an organization above that is suspended": func(a *admitted, _ company, parent directory.OrgID) {
			a.must(a.setOrg(parent, directory.Suspended))
		},
		"the host allows the protocol no more": func(a *admitted, _ company, _ directory.OrgID) {
			a.policy(a.org, map[string]string{"sso.protocols": `["saml"]`})
		},
		"the membership names it no more": func(a *admitted, _ company, _ directory.OrgID) { a.world.member(a.org, a.person.ID, "") },
		"the membership ends": func(a *admitted, _ company, _ directory.OrgID) {
			a.must(a.h.directory.EndMembership(context.Background(), operator, a.org, a.person.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, home, parent := invited(t)
			if gone != nil {
				gone(a, home, parent)
			}
			good := gone == nil
			if code, fault := a.session.silently(a.world, in(a.org)); (code != "") != good {
				t.Errorf("single sign-on: code %q, error %q", code, fault)
			}
			if tok := a.redeem(a.code, a.verifier); (tok.Status == http.StatusOK) != good {
				t.Errorf("redemption: %s", tok.raw)
			}
			if status, _ := a.userinfo(a.access); (status == http.StatusOK) != good {
				t.Errorf("userinfo: %d", status)
			}
		})
	}
}

// What is switched off while somebody is at their provider leaves no account behind.
func TestS6AnAnswerOfAConnectionThatIsSwitchedOffMakesNobody(t *testing.T) {
	for name, gone := range map[string]func(w *world, c company){
		"disabled":             func(w *world, c company) { w.change(c, func(x *upstream.Connection) { x.Status = upstream.Disabled }) },
		"not allowed any more": func(w *world, c company) { w.policy(c.org, map[string]string{"sso.protocols": `[]`}) },
	} {
		t.Run(name, func(t *testing.T) {
			posting(t, func(t *testing.T, w *world, c company) {
				if name == "not allowed any more" {
					gone = func(w *world, c company) {
						other := map[upstream.Type]string{"oidc": `["saml"]`, "saml": `["oidc"]`}[c.con.Type]
						w.policy(c.org, map[string]string{"sso.protocols": other})
					}
				}
				b := newBrowser(t)
				parked := b.deliver(b.atProvider(w, b.depart(w, w.request(in(c.org)))))
				gone(w, c) // between the arrival and the ticket
				p := b.follow(b.get(w, ticketOf(t, parked)))
				b.nothing(w, p)
				_, err := w.h.directory.PersonByIdentity(t.Context(), c.org, directory.IdentityKey{Connection: c.con.ID, Issuer: c.con.Issuer, Subject: "acme-1"})
				if err == nil {
					t.Error("an account was made by a connection that nobody may use any more")
				}
			})
		})
	}
}

// Organization, realm and person of a grant never change: an access token is what it was opened for.
func TestS6AGrantKeepsItsOrganizationAndPerson(t *testing.T) {
	a, home, _ := invited(t)
	_, info := a.userinfo(a.access)
	if info["org_id"] != string(a.org) || info["sub"] != string(a.person.ID) {
		t.Errorf("the guest's token: %v", info)
	}
	other := a.session.signIn(a.world, in(home.org))
	if _, info := a.userinfo(other.Access); info["org_id"] != string(home.org) {
		t.Errorf("the token of another organization: %v", info)
	}
	if _, info := a.userinfo(a.access); info["org_id"] != string(a.org) {
		t.Errorf("after switching, the guest's token: %v", info)
	}
}

// The door is asked again when something moves between asking and writing, and a change of any kind of
// configuration meanwhile never leaves a code that was decided on the former one (S15): the code of a
// login that began before an organization was suspended is worth nothing afterwards.
func TestS6EntitlementIsRefusedWhereItIsAbsent(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	desk, secret := w.addApp("desk", nil)
	other := *w
	other.app, other.secret = desk, secret
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	if code, fault := b.silently(&other, in(c.org)); code != "" || fault != "access_denied" {
		t.Errorf("an app that the organization may not use: code %q, error %q", code, fault)
	}
	if code, _ := b.silently(&other, nil); code != "" {
		t.Error("an app that no organization may use gave a code")
	}
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: desk.ID}))
	other.redeemed(t, b, in(c.org))
	below := w.addOrg("below", c.org)
	w.must(w.h.directory.RemoveEntitlement(t.Context(), below, w.app.ID))
	w.change(c, func(x *upstream.Connection) { x.Offered = true })
	w.member(below, w.person(c, "acme-1").ID, "")
	if code, _ := b.silently(w, in(below)); code != "" {
		t.Error("an entitlement that is not for descendants was inherited")
	}
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: w.app.ID, Below: true}))
	w.redeemed(t, b, in(below))
}

// redeemed signs in silently and redeems.
func (w *world) redeemed(t *testing.T, b *browser, change func(url.Values)) tokenAnswer {
	t.Helper()
	r := w.request(func(v url.Values) { v.Set("prompt", "none"); change(v) })
	tok := w.redeem(b.authorize(w, r).code(t), r.verifier)
	if tok.Status != http.StatusOK {
		t.Fatalf("token: %s", tok.raw)
	}
	return tok
}

// outrun lets something happen, once, between the door's answer and the write that rests on it. It stays in its
// place afterwards: what carries orders out in the background reads that place too.
type outrun struct {
	directory.Tx
	done   atomic.Bool
	change func()
}

func (o *outrun) InTx(ctx context.Context, fn func(context.Context) error) error {
	if o.done.CompareAndSwap(false, true) {
		o.change()
	}
	return o.Tx.InTx(ctx, fn)
}

// A change that commits after the door was asked is never outrun by a code or a token (S15).
func TestS15NoWriteRestsOnWhatChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(a *admitted){
		"the connection is disabled":    func(a *admitted) { a.change(a.company, func(c *upstream.Connection) { c.Status = upstream.Disabled }) },
		"the policy is tightened":       func(a *admitted) { a.policy(a.org, map[string]string{"sso.protocols": `["saml"]`}) },
		"the organization is suspended": func(a *admitted) { a.must(a.setOrg(a.org, directory.Suspended)) },
		"the person is suspended":       func(a *admitted) { a.must(a.setPerson(directory.Suspended)) },
		"the membership is suspended":   func(a *admitted) { a.must(a.membership(directory.Suspended, time.Time{})) },
		"the entitlement is removed": func(a *admitted) {
			a.must(a.h.directory.RemoveEntitlement(context.Background(), a.org, a.app.ID))
		},
	} {
		for door, try := range map[string]func(a *admitted) bool{
			"redemption":     func(a *admitted) bool { return a.redeem(a.code, a.verifier).Status == http.StatusOK },
			"code issue":     func(a *admitted) bool { return a.elsewhere.follow(a.elsewhere.deliver(a.answer)).sent() != "" },
			"single sign-on": func(a *admitted) bool { return a.session.authorize(a.world, a.request(in(a.org))).sent() != "" },
		} {
			t.Run(name+", "+door, func(t *testing.T) {
				a := admit(t)
				real := a.h.broker.Tx
				o := &outrun{Tx: real, change: func() { change(a) }}
				a.h.broker.Tx = o
				if try(a) {
					t.Errorf("%s let somebody through", door)
				}
				if !o.done.Load() {
					t.Error("the change never happened")
				}
			})
		}
	}
}

// A login that a command outruns with a change that does not concern it goes on: the door is asked again on
// what is now, at once, and nobody has to start again.
func TestALoginGoesOnWhenACommandChangesSomethingElse(t *testing.T) {
	for door, try := range map[string]func(a *admitted) bool{
		"redemption":     func(a *admitted) bool { return a.redeem(a.code, a.verifier).Status == http.StatusOK },
		"code issue":     func(a *admitted) bool { return a.elsewhere.follow(a.elsewhere.deliver(a.answer)).sent() != "" },
		"single sign-on": func(a *admitted) bool { return a.session.authorize(a.world, a.request(in(a.org))).sent() != "" },
	} {
		t.Run(door, func(t *testing.T) {
			a := admit(t)
			beside := keptIn(t, a.dir, config{Now: a.clock.now, Log: slog.New(slog.DiscardHandler)}).placed().store()
			beside.Beside = true
			command, err := store.Open(t.Context(), beside)
			a.must(err)
			t.Cleanup(func() { command.Close() })
			o := &outrun{Tx: a.h.broker.Tx, change: func() {
				a.must(command.UpdateOrg(t.Context(), a.org, func(o *directory.Org) error { o.Name = "Another name"; return nil }))
			}}
			a.h.broker.Tx = o
			if !try(a) {
				t.Errorf("%s ended", door)
			}
			if !o.done.Load() {
				t.Error("the change never happened")
			}
		})
	}
}
