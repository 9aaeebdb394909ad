package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client/rp"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// maxIDToken bounds an id_token; with two hundred groups one has about 12 kB.
const maxIDToken = 256 << 10

// judge checks the tokens (Core 3.1.3.7) and makes the assertion. The order is: signed by the provider,
// meant for us, made for this attempt, in time, of the right tenant, about somebody.
func (p *provider) judge(ctx context.Context, m *metadata, a upstream.Attempt, t tokens, c *checks) (upstream.Assertion, error) {
	payload, alg, err := p.checkSignature(ctx, m, t.id, a.Demands, c)
	if err != nil {
		return upstream.Assertion{}, err
	}
	cl, err := parseClaims(payload)
	if err != nil {
		return upstream.Assertion{}, c.fail("id_token", err, "unreadable", "claims")
	}
	for _, check := range []func() error{
		func() error { return p.checkParties(cl, c) },
		func() error { return checkNonce(cl, a, c) },
		func() error { return p.checkTimes(cl, a, c) },
		func() error { return p.checkAuthTime(cl, a, c) },
		func() error { return p.checkTenancy(cl, c) },
		func() error { return checkAccessToken(cl, t.access, alg, c) },
	} {
		if err := check(); err != nil {
			return upstream.Assertion{}, err
		}
	}
	if err := p.addUserInfo(ctx, m, t, cl, c); err != nil {
		return upstream.Assertion{}, err
	}
	return p.assertion(cl, c)
}

// checkSignature reads the header, finds the key and gives what was signed. Nothing of the payload is
// looked at before. The library is told the algorithms each time: given none it would take three.
func (p *provider) checkSignature(ctx context.Context, m *metadata, token string, d upstream.Demands, c *checks) ([]byte, jose.SignatureAlgorithm, error) {
	if len(token) > maxIDToken || strings.Count(token, ".") != 2 {
		return nil, "", c.fail("id_token", ErrIDToken.Because("not three parts, or too long"), "unreadable", "a signed id_token")
	}
	allowed := d.Allows(p.algorithms(ctx))
	if len(allowed) == 0 {
		return nil, "", c.fail("algorithm", ErrAlg.Because("none is allowed"), "", "none is allowed by policy")
	}
	jws, err := jose.ParseSignedCompact(token, joseNames(allowed))
	if err != nil {
		return nil, "", refusedHeader(err, allowed, c)
	}
	alg := jws.Signatures[0].Protected.Algorithm
	c.note("algorithm", true, alg, "")
	payload, err := p.verify(ctx, m.jwks, jws)
	if err != nil {
		return nil, "", c.fail("signature", err, "", "a key that the provider publishes")
	}
	c.note("signature", true, jws.Signatures[0].Protected.KeyID, "")
	return payload, jose.SignatureAlgorithm(alg), nil
}

func joseNames(algs []string) []jose.SignatureAlgorithm {
	out := make([]jose.SignatureAlgorithm, len(algs))
	for i, a := range algs {
		out[i] = jose.SignatureAlgorithm(a)
	}
	return out
}

func refusedHeader(err error, allowed []string, c *checks) error {
	if bad, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		got := "another"
		if a := string(bad.Got); slices.Contains(knownNames, a) {
			got = a
		}
		return c.fail("algorithm", ErrAlg.Because(got), got, strings.Join(allowed, " "))
	}
	return c.fail("id_token", ErrIDToken.Because("not a JWS"), "unreadable", "a signed id_token")
}

// knownNames may be shown as they came.
var knownNames = append([]string{"none", "HS256", "HS384", "HS512"}, signatures...)

// checkParties: who made it, for whom (Core 3.1.3.7 steps 2 to 5). More than one audience is taken when
// azp says that the token was given to us; some providers always add their own.
func (p *provider) checkParties(cl claims, c *checks) error {
	iss, _ := cl.text("iss")
	if err := c.want("issuer", iss == p.conn.Issuer, ErrIssuer, iss, p.conn.Issuer); err != nil {
		return err
	}
	aud, azp := cl.list("aud"), cl["azp"]
	ok := slices.Contains(aud, p.cfg.ClientID) && (azp == nil && len(aud) == 1 || azp == p.cfg.ClientID)
	got := strings.Join(aud, " ")
	if s, _ := cl.text("azp"); s != "" && s != p.cfg.ClientID {
		got += " for " + s
	}
	return c.want("audience", ok, ErrAudience, got, p.cfg.ClientID)
}

// checkNonce: the token was made for this attempt. Not shown: it is the login's secret.
func checkNonce(cl claims, a upstream.Attempt, c *checks) error {
	nonce, _ := cl.text("nonce")
	same := a.Nonce != "" && subtle.ConstantTimeCompare([]byte(nonce), []byte(a.Nonce)) == 1
	return c.want("nonce", same, ErrNonce, "", "")
}

// checkTimes: exp, iat and nbf by our clock, each with the connection's skew to both sides (Core 3.1.3.7
// steps 9 and 10). A token older than the departure was not made for it, or its maker's clock is wrong.
func (p *provider) checkTimes(cl claims, a upstream.Attempt, c *checks) error {
	now := p.env.Now()
	exp, iat, nbf := cl.time("exp"), cl.time("iat"), cl.time("nbf")
	late, early := now.Add(-p.skew), now.Add(p.skew)
	for _, t := range []struct {
		name     string
		ok       bool
		fault    *fault.Error
		got      time.Time
		expected string
	}{
		{"exp", exp.After(late), ErrExpired, exp, "after " + stamp(late)},
		{"iat", !iat.After(early), ErrNotYet, iat, "not after " + stamp(early)},
		{"iat", !iat.Before(a.At.Add(-p.skew)), ErrExpired, iat, "not before " + stamp(a.At.Add(-p.skew))},
		{"nbf", nbf.IsZero() || !nbf.After(early), ErrNotYet, nbf, "not after " + stamp(early)},
	} {
		if !t.ok {
			return c.fail(t.name, t.fault.Because(t.name), stamp(t.got), t.expected)
		}
	}
	c.note("time", true, stamp(iat), "")
	return nil
}

// checkAuthTime: when a fresh proof was asked for, the provider must say when it was (Core 2, auth_time)
// and it must be fresh. Freshness is counted from the departure: time spent at the provider after the
// proof does not make it old.
func (p *provider) checkAuthTime(cl claims, a upstream.Attempt, c *checks) error {
	at := cl.time("auth_time")
	if at.After(p.env.Now().Add(p.skew)) {
		return c.fail("auth_time", ErrNotYet.Because("auth_time"), stamp(at), "not in the future")
	}
	oldest, asked := oldestProof(a)
	if !asked {
		return nil
	}
	if at.IsZero() && p.cfg.NoAuthTime {
		c.note("auth_time", true, "not said", "")
		return nil
	}
	oldest = oldest.Add(-p.skew)
	return c.want("auth_time", !at.Before(oldest), ErrAuthTime, stamp(at), "not before "+stamp(oldest))
}

func oldestProof(a upstream.Attempt) (time.Time, bool) {
	switch {
	case a.Force:
		return a.At, true
	case a.MaxAge != nil:
		return a.At.Add(-*a.MaxAge), true
	}
	return time.Time{}, false
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "not said"
	}
	return t.UTC().Format(time.RFC3339)
}

// checkTenancy: where an issuer serves many organizations, the claim that its owner sets says which (S55).
// It is read from the signed token alone.
func (p *provider) checkTenancy(cl claims, c *checks) error {
	tid, _ := cl.text("tid")
	if p.cfg.Tenant != "" {
		if err := c.want("tenant", strings.ToLower(tid) == p.cfg.Tenant, ErrTenant, tid, p.cfg.Tenant); err != nil {
			return err
		}
	}
	hd, _ := cl.text("hd")
	if p.cfg.HostedDomain != "" {
		return c.want("hosted domain", strings.ToLower(hd) == p.cfg.HostedDomain, ErrHostedDomain, hd, p.cfg.HostedDomain)
	}
	return nil
}

// checkAccessToken: at_hash, when there is one, ties the access token to the id_token (Core 3.1.3.8).
func checkAccessToken(cl claims, access string, alg jose.SignatureAlgorithm, c *checks) error {
	if cl["at_hash"] == nil {
		return nil
	}
	hash, _ := cl.text("at_hash")
	ok := hash != "" && rp.VerifyAccessToken(access, hash, alg) == nil
	return c.want("at_hash", ok, ErrAccessToken, "", "")
}
