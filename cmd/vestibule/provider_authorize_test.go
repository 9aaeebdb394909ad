package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

func set(name string, values ...string) func(url.Values) {
	return func(v url.Values) { v[name] = values }
}

func TestEveryAuthorizationErrorNamesIssuerAndState(t *testing.T) {
	w := newWorld(t)
	w.addOrg("acme", "")
	b := newBrowser(t)
	for _, c := range []struct {
		name   string
		change func(url.Values)
		want   string
	}{
		{"no response_type", set("response_type"), "invalid_request"},
		{"implicit", set("response_type", "id_token"), "unsupported_response_type"},
		{"token", set("response_type", "token"), "unsupported_response_type"},
		{"hybrid", set("response_type", "code id_token"), "unsupported_response_type"},
		{"fragment", set("response_mode", "fragment"), "invalid_request"},
		{"a mode that is not announced", set("response_mode", "query.jwt"), "invalid_request"},
		{"request object", set("request", "eyJhbGciOiJub25lIn0.e30."), "invalid_request_object"},
		{"request_uri", set("request_uri", "https://evil.example/r"), "request_uri_not_supported"},
		{"registration", set("registration", "{}"), "registration_not_supported"},
		{"no scope", set("scope"), "invalid_scope"},
		{"no openid", set("scope", "profile email"), "invalid_scope"},
		{"no PKCE", func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }, "invalid_request"},
		{"a method and no challenge", set("code_challenge"), "invalid_request"},
		{"plain", set("code_challenge_method", "plain"), "invalid_request"},
		{"no method, which means plain", set("code_challenge_method"), "invalid_request"},
		{"short challenge", set("code_challenge", "abc"), "invalid_request"},
		{"long challenge", set("code_challenge", strings.Repeat("a", 44)), "invalid_request"},
		{"padded challenge", set("code_challenge", strings.Repeat("a", 42)+"="), "invalid_request"},
		{"unknown prompt", set("prompt", "sing"), "invalid_request"},
		{"none and another", set("prompt", "none login"), "invalid_request"},
		{"max_age of letters", set("max_age", "soon"), "invalid_request"},
		{"negative max_age", set("max_age", "-1"), "invalid_request"},
		{"huge max_age", set("max_age", "99999999999999999999"), "invalid_request"},
		{"claims that are no JSON", set("claims", "{"), "invalid_request"},
		{"claims that are no object", set("claims", `[1]`), "invalid_request"},
		{"essential acr out of reach", set("claims", `{"id_token":{"acr":{"essential":true,"value":"gold"}}}`), "unmet_authentication_requirements"},
		{"essential acrs out of reach", set("claims", `{"id_token":{"acr":{"essential":true,"values":["platinum","gold"]}}}`), "unmet_authentication_requirements"},
		{"organization and scope differ", func(v url.Values) { v.Set("organization", "acme"); v.Set("scope", "openid organization:retail") }, "invalid_request"},
		{"two organization scopes", set("scope", "openid organization:acme organization:retail"), "invalid_request"},
		{"nonce twice", set("nonce", "a", "b"), "invalid_request"},
		{"scope twice", set("scope", "openid", "openid"), "invalid_request"},
		{"challenge twice", set("code_challenge", strings.Repeat("a", 43), strings.Repeat("a", 43)), "invalid_request"},
		{"an unknown parameter twice", set("color", "red", "red"), "invalid_request"},
		{"NUL in a value", set("login_hint", "ada\x00@acme.example"), "invalid_request"},
		{"NUL in a name", set("no\x00nce", "a"), "invalid_request"},
		{"invalid UTF-8", set("nonce", "\xff\xfe"), "invalid_request"},
		{"oversized nonce", set("nonce", strings.Repeat("n", 5000)), "invalid_request"},
		{"oversized login_hint", set("login_hint", strings.Repeat("a", 400)+"@acme.example"), "invalid_request"},
		{"nobody is signed in", set("prompt", "none"), "login_required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.request(c.change)
			b.asked(w, r.Encode()).errorFor(t, w, c.want, r.Get("state"))
		})
	}
}

// A state that comes twice, or that is no text, cannot be echoed; one that is too long is.
func TestAStateThatIsWrongIsAnErrorOfItsOwn(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	for name, c := range map[string]struct {
		state []string
		echo  string
	}{
		"twice":         {[]string{"a", "b"}, ""},
		"NUL":           {[]string{"a\x00b"}, ""},
		"invalid UTF-8": {[]string{"\xc3\x28"}, ""},
		"oversized":     {[]string{strings.Repeat("s", 5000)}, strings.Repeat("s", 5000)},
	} {
		r := w.request(set("state", c.state...))
		b.asked(w, r.Encode()).errorFor(t, w, "invalid_request", c.echo)
		p := newBrowser(t).send(http.MethodPost, w.url+"/authorize", r.Values, true)
		p.errorFor(t, w, "invalid_request", c.echo)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	// What a query means is written into the Location with care.
	r := w.request(func(v url.Values) { v.Set("state", "a&code=stolen#\r\nSet-Cookie: x=1"); v.Set("prompt", "none") })
	p := b.asked(w, r.Encode())
	p.errorFor(t, w, "login_required", r.Get("state"))
	if len(p.header["Set-Cookie"]) > 0 || p.location(t).Fragment != "" {
		t.Errorf("state broke out: %v", p.header)
	}
}

func TestUnknownAppsAndAddressesAreToldHereAndNeverRedirected(t *testing.T) {
	w := newWorld(t)
	w.addApp("other", func(a *broker.App) { a.RedirectURIs = []string{"https://other.example/cb"} })
	off, _ := w.addApp("off", nil)
	w.must(w.h.store.UpdateApp(t.Context(), off.ID, func(a *broker.App) error { a.Status = directory.Suspended; return nil }))
	type change = func(url.Values)
	for name, c := range map[string]change{
		"unknown client":          set("client_id", "nobody"),
		"no client":               set("client_id"),
		"client twice":            set("client_id", "payments", "payments"),
		"client and NUL":          set("client_id", "payments\x00"),
		"client in another case":  set("client_id", "Payments"),
		"no redirect_uri":         set("redirect_uri"),
		"redirect_uri twice":      set("redirect_uri", callback, callback),
		"unregistered":            set("redirect_uri", "https://evil.example/cb"),
		"another app's":           set("redirect_uri", "https://other.example/cb"),
		"a path below":            set("redirect_uri", callback+"/x"),
		"a trailing slash":        set("redirect_uri", callback+"/"),
		"a query added":           set("redirect_uri", callback+"?next=https://evil.example"),
		"a fragment added":        set("redirect_uri", callback+"#x"),
		"another case":            set("redirect_uri", strings.ToUpper(callback)),
		"a host below":            set("redirect_uri", "http://127.0.0.1:5555.evil.example/callback"),
		"a user":                  set("redirect_uri", "http://127.0.0.1:5555@evil.example/callback"),
		"a dot segment":           set("redirect_uri", "http://127.0.0.1:5555/x/../callback"),
		"an escaped path":         set("redirect_uri", "http://127.0.0.1:5555/%63allback"),
		"another port, web app":   set("redirect_uri", "http://127.0.0.1:5556/callback"),
		"script":                  set("redirect_uri", "javascript:alert(1)//"+callback),
		"a new line":              set("redirect_uri", callback+"\r\nSet-Cookie: a=b"),
		"NUL":                     set("redirect_uri", callback+"\x00"),
		"space around":            set("redirect_uri", " "+callback),
		"an app switched off":     nil,
		"not a query at all":      nil,
		"a semicolon for a comma": nil,
	} {
		t.Run(name, func(t *testing.T) {
			query, status := "", http.StatusBadRequest
			switch name {
			case "an app switched off":
				query, status = w.request(set("client_id", "off")).Encode(), http.StatusForbidden
			case "not a query at all":
				query = "%zz"
			case "a semicolon for a comma":
				query = w.request(nil).Encode() + ";prompt=none"
			default:
				query = w.request(c).Encode()
			}
			newBrowser(t).asked(w, query).refusedHere(t, status)
			if values, err := url.ParseQuery(query); err == nil {
				newBrowser(t).send(http.MethodPost, w.url+"/authorize", values, true).refusedHere(t, status)
			}
		})
	}
}

// RFC 8252 section 7.3: the port of a loopback address varies, for native apps alone.
func TestLoopbackPortsVaryForNativeAppsOnly(t *testing.T) {
	w := newWorld(t)
	uris := []string{"http://127.0.0.1/cb", "http://[::1]:7777/cb", "http://localhost:7777/cb", "com.acme.app:/cb"}
	native, _ := w.addApp("native", func(a *broker.App) { public(a); a.Native, a.RedirectURIs = true, uris })
	website, _ := w.addApp("website", func(a *broker.App) { a.RedirectURIs = uris[:3] })
	for _, c := range []struct {
		app  broker.App
		uri  string
		good bool
	}{
		{native, "http://127.0.0.1/cb", true},
		{native, "http://127.0.0.1:49152/cb", true},
		{native, "http://[::1]:49152/cb", true},
		{native, "http://localhost:7777/cb", true},
		{native, "com.acme.app:/cb", true},
		{native, "http://localhost:49152/cb", false}, // a name can lead elsewhere
		{native, "http://127.0.0.1:49152/other", false},
		{native, "http://127.0.0.1:49152/cb?x=1", false},
		{native, "http://127.0.0.1:49152/cb/", false},
		{native, "https://127.0.0.1:49152/cb", false},
		{native, "http://127.0.0.1:49152@evil.example/cb", false},
		{native, "http://me@127.0.0.1:49152/cb", false},
		{native, "http://127.0.0.2:49152/cb", false},
		{native, "http://127.1:49152/cb", false},
		{native, "http://127.0.0.1:/cb", false},
		{native, "com.acme.app:/other", false},
		{website, "http://127.0.0.1/cb", true},
		{website, "http://127.0.0.1:49152/cb", false},
		{website, "http://[::1]:49152/cb", false},
	} {
		r := w.as(c.app, "").request(func(v url.Values) { v.Set("redirect_uri", c.uri); v.Set("prompt", "none") })
		p := newBrowser(t).asked(w, r.Encode())
		if got := p.header.Get("Location"); strings.HasPrefix(got, c.uri+"?") != c.good || !c.good && got != "" {
			t.Errorf("%s may use %s: location %q, want %v", c.app.ClientID, c.uri, got, c.good)
		}
	}
	_, kept := broker.NewClientSecret(w.clock.now())
	err := w.h.broker.AddApp(t.Context(), operator, broker.App{
		ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: "web-scheme", Name: "Web", Status: directory.Active,
		Settings: broker.Settings{Method: broker.SecretBasic, RedirectURIs: []string{"com.acme.app:/cb"}}, Secrets: []broker.Secret{kept},
	})
	if err == nil {
		t.Error("a web app registered a private-use scheme (S36)")
	}
}

func TestPKCEMayBeLeftOutOnlyByAConfidentialAppThatWasExempted(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	without := func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }
	exempt := w.entitledApp("exempt", acme.org, func(a *broker.App) { a.PKCEExempt = true })

	code, _ := exempt.freshCode(acme.org, without)
	if tok := exempt.redeem(code, ""); tok.Status != 200 {
		t.Errorf("exempted app without PKCE: %s", tok.raw)
	}
	// RFC 9700 section 4.8.2: a challenge that was taken out of the request shows at the token endpoint.
	code, r := exempt.freshCode(acme.org, without)
	if tok := exempt.redeem(code, r.verifier); tok.Error != "invalid_grant" {
		t.Errorf("a verifier for a code without challenge: %s", tok.raw)
	}
	// An exempted app that uses PKCE is held to it.
	code, r = exempt.freshCode(acme.org, nil)
	if tok := exempt.redeem(code, ""); tok.Error != "invalid_grant" {
		t.Errorf("no verifier for a code with challenge: %s", tok.raw)
	}
	if tok := exempt.redeem(code, r.verifier); tok.Status != 200 {
		t.Errorf("the verifier: %s", tok.raw)
	}
	err := w.h.broker.AddApp(t.Context(), operator, broker.App{
		ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: "public-exempt", Name: "P", Status: directory.Active,
		Settings: broker.Settings{Method: broker.NoSecret, RedirectURIs: []string{callback}, PKCEExempt: true},
	})
	if err == nil {
		t.Error("a public app was exempted from PKCE")
	}
}

func TestPromptNoneAnswersPrecisely(t *testing.T) {
	w := newWorld(t)
	acme, retail := w.addOIDC("acme", nil), w.addOIDC("retail", nil)
	b, _ := w.signedIn(acme.org)
	silently := func(b *browser, change func(url.Values)) (*page, request) {
		r := w.request(func(v url.Values) {
			v.Set("prompt", "none")
			if change != nil {
				change(v)
			}
		})
		return b.asked(w, r.Encode()), r
	}
	t.Run("nobody is signed in", func(t *testing.T) {
		p, r := silently(newBrowser(t), in(acme.org))
		p.errorFor(t, w, "login_required", r.Get("state"))
		if len(p.header["Set-Cookie"]) > 0 {
			t.Errorf("a silent request set %v", p.header["Set-Cookie"])
		}
	})
	t.Run("signed in", func(t *testing.T) {
		p, r := silently(b, nil)
		if tok := w.redeem(p.location(t).Query().Get("code"), r.verifier); tok.Status != 200 {
			t.Errorf("token %s", tok.raw)
		}
		p, _ = silently(b, in(acme.org))
		if p.location(t).Query().Get("code") == "" {
			t.Errorf("the organization named: %s", p.location(t))
		}
	})
	t.Run("another organization asks for its own proof", func(t *testing.T) {
		p, r := silently(b, in(retail.org))
		p.errorFor(t, w, "interaction_required", r.Get("state"))
	})
	t.Run("an organization that nobody may use", func(t *testing.T) {
		p, r := silently(b, set("organization", "nowhere"))
		p.errorFor(t, w, "access_denied", r.Get("state"))
	})
	t.Run("another person is meant", func(t *testing.T) {
		p, r := silently(b, set("login_hint", "bob@acme.example"))
		p.errorFor(t, w, "login_required", r.Get("state"))
	})
	t.Run("the same person is meant", func(t *testing.T) {
		p, _ := silently(b, set("login_hint", "ADA@acme.example"))
		if p.location(t).Query().Get("code") == "" {
			t.Errorf("%s", p.location(t))
		}
	})
	t.Run("a younger sign-in is wanted", func(t *testing.T) {
		w.clock.pass(30 * time.Second)
		p, r := silently(b, set("max_age", "10"))
		p.errorFor(t, w, "login_required", r.Get("state"))
		p, r = silently(b, set("max_age", "0"))
		p.errorFor(t, w, "login_required", r.Get("state"))
		p, _ = silently(b, set("max_age", "3600"))
		if p.location(t).Query().Get("code") == "" {
			t.Errorf("max_age=3600: %s", p.location(t))
		}
	})
	t.Run("several organizations", func(t *testing.T) {
		person := claims(t, w.redeemSilently(b))["sub"].(string)
		w.must(w.h.directory.AddMember(t.Context(), operator, directory.Membership{
			Org: retail.org, Person: directory.PersonID(person), Kind: "guest", Status: directory.Active, Accepts: acme.con.ID,
		}))
		p, r := silently(b, nil)
		p.errorFor(t, w, "account_selection_required", r.Get("state"))
		p, r = silently(b, in(retail.org)) // S2: the membership says that acme's proof will do
		if got := claims(t, w.redeem(p.location(t).Query().Get("code"), r.verifier).ID)["org_id"]; got != string(retail.org) {
			t.Errorf("org_id %v", got)
		}
	})
}

func (w *world) redeemSilently(b *browser) string {
	w.t.Helper()
	r := w.request(set("prompt", "none"))
	return w.redeem(b.asked(w, r.Encode()).location(w.t).Query().Get("code"), r.verifier).ID
}

// visited says whether the browser came by the provider since hop n.
func (b *browser) visited(c company, since int) bool {
	for _, hop := range b.hops[since:] {
		if strings.Contains(hop, strings.TrimPrefix(c.idp.Base, "http://")) {
			return true
		}
	}
	return false
}

func TestPromptLoginAndMaxAgeAskThePersonAgain(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, first := w.signedIn(acme.org)
	began := claims(t, first.ID)["auth_time"].(float64)
	for _, c := range []struct {
		name   string
		change func(url.Values)
		again  bool
	}{
		{"nothing asked", nil, false},
		{"max_age of an hour", set("max_age", "3600"), false},
		{"prompt=login", set("prompt", "login"), true},
		{"max_age=0", set("max_age", "0"), true},
		{"max_age=10 after a minute", set("max_age", "10"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.clock.pass(time.Minute)
			hops, r := len(b.hops), w.request(c.change)
			tok := w.redeem(b.authorize(w, r).code(t), r.verifier)
			if got := b.visited(acme, hops); got != c.again {
				t.Errorf("the person was asked again: %v, want %v", got, c.again)
			}
			at := claims(t, tok.ID)["auth_time"].(float64)
			if (at > began) != c.again {
				t.Errorf("auth_time %v after %v, asked again: %v", at, began, c.again)
			}
			began = at
		})
	}
}

func TestALoginHintFindsTheOrganizationAndReachesTheProvider(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b := newBrowser(t)
	p := b.asked(w, w.request(set("login_hint", "ada@acme.example")).Encode())
	to := p.location(t)
	if !strings.HasPrefix(to.String(), acme.idp.Base) || to.Query().Get("login_hint") != "ada@acme.example" {
		t.Errorf("sent to %s", to)
	}
	// A hint that leads nowhere is only a hint: the page asks, and has it typed in already.
	for _, hint := range []string{"ada@nowhere.example", "not an address", "acme"} {
		p := newBrowser(t).authorize(w, w.request(set("login_hint", hint)))
		if p.url.Host != "127.0.0.1:5555" && (p.status != 200 || !strings.Contains(p.body, `name="identifier"`)) {
			t.Errorf("hint %q: %d %s", hint, p.status, textOf(p.body))
		}
	}
}

func TestAHintOfAnotherOrganizationDoesNotOverrideTheAppsWord(t *testing.T) {
	w := newWorld(t)
	acme, retail := w.addOIDC("acme", nil), w.addOIDC("retail", nil)
	to := newBrowser(t).asked(w, w.request(func(v url.Values) {
		v.Set("organization", "acme")
		v.Set("login_hint", "ada@retail.example")
	}).Encode()).location(t)
	if !strings.HasPrefix(to.String(), acme.idp.Base) {
		t.Errorf("sent to %s, not to acme (retail is %s)", to, retail.idp.Base)
	}
}

func TestAnAppNamesAnOrganizationInEveryWayThereIs(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.addOIDC("retail", nil)
	for name, change := range map[string]func(url.Values){
		"by id":               set("organization", string(acme.org)),
		"by handle":           set("organization", "acme"),
		"by realm and handle": set("organization", "main/acme"),
		"by scope":            set("scope", "openid organization:acme"),
		"by both":             func(v url.Values) { v.Set("organization", "acme"); v.Set("scope", "openid organization:acme") },
		"and the plain scope": func(v url.Values) { v.Set("organization", "acme"); v.Set("scope", "openid organization") },
		"id in the scope":     set("scope", "openid organization:"+string(acme.org)),
	} {
		r := w.request(change)
		tok := w.redeem(newBrowser(t).authorize(w, r).code(t), r.verifier)
		if got := claims(t, tok.ID)["org_id"]; got != string(acme.org) {
			t.Errorf("%s: org_id %v", name, got)
		}
		if got := claims(t, tok.Access)["org_id"]; got != string(acme.org) {
			t.Errorf("%s: access token's org_id %v", name, got)
		}
	}
}

func TestAVoluntaryContextIsAnsweredWithTheTruth(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	for name, change := range map[string]func(url.Values){
		"acr_values":          set("acr_values", "urn:vestibule:acr:phr urn:vestibule:acr:2fa"),
		"voluntary claim":     set("claims", `{"id_token":{"acr":{"value":"urn:vestibule:acr:2fa"}}}`),
		"essential, any":      set("claims", `{"id_token":{"acr":{"essential":true}}}`),
		"essential, in reach": set("claims", `{"id_token":{"acr":{"essential":true,"values":["urn:vestibule:acr:2fa","urn:vestibule:acr:1fa"]}}}`),
		"null":                set("claims", `{"id_token":{"acr":null},"userinfo":null}`),
	} {
		code, r := w.freshCode(acme.org, change)
		if got := claims(t, w.redeem(code, r.verifier).ID)["acr"]; got != "urn:vestibule:acr:1fa" {
			t.Errorf("%s: acr %v", name, got)
		}
	}
}

// A request may come by POST from another site, which brings no cookie of ours (OpenID Connect Core
// section 3.1.2.1): none is read or set, and the session is found when the browser comes again.
func TestAPostedRequestNeedsNoCookieAndLosesNone(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b, _ := w.signedIn(acme.org)
	acme.idp.SetAuto("") // whoever is asked now would see a page
	r := w.request(in(acme.org))
	p := b.send(http.MethodPost, w.url+"/authorize", r.Values, true)
	if p.status != http.StatusSeeOther || len(p.header["Set-Cookie"]) > 0 || p.location(t).Path != "/authorize" {
		t.Fatalf("%d %v", p.status, p.header)
	}
	back := b.follow(p)
	if back.url.Query().Get("state") != r.Get("state") || back.url.Query().Get("iss") != w.url {
		t.Errorf("answer %s", back.url)
	}
	if tok := w.redeem(back.code(t), r.verifier); tok.Status != 200 {
		t.Errorf("token %s", tok.raw)
	}
	w.clock.pass(11 * time.Minute)
	b.asked(w, p.location(t).RawQuery).refusedHere(t, http.StatusGone)
}

func TestOversizedAuthorizationRequestsGetAPage(t *testing.T) {
	w := newWorld(t)
	big := w.request(set("x", strings.Repeat("x", 200<<10)))
	newBrowser(t).asked(w, big.Encode()).refusedHere(t, http.StatusRequestHeaderFieldsTooLarge)
	for _, size := range []int{100 << 10, 1 << 20} {
		big := w.request(set("x", strings.Repeat("x", size)))
		newBrowser(t).send(http.MethodPost, w.url+"/authorize", big.Values, true).refusedHere(t, http.StatusRequestEntityTooLarge)
		newBrowser(t).send(http.MethodPost, w.url+"/logout", big.Values, true).refusedHere(t, http.StatusRequestEntityTooLarge)
	}
}

// S53: what is posted is kept for a moment, so it is counted like what is asked by GET.
func TestS53PostedRequestsAreCountedPerNetwork(t *testing.T) {
	w := worldIn(t, t.TempDir(), func(c *config) { c.Limits = broker.DefaultLimits(); c.Limits.AuthorizePerNetwork.Most = 5 })
	b := newBrowser(t)
	last := 0
	for range 8 {
		last = b.send(http.MethodPost, w.url+"/authorize", w.request(nil).Values, true).status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the eighth of five posts: %d", last)
	}
}

// Who asked for what stays with the app: no parameter of its request reaches the identity provider.
func TestTheAppsOwnStateDoesNotReachTheProvider(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	r := w.request(in(acme.org))
	q := newBrowser(t).asked(w, r.Encode()).location(t).Query()
	for _, own := range []string{"state", "nonce", "code_challenge", "redirect_uri", "client_id"} {
		if q.Get(own) == "" || q.Get(own) == r.Get(own) {
			t.Errorf("%s towards the provider is %q, the app's is %q", own, q.Get(own), r.Get(own))
		}
	}
}
