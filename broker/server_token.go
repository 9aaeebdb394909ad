package broker

// This file is the adapter to the OpenID library's op.Server, which parses and answers the token
// endpoint. No type of the library leaves it.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
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
		b.offerNonce(w, r)
		if err := b.checkTokenRequest(r); err != nil {
			b.answered(r, refusalOf(err))
			return err
		}
		out := &challenged{ResponseWriter: w}
		inner.ServeHTTP(out, r.WithContext(b.from(r)))
		b.answered(r, out.code())
		return nil
	}
}

// grantTypes are those of the token endpoint. Which of them an app may use is in its settings.
var grantTypes = []Grant{GrantCode, GrantRefresh, GrantClient, GrantExchange, GrantDevice}

// GrantTypes lists them.
func GrantTypes() []Grant { return slices.Clone(grantTypes) }

// checkTokenRequest refuses secrets and codes in the query, parameters that come twice, and grants that
// do not exist here.
func (b *Broker) checkTokenRequest(r *http.Request) error {
	form, err := body(r)
	if errors.Is(err, errNotAForm) && (len(r.PostForm["resource"]) > 1 || len(r.PostForm["audience"]) > 1) {
		return errTarget // a token is for one (RFC 8707 section 2)
	}
	if err != nil {
		return err
	}
	switch grant := form.Get("grant_type"); {
	case grant == "":
		return &oauthError{"invalid_request", "grant_type is missing", http.StatusBadRequest}
	case !slices.Contains(grantTypes, Grant(grant)):
		return differs(&oauthError{"unsupported_grant_type", "this grant_type does not exist here", http.StatusBadRequest}, oneOf("there", grantNames(grantTypes), grant))
	}
	if _, err := credentialsOf(r, form); err != nil {
		return err // the library takes a secret from the body whatever the header says, and the other way round
	}
	r.Form = form // the library reads Form: give it the body alone
	return nil
}

// answered tells whoever watches how a request for tokens came out.
func (b *Broker) answered(r *http.Request, code string) {
	if b.Watch != nil {
		b.Watch(r.PostForm.Get("grant_type"), code)
	}
}

// refusalOf is the error code of what is refused before the library sees it.
func refusalOf(err error) string {
	if e, ok := errors.AsType[*oauthError](err); ok {
		return e.code
	}
	return "invalid_request"
}

// challenged adds what RFC 6749 section 5.2 wants with a 401 and the library leaves out, and sees how the
// library answers.
type challenged struct {
	http.ResponseWriter
	refusal []byte // the body of an error
	refused bool
}

// code is the error code that was answered; "" when it was tokens.
func (c *challenged) code() string {
	var e struct {
		Error string `json:"error"`
	}
	if !c.refused {
		return ""
	}
	if json.Unmarshal(c.refusal, &e) != nil || e.Error == "" {
		return "server_error"
	}
	return e.Error
}

func (c *challenged) Write(body []byte) (int, error) {
	if c.refused {
		c.refusal = append(c.refusal, body...)
	}
	return c.ResponseWriter.Write(body)
}

func (c *challenged) WriteHeader(status int) {
	c.refused = status >= http.StatusBadRequest
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	}
	c.Header().Set("Pragma", "no-cache")
	c.ResponseWriter.WriteHeader(status)
}

// VerifyClient authenticates the app by the method that is registered for it.
func (s *server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	shown := (&http.Request{Method: r.Method, URL: r.URL, Header: r.Header}).WithContext(ctx)
	app, p, err := s.b.proved(shown, r.Form, "/token")
	if err == nil {
		err = sentBy(app, app.mayAskToken(Grant(r.Form.Get("grant_type")), p))
	}
	if err != nil {
		return nil, s.b.asLibrary(ctx, err)
	}
	return client{app, p.jkt}, nil
}

// mayAskToken holds an app to what is registered for it before anything is spent: its grant types, and
// proofs where its tokens are bound to a key.
func (a App) mayAskToken(grant Grant, p proof) error {
	switch {
	case !a.may(grant):
		return differs(&oauthError{"unauthorized_client", "this app may not use this grant_type", http.StatusBadRequest}, a.otherGrant(grant))
	case p.jkt == "" && a.binds():
		return differs(badProof("this app's tokens are bound to a key: a DPoP proof is needed"), "registered is dpop_bound_access_tokens, sent was no DPoP header")
	}
	return nil
}

// CodeExchange redeems a code.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	app := r.Client.(client)
	challenge := ""
	if v := r.Data.CodeVerifier; v != "" {
		sum := sha256.Sum256([]byte(v))
		challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	t, err := s.b.redeem(ctx, app.App, redemption{
		code: r.Data.Code, redirect: r.Data.RedirectURI, challenge: challenge, resource: r.Form.Get("resource"), jkt: app.jkt,
	})
	if err != nil {
		return nil, s.b.asLibrary(ctx, sentBy(app.App, err))
	}
	return op.NewResponse(t), nil
}

// RefreshToken renews an app's tokens.
func (s *server) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	app := r.Client.(client)
	t, err := s.b.refresh(ctx, app.App, refreshing{
		token: r.Data.RefreshToken, scope: r.Form.Get("scope"), resource: r.Form.Get("resource"), jkt: app.jkt,
	})
	if err != nil {
		return nil, s.b.asLibrary(ctx, sentBy(app.App, err))
	}
	return op.NewResponse(t), nil
}

// ClientCredentialsExchange gives an app a token for itself.
func (s *server) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	app := r.Client.(client)
	t, err := s.b.clientCredentials(ctx, app.App, acting{
		organization: r.Form.Get("organization"), scope: r.Form.Get("scope"), resource: r.Form.Get("resource"), jkt: app.jkt,
	})
	if err != nil {
		return nil, s.b.asLibrary(ctx, sentBy(app.App, err))
	}
	return op.NewResponse(t), nil
}

// TokenExchange gives an app a token in the place of another.
func (s *server) TokenExchange(ctx context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	app := r.Client.(client)
	t, err := s.b.exchange(ctx, app.App, exchanging{
		jkt:     app.jkt,
		subject: r.Form.Get("subject_token"), subjectType: r.Form.Get("subject_token_type"),
		actor: r.Form.Get("actor_token"), actorType: r.Form.Get("actor_token_type"), requested: r.Form.Get("requested_token_type"),
		audience: r.Form.Get("audience"), resource: r.Form.Get("resource"), scope: r.Form.Get("scope"),
	})
	if err != nil {
		return nil, s.b.asLibrary(ctx, sentBy(app.App, err))
	}
	return op.NewResponse(t), nil
}

// DeviceToken gives an approved device its tokens.
func (s *server) DeviceToken(ctx context.Context, r *op.ClientRequest[oidc.DeviceAccessTokenRequest]) (*op.Response, error) {
	app := r.Client.(client)
	t, err := s.b.redeemDevice(ctx, app.App, redemption{code: r.Data.DeviceCode, resource: r.Form.Get("resource"), jkt: app.jkt})
	if err != nil {
		return nil, s.b.asLibrary(ctx, sentBy(app.App, err))
	}
	return op.NewResponse(t), nil
}

// redemption is what an app shows to redeem a code.
type redemption struct {
	code, redirect string
	challenge      string // S256 of the code_verifier; "" without one
	resource       string
	jkt            string // the DPoP key that the request was proved with; "" is none
}

// redeem turns a code into tokens, once.
func (b *Broker) redeem(ctx context.Context, app App, in redemption) (tokens, error) {
	bound := bind(in.code, app.ClientID, in.redirect, in.challenge)
	raw, err := b.Brief.Take(ctx, codeKey(bound))
	if errors.Is(err, brief.ErrGone) {
		return tokens{}, b.unredeemed(app, in, b.replayed(ctx, in.code, bound))
	}
	if err != nil {
		return tokens{}, err
	}
	var g codeGrant
	if err := json.Unmarshal(raw, &g); err != nil {
		return tokens{}, err
	}
	if b.Now().Sub(g.Issued) > codeLife || g.App != app.ID {
		return tokens{}, b.unredeemed(app, in, errInvalidGrant)
	}
	if g.JKT != "" && g.JKT != in.jkt {
		return tokens{}, b.unredeemed(app, in, differs(errInvalidGrant, otherKey("the code", in.jkt)))
	}
	aud, err := b.audience(app, in.resource, g.Resources)
	if err != nil {
		return tokens{}, b.unredeemed(app, in, err)
	}
	var out tokens
	for range 3 {
		if out, err = b.grant(ctx, app, g, in, aud); !errors.Is(err, ErrMoved) {
			break
		}
	}
	if err != nil {
		err = b.unredeemed(app, in, err)
	}
	return out, err
}

// grant asks the door again and makes the grant with its tokens, on condition that nothing moved in
// between.
func (b *Broker) grant(ctx context.Context, app App, g codeGrant, in redemption, aud string) (tokens, error) {
	session, err := b.Sessions.Session(ctx, g.Home, g.Session)
	if errors.Is(err, ErrSessionNotFound) || err == nil && !session.Ended.IsZero() {
		return tokens{}, differs(errInvalidGrant, "the session of the sign-in has ended")
	}
	if err != nil {
		return tokens{}, err
	}
	held, now := session.held(), b.Now()
	a, err := b.Admit(ctx, admitRequest{Person: g.Person, Realm: g.Realm, Org: g.Org, App: g.App, Session: held, Grant: g.Issued, Owned: true})
	if err != nil {
		return tokens{}, notAdmitted(err, errInvalidGrant)
	}
	if g.Kind == ByDevice && !policy.DeviceGrant.In(a.policy) {
		return tokens{}, errDeviceDenied
	}
	t := TokenGrant{
		ID: directory.NewGrantID(now), Kind: cmp.Or(g.Kind, ByCode), Org: g.Org, Realm: g.Realm, App: g.App, Person: g.Person, Session: g.Session, SID: g.SID,
		CodeHash: hashOf(in.code), BoundHash: g.Bound, Scope: g.Scope, Resources: g.Resources, Claims: g.Claims, AuthTime: a.authTime,
		Proofs: a.proofs, Opened: openedIn(held, g.Org), CreatedAt: now, ExpiresAt: now.Add(policy.AccessLifetime.In(a.policy)),
	}
	if !app.confidential() {
		t.JKT = in.jkt // RFC 9449 section 5: the key takes the place of the client's own proof
	}
	refresh := ""
	if app.may(GrantRefresh) && slices.Contains(g.Scope, scopeOffline) {
		refresh = openFamily(&t, a.policy)
	}
	m, err := b.mint(ctx, a, minting{grant: t.ID, scope: g.Scope, aud: aud, jkt: in.jkt, nonce: g.Nonce, sid: g.SID, claims: asked(g.Claims)})
	if err != nil {
		return tokens{}, err
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.standsWith(ctx, a, session); err != nil {
			return err
		}
		return b.opens(ctx, t, m)
	})
	if errors.Is(err, ErrCodeUsed) {
		err = b.replayed(ctx, in.code, g.Bound) // the short-lived store forgot that it gave this one away
	}
	if err != nil {
		return tokens{}, err
	}
	m.Refresh = refresh
	return m.tokens, nil
}

// opens writes a new grant, what its first token needs, and the record of it.
func (b *Broker) opens(ctx context.Context, g TokenGrant, m minted) error {
	if err := b.Tokens.CreateToken(ctx, g.Org, g); err != nil {
		return err
	}
	if err := b.keepAccess(ctx, g.Org, m); err != nil {
		return err
	}
	detail := map[string]string{"grant": string(g.ID), "session": string(g.Session)}
	if g.Offline {
		detail["offline"] = "true"
	}
	if g.Parent != "" {
		detail["exchanged"] = string(g.Parent)
	}
	return b.record(ctx, g.Org, g.Person, audit.TokenIssued, audit.Ref{Kind: "app", ID: string(g.App)}, detail)
}

// openedIn is when a session's sign-in to an organization was.
func openedIn(h *flows.Held, org directory.OrgID) time.Time {
	for _, m := range h.Marks {
		if m.Org == org {
			return m.Since
		}
	}
	return h.Since
}

// notAdmitted: whoever may not in any more has a grant that is no longer valid; a part of ours that
// fails is not the grant's fault.
func notAdmitted(err error, refused *oauthError) error {
	switch fault.Of(err).Kind {
	case fault.Denied, fault.NotFound, fault.Upstream, fault.Expired:
		return differs(refused, "the person or the app may not any more: "+fault.Of(err).Code)
	}
	return err
}

// replayed revokes the grant of a code that is shown again with everything that belongs to it (RFC 6749
// section 4.1.2): either the app repeats itself or somebody has all its secrets.
func (b *Broker) replayed(ctx context.Context, code string, bound [sha256.Size]byte) error {
	t, err := b.Tokens.TokenByCode(ctx, hashOf(code))
	if errors.Is(err, ErrGrantNotFound) || err == nil && (t.BoundHash != bound || !t.RevokedAt.IsZero()) {
		return errInvalidGrant
	}
	if err != nil {
		return err
	}
	if err := b.revokeReplayed(ctx, t, b.Now(), "code replayed"); err != nil {
		return err
	}
	return differs(errInvalidGrant, "the code was redeemed before: what it gave is revoked now")
}

// asLibrary says an error in the library's words, and never with its cause: the library writes that
// into error_description (seen).
func (b *Broker) asLibrary(ctx context.Context, err error) error {
	e := b.asOAuth(ctx, err)
	told := b.told(ctx, err, e.code, e.description)
	known := map[string]*oidc.Error{
		"invalid_client": oidc.ErrInvalidClient(), "invalid_grant": oidc.ErrInvalidGrant(), "invalid_request": oidc.ErrInvalidRequest(),
		"authorization_pending": oidc.ErrAuthorizationPending(), "slow_down": oidc.ErrSlowDown(), "access_denied": oidc.ErrAccessDenied(),
		"expired_token": oidc.ErrExpiredDeviceCode(),
		"invalid_scope": oidc.ErrInvalidScope(), "unauthorized_client": oidc.ErrUnauthorizedClient(), targetError: {ErrorType: oidc.InvalidTarget},
		"invalid_dpop_proof": {ErrorType: "invalid_dpop_proof"}, "use_dpop_nonce": {ErrorType: "use_dpop_nonce"},
	}
	out, ok := known[e.code]
	if !ok {
		out = oidc.ErrServerError()
	}
	return op.NewStatusError(out.WithDescription("%s", told), e.status)
}

// asRefusal is asOAuth for handlers, whose errors keep how they came about until they are written.
func (b *Broker) asRefusal(ctx context.Context, err error) error {
	return asDiffering(err, b.asOAuth(ctx, err))
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
type client struct {
	App
	jkt string // the key of the request's DPoP proof; "" is none
}

func (c client) GetID() string                       { return c.ClientID }
func (c client) RedirectURIs() []string              { return c.App.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return c.PostLogoutURIs }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethod(c.Method) }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType {
	out := make([]oidc.GrantType, 0, len(grantTypes))
	for _, g := range grantTypes {
		if c.may(g) {
			out = append(out, oidc.GrantType(g))
		}
	}
	return out
}
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
