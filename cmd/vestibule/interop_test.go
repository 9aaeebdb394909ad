//go:build !quick

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
)

// Logins are completed here by apps and by identity providers that are not ours, each with its defaults
// and its own idea of strictness: what only our own code accepts would go unnoticed everywhere else.

// TestAnAppOfGoOIDC signs in as a program written with coreos/go-oidc and golang.org/x/oauth2 does.
func TestAnAppOfGoOIDC(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	provider, err := goidc.NewProvider(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		style  oauth2.AuthStyle
		change func(*broker.App)
	}{
		{"basic-es256", oauth2.AuthStyleInHeader, nil},
		{"post-rs256", oauth2.AuthStyleInParams, func(a *broker.App) { a.Method, a.IDTokenAlg = broker.SecretPost, "RS256" }},
		{"public-eddsa", oauth2.AuthStyleInParams, func(a *broker.App) { public(a); a.IDTokenAlg = "EdDSA" }},
		{"found-out", oauth2.AuthStyleAutoDetect, func(a *broker.App) { a.Method = broker.SecretPost }},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := w.entitledApp("go-"+c.name, acme.org, c.change)
			endpoint := provider.Endpoint()
			endpoint.AuthStyle = c.style
			config := oauth2.Config{ClientID: app.app.ClientID, Endpoint: endpoint, RedirectURL: callback, Scopes: []string{goidc.ScopeOpenID, "profile", "email"}}
			if app.app.Method != broker.NoSecret {
				config.ClientSecret = app.secret
			}
			goesThrough(t, app, provider, config)
		})
	}
}

func goesThrough(t *testing.T, w *world, provider *goidc.Provider, config oauth2.Config) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	to := config.AuthCodeURL("the state", oauth2.S256ChallengeOption(verifier), goidc.Nonce("the nonce"), oauth2.SetAuthURLParam("login_hint", "ada@acme.example"))
	b := newBrowser(t)
	back := b.follow(b.send(http.MethodGet, to, nil, false))
	if back.url.Query().Get("state") != "the state" {
		t.Errorf("state %q", back.url.Query().Get("state"))
	}
	token, err := config.Exchange(t.Context(), back.code(t), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&goidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	if id.Nonce != "the nonce" {
		t.Errorf("nonce %q", id.Nonce)
	}
	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if info.Subject != id.Subject || info.Email != "ada@acme.example" || !info.EmailVerified {
		t.Errorf("userinfo %+v", info)
	}
	if _, err := config.Exchange(t.Context(), back.code(t), oauth2.VerifierOption(verifier)); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the code a second time: %v", err)
	}
	if _, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)); err == nil {
		t.Error("userinfo after the replay")
	}
}

// shown is what the app of app.mjs shows at the end.
type shown struct {
	Claims, Userinfo      map[string]any
	Ended, State          string
	Error, Message, Cause string
	Printed               string // an error, as Node.js prints it
}

func (p *page) shown(t *testing.T) shown {
	t.Helper()
	var s shown
	if err := json.Unmarshal([]byte(p.body), &s); err != nil {
		t.Fatalf("%s %d: %s", p.url, p.status, textOf(p.body))
	}
	return s
}

// TestAnAppOfOpenIDClient signs in, is refused, and signs out as a program written with openid-client,
// which checks iss, at_hash, signatures and content types as strictly as the specifications let it.
func TestAnAppOfOpenIDClient(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	type client struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
		Method string `json:"method"`
		Alg    string `json:"alg"`
	}
	clients := map[string]client{}
	apps := map[string]broker.App{}
	for name, c := range map[string]client{
		"basic": {Method: "client_secret_basic", Alg: "ES256"}, "post": {Method: "client_secret_post", Alg: "RS256"}, "public": {Method: "none", Alg: "EdDSA"},
	} {
		secret, kept := broker.NewClientSecret(w.clock.now())
		a := broker.App{ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: "node-" + name, Name: "Node", Status: directory.Active,
			Settings: broker.Settings{Method: broker.ClientMethod(c.Method), IDTokenAlg: c.Alg}, Secrets: []broker.Secret{kept}}
		if a.Method == broker.NoSecret {
			a.Secrets = nil
		}
		c.ID, c.Secret = a.ClientID, secret
		clients[name], apps[name] = c, a
	}
	base := node(t, "app.mjs", map[string]any{"issuer": w.url, "clients": clients})
	for name, a := range apps {
		a.RedirectURIs, a.PostLogoutURIs = []string{base + "/" + name + "/callback"}, []string{base + "/" + name + "/ended"}
		w.must(w.h.broker.AddApp(t.Context(), operator, a))
		w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: acme.org, App: a.ID}))
	}
	for name := range apps {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			open := func(path string) shown {
				return b.follow(b.send(http.MethodGet, base+"/"+name+path, nil, false)).shown(t)
			}
			if got := open("/start?prompt=none"); got.Error != "login_required" {
				t.Errorf("prompt=none of nobody: %+v", got)
			}
			got := open("/start?organization=acme")
			if got.Claims["email"] != "ada@acme.example" || got.Claims["org_id"] != string(acme.org) || got.Userinfo["sub"] != got.Claims["sub"] {
				t.Fatalf("signed in: %+v", got)
			}
			if got := open("/start?prompt=none"); got.Claims["sub"] == nil {
				t.Errorf("single sign-on: %+v", got)
			}
			if got := open("/start?max_age=0&organization=acme"); got.Claims["auth_time"] == nil {
				t.Errorf("max_age=0: %+v", got)
			}
			if got := open("/start?response_mode=fragment"); got.Error != "invalid_request" {
				t.Errorf("a mode that does not exist: %+v", got)
			}
			if got := open("/end"); got.Ended != name || got.State != "left" {
				t.Errorf("signed out: %+v", got)
			}
			if got := open("/start?prompt=none"); got.Error != "login_required" {
				t.Errorf("prompt=none after signing out: %+v", got)
			}
		})
	}
}

// TestAnIdentityProviderOfOIDCProvider signs in through oidc-provider: its own pages, PKCE demanded, each
// client authentication, form_post, a forced sign-in.
func TestAnIdentityProviderOfOIDCProvider(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	w.must(err)
	jwk := jose.JSONWebKey{Key: key.Public(), KeyID: "ours", Algorithm: "ES256", Use: "sig"}
	kinds := []struct {
		name, method, alg string
		change            func(*oidc.Config)
		secret            oidc.Secret
	}{
		{"basic", "client_secret_basic", "RS256", func(c *oidc.Config) { c.UserInfo = true }, oidc.Secret{ClientSecret: "a secret: with+odd/characters%"}},
		{"post", "client_secret_post", "ES256", func(c *oidc.Config) { c.UserInfo, c.ResponseMode = true, "form_post" }, oidc.Secret{ClientSecret: "another secret of theirs, long enough"}},
		{"jwt", "private_key_jwt", "EdDSA", func(c *oidc.Config) { c.UserInfo, c.KeyID = true, "ours" },
			oidc.Secret{PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}},
	}
	ids := map[string]directory.ConnectionID{}
	var clients []map[string]any
	for _, k := range kinds {
		ids[k.name] = directory.NewConnectionID(w.clock.now())
		c := map[string]any{"client_id": "vestibule-" + k.name, "token_endpoint_auth_method": k.method, "id_token_signed_response_alg": k.alg,
			"redirect_uris": []string{upstream.ReturnURL(w.url, ids[k.name])}}
		if k.secret.ClientSecret != "" {
			c["client_secret"] = k.secret.ClientSecret
		} else {
			c["jwks"] = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}}
		}
		clients = append(clients, c)
	}
	base := node(t, "idp.mjs", map[string]any{"clients": clients})
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			handle := "interop-" + k.name
			org := w.addOrg(handle, "")
			config := oidc.Config{ClientID: "vestibule-" + k.name, AuthMethod: k.method}
			k.change(&config)
			c, err := w.h.connections.Create(t.Context(), operator, org, upstream.Connection{
				ID: ids[k.name], Realm: w.main, Type: "oidc", Name: "oidc-provider", Status: upstream.Active, Issuer: base, JIT: upstream.JITCreate,
				Private: []string{strings.TrimPrefix(base, "http://")}, Config: encode(t, config), Secret: encode(t, k.secret),
			})
			w.must(err)
			w.must(w.h.directory.DeclareDomain(t.Context(), operator, org, handle+".example", c.ID))
			b, address := newBrowser(t), "ada@"+handle+".example"
			tok := b.throughItsPages(w, w.request(in(org)), address)
			id := claims(t, tok.ID)
			if id["email"] != address || id["email_verified"] != true || id["given_name"] != "Ada" || id["org_id"] != string(org) {
				t.Errorf("claims %v", id)
			}
			forced := b.throughItsPages(w, w.request(func(v url.Values) { in(org)(v); v.Set("prompt", "login") }), address)
			if again := claims(t, forced.ID); again["sub"] != id["sub"] {
				t.Errorf("a second person: %v and %v", again["sub"], id["sub"])
			}
		})
	}
}

// throughItsPages signs in at oidc-provider's own pages, where they are shown.
func (b *browser) throughItsPages(w *world, r request, address string) tokenAnswer {
	b.t.Helper()
	p := b.authorize(w, r)
	if !strings.Contains(p.body, `name="login"`) {
		b.t.Fatalf("no sign-in page of the provider: %s %d %s", p.url, p.status, textOf(p.body))
	}
	p = b.answer(p, "login", address)
	for p.url.Host != "127.0.0.1:5555" && strings.Contains(p.body, `value="consent"`) {
		p = b.answer(p, "prompt", "consent")
	}
	tok := w.redeem(p.code(b.t), r.verifier)
	if tok.Status != http.StatusOK {
		b.t.Fatalf("token: %s", tok.raw)
	}
	return tok
}

// An answer of pysaml2: how it is signed and encrypted, and what becomes of it.
type pyKind struct {
	Signed     string    `json:"signed"`
	Algorithm  string    `json:"algorithm"`
	Digest     string    `json:"digest"`
	WantSigned bool      `json:"want_signed"`
	Encrypt    *pyCipher `json:"encrypt"`

	change  func(*saml.Config)
	refused string // the fault that the page names to an administrator
}

type pyCipher struct {
	Data string `json:"data"`
	Key  string `json:"key_type"` // as xmlsec1 names it
	Cert string `json:"cert"`     // a file
}

const (
	rsaSHA256, rsaSHA512 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
	sha256URI, sha512URI = "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmlenc#sha512"
	rsaSHA1, sha1URI     = "http://www.w3.org/2000/09/xmldsig#rsa-sha1", "http://www.w3.org/2000/09/xmldsig#sha1"
	aes128GCM, aes256GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm", "http://www.w3.org/2009/xmlenc11#aes256-gcm"
	tripleDES            = "http://www.w3.org/2001/04/xmlenc#tripledes-cbc"
)

var pyKinds = map[string]*pyKind{
	"response":      {Signed: "response", Algorithm: rsaSHA256, Digest: sha256URI},
	"assertion":     {Signed: "assertion", Algorithm: rsaSHA256, Digest: sha256URI},
	"both":          {Signed: "both", Algorithm: rsaSHA512, Digest: sha512URI},
	"requests":      {Signed: "both", Algorithm: rsaSHA256, Digest: sha256URI, WantSigned: true, change: func(c *saml.Config) { c.Binding = "redirect" }},
	"requests-post": {Signed: "both", Algorithm: rsaSHA256, Digest: sha256URI, WantSigned: true, change: func(c *saml.Config) { c.Binding = "post" }},
	"gcm128":        {Signed: "assertion", Algorithm: rsaSHA256, Digest: sha256URI, Encrypt: &pyCipher{Data: aes128GCM, Key: "aes-128"}},
	"gcm256": {Signed: "assertion", Algorithm: rsaSHA256, Digest: sha256URI, Encrypt: &pyCipher{Data: aes256GCM, Key: "aes-256"},
		change: func(c *saml.Config) { c.RequireEncrypted = true }},
	"des":      {Signed: "assertion", Algorithm: rsaSHA256, Digest: sha256URI, Encrypt: &pyCipher{Data: tripleDES, Key: "des-192"}, refused: "saml.enc_alg"},
	"clear":    {Signed: "both", Algorithm: rsaSHA256, Digest: sha256URI, change: func(c *saml.Config) { c.RequireEncrypted = true }, refused: "saml.not_encrypted"},
	"unsigned": {Signed: "neither", Algorithm: rsaSHA256, Digest: sha256URI, refused: "saml.unsigned"},
	"sha1":     {Signed: "both", Algorithm: rsaSHA1, Digest: sha1URI, refused: "saml.sig_alg"},
}

// TestAnIdentityProviderOfPySAML2 signs in through pysaml2, whose signatures and encryption are
// xmlsec1's. Each kind of answer is accepted or refused as protocols.md section 5 demands.
func TestAnIdentityProviderOfPySAML2(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		w.must(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		return filepath.Join(dir, name)
	}
	ours, err := saml.NewSecret(rand.Reader, w.clock.now(), "vestibule")
	w.must(err)
	theirs, err := saml.NewKeyPair(rand.Reader, w.clock.now(), "pysaml2", "RS256")
	w.must(err)
	for _, k := range pyKinds {
		if k.Encrypt != nil {
			k.Encrypt.Cert = file("encrypt.pem", ours.Encryption[0].Certificate)
		}
	}
	base := python(t, "idp.py", map[string]any{
		"dir": dir, "xmlsec": found(t, "xmlsec1", "xmlsec1"), "key": file("key.pem", theirs.Key), "cert": file("cert.pem", theirs.Certificate), "kinds": pyKinds,
	})
	for name, k := range pyKinds {
		t.Run(name, func(t *testing.T) {
			org := w.connectPySAML2(base+"/"+name, "py-"+name, ours, k.change)
			r := w.request(in(org))
			p := newBrowser(t).authorize(w, r)
			if k.refused != "" {
				p.refusedHere(t, http.StatusBadGateway)
				if !strings.Contains(textOf(p.body), k.refused) {
					t.Errorf("refused, but not for %s: %s", k.refused, textOf(p.body))
				}
				return
			}
			id := claims(t, w.redeem(p.code(t), r.verifier).ID)
			if id["given_name"] != "Ada" || id["family_name"] != "Interop" || id["org_id"] != string(org) {
				t.Errorf("claims %v", id)
			}
		})
	}
}

// connectPySAML2 exchanges metadata as administrators do: theirs is read by us, ours is given to them.
func (w *world) connectPySAML2(base, handle string, secret saml.Secret, change func(*saml.Config)) directory.OrgID {
	w.t.Helper()
	ctx, org := w.t.Context(), w.addOrg(handle, "")
	metadata, err := saml.ParseMetadata(bytes.NewReader(fetch(w.t, http.MethodGet, base+"/metadata", nil)), "")
	w.must(err)
	config := metadata.Fill(saml.Config{})
	if change != nil {
		change(&config)
	}
	host := strings.Split(strings.TrimPrefix(base, "http://"), "/")[0]
	c, err := w.h.connections.Create(ctx, operator, org, upstream.Connection{
		Realm: w.main, Type: "saml", Name: "pysaml2", Status: upstream.Active, Issuer: base + "/metadata", JIT: upstream.JITCreate,
		Authoritative: true, Guests: true, Private: []string{host}, Secret: encode(w.t, secret), Config: encode(w.t, config),
	})
	w.must(err)
	fetch(w.t, http.MethodPost, base+"/trust", fetch(w.t, http.MethodGet, upstream.MetadataURL(w.url, c.ID), nil))
	return org
}

func fetch(t *testing.T, method, from string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, from, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %v %s", method, from, resp.StatusCode, err, out)
	}
	return out
}
