package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
)

var errInvalidToken = &oauthError{"invalid_token", "the access token is unknown, expired or revoked", http.StatusUnauthorized}

// userinfoClaims is the answer of userinfo (OpenID Connect Core section 5.3.2).
type userinfoClaims struct {
	Subject string `json:"sub"`
	orgClaims
	personClaims
}

// userinfo tells the bearer of an access token about its person, as things are now.
func (b *Broker) userinfo(w http.ResponseWriter, r *http.Request) error {
	allowOrigin(w)
	token, err := bearer(r)
	if err != nil {
		return err
	}
	a, scope, err := b.bearerAdmission(r, token)
	if err != nil {
		return err
	}
	person, err := b.personClaims(r.Context(), a, atUserinfo, scope, claimsRequest{})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, userinfoClaims{Subject: a.subject, orgClaims: orgClaimsOf(a, scope), personClaims: person})
	return nil
}

// bearer reads the token from the header or the body, never from the query, and from one place only
// (RFC 6750 section 2).
func bearer(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	inHeader := strings.EqualFold(scheme, "Bearer")
	inBody := ""
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		form, err := web.Form(r)
		if err != nil {
			return "", &oauthError{"invalid_request", "the body is not a form with each parameter once", http.StatusBadRequest}
		}
		inBody = form.Get("access_token")
	}
	switch {
	case len(r.Header.Values("Authorization")) > 1, inHeader && (inBody != "" || r.URL.Query().Has("access_token")):
		return "", &oauthError{"invalid_request", "the token comes twice", http.StatusBadRequest}
	case inHeader:
		return strings.TrimSpace(token), nil
	case inBody != "":
		return inBody, nil
	}
	return "", &oauthError{"", "", http.StatusUnauthorized}
}

// bearerAdmission checks an access token of ours and asks the door again, so that whoever was
// suspended, removed or signed out since is no longer let through.
func (b *Broker) bearerAdmission(r *http.Request, token string) (Admission, []string, error) {
	ctx := r.Context()
	body, err := b.Keys.verify(token, "at+jwt")
	if err != nil {
		return Admission{}, nil, errInvalidToken
	}
	var c accessClaims
	if err := json.Unmarshal(body, &c); err != nil || c.Issuer != b.Issuer || c.Audience != b.Issuer || b.Now().Unix() >= c.Expires {
		return Admission{}, nil, errInvalidToken
	}
	id, _, _ := strings.Cut(c.ID, ".")
	grant, err := b.Tokens.Token(ctx, c.OrgID, directory.GrantID(id))
	if errors.Is(err, ErrGrantNotFound) || err == nil && !grant.RevokedAt.IsZero() {
		return Admission{}, nil, errInvalidToken
	}
	if err != nil {
		return Admission{}, nil, err
	}
	person, err := b.Directory.PersonInRealm(ctx, grant.Realm, grant.Person)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return Admission{}, nil, errInvalidToken
	}
	if err != nil {
		return Admission{}, nil, err
	}
	session, err := b.Sessions.Session(ctx, person.Home, grant.Session)
	if errors.Is(err, ErrSessionNotFound) || err == nil && !session.Ended.IsZero() {
		return Admission{}, nil, errInvalidToken
	}
	if err != nil {
		return Admission{}, nil, err
	}
	a, err := b.Admit(ctx, admitRequest{Person: grant.Person, Realm: grant.Realm, Org: grant.Org, App: grant.App, Session: session.held(), Grant: grant.CreatedAt})
	if k := fault.Of(err); err != nil && k.Kind != fault.Internal && k.Kind != fault.Unavailable {
		return Admission{}, nil, errInvalidToken
	}
	if err != nil {
		return Admission{}, nil, err
	}
	if c.Subject != a.subject { // the grant says who it is; its token must say the same
		return Admission{}, nil, errInvalidToken
	}
	if !slices.Contains(grant.Scope, scopeOpenID) {
		return Admission{}, nil, &oauthError{"insufficient_scope", "the scope openid is needed", http.StatusForbidden}
	}
	return a, grant.Scope, nil
}
