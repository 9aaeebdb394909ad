package oidc

import (
	"context"
	"errors"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	lib "github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// tokens is what the token endpoint gave.
type tokens struct{ id, access string }

// redeem exchanges the code (Core 3.1.3.1).
func (p *provider) redeem(ctx context.Context, m *metadata, a upstream.Attempt, code string, c *checks) (tokens, error) {
	opts, err := p.exchangeOptions(m, a)
	if err != nil {
		return tokens{}, c.fail("client authentication", ErrClientAuth.With(err), "", "")
	}
	answer, err := rp.CodeExchange[*lib.IDTokenClaims](ctx, code, p.party(m), opts...)
	if err != nil {
		return tokens{}, p.exchangeFailed(ctx, err, c)
	}
	id, _ := answer.Token.Extra("id_token").(string)
	if id == "" {
		return tokens{}, c.fail("token endpoint", ErrTokenEndpoint.Because("no id_token"), "no id_token", "an id_token")
	}
	c.note("token endpoint", true, "", "")
	return tokens{id: id, access: answer.AccessToken}, nil
}

func (p *provider) exchangeOptions(m *metadata, a upstream.Attempt) ([]rp.CodeExchangeOpt, error) {
	var opts []rp.CodeExchangeOpt
	if p.pkce(m) {
		opts = append(opts, rp.WithCodeVerifier(a.Verifier))
	}
	if p.signer == nil {
		return opts, nil
	}
	assertion, err := p.clientAssertion(m.token)
	return append(opts, rp.WithClientAssertionJWT(assertion)), err
}

// exchangeFailed says whose turn it is. The library's error holds the provider's whole answer, so it is
// dropped here and only what was parsed goes on.
func (p *provider) exchangeFailed(ctx context.Context, err error, c *checks) error {
	refused, answered := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ctx.Err() != nil:
		return c.fail("token endpoint", upstream.ErrUnreachable.With(ctx.Err()), heard(ctx.Err()), "")
	case answered && isAway(refused.Response.StatusCode):
		return c.fail("token endpoint", upstream.ErrUnreachable.With(status(refused.Response.StatusCode)), heard(status(refused.Response.StatusCode)), "")
	case answered && refused.Response.StatusCode == http.StatusTooManyRequests:
		return c.fail("token endpoint", upstream.ErrBusy.Because(refused.Response.Status), "too many requests", "")
	case answered:
		return refusedCode(refused, c)
	case isTransport(err):
		err = unanswered(err, ErrTokenEndpoint)
		return c.fail("token endpoint", err, heard(err), "")
	}
	return c.fail("token endpoint", ErrTokenEndpoint.With(errUnreadable), heard(errUnreadable), "an id_token")
}

func refusedCode(r *oauth2.RetrieveError, c *checks) error {
	got := named(r.ErrorCode, r.ErrorDescription)
	if r.ErrorCode == "" {
		got = heard(status(r.Response.StatusCode)) // an error page, not an error of OAuth
	}
	if r.ErrorCode == "invalid_client" || r.ErrorCode == "unauthorized_client" || r.Response.StatusCode == http.StatusUnauthorized {
		return c.fail("client authentication", ErrClientAuth.Because(got), got, "our client id and secret accepted")
	}
	cause := errors.New(got)
	if r.ErrorCode == "invalid_grant" || r.ErrorCode == "invalid_request" {
		cause = errGrant
	}
	return c.fail("token endpoint", ErrTokenEndpoint.With(cause), got, "the code accepted")
}

// errGrant: the client was accepted, the code was not.
var errGrant = errors.New("the code was refused")
