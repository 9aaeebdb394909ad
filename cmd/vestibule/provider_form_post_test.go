package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
)

func formMode(v url.Values) { v.Set("response_mode", "form_post") }

// answerForm is the form of a page that takes an answer to the app, or the test ends.
func (p *page) answerForm(t *testing.T) *htmlForm {
	t.Helper()
	list := forms(p)
	if p.status != http.StatusOK || len(list) != 1 {
		t.Fatalf("no form: %d %s", p.status, textOf(p.body))
	}
	return list[0]
}

// postedBy goes as far as the page that takes the answer to the app.
func (b *browser) postedBy(w *world, r request) *page {
	b.t.Helper()
	p := b.send(http.MethodGet, w.url+"/authorize?"+r.Encode(), nil, false)
	for range 12 {
		if at := p.header.Get("Location"); at != "" {
			to, err := p.url.Parse(at)
			if err != nil {
				b.t.Fatal(err)
			}
			p = b.send(http.MethodGet, to.String(), nil, false)
			continue
		}
		break
	}
	return p
}

// OAuth 2.0 Form Post Response Mode: the answer is a form, by script at once and by a button without.
func TestFormPostTakesCodesAndErrorsToTheApp(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	r := w.request(func(v url.Values) { in(c.org)(v); formMode(v); v.Set("state", `"><script>alert(1)</script>&`) })
	p := newBrowser(t).postedBy(w, r)
	f := p.answerForm(t)
	if f.action != callback || f.values.Get("state") != r.Get("state") || f.values.Get("iss") != w.url || len(f.values) != 3 {
		t.Errorf("form to %s: %v", f.action, f.values)
	}
	if strings.Contains(p.body, "<script>alert") || strings.Count(p.body, "<script") != 2 {
		t.Error("a script of somebody else's")
	}
	if !strings.Contains(p.body, `type="submit"`) || strings.Contains(p.header.Get("Content-Security-Policy"), "form-action") {
		t.Errorf("no button, or a policy that stops it: %s", p.header.Get("Content-Security-Policy"))
	}
	if p.header.Get("Cache-Control") != "no-store" || p.header.Get("Referrer-Policy") != "no-referrer" || p.header.Get("Location") != "" {
		t.Errorf("headers %v", p.header)
	}
	if tok := w.redeem(f.values.Get("code"), r.verifier); tok.Status != http.StatusOK {
		t.Errorf("token: %s", tok.raw)
	}
	for name, change := range map[string]func(url.Values){
		"nobody":      set("prompt", "none"),
		"bad scope":   set("scope", "profile"),
		"no PKCE":     set("code_challenge", ""),
		"a bad claim": set("claims", "x"),
	} {
		r := w.request(func(v url.Values) { formMode(v); change(v) })
		f := newBrowser(t).postedBy(w, r).answerForm(t)
		if f.action != callback || f.values.Get("error") == "" || f.values.Get("state") != r.Get("state") || f.values.Get("iss") != w.url || f.values.Has("code") {
			t.Errorf("%s: %s %v", name, f.action, f.values)
		}
	}
	// By POST of the app's own page too.
	r = w.request(func(v url.Values) { formMode(v); v.Set("scope", "profile") })
	if f := newBrowser(t).send(http.MethodPost, w.url+"/authorize", r.Values, true).answerForm(t); f.values.Get("error") != "invalid_scope" {
		t.Errorf("posted: %v", f.values)
	}
}

func TestFormPostGoesWhereAFormCanGoAlone(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	native := w.entitledApp("native", c.org, func(a *broker.App) {
		public(a)
		a.Native, a.RedirectURIs = true, []string{"com.example.app:/cb"}
	})
	r := native.request(func(v url.Values) { formMode(v); v.Set("redirect_uri", "com.example.app:/cb") })
	p := newBrowser(t).asked(native, r.Encode())
	if at := p.header.Get("Location"); !strings.HasPrefix(at, "com.example.app:/cb?") || !strings.Contains(at, "error=invalid_request") {
		t.Errorf("answered by %d %q", p.status, at)
	}
	// An address that is not registered is sent nothing, by form or otherwise.
	r = w.request(func(v url.Values) { formMode(v); v.Set("redirect_uri", "https://evil.example/") })
	if p := newBrowser(t).asked(w, r.Encode()); strings.Contains(p.body, "evil.example") || p.status != http.StatusBadRequest {
		t.Errorf("%d %s", p.status, p.body)
	}
}

// The consent page answers in the mode that was asked for.
func TestConsentAnswersByFormPostToo(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	app := w.entitledApp("ledger", c.org, thirdParty)
	for _, step := range [][2]string{{"deny", "error"}, {"allow", "code"}} { // who agreed is not asked again
		decision, field := step[0], step[1]
		b := newBrowser(t)
		p, r := b.asksConsent(app, func(v url.Values) { in(c.org)(v); formMode(v) })
		f := b.send(http.MethodPost, p.url.String(), url.Values{"decision": {decision}}, false).answerForm(t)
		if f.values.Get(field) == "" || f.values.Get("state") != r.Get("state") || f.action != callback {
			t.Errorf("%s: %v", decision, f.values)
		}
	}
}
