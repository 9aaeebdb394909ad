package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// assertionLife is short: an assertion is used at once (RFC 7523 section 3).
const assertionLife = time.Minute

// clientSigner makes what signs our client assertions out of the connection's private key.
func clientSigner(cfg Config, secret Secret) (jose.Signer, error) {
	block, rest := pem.Decode([]byte(secret.PrivateKey))
	if block == nil || len(rest) > maxSetting {
		return nil, upstream.ErrConfig.Because("the private key is missing or no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, upstream.ErrConfig.Because("the private key is not PKCS#8")
	}
	alg, ok := algorithmOf(key)
	if !ok {
		return nil, upstream.ErrConfig.Because("the private key must be RSA of at least 2048 bits, P-256 or Ed25519")
	}
	opts := (&jose.SignerOptions{}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: cfg.KeyID}}, opts)
	if err != nil {
		return nil, upstream.ErrConfig.Because("the private key cannot sign")
	}
	return signer, nil
}

func algorithmOf(key any) (jose.SignatureAlgorithm, bool) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return jose.RS256, k.N.BitLen() >= minRSA
	case *ecdsa.PrivateKey:
		return jose.ES256, k.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return jose.EdDSA, true
	}
	return "", false
}

// clientAssertion proves us to the token endpoint (OpenID Connect Core 1.0 section 9).
func (p *provider) clientAssertion(audience string) (string, error) {
	now := p.env.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.cfg.ClientID, "sub": p.cfg.ClientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := p.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
