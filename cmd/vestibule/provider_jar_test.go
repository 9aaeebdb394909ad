package main

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// object is an authorization request of the world's app, signed; change to nil removes a claim.
func (w *world) object(k appKey, r request, change map[string]any) string {
	w.t.Helper()
	return k.sign(w.t, map[jose.HeaderKey]any{"typ": "oauth-authz-req+jwt"}, w.objectClaims(r, change))
}

func (w *world) objectClaims(r request, change map[string]any) map[string]any {
	now := w.clock.now()
	claims := map[string]any{"iss": w.app.ClientID, "aud": w.url, "exp": now.Add(time.Minute).Unix(), "nbf": now.Unix(), "iat": now.Unix(), "jti": directory.NewSecret()}
	for name, values := range r.Values {
		claims[name] = values[0]
	}
	return changed(claims, change)
}

// signed is the front-channel request that carries a request object.
func (w *world) signed(object string, change ...func(url.Values)) string {
	v := url.Values{"client_id": {w.app.ClientID}, "request": {object}, "redirect_uri": {callback}, "state": {"outside"}}
	for _, c := range change {
		c(v)
	}
	return v.Encode()
}

// RFC 9101 section 6.3: only what is signed counts.
func TestASignedRequestSignsInAndNothingOutsideItCounts(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for _, alg := range []string{"ES256", "PS256", "RS256", "EdDSA"} {
		k := newAppKey(t, "k1", alg)
		app := w.entitledApp("signs-"+strings.ToLower(alg), acme.org, func(a *broker.App) { a.JWKS = keySet(t, k) })
		r := app.request(in(acme.org))
		b := newBrowser(t)
		p := b.follow(b.asked(app, app.signed(app.object(k, r, map[string]any{"max_age": 3600, "claims": map[string]any{"id_token": map[string]any{"acr": nil}}}),
			set("nonce", "forged"), set("scope", "openid"), set("redirect_uri", "https://evil.example/"), set("response_type", "token"), set("organization", "nobody"))))
		if p.url.Query().Get("state") != r.Get("state") {
			t.Errorf("%s: at the app: %s", alg, p.url)
		}
		tok := app.redeem(p.code(t), r.verifier)
		if tok.Status != 200 || claims(t, tok.ID)["nonce"] != r.Get("nonce") || claims(t, tok.ID)["email"] == nil {
			t.Errorf("%s: %s", alg, tok.raw)
		}
	}
}

// resigned is an ES256 JWT with the other signature that fits: (r, n-s) in place of (r, s).
func resigned(t *testing.T, token string) string {
	t.Helper()
	signed, sig, _ := strings.Cut(token[strings.IndexByte(token, '.')+1:], ".")
	raw, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil || len(raw) != 64 {
		t.Fatalf("%v, %d bytes", err, len(raw))
	}
	s := new(big.Int).SetBytes(raw[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(raw[32:])
	return token[:strings.IndexByte(token, '.')+1] + signed + "." + base64.RawURLEncoding.EncodeToString(raw)
}

func TestASignedRequestOpensByPost(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k := newAppKey(t, "k1", "ES256")
	app := w.entitledApp("signs", acme.org, func(a *broker.App) { a.JWKS = keySet(t, k) })
	r := app.request(in(acme.org))
	v, err := url.ParseQuery(app.signed(app.object(k, r, nil)))
	w.must(err)
	b := newBrowser(t)
	if tok := app.redeem(b.follow(b.send(http.MethodPost, w.url+"/authorize", v, true)).code(t), r.verifier); tok.Status != 200 {
		t.Errorf("%s", tok.raw)
	}
}

func TestS48ARequestObjectIsForUsOnceAndForMinutes(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k, other := newAppKey(t, "k1", "ES256"), newAppKey(t, "k1", "ES256")
	app := w.entitledApp("signs", acme.org, func(a *broker.App) { a.JWKS = keySet(t, k) })
	now := w.clock.now().Unix()
	begins := func(object string) bool {
		p := newBrowser(t).asked(app, app.signed(object))
		if p.status/100 != 3 {
			t.Fatalf("%d %s", p.status, textOf(p.body))
		}
		to := p.location(t)
		if q := to.Query(); strings.HasPrefix(to.String(), callback+"?") {
			if q.Get("error") != "invalid_request_object" || q.Get("state") != "outside" || q.Get("iss") != w.url {
				t.Errorf("at the app: %s", to)
			}
			return false
		}
		return true
	}
	r := app.request(in(acme.org))
	for name, good := range map[string]map[string]any{
		"as it should be":           nil,
		"without jti, nbf and iat":  {"jti": nil, "nbf": nil, "iat": nil},
		"8 seconds ahead":           {"nbf": now + 8, "iat": now + 8},
		"without its client_id":     {"client_id": nil},
		"with a parameter set null": {"prompt": "login", "ui_locales": nil},
	} {
		if !begins(app.object(k, r, good)) {
			t.Errorf("%s: refused", name)
		}
	}
	for name, bad := range map[string]map[string]any{
		"aud an array":              {"aud": []string{w.url}},
		"aud another":               {"aud": "https://other.example"},
		"aud missing":               {"aud": nil},
		"iss another":               {"iss": "payments"},
		"iss missing":               {"iss": nil},
		"client_id another":         {"client_id": "payments"},
		"client_id a list":          {"client_id": []string{"signs"}, "sub": "signs"},
		"sub as in an assertion":    {"sub": "signs"},
		"exp over":                  {"exp": now - 1, "iat": now - 60},
		"exp missing":               {"exp": nil},
		"exp an hour away":          {"exp": now + 3600},
		"nbf in a minute":           {"nbf": now + 61},
		"a life of six minutes":     {"exp": now + 290, "iat": now - 70},
		"a request in it":           {"request": "e30.e30."},
		"a request_uri in it":       {"request_uri": "https://evil.example"},
		"a list of what is no text": {"resource": []any{map[string]any{}}},
	} {
		if begins(app.object(k, r, bad)) {
			t.Errorf("%s: accepted", name)
		}
	}
	if begins(app.object(other, r, nil)) {
		t.Error("signed by another key: accepted")
	}
	for _, typ := range []any{"at+jwt", "dpop+jwt", "client-authentication+jwt", "logout+jwt"} {
		if begins(k.sign(t, map[jose.HeaderKey]any{"typ": typ}, app.objectClaims(r, nil))) {
			t.Errorf("typ %s: accepted", typ)
		}
	}
	if !begins(k.sign(t, nil, app.objectClaims(r, nil))) || !begins(k.sign(t, map[jose.HeaderKey]any{"typ": "JWT"}, app.objectClaims(r, nil))) {
		t.Error("without a typ, or as JWT: refused")
	}
	once := app.object(k, r, nil)
	if !begins(once) || begins(once) {
		t.Error("a request with a jti begins one login")
	}
	// Without one, what was signed is known again, under another signature that fits it too.
	unnamed := app.object(k, r, map[string]any{"jti": nil})
	if !begins(resigned(t, unnamed)) || begins(unnamed) || begins(resigned(t, unnamed)) {
		t.Error("a request without a jti begins one login")
	}
	if begins(app.assertion(k, nil)) {
		t.Error("a client assertion is no request")
	}
	if app.assertedAs(k.sign(t, nil, app.objectClaims(r, nil))) {
		t.Error("a request authenticates")
	}
}

// RFC 9101 section 10.2; the module oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported.
func TestAnUnsignedRequestObjectIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k := newAppKey(t, "k1", "ES256")
	keys := w.entitledApp("signs", acme.org, func(a *broker.App) { a.JWKS = keySet(t, k) })
	b64 := base64.RawURLEncoding.EncodeToString
	for _, app := range []*world{keys, w} {
		r := app.request(in(acme.org))
		body := b64(encode(t, app.objectClaims(r, nil)))
		hs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("s", 32) + app.secret)}, nil)
		w.must(err)
		jws, err := hs.Sign(encode(t, app.objectClaims(r, nil)))
		w.must(err)
		symmetric, err := jws.CompactSerialize()
		w.must(err)
		stranger := app.object(newAppKey(t, "k1", "ES256"), r, nil)
		for _, object := range []string{b64([]byte(`{"alg":"none"}`)) + "." + body + ".", symmetric, "", "x", stranger} {
			newBrowser(t).asked(app, app.signed(object)).errorFor(t, app, "invalid_request_object", "outside")
			newBrowser(t).asked(app, app.signed(object, set("redirect_uri", "https://evil.example/"))).refusedHere(t, http.StatusBadRequest)
		}
	}
}

func TestAnAppThatMustSignIsHeldToIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k := newAppKey(t, "k1", "ES256")
	app := w.entitledApp("signs", acme.org, func(a *broker.App) { a.JWKS, a.RequestObject = keySet(t, k), true })
	r := app.request(in(acme.org))
	newBrowser(t).asked(app, r.Encode()).errorFor(t, app, "invalid_request", r.Get("state"))
	app.push(r.Values, nil).refusedWith(t, "pushed unsigned", 400, "invalid_request")
	b := newBrowser(t)
	if b.follow(b.asked(app, app.signed(app.object(k, r, nil)))).code(t) == "" {
		t.Error("no code")
	}
	now := w.clock.now()
	err := w.h.broker.AddApp(t.Context(), operator, broker.App{ID: directory.NewAppID(now), Realm: w.main, ClientID: "keyless", Name: "Keyless", Status: directory.Active,
		Settings: broker.Settings{Method: broker.NoSecret, RedirectURIs: []string{callback}, RequestObject: true}})
	if err == nil {
		t.Error("an app without keys that must sign: registered")
	}
}

func TestASignedRequestIsPushed(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k := newAppKey(t, "k1", "ES256")
	app := w.entitledApp("signs", acme.org, func(a *broker.App) { keyed(t, k)(a); a.PAR, a.RequestObject = true, true })
	r := app.request(in(acme.org))
	pushes := func(object string, change ...func(url.Values)) pushAnswer {
		return app.push(url.Values{"request": {object}, "scope": {"openid"}, "redirect_uri": {"https://evil.example/"}}, func(v url.Values) {
			shows(app.assertion(k, nil))(v)
			for _, c := range change {
				c(v)
			}
		})
	}
	object := app.object(k, r, nil)
	got := pushes(object, set("client_id", "signs"))
	if got.Status != http.StatusCreated {
		t.Fatalf("%s", got.raw)
	}
	pushes(object).refusedWith(t, "again", 400, "invalid_request_object")
	pushes(app.object(newAppKey(t, "k1", "ES256"), r, nil)).refusedWith(t, "signed by a stranger", 400, "invalid_request_object")
	pushes(app.object(k, r, map[string]any{"redirect_uri": "https://evil.example/"})).refusedWith(t, "an unregistered address", 400, "invalid_request")
	b := newBrowser(t)
	code := b.follow(b.asked(app, app.opens(got.URI))).code(t)
	if tok := app.token(exchange(code, r.verifier, shows(app.assertion(k, nil))), nil); tok.Status != 200 {
		t.Errorf("%s", tok.raw)
	}
	// At the front door the app is not let by with an object: it must be pushed.
	newBrowser(t).asked(app, app.signed(app.object(k, r, nil))).errorFor(t, app, "invalid_request", "outside")
}
