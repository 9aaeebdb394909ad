package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// requestObjectType is the typ of request objects (RFC 9101 section 10.8), needed of FAPI apps.
const requestObjectType = "oauth-authz-req+jwt"

var requestObjectTypes = []string{"JWT", requestObjectType}

func badObject(why string) *authError { return &authError{"invalid_request_object", why} }

// requestObject reads a request that the app signed (RFC 9101) and gives its parameters, which are the
// only ones that count (section 6.3). spend uses it up.
func (b *Broker) requestObject(ctx context.Context, app App, token string, spend bool) (url.Values, error) {
	jws, err := parseAppJWT(token, app.signAlgs(), requestObjectTypes)
	if err != nil {
		return nil, refusedObject("request is not a JWT that this app may sign", err)
	}
	if app.FAPI && !typed(jws, requestObjectType) {
		return nil, badObject("the typ must be " + requestObjectType)
	}
	payload, err := b.verifyByApp(ctx, app, jws)
	if err != nil {
		return nil, refusedObject("no key of the app made the signature", err)
	}
	c, err := readAppClaims(payload)
	if err != nil {
		return nil, badObject("the claims cannot be read")
	}
	if err := c.check(b.Now(), b.Issuer); err != nil {
		return nil, badObject(err.Error())
	}
	switch {
	case c.Issuer != app.ClientID:
		return nil, badObject("iss is not the client_id")
	case c.Subject == app.ClientID:
		return nil, badObject("sub is the client_id, as in a client assertion") // RFC 9101 section 10.8
	}
	values, err := objectParameters(app, payload)
	if err != nil {
		return nil, err
	}
	if spend {
		if err := b.spendObject(ctx, app, token, c); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// spendObject uses a request object up: whoever saw it in an address begins no login by it. One without a
// jti is known by what was signed; its signature is left out, for others over the same may be made of it.
func (b *Broker) spendObject(ctx context.Context, app App, token string, c appClaims) error {
	if c.ID != "" {
		return b.spendJTI(ctx, app, "request_object", c, badObject("jti was used before"))
	}
	sum := sha256.Sum256([]byte(token[:strings.LastIndexByte(token, '.')]))
	c.ID = hex.EncodeToString(sum[:])
	return b.spendJTI(ctx, app, "unnamed_request_object", c, badObject("it was used before, and has no jti that would tell it from the first"))
}

func refusedObject(says string, why error) error {
	if unavailable(why) {
		return why
	}
	return differs(badObject(says), why.Error())
}

// notParameters are claims of the JWT itself.
var notParameters = map[string]bool{"iss": true, "aud": true, "exp": true, "nbf": true, "iat": true, "jti": true, "sub": true}

// objectParameters gives the claims of a request object as parameters: text as it is, what is JSON in a
// parameter as JSON, lists of text as one that comes several times.
func objectParameters(app App, payload []byte) (url.Values, error) {
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, badObject("the claims cannot be read")
	}
	values := url.Values{}
	for name, raw := range claims {
		raw = bytes.TrimSpace(raw)
		if notParameters[name] || string(raw) == "null" {
			continue
		}
		list, err := parameterValues(raw)
		if err != nil {
			return nil, badObject("the claim " + shown(name) + " is no parameter")
		}
		values[name] = list
	}
	switch id := values.Get("client_id"); {
	case id != "" && id != app.ClientID:
		return nil, badObject("client_id is another's")
	case values.Has("request") || values.Has("request_uri"):
		return nil, badObject("a request object holds no other") // RFC 9101 section 4
	}
	values.Set("client_id", app.ClientID)
	return values, nil
}

func parameterValues(raw []byte) ([]string, error) {
	if strings.HasPrefix(string(raw), "[") {
		var list []string
		err := json.Unmarshal(raw, &list)
		return list, err
	}
	if strings.HasPrefix(string(raw), `"`) {
		var text string
		err := json.Unmarshal(raw, &text)
		return []string{text}, err
	}
	return []string{string(raw)}, nil
}
