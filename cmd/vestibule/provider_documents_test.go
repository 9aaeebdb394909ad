package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// document fetches a public document.
func (w *world) document(path string, header http.Header) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	w.must(err)
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp, string(raw)
}

// discovered is the provider's metadata.
func (w *world) discovered() map[string]any {
	w.t.Helper()
	resp, raw := w.document("/.well-known/openid-configuration", nil)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		w.t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	var got map[string]any
	w.must(json.Unmarshal([]byte(raw), &got))
	return got
}

// OpenID Connect Discovery section 3, RFC 8414 section 2, RFC 9126 section 5, RFC 9449 section 5.1.
func TestDiscoverySaysWhatIsThereAndNothingElse(t *testing.T) {
	w := newWorld(t)
	got := w.discovered()
	algs := []any{"ES256", "PS256", "RS256", "EdDSA"}
	secrets := []any{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	for name, want := range map[string]any{
		"issuer": w.url, "authorization_endpoint": w.url + "/authorize", "token_endpoint": w.url + "/token",
		"userinfo_endpoint": w.url + "/userinfo", "jwks_uri": w.url + "/keys", "end_session_endpoint": w.url + "/logout",
		"pushed_authorization_request_endpoint": w.url + "/par", "registration_endpoint": w.url + "/register",
		"introspection_endpoint": w.url + "/introspect", "revocation_endpoint": w.url + "/revoke",
		"response_types_supported": []any{"code"}, "response_modes_supported": []any{"query", "form_post"},
		"subject_types_supported":               []any{"public", "pairwise"},
		"id_token_signing_alg_values_supported": []any{"ES256", "RS256", "EdDSA"}, "request_object_signing_alg_values_supported": algs,
		"dpop_signing_alg_values_supported":     []any{"ES256", "PS256", "EdDSA"},
		"token_endpoint_auth_methods_supported": append(secrets, "none"), "token_endpoint_auth_signing_alg_values_supported": algs,
		"introspection_endpoint_auth_methods_supported": secrets, "revocation_endpoint_auth_methods_supported": append(secrets, "none"),
		"code_challenge_methods_supported": []any{"S256"}, "acr_values_supported": []any{"urn:vestibule:acr:1fa", "urn:vestibule:acr:2fa", "urn:vestibule:acr:phr"},
		"prompt_values_supported":                        []any{"none", "login", "select_account", "consent"},
		"authorization_response_iss_parameter_supported": true, "require_pushed_authorization_requests": false,
		"claims_parameter_supported": true, "request_parameter_supported": true, "request_uri_parameter_supported": false,
		"backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for _, absent := range []string{"check_session_iframe", "frontchannel_logout_supported", "request_object_encryption_alg_values_supported",
		"userinfo_signing_alg_values_supported", "tls_client_certificate_bound_access_tokens", "mtls_endpoint_aliases"} {
		if got[absent] != nil {
			t.Errorf("%s is announced and does not exist", absent)
		}
	}
	openid, raw := w.document("/.well-known/openid-configuration", nil)
	oauth, same := w.document("/.well-known/oauth-authorization-server", nil)
	if raw != same || oauth.StatusCode != 200 || oauth.Header.Get("Cache-Control") != openid.Header.Get("Cache-Control") {
		t.Error("the two documents differ (RFC 8414 section 3)")
	}
}

func list(t *testing.T, m map[string]any, name string) []string {
	t.Helper()
	var out []string
	all, _ := m[name].([]any)
	for _, v := range all {
		out = append(out, v.(string))
	}
	if len(out) == 0 {
		t.Errorf("%s is empty", name)
	}
	return out
}

// Each endpoint and value of the metadata is used; and nothing that is advertised is refused, nothing
// refused advertised.
func TestWhatIsAdvertisedWorksAndNothingElseDoes(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	m := w.discovered()
	for name, at := range m {
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		method := http.MethodPost
		if name == "jwks_uri" || name == "userinfo_endpoint" || name == "authorization_endpoint" || name == "end_session_endpoint" {
			method = http.MethodGet
		}
		if p := w.raw(method, strings.TrimPrefix(at.(string), w.url), "application/x-www-form-urlencoded", nil); p.status == 404 || p.status == 405 || p.status >= 500 {
			t.Errorf("%s: %s %s answers %d", name, method, at, p.status)
		}
	}
	agrees := func(what, name string, works func(value string) bool, candidates ...string) {
		t.Helper()
		advertised := list(t, m, name)
		for _, v := range advertised {
			if !slices.Contains(candidates, v) {
				t.Errorf("%s: %s is advertised and this test does not know it", name, v)
			}
		}
		for _, v := range candidates {
			if got := works(v); got != slices.Contains(advertised, v) {
				t.Errorf("%s %s: works %v, advertised %v", what, v, got, !got)
			}
		}
	}
	agrees("grant type", "grant_types_supported", func(g string) bool {
		tok := w.token(url.Values{"grant_type": {g}}, w.basic)
		return tok.Error != "unsupported_grant_type"
	}, "authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code",
		"urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer", "password", "implicit")
	k := newAppKey(t, "k1", "ES256")
	n := 0
	registers := func(change func(*broker.App)) bool {
		n++
		now := w.clock.now()
		_, kept := broker.NewClientSecret(now)
		a := broker.App{ID: directory.NewAppID(now), Realm: w.main, ClientID: "walk-" + strconv.Itoa(n), Name: "Walk", Status: directory.Active,
			Settings: broker.Settings{Method: broker.SecretBasic, RedirectURIs: []string{callback}}, Secrets: []broker.Secret{kept}}
		change(&a)
		return w.h.broker.AddApp(t.Context(), operator, a) == nil
	}
	agrees("client authentication", "token_endpoint_auth_methods_supported", func(method string) bool {
		return registers(func(a *broker.App) {
			switch a.Method = broker.ClientMethod(method); a.Method {
			case broker.NoSecret, "tls_client_auth", "self_signed_tls_client_auth":
				a.Secrets = nil
			case broker.PrivateKey:
				a.Secrets, a.JWKS = nil, keySet(t, k)
			}
		})
	}, "client_secret_basic", "client_secret_post", "private_key_jwt", "none", "client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth")
	agrees("id token algorithm", "id_token_signing_alg_values_supported", func(alg string) bool {
		return registers(func(a *broker.App) { a.IDTokenAlg = alg })
	}, "ES256", "RS256", "EdDSA", "PS256", "HS256", "none")
	agrees("subject type", "subject_types_supported", func(kind string) bool {
		return w.register(w.initial(1, nil), map[string]any{"subject_type": kind}).Status == 201
	}, "public", "pairwise", "ephemeral")
	keys := map[string]appKey{}
	for _, alg := range []string{"ES256", "PS256", "RS256", "EdDSA", "ES384"} {
		keys[alg] = newAppKey(t, alg, alg)
	}
	signs := w.entitledApp("signs", acme.org, keyed(t, keys["ES256"], keys["PS256"], keys["RS256"], keys["EdDSA"], keys["ES384"]))
	agrees("assertion algorithm", "token_endpoint_auth_signing_alg_values_supported", func(alg string) bool {
		return signs.assertedAs(signs.assertion(keys[alg], nil))
	}, "ES256", "PS256", "RS256", "EdDSA", "ES384")
	agrees("request object algorithm", "request_object_signing_alg_values_supported", func(alg string) bool {
		object := signs.object(keys[alg], signs.request(in(acme.org)), nil)
		return signs.push(url.Values{"request": {object}}, shows(signs.assertion(keys["ES256"], nil))).Status == 201
	}, "ES256", "PS256", "RS256", "EdDSA", "ES384")
	nonce := w.nonceOf(keys["ES256"])
	agrees("proof algorithm", "dpop_signing_alg_values_supported", func(alg string) bool {
		tok := w.token(exchange("c", "v"), func(r *http.Request) {
			w.basic(r)
			proofs(w.proof(keys[alg], "POST", "/token", map[string]any{"nonce": nonce}))(r)
		})
		return tok.Error == "invalid_grant"
	}, "ES256", "PS256", "RS256", "EdDSA", "ES384")
	pushes := func(name string) func(string) bool {
		return func(value string) bool {
			r := w.request(in(acme.org))
			r.Set(name, value)
			return w.push(r.Values, nil).Status == 201
		}
	}
	agrees("response type", "response_types_supported", pushes("response_type"), "code", "token", "id_token", "code id_token", "none")
	agrees("response mode", "response_modes_supported", pushes("response_mode"), "query", "form_post", "fragment", "jwt", "web_message")
	agrees("challenge method", "code_challenge_methods_supported", pushes("code_challenge_method"), "S256", "plain")
	agrees("prompt", "prompt_values_supported", pushes("prompt"), "none", "login", "select_account", "consent", "dance")
	agrees("authentication context", "acr_values_supported", func(acr string) bool {
		return pushes("claims")(`{"id_token":{"acr":{"essential":true,"value":"` + acr + `"}}}`)
	}, "urn:vestibule:acr:1fa", "urn:vestibule:acr:2fa", "urn:vestibule:acr:phr")

	all := w.entitledApp("all", acme.org, func(a *broker.App) {
		a.Grants, a.Memberships = []broker.Grant{broker.GrantCode, broker.GrantRefresh}, true
	})
	scopes := list(t, m, "scopes_supported")
	code, r := all.freshCode(acme.org, set("scope", strings.Join(append(scopes, "unknown"), " ")))
	tok := all.redeem(code, r.verifier)
	var answer struct{ Scope string }
	w.must(json.Unmarshal([]byte(tok.raw), &answer))
	if got := strings.Fields(answer.Scope); !reflect.DeepEqual(got, scopes) {
		t.Errorf("scopes: %v, advertised %v", got, scopes)
	}
	known := list(t, m, "claims_supported")
	_, learned := all.userinfo(tok.Access)
	for _, source := range []map[string]any{claims(t, tok.ID), learned} {
		for name := range source {
			if !slices.Contains(known, name) {
				t.Errorf("the claim %s is not advertised", name)
			}
		}
	}
}

// Discovery answers from memory, whatever the store does.
func TestDiscoveryAndKeysAnswerFromMemory(t *testing.T) {
	w := newWorld(t)
	w.h.close()
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/keys"} {
		best := time.Hour
		for range 50 {
			rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, w.url+path, nil)
			began := time.Now()
			w.h.mux.ServeHTTP(rec, req)
			best = min(best, time.Since(began))
			if rec.Code != 200 {
				t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
		// A millisecond is promised and kept on a quiet machine; a store that was asked would have failed.
		if best > 100*time.Millisecond {
			t.Errorf("%s takes %v", path, best)
		}
	}
}

func TestTheIssuerNeverComesFromTheHostHeader(t *testing.T) {
	w := newWorld(t)
	for _, header := range []string{"X-Forwarded-Host", "Forwarded"} {
		_, raw := w.document("/.well-known/openid-configuration", http.Header{header: {"host=evil.example"}})
		if strings.Contains(raw, "evil.example") {
			t.Errorf("%s: %s", header, raw)
		}
	}
	rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://evil.example/.well-known/openid-configuration", nil)
	w.h.mux.ServeHTTP(rec, req)
	if rec.Code != http.StatusMisdirectedRequest || strings.Contains(rec.Body.String(), "evil.example") {
		t.Errorf("under another name: %d %s", rec.Code, rec.Body)
	}
}

func TestKeysAreThereForEveryAlgorithmAndTellNothingPrivate(t *testing.T) {
	w := newWorld(t)
	resp, raw := w.document("/keys", nil)
	if cache := resp.Header.Get("Cache-Control"); cache != "public, max-age=600" {
		t.Errorf("Cache-Control %q", cache)
	}
	var set jose.JSONWebKeySet
	w.must(json.Unmarshal([]byte(raw), &set))
	algs := map[string]bool{}
	for _, k := range set.Keys {
		algs[k.Algorithm] = true
		if !k.IsPublic() || !k.Valid() || k.Use != "sig" || k.KeyID == "" || len(set.Key(k.KeyID)) != 1 {
			t.Errorf("key %s %s", k.KeyID, k.Algorithm)
		}
	}
	if !algs["ES256"] || !algs["RS256"] || !algs["EdDSA"] || len(set.Keys) != 3 {
		t.Errorf("keys %s", raw)
	}
	for _, private := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"qi"`} {
		if strings.Contains(raw, private) {
			t.Errorf("%s is published", private)
		}
	}
}

func TestKeysAreNotSentAgainToWhoHasThem(t *testing.T) {
	w := newWorld(t)
	resp, _ := w.document("/keys", nil)
	etag := resp.Header.Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	for _, have := range []string{etag, "W/" + etag, `"older", ` + etag, "*"} { // RFC 9110 section 13.1.2
		resp, raw := w.document("/keys", http.Header{"If-None-Match": {have}})
		if resp.StatusCode != http.StatusNotModified || raw != "" || resp.Header.Get("ETag") != etag || resp.Header.Get("Cache-Control") == "" {
			t.Errorf("If-None-Match %s: %d %q %v", have, resp.StatusCode, raw, resp.Header)
		}
	}
	if resp, raw := w.document("/keys", http.Header{"If-None-Match": {`"older"`}}); resp.StatusCode != 200 || raw == "" {
		t.Errorf("an older set: %d", resp.StatusCode)
	}
}

// Scripts of public clients may read what no cookie has a part in, and nothing else.
func TestOnlyAddressesForProgramsAreOpenToOtherOrigins(t *testing.T) {
	w := newWorld(t)
	for path, open := range map[string]bool{"/.well-known/openid-configuration": true, "/keys": true, "/userinfo": true, "/authorize": false, "/logout": false, "/": false} {
		resp, _ := w.document(path, http.Header{"Origin": {"https://evil.example"}})
		if got := resp.Header.Get("Access-Control-Allow-Origin") == "*"; got != open {
			t.Errorf("%s open: %v, want %v", path, got, open)
		}
		if resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s takes cookies from other origins", path)
		}
	}
}
