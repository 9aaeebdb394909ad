package broker

// This file is the adapter to the OpenID library's op.Server, which parses and answers the token
// endpoint. No type of the library leaves it.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/policy"
)

// oauthError is an error answer of an endpoint for programs (RFC 6749 section 5.2).
type oauthError struct {
	code, description string
	status            int
}

func (e *oauthError) Error() string { return e.code + ": " + e.description }

var (
	errInvalidClient = &oauthError{"invalid_client", "the client could not be authenticated", http.StatusUnauthorized}
	errInvalidGrant  = &oauthError{"invalid_grant", "the code is unknown, expired, used, or was issued for another client, redirect_uri or code_verifier", http.StatusBadRequest}
)

// server answers op.Server's calls from the broker. Everything it does not implement is refused by the
// embedded type.
type server struct {
	op.UnimplementedServer
	b *Broker
}

// tokenServer is the token endpoint: what the library is too lenient about is refused before it.
func (b *Broker) tokenServer() web.Handler {
	inner := op.RegisterServer(&server{b: b}, op.Endpoints{Token: op.NewEndpoint("token")}, op.WithServerCORSOptions(nil))
	return func(w http.ResponseWriter, r *http.Request) error {
		allowOrigin(w)
		if err := b.checkTokenRequest(r); err != nil {
			return err
		}
		inner.ServeHTTP(challenged{w}, r)
		return nil
	}
}

// checkTokenRequest refuses secrets and codes in the query, parameters that come twice, and grants that
// do not exist here.
func (b *Broker) checkTokenRequest(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return &oauthError{"invalid_request", "parameters belong in the body", http.StatusBadRequest}
	}
	form, err := web.Form(r)
	if err != nil {
		if errors.Is(err, web.ErrTooLarge) {
			return err
		}
		return &oauthError{"invalid_request", "the body is not a form with each parameter once", http.StatusBadRequest}
	}
	switch grant := form.Get("grant_type"); {
	case grant == "":
		return &oauthError{"invalid_request", "grant_type is missing", http.StatusBadRequest}
	case grant != string(oidc.GrantTypeCode):
		return &oauthError{"unsupported_grant_type", "the only grant_type is authorization_code", http.StatusBadRequest}
	}
	if _, err := credentialsOf(r, form); err != nil {
		return err // the library takes a secret from the body whatever the header says, and the other way round
	}
	r.Form = form // the library reads Form: give it the body alone
	return nil
}

// challenged adds what RFC 6749 section 5.2 wants with a 401 and the library leaves out.
type challenged struct{ http.ResponseWriter }

func (c challenged) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	}
	c.Header().Set("Pragma", "no-cache")
	c.ResponseWriter.WriteHeader(status)
}

// VerifyClient authenticates the app by the method that is registered for it.
func (s *server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	app, err := s.b.authenticate((&http.Request{URL: r.URL, Header: r.Header}).WithContext(ctx), r.Form)
	if err != nil {
		return nil, s.b.asLibrary(ctx, err)
	}
	return client{app}, nil
}

// CodeExchange redeems a code.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	app := r.Client.(client).App
	challenge := ""
	if v := r.Data.CodeVerifier; v != "" {
		sum := sha256.Sum256([]byte(v))
		challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	t, err := s.b.redeem(ctx, app, r.Data.Code, r.Data.RedirectURI, challenge)
	if err != nil {
		return nil, s.b.asLibrary(ctx, err)
	}
	return op.NewResponse(t), nil
}

// redeem turns a code into tokens, once.
func (b *Broker) redeem(ctx context.Context, app App, code, redirect, challenge string) (tokens, error) {
	bound := bind(code, app.ClientID, redirect, challenge)
	raw, err := b.Brief.Take(ctx, codeKey(bound))
	if errors.Is(err, brief.ErrGone) {
		return tokens{}, b.replayed(ctx, code, bound)
	}
	if err != nil {
		return tokens{}, err
	}
	var g codeGrant
	if err := json.Unmarshal(raw, &g); err != nil {
		return tokens{}, err
	}
	now := b.Now()
	if now.Sub(g.Issued) > codeLife || g.App != app.ID {
		return tokens{}, errInvalidGrant
	}
	var admitted Admission
	var grant TokenGrant
	for range 3 {
		if admitted, grant, err = b.grant(ctx, g, code, now); !errors.Is(err, ErrMoved) {
			break
		}
	}
	if err != nil {
		return tokens{}, err
	}
	return b.mint(ctx, admitted, minting{grant: grant.ID, scope: g.Scope, nonce: g.Nonce, sid: g.SID, claims: asked(g.Claims)})
}

// grant asks the door again and makes the grant, on condition that nothing moved in between.
func (b *Broker) grant(ctx context.Context, g codeGrant, code string, now time.Time) (Admission, TokenGrant, error) {
	session, err := b.Sessions.Session(ctx, g.Home, g.Session)
	if errors.Is(err, ErrSessionNotFound) || err == nil && !session.Ended.IsZero() {
		return Admission{}, TokenGrant{}, errInvalidGrant
	}
	if err != nil {
		return Admission{}, TokenGrant{}, err
	}
	a, err := b.Admit(ctx, admitRequest{Person: g.Person, Realm: g.Realm, Org: g.Org, App: g.App, Session: session.held(), Grant: g.Issued})
	if err != nil {
		return Admission{}, TokenGrant{}, notAdmitted(err)
	}
	t := TokenGrant{
		ID: directory.NewGrantID(now), Org: g.Org, Realm: g.Realm, App: g.App, Person: g.Person, Session: g.Session,
		CodeHash: hashOf(code), BoundHash: g.Bound, Scope: g.Scope, AuthTime: a.authTime, CreatedAt: now,
		ExpiresAt: now.Add(policy.AccessLifetime.In(a.policy)),
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.stands(ctx, a); err != nil {
			return err
		}
		if now, err := b.Sessions.Session(ctx, g.Home, g.Session); err != nil {
			return err
		} else if now.Version != session.Version {
			return ErrMoved.Because("session")
		}
		if err := b.Tokens.CreateToken(ctx, g.Org, t); err != nil {
			return err
		}
		return b.record(ctx, g.Org, g.Person, audit.TokenIssued, audit.Ref{Kind: "app", ID: string(g.App)},
			map[string]string{"grant": string(t.ID), "session": string(g.Session)})
	})
	if errors.Is(err, ErrCodeUsed) {
		err = b.replayed(ctx, code, g.Bound) // the short-lived store forgot that it gave this one away
	}
	return a, t, err
}

// notAdmitted: whoever may not in any more has a grant that is no longer valid; a part of ours that
// fails is not the grant's fault.
func notAdmitted(err error) error {
	switch fault.Of(err).Kind {
	case fault.Denied, fault.NotFound, fault.Upstream, fault.Expired:
		return errInvalidGrant
	}
	return err
}

// replayed revokes the grant of a code that is shown again with everything that belongs to it (RFC 6749
// section 4.1.2): either the app repeats itself or somebody has all its secrets.
func (b *Broker) replayed(ctx context.Context, code string, bound [sha256.Size]byte) error {
	t, err := b.Tokens.TokenByCode(ctx, hashOf(code))
	if errors.Is(err, ErrGrantNotFound) || err == nil && t.BoundHash != bound {
		return errInvalidGrant
	}
	if err != nil {
		return err
	}
	if !t.RevokedAt.IsZero() {
		return errInvalidGrant // recorded once: repeating it fills no record (S43)
	}
	now := b.Now()
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Tokens.RevokeToken(ctx, t.Org, t.ID, now, "code replayed"); err != nil {
			return err
		}
		return b.record(ctx, t.Org, t.Person, audit.TokenReplayed, audit.Ref{Kind: "app", ID: string(t.App)}, map[string]string{"grant": string(t.ID)})
	})
	if err != nil {
		return err
	}
	return errInvalidGrant
}

// asLibrary says an error in the library's words, and never with its cause: the library writes that
// into error_description (seen).
func (b *Broker) asLibrary(ctx context.Context, err error) error {
	e := b.asOAuth(ctx, err)
	known := map[string]*oidc.Error{
		"invalid_client": oidc.ErrInvalidClient(), "invalid_grant": oidc.ErrInvalidGrant(), "invalid_request": oidc.ErrInvalidRequest(),
	}
	out, ok := known[e.code]
	if !ok {
		out = oidc.ErrServerError()
	}
	return op.NewStatusError(out.WithDescription("%s", e.description), e.status)
}

// asOAuth gives the error that a program may read.
func (b *Broker) asOAuth(ctx context.Context, err error) *oauthError {
	if e, ok := errors.AsType[*oauthError](err); ok {
		return e
	}
	f := fault.Of(err)
	switch {
	case unavailable(err) || f.Kind == fault.Unavailable:
		return &oauthError{"server_error", "a part of this service cannot be reached: try again", http.StatusServiceUnavailable}
	case f.Kind == fault.Denied:
		return errInvalidGrant
	}
	b.Log.ErrorContext(ctx, "token request failed", "code", f.Code, "error", err)
	return &oauthError{"server_error", "something broke on our side", http.StatusInternalServerError}
}

// client shows an app as the library wants to see one. Only what its token handler asks for matters.
type client struct{ App }

func (c client) GetID() string                       { return c.ClientID }
func (c client) RedirectURIs() []string              { return c.App.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return c.PostLogoutURIs }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethod(c.Method) }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(string) string              { return "" }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration      { return 0 }
func (c client) DevMode() bool                       { return false }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c client) IsScopeAllowed(string) bool           { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c client) ClockSkew() time.Duration             { return 0 }
