package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// These stories hold client credentials (RFC 6749 section 4.4), opaque access tokens, introspection (RFC
// 7662) and revocation (RFC 7009) to their requirements.

// about posts a token to an endpoint as the world's app would.
func (w *world) about(path, token string, change func(*http.Request)) (int, http.Header, map[string]any) {
	w.t.Helper()
	form := url.Values{"token": {token}}
	if w.secret == "" {
		form.Set("client_id", w.app.ClientID)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(req)
	} else if w.secret != "" {
		w.basic(req)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("%s: Cache-Control %q", path, got)
	}
	return resp.StatusCode, resp.Header, out
}

func (w *world) introspect(token string) map[string]any {
	w.t.Helper()
	status, _, out := w.about("/introspect", token, nil)
	if status != 200 {
		w.t.Fatalf("introspection: %d %v", status, out)
	}
	return out
}

func (w *world) revoke(token string) int {
	w.t.Helper()
	status, _, _ := w.about("/revoke", token, nil)
	return status
}

// inactive checks that an answer says nothing but that the token is not active (RFC 7662 section 2.2).
func inactive(t *testing.T, what string, got map[string]any) {
	t.Helper()
	if !reflect.DeepEqual(got, map[string]any{"active": false}) {
		t.Errorf("%s: %v", what, got)
	}
}

const api = "https://api.example/v1"

// machine makes an app one that acts for itself.
func machine(a *broker.App) {
	a.Grants = []broker.Grant{broker.GrantClient}
	a.RedirectURIs, a.PostLogoutURIs = nil, nil
	a.Scopes, a.Audiences = []string{"ledger.read", "ledger.write"}, []string{api}
}

// act asks for a token of the app's own.
func (w *world) act(change ...func(url.Values)) tokenAnswer {
	w.t.Helper()
	v := url.Values{"grant_type": {"client_credentials"}}
	for _, c := range change {
		c(v)
	}
	return w.token(v, w.basic)
}

func TestAnAppActsForItself(t *testing.T) {
	w := newWorld(t)
	acme := w.addOrg("acme", "")
	bot := w.entitledApp("bot", acme, machine)
	record := bot.counted()
	tok := bot.act(in(acme)).good(t, "client credentials")
	c := claims(t, tok.Access)
	if c["sub"] != "bot" || c["client_id"] != "bot" || c["aud"] != w.url || c["org_id"] != string(acme) || c["org_handle"] != "acme" || c["scope"] != "ledger.read ledger.write" {
		t.Errorf("claims %v", c)
	}
	for _, personal := range []string{"email", "name", "auth_time", "acr", "amr", "sid"} {
		if c[personal] != nil {
			t.Errorf("a token without a person says %s: %v", personal, c[personal])
		}
	}
	if tok.Refresh != "" || tok.ID != "" || tok.Expires != 300 {
		t.Errorf("answer %s", tok.raw)
	}
	narrow := bot.act(set("organization", "acme"), set("scope", "ledger.read"), set("resource", api)).good(t, "by handle, narrower, for a resource")
	if c := claims(t, narrow.Access); c["aud"] != api || c["scope"] != "ledger.read" || narrow.Scope != "ledger.read" {
		t.Errorf("claims %v", c)
	}
	if status, out := w.userinfo(tok.Access); status != 403 || out["error"] != "insufficient_scope" {
		t.Errorf("userinfo of nobody: %d %v", status, out)
	}
	if n := record.of[audit.AppActed]; n != 1 {
		t.Errorf("the record says it %d times", n)
	}
	bot.clock.pass(61 * time.Minute)
	bot.act(in(acme)).good(t, "an hour later")
	if n := record.of[audit.AppActed]; n != 2 {
		t.Errorf("an hour later the record says it %d times", n)
	}
}

func TestWhatAnAppMayNotDoForItself(t *testing.T) {
	w := newWorld(t)
	acme := w.addOrg("acme", "")
	bot := w.entitledApp("bot", acme, machine)
	pinned := w.entitledApp("pinned", acme, func(a *broker.App) { machine(a); a.Org = acme })
	plain := w.entitledApp("plain", acme, nil)
	bot.act().refused(t, "no organization", "invalid_request")
	bot.act(in(acme), set("scope", "openid")).refused(t, "a person's scope", "invalid_scope")
	bot.act(in(acme), set("scope", "ledger.read root")).refused(t, "another scope", "invalid_scope")
	bot.act(in(acme), set("resource", "https://evil.example")).refused(t, "another resource", "invalid_target")
	plain.act(in(acme)).refused(t, "an app without the grant type", "unauthorized_client")
	bot.token(url.Values{"grant_type": {"client_credentials"}, "client_id": {"bot"}, "organization": {string(acme)}}, nil).refused(t, "without its secret", "invalid_client")
	pinned.act().good(t, "an app of one organization")
	other := w.addOrg("other", "")
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: other, App: pinned.app.ID}))
	pinned.act(in(other)).refused(t, "an app of one organization in another", "invalid_request")

	// S6, S31: unknown, suspended and not entitled read alike.
	child := w.addOrg("child", acme)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: child, App: bot.app.ID}))
	kept := bot.act(in(child)).good(t, "in the child")
	want := bot.act(set("organization", "nowhere"))
	want.refused(t, "unknown", "unauthorized_client")
	if got := bot.act(in(other)); got.raw != want.raw {
		t.Errorf("not entitled: %s", got.raw)
	}
	w.must(w.h.directory.SetOrgStatus(t.Context(), operator, acme, directory.Suspended))
	for name, org := range map[string]directory.OrgID{"suspended": acme, "below one that is": child} {
		if got := bot.act(in(org)); got.raw != want.raw {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	inactive(t, "a token of the child", bot.introspect(kept.Access))
	w.must(w.h.directory.SetOrgStatus(t.Context(), operator, acme, directory.Active))
	if got := bot.introspect(kept.Access); got["active"] != true {
		t.Errorf("active again: %v", got)
	}
	w.must(w.h.directory.RemoveEntitlement(t.Context(), child, bot.app.ID))
	inactive(t, "the entitlement is removed", bot.introspect(kept.Access))
}

func TestNoAppTokenRestsOnWhatChangedMeanwhile(t *testing.T) {
	w := newWorld(t)
	acme := w.addOrg("acme", "")
	bot := w.entitledApp("bot", acme, func(a *broker.App) { machine(a); a.Opaque = true })
	w.h.broker.Tx = &outrun{Tx: w.h.broker.Tx, change: func() { w.must(w.h.directory.RemoveEntitlement(context.Background(), acme, bot.app.ID)) }}
	bot.act(in(acme)).refused(t, "the entitlement is removed meanwhile", "unauthorized_client")
}

// audience is an organization with an app that asks for tokens for an API, and the API, which is an app
// whose client id is the audience.
func audience(t *testing.T, change func(*broker.App)) (front, back *world, c company, tok tokenAnswer) {
	t.Helper()
	w, acme, b, _ := offline(t, func(a *broker.App) {
		a.Audiences = []string{api}
		if change != nil {
			change(a)
		}
	})
	back = w.entitledApp(api, acme.org, machine)
	r := w.request(func(v url.Values) { away(acme.org)(v); v.Set("resource", api) })
	return w, back, acme, w.redeem(b.authorize(w, r).code(t), r.verifier).good(t, "token for the API")
}

func opaque(a *broker.App) { a.Opaque = true }

func TestIntrospectionTellsTheAudienceAndTheHolderAlone(t *testing.T) {
	for name, change := range map[string]func(*broker.App){"signed": nil, "opaque": opaque} {
		t.Run(name, func(t *testing.T) {
			front, back, acme, tok := audience(t, change)
			if (name == "opaque") != strings.HasPrefix(tok.Access, "vat_") {
				t.Fatalf("access token %s", tok.Access)
			}
			id := claims(t, tok.ID)
			for who, w := range map[string]*world{"the audience": back, "the holder": front} {
				got := w.introspect(tok.Access)
				if got["active"] != true || got["sub"] != id["sub"] || got["aud"] != api || got["client_id"] != "desk" || got["token_type"] != "Bearer" ||
					got["org_id"] != string(acme.org) || got["iss"] != front.url || got["exp"] == nil || got["jti"] == nil || got["auth_time"] != id["auth_time"] || got["acr"] != id["acr"] {
					t.Errorf("%s: %v", who, got)
				}
				if got["email"] != nil {
					t.Errorf("%s learns an address: %v", who, got)
				}
			}
			third := front.entitledApp("third", acme.org, func(a *broker.App) { machine(a); a.Audiences = []string{api} })
			inactive(t, "another app, which may ask for the same audience", third.introspect(tok.Access))
			for what, other := range map[string]string{"nothing of ours": "x", "no JWT": "a.b.c", "made up": "vat_" + directory.NewSecret(), "the id token": tok.ID, "another signature": tok.Access + "x"} {
				inactive(t, what, front.introspect(other))
			}
			if got := front.introspect(tok.Refresh); got["active"] != true || got["client_id"] != "desk" {
				t.Errorf("the app's own refresh token: %v", got)
			}
			inactive(t, "somebody else's refresh token", back.introspect(tok.Refresh))
			front.clock.pass(6 * time.Minute)
			inactive(t, "over", back.introspect(tok.Access))
		})
	}
}

func TestIntrospectionNeedsAnAuthenticatedApp(t *testing.T) {
	front, back, acme, tok := audience(t, nil)
	pub := front.entitledApp("pub", acme.org, public)
	pub.secret = ""
	for name, try := range map[string]func() (int, http.Header, map[string]any){
		"nobody": func() (int, http.Header, map[string]any) {
			return back.about("/introspect", tok.Access, func(*http.Request) {})
		},
		"a public client": func() (int, http.Header, map[string]any) { return pub.about("/introspect", tok.Access, nil) },
		"a wrong secret": func() (int, http.Header, map[string]any) {
			return back.about("/introspect", tok.Access, func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(api), "guess") })
		},
		"the token itself": func() (int, http.Header, map[string]any) {
			return back.about("/introspect", tok.Access, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+tok.Access) })
		},
	} {
		if status, h, out := try(); status != 401 || out["error"] != "invalid_client" || h.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
	if status, _, out := back.about("/introspect", "", nil); status != 400 || out["error"] != "invalid_request" {
		t.Errorf("no token: %d %v", status, out)
	}
	back.raw("POST", "/introspect?token="+url.QueryEscape(tok.Access), "application/x-www-form-urlencoded", strings.NewReader("")).oauthErrorIs(t, "in the query", 400, "invalid_request")
	back.raw("GET", "/introspect", "", nil).oauthErrorIs(t, "by GET", 405, "invalid_request")
	back.raw("GET", "/revoke", "", nil).oauthErrorIs(t, "by GET", 405, "invalid_request")
}

// S6: introspection asks the door for a person's token, opaque or signed.
func TestS6IntrospectionAsksTheDoorAgain(t *testing.T) {
	ctx := context.Background()
	for name, gone := range map[string]func(w *world, c company, p directory.Person) error{
		"the person is suspended": func(w *world, c company, p directory.Person) error {
			return w.h.directory.SetPersonStatus(ctx, operator, c.org, p.ID, directory.Suspended)
		},
		"the person is signed out everywhere": func(w *world, c company, p directory.Person) error {
			return w.h.directory.UpdatePerson(ctx, c.org, p.ID, func(p *directory.Person) error { p.SessionsAfter = w.clock.now(); return nil })
		},
		"the membership is removed": func(w *world, c company, p directory.Person) error {
			return w.h.directory.EndMembership(ctx, operator, c.org, p.ID)
		},
		"the organization is suspended": func(w *world, c company, _ directory.Person) error {
			return w.h.directory.SetOrgStatus(ctx, operator, c.org, directory.Suspended)
		},
		"the entitlement is removed": func(w *world, c company, _ directory.Person) error {
			return w.h.directory.RemoveEntitlement(ctx, c.org, w.app.ID)
		},
		"the app is suspended": func(w *world, _ company, _ directory.Person) error {
			return w.h.broker.Apps.UpdateApp(ctx, w.app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil })
		},
		"the connection is disabled": func(w *world, c company, _ directory.Person) error {
			w.change(c, func(x *upstream.Connection) { x.Status = upstream.Disabled })
			return nil
		},
	} {
		for form, change := range map[string]func(*broker.App){"signed": nil, "opaque": opaque} {
			t.Run(name+", "+form, func(t *testing.T) {
				front, back, acme, tok := audience(t, change)
				mine := front.refresh(tok.Refresh, set("resource", front.url)).good(t, "one for userinfo")
				front.clock.pass(time.Second)
				front.must(gone(front, acme, front.person(acme, "acme-1")))
				inactive(t, "introspection", back.introspect(tok.Access))
				if status, _ := front.userinfo(mine.Access); status != 401 {
					t.Errorf("userinfo: %d", status)
				}
			})
		}
	}
}

func TestAnOpaqueTokenWorksAtUserinfo(t *testing.T) {
	w, _, _, tok := offline(t, opaque)
	if !strings.HasPrefix(tok.Access, "vat_") || len(tok.Access) != 47 {
		t.Fatalf("access token %q", tok.Access)
	}
	if status, info := w.userinfo(tok.Access); status != 200 || info["email"] != "ada@acme.example" {
		t.Errorf("userinfo: %d %v", status, info)
	}
	for name, bad := range map[string]string{"made up": "vat_" + directory.NewSecret(), "cut": tok.Access[:46], "longer": tok.Access + "x"} {
		if status, _ := w.userinfo(bad); status != 401 {
			t.Errorf("%s: %d", name, status)
		}
	}
	w.clock.pass(6 * time.Minute)
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("over: %d", status)
	}
}

// RFC 7009: a refresh token takes its family along, an access token goes alone.
func TestRevocation(t *testing.T) {
	for name, change := range map[string]func(*broker.App){"signed": nil, "opaque": opaque} {
		t.Run(name, func(t *testing.T) {
			front, back, acme, tok := audience(t, change)
			for what, gone := range map[string]string{"unknown": "x", "a made up family": "vrt_" + directory.NewSecret() + "." + directory.NewSecret(), "a made up token": "vat_" + directory.NewSecret(), "the id token": tok.ID} {
				if status := front.revoke(gone); status != 200 {
					t.Errorf("%s: %d", what, status)
				}
			}
			other := front.entitledApp("other", acme.org, refreshing)
			for what, token := range map[string]string{"access": tok.Access, "refresh": tok.Refresh} {
				for _, w := range []*world{other, back} { // the audience did not get it either
					if status := w.revoke(token); status != 400 {
						t.Errorf("another client's %s token: %d", what, status)
					}
				}
			}
			if status, _, out := front.about("/revoke", tok.Refresh, func(r *http.Request) { r.SetBasicAuth("desk", "guess") }); status != 401 || out["error"] != "invalid_client" {
				t.Errorf("a wrong secret: %d %v", status, out)
			}
			if got := back.introspect(tok.Access); got["active"] != true {
				t.Fatalf("after all that: %v", got)
			}
			second := front.refresh(tok.Refresh, set("resource", api)).good(t, "refresh")
			if status := front.revoke(tok.Access); status != 200 {
				t.Errorf("access token: %d", status)
			}
			inactive(t, "the access token", back.introspect(tok.Access))
			if got := back.introspect(second.Access); got["active"] != true {
				t.Errorf("another of its family: %v", got)
			}
			record := front.counted()
			for range 2 {
				if status := front.revoke(tok.Refresh); status != 200 { // an older token of the family will do
					t.Errorf("refresh token: %d", status)
				}
			}
			inactive(t, "an access token of the family", back.introspect(second.Access))
			inactive(t, "the refresh token", front.introspect(second.Refresh))
			front.refresh(second.Refresh).refused(t, "the family", "invalid_grant")
			if n := record.of[audit.TokenGivenUp]; n != 1 {
				t.Errorf("recorded %d times", n)
			}
		})
	}
}

func TestAPublicClientRevokesItsOwn(t *testing.T) {
	w, _, _, tok := offline(t, public)
	if status := w.revoke(tok.Refresh); status != 200 {
		t.Errorf("%d", status)
	}
	w.refresh(tok.Refresh).refused(t, "afterwards", "invalid_grant")
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("userinfo: %d", status)
	}
}
