package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/web"
)

// overheard is whatever travelled between a browser and the house that the log must not hold: cookies, and
// what stands in queries and forms.
type overheard struct {
	next   http.RoundTripper
	values map[string]string // value → where it was seen
}

// harmless are parameters that name things and give nothing: the log may hold them.
var harmless = map[string]bool{"client_id": true, "redirect_uri": true, "organization": true, "scope": true, "response_type": true, "grant_type": true,
	"code_challenge_method": true, "prompt": true, "iss": true, "step": true, "post_logout_redirect_uri": true, "response_mode": true, "SigAlg": true, "connection": true}

func (o *overheard) hear(where string, v url.Values) {
	for name, values := range v {
		for _, value := range values {
			if len(value) >= 6 && !harmless[name] {
				o.values[value] = where + " " + name
			}
		}
	}
}

func (o *overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	o.hear("query", r.URL.Query())
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if form, err := url.ParseQuery(string(raw)); err == nil {
			o.hear("form", form)
		}
		r.Body = io.NopCloser(strings.NewReader(string(raw)))
	}
	resp, err := o.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Cookies() {
		if len(c.Value) >= 6 {
			o.values[c.Value] = "cookie " + c.Name
		}
	}
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil {
		o.hear("redirect", to.Query())
	}
	return resp, nil
}

// S58: whatever happens to a login over its whole life, the log at its finest holds nobody's address or
// name, no token, code, cookie, state or assertion, and no line that somebody else wrote into it.
func TestS58TheLogHoldsNoPersonAndNoSecret(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	w := worldIn(t, t.TempDir(), func(c *config) {
		c.Limits.StoriesPerNetwork = web.Limit{Name: "stories", Most: 1, Per: time.Hour} // so that what fails is told in the log
		slog.SetDefault(c.Log)                                                           // as serve does: libraries log through it
		c.Watch.now = time.Now
		c.Watch.follow(t.Context(), c.Log)
	})
	acme, bolt := w.addOIDC("acme", nil), w.addSAML("bolt", nil)
	gone := w.addOIDC("gone", func(c *upstream.Connection, _ *oidc.Config) {
		c.Issuer, c.Private = "http://127.0.0.1:9", []string{"127.0.0.1:9"}
	})
	w = w.entitledApp("desk", acme.org, refreshing)
	for _, c := range []company{bolt, gone} {
		w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: w.app.ID}))
	}
	heard := &overheard{next: http.DefaultTransport, values: map[string]string{}}
	person := func() *browser {
		b := newBrowser(t)
		b.client.Transport = heard
		return b
	}

	for _, c := range []company{acme, bolt} {
		b := person()
		r := w.request(away(c.org))
		code := b.authorize(w, r).code(t)
		tok := w.redeem(code, r.verifier)
		if tok.Status != http.StatusOK {
			t.Fatal(tok.raw)
		}
		w.userinfo(tok.Access)
		next := w.refresh(tok.Refresh)
		w.clock.pass(time.Hour / 2)
		w.refresh(tok.Refresh) // was used: the family ends
		w.refresh(next.Refresh)
		w.redeem(code, r.verifier) // again
		w.userinfo(next.Access + "x")
		b.logout(w, url.Values{"id_token_hint": {tok.ID}, "post_logout_redirect_uri": {bye}, "state": {"state-of-a-logout"}})
		for _, secret := range []string{tok.Access, tok.ID, tok.Refresh, next.Access, next.ID, next.Refresh, r.verifier, w.secret} {
			heard.values[secret] = "token"
		}
		for _, trick := range []fakeidp.Misbehavior{fakeidp.WrongAudience, fakeidp.UnknownKey, fakeidp.Old, fakeidp.NoEmail, fakeidp.ForeignEmail, fakeidp.Garbage, fakeidp.Unavailable} {
			c.idp.SetMisbehavior(trick)
			x := person()
			x.authorize(w, w.request(func(v url.Values) { in(c.org)(v); v.Set("login_hint", "ada@"+c.con.Issuer[7:]) }))
		}
		c.idp.SetMisbehavior(fakeidp.None)
	}
	b := person()
	b.authorize(w, w.request(in(gone.org)))
	b.asked(w, "client_id=nobody&state=state-of-nobody&login_hint=ada@acme.example%0Alevel=ERROR")
	b.get(w, "/arrive/"+string(acme.con.ID)+"?state=stolen-state-value&code=stolen-code-value")
	b.get(w, "/arrive/ada@acme.example%0Alevel=ERROR+msg=forged?code=stolen-code-value")
	b.get(w, "/nothing/ada@acme.example%0Alevel=ERROR+msg=forged")
	p := b.authorize(w, w.request(nil)) // who are you?
	for _, f := range forms(p) {
		to, err := p.url.Parse(f.action)
		w.must(err)
		f.values.Set("email", "ada@acme.example")
		b.follow(b.send(http.MethodPost, to.String(), f.values, false))
	}
	w.token(url.Values{"grant_type": {"authorization_code"}, "code": {"a-code-that-never-was"}}, func(r *http.Request) { r.SetBasicAuth(w.app.ClientID, "a-wrong-secret") })
	w.h.store.Close() // everything fails
	b.authorize(w, w.request(in(acme.org)))
	w.redeem("another-code-of-nobody", "a-verifier-of-nobody")

	logged := w.logged.String()
	for _, want := range []string{`msg=request route="POST /token" status=200`, `route=none status=404`, "a login failed", "request failed", "level=DEBUG"} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log lacks %q, so it was not at its finest", want)
		}
	}
	for _, value := range []string{"ada@", "Ada ", "@acme.example", "@bolt.example", "acme-1", "bolt-1", "s3cret-of-", "stolen-", "a-wrong-secret", "a-code-that-never-was", "another-code-of", "a-verifier-of", "state-of"} {
		heard.values[value] = "text"
	}
	if len(heard.values) < 100 {
		t.Errorf("only %d values were overheard", len(heard.values))
	}
	for value, where := range heard.values {
		if at := strings.Index(logged, value[max(0, len(value)-40):]); at >= 0 {
			t.Errorf("the log holds a value of %s: %.300s", where, logged[max(0, at-150):])
		}
	}
	for line := range strings.Lines(logged) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line that the log did not begin: %s", line)
		}
	}
}
