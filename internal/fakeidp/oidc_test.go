package fakeidp

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
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

func TestSomebodyUnlistedIsAnsweredByAddressAlone(t *testing.T) {
	p := oidcProvider()
	robin := Person{ID: "robin", Email: "robin@techcorp.example", Name: "Robin Wrong", Misbehavior: Old, Unlisted: true}
	p.People = []Person{ada, robin}
	a := newParty(t, start(t, p))
	if page := a.get(a.depart()); strings.Contains(page.body, "Robin") {
		t.Error("the page offers somebody who is unlisted")
	}
	if got := a.get(a.depart() + "&login_hint=robin%40techcorp.example"); got.location == nil || got.location.Query().Get("code") == "" {
		t.Errorf("asked for by address: %d, sent to %v", got.status, got.location)
	}
	if got := a.get(a.depart() + "&login_hint=ada%40techcorp.example"); got.location != nil {
		t.Errorf("somebody who is listed was answered without a page: %v", got.location)
	}
}
