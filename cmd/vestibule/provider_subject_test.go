package main

import (
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

func pairwise(a *broker.App) { a.Pairwise = true }

// subOf is by what name an app of the house knows whoever sits at b.
func (b *browser) subOf(w *world, change func(url.Values)) (string, tokenAnswer) {
	b.t.Helper()
	tok := b.signIn(w, change)
	return claims(b.t, tok.ID)["sub"].(string), tok
}

// S40: a pairwise subject is the app's own: nobody else can join it with another app's, it is the same for
// one person in all organizations, and it says nothing of the person's id.
func TestS40APairwiseSubjectIsTheSameEverywhereAndTheAppsOwn(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	elsewhere := func(a *broker.App) {
		a.Pairwise, a.Sector = true, "other.example"
	}
	group := func(a *broker.App) { a.Pairwise, a.Sector = true, "group.example" }
	one := w.entitledApp("one", lax.org, group)
	same := w.entitledApp("same-sector", lax.org, group)
	other := w.entitledApp("other", lax.org, elsewhere)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: strict, App: one.app.ID}))
	plain, _ := b.subOf(w, in(lax.org))
	sub, tok := b.subOf(one, in(lax.org))
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(sub) || sub == plain {
		t.Errorf("pairwise sub %q, public %q", sub, plain)
	}
	if got := claims(t, tok.Access)["sub"]; got != sub {
		t.Errorf("the access token's sub is %v", got)
	}
	if status, info := w.userinfo(tok.Access); status != 200 || info["sub"] != sub {
		t.Errorf("userinfo: %d %v", status, info)
	}
	if got, _ := b.subOf(one, in(strict)); got != sub {
		t.Error("another sub in another organization")
	}
	if got, _ := b.subOf(same, in(lax.org)); got != sub {
		t.Error("another sub in the same sector")
	}
	if got, _ := b.subOf(other, in(lax.org)); got == sub || got == plain {
		t.Error("the same sub in another sector")
	}
	// Another node, or this one started again, has the same key.
	kept, err := broker.LoadSubjects(t.Context(), w.h.store)
	w.must(err)
	if !reflect.DeepEqual(kept, w.h.broker.Subjects) {
		t.Error("another key")
	}
}

// Every app may answer on the person's own machine: loopback addresses join no two apps (OpenID Connect Core
// section 8.1 means hosts that somebody owns), and an app that moves from one to another stays itself.
func TestS40LoopbackAddressesShareNoSector(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	seen := map[string]string{}
	for name, uris := range map[string][]string{
		"one": {callback}, "two": {callback}, "localhost": {callback, "http://localhost:5555/callback", "http://[::1]:5555/callback"},
	} {
		app := w.entitledApp(name, c.org, func(a *broker.App) { a.Pairwise, a.RedirectURIs = true, uris })
		sub, _ := b.subOf(app, in(c.org))
		if with, there := seen[sub]; there {
			t.Errorf("%s and %s know the person by one name", name, with)
		}
		seen[sub] = name
		w.must(w.h.broker.ChangeApp(t.Context(), operator, app.app.ID, func(a *broker.App) error {
			a.RedirectURIs = []string{"http://127.0.0.1:6666/elsewhere", callback}
			return nil
		}))
		if again, _ := b.subOf(app, in(c.org)); again != sub {
			t.Errorf("%s moved and knows the person by another name", name)
		}
	}
}

// The token that an app shows as a hint, or the sub that it asks for, is compared as the app knows people.
func TestAPairwiseHintMeansItsPerson(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("pair", c.org, pairwise)
	c.people("p1", "p1@acme.example")
	b := newBrowser(t)
	first := b.signIn(app, in(c.org))
	c.people("p2", "p2@acme.example")
	second := b.signIn(app, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
	for name, tok := range map[string]tokenAnswer{"first": first, "second": second} {
		r := app.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "none"); v.Set("id_token_hint", tok.ID) })
		got := claims(t, app.redeem(b.authorize(app, r).code(t), r.verifier).ID)["sub"]
		if got != claims(t, tok.ID)["sub"] {
			t.Errorf("%s: signed in %v", name, got)
		}
	}
	c.people("p3", "p3@acme.example")
	stranger := newBrowser(t)
	p := stranger.authorize(app, app.request(func(v url.Values) { in(c.org)(v); v.Set("id_token_hint", first.ID) }))
	if p.url.Query().Get("error") != "login_required" {
		t.Errorf("somebody else came in by another's hint: %s", p.url)
	}
}

func TestAPairwiseAppHasOneSector(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*broker.App)
		ok     bool
	}{
		"this machine": {pairwise, true},
		"one host": {func(a *broker.App) {
			a.Pairwise, a.RedirectURIs = true, []string{"https://a.example/", "https://a.example/2"}
		}, true},
		"two hosts": {func(a *broker.App) { a.Pairwise = true; a.RedirectURIs = append(a.RedirectURIs, "https://b.example/") }, false},
		"two hosts, a sector": {func(a *broker.App) {
			a.Pairwise, a.Sector = true, "b.example"
			a.RedirectURIs = append(a.RedirectURIs, "https://b.example/")
		}, true},
		"no host": {func(a *broker.App) {
			a.Pairwise, a.Native = true, true
			a.RedirectURIs = []string{"com.example.app:/cb"}
		}, false},
		"an address for sector": {func(a *broker.App) { a.Pairwise, a.Sector = true, "https://b.example" }, false},
	} {
		app := broker.App{
			ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: "client-" + strings.ReplaceAll(name, " ", "-"), Name: name, Status: directory.Active,
			Settings: broker.Settings{Method: broker.NoSecret, RedirectURIs: []string{callback}},
		}
		c.change(&app)
		err := w.h.broker.AddApp(t.Context(), operator, app)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
