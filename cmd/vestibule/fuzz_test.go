package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

const fuzzIssuer = "http://localhost:8080"

// fuzzHouse is a house with one app and one organization without a way in: a request that is good ends
// at a page of ours, so that whatever leaves the house is at a registered address or wrong.
func fuzzHouse(f *testing.F) (*house, string) {
	f.Helper()
	ctx := f.Context()
	h, err := build(ctx, config{Issuer: fuzzIssuer, DataDir: f.TempDir(), Now: time.Now, Own: func() []netip.AddrPort { return nil }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.close)
	realm := directory.NewRealmID(time.Now())
	secret, kept := broker.NewClientSecret(time.Now())
	app := broker.App{ID: directory.NewAppID(time.Now()), Realm: realm, ClientID: "payments", Name: "Payments", Status: directory.Active, Settings: broker.Settings{Method: broker.SecretBasic,
		RedirectURIs: []string{callback}, Scopes: []string{"ledger"}, Audiences: []string{"https://api.example"},
		Grants: []broker.Grant{broker.GrantCode, broker.GrantRefresh, broker.GrantClient, broker.GrantExchange}}, Secrets: []broker.Secret{kept}}
	native := broker.App{ID: directory.NewAppID(time.Now()), Realm: realm, ClientID: "native", Name: "Native", Status: directory.Active, Settings: broker.Settings{Method: broker.NoSecret,
		Native: true, RedirectURIs: []string{"http://127.0.0.1/cb"}}}
	org := directory.NewOrgID(time.Now())
	for _, do := range []func() error{
		func() error {
			return h.directory.AddRealm(ctx, operator, directory.Realm{ID: realm, Handle: "main", Scope: directory.ScopeRealm, Status: directory.Active})
		},
		func() error { return h.broker.AddApp(ctx, operator, app) },
		func() error { return h.broker.AddApp(ctx, operator, native) },
		func() error {
			return h.directory.AddOrg(ctx, operator, directory.Org{ID: org, Realm: realm, Handle: "acme", Name: "Acme", Status: directory.Active})
		},
		func() error {
			return h.directory.Entitle(ctx, operator, directory.Entitlement{Org: org, App: app.ID})
		},
	} {
		if err := do(); err != nil {
			f.Fatal(err)
		}
	}
	return h, secret
}

// ask sends a request that no HTTP library has tidied up.
func ask(t *testing.T, h *house, method, path, query, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, fuzzIssuer+path, strings.NewReader(body))
	r.URL.RawQuery = query
	r.RequestURI = path + "?" + query
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w
}

// registered says whether the browser may be sent there: to us, or to where an app registered.
func registered(at string) bool {
	if strings.HasPrefix(at, "/login/") || strings.HasPrefix(at, "/authorize?continue=") || strings.HasPrefix(at, callback+"?") {
		return true
	}
	to, err := url.Parse(at)
	return err == nil && to.Scheme == "http" && to.Hostname() == "127.0.0.1" && to.User == nil && to.Path == "/cb" && to.Query().Get("iss") == fuzzIssuer
}

// FuzzAuthorize: whatever an authorization request holds, it breaks nothing, and no browser is sent
// anywhere but back to us or to an address that an app registered, with iss.
func FuzzAuthorize(f *testing.F) {
	h, _ := fuzzHouse(f)
	sum := sha256.Sum256([]byte("verifier"))
	good := "response_type=code&client_id=payments&redirect_uri=" + url.QueryEscape(callback) + "&scope=openid&state=s&nonce=n&code_challenge_method=S256&code_challenge=" +
		base64.RawURLEncoding.EncodeToString(sum[:])
	for _, seed := range []string{
		"", good, good + "&prompt=none", good + "&prompt=none&max_age=0", good + "&organization=acme", good + "&organization=main/acme", good + "&login_hint=a@b.example",
		good + "&claims=" + url.QueryEscape(`{"id_token":{"acr":{"essential":true,"values":["x"]}}}`), good + "&claims=null", good + "&state=t", good + "&x=%00", good + "&x=%ff",
		good + "&request=e30.e30.", good + "&response_mode=form_post", good + "&ui_locales=es%20en", good + "&continue=x", "continue=", "client_id=payments&redirect_uri=//evil.example",
		"client_id=native&redirect_uri=" + url.QueryEscape("http://127.0.0.1:9/cb"), "client_id=native&redirect_uri=" + url.QueryEscape("http://127.0.0.1:9@evil.example/cb"),
		"client_id=native&redirect_uri=" + url.QueryEscape("http://127.0.0.1:9/cb#\r\nX: y"), ";", "%", "=&=&=",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, query string, post bool) {
		w := ask(t, h, http.MethodGet, "/authorize", query, "", nil)
		if post {
			w = ask(t, h, http.MethodPost, "/authorize", "", query, nil)
		}
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, at := range w.Header()["Location"] {
			if !registered(at) {
				t.Fatalf("sent to %q", at)
			}
			if strings.HasPrefix(at, "http") && !strings.Contains(at, "iss="+url.QueryEscape(fuzzIssuer)) {
				t.Fatalf("without iss: %q", at)
			}
			if strings.Contains(at, "code=") && !strings.Contains(query, "code") {
				t.Fatalf("a code for nobody: %q", at)
			}
		}
		if w.Header().Get("Location") == "" && w.Code < 400 {
			t.Fatalf("neither sent on nor refused: %d %s", w.Code, w.Body)
		}
	})
}

// FuzzToken: whatever a token request holds, it is answered in JSON as RFC 6749 section 5.2 says, never
// stored by anybody, never with a token, and never by a 500.
func FuzzToken(f *testing.F) {
	h, secret := fuzzHouse(f)
	good := "grant_type=authorization_code&code=x&redirect_uri=" + url.QueryEscape(callback) + "&code_verifier=y"
	for _, seed := range []string{
		"", good, good + "&client_id=payments", good + "&client_id=payments&client_secret=x", good + "&client_id=native", good + "&code=z", good + "&x=%00", good + "&x=%ff",
		good + "&client_assertion=e30.e30.x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "grant_type=refresh_token&refresh_token=x",
		"grant_type=client_credentials", "grant_type=password", ";", "%", "=&=",
		"grant_type=refresh_token&refresh_token=vrt_" + strings.Repeat("a", 43) + "." + strings.Repeat("b", 43) + "&scope=openid&resource=https://api.example",
		"grant_type=client_credentials&organization=acme&scope=ledger&resource=https://api.example", "grant_type=client_credentials&organization=main/acme&resource=a&resource=b",
		"grant_type=" + exchangeGrant + "&subject_token=vat_" + strings.Repeat("a", 43) + "&subject_token_type=" + accessToken + "&audience=https://api.example",
		"grant_type=" + exchangeGrant + "&subject_token=e30.e30.x&subject_token_type=" + accessToken + "&resource=https://api.example&actor_token=x&actor_token_type=" + accessToken,
	} {
		f.Add("", seed, "")
		f.Add("", seed, "payments:"+secret)
		f.Add("client_secret=x", seed, "native:")
		f.Add("", seed, "%zz:%")
	}
	f.Fuzz(func(t *testing.T, query, body, credentials string) {
		w := ask(t, h, http.MethodPost, "/token", query, body, func(r *http.Request) {
			if credentials != "" {
				r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
			}
		})
		var e struct {
			Error  string `json:"error"`
			Access string `json:"access_token"`
		}
		if form, _ := url.ParseQuery(body); w.Code == http.StatusOK && form.Get("grant_type") == "client_credentials" && credentials == "payments:"+secret {
			return // the app, for itself
		}
		if w.Code == http.StatusRequestHeaderFieldsTooLarge || w.Code == http.StatusRequestEntityTooLarge {
			return
		}
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" || e.Access != "" || w.Code != 400 && w.Code != 401 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
	})
}

// FuzzTokenAsked: whatever is asked about a token or given up, nobody is told that a made-up one is good, no
// answer is a 500, and nothing is stored by anybody.
func FuzzTokenAsked(f *testing.F) {
	h, secret := fuzzHouse(f)
	for _, token := range []string{"", "x", "a.b.c", "e30.e30.", "vat_" + strings.Repeat("a", 43), "vrt_" + strings.Repeat("a", 43) + "." + strings.Repeat("b", 43), "vrt_.", "vat_", "grt_x.y", "\x00"} {
		for _, path := range []string{"/introspect", "/revoke"} {
			f.Add(path == "/revoke", "token="+url.QueryEscape(token), "payments:"+secret)
			f.Add(path == "/revoke", "client_id=native&token_type_hint=refresh_token&token="+url.QueryEscape(token), "")
		}
	}
	f.Fuzz(func(t *testing.T, revoke bool, body, credentials string) {
		path := "/introspect"
		if revoke {
			path = "/revoke"
		}
		w := ask(t, h, http.MethodPost, path, "", body, func(r *http.Request) {
			if credentials != "" {
				r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
			}
		})
		if w.Code >= 500 || strings.Contains(w.Body.String(), `"active":true`) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code < 413 && w.Header().Get("Cache-Control") != "no-store" || w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
	})
}
