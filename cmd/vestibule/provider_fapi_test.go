package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

const fapiCallback = "https://fapi.example/callback"

// fapi is a world with an app that is held to the FAPI 2.0 Security Profile, and its keys.
type fapi struct {
	*world
	org  directory.OrgID
	sign appKey // its client assertions and request objects
	key  appKey // its DPoP key
}

// held makes an app a FAPI app.
func held(t *testing.T, k appKey) func(*broker.App) {
	return func(a *broker.App) {
		keyed(t, k)(a)
		a.FAPI, a.RedirectURIs, a.PostLogoutURIs, a.Home = true, []string{fapiCallback}, nil, ""
		a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh, broker.GrantClient}
	}
}

func newFAPI(t *testing.T) fapi {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	f := fapi{world: w, org: acme.org, sign: newAppKey(t, "s1", "PS256"), key: newAppKey(t, "", "ES256")}
	f.world = w.entitledApp("fapi", acme.org, held(t, f.sign))
	return f
}

func (f fapi) asks(change ...func(url.Values)) request {
	r := f.request(func(v url.Values) {
		in(f.org)(v)
		v.Set("redirect_uri", fapiCallback)
		for _, c := range change {
			c(v)
		}
	})
	return r
}

// pushed pushes a request, authenticated as the profile wants.
func (f fapi) pushed(r request, change ...func(*http.Request)) pushAnswer {
	f.t.Helper()
	return f.push(r.Values, shows(f.assertion(f.sign, nil)), change...)
}

// arrives opens a pushed request and goes to the app's address.
func (f fapi) arrives(uri string, change ...func(url.Values)) *page {
	f.t.Helper()
	b := newBrowser(f.t)
	p := b.asked(f.world, f.opens(uri, change...))
	for range 20 {
		at := p.header.Get("Location")
		if at == "" || strings.HasPrefix(at, fapiCallback) {
			return p
		}
		to, err := p.url.Parse(at)
		f.must(err)
		p = b.send(http.MethodGet, to.String(), nil, false)
	}
	f.t.Fatal("too many hops")
	return nil
}

func (f fapi) code(r request) string {
	f.t.Helper()
	got := f.pushed(r)
	if got.Status != 201 {
		f.t.Fatalf("%s", got.raw)
	}
	return f.codeAt(f.arrives(got.URI))
}

func (f fapi) codeAt(p *page) string {
	f.t.Helper()
	to := p.location(f.t)
	if to.Query().Get("code") == "" || to.Query().Get("iss") != f.url {
		f.t.Fatalf("at the app: %s", to)
	}
	return to.Query().Get("code")
}

// redeems exchanges a code as the profile wants.
func (f fapi) redeems(code string, r request, change ...func(url.Values)) tokenAnswer {
	f.t.Helper()
	return f.redeemsBy(f.key, code, r, change...)
}

func (f fapi) redeemsBy(k appKey, code string, r request, change ...func(url.Values)) tokenAnswer {
	f.t.Helper()
	all := append([]func(url.Values){set("redirect_uri", fapiCallback), shows(f.assertion(f.sign, nil))}, change...)
	return f.token(exchange(code, r.verifier, all...), f.bound(k))
}

func (f fapi) refused(what string, tok tokenAnswer, codes ...string) {
	f.t.Helper()
	for _, c := range codes {
		if tok.Error == c && tok.Status/100 == 4 {
			return
		}
	}
	f.t.Errorf("%s: %d %s, want %v", what, tok.Status, tok.raw, codes)
}

// The modules of the OpenID Foundation's plan for the FAPI 2.0 Security Profile (private_key_jwt, DPoP,
// OpenID Connect), by name, as the profile's sentences have them.
func TestTheFAPI2SecurityProfile(t *testing.T) {
	f := newFAPI(t)
	fresh := func(change ...func(url.Values)) (string, request) {
		r := f.asks(change...)
		return f.code(r), r
	}
	for _, m := range []struct {
		name string
		run  func(t *testing.T, f fapi)
	}{
		{"discovery-end-point-verification", func(t *testing.T, f fapi) {
			m := f.discovered()
			for _, name := range []string{"pushed_authorization_request_endpoint", "dpop_signing_alg_values_supported", "authorization_response_iss_parameter_supported", "token_endpoint_auth_signing_alg_values_supported"} {
				if m[name] == nil {
					t.Errorf("%s is missing", name)
				}
			}
		}},
		{"happy-flow", func(t *testing.T, f fapi) {
			r := f.asks()
			got := f.pushed(r)
			p := f.arrives(got.URI)
			if p.status != http.StatusSeeOther && p.status != http.StatusFound || p.location(t).Query().Get("state") != r.Get("state") {
				t.Errorf("%d %s", p.status, p.location(t))
			}
			tok := f.redeems(f.codeAt(p), r)
			if tok.Status != 200 || tok.Type != "DPoP" || claims(t, tok.ID)["nonce"] != r.Get("nonce") || headerOf(t, tok.ID)["alg"] != "ES256" {
				t.Fatalf("%s", tok.raw)
			}
			proof := f.proof(f.key, "GET", "/userinfo", map[string]any{"ath": ath(tok.Access), "nonce": f.nonceOf(f.key)})
			if status, _, me := f.shown("GET", "DPoP", tok.Access, proofs(proof)); status != 200 || me["sub"] != claims(t, tok.ID)["sub"] {
				t.Errorf("userinfo %d %v", status, me)
			}
			// access-token-type-header-case-sensitivity
			proof = f.proof(f.key, "GET", "/userinfo", map[string]any{"ath": ath(tok.Access), "nonce": f.nonceOf(f.key)})
			if status, _, _ := f.shown("GET", "dPoP", tok.Access, proofs(proof)); status != 200 {
				t.Errorf("the scheme in other capitals: %d", status)
			}
		}},
		{"ensure-unsigned-authorization-request-without-using-par-fails", func(t *testing.T, f fapi) {
			p := newBrowser(t).asked(f.world, f.asks().Encode())
			if q := p.location(t).Query(); q.Get("error") != "invalid_request" || q.Get("code") != "" {
				t.Errorf("%s", p.location(t))
			}
		}},
		{"ensure-signed-authorization-request-without-using-par-fails", func(t *testing.T, f fapi) {
			r := f.asks()
			p := newBrowser(t).asked(f.world, f.signed(f.object(f.sign, r, nil), set("redirect_uri", fapiCallback)))
			if q := p.location(t).Query(); q.Get("error") != "invalid_request" {
				t.Errorf("%s", p.location(t))
			}
		}},
		{"par-attempt-reuse-request_uri", func(t *testing.T, f fapi) {
			uri := f.pushed(f.asks()).URI
			f.codeAt(f.arrives(uri))
			f.arrives(uri).refusedHere(t, http.StatusGone)
		}},
		{"par-attempt-to-use-expired-request_uri", func(t *testing.T, f fapi) {
			uri := f.pushed(f.asks()).URI
			f.clock.pass(61 * time.Second)
			f.arrives(uri).refusedHere(t, http.StatusGone)
		}},
		{"par-attempt-to-use-request_uri-for-different-client", func(t *testing.T, f fapi) {
			uri := f.pushed(f.asks()).URI
			other := f.entitledApp("fapi2", f.org, held(t, newAppKey(t, "x", "ES256")))
			newBrowser(t).asked(other, other.opens(uri)).refusedHere(t, http.StatusGone)
			f.codeAt(f.arrives(uri))
		}},
		{"par-authorization-request-containing-request_uri", func(t *testing.T, f fapi) {
			r := f.asks(set("request_uri", f.pushed(f.asks()).URI))
			f.pushed(r).refusedWith(t, "a request_uri", 400, "invalid_request")
		}},
		{"par-ensure-pkce-required", func(t *testing.T, f fapi) {
			r := f.asks()
			r.Del("code_challenge")
			r.Del("code_challenge_method")
			f.pushed(r).refusedWith(t, "no challenge", 400, "invalid_request")
		}},
		{"par-plain-pkce-rejected", func(t *testing.T, f fapi) {
			f.pushed(f.asks(set("code_challenge_method", "plain"))).refusedWith(t, "plain", 400, "invalid_request")
		}},
		{"par-pkce-verifier-missing", func(t *testing.T, f fapi) {
			code, r := fresh()
			f.refused("no verifier", f.redeems(code, request{r.Values, ""}), "invalid_grant")
			f.refused("a wrong verifier", f.redeems(code, request{r.Values, strings.Repeat("x", 43)}), "invalid_grant")
		}},
		{"par-without-client-authentication", func(t *testing.T, f fapi) {
			f.push(f.asks().Values, func(url.Values) {}).refusedWith(t, "its name alone", 401, "invalid_client")
		}},
		{"par-ensure-redirect-uri-is-required", func(t *testing.T, f fapi) {
			r := f.asks()
			r.Del("redirect_uri")
			f.pushed(r).refusedWith(t, "no redirect_uri", 400, "invalid_request")
		}},
		{"ensure-registered-redirect-uri", func(t *testing.T, f fapi) {
			f.pushed(f.asks(set("redirect_uri", fapiCallback+"/x"))).refusedWith(t, "another", 400, "invalid_request")
		}},
		{"ensure-response-type-token-fails", func(t *testing.T, f fapi) {
			f.pushed(f.asks(set("response_type", "code id_token"))).refusedWith(t, "hybrid", 400, "unsupported_response_type")
		}},
		{"state-only-outside-request-object-not-used", func(t *testing.T, f fapi) {
			r := f.asks()
			r.Del("state")
			p := f.arrives(f.pushed(r).URI, set("state", "outside"))
			if q := p.location(t).Query(); q.Has("state") || q.Get("code") == "" {
				t.Errorf("%s", p.location(t))
			}
		}},
		{"ensure-request-with-long-nonce-and-state", func(t *testing.T, f fapi) {
			r := f.asks(set("nonce", strings.Repeat("n", 64)), set("state", strings.Repeat("s", 128)))
			p := f.arrives(f.pushed(r).URI)
			if p.location(t).Query().Get("state") != r.Get("state") || claims(t, f.redeems(f.codeAt(p), r).ID)["nonce"] != r.Get("nonce") {
				t.Error("cut")
			}
		}},
		{"ensure-request-without-nonce-or-state-succeeds", func(t *testing.T, f fapi) {
			r := f.asks()
			r.Del("state")
			r.Del("nonce")
			if tok := f.redeems(f.code(r), r); tok.Status != 200 || claims(t, tok.ID)["nonce"] != nil {
				t.Errorf("%s", tok.raw)
			}
		}},
		{"attempt-reuse-authorization-code-after-one-second", func(t *testing.T, f fapi) {
			code, r := fresh()
			tok := f.redeems(code, r)
			f.clock.pass(time.Second)
			f.refused("again", f.redeems(code, r), "invalid_grant")
			proof := f.proof(f.key, "GET", "/userinfo", map[string]any{"ath": ath(tok.Access), "nonce": f.nonceOf(f.key)})
			if status, _, _ := f.shown("GET", "DPoP", tok.Access, proofs(proof)); status != 401 {
				t.Errorf("its token is good still: %d", status)
			}
		}},
		{"ensure-authorization-code-lives-sixty-seconds", func(t *testing.T, f fapi) {
			code, r := fresh()
			f.clock.pass(61 * time.Second)
			f.refused("late", f.redeems(code, r), "invalid_grant")
		}},
		{"ensure-authorization-code-is-bound-to-client", func(t *testing.T, f fapi) {
			code, r := fresh()
			k := newAppKey(t, "x", "ES256")
			other := fapi{world: f.entitledApp("fapi3", f.org, held(t, k)), org: f.org, sign: k, key: f.key}
			f.refused("another client", other.redeems(code, r), "invalid_grant")
		}},
		{"ensure-holder-of-key-required", func(t *testing.T, f fapi) {
			code, r := fresh()
			form := exchange(code, r.verifier, set("redirect_uri", fapiCallback), shows(f.assertion(f.sign, nil)))
			f.refused("no proof", f.token(form, nil), "invalid_dpop_proof")
			acts := url.Values{"grant_type": {"client_credentials"}, "organization": {string(f.org)}}
			shows(f.assertion(f.sign, nil))(acts)
			f.refused("no proof, for itself", f.token(acts, nil), "invalid_dpop_proof")
		}},
		{"client-credentials-are-bound", func(t *testing.T, f fapi) {
			acts := url.Values{"grant_type": {"client_credentials"}, "organization": {string(f.org)}}
			shows(f.assertion(f.sign, nil))(acts)
			tok := f.token(acts, f.bound(f.key))
			if tok.Status != 200 || tok.Type != "DPoP" || claims(t, tok.Access)["cnf"] == nil {
				t.Errorf("%s", tok.raw)
			}
		}},
		{"ensure-signed-client-assertion-with-RS256-fails", func(t *testing.T, f fapi) {
			rs := appKey{"s1", "RS256", f.sign.private}
			f.push(f.asks().Values, shows(f.assertion(rs, nil))).refusedWith(t, "at PAR", 401, "invalid_client")
			code, r := fresh()
			f.refused("at the token endpoint", f.redeems(code, r, shows(f.assertion(rs, nil))), "invalid_client")
		}},
		{"ensure-client-assertion-in-token-endpoint", func(t *testing.T, f fapi) {
			code, r := fresh()
			form := exchange(code, r.verifier, set("redirect_uri", fapiCallback), set("client_id", "fapi"))
			f.refused("without", f.token(form, f.bound(f.key)), "invalid_client")
		}},
		{"ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", func(t *testing.T, f fapi) {
			now := f.clock.now().Unix()
			f.push(f.asks().Values, shows(f.assertion(f.sign, map[string]any{"exp": now - 300, "iat": now - 360}))).refusedWith(t, "over", 401, "invalid_client")
		}},
		{"ensure-client-assertion-with-wrong-aud-fails", func(t *testing.T, f fapi) {
			for _, aud := range []any{"https://other.example", f.url + "/par", f.url + "/token", []string{f.url, "https://other.example"}, []string{f.url}} {
				f.push(f.asks().Values, shows(f.assertion(f.sign, map[string]any{"aud": aud}))).refusedWith(t, "another aud", 401, "invalid_client")
			}
		}},
		{"ensure-client-assertion-with-no-sub-fails", func(t *testing.T, f fapi) {
			f.push(f.asks().Values, shows(f.assertion(f.sign, map[string]any{"sub": nil}))).refusedWith(t, "no sub", 401, "invalid_client")
		}},
		{"ensure-client-assertion-iat-nbf-10-seconds-ahead-succeeds-60-fails", func(t *testing.T, f fapi) {
			now := f.clock.now().Unix()
			if got := f.push(f.asks().Values, shows(f.assertion(f.sign, map[string]any{"iat": now + 10, "nbf": now + 10}))); got.Status != 201 {
				t.Errorf("10 s: %s", got.raw)
			}
			f.push(f.asks().Values, shows(f.assertion(f.sign, map[string]any{"iat": now + 61, "exp": now + 120}))).refusedWith(t, "61 s", 401, "invalid_client")
		}},
		{"ensure-client-assertion-signed-by-another-clients-key-fails", func(t *testing.T, f fapi) {
			k := newAppKey(t, "s1", "PS256")
			f.push(f.asks().Values, shows(f.assertion(k, nil))).refusedWith(t, "another key", 401, "invalid_client")
		}},
		{"ensure-client-id-in-token-endpoint-must-match", func(t *testing.T, f fapi) {
			code, r := fresh()
			f.refused("another client_id", f.redeems(code, r, set("client_id", "payments")), "invalid_client")
		}},
		{"dpop-negative-tests", func(t *testing.T, f fapi) {
			nonce := f.nonceOf(f.key)
			for name, change := range map[string]map[string]any{"htm": {"htm": "GET"}, "htu": {"htu": f.url + "/par"}, "old": {"iat": f.clock.now().Unix() - 3600}, "ahead": {"iat": f.clock.now().Unix() + 3600}} {
				code, r := fresh()
				change["nonce"] = nonce
				form := exchange(code, r.verifier, set("redirect_uri", fapiCallback), shows(f.assertion(f.sign, nil)))
				f.refused(name, f.token(form, proofs(f.proof(f.key, "POST", "/token", change))), "invalid_dpop_proof")
			}
		}},
		{"ensure-dpopproof-with-iat-10seconds-before-and-after-succeeds", func(t *testing.T, f fapi) {
			for _, off := range []int64{-10, 10} {
				code, r := fresh()
				form := exchange(code, r.verifier, set("redirect_uri", fapiCallback), shows(f.assertion(f.sign, nil)))
				proof := f.proof(f.key, "POST", "/token", map[string]any{"nonce": f.nonceOf(f.key), "iat": f.clock.now().Unix() + off})
				if tok := f.token(form, proofs(proof)); tok.Status != 200 {
					t.Errorf("%d s: %s", off, tok.raw)
				}
			}
		}},
		{"check-dpop-proof-nonce-expiry", func(t *testing.T, f fapi) {
			nonce := f.nonceOf(f.key)
			f.clock.pass(6 * time.Minute)
			code, r := fresh()
			form := exchange(code, r.verifier, set("redirect_uri", fapiCallback), shows(f.assertion(f.sign, nil)))
			tok := f.token(form, proofs(f.proof(f.key, "POST", "/token", map[string]any{"nonce": nonce})))
			f.refused("an old nonce", tok, "use_dpop_nonce")
			proof := f.proof(f.key, "POST", "/token", map[string]any{"nonce": tok.Header.Get("DPoP-Nonce")})
			if tok := f.token(form, proofs(proof)); tok.Status != 200 {
				t.Errorf("with the nonce that came: %s", tok.raw)
			}
		}},
		{"ensure-dpop-auth-code-binding-success", func(t *testing.T, f fapi) {
			code, r := fresh(set("dpop_jkt", f.key.thumbprint(t)))
			if tok := f.redeems(code, r); tok.Status != 200 {
				t.Errorf("%s", tok.raw)
			}
		}},
		{"ensure-dpopproof-at-par-endpoint-binding-success", func(t *testing.T, f fapi) {
			r := f.asks()
			got := f.pushed(r, proofs(f.proof(f.key, "POST", "/par", map[string]any{"nonce": f.nonceOf(f.key)})))
			code := f.codeAt(f.arrives(got.URI))
			if tok := f.redeems(code, r); tok.Status != 200 {
				t.Errorf("%s", tok.raw)
			}
		}},
		{"ensure-mismatched-dpop-jkt-fails", func(t *testing.T, f fapi) {
			r := f.asks(set("dpop_jkt", newAppKey(t, "", "ES256").thumbprint(t)))
			f.pushed(r, proofs(f.proof(f.key, "POST", "/par", map[string]any{"nonce": f.nonceOf(f.key)}))).refusedWith(t, "dpop_jkt", 400, "invalid_dpop_proof")
		}},
		{"ensure-token-endpoint-fails-with-mismatched-dpop-jkt", func(t *testing.T, f fapi) {
			code, r := fresh(set("dpop_jkt", f.key.thumbprint(t)))
			f.refused("another key", f.redeemsBy(newAppKey(t, "", "ES256"), code, r), "invalid_grant", "invalid_dpop_proof")
		}},
		{"ensure-access-token-in-query-fails", func(t *testing.T, f fapi) {
			code, r := fresh()
			tok := f.redeems(code, r)
			if resp, _ := f.document("/userinfo?access_token="+tok.Access, nil); resp.StatusCode != 401 {
				t.Errorf("%d", resp.StatusCode)
			}
			if status, _, _ := f.shown("GET", "Bearer", tok.Access); status != 401 {
				t.Errorf("as a bearer token: %d", status)
			}
		}},
		{"refresh-token", func(t *testing.T, f fapi) {
			code, r := fresh(set("scope", "openid offline_access"))
			first := f.redeems(code, r)
			token := refreshOf(t, first)
			renew := func(k appKey, token string) tokenAnswer {
				v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
				shows(f.assertion(f.sign, nil))(v)
				return f.token(v, f.bound(k))
			}
			for range 3 { // FAPI 2.0 section 5.3.2.1: no rotation
				tok := renew(f.key, token)
				if again := refreshOf(t, tok); tok.Status != 200 || tok.Type != "DPoP" || again != "" && again != token {
					t.Fatalf("%s", tok.raw)
				}
				f.clock.pass(time.Minute)
			}
			v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
			shows(f.assertion(f.sign, nil))(v)
			f.refused("without a proof", f.token(v, nil), "invalid_dpop_proof")
		}},
		{"request-objects-are-typed-and-not-RS256", func(t *testing.T, f fapi) {
			r := f.asks()
			sends := func(object string) pushAnswer {
				return f.push(url.Values{"request": {object}}, shows(f.assertion(f.sign, nil)))
			}
			if got := sends(f.object(f.sign, r, nil)); got.Status != 201 {
				t.Errorf("%s", got.raw)
			}
			sends(f.sign.sign(t, map[jose.HeaderKey]any{"typ": "JWT"}, f.objectClaims(r, nil))).refusedWith(t, "typ JWT", 400, "invalid_request_object")
			sends(f.sign.sign(t, nil, f.objectClaims(r, nil))).refusedWith(t, "no typ", 400, "invalid_request_object")
			sends(f.object(appKey{"s1", "RS256", f.sign.private}, r, nil)).refusedWith(t, "RS256", 400, "invalid_request_object")
		}},
	} {
		t.Run("fapi2-security-profile-final-"+m.name, func(t *testing.T) { m.run(t, f) })
	}
}

func refreshOf(t *testing.T, tok tokenAnswer) string {
	t.Helper()
	_, rest, _ := strings.Cut(tok.raw, `"refresh_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// S48: an app that cannot keep the profile is not registered under it.
func TestS48AFAPIAppIsCheckedWhenItIsRegistered(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "s1", "PS256")
	adds := func(change func(*broker.App)) error {
		now := w.clock.now()
		_, kept := broker.NewClientSecret(now)
		a := broker.App{ID: directory.NewAppID(now), Realm: w.main, ClientID: "x" + directory.NewSecret()[:8], Name: "X", Status: directory.Active, Secrets: []broker.Secret{kept}}
		held(t, k)(&a)
		change(&a)
		return w.h.broker.AddApp(t.Context(), operator, a)
	}
	_, kept := broker.NewClientSecret(w.clock.now())
	for name, change := range map[string]func(*broker.App){
		"a secret":         func(a *broker.App) { a.Method, a.Secrets = broker.SecretBasic, []broker.Secret{kept} },
		"public":           func(a *broker.App) { a.Method = broker.NoSecret },
		"no keys":          func(a *broker.App) { a.JWKS = nil },
		"RS256 id tokens":  func(a *broker.App) { a.IDTokenAlg = "RS256" },
		"no PKCE":          func(a *broker.App) { a.PKCEExempt = true },
		"a plain redirect": func(a *broker.App) { a.RedirectURIs = []string{callback} },
		"a plain way back": func(a *broker.App) { a.PostLogoutURIs = []string{"http://127.0.0.1/bye"} },
	} {
		if err := adds(change); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
	for name, change := range map[string]func(*broker.App){
		"as it should be":        func(*broker.App) {},
		"EdDSA":                  func(a *broker.App) { a.IDTokenAlg = "EdDSA" },
		"a native app's machine": func(a *broker.App) { a.Native, a.RedirectURIs = true, []string{"http://127.0.0.1/cb"} },
	} {
		if err := adds(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
