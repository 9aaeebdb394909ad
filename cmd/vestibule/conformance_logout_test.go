package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The modules of the OpenID Foundation's RP-Initiated Logout and Back-Channel Logout plans for providers,
// each as the story that its driver plays: sign in, log out in one way, and ask silently afterwards.
func TestConformanceOfLogout(t *testing.T) {
	for module, c := range map[string]struct {
		ask func(v url.Values, hint string)
		// sent is where the browser must be sent on to; "" is nowhere: a page is shown.
		sent string
		// asked: the page asks the person; refused: it shows an error; else it says that all is done.
		asked, refused bool
	}{
		"oidcc-rp-initiated-logout": {sent: bye + "?state=st"},
		"oidcc-rp-initiated-logout-bad-id-token-hint": {refused: true,
			ask: func(v url.Values, _ string) { v.Set("id_token_hint", "not a token") }},
		"oidcc-rp-initiated-logout-modified-id-token-hint": {refused: true,
			ask: func(v url.Values, hint string) { v.Set("id_token_hint", hint[:len(hint)-8]+"AAAAAAAA") }},
		"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri": {refused: true,
			ask: func(v url.Values, _ string) { v.Set("post_logout_redirect_uri", "https://unregistered.example/out") }},
		"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri": {refused: true,
			ask: func(v url.Values, _ string) { v.Set("post_logout_redirect_uri", bye+"?foo=bar") }},
		"oidcc-rp-initiated-logout-no-id-token-hint": {refused: true,
			ask: func(v url.Values, _ string) { v.Del("id_token_hint") }},
		"oidcc-rp-initiated-logout-no-params": {asked: true,
			ask: func(v url.Values, _ string) { clear(v) }},
		"oidcc-rp-initiated-logout-only-state": {asked: true,
			ask: func(v url.Values, _ string) { v.Del("id_token_hint"); v.Del("post_logout_redirect_uri") }},
		"oidcc-rp-initiated-logout-no-post-logout-redirect-uri": {
			ask: func(v url.Values, _ string) { v.Del("post_logout_redirect_uri") }},
		"oidcc-rp-initiated-logout-no-state": {sent: bye,
			ask: func(v url.Values, _ string) { v.Del("state") }},
		"oidcc-backchannel-rp-initiated-logout": {sent: bye + "?state=st"},
	} {
		t.Run(module, func(t *testing.T) {
			w := newWorld(t)
			co := w.addOIDC("acme", nil)
			r := newReceiver(t, nil)
			app := w.entitledApp("rp", co.org, r.told)
			b := newBrowser(t)
			tok := b.signIn(app, in(co.org))
			v := url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"st"}}
			if c.ask != nil {
				c.ask(v, tok.ID)
			}
			p := b.logout(app, v)
			switch {
			case c.sent != "":
				if to := p.location(t).String(); to != c.sent {
					t.Errorf("sent to %s", to)
				}
			case c.refused:
				p.refusedHere(t, http.StatusBadRequest)
			case c.asked:
				if p.status != 200 || len(forms(p)) != 1 || r.count() != 0 {
					t.Fatalf("%d %s", p.status, textOf(p.body))
				}
				done := b.send(http.MethodPost, w.url+forms(p)[0].action, forms(p)[0].values, false)
				if done.status != 200 || !strings.Contains(textOf(done.body), "signed out") {
					t.Errorf("%d %s", done.status, textOf(done.body))
				}
			default:
				if p.status != 200 || !strings.Contains(textOf(p.body), "signed out") {
					t.Errorf("%d %s", p.status, textOf(p.body))
				}
			}
			if still := b.signedInStill(app); still != c.refused {
				t.Errorf("signed in still: %v", still)
			}
			if c.refused {
				if r.count() != 0 {
					t.Error("the app was told of a logout that was refused")
				}
				return
			}
			id, got := claims(t, tok.ID), r.wait(1)[0]
			for _, name := range []string{"iss", "aud", "sub", "sid"} {
				if got[name] != id[name] {
					t.Errorf("%s is %v, in the id token %v", name, got[name], id[name])
				}
			}
			if got["nonce"] != nil || got["iat"] == nil || got["jti"] == nil {
				t.Errorf("%v", got)
			}
		})
	}
}
