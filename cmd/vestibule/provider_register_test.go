package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// enrolled is what the registration endpoints said.
type enrolled struct {
	Status int
	Header http.Header
	raw    string
	all    map[string]any
}

func (r enrolled) text(name string) string { s, _ := r.all[name].(string); return s }

// registration speaks to the registration endpoints; nil sends no body.
func (w *world) registration(method, at, token string, body map[string]any) enrolled {
	w.t.Helper()
	var raw io.Reader
	if body != nil {
		raw = bytes.NewReader(encode(w.t, body))
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, at, raw)
	w.must(err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	out := enrolled{Status: resp.StatusCode, Header: resp.Header, raw: string(text)}
	_ = json.Unmarshal(text, &out.all)
	if resp.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s: Cache-Control %q", method, resp.Header.Get("Cache-Control"))
	}
	leaks(w.t, "registration", out.raw)
	return out
}

// register registers an app with metadata on top of the least there may be.
func (w *world) register(token string, change map[string]any) enrolled {
	w.t.Helper()
	return w.registration("POST", w.url+"/register", token, changed(map[string]any{"redirect_uris": []string{callback}, "client_name": "Notes"}, change))
}

// initial makes an initial access token.
func (w *world) initial(uses int, change func(*broker.RegistrationToken)) string {
	w.t.Helper()
	t := broker.RegistrationToken{Realm: w.main, Name: "partners", Expires: w.clock.now().Add(time.Hour), Uses: uses}
	if change != nil {
		change(&t)
	}
	token, err := w.h.broker.AddRegistrationToken(w.t.Context(), operator, t)
	w.must(err)
	return token
}

func TestAnAppRegistersItselfAndSignsIn(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	other := w.addOIDC("other", nil)
	token := w.initial(2, func(t *broker.RegistrationToken) { t.Orgs, t.FirstParty = []directory.OrgID{acme.org}, true })
	got := w.register(token, nil)
	if got.Status != http.StatusCreated {
		t.Fatalf("%d %s", got.Status, got.raw)
	}
	for name, want := range map[string]any{
		"client_name": "Notes", "token_endpoint_auth_method": "client_secret_basic", "id_token_signed_response_alg": "RS256",
		"application_type": "web", "subject_type": "public", "client_secret_expires_at": float64(0),
		"registration_client_uri": w.url + "/register/" + got.text("client_id"), "dpop_bound_access_tokens": false,
	} {
		if got.all[name] != want {
			t.Errorf("%s = %v, want %v", name, got.all[name], want)
		}
	}
	if len(got.text("client_secret")) < 43 || len(got.text("registration_access_token")) < 43 || len(got.text("client_id")) < 20 {
		t.Errorf("%s", got.raw)
	}
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	notes := w.as(app, got.text("client_secret"))
	code, r := notes.freshCode(acme.org, nil)
	tok := notes.redeem(code, r.verifier)
	if tok.Status != 200 {
		t.Fatalf("%s", tok.raw)
	}
	if head := headerOf(t, tok.ID); head["alg"] != "RS256" {
		t.Errorf("id token signed by %v (OpenID Connect Registration section 2)", head["alg"])
	}
	if p := newBrowser(t).authorize(notes, notes.request(in(other.org))); p.url.Query().Get("code") != "" {
		t.Error("an organization that the token does not name uses the app")
	}
}

func TestARegisteredAppIsForNobodyUntilAnOperatorSaysSo(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	got := w.register(w.initial(1, nil), nil)
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	if !app.ThirdParty || app.Realm != w.main {
		t.Errorf("third party %v, realm %s", app.ThirdParty, app.Realm)
	}
	notes := w.as(app, got.text("client_secret"))
	if p := newBrowser(t).authorize(notes, notes.request(in(acme.org))); p.url.Query().Get("code") != "" {
		t.Fatal("an organization that nobody entitled uses the app")
	}
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: acme.org, App: app.ID}))
	if p := newBrowser(t).authorize(notes, notes.request(in(acme.org))); strings.Contains(p.url.String(), "error=access_denied") {
		t.Errorf("entitled: %s", p.url)
	}
}

// S7591: registration is behind an initial access token, which is used as often as it says and no more.
func TestRegistrationNeedsAnInitialAccessToken(t *testing.T) {
	w := newWorld(t)
	gone := w.initial(1, func(t *broker.RegistrationToken) { t.Expires = w.clock.now().Add(time.Minute) })
	three := w.initial(3, nil)
	bearerless := w.register("", nil)
	if bearerless.Status != 401 || !strings.HasPrefix(bearerless.Header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("without: %d %v", bearerless.Status, bearerless.Header)
	}
	for name, token := range map[string]string{"made up": "vrg_" + directory.NewSecret(), "the secret of an app": w.secret, "cut": three[:20]} {
		if got := w.register(token, nil); got.Status != 401 || got.text("error") != "invalid_token" {
			t.Errorf("%s: %d %s", name, got.Status, got.raw)
		}
	}
	if got := w.registration("POST", w.url+"/register?access_token="+three, "", map[string]any{"redirect_uris": []string{callback}}); got.Status != 401 {
		t.Errorf("in the query: %d", got.Status)
	}
	// What is refused uses nothing up; of sixteen at once three are registered.
	if got := w.register(three, map[string]any{"redirect_uris": []string{"javascript:x"}}); got.text("error") != "invalid_redirect_uri" {
		t.Errorf("%s", got.raw)
	}
	var all sync.WaitGroup
	made := make(chan int, 16)
	for range 16 {
		all.Go(func() { made <- w.register(three, nil).Status })
	}
	all.Wait()
	close(made)
	count := map[int]int{}
	for status := range made {
		count[status]++
	}
	if count[201] != 3 || count[401] != 13 {
		t.Errorf("sixteen at once with a token for three: %v", count)
	}
	w.clock.pass(2 * time.Minute)
	if got := w.register(gone, nil); got.Status != 401 {
		t.Errorf("over: %d", got.Status)
	}
	for name, bad := range map[string]broker.RegistrationToken{
		"no name":     {Realm: w.main, Expires: w.clock.now().Add(time.Hour), Uses: 1},
		"no end":      {Realm: w.main, Name: "x", Uses: 1},
		"far end":     {Realm: w.main, Name: "x", Expires: w.clock.now().Add(10000 * time.Hour), Uses: 1},
		"no use":      {Realm: w.main, Name: "x", Expires: w.clock.now().Add(time.Hour)},
		"no realm":    {Realm: "rlm_x", Name: "x", Expires: w.clock.now().Add(time.Hour), Uses: 1},
		"no such org": {Realm: w.main, Name: "x", Expires: w.clock.now().Add(time.Hour), Uses: 1, Orgs: []directory.OrgID{"org_x"}},
	} {
		if _, err := w.h.broker.AddRegistrationToken(t.Context(), operator, bad); err == nil {
			t.Errorf("a token with %s was made", name)
		}
	}
	if _, err := w.h.broker.AddRegistrationToken(t.Context(), directory.Actor{Kind: directory.Engine}, broker.RegistrationToken{Realm: w.main, Name: "x", Expires: w.clock.now().Add(time.Hour), Uses: 1}); err == nil {
		t.Error("whoever is no operator made a token")
	}
}

// RFC 7591 section 2 and 3.2.2, OpenID Connect Registration section 2.
func TestMetadataThatCannotBeMetAreRefused(t *testing.T) {
	w := newWorld(t)
	token := w.initial(100, nil)
	k := newAppKey(t, "k1", "ES256")
	var keys any
	w.must(json.Unmarshal(keySet(t, k), &keys))
	for name, good := range map[string]map[string]any{
		"a public native app":       {"token_endpoint_auth_method": "none", "application_type": "native", "redirect_uris": []string{"com.example.app:/cb", "http://127.0.0.1/cb"}},
		"private_key_jwt":           {"token_endpoint_auth_method": "private_key_jwt", "jwks": keys},
		"keys at an address":        {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks"},
		"unknown members":           {"foo": 1, "software_id": "x", "client_name#fr": "Notes", "require_auth_time": true},
		"everything that may be":    {"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "contacts": []string{"a@b.example"}, "logo_uri": "https://app.example/l.png", "client_uri": "https://app.example/", "tos_uri": "https://app.example/t", "policy_uri": "https://app.example/p", "post_logout_redirect_uris": []string{callback}, "id_token_signed_response_alg": "EdDSA", "default_max_age": 600, "initiate_login_uri": "https://app.example/i", "backchannel_logout_uri": "https://app.example/b", "require_pushed_authorization_requests": true, "dpop_bound_access_tokens": true, "scope": "openid email"},
		"pairwise, one host":        {"subject_type": "pairwise", "redirect_uris": []string{callback, callback + "/2"}},
		"signed requests with keys": {"require_signed_request_object": true, "jwks": keys, "request_object_signing_alg": "ES256"},
	} {
		got := w.register(token, good)
		if got.Status != 201 {
			t.Errorf("%s: %s", name, got.raw)
		}
		if good["token_endpoint_auth_method"] != nil && got.all["client_secret"] != nil {
			t.Errorf("%s: got a secret", name)
		}
	}
	redirects := func(list ...string) map[string]any { return map[string]any{"redirect_uris": list} }
	for name, c := range map[string]struct {
		change map[string]any
		code   string
	}{
		"no redirect_uris":              {map[string]any{"redirect_uris": nil}, "invalid_redirect_uri"},
		"an empty list":                 {redirects(), "invalid_redirect_uri"},
		"a fragment":                    {redirects("https://app.example/cb#x"), "invalid_redirect_uri"},
		"plain http":                    {redirects("http://app.example/cb"), "invalid_redirect_uri"},
		"javascript":                    {redirects("javascript:alert(1)"), "invalid_redirect_uri"},
		"a user in it":                  {redirects("https://app.example@evil.example/"), "invalid_redirect_uri"},
		"an own scheme of a web app":    {redirects("com.example.app:/cb"), "invalid_redirect_uri"},
		"one bad among good":            {redirects(callback, "http://evil.example/"), "invalid_redirect_uri"},
		"post logout plain http":        {map[string]any{"post_logout_redirect_uris": []string{"http://app.example/"}}, "invalid_redirect_uri"},
		"redirect_uris of another type": {map[string]any{"redirect_uris": callback}, "invalid_client_metadata"},
		"implicit":                      {map[string]any{"grant_types": []string{"implicit"}}, "invalid_client_metadata"},
		"client_credentials":            {map[string]any{"grant_types": []string{"authorization_code", "client_credentials"}}, "invalid_client_metadata"},
		"token response":                {map[string]any{"response_types": []string{"code", "token"}}, "invalid_client_metadata"},
		"an unknown method":             {map[string]any{"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"},
		"keys missing":                  {map[string]any{"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"},
		"jwks and jwks_uri":             {map[string]any{"jwks": keys, "jwks_uri": "https://app.example/jwks"}, "invalid_client_metadata"},
		"HS256":                         {map[string]any{"id_token_signed_response_alg": "HS256"}, "invalid_client_metadata"},
		"none":                          {map[string]any{"id_token_signed_response_alg": "none"}, "invalid_client_metadata"},
		"encryption":                    {map[string]any{"id_token_encrypted_response_alg": "RSA-OAEP"}, "invalid_client_metadata"},
		"signed userinfo":               {map[string]any{"userinfo_signed_response_alg": "RS256"}, "invalid_client_metadata"},
		"request_uris":                  {map[string]any{"request_uris": []string{"https://app.example/r"}}, "invalid_client_metadata"},
		"signed requests, no keys":      {map[string]any{"require_signed_request_object": true}, "invalid_client_metadata"},
		"front-channel logout":          {map[string]any{"frontchannel_logout_uri": "https://app.example/f"}, "invalid_client_metadata"},
		"mutual TLS":                    {map[string]any{"tls_client_certificate_bound_access_tokens": true}, "invalid_client_metadata"},
		"a software statement":          {map[string]any{"software_statement": "e30.e30."}, "unapproved_software_statement"},
		"a negative age":                {map[string]any{"default_max_age": -1}, "invalid_client_metadata"},
		"a name on two lines":           {map[string]any{"client_name": "Notes\nsays"}, "invalid_client_metadata"},
		"a name that runs backwards":    {map[string]any{"client_name": "Notes\u202egnp.exe"}, "invalid_client_metadata"},
		"a logo by http":                {map[string]any{"logo_uri": "http://app.example/l.png"}, "invalid_client_metadata"},
		"a logo as data":                {map[string]any{"logo_uri": "data:image/png;base64,x"}, "invalid_client_metadata"},
		"pairwise, two hosts":           {map[string]any{"subject_type": "pairwise", "redirect_uris": []string{"https://a.example/", "https://b.example/"}}, "invalid_client_metadata"},
		// S23: addresses that we would call.
		"jwks_uri private":       {map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://127.0.0.1/jwks"}, "invalid_client_metadata"},
		"jwks_uri on a port":     {map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example:8443/jwks"}, "invalid_client_metadata"},
		"back-channel private":   {map[string]any{"backchannel_logout_uri": "http://169.254.169.254/"}, "invalid_client_metadata"},
		"sector private":         {map[string]any{"subject_type": "pairwise", "sector_identifier_uri": "http://10.0.0.1/s"}, "invalid_client_metadata"},
		"sector that is not met": {map[string]any{"subject_type": "pairwise", "sector_identifier_uri": "https://127.0.0.1/s"}, "invalid_client_metadata"},
	} {
		if got := w.register(token, c.change); got.Status != 400 || got.text("error") != c.code {
			t.Errorf("%s: %d %s", name, got.Status, got.raw)
		}
	}
	// An app gives itself nothing that is the operator's to give.
	got := w.register(token, map[string]any{"scope": "openid admin", "private": []string{"10.0.0.1:443"}, "third_party": false, "fapi": true, "pkce_exempt": true,
		"any_email": true, "memberships": true, "audiences": []string{"https://api.example"}, "scopes": []string{"admin"}, "client_id": "payments", "client_secret": "mine"})
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	if len(app.Private)+len(app.Audiences)+len(app.Scopes) > 0 || !app.ThirdParty || app.PKCEExempt || app.AnyEmail || app.Memberships || app.ClientID == "payments" || got.text("client_secret") == "mine" || strings.Contains(got.text("scope"), "admin") {
		t.Errorf("%+v", app.Settings)
	}
	for name, raw := range map[string]string{"no JSON": "redirect_uris=x", "a list": "[]", "nothing": "", "too much": `{"x":"` + strings.Repeat("a", 70<<10) + `"}`} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/register", strings.NewReader(raw))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// OpenID Connect Core section 8.1: a sector's document lists every redirect URI; it is fetched through the guard.
func TestASectorIdentifierIsRead(t *testing.T) {
	w := newWorld(t)
	token := w.initial(20, nil)
	uris := []string{"https://a.example/cb", "https://b.example/cb"}
	doc := encode(t, uris)
	code := 200
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code); _, _ = rw.Write(doc) }))
	defer s.Close()
	var allowed [][]string
	w.h.broker.Call = func(allow []string) *http.Client {
		allowed = append(allowed, allow)
		c := s.Client()
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
		}
		return c
	}
	pairwise := map[string]any{"subject_type": "pairwise", "redirect_uris": uris, "sector_identifier_uri": "https://example.com/sector"}
	got := w.register(token, pairwise)
	if got.Status != 201 {
		t.Fatalf("%s", got.raw)
	}
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	if !app.Pairwise || app.Sector != "example.com" || len(allowed) != 1 || len(allowed[0]) != 0 {
		t.Errorf("sector %q, opened %v", app.Sector, allowed)
	}
	for name, bad := range map[string]string{"one is missing": `["https://a.example/cb"]`, "no list": `{}`, "no JSON": `x`} {
		doc = []byte(bad)
		if got := w.register(token, pairwise); got.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	doc, code = encode(t, uris), 500
	if got := w.register(token, pairwise); got.text("error") != "invalid_client_metadata" {
		t.Errorf("an error: %s", got.raw)
	}
	// Whoever has no token makes us call nobody.
	before := len(allowed)
	w.register("vrg_"+directory.NewSecret(), pairwise)
	if len(allowed) != before {
		t.Error("a stranger made us call")
	}
}

// RFC 7592: read, replace, end.
func TestAnAppChangesAndEndsItsRegistration(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	token := w.initial(5, func(t *broker.RegistrationToken) { t.Orgs, t.FirstParty = []directory.OrgID{acme.org}, true })
	got, other := w.register(token, map[string]any{"contacts": []string{"a@b.example"}}), w.register(token, nil)
	id, at, access := got.text("client_id"), got.text("registration_client_uri"), got.text("registration_access_token")
	read := w.registration("GET", at, access, nil)
	if read.Status != 200 || read.text("client_id") != id || read.text("registration_access_token") != access || read.all["client_secret"] != nil {
		t.Errorf("read: %d %s", read.Status, read.raw)
	}
	for name, try := range map[string]enrolled{
		"without a token":    w.registration("GET", at, "", nil),
		"another's token":    w.registration("GET", at, other.text("registration_access_token"), nil),
		"the initial token":  w.registration("GET", at, token, nil),
		"its secret":         w.registration("GET", at, got.text("client_secret"), nil),
		"an unknown client":  w.registration("GET", w.url+"/register/nobody", access, nil),
		"the operator's app": w.registration("GET", w.url+"/register/payments", access, nil),
		"another's, deleted": w.registration("DELETE", at, other.text("registration_access_token"), nil),
		"registering by it":  w.registration("POST", w.url+"/register", access, map[string]any{"redirect_uris": []string{callback}}),
	} {
		if try.Status != 401 {
			t.Errorf("%s: %d %s", name, try.Status, try.raw)
		}
	}
	update := func(change map[string]any) enrolled {
		return w.registration("PUT", at, access, changed(map[string]any{"client_id": id, "redirect_uris": []string{callback, callback + "/2"}, "client_name": "Notes 2"}, change))
	}
	for name, bad := range map[string]map[string]any{
		"without client_id":         {"client_id": nil},
		"another client_id":         {"client_id": other.text("client_id")},
		"a wrong secret":            {"client_secret": "guess"},
		"registration_access_token": {"registration_access_token": access},
		"client_id_issued_at":       {"client_id_issued_at": 1},
		"no redirect_uris":          {"redirect_uris": nil},
		"implicit":                  {"grant_types": []string{"implicit"}},
	} {
		if got := update(bad); got.Status != 400 {
			t.Errorf("%s: %d %s", name, got.Status, got.raw)
		}
	}
	next := update(map[string]any{"client_secret": got.text("client_secret")})
	if next.Status != 200 || next.text("client_name") != "Notes 2" || next.all["contacts"] != nil || next.all["client_secret"] != nil {
		t.Errorf("replaced: %d %s", next.Status, next.raw)
	}
	app, err := w.h.store.AppByClientID(t.Context(), id)
	w.must(err)
	notes := w.as(app, got.text("client_secret"))
	code, r := notes.freshCode(acme.org, nil)
	tok := notes.redeem(code, r.verifier)
	if tok.Status != 200 {
		t.Errorf("its secret is the same: %s", tok.raw)
	}
	// What the operator set stays.
	w.must(w.h.store.UpdateApp(t.Context(), app.ID, func(a *broker.App) error { a.Scopes, a.MinACR = []string{"read"}, "urn:vestibule:acr:1fa"; return nil }))
	if got := update(nil); !strings.Contains(got.text("scope"), "read") {
		t.Errorf("%s", got.raw)
	}
	app, err = w.h.store.AppByID(t.Context(), app.ID)
	w.must(err)
	if app.MinACR == "" || app.Registration == nil {
		t.Errorf("%+v", app.Settings)
	}
	// From a secret to none, and back to a new one.
	if got := update(map[string]any{"token_endpoint_auth_method": "none"}); got.Status != 200 || got.all["client_secret"] != nil {
		t.Errorf("%s", got.raw)
	}
	if got := update(nil); got.text("client_secret") == "" || got.text("client_secret") == notes.secret {
		t.Errorf("%s", got.raw)
	}
	// The end: nothing works any more, and nobody gets the client id again (S40).
	if got := w.registration("DELETE", at, access, nil); got.Status != 204 || got.raw != "" {
		t.Errorf("DELETE: %d %s", got.Status, got.raw)
	}
	if got := w.registration("GET", at, access, nil); got.Status != 401 {
		t.Errorf("after the end: %d", got.Status)
	}
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("its token after the end: %d", status)
	}
	newBrowser(t).asked(notes, notes.request(in(acme.org)).Encode()).refusedHere(t, http.StatusForbidden)
	app.ID = directory.NewAppID(w.clock.now())
	if err := w.h.store.CreateApp(t.Context(), app); err == nil {
		t.Error("the client id was given out again")
	}
	if resp, _ := w.document("/register", nil); resp.StatusCode != 405 {
		t.Errorf("GET /register: %d", resp.StatusCode)
	}
}

// What an operator holds an app to is not the app's to take back, by leaving it out of a PUT (RFC 7592
// section 2.2). What it asked for itself is. The record names what changed, and no values.
func TestS48WhatAnOperatorSetOfARegisteredAppStays(t *testing.T) {
	w := newWorld(t)
	got := w.register(w.initial(1, nil), map[string]any{"dpop_bound_access_tokens": true, "default_max_age": 7200})
	id, at, access := got.text("client_id"), got.text("registration_client_uri"), got.text("registration_access_token")
	put := func(change map[string]any) broker.App {
		t.Helper()
		if got := w.registration("PUT", at, access, changed(map[string]any{"client_id": id, "client_name": "Notes", "redirect_uris": []string{"https://notes.example/cb"}}, change)); got.Status != 200 {
			t.Fatalf("%d %s", got.Status, got.raw)
		}
		app, err := w.h.store.AppByClientID(t.Context(), id)
		w.must(err)
		return app
	}
	app := put(nil)
	if app.DPoP || app.MaxAge != 0 {
		t.Errorf("what it asked for itself was not taken back: %+v", app.Settings)
	}
	keys := keySet(t, newAppKey(t, "k", "ES256"))
	w.must(w.h.broker.ChangeApp(t.Context(), operator, app.ID, func(a *broker.App) error {
		a.PAR, a.RequestObject, a.DPoP, a.MaxAge, a.JWKS = true, true, true, time.Hour, keys
		a.Pairwise, a.Sector = true, "group.example"
		a.Grants = []broker.Grant{broker.GrantCode, broker.GrantClient}
		return nil
	}))
	stays := func(what string, app broker.App) {
		t.Helper()
		if !app.PAR || !app.RequestObject || !app.DPoP || !app.Pairwise || app.Sector != "group.example" || app.MaxAge > time.Hour || app.MaxAge == 0 || !slices.Contains(app.Grants, broker.GrantClient) || !slices.Contains(app.Grants, broker.GrantCode) {
			t.Errorf("%s: %+v", what, app.Settings)
		}
	}
	with := map[string]any{"jwks": keys}
	stays("left out", put(with))
	stays("refused in words", put(changed(with, map[string]any{"require_pushed_authorization_requests": false, "subject_type": "public", "default_max_age": 0})))
	stays("asked for as well", put(changed(with, map[string]any{"require_pushed_authorization_requests": true, "dpop_bound_access_tokens": true, "default_max_age": 86400})))
	stays("and left out again", put(with))
	if app := put(changed(with, map[string]any{"default_max_age": 60})); app.MaxAge != time.Minute {
		t.Errorf("tighter is the app's to ask: %s", app.MaxAge)
	}
	fields := w.details(audit.RegistrationChanged, string(app.ID))
	if len(fields) < 5 || fields[0] != "dpop, max_age, redirect_uris" || fields[len(fields)-1] != "max_age" {
		t.Errorf("recorded %q", fields)
	}
}

// details are the fields that entries of an action name for a target, in order.
func (w *world) details(act audit.Action, target string) []string {
	w.t.Helper()
	var out []string
	// One statement: an entry is on its way from one table to the other.
	for _, row := range w.query("SELECT detail FROM (SELECT detail, at, 0 AS late, seq FROM audit WHERE action = $1 AND target_id = $2 "+
		"UNION ALL SELECT detail, at, 1 AS late, seq FROM audit_pending WHERE action = $3 AND target_id = $4) AS entries ORDER BY at, late, seq", string(act), target, string(act), target) {
		var detail map[string]string
		w.must(json.Unmarshal([]byte(row[0]), &detail))
		out = append(out, detail["fields"])
	}
	return out
}

// Registration is no address for browsers of other sites: no origin is let in.
func TestRegistrationIsNotForTheFrontChannel(t *testing.T) {
	w := newWorld(t)
	req := url.Values{"redirect_uris": {callback}}
	p := newBrowser(t).send(http.MethodPost, w.url+"/register", req, true)
	if p.status != 401 || p.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", p.status, p.header)
	}
	r := w.request(set("registration", `{"redirect_uris":["https://evil.example"]}`))
	newBrowser(t).asked(w, r.Encode()).errorFor(t, w, "registration_not_supported", r.Get("state"))
}

// The operator makes the token beside a running service.
func TestTheCommandMakesARegistrationToken(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	database := w.place()
	var said, errs bytes.Buffer
	if status := run(t.Context(), strings.Fields("app registration-token partners -orgs acme -uses 1 -first-party"+database), &said, &errs); status != 0 {
		t.Fatalf("%d %s", status, &errs)
	}
	token := strings.TrimSpace(said.String())
	got := w.register(token, nil)
	if got.Status != 201 {
		t.Fatalf("%s", got.raw)
	}
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	notes := w.as(app, got.text("client_secret"))
	if code, r := notes.freshCode(acme.org, nil); notes.redeem(code, r.verifier).Status != 200 {
		t.Error("acme does not get in")
	}
	for line, says := range map[string]string{
		"app":                    "registration-token",
		"app registration-token": "Name who gets the token",
		"app registration-token x -realm nowhere" + database: "no such realm",
		"app registration-token x -orgs nobody" + database:   "no such organization",
		"app registration-token x -uses 0" + database:        "settings",
	} {
		var said bytes.Buffer
		if status := run(t.Context(), strings.Fields(line), &said, &said); status == 0 || !strings.Contains(said.String(), says) {
			t.Errorf("vestibule %s: %d %s", line, status, &said)
		}
	}
}

// Whoever lost a token, or should have it no longer, registers nothing more; what was registered stays.
func TestTheCommandListsAndRevokesRegistrationTokens(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	database := w.place()
	command := func(line string) (string, int) {
		var said bytes.Buffer
		status := run(t.Context(), strings.Fields("app registration-token "+line+database), &said, &said)
		return said.String(), status
	}
	lost, _ := command("partners -orgs acme -uses 3")
	other, _ := command("partners")
	alone, _ := command("vendor")
	got := w.register(strings.TrimSpace(lost), nil)
	listed, status := command("list")
	if status != 0 || strings.Count(listed, "partners") != 2 || !strings.Contains(listed, "vendor") || strings.Contains(listed, "vrg_") {
		t.Fatalf("%d %s", status, listed)
	}
	var id string
	for line := range strings.Lines(listed) {
		if f := strings.Fields(line); f[1] == "partners" && f[2] == "2" && f[5] == "acme" {
			id = f[0]
		}
	}
	if said, status := command("revoke partners"); status == 0 || !strings.Contains(said, "Several") {
		t.Errorf("by a name that two have: %d %s", status, said)
	}
	for line, says := range map[string]string{"revoke nobody": "no such registration token", "revoke": "Name the token", "list x": "no arguments", "-uses 2 list": "stand first"} {
		if said, status := command(line); status == 0 || !strings.Contains(said, says) {
			t.Errorf("%s: %d %s", line, status, said)
		}
	}
	for _, called := range []string{id, "vendor"} {
		if said, status := command("revoke " + called); status != 0 {
			t.Errorf("revoke %s: %d %s", called, status, said)
		}
	}
	for what, token := range map[string]string{"by its id": lost, "by its name": alone} {
		if got := w.register(strings.TrimSpace(token), nil); got.Status != 401 {
			t.Errorf("revoked %s: %d %s", what, got.Status, got.raw)
		}
	}
	if got := w.register(strings.TrimSpace(other), nil); got.Status != 201 {
		t.Errorf("the other of that name: %d %s", got.Status, got.raw)
	}
	if got := w.registration("GET", got.text("registration_client_uri"), got.text("registration_access_token"), nil); got.Status != 200 {
		t.Errorf("what was registered: %d", got.Status)
	}
	if n := len(w.details(audit.AppTokenRevoked, "partners")) + len(w.details(audit.AppTokenRevoked, "vendor")); n != 2 {
		t.Errorf("%d revocations recorded", n)
	}
}

// An app cannot register in another's sector and then move there to learn the other's subjects.
func TestARegisteredAppsSectorFollowsItsAddresses(t *testing.T) {
	w := newWorld(t)
	got := w.register(w.initial(1, nil), map[string]any{"subject_type": "pairwise", "redirect_uris": []string{"https://victim.example/cb"}})
	sector := func() string {
		app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
		w.must(err)
		return app.Sector
	}
	if sector() != "victim.example" {
		t.Fatalf("sector %q", sector())
	}
	moved := w.registration("PUT", got.text("registration_client_uri"), got.text("registration_access_token"),
		map[string]any{"client_id": got.text("client_id"), "subject_type": "pairwise", "redirect_uris": []string{"https://evil.example/cb"}})
	if moved.Status != 200 || sector() != "evil.example" {
		t.Errorf("%d, sector %q", moved.Status, sector())
	}
}

// RFC 8252 section 7.1: a private-use scheme proves nothing of the host that stands in it. An app must not
// learn another's subjects by writing the other's name where anybody may write anything.
func TestS40APrivateUseSchemeBringsNobodyIntoAnothersSector(t *testing.T) {
	w := newWorld(t)
	for name, uris := range map[string][]string{
		"alone":               {"com.evil.app://victim.example/cb"},
		"beside an https one": {"https://victim.example/cb", "com.evil.app://victim.example/cb"},
	} {
		got := w.register(w.initial(1, nil), map[string]any{
			"subject_type": "pairwise", "application_type": "native", "token_endpoint_auth_method": "none", "redirect_uris": uris,
		})
		if got.Status != 400 || got.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", name, got.Status, got.raw)
		}
	}
}

// RFC 7592 section 2.3: what an app was given is over with its registration, and stays so when an operator
// revives the app.
func TestWhatAnAppWasGivenEndsWithItsRegistration(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	token := w.initial(1, func(t *broker.RegistrationToken) { t.Orgs, t.FirstParty = []directory.OrgID{acme.org}, true })
	got := w.register(token, map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}})
	app, err := w.h.store.AppByClientID(t.Context(), got.text("client_id"))
	w.must(err)
	notes := w.as(app, got.text("client_secret"))
	tok := newBrowser(t).signIn(notes, func(v url.Values) { in(acme.org)(v); v.Set("scope", "openid offline_access") })
	if status, _ := w.userinfo(tok.Access); tok.Refresh == "" || status != 200 {
		t.Fatalf("before the end: %d %s", status, tok.raw)
	}
	if got := w.registration("DELETE", got.text("registration_client_uri"), got.text("registration_access_token"), nil); got.Status != 204 {
		t.Fatalf("DELETE: %d %s", got.Status, got.raw)
	}
	w.settled(acme.org)
	w.must(w.h.broker.SetAppStatus(t.Context(), operator, app.ID, directory.Active))
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("its token after the app came back: %d", status)
	}
	if again := notes.refresh(tok.Refresh); again.Status != 400 || again.Error != "invalid_grant" {
		t.Errorf("its refresh token: %d %s", again.Status, again.raw)
	}
}
