package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
)

// wentTo says whether the browser was at the provider's logout.
func (b *browser) wentTo(c company) bool {
	for _, hop := range b.hops {
		if hop == "GET "+strings.TrimPrefix(c.idp.Base, "http://")+"/end_session" {
			return true
		}
	}
	return false
}

// Row 79: what logging out does to the session at the provider is the connection's choice; the session here
// has ended in any case.
func TestLogoutGoesOnToTheProviderAsTheConnectionChooses(t *testing.T) {
	for _, choice := range []upstream.LogoutChoice{"", upstream.LogoutLocal, upstream.LogoutAsk, upstream.LogoutUpstream} {
		for _, after := range []string{"", bye} {
			t.Run(string(choice)+" "+after, func(t *testing.T) {
				w := newWorld(t)
				c := w.addOIDC("acme", func(x *upstream.Connection, _ *oidc.Config) { x.Logout = choice })
				b, tok := w.signedIn(c.org)
				v := url.Values{"id_token_hint": {tok.ID}, "state": {"s"}}
				if after != "" {
					v.Set("post_logout_redirect_uri", after)
				}
				p := b.logout(w, v)
				if b.twin().signedInStill(w) {
					t.Fatal("the local logout waited for the provider")
				}
				if choice == upstream.LogoutUpstream {
					q := p.location(t).Query()
					if !strings.HasPrefix(p.location(t).String(), c.idp.Base+"/end_session?") || q.Get("client_id") != "vestibule" ||
						q.Get("logout_hint") != "ada@acme.example" || q.Get("post_logout_redirect_uri") != w.url+"/logout/returned" || len(q.Get("state")) < 43 {
						t.Fatalf("%s", p.location(t))
					}
				}
				p = b.follow(p)
				if choice == upstream.LogoutAsk {
					if b.wentTo(c) || len(forms(p)) != 1 || !strings.Contains(textOf(p.body), "Sign out of Okta of acme · Acme too") {
						t.Fatalf("%v %s", b.hops, textOf(p.body))
					}
					if after != "" && !strings.Contains(p.body, `href="`+bye+`?state=s"`) {
						t.Errorf("no way on to the app: %s", p.body)
					}
					action := forms(p)[0].action
					if x := b.send(http.MethodPost, w.url+action, url.Values{"connection": {string(c.con.ID)}}, true); x.status != http.StatusForbidden {
						t.Errorf("another site chooses: %d", x.status)
					}
					p = b.follow(b.send(http.MethodPost, w.url+action, url.Values{"connection": {string(c.con.ID)}}, false))
				}
				if b.wentTo(c) != (choice == upstream.LogoutAsk || choice == upstream.LogoutUpstream) {
					t.Errorf("hops %v", b.hops)
				}
				switch {
				case after != "":
					if p.url.String() != bye+"?state=s" {
						t.Errorf("at %s", p.url)
					}
				case !strings.Contains(textOf(p.body), "signed out"):
					t.Errorf("%s", textOf(p.body))
				case strings.Contains(textOf(p.body), "Okta of acme") != (choice == "" || choice == upstream.LogoutLocal):
					t.Errorf("what stays signed in: %s", textOf(p.body))
				}
			})
		}
	}
}

// A provider that is gone holds nobody up, and the person is told.
func TestLogoutDoesNotWaitForAProviderThatIsGone(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", func(x *upstream.Connection, cfg *oidc.Config) { x.Logout = upstream.LogoutUpstream })
	b, tok := w.signedIn(c.org)
	// Settings that point nowhere: nothing of the provider is known any more.
	w.change(c, func(x *upstream.Connection) {
		x.Config = encode(t, oidc.Config{ClientID: "vestibule", Endpoints: &oidc.Endpoints{Authorization: c.idp.Base + "/authorize", Token: c.idp.Base + "/token", JWKS: c.idp.Base + "/jwks"}})
	})
	p := b.logout(w, url.Values{"id_token_hint": {tok.ID}})
	if p.status != 200 || !strings.Contains(textOf(p.body), "Okta of acme") {
		t.Errorf("%d %s", p.status, textOf(p.body))
	}
	if b.signedInStill(w) {
		t.Error("signed in still")
	}
}

// What comes back from a provider ends nothing and leads nowhere by itself.
func TestTheWayBackFromAProviderIsNoPower(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b, _ := w.signedIn(c.org)
	for _, q := range []string{"", "?state=guess", "?state=guess&post_logout_redirect_uri=https://evil.example/", "?state=a&state=b"} {
		p := b.send(http.MethodGet, w.url+"/logout/returned"+q, nil, false)
		if p.header.Get("Location") != "" || strings.Contains(p.body, "evil.example") {
			t.Errorf("%s: %d %s", q, p.status, p.header.Get("Location"))
		}
	}
	if p := b.send(http.MethodPost, w.url+"/logout/upstream?continue=guess", url.Values{"connection": {string(c.con.ID)}}, false); p.header.Get("Location") != "" {
		t.Errorf("sent to %s", p.header.Get("Location"))
	}
	if !b.signedInStill(w) {
		t.Error("somebody was signed out by a link")
	}
}

// SAML has no way to do it yet, and says so instead of pretending.
func TestSAMLRefusesALogoutThatItCannotDo(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("retail", nil)
	for _, choice := range []upstream.LogoutChoice{upstream.LogoutAsk, upstream.LogoutUpstream} {
		err := w.h.connections.Update(t.Context(), operator, c.org, c.con.ID, func(x *upstream.Connection) error { x.Logout = choice; return nil })
		if err == nil || !strings.Contains(err.Error(), upstream.ErrNoSignOut.Code) && !strings.Contains(err.Error(), upstream.ErrNoSignOut.Public) {
			t.Errorf("%s: %v", choice, err)
		}
	}
	if err := w.h.connections.Update(t.Context(), operator, c.org, c.con.ID, func(x *upstream.Connection) error { x.Logout = "sometimes"; return nil }); err == nil {
		t.Error("an unknown choice was stored")
	}
}

// S37: an app ends what its organization's apps used, says what stays, and ends the rest only when asked.
func TestS37LogoutByAnAppOfOneOrganizationAsksBeforeEndingTheRest(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	r, other := newReceiver(t, nil), newReceiver(t, nil)
	here := w.entitledApp("here", strict, r.told)
	there := w.entitledApp("there", lax.org, other.told)
	tok, rest := b.signIn(here, in(strict)), b.signIn(there, in(lax.org))
	p := b.logout(here, url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"x"}})
	text := textOf(p.body)
	if p.status != 200 || !strings.Contains(text, "Lax") || !strings.Contains(p.body, `href="`+bye+`?state=x"`) || len(forms(p)) != 1 {
		t.Fatalf("%d %s", p.status, text)
	}
	r.wait(1)
	w.settled(lax.org, strict)
	if other.count() != 0 {
		t.Error("the other organization's app was told")
	}
	if code, _ := b.silently(there, in(lax.org)); code == "" {
		t.Error("the rest was ended without asking")
	}
	if code, _ := b.silently(here, in(strict)); code != "" {
		t.Error("the app's own part goes on")
	}
	done := b.follow(b.send(http.MethodPost, w.url+forms(p)[0].action, url.Values{}, false))
	if done.url.String() != bye+"?state=x" {
		t.Errorf("at %s", done.url)
	}
	if got := other.wait(1)[0]; got["sid"] != claims(t, rest.ID)["sid"] {
		t.Errorf("%v", got)
	}
	if b.signedInStill(w) {
		t.Error("signed in still")
	}
	if r.count() != 1 {
		t.Error("an app was told twice")
	}
}
