package main

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// These stories hold token exchange to RFC 8693 and security.md S6.

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessToken   = "urn:ietf:params:oauth:token-type:access_token"
	ledger        = "https://ledger.example"
	vault         = "https://vault.example"
)

// exchanger makes an app one that exchanges tokens for those audiences.
func exchanger(audiences ...string) func(*broker.App) {
	return func(a *broker.App) {
		a.Grants = []broker.Grant{broker.GrantExchange, broker.GrantClient}
		a.RedirectURIs, a.PostLogoutURIs, a.Audiences = nil, nil, audiences
		a.Scopes = []string{"ledger.read"}
	}
}

// swap exchanges a token as the world's app would.
func (w *world) swap(token string, change ...func(url.Values)) tokenAnswer {
	w.t.Helper()
	v := url.Values{"grant_type": {exchangeGrant}, "subject_token": {token}, "subject_token_type": {accessToken}, "audience": {ledger}}
	for _, c := range change {
		c(v)
	}
	return w.token(v, w.basic)
}

// chain is an app with a person's token for an API, the API, which may exchange it for the ledger, and the
// ledger, which may exchange that for the vault.
type chain struct {
	front, api, ledger, vault *world
	company
	browser *browser
	tok     tokenAnswer
}

func newChain(t *testing.T, change func(*broker.App)) *chain {
	t.Helper()
	w, acme, b, _ := offline(t, func(a *broker.App) {
		a.Audiences, a.Scopes = []string{api}, []string{"ledger.read", "ledger.write"}
		if change != nil {
			change(a)
		}
	})
	c := &chain{front: w, company: acme, browser: b}
	c.api = w.entitledApp(api, acme.org, exchanger(ledger, vault, w.url))
	c.ledger = w.entitledApp(ledger, acme.org, exchanger(vault, api))
	c.vault = w.entitledApp(vault, acme.org, machine)
	c.tok = c.again(t, "openid profile email offline_access ledger.read ledger.write")
	return c
}

// again is another sign-in of the same person to the front app, for the API.
func (c *chain) again(t *testing.T, scope string) tokenAnswer {
	t.Helper()
	r := c.front.request(func(v url.Values) { in(c.org)(v); v.Set("scope", scope); v.Set("resource", api) })
	return c.front.redeem(c.browser.authorize(c.front, r).code(t), r.verifier).good(t, "token for the API")
}

func TestATokenIsExchangedOnAndSaysWhoActs(t *testing.T) {
	for name, change := range map[string]func(*broker.App){"signed": nil, "opaque": opaque} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, change)
			was := c.api.introspect(c.tok.Access)
			c.front.clock.pass(time.Minute)
			got := c.api.swap(c.tok.Access, set("scope", "ledger.read")).good(t, "exchange")
			if got.IssuedType != accessToken || got.Type != "Bearer" || got.Refresh != "" || got.ID != "" || got.Scope != "ledger.read" {
				t.Errorf("answer %s", got.raw)
			}
			now := claims(t, got.Access)
			for _, claim := range []string{"iss", "sub", "org_id", "org_handle", "realm", "auth_time", "acr", "amr"} {
				if !reflect.DeepEqual(was[claim], now[claim]) {
					t.Errorf("%s: %v, then %v", claim, was[claim], now[claim])
				}
			}
			if now["aud"] != ledger || now["client_id"] != api || now["exp"].(float64) > was["exp"].(float64) {
				t.Errorf("claims %v, of %v", now, was)
			}
			if !reflect.DeepEqual(now["act"], map[string]any{"sub": api, "client_id": api}) {
				t.Errorf("act %v", now["act"])
			}
			if got := c.ledger.introspect(got.Access); got["active"] != true || !reflect.DeepEqual(got["act"], now["act"]) {
				t.Errorf("the ledger asks: %v", got)
			}
			on := c.ledger.swap(got.Access, set("audience"), set("resource", vault)).good(t, "on, by resource")
			if act := claims(t, on.Access)["act"]; !reflect.DeepEqual(act, map[string]any{"sub": ledger, "client_id": ledger, "act": now["act"]}) {
				t.Errorf("nested act %v", act)
			}
			if got := c.vault.introspect(on.Access); got["active"] != true {
				t.Errorf("the vault asks: %v", got)
			}
			inactive(t, "the API asks of the vault's", c.api.introspect(on.Access))
		})
	}
}

// An app that exchanges its own token acts for nobody but itself; an actor_token names somebody else.
func TestTheActorIsWhoActs(t *testing.T) {
	c := newChain(t, func(a *broker.App) {
		a.Grants, a.Audiences = append(a.Grants, broker.GrantExchange), append(a.Audiences, ledger)
	})
	own := c.front.swap(c.tok.Access).good(t, "the app's own token")
	if act := claims(t, own.Access)["act"]; act != nil {
		t.Errorf("act %v", act)
	}
	bot := c.api.act(in(c.org)).good(t, "the API's own token")
	acting := func(token string) func(url.Values) {
		return func(v url.Values) { v.Set("actor_token", token); v.Set("actor_token_type", accessToken) }
	}
	got := c.api.swap(c.tok.Access, acting(bot.Access)).good(t, "the API itself")
	if act := claims(t, got.Access)["act"]; !reflect.DeepEqual(act, map[string]any{"sub": api, "client_id": api}) {
		t.Errorf("act %v", act)
	}
	helper := c.again(t, "openid")
	got = c.api.swap(c.tok.Access, acting(helper.Access)).good(t, "a person")
	if act := claims(t, got.Access)["act"]; !reflect.DeepEqual(act, map[string]any{"sub": claims(t, helper.Access)["sub"], "client_id": "desk"}) {
		t.Errorf("act %v", act)
	}
	elsewhere := c.front.addOrg("elsewhere", "")
	c.front.must(c.front.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: elsewhere, App: c.api.app.ID}))
	foreign := c.api.act(in(elsewhere)).good(t, "the API in another organization")
	c.api.swap(c.tok.Access, acting(foreign.Access)).refused(t, "an actor of another organization", "invalid_request")
	c.api.swap(c.tok.Access, acting(c.ledger.act(in(c.org)).Access)).refused(t, "another app's token as the actor's", "invalid_request")
	c.api.swap(c.tok.Access, acting("x")).refused(t, "no token", "invalid_request")
	c.api.swap(c.tok.Access, set("actor_token", bot.Access)).refused(t, "an actor without its type", "invalid_request")
}

func TestWhatIsNotExchanged(t *testing.T) {
	c := newChain(t, nil)
	plain := c.front.entitledApp("plain", c.org, machine)
	pub := c.front.entitledApp("pub", c.org, func(a *broker.App) { exchanger(ledger)(a); public(a) })
	third := c.front.entitledApp("https://third.example", c.org, func(a *broker.App) { exchanger(ledger)(a); a.ThirdParty = true })
	alone := c.front.entitledApp("https://alone.example", c.org, func(a *broker.App) { exchanger(ledger)(a); a.Unshared = true })
	forAlone := c.front.tokenFor(t, c, "https://alone.example")
	alone.swap(forAlone).refused(t, "an app to which a sign-in to another is none", "unauthorized_client")
	plain.swap(c.tok.Access).refused(t, "an app without the grant type", "unauthorized_client")
	pub.token(url.Values{"grant_type": {exchangeGrant}, "client_id": {"pub"}, "subject_token": {c.tok.Access}, "subject_token_type": {accessToken}, "audience": {ledger}}, nil).
		refused(t, "a public client", "unauthorized_client")
	third.swap(c.tok.Access).refused(t, "a third party, whom nobody gave consent", "unauthorized_client")
	c.ledger.swap(c.tok.Access, set("audience", vault)).refused(t, "a token for somebody else", "invalid_request")
	for name, bad := range map[string]string{
		"no token": "", "nothing of ours": "x", "an id token": c.tok.ID, "a refresh token": c.tok.Refresh, "an app's own token": c.api.act(in(c.org)).Access, "made up": "vat_" + directory.NewSecret(),
	} {
		c.api.swap(bad).refused(t, name, "invalid_request")
	}
	for name, change := range map[string]func(url.Values){
		"another type":             set("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
		"no type":                  set("subject_token_type"),
		"another type wanted":      set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
		"an unknown type wanted":   set("requested_token_type", "x"),
		"no audience":              set("audience"),
		"the audience of nobody":   set("audience", "https://evil.example"),
		"audience and resource":    set("resource", vault),
		"an audience twice":        func(v url.Values) { v["audience"] = []string{ledger, vault} },
		"more scope than it had":   set("scope", "openid ledger.write admin"),
		"scope that the API lacks": set("scope", "ledger.write"),
		"to go on while away":      set("scope", "offline_access"),
	} {
		got := c.api.swap(c.tok.Access, change)
		if got.Status != http.StatusBadRequest || got.Error != "invalid_request" && got.Error != "invalid_target" && got.Error != "invalid_scope" {
			t.Errorf("%s: %d %s", name, got.Status, got.raw)
		}
	}
	got := c.api.swap(c.tok.Access).good(t, "as much scope as both have")
	if s := claims(t, got.Access)["scope"]; s != "openid profile email ledger.read" {
		t.Errorf("scope %v", s)
	}
	// A token goes through at most four exchanges.
	token, at := c.tok.Access, []*world{c.api, c.ledger}
	for i := range 4 {
		token = at[i%2].swap(token, set("audience", []string{ledger, api}[i%2])).good(t, "on").Access
	}
	c.api.swap(token).refused(t, "once more", "invalid_request")
	c.front.clock.pass(6 * time.Minute)
	c.api.swap(c.tok.Access).refused(t, "over", "invalid_request")
}

// tokenFor is a person's token of the front app for an audience.
func (w *world) tokenFor(t *testing.T, c *chain, aud string) string {
	t.Helper()
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.Audiences = append(a.Audiences, aud); return nil }))
	r := w.request(func(v url.Values) { in(c.org)(v); v.Set("resource", aud) })
	return w.redeem(c.browser.authorize(w, r).code(t), r.verifier).good(t, "token for "+aud).Access
}

// S6: organization, realm and person of a grant never change, acr is never raised, auth_time stays, and the
// new token ends with the old one.
func TestS6AnExchangeChangesNothingButTheAudience(t *testing.T) {
	c := newChain(t, nil)
	other := c.front.addOrg("other", "")
	c.front.must(c.front.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: other, App: c.api.app.ID}))
	got := c.api.swap(c.tok.Access, in(other), set("acr_values", "urn:vestibule:acr:phr"), set("sub", "per_x")).good(t, "asking for another organization")
	was, now := claims(t, c.tok.Access), claims(t, got.Access)
	for _, claim := range []string{"sub", "org_id", "realm", "acr", "auth_time", "exp"} {
		if claim == "exp" {
			if now[claim].(float64) > was[claim].(float64) {
				t.Errorf("exp %v, of %v", now[claim], was[claim])
			}
			continue
		}
		if was[claim] != now[claim] {
			t.Errorf("%s: %v, then %v", claim, was[claim], now[claim])
		}
	}
	// The person proves themselves anew in the same session: an exchange of the older token does not say so.
	bound := c.again(t, "openid")
	c.front.clock.pass(2 * time.Minute)
	c.browser.signIn(c.front, func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") })
	got = c.api.swap(bound.Access).good(t, "after a new proof")
	if was, now := claims(t, bound.Access), claims(t, got.Access); was["auth_time"] != now["auth_time"] || now["exp"].(float64) > was["exp"].(float64) {
		t.Errorf("auth_time %v, then %v; exp %v, then %v", was["auth_time"], now["auth_time"], was["exp"], now["exp"])
	}
	// An app of one organization takes nothing of another's.
	c.front.must(c.front.h.store.UpdateApp(t.Context(), c.api.app.ID, func(a *broker.App) error { a.Org = other; return nil }))
	c.api.swap(c.tok.Access).refused(t, "an app of another organization", "invalid_target")
}

// What ends the subject token's grant ends what came of it, however far.
func TestS6AnExchangedTokenIsRevokedWithItsParent(t *testing.T) {
	for name, end := range map[string]func(c *chain, bound tokenAnswer){
		"the family is given up": func(c *chain, _ tokenAnswer) { c.front.revoke(c.tok.Refresh) },
		"the family is replayed": func(c *chain, _ tokenAnswer) {
			next := c.front.refresh(c.tok.Refresh).good(c.front.t, "refresh")
			c.front.refresh(next.Refresh).good(c.front.t, "refresh")
			c.front.refresh(c.tok.Refresh)
		},
		"the session is ended": func(c *chain, bound tokenAnswer) {
			c.browser.logout(c.front, url.Values{"id_token_hint": {bound.ID}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, nil)
			bound := c.again(t, "openid")
			of := c.tok
			if name == "the session is ended" {
				of = bound
			}
			one := c.api.swap(of.Access).good(t, "exchange")
			two := c.ledger.swap(one.Access, set("audience", vault)).good(t, "on")
			if c.ledger.introspect(one.Access)["active"] != true || c.vault.introspect(two.Access)["active"] != true {
				t.Fatal("not good even before")
			}
			end(c, bound)
			inactive(t, "the exchanged token", c.ledger.introspect(one.Access))
			inactive(t, "the one after", c.vault.introspect(two.Access))
			c.ledger.swap(one.Access, set("audience", vault)).refused(t, "once more", "invalid_request")
		})
	}
}

// S6: one condition is taken away at a time; nothing is exchanged, and what was is no longer good.
func TestS6NoExchangeWhenOneConditionIsGone(t *testing.T) {
	ctx := context.Background()
	for name, gone := range map[string]func(c *chain, p directory.Person) error{
		"the person is suspended": func(c *chain, p directory.Person) error {
			return c.front.h.directory.SetPersonStatus(ctx, operator, c.org, p.ID, directory.Suspended)
		},
		"the person is signed out everywhere": func(c *chain, p directory.Person) error {
			return c.front.h.directory.UpdatePerson(ctx, c.org, p.ID, func(p *directory.Person) error { p.SessionsAfter = c.front.clock.now(); return nil })
		},
		"the membership is removed": func(c *chain, p directory.Person) error {
			return c.front.h.directory.EndMembership(ctx, operator, c.org, p.ID)
		},
		"the organization is suspended": func(c *chain, _ directory.Person) error {
			return c.front.h.directory.SetOrgStatus(ctx, operator, c.org, directory.Suspended)
		},
		"the app that exchanges is entitled no more": func(c *chain, _ directory.Person) error {
			return c.front.h.directory.RemoveEntitlement(ctx, c.org, c.api.app.ID)
		},
		"the app of the subject token is entitled no more": func(c *chain, _ directory.Person) error {
			return c.front.h.directory.RemoveEntitlement(ctx, c.org, c.front.app.ID)
		},
		"the app of the subject token is suspended": func(c *chain, _ directory.Person) error {
			return c.front.h.broker.Apps.UpdateApp(ctx, c.front.app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil })
		},
		"the connection is disabled": func(c *chain, _ directory.Person) error {
			c.front.change(c.company, func(x *upstream.Connection) { x.Status = upstream.Disabled })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, nil)
			one := c.api.swap(c.tok.Access).good(t, "before")
			c.front.clock.pass(time.Second)
			c.front.must(gone(c, c.front.person(c.company, "acme-1")))
			if got := c.api.swap(c.tok.Access); got.Status == 200 || got.Error != "invalid_request" && got.Error != "invalid_target" {
				t.Errorf("exchange: %s", got.raw)
			}
			inactive(t, "what was exchanged before", c.ledger.introspect(one.Access))
		})
	}
}

// A change that commits after the door was asked is never outrun by an exchange (S15).
func TestS15NoExchangeRestsOnWhatChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(c *chain){
		"the connection is disabled": func(c *chain) {
			c.front.change(c.company, func(x *upstream.Connection) { x.Status = upstream.Disabled })
		},
		"the family is revoked": func(c *chain) { c.front.revoke(c.tok.Refresh) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, nil)
			c.front.h.broker.Tx = &outrun{Tx: c.front.h.broker.Tx, change: func() { change(c) }}
			if got := c.api.swap(c.tok.Access); got.Status == 200 {
				t.Errorf("exchange: %s", got.raw)
			}
		})
	}
}

// Userinfo tells only whom the operator let ask: a token for one audience does not become one for ours.
func TestAnExchangeForUserinfoIsTheOperatorsToAllow(t *testing.T) {
	c := newChain(t, nil)
	got := c.api.swap(c.tok.Access, set("audience", c.front.url)).good(t, "for userinfo, which the API may ask for")
	if status, info := c.front.userinfo(got.Access); status != 200 || info["sub"] != claims(t, got.Access)["sub"] {
		t.Errorf("userinfo: %d %v", status, info)
	}
	one := c.api.swap(c.tok.Access).good(t, "for the ledger")
	c.ledger.swap(one.Access, set("audience", c.front.url)).refused(t, "for userinfo, which the ledger may not ask for", "invalid_target")
}
