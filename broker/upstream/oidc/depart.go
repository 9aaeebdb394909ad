package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"golang.org/x/oauth2"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Depart builds the authentication request (OpenID Connect Core 1.0 section 3.1.2.1).
func (p *provider) Depart(ctx context.Context, a upstream.Attempt) (upstream.Departure, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return upstream.Departure{}, err
	}
	return upstream.Departure{URL: rp.AuthURL(a.ID, p.party(m), p.parameters(m, a))}, nil
}

func (p *provider) parameters(m *metadata, a upstream.Attempt) rp.AuthURLOpt {
	return func() []oauth2.AuthCodeOption {
		var out []oauth2.AuthCodeOption
		for name, value := range p.values(m, a) {
			if value != "" {
				out = append(out, oauth2.SetAuthURLParam(name, value))
			}
		}
		return out
	}
}

func (p *provider) values(m *metadata, a upstream.Attempt) map[string]string {
	v := map[string]string{
		"nonce":       a.Nonce,
		"prompt":      p.cfg.Prompt,
		"login_hint":  hint(a.LoginHint),
		"hd":          p.cfg.HostedDomain,
		"domain_hint": p.cfg.DomainHint,
		"acr_values":  strings.Join(p.cfg.ACRValues, " "),
		"max_age":     maxAge(a),
	}
	if p.cfg.ResponseMode != "query" {
		v["response_mode"] = p.cfg.ResponseMode
	}
	if a.Force {
		v["prompt"] = "login"
	}
	if p.pkce(m) {
		v["code_challenge"], v["code_challenge_method"] = challenge(a.Verifier), "S256"
	}
	return v
}

// maxAge asks for a fresh proof. prompt=login alone does not make a provider say when the person proved
// themselves; max_age does (Core 3.1.2.1), so both are sent and auth_time is checked on return.
func maxAge(a upstream.Attempt) string {
	switch {
	case a.Force:
		return "0"
	case a.MaxAge != nil:
		return strconv.FormatInt(int64(max(a.MaxAge.Seconds(), 0)), 10)
	}
	return ""
}

// hint is what a person typed; it goes on only when it may be an address (RFC 5321 section 4.5.3.1).
func hint(s string) string {
	if len(s) > 320 || !upstream.Plain(s) {
		return ""
	}
	return s
}

func (p *provider) pkce(m *metadata) bool {
	return p.cfg.PKCE == "always" || p.cfg.PKCE == "auto" && m.s256
}

// challenge is S256 of RFC 7636 section 4.2.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// party is this connection in the shape the relying-party library wants. It is an OAuth-only party to it:
// then the library redeems codes and leaves the id_token to us.
type party struct {
	rp.RelyingParty // nil: whatever else it would ask for is not used
	oauth           *oauth2.Config
	client          *http.Client
}

func (p *provider) party(m *metadata) *party {
	c := &oauth2.Config{
		ClientID: p.cfg.ClientID, RedirectURL: p.returnURL(), Scopes: p.cfg.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: m.authorization, TokenURL: m.token, AuthStyle: oauth2.AuthStyleInParams},
	}
	// The style is always said: finding it out by trial shows the code to the provider twice.
	switch p.cfg.AuthMethod {
	case ClientSecretBasic:
		c.ClientSecret, c.Endpoint.AuthStyle = p.secret.ClientSecret, oauth2.AuthStyleInHeader
	case ClientSecretPost:
		c.ClientSecret = p.secret.ClientSecret
	}
	return &party{oauth: c, client: p.client}
}

func (p *party) OAuthConfig() *oauth2.Config { return p.oauth }
func (p *party) HttpClient() *http.Client    { return p.client }
func (p *party) IsOAuth2Only() bool          { return true }
func (p *party) IsPKCE() bool                { return false } // the verifier is the attempt's
func (p *party) Signer() jose.Signer         { return nil }
