package main

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
)

// thumbprint is the RFC 7638 name of a key.
func (k appKey) thumbprint(t *testing.T) string {
	t.Helper()
	jwk := k.public()
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// nonceOf fetches a DPoP nonce as an app does: by being told that one is missing.
func (w *world) nonceOf(k appKey) string {
	w.t.Helper()
	tok := w.token(exchange("c", "v", set("client_id", "anybody")), proofs(w.proof(k, "POST", "/token", map[string]any{"nonce": nil})))
	if tok.Error != "use_dpop_nonce" || tok.Status != 400 || tok.Header.Get("DPoP-Nonce") == "" {
		w.t.Fatalf("without a nonce: %d %s %v", tok.Status, tok.raw, tok.Header)
	}
	return tok.Header.Get("DPoP-Nonce")
}

// proof is a DPoP proof for an endpoint; a change to nil removes a claim.
func (w *world) proof(k appKey, method, path string, change map[string]any) string {
	w.t.Helper()
	return k.sign(w.t, map[jose.HeaderKey]any{"typ": "dpop+jwt", "jwk": k.public()}, w.proofClaims(method, path, change))
}

func (w *world) proofClaims(method, path string, change map[string]any) map[string]any {
	return changed(map[string]any{"jti": directory.NewSecret(), "htm": method, "htu": w.url + path, "iat": w.clock.now().Unix()}, change)
}

func proofs(proof string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("DPoP", proof) }
}

// bound is a proof for the token endpoint with the nonce of the day.
func (w *world) bound(k appKey) func(*http.Request) {
	w.t.Helper()
	return proofs(w.proof(k, "POST", "/token", map[string]any{"nonce": w.nonceOf(k)}))
}

// shown asks userinfo with a token under a scheme.
func (w *world) shown(method, scheme, token string, change ...func(*http.Request)) (int, http.Header, map[string]any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/userinfo", nil)
	w.must(err)
	req.Header.Set("Authorization", scheme+" "+token)
	for _, c := range change {
		c(req)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, resp.Header, out
}

func ath(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// boundToken is an access token bound to a key.
func (w *world) boundToken(org directory.OrgID, k appKey) tokenAnswer {
	w.t.Helper()
	code, r := w.freshCode(org, nil)
	tok := w.token(exchange(code, r.verifier, set("client_id", w.app.ClientID)), w.bound(k))
	if tok.Status != 200 || tok.Type != "DPoP" {
		w.t.Fatalf("%d %s", tok.Status, tok.raw)
	}
	return tok
}

func TestTokensAreBoundToTheKeyOfTheProof(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	for _, alg := range []string{"ES256", "PS256", "EdDSA"} {
		k, other := newAppKey(t, "", alg), newAppKey(t, "", "ES256")
		tok := app.boundToken(acme.org, k)
		if cnf, _ := claims(t, tok.Access)["cnf"].(map[string]any); cnf["jkt"] != k.thumbprint(t) {
			t.Errorf("%s: cnf %v", alg, claims(t, tok.Access)["cnf"])
		}
		if tok.Header.Get("DPoP-Nonce") == "" {
			t.Error("no nonce for the next proof")
		}
		use := func(by appKey, scheme, token string, change map[string]any) (int, http.Header) {
			status, h, _ := app.shown("GET", scheme, token, proofs(app.proof(by, "GET", "/userinfo", changed(map[string]any{"ath": ath(token), "nonce": app.nonceOf(by)}, change))))
			return status, h
		}
		if status, _ := use(k, "DPoP", tok.Access, nil); status != 200 {
			t.Errorf("%s: userinfo %d", alg, status)
		}
		for name, try := range map[string]func() (int, http.Header){
			"as a bearer token": func() (int, http.Header) { s, h, _ := app.shown("GET", "Bearer", tok.Access); return s, h },
			"as a bearer token with a proof": func() (int, http.Header) {
				return use(k, "Bearer", tok.Access, nil)
			},
			"without a proof":  func() (int, http.Header) { s, h, _ := app.shown("GET", "DPoP", tok.Access); return s, h },
			"by another key":   func() (int, http.Header) { return use(other, "DPoP", tok.Access, nil) },
			"without ath":      func() (int, http.Header) { return use(k, "DPoP", tok.Access, map[string]any{"ath": nil}) },
			"ath of another":   func() (int, http.Header) { return use(k, "DPoP", tok.Access, map[string]any{"ath": ath("x")}) },
			"for another page": func() (int, http.Header) { return use(k, "DPoP", tok.Access, map[string]any{"htu": w.url + "/token"}) },
			"for POST":         func() (int, http.Header) { return use(k, "DPoP", tok.Access, map[string]any{"htm": "POST"}) },
			"without a nonce":  func() (int, http.Header) { return use(k, "DPoP", tok.Access, map[string]any{"nonce": nil}) },
		} {
			status, h := try()
			challenge := strings.Join(h.Values("WWW-Authenticate"), ", ")
			if status != 401 || !strings.Contains(challenge, `DPoP algs="ES256 PS256 EdDSA"`) || !strings.Contains(challenge, "error=") {
				t.Errorf("%s, %s: %d %s", alg, name, status, challenge)
			}
			if name == "without a nonce" && (!strings.Contains(challenge, `error="use_dpop_nonce"`) || h.Get("DPoP-Nonce") == "") {
				t.Errorf("%s: %s", name, challenge)
			}
		}
		if resp, body := app.document("/userinfo?access_token="+tok.Access, nil); resp.StatusCode != 401 {
			t.Errorf("in the query: %d %s", resp.StatusCode, body)
		}
	}
	// And what is bound to no key is not shown as if it was (section 7.1).
	_, plain := app.signedInPublic(acme.org)
	k := newAppKey(t, "", "ES256")
	if status, _, _ := app.shown("GET", "DPoP", plain.Access, proofs(app.proof(k, "GET", "/userinfo", map[string]any{"ath": ath(plain.Access), "nonce": app.nonceOf(k)}))); status != 401 {
		t.Errorf("a bearer token under the DPoP scheme: %d", status)
	}
	if status, _, _ := app.shown("GET", "Bearer", plain.Access); status != 200 {
		t.Errorf("a bearer token: %d", status)
	}
}

func (w *world) signedInPublic(org directory.OrgID) (request, tokenAnswer) {
	w.t.Helper()
	code, r := w.freshCode(org, nil)
	return r, w.token(exchange(code, r.verifier, set("client_id", w.app.ClientID)), nil)
}

// RFC 9449 section 4.3: each sentence, by what breaks it.
func TestADPoPProofIsJudged(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	k, other := newAppKey(t, "", "ES256"), newAppKey(t, "", "ES256")
	nonce, now := app.nonceOf(k), w.clock.now().Unix()
	send := func(headers ...string) tokenAnswer {
		return app.token(exchange("no-such-code", "v", set("client_id", "bound")), func(r *http.Request) { r.Header["Dpop"] = headers })
	}
	with := func(change map[string]any) map[string]any {
		all := map[string]any{"nonce": nonce}
		for name, v := range change {
			all[name] = v
		}
		return all
	}
	upper := strings.Replace(w.url, "http://localhost", "HTTP://LOCALHOST", 1)
	for name, good := range map[string]map[string]any{
		"as it should be":        nil,
		"a query and a fragment": {"htu": w.url + "/token?x=1#y"},
		"host in capitals":       {"htu": upper + "/token"},
		"escaped":                {"htu": w.url + "/%74oken"},
		"10 seconds ago":         {"iat": now - 10},
		"10 seconds ahead":       {"iat": now + 10},
		"ath nobody asked for":   {"ath": "x"},
		"more claims":            {"foo": "bar"},
	} {
		if tok := send(app.proof(k, "POST", "/token", with(good))); tok.Error != "invalid_grant" {
			t.Errorf("%s: %s", name, tok.raw)
		}
	}
	refused := func(name string, headers ...string) {
		t.Helper()
		tok := send(headers...)
		if tok.Error != "invalid_dpop_proof" || tok.Status != 400 {
			t.Errorf("%s: %d %s", name, tok.Status, tok.raw)
		}
		tok.uncached(t, name)
		leaks(t, name, tok.raw)
	}
	for name, bad := range map[string]map[string]any{
		"no jti":               {"jti": nil},
		"an empty jti":         {"jti": ""},
		"a long jti":           {"jti": strings.Repeat("j", 256)},
		"no htm":               {"htm": nil},
		"htm GET":              {"htm": "GET"},
		"htm in small letters": {"htm": "post"},
		"no htu":               {"htu": nil},
		"htu another page":     {"htu": w.url + "/par"},
		"htu another host":     {"htu": "http://evil.example/token"},
		"htu another port":     {"htu": "http://localhost/token"},
		"htu with a user":      {"htu": strings.Replace(w.url, "//", "//u@", 1) + "/token"},
		"htu in capitals":      {"htu": w.url + "/TOKEN"},
		"no iat":               {"iat": nil},
		"iat a minute ago":     {"iat": now - 61},
		"iat in a minute":      {"iat": now + 61},
		"iat text":             {"iat": "now"},
		"iat beyond all":       {"iat": json.Number("1e300")},
	} {
		refused(name, app.proof(k, "POST", "/token", with(bad)))
	}
	c := app.proofClaims("POST", "/token", with(nil))
	public := k.public()
	for name, header := range map[string]map[jose.HeaderKey]any{
		"no typ": {"jwk": public}, "typ JWT": {"typ": "JWT", "jwk": public}, "typ at+jwt": {"typ": "at+jwt", "jwk": public}, "no jwk": {"typ": "dpop+jwt"},
		"jwk of another":     {"typ": "dpop+jwt", "jwk": other.public()},
		"jwk of a P-384":     {"typ": "dpop+jwt", "jwk": newAppKey(t, "", "ES384").public()},
		"jwk that is no JWK": {"typ": "dpop+jwt", "jwk": "x"},
		"jwk private":        {"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: k.private}},
		"jwk symmetric":      {"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: []byte("secret")}},
		"crit":               {"typ": "dpop+jwt", "jwk": public, "crit": []string{"x"}, "x": 1},
	} {
		refused(name, k.sign(t, header, c))
	}
	refused("RS256", app.proof(newAppKey(t, "", "RS256"), "POST", "/token", with(nil)))
	weak := newAppKey(t, "", "weak")
	weak.alg = "PS256"
	refused("a short RSA key", app.proof(weak, "POST", "/token", with(nil)))
	refused("no JWT", "x")
	refused("empty", "")
	refused("too long", strings.Repeat("a", 9<<10))
	refused("two headers", app.proof(k, "POST", "/token", with(nil)), app.proof(k, "POST", "/token", with(nil)))
	parts := strings.Split(app.proof(k, "POST", "/token", with(nil)), ".")
	refused("none", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"dpop+jwt"}`))+"."+parts[1]+".")
}

// A proof is used once, of sixteen at once too; another's proof does not burn it.
func TestADPoPProofIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	k, thief := newAppKey(t, "", "ES256"), newAppKey(t, "", "ES256")
	same := map[string]any{"nonce": app.nonceOf(k), "jti": "the same"}
	if tok := app.token(exchange("c", "v", set("client_id", "bound")), proofs(app.proof(thief, "POST", "/token", same))); tok.Error != "invalid_grant" {
		t.Fatalf("%s", tok.raw)
	}
	proof := app.proof(k, "POST", "/token", same)
	var all sync.WaitGroup
	var in atomic.Int32
	for range 16 {
		all.Go(func() {
			if tok := app.token(exchange("c", "v", set("client_id", "bound")), proofs(proof)); tok.Error == "invalid_grant" {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 16 were let in", in.Load())
	}
	// A client that is refused for another reason may send the same proof again.
	proof = app.proof(k, "POST", "/token", map[string]any{"nonce": app.nonceOf(k)})
	if tok := app.token(exchange("c", "v", set("client_id", "nobody")), proofs(proof)); tok.Error != "invalid_client" {
		t.Fatalf("%s", tok.raw)
	}
	if tok := app.token(exchange("c", "v", set("client_id", "bound")), proofs(proof)); tok.Error != "invalid_grant" {
		t.Errorf("a stranger burnt the proof: %s", tok.raw)
	}
}

// S16: where the short-lived store lost what it knew, proofs of before are refused: their nonce is.
func TestS16AProofOfBeforeTheEpochIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	k := newAppKey(t, "", "ES256")
	proof := app.proof(k, "POST", "/token", map[string]any{"nonce": app.nonceOf(k)})
	app.token(exchange("c", "v", set("client_id", "bound")), proofs(proof))
	epoch := w.clock.now()
	w.h.broker.Brief, w.h.broker.Epoch = emptied(t), func() time.Time { return epoch }
	if tok := app.token(exchange("c", "v", set("client_id", "bound")), proofs(proof)); tok.Error != "use_dpop_nonce" {
		t.Errorf("%s", tok.raw)
	}
	// The app goes on with the nonce it is given.
	if tok := app.token(exchange("c", "v", set("client_id", "bound")), app.bound(k)); tok.Error != "invalid_grant" {
		t.Errorf("%s", tok.raw)
	}
}

// emptied is the short-lived store of another house: it knows nothing.
func emptied(t *testing.T) brief.Store { return worldIn(t, t.TempDir(), nil).h.store.Brief() }

func TestADPoPNonceIsOursAndFresh(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	k := newAppKey(t, "", "ES256")
	try := func(nonce any) tokenAnswer {
		return app.token(exchange("c", "v", set("client_id", "bound")), proofs(app.proof(k, "POST", "/token", map[string]any{"nonce": nonce})))
	}
	nonce := app.nonceOf(k)
	flipped := []byte(nonce)
	flipped[3] ^= 1
	for name, bad := range map[string]any{"none": nil, "empty": "", "made up": directory.NewSecret(), "changed": string(flipped), "cut": nonce[:20]} {
		if tok := try(bad); tok.Error != "use_dpop_nonce" || tok.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: %s", name, tok.raw)
		}
	}
	w.clock.pass(4 * time.Minute)
	if tok := try(nonce); tok.Error != "invalid_grant" {
		t.Errorf("after four minutes: %s", tok.raw)
	}
	w.clock.pass(2 * time.Minute)
	if tok := try(nonce); tok.Error != "use_dpop_nonce" {
		t.Errorf("after six: %s", tok.raw)
	}
}

// RFC 9449 section 10: a code that is bound to a key redeems with that key's proof alone.
func TestACodeIsBoundToADPoPKey(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("bound", acme.org, public)
	k, thief := newAppKey(t, "", "ES256"), newAppKey(t, "", "ES256")
	for name, bind := range map[string]func() (string, request){
		"by dpop_jkt": func() (string, request) { return app.freshCode(acme.org, set("dpop_jkt", k.thumbprint(t))) },
		"by a pushed proof": func() (string, request) {
			r := app.request(in(acme.org))
			got := app.push(r.Values, func(url.Values) {}, proofs(app.proof(k, "POST", "/par", map[string]any{"nonce": app.nonceOf(k)})))
			if got.Status != 201 || got.Header.Get("DPoP-Nonce") == "" {
				t.Fatalf("%s", got.raw)
			}
			b := newBrowser(t)
			return b.follow(b.asked(app, app.opens(got.URI, set("dpop_jkt", thief.thumbprint(t))))).code(t), r
		},
	} {
		for _, how := range []func(*http.Request){nil, app.bound(thief)} {
			code, r := bind()
			if tok := app.token(exchange(code, r.verifier, set("client_id", "bound")), how); tok.Error != "invalid_grant" {
				t.Errorf("%s, without its key: %s", name, tok.raw)
			}
		}
		code, r := bind()
		if tok := app.token(exchange(code, r.verifier, set("client_id", "bound")), app.bound(k)); tok.Status != 200 || tok.Type != "DPoP" {
			t.Errorf("%s: %s", name, tok.raw)
		}
	}
	r := app.request(in(acme.org))
	r.Set("dpop_jkt", thief.thumbprint(t))
	app.push(r.Values, func(url.Values) {}, proofs(app.proof(k, "POST", "/par", map[string]any{"nonce": app.nonceOf(k)}))).refusedWith(t, "dpop_jkt of another key than the proof's", 400, "invalid_dpop_proof")
	app.push(app.request(in(acme.org)).Values, func(url.Values) {}, proofs("x")).refusedWith(t, "no proof", 400, "invalid_dpop_proof")
	app.push(app.request(in(acme.org)).Values, func(url.Values) {}, proofs(app.proof(k, "POST", "/par", nil))).refusedWith(t, "no nonce", 400, "use_dpop_nonce")
	r = app.request(in(acme.org))
	r.Set("dpop_jkt", "short")
	newBrowser(t).asked(app, r.Encode()).errorFor(t, app, "invalid_request", r.Get("state"))
}

func TestAnAppWhoseTokensMustBeBoundIsHeldToIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	app := w.entitledApp("must", acme.org, func(a *broker.App) { a.DPoP = true })
	code, r := app.freshCode(acme.org, nil)
	if tok := app.redeem(code, r.verifier); tok.Error != "invalid_dpop_proof" || tok.Status != 400 {
		t.Errorf("without a proof: %s", tok.raw)
	}
	k := newAppKey(t, "", "ES256")
	tok := app.token(exchange(code, r.verifier), func(r *http.Request) { app.basic(r); app.bound(k)(r) })
	if tok.Status != 200 || tok.Type != "DPoP" {
		t.Errorf("the code was burnt: %s", tok.raw)
	}
}

// An assertion that comes without the nonce is not spent: the app may send it again with one.
func TestAMissingNonceSpendsNoAssertion(t *testing.T) {
	w := newWorld(t)
	k := newAppKey(t, "k1", "ES256")
	app := w.as(w.addApp("keyed", keyed(t, k)))
	token := app.assertion(k, nil)
	if tok := app.token(exchange("c", "v", shows(token)), proofs(app.proof(k, "POST", "/token", nil))); tok.Error != "use_dpop_nonce" {
		t.Fatalf("%s", tok.raw)
	}
	if !app.assertedAs(token) {
		t.Error("the assertion was spent")
	}
}

// RFC 9449 section 6.2: introspection says what a token is bound to. Section 5: so is a public client's
// refresh token.
func TestIntrospectionAndRefreshTokensKnowTheKey(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	k, thief := newAppKey(t, "", "ES256"), newAppKey(t, "", "ES256")
	app := w.entitledApp("bound", acme.org, func(a *broker.App) {
		public(a)
		a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh}
	})
	code, r := app.freshCode(acme.org, set("scope", "openid offline_access"))
	tok := app.token(exchange(code, r.verifier, set("client_id", "bound")), app.bound(k))
	renew := func(how func(*http.Request)) tokenAnswer {
		return app.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshOf(t, tok)}, "client_id": {"bound"}}, how)
	}
	if got := renew(nil); got.Error != "invalid_grant" {
		t.Errorf("without a proof: %s", got.raw)
	}
	if got := renew(app.bound(thief)); got.Error != "invalid_grant" {
		t.Errorf("by another key: %s", got.raw)
	}
	if got := renew(app.bound(k)); got.Status != 200 || got.Type != "DPoP" {
		t.Errorf("by its key: %s", got.raw)
	}
	secret := w.entitledApp("asks", acme.org, nil)
	code, r = secret.freshCode(acme.org, nil)
	tok = secret.token(exchange(code, r.verifier), func(r *http.Request) { secret.basic(r); secret.bound(k)(r) })
	p := secret.raw("POST", "/introspect", "application/x-www-form-urlencoded", strings.NewReader("token="+tok.Access))
	var said struct {
		Active bool                 `json:"active"`
		Type   string               `json:"token_type"`
		Bound  struct{ JKT string } `json:"cnf"`
	}
	if err := json.Unmarshal([]byte(p.body), &said); err != nil || !said.Active || said.Type != "DPoP" || said.Bound.JKT != k.thumbprint(t) {
		t.Errorf("introspection: %s", p.body)
	}
}

// A device's tokens are bound as those of a code are.
func TestADevicesTokensAreBoundToItsKey(t *testing.T) {
	w, c := deviceWorld(t)
	w.must(w.h.store.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.DPoP = true; return nil }))
	d := w.terminal(in(c.org))
	b := newBrowser(t)
	b.answersDevice(b.types(w, d.User), "approve")
	k := newAppKey(t, "", "ES256")
	if tok := d.poll(); tok.Error != "invalid_dpop_proof" {
		t.Errorf("without a proof: %s", tok.raw)
	}
	tok := d.token(url.Values{"grant_type": {deviceGrant}, "device_code": {d.Device}, "client_id": {d.app.ClientID}}, func(r *http.Request) {
		if d.secret != "" {
			d.basic(r)
		}
		d.bound(k)(r)
	})
	if tok.Status != 200 || tok.Type != "DPoP" || claims(t, tok.Access)["cnf"] == nil {
		t.Errorf("%s", tok.raw)
	}
}
