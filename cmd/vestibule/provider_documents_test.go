package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
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

func TestDiscoverySaysWhatIsThereAndNothingElse(t *testing.T) {
	w := newWorld(t)
	resp, raw := w.document("/.well-known/openid-configuration", nil)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	var got map[string]any
	w.must(json.Unmarshal([]byte(raw), &got))
	for name, want := range map[string]any{
		"issuer": w.url, "authorization_endpoint": w.url + "/authorize", "token_endpoint": w.url + "/token",
		"userinfo_endpoint": w.url + "/userinfo", "jwks_uri": w.url + "/keys", "end_session_endpoint": w.url + "/logout",
		"response_types_supported": []any{"code"}, "response_modes_supported": []any{"query"},
		"grant_types_supported": []any{"authorization_code"}, "subject_types_supported": []any{"public"},
		"id_token_signing_alg_values_supported": []any{"ES256", "RS256", "EdDSA"},
		"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":      []any{"S256"}, "acr_values_supported": []any{"urn:vestibule:acr:1fa"},
		"prompt_values_supported":                        []any{"none", "login", "select_account"},
		"authorization_response_iss_parameter_supported": true,
		"claims_parameter_supported":                     false, "request_parameter_supported": false, "request_uri_parameter_supported": false,
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for _, door := range []string{"introspection_endpoint", "revocation_endpoint", "device_authorization_endpoint", "pushed_authorization_request_endpoint", "registration_endpoint"} {
		if got[door] != nil {
			t.Errorf("%s is announced and does not exist", door)
		}
	}
}

// Discovery answers from memory, whatever the store does.
func TestDiscoveryAndKeysAnswerFromMemory(t *testing.T) {
	w := newWorld(t)
	w.h.close()
	for _, path := range []string{"/.well-known/openid-configuration", "/keys"} {
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
