// Package oidc speaks OpenID Connect to an organization's identity provider: the authorization code
// flow with PKCE, state and nonce (OpenID Connect Core 1.0 section 3.1, RFC 9700).
//
// Protocol is its line in the registry. Config and Secret are a connection's settings; Check validates
// them when they are stored. A departure and an arrival follow depart.go and arrive.go from top to
// bottom; every check of an answer stands in arrive.go, idtoken.go and claims.go, once, with the line
// that the doctor shows for it.
//
// What providers publish about themselves (discovery, keys) is kept in documents, shared by all
// connections to the same provider, refreshed behind the back of logins and served stale while the
// provider is down.
//
// The relying-party library builds the authorization URL, redeems the code and checks at_hash. Its other
// parts are not used, for reasons that stand where our own are: its handlers know no foreign iss, its
// verifier reads the machine's clock and applies the skew the wrong way round, its key set fetches on
// the first caller's context and without a bound. No type of it leaves this package.
package oidc

import (
	"context"
	"net/http"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const (
	// defaultSkew is how far a provider's clock may be off unless the connection says otherwise.
	defaultSkew = 2 * time.Minute
	// maxAnswer bounds what is read of a token, user information or metadata answer.
	maxAnswer = 512 << 10
)

// Protocol is this package's line in the registry. Connections opened by one Protocol share what their
// providers publish.
func Protocol() upstream.Protocol {
	docs := &documents{}
	return upstream.Protocol{
		Open: func(c upstream.Connection, env upstream.Env) (upstream.Upstream, error) {
			return open(c, env, docs)
		},
		Check:    Check,
		Pins:     pins,
		Config:   Config{},
		Secret:   Secret{},
		SignsOut: true,
	}
}

// provider is an opened connection. It does not change.
type provider struct {
	conn   upstream.Connection
	cfg    Config
	secret Secret
	signer jose.Signer // for private_key_jwt, else nil
	env    upstream.Env
	client *http.Client // env.Client with every body bounded
	docs   *documents
	skew   time.Duration
}

func open(c upstream.Connection, env upstream.Env, docs *documents) (upstream.Upstream, error) {
	cfg, err := parseConfig(c.Config)
	if err != nil {
		return nil, err
	}
	secret, err := parseSecret(c.Secret)
	if err != nil {
		return nil, err
	}
	if env.Client == nil || env.Client.Transport == nil {
		// A client without a transport of its own is not the guarded one.
		return nil, upstream.ErrConfig.Because("no guarded client")
	}
	p := &provider{conn: c, cfg: cfg, secret: secret, env: env, client: bounded(env.Client), docs: docs, skew: defaultSkew}
	if c.Skew > 0 {
		p.skew = c.Skew
	}
	if cfg.AuthMethod == PrivateKeyJWT {
		p.signer, err = clientSigner(cfg, secret)
	}
	return p, err
}

func (p *provider) returnURL() string { return upstream.ReturnURL(p.env.Base, p.conn.ID) }

// algorithms are the signatures accepted on this connection now: what we can check, narrowed by the
// connection and by the organization's policy. None left means that nobody is believed.
func (p *provider) algorithms(ctx context.Context) []string {
	allowed := slices.Clone(signatures)
	if len(p.cfg.Algorithms) > 0 {
		allowed = common(allowed, p.cfg.Algorithms)
	}
	if p.env.Algorithms != nil {
		allowed = common(allowed, p.env.Algorithms(ctx, p.conn))
	}
	return allowed
}

func common(a, b []string) []string {
	return slices.DeleteFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// signatures are the algorithms of RFC 7518 and RFC 8037 that a provider's public key can check. "none"
// and the HS family are not among them: with those the client secret, or nothing, would sign people in.
var signatures = []string{"ES256", "RS256", "EdDSA", "PS256", "ES384", "ES512", "RS384", "RS512", "PS384", "PS512"}
