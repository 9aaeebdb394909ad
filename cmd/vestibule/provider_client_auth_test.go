package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// appKey is a key of an app, which signs what it is told to.
type appKey struct {
	kid, alg string
	private  crypto.Signer
}

func newAppKey(t *testing.T, kid, alg string) appKey {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "weak":
		private, err = rsa.GenerateKey(rand.Reader, 1024)
		alg = "RS256"
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return appKey{kid, alg, private}
}

func (k appKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Use: "sig"}
}

func keySet(t *testing.T, keys ...appKey) json.RawMessage {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public())
	}
	return encode(t, set)
}

// sign makes a JWT; header may name kid, typ and more.
func (k appKey) sign(t *testing.T, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: jose.JSONWebKey{Key: k.private, KeyID: k.kid}}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(encode(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// keyed makes an app one that authenticates by its keys.
func keyed(t *testing.T, keys ...appKey) func(*broker.App) {
	return func(a *broker.App) { a.Method, a.Secrets, a.JWKS = broker.PrivateKey, nil, keySet(t, keys...) }
}

// assertion is what the world's app shows to authenticate; a change to nil removes a claim.
func (w *world) assertion(k appKey, change map[string]any) string {
	w.t.Helper()
	return k.sign(w.t, nil, w.assertionClaims(change))
}

func (w *world) assertionClaims(change map[string]any) map[string]any {
	now := w.clock.now()
	claims := map[string]any{
		"iss": w.app.ClientID, "sub": w.app.ClientID, "aud": w.url, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": directory.NewSecret(),
	}
	return changed(claims, change)
}

// changed sets claims, and removes those that are set to nil.
func changed(claims, change map[string]any) map[string]any {
	for name, v := range change {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	return claims
}

// shows adds an assertion to a form.
func shows(assertion string) func(url.Values) {
	return func(v url.Values) {
		v.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		v.Set("client_assertion", assertion)
	}
}

// assertedAs says whether an assertion authenticates: whoever is authenticated reads that the code is wrong.
func (w *world) assertedAs(assertion string, change ...func(url.Values)) bool {
	w.t.Helper()
	tok := w.token(exchange("no-such-code", strings.Repeat("x", 43), append([]func(url.Values){shows(assertion)}, change...)...), nil)
	switch {
	case tok.Error == "invalid_grant" && tok.Status == http.StatusBadRequest:
		return true
	case tok.Error == "invalid_client" && tok.Status == http.StatusUnauthorized && tok.Header.Get("WWW-Authenticate") != "":
		leaks(w.t, "a refused client", tok.raw)
		return false
	}
	w.t.Fatalf("%d %s", tok.Status, tok.raw)
	return false
}

func TestAnAppSignsInByPrivateKeyJWT(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for _, alg := range []string{"ES256", "PS256", "RS256", "EdDSA"} {
		k := newAppKey(t, "k1", alg)
		app := w.entitledApp("keyed-"+strings.ToLower(alg), acme.org, keyed(t, newAppKey(t, "k0", "ES256"), k))
		code, r := app.freshCode(acme.org, nil)
		if tok := app.token(exchange(code, r.verifier, shows(app.assertion(k, nil))), nil); tok.Status != 200 {
			t.Errorf("%s: %s", alg, tok.raw)
		}
		if !app.assertedAs(app.assertion(k, nil), set("client_id", app.app.ClientID)) {
			t.Errorf("%s: with its client_id", alg)
		}
	}
}

// RFC 7523 section 3, OpenID Connect Core section 9, S48: each sentence, by what breaks it.
func TestS48AClientAssertionIsForUsOnceAndForMinutes(t *testing.T) {
	w := newWorld(t)
	k, other := newAppKey(t, "k1", "ES256"), newAppKey(t, "k1", "ES256")
	app := w.as(w.addApp("keyed", keyed(t, k)))
	now := w.clock.now().Unix()
	for name, good := range map[string]map[string]any{
		"as it should be":                nil,
		"without iat":                    {"iat": nil},
		"8 seconds ahead":                {"iat": now + 8, "nbf": now + 8},
		"five minutes long":              {"exp": now + 299},
		"fractions of a second":          {"exp": float64(now) + 30.5},
		"claims that mean nothing to us": {"scope": "all", "sub_jwk": map[string]any{"kty": "EC"}},
		"an nbf that is over":            {"nbf": now - 30},
		"a jti as long as it may be":     {"jti": strings.Repeat("j", 255)},
	} {
		if !app.assertedAs(app.assertion(k, good)) {
			t.Errorf("%s: refused", name)
		}
	}
	for name, bad := range map[string]map[string]any{
		"aud an array of us":       {"aud": []string{w.url}},
		"aud an array of two":      {"aud": []string{w.url, "https://other.example"}},
		"aud the token endpoint":   {"aud": w.url + "/token"},
		"aud with a slash":         {"aud": w.url + "/"},
		"aud another":              {"aud": "https://other.example"},
		"aud nobody":               {"aud": ""},
		"aud missing":              {"aud": nil},
		"iss another":              {"iss": "payments"},
		"iss missing":              {"iss": nil},
		"sub another":              {"sub": "payments"},
		"sub missing":              {"sub": nil},
		"exp over":                 {"exp": now - 1, "iat": now - 60},
		"exp far":                  {"exp": now + 3600},
		"exp far, no iat":          {"exp": now + 420, "iat": nil},
		"exp missing":              {"exp": nil},
		"exp text":                 {"exp": "tomorrow"},
		"exp beyond all":           {"exp": json.Number("1e300")},
		"a life of six minutes":    {"exp": now + 290, "iat": now - 70},
		"iat in a minute":          {"iat": now + 61, "exp": now + 90},
		"nbf in a minute":          {"nbf": now + 61, "exp": now + 90},
		"jti missing":              {"jti": nil},
		"jti empty":                {"jti": ""},
		"jti longer than it may":   {"jti": strings.Repeat("j", 256)},
		"jti a number":             {"jti": 7},
		"the signature of another": nil,
	} {
		key := k
		if bad == nil {
			key = other
		}
		if app.assertedAs(app.assertion(key, bad)) {
			t.Errorf("%s: accepted", name)
		}
	}
	if app.assertedAs(app.assertion(k, nil), set("client_id", "payments")) {
		t.Error("a client_id that differs from sub: accepted")
	}
	if app.assertedAs(app.assertion(k, nil), set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")) {
		t.Error("another client_assertion_type: accepted")
	}
	if app.assertedAs("", set("client_id", app.app.ClientID)) || app.assertedAs(strings.Repeat("a", 40<<10)) || app.assertedAs("e30.e30.x") {
		t.Error("no assertion: accepted")
	}
}

func TestS48AClientAssertionsHeaderIsJudged(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	rsaKey := newAppKey(t, "r1", "RS256")
	app := w.as(w.addApp("keyed", keyed(t, k, rsaKey)))
	for typ, want := range map[any]bool{
		"JWT": true, "jwt": true, "client-authentication+jwt": true, "application/client-authentication+jwt": true,
		"at+jwt": false, "logout+jwt": false, "dpop+jwt": false, "oauth-authz-req+jwt": false, 7: false, "": false,
	} {
		if got := app.assertedAs(k.sign(t, map[jose.HeaderKey]any{"typ": typ}, app.assertionClaims(nil))); got != want {
			t.Errorf("typ %v: %v", typ, got)
		}
	}
	for name, header := range map[string]map[jose.HeaderKey]any{"crit": {"crit": []string{"exp"}, "exp": 1}, "kid another": {"kid": "k9"}} {
		if app.assertedAs(k.sign(t, header, app.assertionClaims(nil))) {
			t.Errorf("%s: accepted", name)
		}
	}
	nameless := k
	nameless.kid = ""
	if !app.assertedAs(app.assertion(nameless, nil)) {
		t.Error("without a kid every key of the algorithm is tried")
	}
	// Algorithm confusion: the public key as a secret, none at all, a key of another kind.
	public := []byte(encode(t, k.public()))
	hs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, nil)
	w.must(err)
	jws, err := hs.Sign(encode(t, app.assertionClaims(nil)))
	w.must(err)
	symmetric, err := jws.CompactSerialize()
	w.must(err)
	b64 := base64.RawURLEncoding.EncodeToString
	claims := b64(encode(t, app.assertionClaims(nil)))
	good := strings.Split(app.assertion(k, nil), ".")
	for name, token := range map[string]string{
		"HS256 by the public key": symmetric,
		"none":                    b64([]byte(`{"alg":"none"}`)) + "." + claims + ".",
		"none with a signature":   b64([]byte(`{"alg":"none"}`)) + "." + claims + "." + good[2],
		"RS256 named, ES256 made": b64([]byte(`{"alg":"RS256","kid":"k1"}`)) + "." + good[1] + "." + good[2],
		"another payload":         good[0] + "." + claims + "." + good[2],
		"a JSON serialization":    `{"payload":"` + good[1] + `","protected":"` + good[0] + `","signature":"` + good[2] + `"}`,
		"claims that come twice":  k.signRaw(t, `{"iss":"payments","iss":"keyed","sub":"keyed","aud":"`+w.url+`","exp":9999999999,"jti":"x"}`),
	} {
		if app.assertedAs(token) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// signRaw signs bytes.
func (k appKey) signRaw(t *testing.T, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: jose.JSONWebKey{Key: k.private, KeyID: k.kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// S48, S16: of sixteen that show one assertion at once one is let in; and none after a restart.
func TestS48AClientAssertionIsSpentOnce(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	app := w.as(w.addApp("keyed", keyed(t, k)))
	same := w.as(w.addApp("neighbour", keyed(t, k)))
	token := app.assertion(k, map[string]any{"jti": "the same"})
	var all sync.WaitGroup
	var in atomic.Int32
	for range 16 {
		all.Go(func() {
			form := exchange("no-such-code", strings.Repeat("x", 43), shows(token))
			resp, err := http.PostForm(w.url+"/token", form)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusBadRequest {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 16 were let in", in.Load())
	}
	if app.assertedAs(app.assertion(k, map[string]any{"jti": "the same"})) {
		t.Error("another assertion with a jti that was used: accepted")
	}
	if !same.assertedAs(same.assertion(k, map[string]any{"jti": "the same"})) {
		t.Error("one app's jti is another's")
	}
	// A crash of the short-lived store forgets nothing of it: the durable one holds it.
	w.h.broker.Brief = forgetful{w.h.broker.Brief}
	if app.assertedAs(token) {
		t.Error("after the short-lived store forgot: accepted")
	}
}

// A wrong assertion spends nothing: nobody can use up the jti of another's assertion.
func TestAForgedAssertionSpendsNoJTI(t *testing.T) {
	w := newWorld(t)
	k, forger := newAppKey(t, "k1", "ES256"), newAppKey(t, "k1", "ES256")
	app := w.as(w.addApp("keyed", keyed(t, k)))
	if app.assertedAs(app.assertion(forger, map[string]any{"jti": "wanted"})) {
		t.Fatal("a forgery was accepted")
	}
	if app.assertedAs(app.assertion(k, map[string]any{"jti": "wanted", "aud": "https://other.example"})) {
		t.Fatal("one for somebody else was accepted")
	}
	if !app.assertedAs(app.assertion(k, map[string]any{"jti": "wanted"})) {
		t.Error("the app itself is shut out")
	}
}

func TestAKeyedAppShowsNothingElse(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	app := w.as(w.addApp("keyed", keyed(t, k)))
	for name, form := range map[string]url.Values{
		"its name alone": exchange("c", "v", set("client_id", "keyed")),
		"a secret":       exchange("c", "v", set("client_id", "keyed"), set("client_secret", "guess")),
	} {
		if tok := app.token(form, nil); tok.Error != "invalid_client" {
			t.Errorf("%s: %s", name, tok.raw)
		}
	}
	both := exchange("c", "v", shows(app.assertion(k, nil)), set("client_secret", "guess"))
	if tok := app.token(both, nil); tok.Error != "invalid_request" {
		t.Errorf("an assertion and a secret: %s", tok.raw)
	}
	if tok := app.token(exchange("c", "v", shows(app.assertion(k, nil))), func(r *http.Request) { r.SetBasicAuth("keyed", "guess") }); tok.Error != "invalid_request" {
		t.Errorf("an assertion and Basic: %s", tok.raw)
	}
	w.must(w.h.store.UpdateApp(t.Context(), app.app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil }))
	if app.assertedAs(app.assertion(k, nil)) {
		t.Error("an app that is switched off: accepted")
	}
}

// keyServer is where an app publishes its keys.
type keyServer struct {
	*httptest.Server
	asked atomic.Int32
	mu    sync.Mutex
	doc   []byte
	code  int
}

func newKeyServer(t *testing.T, keys ...appKey) *keyServer {
	s := &keyServer{code: http.StatusOK, doc: keySet(t, keys...)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.code/100 == 3 {
			w.Header().Set("Location", "http://127.0.0.1:1/")
		}
		w.WriteHeader(s.code)
		_, _ = w.Write(s.doc)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) answer(code int, doc []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.doc = code, doc
}

func (s *keyServer) target() string { return strings.TrimPrefix(s.URL, "http://") }

// published makes an app one whose keys lie at its own address.
func published(s *keyServer) func(*broker.App) {
	return func(a *broker.App) {
		a.Method, a.Secrets, a.JWKSURI, a.Private = broker.PrivateKey, nil, s.URL+"/jwks", []string{s.target()}
	}
}

func TestKeysAreFetchedKeptAndRenewed(t *testing.T) {
	w := newWorld(t)
	k1, k2 := newAppKey(t, "k1", "ES256"), newAppKey(t, "k2", "ES256")
	s := newKeyServer(t, k1)
	app := w.as(w.addApp("fetched", published(s)))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if !app.assertedAs(app.assertion(k1, nil)) {
				t.Error("refused")
			}
		})
	}
	all.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Errorf("eight at once asked the app %d times", n)
	}
	// An unknown kid asks once more, and not again for a while; a known one with a wrong signature never.
	w.clock.pass(11 * time.Second)
	for range 5 {
		if app.assertedAs(app.assertion(k2, nil)) {
			t.Error("a key that is not published: accepted")
		}
		if app.assertedAs(app.assertion(appKey{"k1", "ES256", k2.private}, nil)) {
			t.Error("a wrong signature: accepted")
		}
	}
	if n := s.asked.Load(); n != 2 {
		t.Errorf("unknown keys asked the app %d times in all, want 2", n)
	}
	s.answer(http.StatusOK, keySet(t, k2))
	if app.assertedAs(app.assertion(k2, nil)) {
		t.Error("asked again at once")
	}
	w.clock.pass(11 * time.Second)
	if !app.assertedAs(app.assertion(k2, nil)) {
		t.Error("the new key is refused")
	}
	// While the app is down its keys serve, for a day.
	s.answer(http.StatusServiceUnavailable, nil)
	w.clock.pass(40 * time.Minute)
	if !app.assertedAs(app.assertion(k2, nil)) {
		t.Error("the app is down: refused")
	}
	w.clock.pass(25 * time.Hour)
	if app.assertedAs(app.assertion(k2, nil)) {
		t.Error("the app was down for a day: accepted")
	}
	before := s.asked.Load()
	for range 5 {
		app.assertedAs(app.assertion(k2, nil))
	}
	if s.asked.Load() != before {
		t.Error("an app that is down is asked at each request")
	}
	s.answer(http.StatusOK, keySet(t, k2))
	w.clock.pass(time.Minute)
	if !app.assertedAs(app.assertion(k2, nil)) {
		t.Error("the app is back: refused")
	}
}

// S23: an app names an address of the operator's network. It is not called, and what was opened for one
// app is not opened for another.
func TestS23AnAppsKeysAreFetchedThroughTheGuard(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	s := newKeyServer(t, k)
	open := w.as(w.addApp("opened", published(s)))
	sneak := open.app
	w.must(w.h.store.UpdateApp(t.Context(), open.app.ID, func(*broker.App) error { return nil }))
	sneak.ID, sneak.ClientID, sneak.Private = directory.NewAppID(w.clock.now()), "sneak", nil
	w.must(w.h.store.CreateApp(t.Context(), sneak)) // past the check at registration, as an old row may be
	if !open.assertedAs(open.assertion(k, nil)) {
		t.Fatal("the app for which it was opened: refused")
	}
	asked := s.asked.Load()
	other := w.as(sneak, "")
	if other.assertedAs(other.assertion(k, nil)) || s.asked.Load() != asked {
		t.Error("an app for which nothing was opened: called")
	}
	for _, at := range []string{"http://127.0.0.1/jwks", "https://localhost:8443/jwks", "http://169.254.169.254/jwks", "https://user@app.example/jwks", "file:///etc/passwd", "https://app.example/#x"} {
		bad := open.app
		bad.ID, bad.ClientID, bad.JWKSURI, bad.Private = directory.NewAppID(w.clock.now()), "bad", at, nil
		if err := w.h.broker.AddApp(t.Context(), operator, bad); err == nil {
			t.Errorf("jwks_uri %s: registered", at)
		}
	}
}

func TestAKeySetThatIsNotFitIsRefused(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	weak := newAppKey(t, "k1", "weak")
	private := encode(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.private, KeyID: "k1"}}})
	symmetric := []byte(`{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`)
	for name, doc := range map[string][]byte{
		"private": private, "symmetric": symmetric, "weak": keySet(t, weak), "P-384": keySet(t, newAppKey(t, "k1", "ES384")), "no set": []byte(`{}`), "no JSON": []byte(`<html>`),
		"private among public": []byte(strings.Replace(string(private), `{"keys":[`, `{"keys":[`+string(encode(t, newAppKey(t, "k2", "ES256").public()))+",", 1)),
	} {
		now := w.clock.now()
		err := w.h.broker.AddApp(t.Context(), operator, broker.App{ID: directory.NewAppID(now), Realm: w.main, ClientID: "bad", Name: "Bad", Status: directory.Active,
			Settings: broker.Settings{Method: broker.PrivateKey, RedirectURIs: []string{callback}, JWKS: doc}})
		if err == nil {
			t.Fatalf("%s by value: registered", name)
		}
	}
	for name, how := range map[string]struct {
		code int
		doc  []byte
		key  appKey
	}{
		"private": {200, private, k}, "weak": {200, keySet(t, weak), weak}, "a redirect": {302, keySet(t, k), k}, "an error": {404, keySet(t, k), k},
		"too large": {200, append([]byte(strings.Repeat(" ", 70<<10)), keySet(t, k)...), k}, "no JSON": {200, []byte("no"), k},
	} {
		s := newKeyServer(t, k)
		s.answer(how.code, how.doc)
		app := w.as(w.addApp("app-"+strings.ReplaceAll(name, " ", "-"), published(s)))
		if app.assertedAs(app.assertion(how.key, nil)) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecretsNeverStandInTheAddress(t *testing.T) {
	w := newWorld(t)
	w.raw(http.MethodPost, "/token?client_secret="+w.secret, "application/x-www-form-urlencoded",
		strings.NewReader("grant_type=authorization_code")).oauthErrorIs(t, "client_secret in the query", 400, "invalid_request")
}
