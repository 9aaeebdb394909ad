package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
)

// This file holds stories of what changes, piles up or collides between the beginning of a login and
// its end.

// An address that the app gave up while somebody was at their provider gets no code: it may be in other
// hands by now.
func TestACodeIsNeverSentToAnAddressThatTheAppGaveUpMeanwhile(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	answer := b.atProvider(w, b.depart(w, w.request(in(c.org))))
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error {
		a.RedirectURIs = []string{"http://127.0.0.1:5555/elsewhere"}
		return nil
	}))
	p := b.deliver(answer)
	if at := p.header.Get("Location"); at != "" || p.status != http.StatusBadRequest {
		t.Errorf("%d, sent to %q", p.status, at)
	}
	code, _ := audit.ParseCode(shownCode.FindString(p.body))
	if tr, found, err := w.h.store.TraceByCode(t.Context(), code); err != nil || !found || tr.Fault != broker.ErrRedirectURI.Code {
		t.Errorf("its story: found %v, %+v, %v", found, tr, err)
	}
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error {
		a.RedirectURIs = []string{callback}
		return nil
	}))
	b.nothing(w, p)
}

// An app that was switched off while somebody was at their provider is told nothing, and no page leads to it:
// whoever took it over must not go on receiving people by our hand.
func TestS6AnAppThatIsStoppedMeanwhileIsToldNothing(t *testing.T) {
	for name, c := range map[string]struct {
		ask   func(url.Values)
		spoil func(w *world, c company)
	}{
		"nothing else is wrong": {},
		"somebody else signed in than it means": {ask: func(v url.Values) {
			v.Set("claims", `{"id_token":{"sub":{"value":"somebody else"}}}`)
		}},
		"whoever comes is no member": {spoil: func(w *world, c company) {
			w.must(w.h.directory.EndMembership(w.t.Context(), operator, c.org, w.person(c, "acme-1").ID))
		}},
	} {
		w := newWorld(t)
		co := w.addOIDC("acme", nil)
		newBrowser(t).signIn(w, in(co.org)) // so that the person is there
		b := newBrowser(t)
		answer := b.atProvider(w, b.depart(w, w.request(func(v url.Values) {
			in(co.org)(v)
			if c.ask != nil {
				c.ask(v)
			}
		})))
		w.must(w.h.broker.SetAppStatus(t.Context(), operator, w.app.ID, directory.Suspended))
		if c.spoil != nil {
			c.spoil(w, co)
		}
		p := b.follow(b.deliver(answer))
		if p.status < 400 || strings.Contains(p.body+p.header.Get("Location"), "127.0.0.1:5555") || p.url.Host == "127.0.0.1:5555" {
			t.Errorf("%s: %d at %s: %s", name, p.status, p.url, p.body)
		}
	}
}

// RFC 6749 section 3.1.2: a redirect URI has no fragment, not even an empty one that swallows the answer.
func TestALoopbackAddressVariesInItsPortAlone(t *testing.T) {
	w := newWorld(t)
	native, _ := w.addApp("native", func(a *broker.App) {
		public(a)
		a.Native, a.RedirectURIs = true, []string{"http://127.0.0.1/cb", "http://127.0.0.1/a%20b"}
	})
	for uri, good := range map[string]bool{
		"http://127.0.0.1:4242/cb": true, "http://127.0.0.1:4242/a%20b": true,
		"http://127.0.0.1:4242/cb#": false, "HTTP://127.0.0.1:4242/cb": false, "http://127.0.0.1:4242/a b": false,
	} {
		r := w.as(native, "").request(func(v url.Values) { v.Set("redirect_uri", uri); v.Set("prompt", "none") })
		if got := newBrowser(t).asked(w, r.Encode()).header.Get("Location"); (got != "") != good {
			t.Errorf("%q: sent to %q", uri, got)
		}
	}
}

// What anybody may send without an account is kept for an hour, so each must stay small.
func TestS53ALoginInProgressStaysSmallWhateverIsSent(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	p := b.authorize(w, w.request(func(v url.Values) { v.Set("ui_locales", "es "+strings.Repeat("en ", 9000)) }))
	if p.status != http.StatusOK {
		t.Fatalf("%d %s", p.status, textOf(p.body))
	}
	size := func() int {
		row, err := w.h.store.Brief().Get(t.Context(), "login/"+strings.TrimPrefix(p.url.Path, "/login/"))
		w.must(err)
		return len(row)
	}
	if n := size(); n > 4<<10 {
		t.Errorf("with long ui_locales: %d bytes", n)
	}
	at := b.answer(p, "identifier", strings.Repeat("é", 8<<10))
	if n := size(); n > 4<<10 || at.status != http.StatusOK || !strings.Contains(at.body, `name="identifier"`) {
		t.Errorf("with a long address: %d bytes, %d %.200s", n, at.status, textOf(at.body))
	}
}

// quicker is a store where, once, another tab changed the login a moment before.
type quicker struct {
	brief.Store
	armed atomic.Bool
}

func (f *quicker) Swap(ctx context.Context, key string, old, next []byte) error {
	if strings.HasPrefix(key, "login/") && f.armed.CompareAndSwap(true, false) {
		if err := f.Store.Swap(ctx, key, old, append([]byte(" "), old...)); err != nil {
			return err
		}
	}
	return f.Store.Swap(ctx, key, old, next)
}

func TestADoubleClickOnAnotherAccountDoesNoHarm(t *testing.T) {
	w := newWorld(t)
	f := &quicker{Store: w.h.engine.Brief}
	w.h.engine.Brief = f
	b := newBrowser(t)
	p := b.authorize(w, w.request(nil))
	f.armed.Store(true)
	if at := b.get(w, p.url.Path+"?other=1"); at.status != http.StatusSeeOther {
		t.Errorf("the slower of two clicks: %d %s", at.status, textOf(at.body))
	}
}

// Who wished that one organization be remembered, and then took another, wished nothing of that one.
func TestTheWishToBeRememberedIsForTheOrganizationThatWasChosen(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	w.policy(strict, map[string]string{"session.lifetime": `"30m"`})
	w.clock.pass(31 * time.Minute)
	p := b.authorize(w, w.request(nil))
	id := strings.TrimPrefix(p.url.Path, "/login/")
	b.send(http.MethodPost, w.url+"/login/"+id+"/choose", url.Values{"step": {"choose"}, "org": {string(strict)}, "remember": {"1"}}, false)
	b.follow(b.get(w, "/login/"+id+"?other=1"))
	at := b.follow(b.send(http.MethodPost, w.url+"/login/"+id+"/identify", url.Values{"step": {"identify"}, "org": {string(lax.org)}}, false))
	at.code(t)
	if p := b.authorize(w, w.request(nil)); p.sent() != "" {
		t.Error("an organization was taken that nobody asked to be remembered")
	}
}

// A code on an error page finds its story, whichever way the login ended.
func TestEveryCodeThatALoginShowsIsKept(t *testing.T) {
	kept := func(w *world, p *page) bool {
		code, _ := audit.ParseCode(shownCode.FindString(p.body))
		_, found, err := w.h.store.TraceByCode(t.Context(), code)
		w.must(err)
		return found && p.status >= 400
	}
	t.Run("a remembered organization was suspended meanwhile", func(t *testing.T) {
		w := newWorld(t)
		c := w.addOIDC("acme", nil)
		b := newBrowser(t)
		b.signIn(w, in(c.org))
		p := b.takes(b.authorize(w, w.request(set("prompt", "select_account"))), "another")
		w.must(w.h.directory.SetOrgStatus(t.Context(), operator, c.org, directory.Suspended))
		at := b.send(http.MethodPost, w.url+p.url.Path+"/identify", url.Values{"org": {string(c.org)}}, false)
		if !kept(w, at) {
			t.Errorf("%d %s", at.status, textOf(at.body))
		}
	})
	t.Run("a part of ours is broken", func(t *testing.T) {
		w := newWorld(t)
		w.h.directory.Domains = brokenDomains{w.h.directory.Domains}
		at := newBrowser(t).authorize(w, w.request(set("login_hint", "ada@acme.example")))
		if !kept(w, at) {
			t.Errorf("%d %s", at.status, textOf(at.body))
		}
	})
}

type brokenDomains struct{ directory.Domains }

func (brokenDomains) OrgOfDomain(context.Context, directory.RealmID, string) (directory.Domain, bool, error) {
	return directory.Domain{}, false, errors.New("the disk is gone")
}

// Anybody who knows an app can make logins fail. Their stories fill no disk: beyond a rate they are a
// line in the log, under the code that the page shows.
func TestS53FailedLoginsOfOneNetworkFillNoDisk(t *testing.T) {
	limit := web.Limit{Name: "stories", Most: 3, Per: time.Hour}
	for name, limits := range map[string]broker.Limits{"network": {StoriesPerNetwork: limit}, "app": {StoriesPerApp: limit}} {
		t.Run(name, func(t *testing.T) {
			w := worldIn(t, t.TempDir(), func(c *config) { c.Limits = limits })
			ask := func() (found bool) {
				p := newBrowser(t).authorize(w, w.request(func(v url.Values) { v.Set("organization", "nobody") }))
				code, ok := audit.ParseCode(shownCode.FindString(p.body))
				_, found, err := w.h.store.TraceByCode(t.Context(), code)
				w.must(err)
				if p.status != http.StatusForbidden || !ok || !found && !strings.Contains(w.logged.String(), audit.ShowCode(code)) {
					t.Errorf("%d, code %q: neither kept nor logged", p.status, code)
				}
				return found
			}
			for i := range 6 {
				if found := ask(); found != (i < 3) {
					t.Errorf("failed login %d: kept %v", i+1, found)
				}
			}
			w.clock.pass(61 * time.Minute)
			if !ask() {
				t.Error("an hour later none is kept")
			}
		})
	}
	if l := broker.DefaultLimits(); l.StoriesPerNetwork.Most == 0 || l.StoriesPerApp.Most == 0 {
		t.Error("by default nothing is limited")
	}
}

// Signing out of one organization ends what the session was there, also for a picker that was open and for
// proofs that came after it: only a fresh proof opens it again (S37).
func TestS37APickerThatWasOpenDoesNotOpenALegThatWasEnded(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	b.signIn(w, in(strict))
	picker := b.authorize(w, w.request(nil))
	w.clock.pass(time.Second)
	tok := b.signIn(w, func(v url.Values) { in(strict)(v); v.Set("prompt", "login") })
	w.clock.pass(time.Second)
	b.logout(w, url.Values{"id_token_hint": {tok.ID}})
	if code, _ := b.silently(w, in(lax.org)); code == "" {
		t.Fatal("the other leg ended too")
	}
	lax.idp.SetAuto("")
	if at := b.pick(picker, strict); at.sent() != "" {
		t.Error("a code without a proof, after signing out")
	}
}

func TestS53QuestionsWhetherToSignOutAreCountedPerNetwork(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	w.h.broker.Limits.AuthorizePerNetwork = web.Limit{Name: "fresh", Most: 5, Per: time.Minute}
	last := 0
	for range 8 {
		last = b.get(w, "/logout").status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the eighth of five: %d", last)
	}
}

// RFC 9110 section 15.5.6: whoever asks in a way that an address does not answer is told which it does.
func TestAWrongMethodIsToldTheRightOne(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	for at, want := range map[string]string{"/logout/confirm": "POST", "/login/x/identify": "POST", "/login/x": "GET, HEAD"} {
		method := http.MethodGet
		if want != "POST" {
			method = http.MethodDelete
		}
		p := b.send(method, w.url+at, nil, false)
		if p.status != http.StatusMethodNotAllowed || p.header.Get("Allow") != want {
			t.Errorf("%s %s: %d, Allow %q", method, at, p.status, p.header.Get("Allow"))
		}
	}
}

// A registered address is the app's: what is added leaves the rest of it as it is.
func TestAPostLogoutAddressKeepsItsOwnQuery(t *testing.T) {
	w := newWorld(t)
	const after = "http://127.0.0.1:5555/bye?tenant=a%20b;c&x"
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error {
		a.PostLogoutURIs = []string{after}
		return nil
	}))
	p := newBrowser(t).logout(w, url.Values{"client_id": {w.app.ClientID}, "post_logout_redirect_uri": {after}, "state": {"s&1"}})
	if got := p.header.Get("Location"); got != after+"&state=s%261" {
		t.Errorf("sent to %s", got)
	}
}

// The provider is told an address that was typed, never the handle of an organization.
func TestATypedHandleDoesNotReachTheProvider(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	for typed, want := range map[string]string{"acme": "", " ada@acme.example ": "ada@acme.example"} {
		b := newBrowser(t)
		p := b.authorize(w, w.request(nil))
		to := b.send(http.MethodPost, w.url+p.url.Path+"/identify", url.Values{"identifier": {typed}}, false).location(t)
		if got := to.Query().Get("login_hint"); got != want || to.Query().Get("state") == "" {
			t.Errorf("typed %q: login_hint %q at %s", typed, got, to)
		}
	}
}

// Whatever stands in a path is answered by a page or a document, and is no error of ours.
func TestOddPathsAreNoErrorOfOurs(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	for _, odd := range []string{"%00", "%ff%fe", "%0d%0aX:%20y", "..%2f..%2fetc", strings.Repeat("a", 9000), "%e2%80%ae"} {
		for _, at := range []string{"/connection/" + odd + "/metadata", "/login/" + odd, "/arrive/" + odd, "/login/" + strings.Repeat("A", 43) + "?t=" + odd,
			"/arrive/x?state=" + odd, "/logout?continue=" + odd, "/authorize?continue=" + odd, "/select/" + odd, "/consent/" + odd, "/theme/" + odd, "/theme/" + odd + ".css", "/" + odd} {
			if p := b.get(w, at); p.status >= 500 || p.header.Get("X") != "" {
				t.Errorf("%.80s: %d", at, p.status)
			}
		}
	}
}

// Whoever signs out of everything in this browser leaves no half-finished login behind that the next
// person at it could finish.
func TestSigningOutOfEverythingEndsWhatWasNotFinished(t *testing.T) {
	w, _, strict, b := twoLegs(t)
	p := b.authorize(w, w.request(set("prompt", "select_account")))
	p = b.takes(p, "another")
	picker := b.answer(p, "identifier", "ada@lax.example") // proved by the provider, anew
	if !strings.Contains(picker.body, "/choose") {
		t.Fatalf("no picker: %s", textOf(picker.body))
	}
	for _, f := range forms(b.get(w, "/logout")) {
		if strings.HasPrefix(f.action, "/logout/confirm") {
			b.send(http.MethodPost, w.url+f.action, f.values, false)
		}
	}
	b.nothing(w, b.pick(picker, strict))
}

type counted struct {
	audit.Recorder
	n atomic.Int64
}

func (c *counted) Record(ctx context.Context, e audit.Entry) error {
	c.n.Add(1)
	return c.Recorder.Record(ctx, e)
}

// Showing one code again and again fills no record: the first replay says all (S43).
func TestS43ACodeThatIsReplayedOftenIsRecordedOnce(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	code, r := w.freshCode(c.org, nil)
	w.redeem(code, r.verifier)
	record := &counted{Recorder: w.h.broker.Audit}
	w.h.broker.Audit = record
	for range 5 {
		if got := w.redeem(code, r.verifier); got.Error != "invalid_grant" {
			t.Errorf("%s", got.raw)
		}
	}
	if n := record.n.Load(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// A clock that was set back does not turn what a session proved into what this login proved: whoever asks
// for a new sign-in gets one.
func TestS46AClockThatGoesBackDoesNotMakeOldProofsNew(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	w.clock.pass(-30 * time.Minute)
	c.idp.SetAuto("")
	at := b.authorize(w, w.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") }))
	if at.sent() != "" || !strings.HasPrefix(at.url.String(), c.idp.Base) {
		t.Errorf("not asked again: %s %d", at.url, at.status)
	}
}

// When the way that a domain names is closed, its people choose among those that are left: the first of
// them may not be theirs.
func TestADomainsClosedConnectionLeavesTheChoiceToThePerson(t *testing.T) {
	w := newWorld(t)
	one := w.addOIDC("acme", nil)
	w.connectOIDC(one.org, "acme-b", nil)
	three := w.connectOIDC(one.org, "acme-c", nil)
	w.change(one, func(c *upstream.Connection) { c.Status = upstream.Disabled })
	b := newBrowser(t)
	p := b.answer(b.authorize(w, w.request(nil)), "identifier", "ada@acme.example")
	if p.status != http.StatusOK || !strings.Contains(p.body, string(three.con.ID)) {
		t.Fatalf("no choice: %s %d %s", p.url, p.status, textOf(p.body))
	}
	at := b.send(http.MethodPost, w.url+p.url.Path+"/choose", url.Values{"connection": {string(three.con.ID)}}, false)
	if to := at.location(t).String(); !strings.HasPrefix(to, three.idp.Base) {
		t.Errorf("sent to %s", to)
	}
}

// The picker names ways in that are open, not what an administrator drafts or has switched off.
func TestThePickerNamesOnlyWaysInThatAreOpen(t *testing.T) {
	w, _, strict, b := twoLegs(t)
	w.connectOIDC(strict, "hidden", func(c *upstream.Connection, _ *oidc.Config) { c.Status = upstream.Draft })
	p := b.authorize(w, w.request(nil))
	if strings.Contains(p.body, "Okta of hidden") || strings.Count(p.body, "Okta of lax") != 2 {
		t.Errorf("%s", textOf(p.body))
	}
}
