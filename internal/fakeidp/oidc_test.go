package fakeidp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"
)

const callback = "http://localhost:8080/arrive/con_1"

func oidcProvider() *Provider {
	return &Provider{Kind: OIDC, Foreign: "ceo@acme.example", Clients: []Client{
		{ID: "vestibule", Name: "Vestibule", Secret: "s e:cret%", Redirects: []string{callback}, PostLogout: []string{"http://localhost:8080/out"}},
		{ID: "public", Redirects: []string{callback}},
	}}
}

// party is a standard client: coreos/go-oidc and golang.org/x/oauth2.
type party struct {
	browser
	p        *Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	found    *oidc.Provider
	pkce     string
}

func newParty(t *testing.T, p *Provider) *party {
	t.Helper()
	found, err := oidc.NewProvider(t.Context(), p.Base)
	if err != nil {
		t.Fatal(err)
	}
	return &party{
		browser: browser{t}, p: p, found: found, pkce: oauth2.GenerateVerifier(),
		config: oauth2.Config{
			ClientID: "vestibule", ClientSecret: "s e:cret%", Endpoint: found.Endpoint(), RedirectURL: callback,
			Scopes: []string{"openid", "email", "profile"},
		},
		verifier: found.Verifier(&oidc.Config{ClientID: "vestibule"}),
	}
}

func (a *party) depart(more ...string) string {
	options := []oauth2.AuthCodeOption{oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(a.pkce)}
	for i := 0; i < len(more); i += 2 {
		options = append(options, oauth2.SetAuthURLParam(more[i], more[i+1]))
	}
	return a.config.AuthCodeURL("state-1", options...)
}

// code presses a button and gives the code that the browser brings back.
func (a *party) code(who Person, m Misbehavior, more ...string) string {
	a.t.Helper()
	back := a.press(a.p, a.get(a.depart(more...)), who, m)
	if back.location == nil {
		a.t.Fatalf("no redirect but %d: %s", back.status, back.body)
	}
	return back.location.Query().Get("code")
}

func (a *party) redeem(code string) (*oauth2.Token, error) {
	return a.config.Exchange(a.t.Context(), code, oauth2.VerifierOption(a.pkce))
}

func TestAStandardClientSignsIn(t *testing.T) {
	for _, algorithm := range []string{"", "ES256", "RS256", "EdDSA"} {
		p := oidcProvider()
		p.Algorithm = algorithm
		a := newParty(t, start(t, p))
		token, err := a.redeem(a.code(ada, None))
		if err != nil {
			t.Fatal(err)
		}
		id, err := a.verifier.Verify(t.Context(), token.Extra("id_token").(string))
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			t.Errorf("%s: at_hash: %v", algorithm, err)
		}
		var claims struct {
			Email, Name, Given string
			EmailVerified      bool `json:"email_verified"`
			Groups, AMR        []string
			AuthTime           int64 `json:"auth_time"`
		}
		if err := id.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		if id.Subject != ada.ID || id.Nonce != "nonce-1" || claims.Email != ada.Email || !claims.EmailVerified || claims.Name != ada.Name ||
			!slices.Equal(claims.Groups, ada.Groups) || !slices.Equal(claims.AMR, []string{"pwd"}) {
			t.Errorf("%s: claims %+v of %s", algorithm, claims, id.Subject)
		}
		if since := time.Since(time.Unix(claims.AuthTime, 0)); since < -time.Second || since > time.Minute {
			t.Errorf("signed in %v ago", since)
		}
		info, err := a.found.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
		if err != nil {
			t.Fatal(err)
		}
		if info.Subject != ada.ID || info.Email != ada.Email || !info.EmailVerified {
			t.Errorf("%s: userinfo %+v", algorithm, info)
		}
	}
}

func TestAnswersNameTheirIssuerAndSetNoCookie(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	page := a.get(a.depart())
	back := a.press(p, page, ada, None)
	if q := back.location.Query(); q.Get("iss") != p.Base || q.Get("state") != "state-1" || q.Get("code") == "" {
		t.Errorf("answered %s", back.location)
	}
	if len(page.cookies)+len(back.cookies) > 0 {
		t.Error("the provider set a cookie")
	}
	declined := a.post(p.Base+"/answer", url.Values{"request": {fields(page.body).Get("request")}, "decline": {"yes"}})
	if q := declined.location.Query(); q.Get("error") != "access_denied" || q.Get("iss") != p.Base || q.Get("state") != "state-1" {
		t.Errorf("declined with %s", declined.location)
	}
}

func TestFormPost(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	page := a.press(p, a.get(a.depart("response_mode", "form_post")), ada, None)
	sent := fields(page.body)
	if !strings.Contains(page.body, `<form method="post" action="`+callback+`" id="send">`) || sent.Get("state") != "state-1" || sent.Get("iss") != p.Base {
		t.Fatalf("the page does not send the answer: %s", page.body)
	}
	if _, err := a.redeem(sent.Get("code")); err != nil {
		t.Error(err)
	}
	csp := page.header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "form-action") || strings.Contains(page.body, "<script>") {
		t.Errorf("inline script or a policy that would stop the answer: %s", csp)
	}
}

func TestAutoAnswersWithoutAPage(t *testing.T) {
	p := oidcProvider()
	p.Auto = ada.ID
	a := newParty(t, start(t, p))
	who := func(more ...string) string {
		t.Helper()
		token, err := a.redeem(a.get(a.depart(more...)).location.Query().Get("code"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := a.verifier.Verify(t.Context(), token.Extra("id_token").(string))
		if err != nil {
			t.Fatal(err)
		}
		return id.Subject
	}
	if got := who(); got != ada.ID {
		t.Errorf("signed in %s", got)
	}
	if got := who("login_hint", strings.ToUpper(grace.Email)); got != grace.ID {
		t.Errorf("the hint was ignored: %s", got)
	}
	if got := who("prompt", "none"); got != ada.ID {
		t.Errorf("prompt=none signed in %s", got)
	}
	p.SetAuto(Anyone)
	if one, two := who(), who(); one == two {
		t.Errorf("the same person twice: %s", one)
	}
	p.SetAuto("")
	if page := a.get(a.depart()); page.status != http.StatusOK || !strings.Contains(page.body, "Continue as Ada Lovelace") {
		t.Error("no page after Auto was switched off")
	}
}

func TestTheHintedPersonComesFirst(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	page := a.get(a.depart("login_hint", grace.Email, "prompt", "login"))
	first := `<button name="person" value="` + grace.ID + `" class="person first">`
	if !strings.Contains(page.body, first) || strings.Index(page.body, "Grace Hopper") > strings.Index(page.body, "Ada Lovelace") {
		t.Error("the hinted person is not first")
	}
	if !strings.Contains(page.body, "prove yourself again") {
		t.Error("prompt=login is not shown")
	}
	if plain := a.get(a.depart()); strings.Contains(plain.body, "prove yourself again") {
		t.Error("prompt=login is shown although nobody asked")
	}
}

func TestRequestsThatCannotBeAnswered(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	page := func(change func(url.Values)) answer {
		u, _ := url.Parse(a.depart())
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return a.get(u.String())
	}
	for name, change := range map[string]func(url.Values){
		"unknown client":   func(q url.Values) { q.Set("client_id", "other") },
		"foreign redirect": func(q url.Values) { q.Set("redirect_uri", callback+"2") },
		"no redirect":      func(q url.Values) { q.Del("redirect_uri") },
	} {
		if got := page(change); got.status != http.StatusBadRequest || got.location != nil {
			t.Errorf("%s: status %d, location %v", name, got.status, got.location)
		}
	}
	for name, c := range map[string]struct {
		want   string
		change func(url.Values)
	}{
		"prompt=none":      {"login_required", func(q url.Values) { q.Set("prompt", "none") }},
		"implicit":         {"unsupported_response_type", func(q url.Values) { q.Set("response_type", "id_token") }},
		"no openid":        {"invalid_scope", func(q url.Values) { q.Set("scope", "email") }},
		"plain challenge":  {"invalid_request", func(q url.Values) { q.Set("code_challenge_method", "plain") }},
		"half a challenge": {"invalid_request", func(q url.Values) { q.Del("code_challenge") }},
		"fragment":         {"invalid_request", func(q url.Values) { q.Set("response_mode", "fragment") }},
		"twice":            {"invalid_request", func(q url.Values) { q.Add("nonce", "again") }},
		"request object":   {"request_not_supported", func(q url.Values) { q.Set("request", "e30") }},
		"public, no S256": {"invalid_request", func(q url.Values) {
			q.Set("client_id", "public")
			q.Del("code_challenge")
			q.Del("code_challenge_method")
		}},
		"request_uri object": {"request_uri_not_supported", func(q url.Values) { q.Set("request_uri", "https://x.example") }},
	} {
		got := page(c.change)
		if got.location == nil || got.location.Query().Get("error") != c.want || got.location.Query().Get("iss") != p.Base {
			t.Errorf("%s: %v, want error=%s", name, got.location, c.want)
		}
	}
}

func TestCodesAreGivenOutOnce(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	code := a.code(ada, None)
	if _, err := a.redeem(code); err != nil {
		t.Fatal(err)
	}
	if _, err := a.redeem(code); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the second time: %v", err)
	}
	for name, options := range map[string][]oauth2.AuthCodeOption{
		"no verifier":    nil,
		"wrong verifier": {oauth2.VerifierOption(oauth2.GenerateVerifier())},
		"other redirect": {oauth2.VerifierOption(a.pkce), oauth2.SetAuthURLParam("redirect_uri", callback+"2")},
	} {
		if _, err := a.config.Exchange(t.Context(), a.code(ada, None), options...); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := a.config
	other.ClientID, other.ClientSecret = "public", ""
	if _, err := other.Exchange(t.Context(), a.code(ada, None), oauth2.VerifierOption(a.pkce)); err == nil {
		t.Error("another application redeemed the code")
	}
}

func TestOldCodesAndPagesAreRefused(t *testing.T) {
	p, now := oidcProvider(), time.Now()
	p.Now = func() time.Time { return now }
	a := newParty(t, start(t, p))
	page := a.get(a.depart())
	code := a.press(p, page, ada, None).location.Query().Get("code")
	now = now.Add(61 * time.Second)
	if _, err := a.redeem(code); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("an old code: %v", err)
	}
	now = now.Add(30 * time.Minute)
	if back := a.press(p, page, ada, None); back.status != http.StatusGone || back.location != nil {
		t.Errorf("an old page: %d %v", back.status, back.location)
	}
}

func TestClientsProveThemselves(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := oidcProvider()
	start(t, p)
	p.AddClient(Client{ID: "signs", Redirects: []string{callback}, Keys: []crypto.PublicKey{other.Public()}})
	p.AddClient(Client{ID: "signs", Redirects: []string{callback}, Keys: []crypto.PublicKey{key.Public()}}) // replaces it
	a := newParty(t, p)

	assertion := func(key *ecdsa.PrivateKey, claims jwt.Claims) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sound := func(id string) jwt.Claims {
		return jwt.Claims{Issuer: "signs", Subject: "signs", Audience: jwt.Audience{p.Base + "/token"}, ID: id, Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute))}
	}
	old, elsewhere, eternal := sound("4"), sound("5"), sound("6")
	old.Expiry = jwt.NewNumericDate(time.Now().Add(-5 * time.Minute))
	elsewhere.Audience = jwt.Audience{"https://elsewhere.example"}
	eternal.Expiry = nil
	good := assertion(key, sound("1"))
	by := func(assertion string) func(*http.Request, url.Values) {
		return func(_ *http.Request, f url.Values) {
			f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			f.Set("client_assertion", assertion)
		}
	}
	for _, c := range []struct {
		name   string
		client string
		prove  func(*http.Request, url.Values)
		want   int
	}{
		{"basic", "vestibule", func(r *http.Request, _ url.Values) { r.SetBasicAuth("vestibule", url.QueryEscape("s e:cret%")) }, 200},
		{"post", "vestibule", func(_ *http.Request, f url.Values) {
			f.Set("client_id", "vestibule")
			f.Set("client_secret", "s e:cret%")
		}, 200},
		{"wrong secret", "vestibule", func(r *http.Request, _ url.Values) { r.SetBasicAuth("vestibule", "guess") }, 401},
		{"no secret", "vestibule", func(_ *http.Request, f url.Values) { f.Set("client_id", "vestibule") }, 401},
		{"nobody", "vestibule", func(*http.Request, url.Values) {}, 401},
		{"public", "public", func(_ *http.Request, f url.Values) { f.Set("client_id", "public") }, 200},
		{"key", "signs", by(good), 200},
		{"key again", "signs", by(good), 401},
		{"other key", "signs", by(assertion(other, sound("3"))), 401},
		{"old assertion", "signs", by(assertion(key, old)), 401},
		{"other audience", "signs", by(assertion(key, elsewhere)), 401},
		{"no expiry", "signs", by(assertion(key, eternal)), 401},
		{"without its key", "signs", func(_ *http.Request, f url.Values) { f.Set("client_id", "signs") }, 401},
	} {
		a.config.ClientID = c.client
		form, proof := url.Values{"grant_type": {"authorization_code"}, "code": {a.code(ada, None)}, "redirect_uri": {callback}, "code_verifier": {a.pkce}}, &http.Request{Header: http.Header{}}
		c.prove(proof, form)
		req, err := http.NewRequest("POST", p.Base+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = proof.Header
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if got := a.do(req); got.status != c.want {
			t.Errorf("%s: status %d, want %d: %s", c.name, got.status, c.want, got.body)
		}
	}
}

func TestARolloverKeepsTheOldKeyPublished(t *testing.T) {
	p := start(t, oidcProvider())
	a := newParty(t, p)
	before, err := a.redeem(a.code(ada, None))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Rotate(); err != nil {
		t.Fatal(err)
	}
	after, err := a.redeem(a.code(ada, None))
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, token := range []*oauth2.Token{before, after} {
		raw := token.Extra("id_token").(string)
		if _, err := a.verifier.Verify(t.Context(), raw); err != nil {
			t.Error(err)
		}
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		kids = append(kids, parsed.Headers[0].KeyID)
	}
	if kids[0] == kids[1] {
		t.Error("the new key was not used")
	}
}

func TestATenantIsNamedAsEntraIDDoes(t *testing.T) {
	p := oidcProvider()
	p.Tenant = "9b0c5f0e-0000-4000-8000-000000000001"
	p.People = []Person{{ID: "x", Email: "x@techcorp.example", EmailVerified: true, Name: "X", Attributes: map[string][]string{"hd": {"techcorp.example"}, "roles": {"a", "b"}}}}
	a := newParty(t, start(t, p))
	got := a.claims(p.People[0], None)
	if got["tid"] != p.Tenant || got["oid"] != "x" || got["email_verified"] != nil {
		t.Errorf("claims %v", got)
	}
	if got["hd"] != "techcorp.example" || !reflect.DeepEqual(got["roles"], []any{"a", "b"}) {
		t.Errorf("attributes %v", got)
	}
	if other := a.claims(p.People[0], OtherTenant); other["tid"] == p.Tenant || other["iss"] == p.Base {
		t.Errorf("the other tenant has claims %v", other)
	}
}

func TestEndSession(t *testing.T) {
	p := start(t, oidcProvider())
	b := browser{t}
	known := url.Values{"client_id": {"vestibule"}, "post_logout_redirect_uri": {"http://localhost:8080/out"}, "state": {"s"}}
	if got := b.get(p.Base + "/end_session?" + known.Encode()); got.location == nil || got.location.String() != "http://localhost:8080/out?state=s" {
		t.Errorf("sent to %v", got.location)
	}
	known.Set("post_logout_redirect_uri", "https://evil.example/")
	if got := b.get(p.Base + "/end_session?" + known.Encode()); got.location != nil || !strings.Contains(got.body, "You are signed out") {
		t.Errorf("sent to %v", got.location)
	}
}

func TestSeveralProvidersShareOneListener(t *testing.T) {
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	srv := &http.Server{Handler: mux}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	for _, name := range []string{"/one", "/two"} {
		p := oidcProvider()
		p.Now, p.People, p.Base = time.Now, []Person{ada}, "http://"+l.Addr().String()+name
		h, err := p.Handler()
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle(name+"/", h)
		a := newParty(t, p)
		page := a.get(a.depart())
		if !strings.Contains(page.body, `href="`+name+`/look.css"`) || !strings.Contains(page.body, `action="`+name+`/answer"`) {
			t.Errorf("%s: links leave the provider", name)
		}
		if css := a.get(p.Base + "/look.css"); css.status != 200 {
			t.Errorf("%s: no style sheet", name)
		}
		if _, err := a.redeem(a.code(ada, None)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// claims signs in and reads the ID token without any check.
func (a *party) claims(who Person, m Misbehavior) map[string]any {
	a.t.Helper()
	token, err := a.redeem(a.code(who, m))
	if err != nil {
		a.t.Fatal(err)
	}
	return payload(a.t, token.Extra("id_token").(string))
}

func payload(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || len(parts) != 3 {
		t.Fatalf("no JWT: %s", raw)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
