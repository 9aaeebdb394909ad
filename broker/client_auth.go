package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

var errTwoWays = &oauthError{"invalid_request", "the client proves itself in more than one way", http.StatusBadRequest}

// credentials are what a request shows to say which client it comes from.
type credentials struct {
	method    ClientMethod
	clientID  string // "" for an assertion that comes without a client_id
	secret    string
	assertion string
}

// authenticate finds the client that a request to an endpoint for programs comes from, by exactly one
// method, the registered one (RFC 6749 section 2.3). It is the only way in which clients are
// authenticated. A client assertion is spent by it: call it once for a request. form is the body. A
// public client is named, not authenticated: callers that need proof ask confidential of the app.
//
// Whatever is wrong, errInvalidClient is all that the caller may tell; a store that cannot be reached is
// another error.
func (b *Broker) authenticate(r *http.Request, form url.Values) (App, error) {
	c, err := credentialsOf(r, form)
	if err != nil {
		return App{}, err
	}
	ctx := r.Context()
	var jws *jose.JSONWebSignature
	if c.method == PrivateKey {
		if jws, c.clientID, err = readAssertion(c); err != nil {
			return App{}, refusedClient(c.clientID, err)
		}
	}
	app, err := b.Apps.AppByClientID(ctx, c.clientID)
	if errors.Is(err, ErrAppNotFound) {
		return App{}, differs(errInvalidClient, "no client has the client_id "+word(c.clientID))
	}
	if err != nil {
		return App{}, err
	}
	if app.Method != c.method {
		return App{}, sentBy(app, differs(errInvalidClient, "registered is "+string(app.Method)+", sent was "+string(c.method)))
	}
	if app.Status != directory.Active {
		return App{}, sentBy(app, differs(errInvalidClient, "the app is "+string(app.Status)))
	}
	switch c.method {
	case PrivateKey:
		err = b.checkAssertion(ctx, app, jws)
	case SecretBasic, SecretPost:
		if !app.presents(c.secret, b.Now()) {
			err = differs(errInvalidClient, "the method is the registered one, the secret is another or its time is over")
		}
	}
	if err != nil {
		return App{}, sentBy(app, err)
	}
	return app, nil
}

// credentialsOf reads who a request says it comes from, and refuses whoever does not prove themselves in
// exactly one way that exists here. An empty client_secret is none.
func credentialsOf(r *http.Request, form url.Values) (credentials, error) {
	if secretInQuery(r.URL) {
		return credentials{}, &oauthError{"invalid_request", "what authenticates the client never stands in the address", http.StatusBadRequest}
	}
	headers := r.Header.Values("Authorization")
	asserted := form.Has("client_assertion") || form.Has("client_assertion_type")
	posted := form.Get("client_secret") != ""
	switch {
	case len(headers) > 1:
		return credentials{}, errInvalidClient
	case len(headers) == 1 && (asserted || form.Has("client_secret")):
		if _, _, ok := r.BasicAuth(); !ok {
			return credentials{}, errInvalidClient
		}
		return credentials{}, errTwoWays
	case asserted && posted:
		return credentials{}, errTwoWays
	case len(headers) == 1:
		return basicCredentials(r, form)
	case asserted:
		return assertionCredentials(form)
	case form.Get("client_id") == "":
		return credentials{}, errInvalidClient
	case posted:
		return credentials{method: SecretPost, clientID: form.Get("client_id"), secret: form.Get("client_secret")}, nil
	}
	return credentials{method: NoSecret, clientID: form.Get("client_id")}, nil
}

// secretInQuery: RFC 6749 section 2.3.1 forbids secrets in the address, where they are logged.
func secretInQuery(u *url.URL) bool {
	q := u.Query()
	return q.Has("client_secret") || q.Has("client_assertion")
}

// basicCredentials reads the header, whose parts are form-encoded (RFC 6749 section 2.3.1).
func basicCredentials(r *http.Request, form url.Values) (credentials, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return credentials{}, errInvalidClient
	}
	id, err := url.QueryUnescape(user)
	if err != nil || id == "" || form.Has("client_id") && form.Get("client_id") != id {
		return credentials{}, errInvalidClient
	}
	secret, err := url.QueryUnescape(password)
	if err != nil {
		return credentials{}, errInvalidClient
	}
	return credentials{method: SecretBasic, clientID: id, secret: secret}, nil
}

// assertionType is the only kind of client assertion (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func assertionCredentials(form url.Values) (credentials, error) {
	if form.Get("client_assertion_type") != assertionType || form.Get("client_assertion") == "" {
		return credentials{}, errInvalidClient
	}
	return credentials{method: PrivateKey, clientID: form.Get("client_id"), assertion: form.Get("client_assertion")}, nil
}

// The typ values of a client assertion, where it has one. Others are JWTs that were made for something else.
var assertionTypes = []string{"JWT", "client-authentication+jwt"}

// readAssertion parses an assertion and says which client it names; nothing of it is believed yet.
func readAssertion(c credentials) (*jose.JSONWebSignature, string, error) {
	jws, err := parseAppJWT(c.assertion, appAlgs, assertionTypes)
	if err != nil {
		return nil, c.clientID, err
	}
	claims, err := readAppClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, c.clientID, err
	}
	if c.clientID != "" && c.clientID != claims.Subject {
		return nil, c.clientID, errors.New("client_id and sub differ")
	}
	return jws, claims.Subject, nil
}

// checkAssertion checks a client assertion (RFC 7523 section 3; S48) and spends its jti, on the disk: an
// assertion lives for minutes.
func (b *Broker) checkAssertion(ctx context.Context, app App, jws *jose.JSONWebSignature) error {
	payload, err := b.verifyByApp(ctx, app, jws)
	if err != nil {
		return refusedClient(app.ClientID, err)
	}
	c, err := readAppClaims(payload)
	if err != nil {
		return refusedClient(app.ClientID, err)
	}
	if err := c.check(b.Now(), b.Issuer); err != nil {
		return refusedClient(app.ClientID, err)
	}
	switch {
	case c.Issuer != app.ClientID || c.Subject != app.ClientID:
		return refusedClient(app.ClientID, errors.New("iss and sub are not the client id"))
	case c.ID == "":
		return refusedClient(app.ClientID, errors.New("no jti"))
	}
	return b.spendJTI(ctx, app, "client_assertion", c, differs(errInvalidClient, "the jti of the client assertion was used before"))
}

// spendJTI marks a JWT of an app as used; refused is the answer when it was used before.
func (b *Broker) spendJTI(ctx context.Context, app App, kind string, c appClaims, refused error) error {
	// A minute more than it lives: the clock of another node may be behind.
	err := b.Spent.Spend(ctx, "", kind, string(app.ID)+"/"+c.ID, c.expires().Add(time.Minute))
	if errors.Is(err, upstream.ErrReplay) {
		b.Log.WarnContext(ctx, "a client's JWT was used twice", "kind", kind, "client_id", app.ClientID)
		return refused
	}
	return err
}

// refusedClient keeps why an assertion was refused, for the operator; the client is told nothing.
func refusedClient(clientID string, why error) error {
	if unavailable(why) || errors.Is(why, context.Canceled) {
		return why
	}
	return differs(errInvalidClient, "client assertion of "+word(clientID)+": "+why.Error())
}

// shown is a stranger's text, fit for a line of the log.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if notVisible(r) {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 128)]
}
