package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// These stories hold refresh tokens to RFC 6749 section 6, RFC 9700 section 4.14.2 and OpenID Connect Core
// sections 11 and 12.

func refreshing(a *broker.App) { a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh} }

// away asks for offline access in an organization.
func away(org directory.OrgID) func(url.Values) {
	return func(v url.Values) { in(org)(v); v.Set("scope", "openid profile email offline_access") }
}

// refresh renews tokens as the world's app would.
func (w *world) refresh(token string, change ...func(url.Values)) tokenAnswer {
	w.t.Helper()
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for _, c := range change {
		c(v)
	}
	if w.secret == "" {
		v.Set("client_id", w.app.ClientID)
		return w.token(v, nil)
	}
	return w.token(v, w.basic)
}

// offline is an organization, an app of it that may refresh, a browser that signed in, and its tokens.
func offline(t *testing.T, change func(*broker.App)) (*world, company, *browser, tokenAnswer) {
	t.Helper()
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("desk", acme.org, func(a *broker.App) {
		refreshing(a)
		if change != nil {
			change(a)
		}
	})
	if !slices.Contains([]broker.ClientMethod{broker.SecretBasic, broker.SecretPost}, app.app.Method) {
		app.secret = ""
	}
	b := newBrowser(t)
	return app, acme, b, app.signInAway(b, acme.org)
}

func (w *world) signInAway(b *browser, org directory.OrgID) tokenAnswer {
	w.t.Helper()
	r := w.request(away(org))
	code := b.authorize(w, r).code(w.t)
	form := exchange(code, r.verifier)
	auth := w.basic
	if w.secret == "" {
		form.Set("client_id", w.app.ClientID)
		auth = nil
	}
	tok := w.token(form, auth)
	if tok.Status != http.StatusOK || !strings.HasPrefix(tok.Refresh, "vrt_") {
		w.t.Fatalf("no refresh token: %s", tok.raw)
	}
	return tok
}

func (a tokenAnswer) good(t *testing.T, what string) tokenAnswer {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("%s: %d %s", what, a.Status, a.raw)
	}
	a.uncached(t, what)
	return a
}

func (a tokenAnswer) refused(t *testing.T, what, code string) {
	t.Helper()
	if a.Status == http.StatusOK || a.Error != code {
		t.Errorf("%s: %d %s, want %s", what, a.Status, a.raw, code)
	}
	a.uncached(t, what)
}

func TestARefreshRotatesAndKeepsWhoAndWhen(t *testing.T) {
	w, acme, _, first := offline(t, nil)
	w.clock.pass(6 * time.Minute)
	if status, _ := w.userinfo(first.Access); status != 401 {
		t.Fatalf("the first access token is over: %d", status)
	}
	second := w.refresh(first.Refresh).good(t, "refresh")
	if second.Refresh == first.Refresh || second.Access == first.Access {
		t.Error("nothing rotated")
	}
	status, info := w.userinfo(second.Access)
	if status != 200 || info["org_id"] != string(acme.org) || info["email"] != "ada@acme.example" {
		t.Errorf("userinfo: %d %v", status, info)
	}
	// OpenID Connect Core section 12.2.
	was, now := claims(t, first.ID), claims(t, second.ID)
	for _, c := range []string{"iss", "sub", "aud", "auth_time", "acr", "amr", "sid", "org_id", "realm"} {
		if !reflect.DeepEqual(was[c], now[c]) || was[c] == nil && c != "amr" {
			t.Errorf("%s: %v, then %v", c, was[c], now[c])
		}
	}
	if _, told := now["nonce"]; told || now["iat"] == was["iat"] {
		t.Errorf("nonce or iat of the former id token: %v", now)
	}
	third := w.refresh(second.Refresh).good(t, "the next refresh")
	if claims(t, third.Access)["auth_time"] != claims(t, first.Access)["auth_time"] {
		t.Error("auth_time moved")
	}
}

// A refresh token comes to those alone who may have it and asked.
func TestRefreshTokensAreForAppsThatMayAndAsk(t *testing.T) {
	w, acme, b, _ := offline(t, nil)
	r := w.request(in(acme.org))
	if tok := w.redeem(b.authorize(w, r).code(t), r.verifier); tok.Refresh != "" || tok.Status != 200 {
		t.Errorf("without offline_access: %s", tok.raw)
	}
	plain := w.entitledApp("plain", acme.org, nil)
	r = plain.request(away(acme.org))
	tok := plain.redeem(b.authorize(plain, r).code(t), r.verifier)
	if tok.Status != 200 || tok.Refresh != "" || strings.Contains(claims(t, tok.Access)["scope"].(string), "offline") {
		t.Errorf("an app without the grant type: %s", tok.raw)
	}
	plain.refresh("vrt_x.y").refused(t, "an app without the grant type", "unauthorized_client")
}

func TestAReplayedRefreshTokenEndsItsFamily(t *testing.T) {
	for name, replay := range map[string]func(w *world, tokens []string){
		"the one before, after the grace": func(w *world, tokens []string) { w.clock.pass(6 * time.Second); w.refresh(tokens[2]) },
		"the one before that":             func(w *world, tokens []string) { w.refresh(tokens[1]) },
		"the first":                       func(w *world, tokens []string) { w.refresh(tokens[0]) },
		"the right family, made up":       func(w *world, tokens []string) { w.refresh(tokens[3][:len(tokens[3])-43] + directory.NewSecret()) },
	} {
		t.Run(name, func(t *testing.T) {
			w, _, _, tok := offline(t, nil)
			tokens := []string{tok.Refresh}
			for range 3 {
				tok = w.refresh(tok.Refresh).good(t, "refresh")
				tokens = append(tokens, tok.Refresh)
			}
			record := w.counted()
			replay(w, tokens)
			w.refresh(tok.Refresh).refused(t, "the present token, after the replay", "invalid_grant")
			if status, _ := w.userinfo(tok.Access); status != 401 {
				t.Errorf("the family's access token, after the replay: %d", status)
			}
			replay(w, tokens)
			if n := record.of[audit.TokenReplayed]; n != 1 {
				t.Errorf("recorded %d times", n)
			}
		})
	}
}

// counting counts what is recorded.
type counting struct {
	audit.Recorder
	mu sync.Mutex
	of map[audit.Action]int
}

func (c *counting) Record(ctx context.Context, e audit.Entry) error {
	c.mu.Lock()
	c.of[e.Action]++
	c.mu.Unlock()
	return c.Recorder.Record(ctx, e)
}

func (w *world) counted() *counting {
	c := &counting{Recorder: w.h.broker.Audit, of: map[audit.Action]int{}}
	w.h.broker.Audit = c
	return c
}

// A token that was made up, or that belongs to somebody else, finds nothing and burns nothing.
func TestAForgedRefreshTokenBurnsNothing(t *testing.T) {
	w, acme, _, tok := offline(t, nil)
	other := w.entitledApp("other", acme.org, refreshing)
	secret := tok.Refresh[len(tok.Refresh)-43:]
	for name, forged := range map[string]string{
		"empty parts": "vrt_.", "no prefix": strings.TrimPrefix(tok.Refresh, "vrt_"), "another family": "vrt_" + directory.NewSecret() + "." + secret,
		"the family twice": tok.Refresh[:len(tok.Refresh)-44], "longer": tok.Refresh + "x", "a code": directory.NewSecret(), "the access token": tok.Access,
	} {
		w.refresh(forged).refused(t, name, "invalid_grant")
	}
	other.refresh(tok.Refresh).refused(t, "another app", "invalid_grant")
	w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tok.Refresh}, "client_id": {w.app.ClientID}}, nil).
		refused(t, "the app without its secret", "invalid_client")
	w.refresh(tok.Refresh).good(t, "the app itself, after all of them")
}

// Whoever lost the answer asks again and gets the same, for five seconds, unless what they lost was used.
func TestALostAnswerIsGivenAgain(t *testing.T) {
	w, _, _, first := offline(t, nil)
	second := w.refresh(first.Refresh).good(t, "refresh")
	w.clock.pass(4 * time.Second)
	again := w.refresh(first.Refresh).good(t, "again, within the grace")
	if again.Refresh != second.Refresh || again.Access == second.Access {
		t.Errorf("again: %s\nfirst: %s", again.raw, second.raw)
	}
	third := w.refresh(second.Refresh).good(t, "what was lost and found")
	w.refresh(first.Refresh).refused(t, "the first, after the second was used", "invalid_grant")
	w.refresh(third.Refresh).refused(t, "the family after that", "invalid_grant")
}

func TestOfSixteenParallelRefreshesAllGetTheSameTokenAndTheFamilyLives(t *testing.T) {
	w, _, _, tok := offline(t, nil)
	for range 3 {
		answers, start := make([]tokenAnswer, 16), make(chan struct{})
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { <-start; answers[i] = w.refresh(tok.Refresh) })
		}
		close(start)
		all.Wait()
		access := map[string]bool{}
		for _, a := range answers {
			if a.Status != 200 || a.Refresh != answers[0].Refresh || a.Refresh == tok.Refresh {
				t.Fatalf("%d %s\nthe first %s", a.Status, a.raw, answers[0].raw)
			}
			access[a.Access] = true
		}
		if len(access) != len(answers) {
			t.Errorf("%d access tokens of %d", len(access), len(answers))
		}
		tok = answers[7]
	}
	w.refresh(tok.Refresh).good(t, "afterwards")
}

// RFC 6749 section 6: a refresh may narrow the scope, and never widens it.
func TestAScopeIsNarrowedAndNeverWidened(t *testing.T) {
	w, _, _, tok := offline(t, func(a *broker.App) { a.Scopes = []string{"payments.read", "payments.write"} })
	narrow := w.refresh(tok.Refresh, set("scope", "openid email")).good(t, "narrower")
	if got := claims(t, narrow.Access)["scope"]; got != "email openid" {
		t.Errorf("scope %v", got)
	}
	if _, info := w.userinfo(narrow.Access); info["email"] == nil || info["name"] != nil {
		t.Errorf("userinfo of the narrower token: %v", info)
	}
	bare := w.refresh(narrow.Refresh, set("scope", "email")).good(t, "without openid")
	if bare.ID != "" {
		t.Error("an id token without openid")
	}
	if status, _ := w.userinfo(bare.Access); status != 403 {
		t.Errorf("userinfo without openid: %d", status)
	}
	w.refresh(bare.Refresh, set("scope", "openid payments.read")).refused(t, "wider", "invalid_scope")
	whole := w.refresh(bare.Refresh).good(t, "the grant's own scope")
	if got := claims(t, whole.Access)["scope"]; got != "openid profile email offline_access" {
		t.Errorf("scope %v", got)
	}
}

// Back-Channel Logout section 2.7: the end of the browser's session does not end offline access; it ends
// everything else.
func TestOfflineAccessOutlivesTheSession(t *testing.T) {
	w, acme, b, tok := offline(t, nil)
	r := w.request(in(acme.org))
	bound := w.redeem(b.authorize(w, r).code(t), r.verifier).good(t, "without offline access")
	b.logout(w, url.Values{"id_token_hint": {tok.ID}})
	if status, _ := w.userinfo(bound.Access); status != 401 {
		t.Errorf("a token of the session after its end: %d", status)
	}
	if status, _ := w.userinfo(tok.Access); status != 200 {
		t.Errorf("an offline token after the session's end: %d", status)
	}
	tok = w.refresh(tok.Refresh).good(t, "after the session's end")
	// Neither session.lifetime nor session.idle is the rule of what goes on while the person is away.
	w.policy(acme.org, map[string]string{"session.lifetime": `"15m"`, "session.idle": `"5m"`})
	w.clock.pass(6 * 24 * time.Hour)
	tok = w.refresh(tok.Refresh).good(t, "after six days")
	if status, _ := w.userinfo(tok.Access); status != 200 {
		t.Errorf("userinfo after six days: %d", status)
	}
}

// An administrator who ends one session ends what it holds; offline access ends where the person is signed out
// everywhere, which is another choice.
func TestS37EndingASessionLeavesOfflineAccessAndSigningOutEverywhereDoesNot(t *testing.T) {
	w, acme, b, tok := offline(t, nil)
	r := w.request(in(acme.org))
	bound := w.redeem(b.authorize(w, r).code(t), r.verifier).good(t, "without offline access")
	p := w.person(acme, "acme-1")
	views, err := w.h.broker.SessionsOf(t.Context(), operator, acme.org, p.ID)
	w.must(err)
	w.must(w.h.broker.EndSession(t.Context(), operator, acme.org, p.ID, views[0].ID))
	if status, _ := w.userinfo(bound.Access); status != http.StatusUnauthorized {
		t.Errorf("a token of the session: %d", status)
	}
	tok = w.refresh(tok.Refresh).good(t, "offline, after its session was ended")
	w.clock.pass(time.Second)
	w.must(w.h.broker.EndSessionsOf(t.Context(), operator, acme.org, p.ID))
	w.refresh(tok.Refresh).refused(t, "signed out everywhere", "invalid_grant")
	if status, _ := w.userinfo(tok.Access); status != http.StatusUnauthorized {
		t.Errorf("an offline token, signed out everywhere: %d", status)
	}
}

// tokens.refresh_lifetime counts from the sign-in, tokens.refresh_idle from the last refresh, and both
// hold as they are now.
func TestRefreshTokensEndByThePolicyOfNow(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		waits  []time.Duration
		policy map[string]string // set after the sign-in
		last   bool              // whether the last refresh is good
	}{
		"in time":                              {waits: []time.Duration{6 * day, 6 * day}, last: true},
		"idle":                                 {waits: []time.Duration{7*day + time.Minute}},
		"idle after a use":                     {waits: []time.Duration{5 * day, 7*day + time.Minute}},
		"thirty days after the sign-in":        {waits: []time.Duration{6 * day, 6 * day, 6 * day, 6 * day, 6*day + time.Minute}},
		"idle, tightened":                      {waits: []time.Duration{2 * day}, policy: map[string]string{"tokens.refresh_idle": `"1d"`}},
		"idle, tightened and not reached":      {waits: []time.Duration{12 * time.Hour}, policy: map[string]string{"tokens.refresh_idle": `"1d"`}, last: true},
		"lifetime, tightened":                  {waits: []time.Duration{23 * time.Hour, 2 * time.Hour}, policy: map[string]string{"tokens.refresh_lifetime": `"1d"`}},
		"a loosened lifetime prolongs nothing": {waits: []time.Duration{6 * day, 6 * day, 6 * day, 6 * day, 6*day + time.Minute}, policy: map[string]string{"tokens.refresh_lifetime": `"60d"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w, acme, _, tok := offline(t, nil)
			if c.policy != nil {
				w.policy(acme.org, c.policy)
			}
			for i, wait := range c.waits {
				w.clock.pass(wait)
				next := w.refresh(tok.Refresh)
				if good := i < len(c.waits)-1 || c.last; good != (next.Status == 200) {
					t.Fatalf("refresh %d: %s", i, next.raw)
				} else if !good && next.Error != "invalid_grant" {
					t.Errorf("reads %s", next.raw)
				}
				tok = next
			}
		})
	}
}

// A refresh is no activity of the person (S47).
func TestS47RefreshingKeepsNoSessionAlive(t *testing.T) {
	w, acme, b, tok := offline(t, nil)
	for range 4 {
		w.clock.pass(20 * time.Minute)
		tok = w.refresh(tok.Refresh).good(t, "refresh")
	}
	if code, fault := b.silently(w, in(acme.org)); code != "" {
		t.Errorf("an hour and twenty minutes of nothing but refreshing: the session lives (%s)", fault)
	}
}

// S6: one condition is taken away at a time; neither a refresh nor an access token of an offline grant is
// good any more.
func TestS6NoRefreshWhenOneConditionIsGone(t *testing.T) {
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
		"the membership has expired": func(w *world, c company, p directory.Person) error {
			return w.h.directory.AddMember(ctx, operator, directory.Membership{Org: c.org, Person: p.ID, Kind: "member", Status: directory.Active, Source: "jit", Until: w.clock.now().Add(-time.Second)})
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
		"the app may refresh no more": func(w *world, _ company, _ directory.Person) error {
			return w.h.broker.Apps.UpdateApp(ctx, w.app.ID, func(a *broker.App) error { a.Grants = nil; return nil })
		},
		"the connection is disabled": func(w *world, c company, _ directory.Person) error {
			w.change(c, func(x *upstream.Connection) { x.Status = upstream.Disabled })
			return nil
		},
		"the protocol is allowed no more": func(w *world, c company, _ directory.Person) error {
			w.policy(c.org, map[string]string{"sso.protocols": `["saml"]`})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, acme, b, tok := offline(t, nil)
			b.logout(w, url.Values{"id_token_hint": {tok.ID}})
			w.clock.pass(time.Minute)
			w.must(gone(w, acme, w.person(acme, "acme-1")))
			if got := w.refresh(tok.Refresh); got.Status == 200 || got.Error != "invalid_grant" && got.Error != "invalid_client" && got.Error != "unauthorized_client" {
				t.Errorf("refresh: %s", got.raw)
			}
			if status, _ := w.userinfo(tok.Access); status != 401 && name != "the app may refresh no more" {
				t.Errorf("userinfo: %d", status)
			}
		})
	}
}

// A change that commits after the door was asked is never outrun by a refresh (S15).
func TestS15NoRefreshRestsOnWhatChangedMeanwhile(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(w *world, c company, p directory.Person, g directory.GrantID){
		"the connection is disabled": func(w *world, c company, _ directory.Person, _ directory.GrantID) {
			w.change(c, func(x *upstream.Connection) { x.Status = upstream.Disabled })
		},
		"the person is suspended": func(w *world, c company, p directory.Person, _ directory.GrantID) {
			w.must(w.h.directory.SetPersonStatus(ctx, operator, c.org, p.ID, directory.Suspended))
		},
		"the family is revoked": func(w *world, c company, _ directory.Person, g directory.GrantID) {
			_, err := w.h.store.RevokeToken(ctx, c.org, g, w.clock.now(), "test")
			w.must(err)
		},
	} {
		for _, lost := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w, acme, _, tok := offline(t, nil)
				id, _, _ := strings.Cut(claims(t, tok.Access)["jti"].(string), ".")
				if lost { // the answer that is given again rests on the same
					w.refresh(tok.Refresh).good(t, "the answer that is lost")
				}
				p := w.person(acme, "acme-1")
				w.h.broker.Tx = &outrun{Tx: w.h.broker.Tx, change: func() { change(w, acme, p, directory.GrantID(id)) }}
				w.refresh(tok.Refresh).refused(t, "refresh", "invalid_grant")
			})
		}
	}
}

// Public clients refresh without a secret, and rotation is what protects them.
func TestAPublicClientRefreshes(t *testing.T) {
	w, acme, _, tok := offline(t, public)
	tok = w.refresh(tok.Refresh).good(t, "public")
	other := w.entitledApp("other", acme.org, func(a *broker.App) { refreshing(a); public(a) })
	other.secret = ""
	other.refresh(tok.Refresh).refused(t, "another public client", "invalid_grant")
	w.refresh(tok.Refresh).good(t, "again")
}

// RFC 8707: an access token is for one audience, which the app may ask for.
func TestAnAccessTokenIsForOneResource(t *testing.T) {
	const api, billing = "https://api.example/v1", "https://billing.example"
	w, acme, b, _ := offline(t, func(a *broker.App) { a.Audiences = []string{api, billing, "urn:example:vault"} })
	redeem := func(change func(url.Values), resource ...string) tokenAnswer {
		r := w.request(func(v url.Values) { away(acme.org)(v); change(v) })
		return w.token(exchange(b.authorize(w, r).code(t), r.verifier, func(v url.Values) {
			if len(resource) > 0 {
				v["resource"] = resource
			}
		}), w.basic)
	}
	asking := func(resource ...string) func(url.Values) { return func(v url.Values) { v["resource"] = resource } }
	for name, c := range map[string]struct {
		tok tokenAnswer
		aud string
	}{
		"none":                      {redeem(func(url.Values) {}), w.url},
		"one at the start":          {redeem(asking(api)), api},
		"two at the start":          {redeem(asking(api, billing)), w.url},
		"two, then one":             {redeem(asking(api, billing), billing), billing},
		"one at the token endpoint": {redeem(func(url.Values) {}, "urn:example:vault"), "urn:example:vault"},
	} {
		got := claims(t, c.tok.good(t, name).Access)["aud"]
		if got != c.aud {
			t.Errorf("%s: aud %v, want %s", name, got, c.aud)
		}
		status, _ := w.userinfo(c.tok.Access)
		if (status == 200) != (c.aud == w.url) {
			t.Errorf("%s: userinfo answers %d to a token for %v", name, status, got)
		}
	}
	redeem(func(url.Values) {}, "https://evil.example").refused(t, "one that is not the app's", "invalid_target")
	redeem(asking(api), billing).refused(t, "another than at the start", "invalid_target")
	redeem(asking(api, billing), api, billing).refused(t, "two at the token endpoint", "invalid_target")
	for name, resource := range map[string]string{"not the app's": "https://evil.example", "a fragment": api + "#x", "relative": "/v1", "a name": "api"} {
		b.asked(w, w.request(func(v url.Values) { in(acme.org)(v); v.Set("resource", resource); v.Set("state", "s") }).Encode()).errorFor(t, w, "invalid_target", "s")
		_ = name
	}
	tok := redeem(asking(api, billing))
	tok = w.refresh(tok.Refresh, set("resource", api)).good(t, "refreshed for one")
	if got := claims(t, tok.Access)["aud"]; got != api {
		t.Errorf("aud %v", got)
	}
	w.refresh(tok.Refresh, set("resource", "urn:example:vault")).refused(t, "refreshed for one that was not granted", "invalid_target")
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.Audiences = []string{api}; return nil }))
	w.refresh(tok.Refresh, set("resource", billing)).refused(t, "refreshed for one that the app lost", "invalid_target")
	w.refresh(tok.Refresh, set("resource", api)).good(t, "refreshed for one that it kept")
}

// Nothing of a refresh token is in the database but hashes, and what is there opens nothing.
func TestNoRefreshTokenIsReadInTheDatabase(t *testing.T) {
	w, _, _, tok := offline(t, nil)
	next := w.refresh(tok.Refresh).good(t, "refresh")
	id, _, _ := strings.Cut(claims(t, tok.Access)["jti"].(string), ".")
	g, err := w.h.store.Token(t.Context(), directory.OrgID(claims(t, tok.Access)["org_id"].(string)), directory.GrantID(id))
	w.must(err)
	row, err := json.Marshal(g)
	w.must(err)
	for _, token := range []string{tok.Refresh, next.Refresh} {
		for _, part := range strings.Split(strings.TrimPrefix(token, "vrt_"), ".") {
			if strings.Contains(string(row), part) {
				t.Errorf("the row holds a secret: %s", row)
			}
		}
	}
	if len(g.Refresh.Echo) != 32 {
		t.Errorf("echo of %d bytes", len(g.Refresh.Echo))
	}
}
