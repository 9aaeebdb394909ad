//go:build !quick

package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// A sentence of somebody else's library that docs/errors.md explains is provoked here, by the mistake that
// it is printed for.

// jsClient is a client of app.mjs and auth.mjs.
type jsClient struct {
	ID      string            `json:"id"`
	Secret  string            `json:"secret"`
	Method  string            `json:"method,omitempty"`
	Alg     string            `json:"alg"`
	Issuer  string            `json:"issuer,omitempty"`
	HTTPS   bool              `json:"https,omitempty"`
	Skew    int               `json:"skew,omitempty"`
	Forgets bool              `json:"forgets,omitempty"`
	Checks  []string          `json:"checks,omitempty"`
	Params  map[string]string `json:"params,omitempty"`
}

// jsMistakes are the ways in which an app's developer sets it up wrongly, by name, with what its library
// prints in the end.
type jsMistake struct {
	change func(*jsClient)
	// query is added to the address that begins a sign-in.
	query string
	// back changes the address that the browser comes back to.
	back func(*url.URL)
	// twice sends the answer a second time.
	twice bool
}

// TestTheManualHasTheSentencesOfOpenIDClient makes a developer's mistakes in a program of openid-client.
func TestTheManualHasTheSentencesOfOpenIDClient(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	nobody := freeOrigin(t)
	mistakes := map[string]jsMistake{
		"another secret":             {change: func(c *jsClient) { c.Secret = "another-one-that-is-long-enough" }},
		"another method":             {change: func(c *jsClient) { c.Method = "client_secret_post" }},
		"another algorithm":          {change: func(c *jsClient) { c.Alg = "ES256" }},
		"the issuer on another name": {change: func(c *jsClient) { c.Issuer = strings.Replace(w.url, "localhost", "127.0.0.1", 1) }},
		"the issuer with a path":     {change: func(c *jsClient) { c.Issuer = w.url + "/oidc" }},
		"the issuer by https":        {change: func(c *jsClient) { c.Issuer = strings.Replace(w.url, "http:", "https:", 1) }},
		"nobody at the issuer":       {change: func(c *jsClient) { c.Issuer = nobody }},
		"http is not allowed":        {change: func(c *jsClient) { c.HTTPS = true }},
		"a clock ahead":              {change: func(c *jsClient) { c.Skew = 4000 }},
		"no code_verifier":           {change: func(c *jsClient) { c.Forgets = true }},
		"no PKCE":                    {query: "&code_challenge=&code_challenge_method="},
		"no openid":                  {query: "&scope=profile"},
		"another state":              {back: func(u *url.URL) { replaced(u, "state", "made-up") }},
		"another issuer's answer":    {back: func(u *url.URL) { replaced(u, "iss", "https://evil.example") }},
		"a code that nobody gave":    {back: func(u *url.URL) { replaced(u, "code", "made-up") }},
		"a code twice":               {twice: true},
	}
	clients, apps := jsClients(w, mistakes, "node-")
	base := node(t, "app.mjs", map[string]any{"issuer": w.url, "clients": clients})
	printed := map[string]string{}
	for mistake, m := range mistakes {
		name := jsName(mistake)
		w.jsApp(apps[name], acme.org, base+"/"+name+"/callback")
		p := newBrowser(t).mistaken(m, base+"/"+name+"/start?organization=acme"+m.query, base+"/"+name+"/callback")
		printed[mistake] = p.shown(t).Printed
	}
	explained(t, "openid-client", printed)
}

// TestTheManualHasTheSentencesOfAuthJS makes them in what Next.js runs of Auth.js.
func TestTheManualHasTheSentencesOfAuthJS(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	nobody := freeOrigin(t)
	mistakes := map[string]jsMistake{
		"another secret":             {change: func(c *jsClient) { c.Secret = "another-one-that-is-long-enough" }},
		"another method":             {change: func(c *jsClient) { c.Method = "client_secret_post" }},
		"another algorithm":          {change: func(c *jsClient) { c.Alg = "ES256" }},
		"the issuer on another name": {change: func(c *jsClient) { c.Issuer = strings.Replace(w.url, "localhost", "127.0.0.1", 1) }},
		"the issuer with a path":     {change: func(c *jsClient) { c.Issuer = w.url + "/oidc" }},
		"the issuer by https":        {change: func(c *jsClient) { c.Issuer = strings.Replace(w.url, "http:", "https:", 1) }},
		"nobody at the issuer":       {change: func(c *jsClient) { c.Issuer = nobody }},
		"no PKCE":                    {change: func(c *jsClient) { c.Checks = []string{"state"} }},
		"no openid":                  {change: func(c *jsClient) { c.Params["scope"] = "profile" }},
		"another state":              {back: func(u *url.URL) { replaced(u, "state", "made-up") }},
		"another issuer's answer":    {back: func(u *url.URL) { replaced(u, "iss", "https://evil.example") }},
		"a code that nobody gave":    {back: func(u *url.URL) { replaced(u, "code", "made-up") }},
		"the answer twice":           {twice: true},
		"another host's cookies":     {back: func(u *url.URL) { u.Host = strings.Replace(u.Host, "127.0.0.1", "localhost", 1) }},
	}
	clients, apps := jsClients(w, mistakes, "auth-")
	base := node(t, "auth.mjs", map[string]any{"issuer": w.url, "clients": clients})
	printed := map[string]string{}
	for mistake, m := range mistakes {
		name := jsName(mistake)
		w.jsApp(apps[name], acme.org, base+"/"+name+"/auth/callback/vestibule")
		newBrowser(t).mistaken(m, base+"/"+name+"/signin", base+"/"+name+"/auth/callback")
		printed[mistake] = string(fetch(t, http.MethodGet, base+"/"+name+"/printed", nil))
	}
	explained(t, "Auth.js (Next.js)", printed)
}

func replaced(u *url.URL, name, value string) {
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
}

func jsName(mistake string) string { return strings.NewReplacer(" ", "-", "'", "").Replace(mistake) }

// jsClients are an app that is registered as it should be for each mistake, and the client that makes it.
func jsClients(w *world, mistakes map[string]jsMistake, prefix string) (map[string]jsClient, map[string]broker.App) {
	clients, apps := map[string]jsClient{}, map[string]broker.App{}
	for mistake, m := range mistakes {
		secret, kept := broker.NewClientSecret(w.clock.now())
		a := broker.App{ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: prefix + strings.ToLower(jsName(mistake)), Name: mistake, Status: directory.Active,
			Settings: broker.Settings{Method: broker.SecretBasic, IDTokenAlg: "RS256"}, Secrets: []broker.Secret{kept}}
		c := jsClient{ID: a.ClientID, Secret: secret, Method: "client_secret_basic", Alg: "RS256", Params: map[string]string{"organization": "acme"}}
		if m.change != nil {
			m.change(&c)
		}
		clients[jsName(mistake)], apps[jsName(mistake)] = c, a
	}
	return clients, apps
}

func (w *world) jsApp(a broker.App, org directory.OrgID, callback string) {
	w.t.Helper()
	a.RedirectURIs = []string{callback}
	w.must(w.h.broker.AddApp(w.t.Context(), operator, a))
	w.must(w.h.directory.Entitle(w.t.Context(), operator, directory.Entitlement{Org: org, App: a.ID}))
}

// mistaken signs in from an address and comes back by callback, with what is wrong about it.
func (b *browser) mistaken(m jsMistake, from, callback string) *page {
	b.t.Helper()
	p := b.send(http.MethodGet, from, nil, false)
	for range 20 {
		to := p.header.Get("Location")
		if to == "" {
			break
		}
		u, err := p.url.Parse(to)
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.HasPrefix(u.String(), callback) {
			if m.back != nil {
				m.back(u)
			}
			p = b.send(http.MethodGet, u.String(), nil, true)
			if m.twice {
				p = b.send(http.MethodGet, u.String(), nil, true)
			}
			break
		}
		p = b.send(http.MethodGet, u.String(), nil, true)
	}
	return p
}
