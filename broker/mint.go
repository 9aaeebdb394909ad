package broker

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

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
	Scope    string   `json:"scope"`
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr,omitempty"`
	orgClaims
}

// tokens is the answer of the token endpoint (RFC 6749 section 5.1).
type tokens struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
	ID      string `json:"id_token"`
	Scope   string `json:"scope"`
}

// minting is what tokens are made of, besides the admission.
type minting struct {
	grant directory.GrantID
	scope []string
	nonce string
	sid   string
	// claims are what was asked for by name.
	claims claimsRequest
}

// mint makes the tokens of an admission. There is no other way to a token.
func (b *Broker) mint(ctx context.Context, a Admission, m minting) (tokens, error) {
	if a.app.ID == "" {
		return tokens{}, ErrNotAdmitted.Because("minting without an admission")
	}
	now, life := b.Now(), policy.AccessLifetime.In(a.policy)
	out := tokens{Type: "Bearer", Expires: int64(life / time.Second), Scope: strings.Join(m.scope, " ")}
	org := orgClaimsOf(a, m.scope)
	var err error
	out.Access, err = b.sign("ES256", true, accessClaims{
		Issuer: b.Issuer, Subject: a.subject, Audience: b.Issuer, Expires: now.Add(life).Unix(), Issued: now.Unix(),
		ID: string(m.grant) + "." + directory.NewSecret()[:22], Client: a.app.ClientID, Scope: out.Scope,
		AuthTime: a.authTime.Unix(), ACR: a.acr, AMR: a.amr, orgClaims: org,
	})
	if err != nil {
		return tokens{}, err
	}
	person, err := b.personClaims(ctx, a, inIDToken, m.scope, m.claims)
	if err != nil {
		return tokens{}, err
	}
	out.ID, err = b.sign(a.app.IDTokenAlg, false, idClaims{
		Issuer: b.Issuer, Subject: a.subject, Audience: a.app.ClientID, Expires: now.Add(life).Unix(), Issued: now.Unix(),
		AuthTime: a.authTime.Unix(), Nonce: m.nonce, ACR: a.acr, AMR: a.amr, AtHash: halfHash(a.app.IDTokenAlg, out.Access), SID: m.sid,
		orgClaims: org, personClaims: person,
	})
	return out, err
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
	var jws *jose.JSONWebSignature
	if jws, err = with.Sign(body); err != nil {
		return "", err
	}
	return jws.CompactSerialize()
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
