package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/pgtest"
)

// receiver is an app's back-channel logout address.
type receiver struct {
	t      *testing.T
	srv    *httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	tokens []string
	answer func(w http.ResponseWriter, r *http.Request)
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{t: t, answer: answer}
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		form, _ := url.ParseQuery(string(body))
		r.mu.Lock()
		r.got, r.tokens = append(r.got, req), append(r.tokens, form.Get("logout_token"))
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(r.srv.Close)
	return r
}

func (r *receiver) host() string { return strings.TrimPrefix(r.srv.URL, "http://") }

// told makes an app one that is told here.
func (r *receiver) told(a *broker.App) {
	a.BackChannelLogoutURI, a.Private = r.srv.URL+"/logout?a=1", []string{r.host()}
}

// wait gives the claims of the tokens that came, once there are n.
func (r *receiver) wait(n int) []map[string]any {
	r.t.Helper()
	eventually(r.t, "a logout token", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.tokens) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tokens) != n {
		r.t.Errorf("%d logout tokens, want %d", len(r.tokens), n)
	}
	var out []map[string]any
	for _, tok := range r.tokens {
		out = append(out, claims(r.t, tok))
	}
	return out
}

func (r *receiver) count() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.tokens) }

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// delivered waits until an organization's log holds n outcomes.
func (w *world) delivered(org directory.OrgID, n int) []delivery.Delivery {
	w.t.Helper()
	var list []delivery.Delivery
	eventually(w.t, "an outcome", func() bool {
		all, err := w.h.broker.Deliveries(context.Background(), operator, org, delivery.Query{Most: 100})
		w.must(err)
		list = list[:0]
		for _, d := range all {
			if d.Outcome != delivery.Waiting {
				list = append(list, d)
			}
		}
		return len(list) >= n
	})
	return list
}

// settled waits until every order was carried out and nothing waits to be sent.
func (w *world) settled(orgs ...directory.OrgID) {
	w.t.Helper()
	eventually(w.t, "quiet", func() bool {
		list, err := w.h.store.ClaimRevocations(context.Background(), w.clock.now(), 1)
		w.must(err)
		for _, org := range orgs {
			waiting, err := w.h.broker.Deliveries(context.Background(), operator, org, delivery.Query{Most: 100})
			w.must(err)
			for _, d := range waiting {
				if d.Outcome == delivery.Waiting {
					return false
				}
			}
		}
		return len(list) == 0
	})
	time.Sleep(50 * time.Millisecond)
}

// OpenID Connect Back-Channel Logout sections 2.4 and 2.5: what an app gets, by which it ends its own session.
func TestBackChannelLogoutTokenIsWhatTheSpecificationSays(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		w := newWorld(t)
		c := w.addOIDC("acme", nil)
		r := newReceiver(t, nil)
		app := w.entitledApp("told", c.org, func(a *broker.App) { r.told(a); a.IDTokenAlg = alg })
		b := newBrowser(t)
		b.signIn(w, in(c.org)) // an app that does not want to be told
		tok := b.signIn(app, in(c.org))
		b.logout(w, url.Values{"id_token_hint": {tok.ID}})
		got := r.wait(1)[0]
		id := claims(t, tok.ID)
		for name, want := range map[string]any{"iss": w.url, "aud": "told", "sub": id["sub"], "sid": id["sid"]} {
			if got[name] != want {
				t.Errorf("%s: %s is %v, want %v", alg, name, got[name], want)
			}
		}
		events, _ := json.Marshal(got["events"])
		if string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}` {
			t.Errorf("events %s", events)
		}
		if _, has := got["nonce"]; has || got["jti"] == nil || got["exp"].(float64)-got["iat"].(float64) > 120 {
			t.Errorf("%v", got)
		}
		req := r.got[0]
		if req.Method != http.MethodPost || req.URL.String() != "/logout?a=1" || req.Header.Get("Cookie") != "" ||
			req.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s %s %v", req.Method, req.URL, req.Header)
		}
		// Any library reads it, and nobody takes it for an id token of ours or the other way round.
		provider, err := goidc.NewProvider(t.Context(), w.url)
		w.must(err)
		raw := r.tokens[0]
		if _, err := provider.Verifier(&goidc.Config{ClientID: "told", SupportedSigningAlgs: []string{alg}}).Verify(t.Context(), raw); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if head := header(t, raw); head["typ"] != "logout+jwt" || head["alg"] != alg {
			t.Errorf("header %v", head)
		}
		b.logout(w, url.Values{"id_token_hint": {raw}, "post_logout_redirect_uri": {bye}}).refusedHere(t, http.StatusBadRequest)
		log := w.delivered(c.org, 1)
		if d := log[0]; d.Outcome != delivery.Delivered || d.Target != string(app.app.ID) || d.Attempts != 1 || d.Kind != broker.LogoutToken {
			t.Errorf("%+v", d)
		}
	}
}

func header(t *testing.T, token string) map[string]any {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	return claims(t, "x."+head+".x")
}

// S37: sub as the app knows the person, sid of this session and app: apps cannot correlate, and nobody
// learns of another organization's session.
func TestS37EachAppIsToldInItsOwnWords(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	one, two, other := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	first := w.entitledApp("one", lax.org, func(a *broker.App) { one.told(a); a.Pairwise = true })
	second := w.entitledApp("two", lax.org, func(a *broker.App) { two.told(a); a.Pairwise, a.Sector = true, "two.example" })
	third := w.entitledApp("other", strict, other.told)
	a, z := b.signIn(first, in(lax.org)), b.signIn(second, in(lax.org))
	b.signIn(third, in(strict))
	// Somebody else is signed in to the same apps and hears nothing of it.
	lax.people("lax-2", "bob@lax.example")
	bob := newBrowser(t)
	tokBob := bob.signIn(first, in(lax.org))
	p := b.logout(w, url.Values{"id_token_hint": {a.ID}})
	if p.status != 200 {
		t.Fatalf("%d", p.status)
	}
	got, got2 := one.wait(1)[0], two.wait(1)[0]
	if got["sub"] != claims(t, a.ID)["sub"] || got["sid"] != claims(t, a.ID)["sid"] || got2["sub"] != claims(t, z.ID)["sub"] || got2["sid"] != claims(t, z.ID)["sid"] {
		t.Errorf("%v\n%v", got, got2)
	}
	if got["sub"] == got2["sub"] || got["sid"] == got2["sid"] || got["jti"] == got2["jti"] {
		t.Error("two apps can tell that it is one person's session")
	}
	w.settled(lax.org, strict)
	if other.count() != 0 {
		t.Error("an app of another organization was told")
	}
	if !bob.signedInStill(first) {
		t.Error("somebody else was signed out")
	}
	if status, _ := w.userinfo(tokBob.Access); status != 200 {
		t.Errorf("somebody else's tokens: %d", status)
	}
	// The next sign-in has another sid, so that a token that comes late ends nothing new.
	again := b.signIn(first, in(lax.org))
	if claims(t, again.ID)["sid"] == claims(t, a.ID)["sid"] {
		t.Error("the same sid after a logout")
	}
}

// Whatever ends a session tells its apps, once, and takes the tokens back.
func TestWhateverEndsASessionTellsItsApps(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		end    func(w *world, c company, person directory.Person, b *browser, session directory.SessionID) error
		revive func(w *world, c company, person directory.Person) error
		goesOn bool // single sign-on works afterwards: only an app's part was ended
	}{
		"the person is suspended": {
			end: func(w *world, c company, p directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.SetPersonStatus(ctx, operator, c.org, p.ID, directory.Suspended)
			},
			revive: func(w *world, c company, p directory.Person) error {
				return w.h.directory.SetPersonStatus(ctx, operator, c.org, p.ID, directory.Active)
			}},
		"the organization is suspended": {
			end: func(w *world, c company, _ directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.SetOrgStatus(ctx, operator, c.org, directory.Suspended)
			},
			revive: func(w *world, c company, _ directory.Person) error {
				return w.h.directory.SetOrgStatus(ctx, operator, c.org, directory.Active)
			}},
		"the organization above is suspended": {
			end: func(w *world, c company, _ directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.SetOrgStatus(ctx, operator, w.parentOf(c.org), directory.Suspended)
			},
			revive: func(w *world, c company, _ directory.Person) error {
				return w.h.directory.SetOrgStatus(ctx, operator, w.parentOf(c.org), directory.Active)
			}},
		"the membership is suspended": {
			end: func(w *world, c company, p directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.AddMember(ctx, operator, directory.Membership{Org: c.org, Person: p.ID, Kind: "member", Status: directory.Suspended})
			},
			revive: func(w *world, c company, p directory.Person) error {
				return w.h.directory.AddMember(ctx, operator, directory.Membership{Org: c.org, Person: p.ID, Kind: "member", Status: directory.Active})
			}},
		"the membership ends": {
			end: func(w *world, c company, p directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.EndMembership(ctx, operator, c.org, p.ID)
			},
			revive: func(w *world, c company, p directory.Person) error {
				return w.h.directory.AddMember(ctx, operator, directory.Membership{Org: c.org, Person: p.ID, Kind: "member", Status: directory.Active})
			}},
		"the app is suspended": {goesOn: true,
			end: func(w *world, _ company, _ directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.broker.SetAppStatus(ctx, operator, w.app.ID, directory.Suspended)
			},
			revive: func(w *world, _ company, _ directory.Person) error {
				return w.h.broker.SetAppStatus(ctx, operator, w.app.ID, directory.Active)
			}},
		"the organization uses the app no longer": {goesOn: true,
			end: func(w *world, c company, _ directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.directory.Unentitle(ctx, operator, c.org, w.app.ID)
			},
			revive: func(w *world, c company, _ directory.Person) error {
				return w.h.directory.Entitle(ctx, operator, directory.Entitlement{Org: c.org, App: w.app.ID})
			}},
		"the connection is switched off": {
			end: func(w *world, c company, _ directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.connections.Update(ctx, operator, c.org, c.con.ID, func(c *upstream.Connection) error { c.Status = upstream.Disabled; return nil })
			},
			revive: func(w *world, c company, _ directory.Person) error {
				return w.h.connections.Update(ctx, operator, c.org, c.con.ID, func(c *upstream.Connection) error { c.Status = upstream.Active; return nil })
			}},
		"an administrator ends the session": {
			end: func(w *world, c company, p directory.Person, _ *browser, id directory.SessionID) error {
				return w.h.broker.EndSession(ctx, operator, c.org, p.ID, id)
			}},
		"an administrator signs the person out everywhere": {
			end: func(w *world, c company, p directory.Person, _ *browser, _ directory.SessionID) error {
				return w.h.broker.EndSessionsOf(ctx, operator, c.org, p.ID)
			}},
		"the browser is told to forget": {
			end: func(w *world, _ company, _ directory.Person, b *browser, _ directory.SessionID) error {
				rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, w.url+"/", nil)
				for k, v := range b.cookies() {
					req.AddCookie(&http.Cookie{Name: k, Value: v})
				}
				return w.h.broker.Forget(rec, req)
			}},
		"its time is over, and the browser comes again": {
			end: func(w *world, _ company, _ directory.Person, b *browser, _ directory.SessionID) error {
				w.clock.pass(13 * time.Hour)
				b.silently(w, nil)
				return nil
			}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			top := w.addOrg("group", "")
			co := w.connectOIDC(w.addOrg("acme", top), "acme", nil)
			r := newReceiver(t, nil)
			app := w.entitledApp("told", co.org, r.told)
			b := newBrowser(t)
			tok := b.signIn(app, in(co.org))
			p := w.person(co, "acme-1")
			views, err := w.h.broker.SessionsOf(ctx, operator, co.org, p.ID)
			app.must(err)
			if len(views) != 1 || len(views[0].Apps) != 1 {
				t.Fatalf("%+v", views)
			}
			begun := time.Now()
			app.must(c.end(app, co, p, b, views[0].ID))
			if got := r.wait(1)[0]; got["sid"] != claims(t, tok.ID)["sid"] {
				t.Errorf("%v", got)
			}
			t.Logf("told after %s", time.Since(begun))
			w.settled(co.org)
			if c.revive != nil {
				app.must(c.revive(app, co, p))
			}
			if code, _ := b.silently(app, in(co.org)); (code != "") != c.goesOn {
				t.Errorf("single sign-on afterwards: %v", code != "")
			}
			if status, _ := w.userinfo(tok.Access); status != http.StatusUnauthorized {
				t.Errorf("the token from before: %d", status)
			}
			w.settled(co.org)
			if n := r.count(); n != 1 {
				t.Errorf("told %d times", n)
			}
			if d := w.delivered(co.org, 1); d[0].Outcome != delivery.Delivered {
				t.Errorf("%+v", d)
			}
		})
	}
}

// An organization may use an app by the leave of one above it. What was given by that leave ends with it,
// also when the one above keeps the app for itself; where it uses the app in its own right, all goes on.
func TestS6WhatWasGivenByTheLeaveOfAnotherEndsWithIt(t *testing.T) {
	w := newWorld(t)
	w.app.ID = "" // nobody is entitled to anything but what follows
	top := w.addOrg("group", "")
	leave, right := w.connectOIDC(w.addOrg("leave", top), "leave", nil), w.connectOIDC(w.addOrg("right", top), "right", nil)
	r := newReceiver(t, nil)
	app, secret := w.addApp("told", func(a *broker.App) { r.told(a); refreshing(a) })
	w = w.as(app, secret)
	entitle := func(org directory.OrgID, below bool) {
		t.Helper()
		w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: org, App: app.ID, Below: below}))
	}
	entitle(right.org, false)
	told := 0
	for name, end := range map[string]func() error{
		"taken away":                func() error { return w.h.directory.Unentitle(t.Context(), operator, top, app.ID) },
		"kept for the one above it": func() error { entitle(top, false); return nil },
	} {
		entitle(top, true)
		mine, theirs := newBrowser(t).signIn(w, away(leave.org)), newBrowser(t).signIn(w, away(right.org))
		w.must(end())
		told++
		if got := r.wait(told)[told-1]; got["sid"] != claims(t, mine.ID)["sid"] {
			t.Errorf("%s: told of another session: %v", name, got)
		}
		w.settled(leave.org, right.org)
		entitle(top, true)
		w.refresh(mine.Refresh).refused(t, name+", and given again", "invalid_grant")
		if tok := w.refresh(theirs.Refresh); tok.Status != http.StatusOK {
			t.Errorf("%s: who uses the app in its own right: %s", name, tok.raw)
		}
		if n := r.count(); n != told {
			t.Errorf("%s: told %d times, want %d", name, n, told)
		}
	}
}

// What a connection proved before it was switched off counts for nothing when it is on again: no session and
// no offline access. What was proved by another connection goes on.
func TestS15WhatASwitchedOffConnectionProvedIsWorthNothing(t *testing.T) {
	ctx := t.Context()
	w, acme, b, tok := offline(t, nil)
	other := w.connectOIDC(acme.org, "other", nil)
	other.people("o1", "o1@acme.example")
	r := newReceiver(t, nil)
	only := func(c company) func(a *broker.App) {
		return func(a *broker.App) { r.told(a); refreshing(a); a.Connections = []directory.ConnectionID{c.con.ID} }
	}
	desk, lodge := w.entitledApp("by-acme", acme.org, only(acme)), w.entitledApp("by-other", acme.org, only(other))
	mine := b.signIn(desk, away(acme.org))
	elsewhere := newBrowser(t)
	theirs := elsewhere.signIn(lodge, away(acme.org))
	set := func(to upstream.Status) {
		w.must(w.h.connections.Update(ctx, operator, acme.org, acme.con.ID, func(c *upstream.Connection) error {
			c.Status, c.ProofsAfter = to, time.Time{} // which nobody sets by hand
			return nil
		}))
	}
	set(upstream.Disabled)
	if got := r.wait(1)[0]; got["sid"] != claims(t, mine.ID)["sid"] {
		t.Errorf("told of another session: %v", got)
	}
	w.settled(acme.org)
	desk.refresh(mine.Refresh).refused(t, "while it is off", "invalid_grant")
	w.clock.pass(time.Second)
	set(upstream.Active)
	desk.refresh(mine.Refresh).refused(t, "on again", "invalid_grant")
	w.refresh(tok.Refresh).refused(t, "on again, another app", "invalid_grant")
	if status, _ := w.userinfo(tok.Access); status != http.StatusUnauthorized {
		t.Errorf("userinfo: %d", status)
	}
	if code, fault := b.silently(desk, in(acme.org)); code != "" || fault == "" {
		t.Errorf("single sign-on: %q", fault)
	}
	lodge.refresh(theirs.Refresh).good(t, "by the other connection")
	if code, _ := elsewhere.silently(lodge, in(acme.org)); code == "" {
		t.Error("single sign-on by the other connection")
	}
	w.settled(acme.org)
	if n := r.count(); n != 1 {
		t.Errorf("told %d times", n)
	}
	if tok := b.signIn(desk, away(acme.org)); tok.Refresh == "" || desk.refresh(tok.Refresh).Status != http.StatusOK {
		t.Errorf("a fresh sign-in: %s", tok.raw)
	}
}

func (w *world) parentOf(org directory.OrgID) directory.OrgID {
	chain, err := w.h.directory.OrgChain(context.Background(), org)
	w.must(err)
	return chain[len(chain)-2].ID
}

// What an organization may end of a guest is its own part, and it sees nothing else (S3).
func TestS3AnotherOrganizationEndsItsOwnPartAlone(t *testing.T) {
	ctx := context.Background()
	w, lax, strict, b := twoLegs(t)
	ours, theirs := newReceiver(t, nil), newReceiver(t, nil)
	mine := w.entitledApp("mine", strict, ours.told)
	other := w.entitledApp("theirs", lax.org, theirs.told)
	b.signIn(mine, in(strict))
	b.signIn(other, in(lax.org))
	p := w.person(lax, "lax-1")
	all, err := w.h.broker.SessionsOf(ctx, operator, lax.org, p.ID)
	w.must(err)
	part, err := w.h.broker.SessionsOf(ctx, operator, strict, p.ID)
	w.must(err)
	if len(all) != 1 || len(all[0].Orgs) != 2 || len(all[0].Apps) != 3 || len(part) != 1 || len(part[0].Orgs) != 1 || len(part[0].Apps) != 1 || part[0].Apps[0].App != mine.app.ID {
		t.Fatalf("home sees %+v\nthe other %+v", all, part)
	}
	stranger := w.addOrg("stranger", "")
	if _, err := w.h.broker.SessionsOf(ctx, operator, stranger, p.ID); err == nil {
		t.Error("a stranger sees sessions")
	}
	if err := w.h.broker.EndSession(ctx, operator, stranger, p.ID, all[0].ID); err == nil {
		t.Error("a stranger ends sessions")
	}
	for _, a := range []directory.Actor{{}, {Kind: directory.Engine}} {
		if w.h.broker.EndSession(ctx, a, lax.org, p.ID, all[0].ID) == nil || w.h.broker.EndSessionsOf(ctx, a, lax.org, p.ID) == nil {
			t.Errorf("%v ends sessions", a)
		}
		if _, err := w.h.broker.SessionsOf(ctx, a, lax.org, p.ID); err == nil {
			t.Errorf("%v sees sessions", a)
		}
		if _, err := w.h.broker.Deliveries(ctx, a, lax.org, delivery.Query{}); err == nil {
			t.Errorf("%v sees deliveries", a)
		}
	}
	w.must(w.h.broker.EndSessionsOf(ctx, operator, strict, p.ID))
	ours.wait(1)
	w.settled(lax.org, strict)
	if theirs.count() != 0 {
		t.Error("another organization's app was told")
	}
	if code, _ := b.silently(other, in(lax.org)); code == "" {
		t.Error("the home organization's part was ended")
	}
	if code, _ := b.silently(mine, in(strict)); code != "" {
		t.Error("its own part goes on")
	}
}

// The receiver is down, slow, redirects, lies in a private network, or does not want it.
func TestALogoutTokenIsTriedAgainOrDroppedAsTheReceiverAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		closed  bool // nobody listens
		private bool // the operator opened nothing
		again   bool
		class   string
	}{
		"no content":       {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		"it does not want": {answer: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret of the receiver", 400) }, class: "status 400"},
		"it is broken":     {answer: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret of the receiver", 503) }, again: true, class: "status 503"},
		"there is no page": {answer: http.NotFound, again: true, class: "status 404"},
		"it redirects": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, again: true, class: "redirect"},
		"nobody is there":   {closed: true, again: true, class: "unreachable"},
		"a private address": {private: true, again: true, class: "address"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			co := w.addOIDC("acme", nil)
			r := newReceiver(t, c.answer)
			app := w.entitledApp("told", co.org, r.told)
			b := newBrowser(t)
			tok := b.signIn(app, in(co.org))
			if c.closed {
				r.srv.Close()
			}
			if c.private {
				w.must(w.h.broker.Apps.UpdateApp(t.Context(), app.app.ID, func(a *broker.App) error { a.Private = nil; return nil }))
			}
			b.logout(w, url.Values{"id_token_hint": {tok.ID}})
			if b.signedInStill(w) {
				t.Error("the local logout waited for the app")
			}
			var last delivery.Delivery
			eventually(t, "a try", func() bool {
				list, err := w.h.broker.Deliveries(context.Background(), operator, co.org, delivery.Query{Kind: broker.LogoutToken, Most: 5})
				w.must(err)
				if len(list) == 1 {
					last = list[0]
				}
				return last.Outcome == delivery.Delivered || last.Class != ""
			})
			want := delivery.Delivered
			switch {
			case c.again:
				want = delivery.Waiting
			case c.class != "":
				want = delivery.Refused
			}
			if last.Outcome != want || last.Class != c.class {
				t.Errorf("%+v", last)
			}
			if c.private && r.count() != 0 {
				t.Error("a private address was called")
			}
			if !c.again {
				return
			}
			// After a day nobody tries any more, and the record says so.
			w.clock.pass(25 * time.Hour)
			if d := w.delivered(co.org, 1)[0]; d.Outcome != delivery.Expired {
				t.Errorf("%+v", d)
			}
		})
	}
}

// laterSend lets the minute pass for which a house that died holds what it was sending.
func (m *mortal) laterSend() {
	m.t.Helper()
	const q = "UPDATE jobs SET run_at = 1"
	if m.dsn != "" {
		pgtest.Query(m.t, m.dsn, q)
		return
	}
	db, err := sql.Open("sqlite", m.dataFile())
	m.must(err)
	defer db.Close()
	_, err = db.ExecContext(m.t.Context(), q)
	m.must(err)
}

// kill -9 between the commit and the send: the app is told when the house is back.
func TestKilledBeforeItCouldTellTheAppIsToldLater(t *testing.T) {
	var open sync.Mutex
	open.Lock()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if !open.TryLock() {
			panic(http.ErrAbortHandler)
		}
		open.Unlock()
	})
	var app *world
	var c company
	m := newMortal(t, func(w *world) {
		c = w.addOIDC("acme", nil)
		app = w.entitledApp("told", c.org, r.told)
	})
	app.t = t
	b := newBrowser(t)
	tok := b.signIn(app, in(c.org))
	b.logout(m.world, url.Values{"id_token_hint": {tok.ID}})
	m.kill()
	m.laterSend()
	open.Unlock()
	m.start()
	eventually(t, "the logout token", func() bool { return r.count() > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := claims(t, r.tokens[len(r.tokens)-1]); got["sid"] != claims(t, tok.ID)["sid"] {
		t.Errorf("%v", got)
	}
}

// A browser holds five sessions: the sixth sign-in ends the oldest for good, and its apps hear of it.
func TestASessionThatABrowserHasNoRoomForEnds(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	r := newReceiver(t, nil)
	app := w.entitledApp("told", c.org, r.told)
	b := newBrowser(t)
	var first tokenAnswer
	for i := range 6 {
		id := "acme-" + string(rune('a'+i))
		c.people(id, id+"@acme.example")
		tok := b.signIn(app, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
		if i == 0 {
			first = tok
		}
	}
	if got := r.wait(1)[0]; got["sid"] != claims(t, first.ID)["sid"] {
		t.Errorf("%v", got)
	}
	if status, _ := w.userinfo(first.Access); status != 401 {
		t.Errorf("userinfo %d", status)
	}
}
