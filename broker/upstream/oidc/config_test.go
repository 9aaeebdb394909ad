package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

func settings(issuer string, cfg Config) upstream.Connection {
	config, _ := json.Marshal(cfg)
	return upstream.Connection{ID: "con_1", Type: "oidc", Name: "Test", Issuer: issuer, Config: config, Secret: json.RawMessage(`{"client_secret":"s"}`)}
}

const goodIssuer = "https://idp.example"

func TestCheckFillsInAndIsIdempotent(t *testing.T) {
	c, err := Check(settings(goodIssuer, Config{ClientID: "c", Scopes: []string{"email"}}))
	if err != nil {
		t.Fatal(err)
	}
	var cfg Config
	json.Unmarshal(c.Config, &cfg)
	want := Config{ClientID: "c", AuthMethod: ClientSecretBasic, Scopes: []string{"openid", "email"}, SubjectClaim: "sub", PKCE: "auto", ResponseMode: "query"}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("%+v, want %+v", cfg, want)
	}
	if again, err := Check(c); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("a second time: %v", err)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	ok := Config{ClientID: "c"}
	for name, change := range map[string]func(*Config){
		"no client id":                 func(c *Config) { c.ClientID = "" },
		"client id with a line break":  func(c *Config) { c.ClientID = "a\nb" },
		"an unknown method":            func(c *Config) { c.AuthMethod = "none" },
		"an unknown response mode":     func(c *Config) { c.ResponseMode = "fragment" },
		"an unknown prompt":            func(c *Config) { c.Prompt = "none" },
		"an unknown PKCE":              func(c *Config) { c.PKCE = "plain" },
		"alg none":                     func(c *Config) { c.Algorithms = []string{"none"} },
		"alg HS256":                    func(c *Config) { c.Algorithms = []string{"ES256", "HS256"} },
		"a scope of two words":         func(c *Config) { c.Scopes = []string{"openid email"} },
		"an empty scope":               func(c *Config) { c.Scopes = []string{""} },
		"an empty acr value":           func(c *Config) { c.ACRValues = []string{""} },
		"a constant address":           func(c *Config) { c.Mapping.Email = []string{"=ceo@acme.example"} },
		"a tenant that is a word":      func(c *Config) { c.Tenant = "common" },
		"a tenant of everybody":        func(c *Config) { c.Tenant = personal },
		"endpoints without keys":       func(c *Config) { c.Endpoints = &Endpoints{Authorization: goodIssuer, Token: goodIssuer} },
		"an endpoint without https":    func(c *Config) { c.Endpoints = &Endpoints{goodIssuer, "http://idp.example/t", "", goodIssuer, ""} },
		"an endpoint that is a script": func(c *Config) { c.Endpoints = &Endpoints{"javascript:alert(1)", goodIssuer, "", goodIssuer, ""} },
	} {
		cfg := ok
		change(&cfg)
		if _, err := Check(settings(goodIssuer, cfg)); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}

func TestSomethingBehindTheSettingsIsRefused(t *testing.T) {
	c := settings(goodIssuer, Config{ClientID: "c"})
	for _, more := range []string{`{}`, `x`, `,`} {
		bad := c
		bad.Config = json.RawMessage(string(c.Config) + more)
		if _, err := Check(bad); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

func TestS4TheSubjectIsNeverAClaimThatChanges(t *testing.T) {
	for _, claim := range mutable {
		if _, err := Check(settings(goodIssuer, Config{ClientID: "c", SubjectClaim: claim})); !errors.Is(err, upstream.ErrConfig) {
			t.Errorf("%s: %v", claim, err)
		}
	}
}

func TestS4PinsMoveWithTheSubject(t *testing.T) {
	pin := func(c Config) string { c.ClientID = "c"; return pins(settings(goodIssuer, c)) }
	base := pin(Config{})
	if pin(Config{SubjectClaim: "sub", Scopes: []string{"email"}}) != base {
		t.Error("the default differs from itself, or scopes count")
	}
	for _, other := range []Config{{SubjectClaim: "oid"}, {Tenant: tenant}} {
		if pin(other) == base {
			t.Errorf("%+v names other people and has the same pins", other)
		}
	}
}

func TestIssuersThatAreEverybodys(t *testing.T) {
	ms := "https://login.microsoftonline.com/"
	for issuer, ok := range map[string]bool{
		ms + "common/v2.0":                              false,
		ms + "organizations/v2.0":                       false,
		ms + "consumers/v2.0":                           false,
		ms + personal + "/v2.0":                         false,
		ms + "acme.onmicrosoft.com/v2.0":                false,
		ms + "{tenantid}/v2.0":                          false,
		ms + "v2.0":                                     false,
		ms + tenant + "/v2.0":                           true,
		"https://sts.windows.net/common/":               false,
		"https://LOGIN.microsoftonline.com/common/v2.0": false,
		"https://sts.windows.net/" + tenant + "/":       true,
		"https://accounts.google.com":                   false,
		"https://accounts.google.com/":                  false,
	} {
		if _, err := Check(settings(issuer, Config{ClientID: "c"})); (err == nil) != ok {
			t.Errorf("%s: %v, want ok %v", issuer, err, ok)
		}
	}
	if _, err := Check(settings("https://accounts.google.com", Config{ClientID: "c", HostedDomain: "Acme.Example"})); err != nil {
		t.Errorf("Google with a domain: %v", err)
	}
}

func TestTheTenantIsPinned(t *testing.T) {
	other := strings.Replace(tenant, "1", "2", 1)
	c, err := Check(settings("https://login.microsoftonline.com/{tenantid}/v2.0", Config{ClientID: "c", Tenant: strings.ToUpper(tenant)}))
	if err != nil || c.Issuer != "https://login.microsoftonline.com/"+tenant+"/v2.0" {
		t.Errorf("the template with a pinned tenant: %s, %v", c.Issuer, err)
	}
	c, err = Check(settings("https://login.microsoftonline.com/"+tenant+"/v2.0", Config{ClientID: "c"}))
	if cfg, _ := parseConfig(c.Config); err != nil || cfg.Tenant != tenant {
		t.Errorf("the tenant is not taken from the issuer: %q, %v", cfg.Tenant, err)
	}
	if _, err = Check(settings("https://login.microsoftonline.com/"+other+"/v2.0", Config{ClientID: "c", Tenant: tenant})); err == nil {
		t.Error("issuer and tenant differ")
	}
}

func TestS36AddressesInSettings(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://idp.example":                  true,
		"https://idp.example/":                 true,
		"https://idp.example:8443/realms/x":    true,
		"https://oauth.id.jumpcloud.com/":      true,
		"http://idp.example":                   false,
		"https://idp.example; script-src *":    false,
		"https://idp.example/a b":              false,
		"https://idp.example/?x=1":             false,
		"https://idp.example/?":                false,
		"https://idp.example/#f":               false,
		"https://idp.example/#":                false,
		"https://user@idp.example/":            false,
		"https://idp.example\r\nX: y":          false,
		"https://idp_example/":                 false,
		"https://-idp.example/":                false,
		"https://idp..example/":                false,
		"https://idp.example:0/":               false,
		"https://idp.example:99999/":           false,
		"https://idp.example:/":                false,
		"https://ïdp.example/":                 false,
		"https://idp.example/\"><script>":      false,
		"https:idp.example":                    false,
		"//idp.example":                        false,
		"idp.example":                          false,
		"javascript:alert(1)":                  false,
		"data:text/html,x":                     false,
		"https://":                             false,
		"https://[::1]/":                       true, // refused when it is dialled
		"https://" + strings.Repeat("a", 3000): false,
	} {
		if _, err := Check(settings(issuer, Config{ClientID: "c"})); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", issuer, err, ok)
		}
	}
}

func TestS36EndpointsAreWrittenAnew(t *testing.T) {
	c, err := Check(settings(goodIssuer, Config{ClientID: "c", Endpoints: &Endpoints{
		Authorization: "HTTPS://IDP.example/auth;script-src?p=a&q='x'",
		Token:         "https://idp.example/t", JWKS: "https://idp.example/k",
	}}))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := parseConfig(c.Config)
	if want := "https://idp.example/auth%3Bscript-src?p=a&q=%27x%27"; cfg.Endpoints.Authorization != want {
		t.Errorf("%s, want %s", cfg.Endpoints.Authorization, want)
	}
}

func TestErrorsAboutSettingsDoNotQuoteThem(t *testing.T) {
	c := settings(goodIssuer, Config{ClientID: "c"})
	c.Secret = json.RawMessage(`{"client_secret":["hunter2"]}`)
	if _, err := Check(c); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	c.Secret = json.RawMessage(`{"client_secret":"x","hunter2":1}`)
	if _, err := Check(c); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func pemKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestSecrets(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	for name, test := range map[string]struct {
		method string
		secret Secret
		ok     bool
	}{
		"a secret":           {ClientSecretPost, Secret{ClientSecret: "x"}, true},
		"no secret":          {ClientSecretPost, Secret{}, false},
		"a key for a secret": {ClientSecretBasic, Secret{PrivateKey: pemKey(t, ec)}, false},
		"a key":              {PrivateKeyJWT, Secret{PrivateKey: pemKey(t, ec)}, true},
		"a secret for a key": {PrivateKeyJWT, Secret{ClientSecret: "x"}, false},
		"an odd curve":       {PrivateKeyJWT, Secret{PrivateKey: pemKey(t, p224)}, false},
		"no PEM":             {PrivateKeyJWT, Secret{PrivateKey: "x"}, false},
	} {
		c := settings(goodIssuer, Config{ClientID: "c", AuthMethod: test.method})
		c.Secret, _ = json.Marshal(test.secret)
		if _, err := Check(c); (err == nil) != test.ok {
			t.Errorf("%s: %v, want ok %v", name, err, test.ok)
		}
	}
	if _, ok := algorithmOf(small); ok {
		t.Error("RSA of 1024 bits is taken")
	}
}
