package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
)

// exchange is the form of a code exchange, with some values changed.
func exchange(code, verifier string, change ...func(url.Values)) url.Values {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for _, c := range change {
		c(v)
	}
	return v
}

// basic authenticates as the world's app.
func (w *world) basic(r *http.Request) {
	r.SetBasicAuth(url.QueryEscape(w.app.ClientID), url.QueryEscape(w.secret))
}

func TestACodeIsBoundToEverythingAndAWrongPresenterDoesNotBurnIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	const second = "http://127.0.0.1:5555/callback/second"
	both := w.entitledApp("both", acme.org, func(a *broker.App) { a.RedirectURIs = []string{callback, second} })
	thief := w.entitledApp("thief", acme.org, nil)
	code, r := both.freshCode(acme.org, nil)
	for name, try := range map[string]func() tokenAnswer{
		"another app": func() tokenAnswer { return thief.redeem(code, r.verifier) },
		"another registered address": func() tokenAnswer {
			return both.token(exchange(code, r.verifier, set("redirect_uri", second)), both.basic)
		},
		"an unregistered address": func() tokenAnswer {
			return both.token(exchange(code, r.verifier, set("redirect_uri", "https://evil.example")), both.basic)
		},
		"a wrong verifier":          func() tokenAnswer { return both.redeem(code, strings.Repeat("x", 43)) },
		"the challenge as verifier": func() tokenAnswer { return both.redeem(code, r.Get("code_challenge")) },
		"no verifier":               func() tokenAnswer { return both.token(exchange(code, "", set("code_verifier")), both.basic) },
		"an empty verifier":         func() tokenAnswer { return both.redeem(code, "") },
		"another code":              func() tokenAnswer { return both.redeem(directory.NewSecret(), r.verifier) },
		"a code and NUL":            func() tokenAnswer { return both.redeem(code+"\x00", r.verifier) },
	} {
		if tok := try(); tok.Status != http.StatusBadRequest || tok.Error != "invalid_grant" && tok.Error != "invalid_request" {
			t.Errorf("%s: %d %s", name, tok.Status, tok.raw)
		}
	}
	if tok := both.redeem(code, r.verifier); tok.Status != 200 {
		t.Errorf("the app itself, after all of them: %s", tok.raw)
	}
}

func TestOfSixteenParallelRedemptionsAtMostOneSucceeds(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for range 4 {
		code, r := w.freshCode(acme.org, nil)
		if good := w.redeemedAtOnce(code, r.verifier, 16); good != 1 {
			t.Errorf("%d redemptions of one code succeeded", good)
		}
	}
}

// redeemedAtOnce says how many of n redemptions at once succeeded; the others must read invalid_grant.
func (w *world) redeemedAtOnce(code, verifier string, n int) (good int) {
	w.t.Helper()
	var all sync.WaitGroup
	answers, start := make([]tokenAnswer, n), make(chan struct{})
	for i := range answers {
		all.Go(func() {
			<-start
			answers[i] = w.redeem(code, verifier)
		})
	}
	close(start)
	all.Wait()
	for _, a := range answers {
		if a.Status == http.StatusOK {
			good++
		} else if a.Error != "invalid_grant" {
			w.t.Errorf("a loser reads %d %s", a.Status, a.raw)
		}
	}
	return good
}

// forgetful is a short-lived store that lost its last writes, as after a failover: what was taken is
// there again.
type forgetful struct{ brief.Store }

func (f forgetful) Take(ctx context.Context, key string) ([]byte, error) { return f.Get(ctx, key) }

// S16, S17: the durable row is what keeps a code from redeeming twice.
func TestS16ACodeRedeemsOnceWhateverTheShortLivedStoreForgets(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.h.broker.Brief = forgetful{w.h.broker.Brief}
	code, r := w.freshCode(acme.org, nil)
	tok := w.redeem(code, r.verifier)
	if tok.Status != 200 {
		t.Fatalf("the first: %s", tok.raw)
	}
	if again := w.redeem(code, r.verifier); again.Error != "invalid_grant" {
		t.Errorf("the second: %s", again.raw)
	}
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("the replay left the tokens good: userinfo %d", status)
	}
	code, r = w.freshCode(acme.org, nil)
	if good := w.redeemedAtOnce(code, r.verifier, 16); good > 1 {
		t.Errorf("%d of 16 redemptions at once succeeded", good)
	}
}

// RFC 6749 section 4.1.2: a code that is shown again takes its tokens along.
func TestAReplayedCodeRevokesItsTokens(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	code, r := w.freshCode(acme.org, nil)
	tok := w.redeem(code, r.verifier)
	for _, thief := range []string{"", strings.Repeat("x", 43)} { // who lacks the verifier cannot hurt
		if got := w.redeem(code, thief); got.Error != "invalid_grant" {
			t.Errorf("without the verifier: %s", got.raw)
		}
	}
	if status, _ := w.userinfo(tok.Access); status != 200 {
		t.Fatalf("a thief without the verifier revoked the tokens: userinfo %d", status)
	}
	if got := w.redeem(code, r.verifier); got.Error != "invalid_grant" {
		t.Errorf("the replay: %s", got.raw)
	}
	if status, _ := w.userinfo(tok.Access); status != 401 {
		t.Errorf("userinfo after the replay: %d", status)
	}
	if got := w.redeem(code, r.verifier); got.Error != "invalid_grant" {
		t.Errorf("the second replay: %s", got.raw)
	}
}

func TestACodeLivesSixtySeconds(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	code, r := w.freshCode(acme.org, nil)
	w.clock.pass(45 * time.Second)
	if tok := w.redeem(code, r.verifier); tok.Status != 200 {
		t.Errorf("after 45 s: %s", tok.raw)
	}
	code, r = w.freshCode(acme.org, nil)
	w.clock.pass(61 * time.Second)
	if tok := w.redeem(code, r.verifier); tok.Error != "invalid_grant" {
		t.Errorf("after 61 s: %s", tok.raw)
	}
}

// lasting is a short-lived store whose clock stands still.
type lasting struct{ brief.Store }

func (l lasting) Put(ctx context.Context, key string, value []byte, _ time.Duration) error {
	return l.Store.Put(ctx, key, value, time.Hour)
}

func TestACodeLivesSixtySecondsByOurOwnClockToo(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.h.broker.Brief = lasting{w.h.broker.Brief}
	code, r := w.freshCode(acme.org, nil)
	w.clock.pass(61 * time.Second)
	if tok := w.redeem(code, r.verifier); tok.Error != "invalid_grant" {
		t.Errorf("after 61 s: %s", tok.raw)
	}
}

// The registered method is enforced: each app is tried with every way of proving itself, and only its
// own works.
func TestTheRegisteredClientAuthenticationIsEnforced(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	apps := map[string]*world{
		"client_secret_basic": w.entitledApp("with-basic", acme.org, nil),
		"client_secret_post":  w.entitledApp("with-post", acme.org, func(a *broker.App) { a.Method = broker.SecretPost }),
		"none":                w.entitledApp("public", acme.org, public),
	}
	type try struct {
		form func(w *world, v url.Values)
		head func(w *world, r *http.Request)
		good string // the method that it is
	}
	tries := map[string]try{
		"basic":                          {nil, func(w *world, r *http.Request) { w.basic(r) }, "client_secret_basic"},
		"basic and its id":               {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID) }, func(w *world, r *http.Request) { w.basic(r) }, "client_secret_basic"},
		"basic of another":               {func(_ *world, v url.Values) { v.Set("client_id", "payments") }, func(w *world, r *http.Request) { w.basic(r) }, ""},
		"basic, wrong":                   {nil, func(w *world, r *http.Request) { r.SetBasicAuth(w.app.ClientID, directory.NewSecret()) }, ""},
		"basic, empty":                   {nil, func(w *world, r *http.Request) { r.SetBasicAuth(w.app.ClientID, "") }, ""},
		"post":                           {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID); v.Set("client_secret", w.secret) }, nil, "client_secret_post"},
		"post, wrong":                    {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID); v.Set("client_secret", "guess") }, nil, ""},
		"none":                           {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID) }, nil, "none"},
		"nothing":                        {nil, nil, ""},
		"nobody":                         {func(_ *world, v url.Values) { v.Set("client_id", "nobody") }, nil, ""},
		"both":                           {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID); v.Set("client_secret", w.secret) }, func(w *world, r *http.Request) { w.basic(r) }, ""},
		"both, secret alone in the body": {func(w *world, v url.Values) { v.Set("client_secret", w.secret) }, func(w *world, r *http.Request) { w.basic(r) }, ""},
		"post under another scheme": {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID); v.Set("client_secret", w.secret) },
			func(_ *world, r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, ""},
		"none under another scheme": {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID) },
			func(_ *world, r *http.Request) { r.Header.Set("Authorization", "Negotiate x") }, ""},
		"basic that is no base64": {func(w *world, v url.Values) { v.Set("client_id", w.app.ClientID) },
			func(_ *world, r *http.Request) { r.Header.Set("Authorization", "Basic !!!") }, ""},
		"basic with a broken escape": {nil, func(w *world, r *http.Request) { r.SetBasicAuth("%zz", w.secret) }, ""},
		"an assertion": {func(w *world, v url.Values) {
			v.Set("client_id", w.app.ClientID)
			v.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			v.Set("client_assertion", "e30.e30.x")
		}, nil, ""},
	}
	for method, app := range apps {
		code, r := app.freshCode(acme.org, nil)
		present := func(name string, how try) tokenAnswer {
			form := exchange(code, r.verifier)
			if how.form != nil {
				how.form(app, form)
			}
			return app.token(form, func(r *http.Request) {
				if how.head != nil {
					how.head(app, r)
				}
			})
		}
		for name, how := range tries {
			if how.good == method || app.secret == "" && how.good == "" && strings.HasPrefix(name, "post") {
				continue
			}
			tok := present(name, how)
			if tok.Status != 401 || tok.Error != "invalid_client" {
				if !(strings.HasPrefix(name, "both") && tok.Status == 400 && tok.Error == "invalid_request") {
					t.Errorf("app with %s, %s: %d %s", method, name, tok.Status, tok.raw)
				}
			} else if challenge := tok.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("app with %s, %s: WWW-Authenticate %q (RFC 6749 section 5.2)", method, name, challenge)
			}
			tok.uncached(t, name)
		}
		for name, how := range tries {
			if how.good != method {
				continue
			}
			tok := present(name, how)
			if tok.Status != 200 {
				t.Errorf("app with %s, %s: %d %s", method, name, tok.Status, tok.raw)
			}
			tok.uncached(t, name)
			break // the code is used
		}
	}
}

// uncached checks what RFC 6749 section 5.1 wants on every token answer.
func (a tokenAnswer) uncached(t *testing.T, what string) {
	t.Helper()
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control %q", what, got)
	}
	if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("%s: Content-Type %q", what, got)
	}
}

// A client id and a secret are form-encoded before they become Basic (RFC 6749 section 2.3.1).
func TestBasicCredentialsAreFormEncoded(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	odd := w.entitledApp("odd:app+1%", acme.org, nil)
	code, r := odd.freshCode(acme.org, nil)
	tok := odd.token(exchange(code, r.verifier), func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(odd.app.ClientID), url.QueryEscape(odd.secret)) })
	if tok.Status != 200 {
		t.Errorf("%s", tok.raw)
	}
}

func TestASecretThatEndedOrAnAppThatIsOffIsRefused(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	old, kept := broker.NewClientSecret(w.clock.now())
	kept.Until = w.clock.now().Add(time.Minute)
	rolling := w.entitledApp("rolling", acme.org, func(a *broker.App) { a.Secrets = append(a.Secrets, kept) })
	code, r := rolling.freshCode(acme.org, nil)
	if tok := rolling.as(rolling.app, old).redeem(code, r.verifier); tok.Status != 200 {
		t.Errorf("during the rollover: %s", tok.raw)
	}
	w.clock.pass(2 * time.Minute)
	code, r = rolling.freshCode(acme.org, nil)
	if tok := rolling.as(rolling.app, old).redeem(code, r.verifier); tok.Error != "invalid_client" {
		t.Errorf("after it: %s", tok.raw)
	}
	w.must(w.h.store.UpdateApp(t.Context(), rolling.app.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil }))
	if tok := rolling.redeem(code, r.verifier); tok.Error != "invalid_client" {
		t.Errorf("switched off: %s", tok.raw)
	}
}

// raw posts bytes to the token endpoint.
func (w *world) raw(method, path, contentType string, body io.Reader) *page {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, body)
	w.must(err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	w.basic(req)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	w.must(err)
	return &page{req.URL, resp.StatusCode, resp.Header, string(b)}
}

// oauthErrorIs checks an error answer for programs (RFC 6749 section 5.2).
func (p *page) oauthErrorIs(t *testing.T, what string, status int, code string) {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(p.body), &e); err != nil || p.status != status || e["error"] != code {
		t.Errorf("%s: %d %s, want %d %s", what, p.status, p.body, status, code)
	}
	if p.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(p.header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: %v", what, p.header)
	}
	leaks(t, what, p.body)
}

func TestWhatIsNoTokenRequestGetsAnOAuthError(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	const form = "application/x-www-form-urlencoded"
	code, r := w.freshCode(acme.org, nil)
	good := exchange(code, r.verifier)
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		code                                  string
	}{
		{"a secret in the query", "POST", "/token?client_id=payments&client_secret=" + w.secret, form, good.Encode(), 400, "invalid_request"},
		{"a code in the query", "POST", "/token?code=" + code, form, good.Encode(), 400, "invalid_request"},
		{"everything in the query", "POST", "/token?" + good.Encode(), form, "", 400, "invalid_request"},
		{"JSON", "POST", "/token", "application/json", `{"grant_type":"authorization_code"}`, 400, "invalid_request"},
		{"multipart", "POST", "/token", "multipart/form-data; boundary=x", "--x--", 400, "invalid_request"},
		{"no content type", "POST", "/token", "", good.Encode(), 400, "invalid_request"},
		{"nothing", "POST", "/token", form, "", 400, "invalid_request"},
		{"a broken escape", "POST", "/token", form, "grant_type=%zz", 400, "invalid_request"},
		{"a parameter twice", "POST", "/token", form, good.Encode() + "&code=" + code, 400, "invalid_request"},
		{"an unknown parameter twice", "POST", "/token", form, good.Encode() + "&x=1&x=1", 400, "invalid_request"},
		{"NUL", "POST", "/token", form, good.Encode() + "&x=%00", 400, "invalid_request"},
		{"invalid UTF-8", "POST", "/token", form, good.Encode() + "&x=%ff", 400, "invalid_request"},
		{"no code", "POST", "/token", form, exchange("", r.verifier).Encode(), 400, "invalid_request"},
		{"no redirect_uri", "POST", "/token", form, exchange(code, r.verifier, set("redirect_uri")).Encode(), 400, "invalid_request"},
		{"1 MB", "POST", "/token", form, good.Encode() + "&x=" + strings.Repeat("x", 1<<20), 413, "invalid_request"},
		{"password grant", "POST", "/token", form, "grant_type=password&username=a&password=b", 400, "unsupported_grant_type"},
		{"client credentials", "POST", "/token", form, "grant_type=client_credentials", 400, "unauthorized_client"},
		{"refresh", "POST", "/token", form, "grant_type=refresh_token&refresh_token=x", 400, "unauthorized_client"},
		{"exchange", "POST", "/token", form, "grant_type=urn:ietf:params:oauth:grant-type:token-exchange", 400, "unauthorized_client"},
		{"device", "POST", "/token", form, "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=x", 400, "unauthorized_client"},
		{"jwt bearer", "POST", "/token", form, "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x", 400, "unsupported_grant_type"},
		{"by GET", "GET", "/token?" + good.Encode(), "", "", 405, "invalid_request"},
	} {
		w.raw(c.method, c.path, c.contentType, strings.NewReader(c.body)).oauthErrorIs(t, c.name, c.status, c.code)
	}
	// The same without a length that could be read beforehand.
	stream := io.MultiReader(strings.NewReader(good.Encode()+"&x="), bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20)))
	w.raw("POST", "/token", form, stream).oauthErrorIs(t, "1 MB, streamed", 413, "invalid_request")
	if tok := w.redeem(code, r.verifier); tok.Status != 200 {
		t.Errorf("none of these burns the code: %s", tok.raw)
	}
}

// Doors that this version does not have do not exist (capabilities of later versions).
func TestDoorsThatAreNotBuiltDoNotExist(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/oauth/introspect", "/oauth/revoke", "/oauth/v2/introspect", "/token/", "/healthz", "/ready", "/metrics", "/debug/pprof/"} {
		for _, method := range []string{"GET", "POST"} {
			if p := w.raw(method, path, "application/x-www-form-urlencoded", nil); p.status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, p.status)
			}
		}
	}
}

// brokenTokens is a store whose disk has gone.
type brokenTokens struct{ broker.Tokens }

func (brokenTokens) CreateToken(context.Context, directory.OrgID, broker.TokenGrant) error {
	return errSecretPath
}
func (brokenTokens) TokenByCode(context.Context, [32]byte) (broker.TokenGrant, error) {
	return broker.TokenGrant{}, errSecretPath
}
func (brokenTokens) Token(context.Context, directory.OrgID, directory.GrantID) (broker.TokenGrant, error) {
	return broker.TokenGrant{}, errSecretPath
}

// goneBrief is a short-lived store that cannot be reached.
type goneBrief struct{ brief.Store }

func (goneBrief) Put(context.Context, string, []byte, time.Duration) error {
	return brief.ErrUnavailable.With(errSecretPath)
}
func (goneBrief) Take(context.Context, string) ([]byte, error) {
	return nil, brief.ErrUnavailable.With(errSecretPath)
}

type brokenApps struct{ broker.Apps }

func (brokenApps) AppByClientID(context.Context, string) (broker.App, error) {
	return broker.App{}, errSecretPath
}

func TestABrokenStoreIsNotDescribedToAnybody(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, tok := w.signedIn(acme.org)
	code, r := w.freshCode(acme.org, nil)

	tokens, apps := w.h.broker.Tokens, w.h.broker.Apps
	w.h.broker.Tokens = brokenTokens{tokens}
	for _, what := range []string{"the grant cannot be written", "the replay cannot be judged"} {
		answer := w.redeem(code, r.verifier)
		if answer.Status != 500 || answer.Error != "server_error" {
			t.Errorf("%s: %d %s", what, answer.Status, answer.raw)
		}
		answer.uncached(t, what)
		leaks(t, what, answer.raw)
	}
	p := w.raw("GET", "/userinfo", "", nil)
	leaks(t, "userinfo", p.body)
	status, info := w.userinfo(tok.Access)
	if body, _ := json.Marshal(info); status != 500 || info["error"] != "server_error" {
		t.Errorf("userinfo: %d %s", status, body)
	} else {
		leaks(t, "userinfo", string(body))
	}
	w.h.broker.Tokens = tokens

	short := w.h.broker.Brief
	w.h.broker.Brief = goneBrief{short}
	answer := w.redeem(code, r.verifier)
	if answer.Status != 503 || answer.Error != "server_error" {
		t.Errorf("the codes cannot be reached: %d %s", answer.Status, answer.raw)
	}
	leaks(t, "the codes cannot be reached", answer.raw)
	p = b.asked(w, w.request(set("prompt", "none")).Encode())
	p.errorFor(t, w, "temporarily_unavailable", p.location(t).Query().Get("state"))
	leaks(t, "a silent request", p.header.Get("Location"))
	p = b.asked(w, w.request(nil).Encode())
	p.refusedHere(t, http.StatusServiceUnavailable)
	leaks(t, "a page", p.body)
	w.h.broker.Brief = short

	w.h.broker.Apps = brokenApps{apps}
	p = w.raw("POST", "/token", "application/x-www-form-urlencoded", strings.NewReader(exchange(code, r.verifier).Encode()))
	p.oauthErrorIs(t, "the app cannot be read", 500, "server_error")
	p = newBrowser(t).asked(w, w.request(nil).Encode())
	p.refusedHere(t, http.StatusInternalServerError)
	leaks(t, "the authorization page", p.body)
	if !strings.Contains(w.logged.String(), "disk I/O error") {
		t.Error("the operator's log does not say why")
	}
	w.h.broker.Apps = apps
	if again := w.redeem(code, r.verifier); again.Status == 200 {
		t.Error("a code whose redemption failed half-way was redeemed again")
	}
}

func TestIDTokensAreSignedAsTheAppAsks(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	provider, err := oidc.NewProvider(t.Context(), w.url)
	w.must(err)
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		app := w.entitledApp("with-"+alg, acme.org, func(a *broker.App) { a.IDTokenAlg = alg })
		code, r := app.freshCode(acme.org, nil)
		tok := app.redeem(code, r.verifier)
		verifier := provider.Verifier(&oidc.Config{ClientID: app.app.ClientID, SupportedSigningAlgs: []string{alg}, Now: w.clock.now})
		id, err := verifier.Verify(t.Context(), tok.ID)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if err := id.VerifyAccessToken(tok.Access); err != nil {
			t.Errorf("%s: at_hash: %v", alg, err)
		}
		if id.Nonce != r.Get("nonce") || headerOf(t, tok.ID)["typ"] != "JWT" {
			t.Errorf("%s: nonce %q, header %v", alg, id.Nonce, headerOf(t, tok.ID))
		}
		if got := headerOf(t, tok.Access)["alg"]; got != "ES256" {
			t.Errorf("%s app: access token signed %v", alg, got)
		}
	}
	if app, _ := w.addApp("default", func(a *broker.App) { a.IDTokenAlg = "" }); app.ID != "" {
		kept, err := w.h.store.AppByClientID(t.Context(), "default")
		if err != nil || kept.IDTokenAlg != "ES256" {
			t.Errorf("the default is %q, %v", kept.IDTokenAlg, err)
		}
	}
}

func headerOf(t *testing.T, token string) map[string]any {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	h := map[string]any{"alg": jws.Signatures[0].Header.Algorithm, "kid": jws.Signatures[0].Header.KeyID}
	for k, v := range jws.Signatures[0].Header.ExtraHeaders {
		h[string(k)] = v
	}
	return h
}

// RFC 9068 sections 2.1 and 2.2.
func TestAccessTokensAreRFC9068(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	code, r := w.freshCode(acme.org, set("scope", "openid profile email color organization.path"))
	tok := w.redeem(code, r.verifier)
	if got := headerOf(t, tok.Access); got["typ"] != "at+jwt" || got["kid"] == "" {
		t.Errorf("header %v", got)
	}
	c, id := claims(t, tok.Access), claims(t, tok.ID)
	for name, want := range map[string]any{
		"iss": w.url, "aud": w.url, "client_id": "payments", "scope": "openid profile email organization.path", "sub": id["sub"],
		"org_id": string(acme.org), "org_handle": "acme", "realm": string(w.main), "acr": "urn:vestibule:acr:1fa", "auth_time": id["auth_time"],
	} {
		if c[name] != want {
			t.Errorf("%s = %v, want %v", name, c[name], want)
		}
	}
	for _, kept := range []string{"name", "email", "org_name", "nonce", "given_name"} {
		if c[kept] != nil {
			t.Errorf("the access token tells %s", kept)
		}
	}
	if c["jti"] == nil || c["exp"].(float64)-c["iat"].(float64) != float64(tok.Expires) || tok.Expires > 600 || tok.Type != "Bearer" {
		t.Errorf("jti %v, life %d, type %s", c["jti"], tok.Expires, tok.Type)
	}
	if code, r := w.freshCode(acme.org, nil); claims(t, w.redeem(code, r.verifier).Access)["jti"] == c["jti"] {
		t.Error("two tokens with one jti")
	}
	// Scopes rule what the id token tells.
	code, r = w.freshCode(acme.org, set("scope", "openid"))
	bare := claims(t, w.redeem(code, r.verifier).ID)
	for _, asked := range []string{"name", "email", "email_verified", "org_path"} {
		if bare[asked] != nil {
			t.Errorf("scope openid tells %s", asked)
		}
		if id[asked] == nil {
			t.Errorf("the scopes that ask for %s do not get it", asked)
		}
	}
	if bare["sub"] != id["sub"] || bare["org_id"] != string(acme.org) || bare["sid"] == nil {
		t.Errorf("id token %v", bare)
	}
}

// A script of a public client redeems its own code from another origin, without cookies.
func TestTheTokenEndpointAnswersScripts(t *testing.T) {
	w := newWorld(t)
	p := w.raw("OPTIONS", "/token", "", nil)
	if p.status != http.StatusNoContent || p.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(p.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight %d %v", p.status, p.header)
	}
	p = w.raw("POST", "/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=x"))
	if p.header.Get("Access-Control-Allow-Origin") != "*" || p.header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(p.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("answer %v", p.header)
	}
}
