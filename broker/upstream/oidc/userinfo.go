package oidc

import (
	"context"
	"io"
	"net/http"
	"slices"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// signedOnly are claims that decide something. They count only in the id_token, which is signed.
var signedOnly = []string{
	"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "auth_time", "nonce", "acr", "amr", "at_hash", "c_hash",
	"sid", "jti", "tid", "oid", "hd",
}

// addUserInfo merges the claims of the user information endpoint (Core 5.3) where the connection asks
// for them. What the id_token says stays.
func (p *provider) addUserInfo(ctx context.Context, m *metadata, t tokens, cl claims, c *checks) error {
	if !p.cfg.UserInfo {
		return nil
	}
	if m.userinfo == "" {
		return c.fail("userinfo", ErrUserInfo.Because("there is no endpoint"), "no endpoint", "an endpoint")
	}
	more, err := p.fetchUserInfo(ctx, m.userinfo, t.access)
	if err != nil {
		return c.fail("userinfo", err, "", "claims")
	}
	// Core 5.3.2: without this a stolen or swapped access token would put another person's claims here.
	sub, _ := cl.text("sub")
	if other, _ := more.text("sub"); other != sub || sub == "" {
		return c.fail("userinfo sub", ErrUserInfo.Because("sub differs"), "another", "the id_token's")
	}
	c.note("userinfo", true, "", "")
	p.merge(cl, more)
	return nil
}

// merge adds what is not there. email and email_verified travel together: one source's address with the
// other's word for it would vouch for an address nobody vouched for. So does the claim that is the
// subject: it is never taken from an answer that is not signed.
func (p *provider) merge(cl, more claims) {
	if _, has := cl["email"]; !has {
		delete(cl, "email_verified")
	} else if !sameText(cl, more, "email") {
		delete(more, "email_verified")
	}
	for name, v := range more {
		if _, has := cl[name]; !has && name != p.cfg.SubjectClaim && !slices.Contains(signedOnly, name) {
			cl[name] = v
		}
	}
}

func sameText(a, b claims, name string) bool {
	x, ok := a.text(name)
	y, too := b.text(name)
	return ok && too && x == y
}

func (p *provider) fetchUserInfo(ctx context.Context, address, access string) (claims, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, ErrUserInfo.With(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	req.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, unanswered(err, ErrUserInfo)
	}
	if isAway(resp.StatusCode) {
		return nil, upstream.ErrUnreachable.Because(resp.Status)
	}
	if resp.StatusCode != http.StatusOK || contentType(resp.Header) != "application/json" {
		return nil, ErrUserInfo.Because("status or content type")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, upstream.ErrUnreachable.With(err)
	}
	more, err := parseClaims(body)
	if err != nil {
		return nil, ErrUserInfo.With(err)
	}
	return more, nil
}
