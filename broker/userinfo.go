package broker

import (
	"errors"
	"net/http"
	"slices"
	"strings"

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
	b.offerNonce(w, r)
	token, bound, err := shownToken(r)
	if err != nil {
		return err
	}
	t, err := b.ownToken(r, token, bound)
	if err != nil {
		return err
	}
	a, scope := t.admission, strings.Fields(t.claims.Scope)
	person, err := b.personClaims(r.Context(), a, atUserinfo, scope, asked(t.grant.Claims))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, userinfoClaims{Subject: a.subject, orgClaims: orgClaimsOf(a.org, scope), personClaims: person})
	return nil
}

// shownToken reads the access token from the header or the body, never from the query, and from one place
// only (RFC 6750 section 2). bound says that it was shown as one that is bound to a key (RFC 9449 section 7.1).
func shownToken(r *http.Request) (token string, bound bool, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bound = strings.EqualFold(scheme, "DPoP")
	inHeader := bound || strings.EqualFold(scheme, "Bearer")
	inBody := ""
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		form, err := web.Form(r)
		if err != nil {
			return "", false, &oauthError{"invalid_request", "the body is not a form with each parameter once", http.StatusBadRequest}
		}
		inBody = form.Get("access_token")
	}
	switch {
	case len(r.Header.Values("Authorization")) > 1, inHeader && (inBody != "" || r.URL.Query().Has("access_token")):
		return "", false, &oauthError{"invalid_request", "the token comes twice", http.StatusBadRequest}
	case inHeader:
		return strings.TrimSpace(token), bound, nil
	case inBody != "":
		return inBody, false, nil
	}
	return "", false, &oauthError{"", "", http.StatusUnauthorized}
}

// ownToken checks an access token of ours for our own use, with the proof of the key that it is bound to
// if it is, and asks the door again, so that whoever was
// suspended, removed or signed out since is no longer let through.
func (b *Broker) ownToken(r *http.Request, token string, bound bool) (inspected, error) {
	var p proof
	if bound {
		var err error
		if p, err = b.readProof(r.Header, r.Method, r.URL.Path, token); err != nil {
			return inspected{}, err
		}
	}
	t, err := b.inspect(r.Context(), token)
	if err == nil {
		err = b.boundTo(r.Context(), t.claims, p, bound)
	}
	switch {
	case errors.Is(err, errNotGood):
		return inspected{}, errInvalidToken
	case err != nil:
		return inspected{}, err
	case t.claims.Audience != b.Issuer:
		return inspected{}, errInvalidToken
	case t.grant.ID == "" || !slices.Contains(strings.Fields(t.claims.Scope), scopeOpenID):
		return inspected{}, &oauthError{"insufficient_scope", "the scope openid is needed", http.StatusForbidden}
	}
	return t, nil
}
