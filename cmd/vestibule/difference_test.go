package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/web"
)

// unlike is a request that differs from what is registered, and how its refusal is told.
type unlike struct {
	name  string
	app   func(*broker.App)
	send  func(w *world, org directory.OrgID) (code, description string)
	code  string
	says  string // the public sentence, in every mode
	shows string // in development, the log and the trace
	// traced: the request belongs to a login, so its story is a trace.
	traced bool
}

// heardOf is what a token endpoint said.
func heardOf(a tokenAnswer) (string, string) { return a.Error, a.Description }

// authorized opens an authorization request with a change.
func authorized(change ...func(url.Values)) func(*world, directory.OrgID) (string, string) {
	return func(w *world, _ directory.OrgID) (string, string) {
		q := newBrowser(w.t).asked(w, w.request(func(v url.Values) {
			for _, c := range change {
				c(v)
			}
		}).Encode()).location(w.t).Query()
		return q.Get("error"), q.Get("error_description")
	}
}

// redeemed redeems a fresh code with a change.
func redeemed(change ...func(url.Values)) func(*world, directory.OrgID) (string, string) {
	return func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, nil)
		return heardOf(w.token(exchange(code, r.verifier, change...), w.basic))
	}
}

func asking(v url.Values) func(*world, directory.OrgID) (string, string) {
	return func(w *world, _ directory.OrgID) (string, string) { return heardOf(w.token(v, w.basic)) }
}

func mayAll(a *broker.App) {
	a.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh, broker.GrantClient, broker.GrantExchange}
	a.Scopes, a.Audiences = []string{"invoices"}, []string{"https://api.example/", "https://files.example/"}
}

// mustSign holds an app to signed requests, by keys that nobody has.
func mustSign(a *broker.App) {
	a.RequestObject, a.JWKSURI = true, "https://keys.example/"
}

const (
	codeSays  = "the code is unknown, expired, used, or was issued for another client, redirect_uri or code_verifier"
	tokenSays = "the refresh token is unknown, expired, used or revoked, or was issued to another client"
	wrongAud  = "the resource is not one that this app may have tokens for, or more than one is named"
)

var unlikely = []unlike{
	{"response_type", nil, authorized(set("response_type", "token")), "unsupported_response_type", "the only response_type is code", "sent was token", true},
	{"response_mode", nil, authorized(set("response_mode", "fragment")), "invalid_request", "the only response_modes are query and form_post", "sent was fragment", true},
	{"scope", nil, authorized(set("scope", "profile email")), "invalid_scope", "the scope must contain openid", "sent was profile email", true},
	{"no PKCE", nil, authorized(set("code_challenge"), set("code_challenge_method")), "invalid_request", "code_challenge is missing: PKCE with S256 is required", "this app is not exempt from PKCE, and sent no code_challenge", true},
	{"plain PKCE", nil, authorized(set("code_challenge_method", "plain")), "invalid_request", "the only code_challenge_method is S256", "sent was plain", true},
	{"PKCE without a method", nil, authorized(set("code_challenge_method")), "invalid_request", "the only code_challenge_method is S256", "sent was none, which means plain", true},
	{"a padded challenge", nil, authorized(set("code_challenge", strings.Repeat("a", 43)+"=")), "invalid_request", "code_challenge is not an S256 challenge", "sent were 44", true},
	{"resource", mayAll, authorized(set("resource", "https://api.example")), targetCode, wrongAud, "registered are https://api.example/ https://files.example/, sent was https://api.example", true},
	{"prompt", nil, authorized(set("prompt", "signup")), "invalid_request", "this prompt value is not supported", "there are none login consent select_account create, sent was signup", true},
	{"an organization that requests do not name", func(a *broker.App) { a.OrgMode = broker.OrgNone }, authorized(set("organization", "acme")), "invalid_request", "this app's requests name no organization", "registered is organization_mode none, sent was organization acme", true},
	{"no PAR", func(a *broker.App) { a.PAR = true }, authorized(), "invalid_request", "this app's requests must be pushed", "registered is require_pushed_authorization_requests, sent was a request by the browser", true},
	{"an unsigned request", mustSign, authorized(), "invalid_request", "this app's requests must be signed", "registered is require_signed_request_object, sent was no request object", true},
	{"a request object in another algorithm", mustSign, func(w *world, org directory.OrgID) (string, string) {
		object := "eyJhbGciOiJIUzI1NiJ9.e30.AAAA" // HS256
		return authorized(set("request", object))(w, org)
	}, "invalid_request_object", "request is not a JWT that this app may sign", "supported are ES256 PS256 RS256 EdDSA, sent was HS256", true},
	{"a pushed redirect_uri", nil, func(w *world, org directory.OrgID) (string, string) {
		a := w.push(w.request(set("redirect_uri", callback+"/?token=hunter2")).Values, nil)
		return a.Error, a.Description
	}, "invalid_request", "redirect_uri is not registered for this client", "registered is " + callback + ", sent was " + callback + "/?...", true},

	{"an algorithm of id tokens", nil, func(w *world, _ directory.OrgID) (string, string) {
		a := w.register(w.initial(1, nil), map[string]any{"id_token_signed_response_alg": "HS256"})
		return a.text("error"), a.text("error_description")
	}, "invalid_client_metadata", "id_token_signed_response_alg: ES256, RS256, EdDSA", "sent was HS256", false},

	{"grant type", nil, asking(url.Values{"grant_type": {"client_credentials"}}), "unauthorized_client", "this app may not use this grant_type", "registered is authorization_code, sent was client_credentials", false},
	{"several grant types", mayAll, asking(url.Values{"grant_type": {string(broker.GrantDevice)}, "device_code": {"x"}}), "unauthorized_client", "this app may not use this grant_type", "registered are authorization_code refresh_token client_credentials urn:ietf:params:oauth:grant-type:token-exchange, sent was urn:ietf:params:oauth:grant-type:device_code", false},
	{"a grant type that is none", nil, asking(url.Values{"grant_type": {"password"}}), "unsupported_grant_type", "this grant_type does not exist here", "sent was password", false},
	{"client method", nil, func(w *world, _ directory.OrgID) (string, string) {
		return heardOf(w.token(exchange("x", "y", set("client_id", w.app.ClientID), set("client_secret", w.secret)), nil))
	}, "invalid_client", "the client could not be authenticated", "registered is client_secret_basic, sent was client_secret_post", false},
	{"client secret", nil, func(w *world, _ directory.OrgID) (string, string) {
		return heardOf(w.token(exchange("x", "y"), func(r *http.Request) { r.SetBasicAuth(w.app.ClientID, "hunter2") }))
	}, "invalid_client", "the client could not be authenticated", "the method is the registered one, the secret is another or its time is over", false},
	{"no DPoP", func(a *broker.App) { a.DPoP = true }, asking(exchange("x", "y")), "invalid_dpop_proof", "this app's tokens are bound to a key: a DPoP proof is needed", "registered is dpop_bound_access_tokens, sent was no DPoP header", false},

	{"a code that is none", nil, asking(exchange("x", "y")), "invalid_grant", codeSays, "the code is none that was issued here", false},
	{"another's code", nil, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, nil)
		return heardOf(w.entitledApp("thief", org, nil).redeem(code, r.verifier))
	}, "invalid_grant", codeSays, "the code was issued to another client", false},
	{"the redirect_uri of the code", func(a *broker.App) { a.RedirectURIs = []string{callback + "/b", callback, callback + "/"} }, redeemed(set("redirect_uri", callback+"/")), "invalid_grant", codeSays, "the redirect_uri of the authorization request was " + callback + ", sent was " + callback + "/: a slash too many at the end", true},
	{"no verifier", nil, redeemed(set("code_verifier")), "invalid_grant", codeSays, "no code_verifier was sent, and the authorization request had a code_challenge of method S256", true},
	{"another verifier", nil, redeemed(set("code_verifier", strings.Repeat("v", 43))), "invalid_grant", codeSays, "the S256 hash of the code_verifier is not the code_challenge of the authorization request", true},
	{"a verifier without a challenge", func(a *broker.App) { a.PKCEExempt = true }, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") })
		return heardOf(w.redeem(code, r.verifier))
	}, "invalid_grant", codeSays, "a code_verifier was sent, and the authorization request had no code_challenge", true},
	{"an expired code", nil, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, nil)
		w.clock.pass(75 * time.Second)
		return heardOf(w.redeem(code, r.verifier))
	}, "invalid_grant", codeSays, "the code was issued 75 seconds ago, and lives 60", true},
	{"a code again", nil, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, nil)
		w.redeem(code, r.verifier)
		return heardOf(w.redeem(code, r.verifier))
	}, "invalid_grant", codeSays, "the code was redeemed before: what it gave is revoked now", true},
	{"the resource of a code", mayAll, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, set("resource", "https://api.example/"))
		return heardOf(w.token(exchange(code, r.verifier, set("resource", "https://files.example/")), w.basic))
	}, targetCode, wrongAud, "granted is https://api.example/, sent was https://files.example/", true},
	{"somebody who may not any more", nil, func(w *world, org directory.OrgID) (string, string) {
		code, r := w.freshCode(org, nil)
		w.must(w.h.directory.Unentitle(w.t.Context(), operator, org, w.app.ID))
		return heardOf(w.redeem(code, r.verifier))
	}, "invalid_grant", codeSays, "the person or the app may not any more: flows.not_entitled", true},

	{"a scope that was not granted", mayAll, func(w *world, org directory.OrgID) (string, string) {
		return heardOf(w.refresh(w.awayToken(org), set("scope", "openid invoices")))
	}, "invalid_scope", "more is asked for than was granted", "granted are openid profile email offline_access, sent was invoices", false},
	{"a refresh token again", mayAll, func(w *world, org directory.OrgID) (string, string) {
		token := w.awayToken(org)
		w.refresh(token)
		w.clock.pass(time.Minute)
		return heardOf(w.refresh(token))
	}, "invalid_grant", tokenSays, "it was used before: its whole family is revoked now", false},
	{"another's refresh token", mayAll, func(w *world, org directory.OrgID) (string, string) {
		return heardOf(w.entitledApp("other", org, mayAll).refresh(w.awayToken(org)))
	}, "invalid_grant", tokenSays, "it was issued to another client", false},
	{"a scope of its own", mayAll, asking(url.Values{"grant_type": {"client_credentials"}, "scope": {"payroll"}, "organization": {"acme"}}), "invalid_scope", "more is asked for than was granted", "granted is invoices, sent was payroll", false},
	{"an audience", mayAll, asking(url.Values{"grant_type": {"client_credentials"}, "resource": {"https://api.example/v2?key=hunter2"}, "organization": {"acme"}}), targetCode, wrongAud, "sent was https://api.example/v2?...", false},
}

const targetCode = "invalid_target"

// awayToken is a refresh token.
func (w *world) awayToken(org directory.OrgID) string {
	w.t.Helper()
	code, r := w.freshCode(org, away(org))
	return w.redeem(code, r.verifier).Refresh
}

// Whatever is refused because it differs from what is registered says how: in development to whoever
// asked, outside it to the operator alone, in the log and in the trace of the login. No secret is in it.
func TestTheDifferenceIsToldInDevelopmentAndInTracesAlone(t *testing.T) {
	for _, development := range []bool{true, false} {
		w := worldIn(t, t.TempDir(), func(c *config) { c.Development = development })
		acme := w.addOIDC("acme", nil)
		for i, x := range unlikely {
			app := w.entitledApp("app-"+string(rune('a'+i%26))+string(rune('a'+i/26)), acme.org, x.app)
			before := w.logged.Len()
			code, description := x.send(app, acme.org)
			log := w.logged.String()[before:]
			if code != x.code {
				t.Errorf("%s: %s (%s), want %s", x.name, code, description, x.code)
			}
			said := description == x.says
			if development {
				said = strings.HasPrefix(description, x.says+": ") && strings.Contains(description, x.shows)
			}
			if !said {
				t.Errorf("development %v: %s: %q", development, x.name, description)
			}
			if !strings.Contains(log, x.shows) {
				t.Errorf("development %v: %s: not in the log:\n%s", development, x.name, log)
			}
			if strings.Contains(description+log, "hunter2") {
				t.Errorf("%s: a secret is told", x.name)
			}
			app.tracedAs(x, log)
		}
	}
}

// tracedAs checks the trace whose code the log names.
func (w *world) tracedAs(x unlike, log string) {
	w.t.Helper()
	line := ""
	for l := range strings.Lines(log) {
		if strings.Contains(l, `msg="request refused"`) {
			line = l
		}
	}
	shown := traceCode.FindString(line)
	if (shown != "") != x.traced {
		w.t.Errorf("%s: trace %q", x.name, shown)
	}
	if shown == "" {
		return
	}
	code, _ := audit.ParseCode(shown)
	tr, found, err := w.h.store.TraceByCode(w.t.Context(), code)
	w.must(err)
	kept, err := json.Marshal(tr)
	w.must(err)
	if !found || !strings.Contains(string(kept), strings.TrimSuffix(x.shows, "...")) || strings.Contains(string(kept), "hunter2") {
		w.t.Errorf("%s: the trace says %s", x.name, kept)
	}
	if x.code == "invalid_grant" && tr.Outcome != "signed_in" {
		w.t.Errorf("%s: not the trace of the login, but %q", x.name, tr.Outcome)
	}
}

// The command shows what went wrong after a login, with the login; and which scopes were ignored, as OpenID
// Connect Core section 3.1.2.1 says of those that mean nothing.
func TestTheTraceOfALoginTellsWhyItsCodeGaveNothing(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b := newBrowser(t)
	r := w.request(away(acme.org)) // which this app may not ask for
	w.redeem(b.authorize(w, r).code(t), strings.Repeat("v", 43))
	shown := traceCode.FindString(w.logged.String())
	told := func(code string) string {
		var out, errs bytes.Buffer
		if status := run(t.Context(), strings.Fields("trace "+code+w.place()), &out, &errs); status != 0 {
			t.Fatalf("trace %s: %d %s", code, status, &errs)
		}
		return out.String()
	}
	out := told(shown)
	for _, want := range []string{"signed_in", "arrive", "refused", "the S256 hash of the code_verifier is not the code_challenge", "client: payments",
		"Ignored: registered are the scopes openid profile email address phone organization organization.path, sent was offline_access too."} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// A session that answers at once leaves no trace of a login. The refusal begins one.
	before := w.logged.Len()
	again := w.request(in(acme.org))
	w.redeem(b.authorize(w, again).code(t), strings.Repeat("v", 43))
	if out := told(traceCode.FindString(w.logged.String()[before:])); !strings.Contains(out, "refused (invalid_grant)") {
		t.Errorf("of a running session:\n%s", out)
	}
}

// A label that somebody made up says nothing, and nothing of it reaches anybody's trace.
func TestTheLabelOfACodeCannotBeForged(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	thief := w.entitledApp("thief", acme.org, nil)
	one, r := w.freshCode(acme.org, nil)
	two, _ := w.freshCode(acme.org, nil)
	secret, _, _ := strings.Cut(one, ".")
	_, label, _ := strings.Cut(two, ".")
	before := w.logged.Len()
	for _, code := range []string{secret, secret + ".", secret + "." + label, one + "x", strings.Repeat("a", 43) + "." + label} {
		w.redeem(code, r.verifier).refused(t, code, "invalid_grant")
	}
	thief.redeem(one, r.verifier).refused(t, "a thief", "invalid_grant")
	if log := w.logged.String()[before:]; traceCode.MatchString(log) || strings.Contains(log, secret) || strings.Contains(log, label) {
		t.Errorf("a story, or a code, in\n%s", log)
	}
	if tok := w.redeem(one, r.verifier); tok.Status != http.StatusOK {
		t.Errorf("the code itself: %s", tok.raw)
	}
}

// Whoever is refused without end fills the log, and not the store (S53).
func TestS53RefusalsKeepNoMoreTracesThanTheirLimit(t *testing.T) {
	w := worldIn(t, t.TempDir(), func(c *config) { c.Limits.StoriesPerApp = web.Limit{Name: "stories", Most: 3, Per: time.Hour} })
	for range 5 {
		r := w.request(set("response_type", "token"))
		newBrowser(t).asked(w, r.Encode()).errorFor(t, w, "unsupported_response_type", r.Get("state"))
	}
	if kept := len(traceCode.FindAllString(w.logged.String(), -1)); kept != 3 {
		t.Errorf("%d traces, want 3", kept)
	}
	if told := strings.Count(w.logged.String(), "sent was token"); told != 5 {
		t.Errorf("%d lines in the log, want 5", told)
	}
}
