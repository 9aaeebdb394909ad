package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/themes"
)

func TestSomebodySignsInThroughAnOpenIDProvider(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b := newBrowser(t)
	r := w.request(in(acme.org))
	back := b.authorize(w, r)
	if got := back.url.Query().Get("state"); got != r.Get("state") {
		t.Errorf("state %q", got)
	}
	if got := back.url.Query().Get("iss"); got != w.url {
		t.Errorf("iss %q (RFC 9207)", got)
	}
	tok := w.redeem(back.code(t), r.verifier)
	if tok.Status != 200 {
		t.Fatalf("token: %s", tok.raw)
	}
	id := claims(t, tok.ID)
	for name, want := range map[string]any{
		"iss": w.url, "aud": "payments", "nonce": r.Get("nonce"), "org_id": string(acme.org), "org_handle": "acme", "org_name": "Acme",
		"email": "ada@acme.example", "email_verified": true, "name": "Ada acme", "acr": "urn:vestibule:acr:1fa",
	} {
		if id[name] != want {
			t.Errorf("id token %s = %v, want %v", name, id[name], want)
		}
	}
	status, info := w.userinfo(tok.Access)
	if status != 200 || info["sub"] != id["sub"] || info["email"] != "ada@acme.example" {
		t.Errorf("userinfo %d %v", status, info)
	}
}

func TestSomebodySignsInThroughASAMLProvider(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []struct {
		name   string
		change func(*upstream.Connection, *saml.Config)
	}{
		{"redirect", nil},
		{"post", func(_ *upstream.Connection, c *saml.Config) { c.Binding = "post" }},
		{"signed", func(_ *upstream.Connection, c *saml.Config) { c.SignRequests, c.RequestAlgorithm = true, "ES256" }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			retail := w.addSAML("retail-"+kind.name, kind.change)
			b := newBrowser(t)
			r := w.request(in(retail.org))
			tok := w.redeem(b.authorize(w, r).code(t), r.verifier)
			if got := claims(t, tok.ID)["email"]; got != "ada@retail-"+kind.name+".example" {
				t.Errorf("email %v in %s", got, tok.raw)
			}
		})
	}
}

func TestTypingAnAddressFindsTheOrganization(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	b := newBrowser(t)
	r := w.request(nil)
	p := b.authorize(w, r)
	if p.status != 200 || !strings.Contains(p.body, `name="identifier"`) {
		t.Fatalf("no identify page: %d %s", p.status, textOf(p.body))
	}
	p = b.answer(p, "identifier", "ada@ACME.example")
	w.redeem(p.code(t), r.verifier)
}

func TestAHandleFindsTheOrganization(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	b := newBrowser(t)
	p := b.authorize(w, w.request(nil))
	b.answer(p, "identifier", "acme").code(t)
}

// answer fills the page's form that has the field, and goes on.
func (b *browser) answer(p *page, field, value string) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if !f.values.Has(field) {
			continue
		}
		f.values.Set(field, value)
		to, err := p.url.Parse(f.action)
		if err != nil {
			b.t.Fatal(err)
		}
		return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
	}
	b.t.Fatalf("no field %q on %s: %s", field, p.url, textOf(p.body))
	return nil
}

func TestASessionSignsInToAnotherAppWithoutAsking(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	b := newBrowser(t)
	b.authorize(w, w.request(in(acme.org))).code(t)
	acme.idp.SetAuto("") // from now on the provider would show a page
	r := w.request(nil)
	back := b.authorize(w, r)
	tok := w.redeem(back.code(t), r.verifier)
	if claims(t, tok.ID)["org_id"] != string(acme.org) {
		t.Errorf("single sign-on: %s", tok.raw)
	}
	r = w.request(func(v url.Values) { v.Set("prompt", "none") })
	w.redeem(b.authorize(w, r).code(t), r.verifier)
}

func TestFormPostArrivesUnderATicket(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", func(_ *upstream.Connection, c *oidc.Config) { c.ResponseMode = "form_post" })
	b := newBrowser(t)
	r := w.request(in(acme.org))
	w.redeem(b.authorize(w, r).code(t), r.verifier)
}

func TestTheDetailsNameTheDomainThatCameAndThoseThatWouldDo(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	acme.idp.SetPeople(fakeidp.Person{ID: "acme-1", Email: "ada@elsewhere.example", EmailVerified: true, Name: "Ada"})
	p := newBrowser(t).authorize(w, w.request(in(acme.org)))
	text := textOf(p.body)
	for _, want := range []string{"flows.email_domain", "elsewhere.example", "acme.example"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %s", want, text)
		}
	}
	if strings.Contains(text, "ada@elsewhere.example") {
		t.Error("the page shows the address")
	}
}

func TestSigningOutEndsInTheOrganizationsLook(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.must(w.h.store.PutTheme(t.Context(), acme.org, themes.Theme{Locale: "es"}))
	b := newBrowser(t)
	b.authorize(w, w.request(in(acme.org))).code(t)
	p := b.follow(b.send(http.MethodGet, w.url+"/logout", nil, false))
	p = b.answer(p, "step", "confirm")
	if !strings.Contains(textOf(p.body), "Cerraste sesión") || !strings.Contains(textOf(p.body), "Okta of acme") {
		t.Errorf("signed out on %s: %s", p.url, textOf(p.body))
	}
}
