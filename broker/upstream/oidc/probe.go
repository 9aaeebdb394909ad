package oidc

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	lib "github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// Probe tests the connection without a person: is the provider there, is it the one that is set up, does
// it publish keys we can use, does it offer what the settings ask for. It asks anew, whatever is kept.
func (p *provider) Probe(ctx context.Context) (upstream.Report, error) {
	c := &checks{}
	m, err := p.probeMetadata(ctx, c)
	if err != nil {
		return c.list, err
	}
	if err := p.probeKeys(ctx, m, c); err != nil {
		return c.list, err
	}
	if err := p.probeOffers(ctx, m, c); err != nil {
		return c.list, err
	}
	return c.list, p.probeClient(ctx, m, c)
}

func (p *provider) probeMetadata(ctx context.Context, c *checks) (*metadata, error) {
	if p.cfg.Endpoints != nil {
		c.note("discovery", true, "endpoints are set by hand", "")
		return p.metadata(ctx)
	}
	m, _, err := p.fetchMetadata(ctx)
	if err != nil {
		return nil, c.fail("discovery", err, heard(err), p.conn.Issuer)
	}
	if err := p.checkMetadata(m); err != nil {
		return nil, c.fail("issuer", err, m.issuer, p.conn.Issuer)
	}
	c.note("issuer", true, m.issuer, p.conn.Issuer)
	return m, nil
}

func (p *provider) probeKeys(ctx context.Context, m *metadata, c *checks) error {
	ks, _, err := p.fetchKeys(ctx, m.jwks)
	if err != nil {
		return c.fail("keys", err, heard(err), "keys")
	}
	allowed := p.algorithms(ctx)
	n := 0
	for _, k := range ks.keys {
		if p.env.Distrusted(k.id, nil) {
			continue
		}
		if slices.ContainsFunc(allowed, func(alg string) bool { return (k.alg == "" || k.alg == alg) && fits(k.key, alg) }) {
			n++
		}
	}
	return c.want("keys", n > 0, ErrAlg, strconv.Itoa(n)+" usable", strings.Join(allowed, " "))
}

// probeOffers compares the settings with what the provider announces; silence is no contradiction.
func (p *provider) probeOffers(ctx context.Context, m *metadata, c *checks) error {
	method := len(m.authMethods) == 0 || slices.Contains(m.authMethods, p.cfg.AuthMethod)
	if err := c.want("client authentication", method, ErrClientAuth, known(m.authMethods, authMethods), p.cfg.AuthMethod); err != nil {
		return err
	}
	mode := len(m.responseModes) == 0 || slices.Contains(m.responseModes, p.cfg.ResponseMode)
	if err := c.want("response mode", mode, ErrRequest, known(m.responseModes, responseModes), p.cfg.ResponseMode); err != nil {
		return err
	}
	allowed := p.algorithms(ctx)
	signs := len(m.algorithms) == 0 || len(common(slices.Clone(allowed), m.algorithms)) > 0
	if err := c.want("algorithm", signs, ErrAlg, known(m.algorithms, knownNames), strings.Join(allowed, " ")); err != nil {
		return err
	}
	c.note("PKCE", p.pkce(m), onOff(p.pkce(m)), "S256")
	return nil
}

var (
	authMethods   = []string{ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, "client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"}
	responseModes = []string{"query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "web_message"}
)

// known joins those of a provider's words that are words of the protocol.
func known(words, vocabulary []string) string {
	return strings.Join(common(slices.Clone(words), vocabulary), " ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// probeClient redeems a code that cannot exist. A provider that knows us says invalid_grant; one that
// says invalid_client has another secret on file, which people would otherwise find out one by one.
func (p *provider) probeClient(ctx context.Context, m *metadata, c *checks) error {
	a := upstream.Attempt{Verifier: strings.Repeat("v", 43)}
	opts, err := p.exchangeOptions(m, a)
	if err != nil {
		return c.fail("client authentication", ErrClientAuth.With(err), "", "")
	}
	_, err = rp.CodeExchange[*lib.IDTokenClaims](ctx, "probe", p.party(m), opts...)
	if err == nil {
		return c.fail("token endpoint", ErrTokenEndpoint.Because("it took a code that it never gave"), "a token", "a refusal")
	}
	answer := &checks{}
	if err = p.exchangeFailed(ctx, err, answer); isRefusedGrant(err) {
		c.note("client accepted", true, "", "")
		return nil
	}
	c.list = append(c.list, answer.list...)
	return err
}

// isRefusedGrant: the provider read our request and refused only the code.
func isRefusedGrant(err error) bool {
	return errors.Is(err, ErrTokenEndpoint) && errors.Is(err, errGrant)
}
