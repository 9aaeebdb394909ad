package broker

// This file reads the JWTs that apps sign for us: client assertions and request objects.

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // member names as written, none twice
)

// appAlgs are the algorithms in which apps may sign for us; those of FAPI apps are fewer (FAPI 2.0
// Security Profile section 5.4).
var (
	appAlgs  = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.RS256, jose.EdDSA}
	fapiAlgs = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA}
)

func algNames(algs []jose.SignatureAlgorithm) []string {
	out := make([]string, len(algs))
	for i, a := range algs {
		out[i] = string(a)
	}
	return out
}

const (
	// maxAppJWT bounds what an app may sign: a request object with a claims request has a few kB.
	maxAppJWT = 32 << 10
	// appJWTLife is how long what an app signs may live (S48), appSkew how far its clock may be off. FAPI
	// 2.0 wants 10 s ahead accepted and a minute refused.
	appJWTLife = 5 * time.Minute
	appSkew    = 30 * time.Second
	maxJTI     = 255
)

// signAlgs are the algorithms that an app may sign with.
func (s Settings) signAlgs() []jose.SignatureAlgorithm {
	if s.FAPI {
		return fapiAlgs
	}
	return appAlgs
}

// parseAppJWT reads a signed JWT in compact form and checks its header. Without a typ it may be anything
// that the caller then finds it to be; with one it must be of types (RFC 8725 section 3.11).
func parseAppJWT(token string, algs []jose.SignatureAlgorithm, types []string) (*jose.JSONWebSignature, error) {
	if len(token) > maxAppJWT {
		return nil, errors.New("the JWT is too long")
	}
	jws, err := jose.ParseSignedCompact(token, algs)
	if e, other := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); other {
		return nil, errors.New("the algorithm: " + oneOf("supported", algNames(algs), string(e.Got)))
	}
	if err != nil {
		return nil, errors.New("it is no signed JWT in compact form")
	}
	h := jws.Signatures[0].Protected
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, there := h.ExtraHeaders[name]; there {
			return nil, fmt.Errorf("header %s is not understood", name)
		}
	}
	typ, there := h.ExtraHeaders[jose.HeaderType]
	if !there {
		return jws, nil
	}
	if name, text := typ.(string); !text || !slices.ContainsFunc(types, func(t string) bool { return sameType(t, name) }) {
		return nil, errors.New("the typ is another")
	}
	return jws, nil
}

// typed says whether a JWT has a typ that is this one.
func typed(jws *jose.JSONWebSignature, typ string) bool {
	name, ok := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	return ok && sameType(typ, name)
}

// sameType compares media types, whose prefix may be left out (RFC 7515 section 4.1.9).
func sameType(want, got string) bool {
	if len(got) > 12 && strings.EqualFold(got[:12], "application/") {
		got = got[12:]
	}
	return strings.EqualFold(want, got)
}

// appClaims are the claims that say for whom and for how long a JWT of an app is. Times are seconds.
type appClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   *float64        `json:"exp"`
	NotBefore *float64        `json:"nbf"`
	Issued    *float64        `json:"iat"`
	ID        string          `json:"jti"`
}

func readAppClaims(payload []byte) (appClaims, error) {
	var c appClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return c, errors.New("the claims cannot be read")
	}
	return c, nil
}

func (c appClaims) expires() time.Time { return fromSeconds(*c.Expires) }

// fromSeconds reads a NumericDate (RFC 7519 section 2). Beyond what a clock can show it is the year 2200.
func fromSeconds(s float64) time.Time {
	const far = 7258118400
	if !(s < far) {
		s = far
	}
	return time.UnixMicro(int64(max(s, 0) * 1e6))
}

// check judges audience and times. The audience is the issuer as one string: an array, or the address of
// an endpoint, is how a JWT for one server is made to serve at another (S48).
func (c appClaims) check(now time.Time, issuer string) error {
	var audience string
	if !bytes.HasPrefix(bytes.TrimSpace(c.Audience), []byte(`"`)) || json.Unmarshal(c.Audience, &audience) != nil || audience != issuer {
		return errors.New("aud is not the issuer as one string")
	}
	switch {
	case c.Expires == nil:
		return errors.New("no exp")
	case !now.Before(c.expires()):
		return errors.New("exp is over")
	case c.expires().After(now.Add(appJWTLife + appSkew)):
		return errors.New("exp is too far away")
	case c.NotBefore != nil && fromSeconds(*c.NotBefore).After(now.Add(appSkew)):
		return errors.New("nbf is to come")
	case c.Issued != nil && fromSeconds(*c.Issued).After(now.Add(appSkew)):
		return errors.New("iat is to come")
	case c.Issued != nil && c.expires().Sub(fromSeconds(*c.Issued)) > appJWTLife:
		return errors.New("it lives too long")
	case len(c.ID) > maxJTI:
		return errors.New("jti is too long")
	}
	return nil
}
