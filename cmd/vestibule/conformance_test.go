package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
)

// The modules of the OpenID Foundation's certification plans for OpenID Connect Core: Basic OP, Config OP and
// Form Post OP, under their names. Each runs with the client that the plan registers: confidential, without
// PKCE; the Form Post plan runs the Basic modules again with response_mode=form_post.

// module is one test of a plan, with the app and the person that all of them use.
type module struct {
	*testing.T
	w *world
	c company
	// mode is the response_mode of the plan, "" for its own.
	mode string
}

// exempt is the plans' client: it leaves PKCE out, and may refresh.
func exempt(a *broker.App) {
	a.PKCEExempt = true
	a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh}
}

// ask is the plans' request.
func (m *module) ask(change func(url.Values)) request {
	m.Helper()
	return m.w.request(func(v url.Values) {
		in(m.c.org)(v)
		v.Del("code_challenge")
		v.Del("code_challenge_method")
		if m.mode != "" {
			v.Set("response_mode", m.mode)
		}
		if change != nil {
			change(v)
		}
	})
}

// answer is what the app's redirect URI is told.
func (m *module) answer(b *browser, r request) url.Values {
	m.Helper()
	if m.mode == "form_post" {
		f := b.postedBy(m.w, r).answerForm(m.T)
		if f.action != callback {
			m.Fatalf("posted to %s", f.action)
		}
		return f.values
	}
	p := b.authorize(m.w, r)
	if !strings.HasPrefix(p.url.String(), callback) {
		m.Fatalf("not at the app but at %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return p.url.Query()
}

// signIn is a whole sign-in by code.
func (m *module) signIn(b *browser, change func(url.Values)) tokenAnswer {
	m.Helper()
	r := m.ask(change)
	q := m.answer(b, r)
	if q.Get("state") != r.Get("state") || q.Get("iss") != m.w.url || q.Get("code") == "" {
		m.Fatalf("answer %v", q)
	}
	tok := m.w.redeem(q.Get("code"), "")
	if tok.Status != http.StatusOK {
		m.Fatalf("token: %s", tok.raw)
	}
	got := claims(m.T, tok.ID)
	if got["iss"] != m.w.url || got["aud"] != m.w.app.ClientID || got["nonce"] != nilOr(r.Get("nonce")) || got["sub"] == "" {
		m.Errorf("id token %v", got)
	}
	return tok
}

func nilOr(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// refused is an answer that is an error.
func (m *module) refused(b *browser, change func(url.Values), codes ...string) {
	m.Helper()
	r := m.ask(change)
	q := m.answer(b, r)
	if !slices.Contains(codes, q.Get("error")) || q.Get("state") != r.Get("state") || q.Has("code") {
		m.Errorf("answer %v, want %v", q, codes)
	}
}

// userinfo is what the token tells.
func (m *module) userinfo(tok tokenAnswer) map[string]any {
	m.Helper()
	status, info := m.w.userinfo(tok.Access)
	if status != http.StatusOK || info["sub"] != claims(m.T, tok.ID)["sub"] {
		m.Fatalf("userinfo %d %v", status, info)
	}
	return info
}

// scoped wants the claims of a scope at userinfo.
func (m *module) scoped(scope string, want ...string) {
	m.Helper()
	info := m.userinfo(m.signIn(newBrowser(m.T), set("scope", scope)))
	for _, name := range want {
		if info[name] == nil {
			m.Errorf("%s: no %s in %v", scope, name, info)
		}
	}
}

const profileClaims = "name family_name given_name middle_name nickname preferred_username profile picture website gender birthdate zoneinfo locale updated_at"

var basic = map[string]func(m *module){
	"oidcc-server": func(m *module) { m.signIn(newBrowser(m.T), nil) },
	"oidcc-response-type-missing": func(m *module) {
		m.refused(newBrowser(m.T), set("response_type"), "invalid_request", "unsupported_response_type")
	},
	"oidcc-idtoken-signature":    (*module).idTokenSignature,
	"oidcc-userinfo-get":         func(m *module) { m.userinfo(m.signIn(newBrowser(m.T), nil)) },
	"oidcc-userinfo-post-header": func(m *module) { m.userinfoBy("", true) },
	"oidcc-userinfo-post-body":   func(m *module) { m.userinfoBy("application/x-www-form-urlencoded", false) },
	"oidcc-scope-profile":        func(m *module) { m.scoped("openid profile", strings.Fields(profileClaims)...) },
	"oidcc-scope-email":          func(m *module) { m.scoped("openid email", "email", "email_verified") },
	"oidcc-scope-address":        func(m *module) { m.scoped("openid address", "address") },
	"oidcc-scope-phone":          func(m *module) { m.scoped("openid phone", "phone_number", "phone_number_verified") },
	"oidcc-scope-all": func(m *module) {
		m.scoped("openid profile email address phone", "name", "email", "address", "phone_number")
	},
	"oidcc-ensure-other-scope-order-succeeds": func(m *module) {
		m.scoped("email openid", "email")
	},
	"oidcc-display-page":  func(m *module) { m.signIn(newBrowser(m.T), set("display", "page")) },
	"oidcc-display-popup": func(m *module) { m.signIn(newBrowser(m.T), set("display", "popup")) },
	"oidcc-prompt-login":  (*module).promptLogin,
	"oidcc-prompt-none-not-logged-in": func(m *module) {
		m.refused(newBrowser(m.T), set("prompt", "none"), "login_required", "interaction_required")
	},
	"oidcc-prompt-none-logged-in":                          (*module).promptNone,
	"oidcc-max-age-1":                                      (*module).maxAge1,
	"oidcc-max-age-10000":                                  (*module).maxAge10000,
	"oidcc-ensure-request-with-unknown-parameter-succeeds": func(m *module) { m.signIn(newBrowser(m.T), set("extra", "foobar")) },
	"oidcc-id-token-hint":                                  (*module).idTokenHint,
	"oidcc-login-hint":                                     func(m *module) { m.signIn(newBrowser(m.T), set("login_hint", "ada@acme.example")) },
	"oidcc-ui-locales":                                     func(m *module) { m.signIn(newBrowser(m.T), set("ui_locales", "se")) },
	"oidcc-claims-locales":                                 func(m *module) { m.signIn(newBrowser(m.T), set("claims_locales", "se")) },
	"oidcc-ensure-request-with-acr-values-succeeds": func(m *module) {
		if got := claims(m.T, m.signIn(newBrowser(m.T), set("acr_values", "1 urn:vestibule:acr:1fa")).ID)["acr"]; got != "urn:vestibule:acr:1fa" {
			m.Errorf("acr %v", got)
		}
	},
	"oidcc-codereuse":                      func(m *module) { m.codeReuse(0) },
	"oidcc-codereuse-30seconds":            func(m *module) { m.codeReuse(30 * time.Second) },
	"oidcc-ensure-registered-redirect-uri": (*module).unregistered,
	"oidcc-ensure-post-request-succeeds":   (*module).postRequest,
	"oidcc-server-client-secret-post":      (*module).secretPost,
	"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported": (*module).unsignedObject,
	"oidcc-claims-essential": func(m *module) {
		info := m.userinfo(m.signIn(newBrowser(m.T), func(v url.Values) {
			v.Set("scope", "openid")
			v.Set("claims", `{"userinfo":{"name":{"essential":true}}}`)
		}))
		if info["name"] == nil {
			m.Errorf("no name in %v", info)
		}
	},
	"oidcc-ensure-request-object-with-redirect-uri": (*module).objectWithRedirect,
	"oidcc-refresh-token":                           (*module).refreshToken,
	"oidcc-ensure-request-with-valid-pkce-succeeds": func(m *module) {
		r := m.w.request(in(m.c.org))
		if tok := m.w.redeem(newBrowser(m.T).authorize(m.w, r).code(m.T), r.verifier); tok.Status != http.StatusOK {
			m.Error(tok.raw)
		}
	},
	"oidcc-ensure-request-without-nonce-succeeds-for-code-flow": func(m *module) { m.signIn(newBrowser(m.T), set("nonce")) },
}

func TestBasicOP(t *testing.T)    { plan(t, "", basic) }
func TestFormPostOP(t *testing.T) { plan(t, "form_post", basic) }

func plan(t *testing.T, mode string, modules map[string]func(*module)) {
	w := newWorld(t)
	c, _ := profiled(w)
	app := w.entitledApp("conformance", c.org, exempt)
	for name, run := range modules {
		t.Run(name, func(t *testing.T) {
			at := *app
			at.t = t
			run(&module{T: t, w: &at, c: c, mode: mode})
		})
	}
}

// TestConfigOP is the Config OP plan, oidcc-discovery-endpoint-verification: what discovery must say (OpenID
// Connect Discovery section 3), and where it is found.
func TestConfigOP(t *testing.T) {
	w := newWorld(t)
	p := newBrowser(t).get(w, "/.well-known/openid-configuration")
	var doc map[string]any
	if err := json.Unmarshal([]byte(p.body), &doc); err != nil || p.status != http.StatusOK || !strings.HasPrefix(p.header.Get("Content-Type"), "application/json") {
		t.Fatalf("%d %v %s", p.status, p.header, p.body)
	}
	if doc["issuer"] != w.url {
		t.Errorf("issuer %v", doc["issuer"])
	}
	for _, endpoint := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		if at, _ := doc[endpoint].(string); !strings.HasPrefix(at, w.url+"/") {
			t.Errorf("%s is %q", endpoint, at)
		}
	}
	for member, want := range map[string]string{
		"response_types_supported": "code", "subject_types_supported": "public pairwise", "id_token_signing_alg_values_supported": "RS256",
		"response_modes_supported": "query form_post", "scopes_supported": "openid profile email address phone", "prompt_values_supported": "none login consent select_account",
		"claims_supported": profileClaims + " sub email address phone_number acr auth_time", "token_endpoint_auth_methods_supported": "client_secret_basic client_secret_post",
	} {
		have, _ := doc[member].([]any)
		for value := range strings.FieldsSeq(want) {
			if !slices.Contains(have, any(value)) {
				t.Errorf("%s lacks %s: %v", member, value, have)
			}
		}
	}
	if prompts, _ := doc["prompt_values_supported"].([]any); slices.Contains(prompts, any("create")) {
		t.Error("registration is announced, and there is none")
	}
	if doc["claims_parameter_supported"] != true || doc["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("claims parameter %v, iss %v", doc["claims_parameter_supported"], doc["authorization_response_iss_parameter_supported"])
	}
	keys := newBrowser(t).get(w, strings.TrimPrefix(doc["jwks_uri"].(string), w.url))
	if keys.status != http.StatusOK || strings.Contains(keys.body, `"d":`) || !strings.Contains(keys.body, `"kid"`) {
		t.Errorf("keys: %d %s", keys.status, keys.body)
	}
}

func (m *module) idTokenSignature() {
	app := m.w.entitledApp("rs256-"+m.mode, m.c.org, func(a *broker.App) { exempt(a); a.IDTokenAlg = "RS256" })
	other := *m
	other.w = app
	if head := other.signIn(newBrowser(m.T), nil).ID; !strings.Contains(headOf(m.T, head), `"RS256"`) {
		m.Errorf("signed by %s", headOf(m.T, head))
	}
}

func (m *module) userinfoBy(contentType string, inHeader bool) {
	tok := m.signIn(newBrowser(m.T), nil)
	body, head := "access_token="+tok.Access, []string(nil)
	if inHeader {
		body, head = "", []string{"Bearer " + tok.Access}
	}
	if p := m.w.askUserinfo(http.MethodPost, "", contentType, body, head...); p.status != http.StatusOK || !strings.Contains(p.body, `"sub"`) {
		m.Errorf("%d %s", p.status, p.body)
	}
}

func (m *module) promptLogin() {
	b := newBrowser(m.T)
	first := m.signIn(b, nil)
	m.w.clock.pass(2 * time.Second)
	hops := len(b.hops)
	second := m.signIn(b, set("prompt", "login"))
	if !b.visited(m.c, hops) || claims(m.T, second.ID)["auth_time"].(float64) <= claims(m.T, first.ID)["auth_time"].(float64) {
		m.Error("the person was not asked again")
	}
}

func (m *module) promptNone() {
	b := newBrowser(m.T)
	first, second := m.signIn(b, nil), m.signIn(b, set("prompt", "none"))
	for _, name := range []string{"sub", "auth_time"} {
		if claims(m.T, first.ID)[name] != claims(m.T, second.ID)[name] {
			m.Errorf("another %s", name)
		}
	}
}

func (m *module) maxAge1() {
	b := newBrowser(m.T)
	first := m.signIn(b, nil)
	m.w.clock.pass(3 * time.Second)
	second := m.signIn(b, set("max_age", "1"))
	if claims(m.T, second.ID)["auth_time"].(float64) <= claims(m.T, first.ID)["auth_time"].(float64) {
		m.Error("the sign-in is as old as before")
	}
}

func (m *module) maxAge10000() {
	b := newBrowser(m.T)
	first, second := m.signIn(b, nil), m.signIn(b, set("max_age", "10000"))
	if claims(m.T, second.ID)["auth_time"] != claims(m.T, first.ID)["auth_time"] {
		m.Error("another auth_time")
	}
}

func (m *module) idTokenHint() {
	b := newBrowser(m.T)
	first := m.signIn(b, nil)
	second := m.signIn(b, func(v url.Values) { v.Set("prompt", "none"); v.Set("id_token_hint", first.ID) })
	if claims(m.T, second.ID)["sub"] != claims(m.T, first.ID)["sub"] {
		m.Error("another sub")
	}
}

// codeReuse: a code is good once; shown again it is refused, and what it gave is taken back (RFC 6749
// section 4.1.2).
func (m *module) codeReuse(after time.Duration) {
	q := m.answer(newBrowser(m.T), m.ask(nil))
	tok := m.w.redeem(q.Get("code"), "")
	m.w.clock.pass(after)
	if again := m.w.redeem(q.Get("code"), ""); again.Status != http.StatusBadRequest || again.Error != "invalid_grant" {
		m.Errorf("again: %d %s", again.Status, again.raw)
	}
	if status, _ := m.w.userinfo(tok.Access); status != http.StatusUnauthorized {
		m.Errorf("its token: %d", status)
	}
}

func (m *module) unregistered() {
	for _, odd := range []string{callback + "/odd", callback + "?x=1", strings.ToUpper(callback), "https://evil.example/"} {
		newBrowser(m.T).asked(m.w, m.ask(set("redirect_uri", odd)).Encode()).refusedHere(m.T, http.StatusBadRequest)
	}
}

func (m *module) postRequest() {
	r := m.ask(nil)
	b := newBrowser(m.T)
	p := b.send(http.MethodPost, m.w.url+"/authorize", r.Values, true)
	if p.status != http.StatusSeeOther {
		m.Fatalf("%d %s", p.status, textOf(p.body))
	}
	q := url.Values{}
	if m.mode == "form_post" {
		for p.header.Get("Location") != "" {
			to, _ := p.url.Parse(p.header.Get("Location"))
			p = b.send(http.MethodGet, to.String(), nil, false)
		}
		q = p.answerForm(m.T).values
	} else {
		q = b.follow(p).url.Query()
	}
	if tok := m.w.redeem(q.Get("code"), ""); tok.Status != http.StatusOK {
		m.Errorf("answer %v: %s", q, tok.raw)
	}
}

func (m *module) secretPost() {
	app := m.w.entitledApp("post-"+m.mode, m.c.org, func(a *broker.App) { exempt(a); a.Method = broker.SecretPost })
	other := *m
	other.w = app
	q := other.answer(newBrowser(m.T), other.ask(nil))
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {callback},
		"client_id": {app.app.ClientID}, "client_secret": {app.secret},
	}
	if tok := app.token(form, nil); tok.Status != http.StatusOK {
		m.Error(tok.raw)
	}
}

// An unsigned request object is refused with an error that says so.
func (m *module) unsignedObject() {
	m.refused(newBrowser(m.T), set("request", "eyJhbGciOiJub25lIn0.eyJzY29wZSI6Im9wZW5pZCJ9."), "request_not_supported", "invalid_request_object")
}

func (m *module) objectWithRedirect() {
	m.refused(newBrowser(m.T), func(v url.Values) {
		v.Set("request", "eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmkiOiJodHRwczovL2V2aWwuZXhhbXBsZS8ifQ.")
	}, "request_not_supported", "invalid_request_object")
}

func (m *module) refreshToken() {
	tok := m.signIn(newBrowser(m.T), set("scope", "openid offline_access"))
	var first struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(tok.raw), &first); err != nil || first.Refresh == "" {
		m.Fatalf("no refresh token: %s", tok.raw)
	}
	next := m.w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}}, func(r *http.Request) {
		r.SetBasicAuth(m.w.app.ClientID, m.w.secret)
	})
	if next.Status != http.StatusOK {
		m.Fatal(next.raw)
	}
	for _, name := range []string{"iss", "sub", "aud", "auth_time"} {
		if claims(m.T, next.ID)[name] != claims(m.T, tok.ID)[name] {
			m.Errorf("another %s", name)
		}
	}
	m.userinfo(next)
	if other := m.w.entitledApp("thief-"+m.mode, m.c.org, exempt); other.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}}, func(r *http.Request) {
		r.SetBasicAuth(other.app.ClientID, other.secret)
	}).Error != "invalid_grant" {
		m.Error("another client refreshed")
	}
}

// headOf is a token's header.
func headOf(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// The pages that a person sees follow ui_locales, the best that there is, through the whole login, whatever
// the organization chose (OpenID Connect Core section 3.1.2.1); what is not spoken here is no error.
func TestTheLanguageThatWasWishedForWinsThroughTheWholeLogin(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	theme, err := w.h.store.Theme(t.Context(), c.org)
	w.must(err)
	theme.Locale = "en"
	w.must(w.h.store.PutTheme(t.Context(), c.org, theme))
	spanish := regexp.MustCompile(`<html lang="es`)
	for wish, want := range map[string]bool{"fr-CA es-MX en": true, "es": true, "en es": false, "xx": false} {
		b := newBrowser(t)
		change := func(v url.Values) { v.Set("ui_locales", wish) }
		first := b.authorize(app, app.request(change))
		if spanish.MatchString(first.body) != want {
			t.Errorf("%s: the first page is in %v", wish, !want)
		}
		asks, _ := b.asksConsent(app, func(v url.Values) { change(v); in(c.org)(v) })
		if spanish.MatchString(asks.body) != want {
			t.Errorf("%s: the question is in another language", wish)
		}
		refused := b.authorize(app, app.request(func(v url.Values) { change(v); v.Set("organization", "nobody") }))
		if spanish.MatchString(refused.body) != want {
			t.Errorf("%s: the error page is in another language", wish)
		}
	}
}
