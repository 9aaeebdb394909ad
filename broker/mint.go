package broker

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/policy"
)

// idClaims is an id token (OpenID Connect Core section 2).
type idClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	AuthTime int64    `json:"auth_time"`
	Nonce    string   `json:"nonce,omitempty"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr,omitempty"`
	AtHash   string   `json:"at_hash"`
	SID      string   `json:"sid"`
	orgClaims
	personClaims
}

// accessClaims is an access token (RFC 9068 section 2.2).
type accessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Client   string   `json:"client_id"`
	Scope    string   `json:"scope,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"` // a person's alone, as acr and amr
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	// Actor is who acts for the subject (RFC 8693 section 4.1).
	Actor json.RawMessage `json:"act,omitempty"`
	// Confirm binds the token to a key of the app's (RFC 9449 section 6.1).
	Confirm *confirm `json:"cnf,omitempty"`
	orgClaims
}

// confirm is a cnf claim (RFC 7800 section 3.1).
type confirm struct {
	JKT string `json:"jkt"`
}

// tokens is the answer of the token endpoint (RFC 6749 section 5.1).
type tokens struct {
	Access     string `json:"access_token"`
	IssuedType string `json:"issued_token_type,omitempty"` // RFC 8693 section 2.2.1
	Type       string `json:"token_type"`
	Expires    int64  `json:"expires_in"`
	Refresh    string `json:"refresh_token,omitempty"`
	ID         string `json:"id_token,omitempty"`
	Scope      string `json:"scope,omitempty"`
}

// minting is what tokens are made of, besides the admission.
type minting struct {
	grant directory.GrantID
	scope []string
	aud   string // whom the access token is for
	jkt   string // the thumbprint of the DPoP key that it is bound to; "" is none
	// Of the id token, which an exchange has none of.
	noID   bool
	nonce  string
	sid    string
	claims claimsRequest // those asked for by name
	// subject is what was exchanged: a token keeps its auth_time and amr, has no stronger acr, and never
	// outlives it (S6).
	subject *accessClaims
	actor   json.RawMessage
}

// minted are tokens that nobody has yet: what opaque keeps is written before they are answered.
type minted struct {
	tokens
	opaque *OpaqueToken
}

// mint makes the tokens of an admission. There is no other way to a person's token.
func (b *Broker) mint(ctx context.Context, a Admission, m minting) (minted, error) {
	if a.app.ID == "" {
		return minted{}, ErrNotAdmitted.Because("minting without an admission")
	}
	now := b.Now()
	c := accessClaims{
		Issuer: b.Issuer, Subject: a.subject, Audience: m.aud, Issued: now.Unix(),
		Expires: now.Add(policy.AccessLifetime.In(a.policy)).Unix(), ID: string(m.grant) + "." + directory.NewSecret()[:22],
		Client: a.app.ClientID, Scope: strings.Join(m.scope, " "), AuthTime: a.authTime.Unix(), ACR: a.acr, AMR: a.amr,
		Actor: m.actor, orgClaims: orgClaimsOf(a.org, m.scope),
	}
	if m.subject != nil {
		c.within(*m.subject)
	}
	out, err := b.mintAccess(a.app, c, m)
	if err != nil || m.noID || !slices.Contains(m.scope, scopeOpenID) {
		return out, err
	}
	person, err := b.personClaims(ctx, a, inIDToken, m.scope, m.claims)
	if err != nil {
		return minted{}, err
	}
	out.ID, err = b.sign(a.app.IDTokenAlg, false, idClaims{
		Issuer: b.Issuer, Subject: a.subject, Audience: a.app.ClientID, Expires: c.Expires, Issued: c.Issued,
		AuthTime: c.AuthTime, Nonce: m.nonce, ACR: c.ACR, AMR: c.AMR, AtHash: halfHash(a.app.IDTokenAlg, out.Access), SID: m.sid,
		orgClaims: c.orgClaims, personClaims: person,
	})
	return out, err
}

// mintAccess makes the access token, signed or opaque as the app has them.
func (b *Broker) mintAccess(app App, c accessClaims, m minting) (minted, error) {
	out := minted{tokens: tokens{Type: "Bearer", Expires: c.Expires - c.Issued, Scope: c.Scope}}
	if m.jkt != "" {
		out.Type, c.Confirm = "DPoP", &confirm{m.jkt}
	}
	var err error
	if !app.Opaque {
		out.Access, err = b.sign("ES256", true, c)
		return out, err
	}
	body, err := json.Marshal(c)
	out.Access = opaquePrefix + directory.NewSecret()
	out.opaque = &OpaqueToken{Hash: hashOf(out.Access), App: app.ID, Grant: m.grant, Expires: time.Unix(c.Expires, 0), Claims: body}
	return out, err
}

// opaquePrefix lets scanners for secrets find access tokens in what was published by mistake, and us tell
// them from JWTs.
const opaquePrefix = "vat_"

// keepAccess writes what a minted token needs to be known again, in the transaction of its grant.
func (b *Broker) keepAccess(ctx context.Context, org directory.OrgID, m minted) error {
	if m.opaque == nil {
		return nil
	}
	return b.Access.PutAccess(ctx, org, *m.opaque)
}

func (b *Broker) sign(alg string, access bool, claims any) (string, error) {
	s, ok := b.Keys.signer(alg)
	if !ok {
		return "", ErrNoKey.Because(alg)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	with := s.id
	if access {
		with = s.access
	}
	return with.write(body)
}

// halfHash is at_hash: the left half of the access token's hash, by the algorithm of the id token
// (OpenID Connect Core section 3.1.3.6; Ed25519 hashes with SHA-512).
func halfHash(alg, token string) string {
	if alg == "EdDSA" {
		h := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(h[:32])
	}
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:16])
}
