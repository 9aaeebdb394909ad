package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/vestibule-id/vestibule/internal/web"
)

var errNotAForm = &oauthError{"invalid_request", "the body is not a form with each parameter once", http.StatusBadRequest}

// introspection is an answer about a token (RFC 7662 section 2.2).
type introspection struct {
	Active bool   `json:"active"`
	Type   string `json:"token_type,omitempty"`
	*accessClaims
}

// introspect tells an app about a token that is for it, or that was issued to it, as things are now. Of
// every other token, good or not, it says that it is not active.
func (b *Broker) introspect(w http.ResponseWriter, r *http.Request) error {
	form, app, err := b.program(r)
	if err != nil {
		return err
	}
	if !app.confidential() {
		return errInvalidClient // RFC 7662 section 2.1: or anybody could try tokens out
	}
	answer, err := b.introspection(r.Context(), app, form.Get("token"))
	if errors.Is(err, errNotGood) {
		answer, err = introspection{}, nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (b *Broker) introspection(ctx context.Context, app App, token string) (introspection, error) {
	if strings.HasPrefix(token, refreshPrefix) {
		return b.introspectRefresh(ctx, app, token)
	}
	c, err := b.readAccess(ctx, token)
	if err != nil {
		return introspection{}, err
	}
	if !b.concerns(app, c) {
		return introspection{}, errNotGood
	}
	if _, err := b.admitted(ctx, c); err != nil {
		return introspection{}, err
	}
	out := introspection{Active: true, Type: "Bearer", accessClaims: &c}
	if c.Confirm != nil {
		out.Type = "DPoP"
	}
	return out, nil
}

// introspectRefresh tells an app about its own refresh token.
func (b *Broker) introspectRefresh(ctx context.Context, app App, token string) (introspection, error) {
	family, secret, ok := splitRefresh(token)
	if !ok {
		return introspection{}, errNotGood
	}
	g, err := b.Families.TokenByFamily(ctx, hashOf(family))
	if errors.Is(err, ErrGrantNotFound) {
		return introspection{}, errNotGood
	}
	if err != nil {
		return introspection{}, err
	}
	if g.App != app.ID || !app.may(GrantRefresh) || !g.RevokedAt.IsZero() || g.Refresh.Hash != hashOf(secret) || !b.Now().Before(g.Refresh.Until) {
		return introspection{}, errNotGood
	}
	a, err := b.admitGrant(ctx, g, g.App)
	if err != nil {
		return introspection{}, notGood(err)
	}
	return introspection{Active: true, accessClaims: &accessClaims{
		Issuer: b.Issuer, Subject: a.subject, Audience: b.Issuer, Expires: g.Refresh.Until.Unix(), Issued: g.CreatedAt.Unix(), ID: string(g.ID),
		Client: app.ClientID, Scope: strings.Join(g.Scope, " "), AuthTime: a.authTime.Unix(), ACR: a.acr, AMR: a.amr, orgClaims: orgClaimsOf(a.org, nil),
	}}, nil
}

// program reads a request about a token, and authenticates the app that makes it.
func (b *Broker) program(r *http.Request) (url.Values, App, error) {
	form, err := body(r)
	if err != nil {
		return nil, App{}, err
	}
	app, err := b.authenticate(r, form)
	if err != nil {
		return nil, App{}, err
	}
	if form.Get("token") == "" {
		return nil, App{}, &oauthError{"invalid_request", "token is missing", http.StatusBadRequest}
	}
	return form, app, nil
}

// body reads the parameters of a program: from the body, each once, and none from the address, where
// secrets are logged.
func body(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" {
		return nil, &oauthError{"invalid_request", "parameters belong in the body", http.StatusBadRequest}
	}
	form, err := web.Form(r)
	if err != nil && !errors.Is(err, web.ErrTooLarge) {
		err = errNotAForm
	}
	return form, err
}
