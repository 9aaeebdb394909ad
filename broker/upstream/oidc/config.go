package oidc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Ways to prove to the token endpoint that we are the client (OpenID Connect Core 1.0 section 9).
const (
	ClientSecretBasic = "client_secret_basic"
	ClientSecretPost  = "client_secret_post"
	PrivateKeyJWT     = "private_key_jwt"
)

// Config is a connection's settings. What is left empty has a usable meaning, except ClientID.
type Config struct {
	ClientID string `json:"client_id"`
	// AuthMethod is client_secret_basic unless it says otherwise.
	AuthMethod string `json:"auth_method"`
	// KeyID names our key to the provider, for private_key_jwt.
	KeyID string `json:"key_id,omitempty"`
	// Scopes are openid, email and profile unless they say otherwise; openid is always among them.
	Scopes []string `json:"scopes"`
	// Endpoints are for providers without discovery. With them nothing is discovered.
	Endpoints *Endpoints `json:"endpoints,omitempty"`
	// SubjectClaim is the claim that identifies a person: sub, or oid for Entra ID, whose sub differs
	// from application to application. Never one that an administrator or the person can change.
	SubjectClaim string `json:"subject_claim"`
	// Tenant is the Entra ID tenant that every answer must come from.
	Tenant string `json:"tenant,omitempty"`
	// HostedDomain is the Google Workspace domain that every account must belong to.
	HostedDomain string `json:"hosted_domain,omitempty"`
	// UserInfo adds the claims of the user information endpoint to those of the id_token.
	UserInfo bool             `json:"userinfo,omitempty"`
	Mapping  upstream.Mapping `json:"mapping"`
	// PKCE is auto, always or never. auto uses it unless the provider says that it cannot S256.
	PKCE string `json:"pkce"`
	// Prompt is sent with each departure: login, select_account, consent.
	Prompt string `json:"prompt,omitempty"`
	// DomainHint spares people Entra ID's own question for their organization.
	DomainHint string   `json:"domain_hint,omitempty"`
	ACRValues  []string `json:"acr_values,omitempty"`
	// ResponseMode is query or form_post.
	ResponseMode string `json:"response_mode"`
	// Algorithms narrows the signatures accepted on id_tokens.
	Algorithms []string `json:"algorithms,omitempty"`
	// NoAuthTime believes that a person was asked again when we wanted it, although the provider does
	// not say when they were. Without it such answers are refused: anybody can take prompt=login out of
	// an address.
	NoAuthTime bool `json:"no_auth_time,omitempty"`
}

// Endpoints of a provider without discovery. UserInfo and EndSession may be empty.
type Endpoints struct {
	Authorization string `json:"authorization"`
	Token         string `json:"token"`
	UserInfo      string `json:"userinfo,omitempty"`
	JWKS          string `json:"jwks"`
	EndSession    string `json:"end_session,omitempty"`
}

// Secret is what proves us to the provider: a secret of theirs, or a private key of ours (PEM, PKCS#8).
type Secret struct {
	ClientSecret string `json:"client_secret,omitempty"`
	PrivateKey   string `json:"private_key,omitempty"`
}

const maxSetting = 512

// mutable are claims that people or administrators can change, or that are given out again: an account
// keyed by one can be taken over (OpenID Connect Core 1.0 section 5.7).
var mutable = []string{
	"email", "preferred_username", "upn", "unique_name", "name", "nickname", "given_name", "family_name",
	"phone_number", "aud", "iss", "azp", "nonce", "tid", "hd", "acr", "amr", "sid", "jti",
}

// Check validates and normalises a connection's settings. Everything it returns passes it again
// unchanged.
func Check(c upstream.Connection) (upstream.Connection, error) {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return upstream.Connection{}, err
	}
	secret, err := parseSecret(c.Secret)
	if err != nil {
		return upstream.Connection{}, err
	}
	cfg.fill()
	for _, check := range []func(*upstream.Connection, *Config, *Secret) error{
		checkIssuer, checkClient, checkChoices, checkTexts, checkEndpoints, checkSubject, checkSecret,
	} {
		if err := check(&c, &cfg, &secret); err != nil {
			return upstream.Connection{}, err
		}
	}
	if c.Config, err = json.Marshal(cfg); err != nil {
		return upstream.Connection{}, upstream.ErrConfig.With(err)
	}
	if c.Secret, err = json.Marshal(secret); err != nil {
		return upstream.Connection{}, upstream.ErrConfig.With(err)
	}
	return c, nil
}

// pins: the same subject in another claim, or under another tenant, is another person.
func pins(c upstream.Connection) string {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return ""
	}
	cfg.fill()
	return fmt.Sprintf("subject=%q tenant=%q", cfg.SubjectClaim, cfg.Tenant)
}

func parseConfig(raw json.RawMessage) (Config, error) {
	var cfg Config
	return cfg, parseSettings(raw, &cfg)
}

func parseSecret(raw json.RawMessage) (Secret, error) {
	var s Secret
	if len(raw) == 0 {
		return s, nil
	}
	return s, parseSettings(raw, &s)
}

// parseSettings refuses what it does not know: a misspelt setting must not be silently off.
func parseSettings(raw json.RawMessage, into any) error {
	if len(raw) == 0 || raw[0] != '{' || !upstream.Plain(string(raw)) {
		return upstream.ErrConfig.Because("the settings are no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		// The decoder's text quotes what it read, which may be a secret.
		return upstream.ErrConfig.Because("the settings cannot be read, or hold one that is not known")
	}
	if _, err := d.Token(); err != io.EOF {
		return upstream.ErrConfig.Because("there is something behind the settings")
	}
	return nil
}

func (cfg *Config) fill() {
	for _, d := range []struct {
		field     *string
		otherwise string
	}{
		{&cfg.AuthMethod, ClientSecretBasic}, {&cfg.SubjectClaim, "sub"}, {&cfg.PKCE, "auto"}, {&cfg.ResponseMode, "query"},
	} {
		if *d.field == "" {
			*d.field = d.otherwise
		}
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"openid", "email", "profile"}
	}
	if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	cfg.Tenant = strings.ToLower(cfg.Tenant)
	cfg.HostedDomain = strings.ToLower(cfg.HostedDomain)
}

func checkClient(_ *upstream.Connection, cfg *Config, _ *Secret) error {
	if cfg.ClientID == "" {
		return upstream.ErrConfig.Because("the client id is missing")
	}
	return cfg.Mapping.Check()
}

func checkChoices(_ *upstream.Connection, cfg *Config, _ *Secret) error {
	for _, c := range []struct {
		name, value string
		of          []string
	}{
		{"auth_method", cfg.AuthMethod, []string{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT}},
		{"pkce", cfg.PKCE, []string{"auto", "always", "never"}},
		{"prompt", cfg.Prompt, []string{"", "login", "select_account", "consent"}},
		{"response_mode", cfg.ResponseMode, []string{"query", "form_post"}},
	} {
		if !slices.Contains(c.of, c.value) {
			return upstream.ErrConfig.Because(c.name + " has a value that is not known")
		}
	}
	for _, a := range cfg.Algorithms {
		if !slices.Contains(signatures, a) {
			return upstream.ErrConfig.Because("an algorithm that cannot be used")
		}
	}
	return nil
}

// checkTexts bounds what is sent with every departure. Spaces separate scopes and acr values.
func checkTexts(_ *upstream.Connection, cfg *Config, _ *Secret) error {
	words := slices.Concat(cfg.Scopes, cfg.ACRValues)
	if len(words) > 32 {
		return upstream.ErrConfig.Because("too many scopes or acr values")
	}
	for _, w := range words {
		if w == "" || strings.ContainsAny(w, " \"\\") || !printable(w) {
			return upstream.ErrConfig.Because("a scope or acr value that cannot be one")
		}
	}
	for _, s := range []string{cfg.ClientID, cfg.KeyID, cfg.DomainHint, cfg.HostedDomain, cfg.SubjectClaim} {
		if !printable(s) {
			return upstream.ErrConfig.Because("a setting that is too long or not plain text")
		}
	}
	return nil
}

func printable(s string) bool {
	return len(s) <= maxSetting && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func checkEndpoints(c *upstream.Connection, cfg *Config, _ *Secret) (err error) {
	if cfg.Endpoints == nil {
		return nil
	}
	e := *cfg.Endpoints
	for _, u := range []*string{&e.Authorization, &e.Token, &e.JWKS, &e.UserInfo, &e.EndSession} {
		if (u == &e.UserInfo || u == &e.EndSession) && *u == "" {
			continue
		}
		if *u, err = upstream.CleanURL(*u, c.Private); err != nil {
			return err
		}
	}
	cfg.Endpoints = &e
	return nil
}

func checkSubject(_ *upstream.Connection, cfg *Config, _ *Secret) error {
	if slices.Contains(mutable, cfg.SubjectClaim) {
		return upstream.ErrConfig.Because("the claim that identifies a person must be one that never changes")
	}
	return nil
}

func checkSecret(_ *upstream.Connection, cfg *Config, secret *Secret) error {
	if cfg.AuthMethod == PrivateKeyJWT {
		secret.ClientSecret = ""
		_, err := clientSigner(*cfg, *secret)
		return err
	}
	secret.PrivateKey = ""
	if secret.ClientSecret == "" || len(secret.ClientSecret) > 4096 || !upstream.Plain(secret.ClientSecret) {
		return upstream.ErrConfig.Because("the client secret is missing or too long")
	}
	return nil
}

// tenantTemplate is how Entra ID writes "whichever tenant it is" into its metadata.
const tenantTemplate = "{tenantid}"

// personal is the tenant of all personal Microsoft accounts: anybody at all.
const personal = "9188040d-6c67-4c5b-b112-36a304b66dad"

var tenantID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// microsoft are the hosts on which the first part of an issuer's path is a tenant.
var microsoft = []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn", "sts.windows.net"}

// checkIssuer fixes whom the connection trusts: one provider and, where many share an issuer, one tenant.
func checkIssuer(c *upstream.Connection, cfg *Config, _ *Secret) error {
	if cfg.Tenant != "" && (!tenantID.MatchString(cfg.Tenant) || cfg.Tenant == personal) {
		return upstream.ErrConfig.Because("the tenant must be the organization's own tenant id")
	}
	if cfg.Tenant != "" {
		c.Issuer = strings.ReplaceAll(c.Issuer, tenantTemplate, cfg.Tenant)
	}
	if err := upstream.CheckIssuer(c.Issuer, c.Private); err != nil {
		return err
	}
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return upstream.ErrConfig.With(err)
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case slices.Contains(microsoft, host):
		return checkMicrosoft(u, cfg)
	case host == "accounts.google.com" && !strings.Contains(cfg.HostedDomain, "."):
		return upstream.ErrConfig.Because("Google needs the hosted domain: without it every Google account would do")
	}
	return nil
}

// checkMicrosoft wants the tenant's own issuer. /common, /organizations and /consumers are everybody's,
// and a tenant's domain name is not what its tokens say.
func checkMicrosoft(u *url.URL, cfg *Config) error {
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !tenantID.MatchString(tenant) || tenant == personal {
		return upstream.ErrConfig.Because("the issuer must name the organization's own tenant by its id")
	}
	if cfg.Tenant == "" {
		cfg.Tenant = tenant
	}
	if cfg.Tenant != tenant {
		return upstream.ErrConfig.Because("the issuer names another tenant")
	}
	return nil
}
