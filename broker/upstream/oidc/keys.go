package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	minRSA, maxRSA = 2048, 8192
	maxKeys        = 100
	// maxTries bounds the keys that one signature is tried with, when its header names none.
	maxTries = 8
)

// keySet is a provider's public keys.
type keySet struct{ keys []publicKey }

// publicKey is a key of a provider.
type publicKey struct {
	id  string
	alg string // "" when the provider does not say
	key crypto.PublicKey
}

// parseKeys reads a JWK Set (RFC 7517 section 5). Keys that we do not know, or that cannot sign, are left
// out as the section says; one odd key must not shut out a company.
func parseKeys(body []byte) (keySet, error) {
	var in struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return keySet{}, ErrDiscovery.With(errUnreadable) // no JWK Set
	}
	var ks keySet
	for _, raw := range in.Keys[:min(len(in.Keys), maxKeys)] {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err != nil || !usable(k) {
			continue
		}
		ks.keys = append(ks.keys, publicKey{id: k.KeyID, alg: k.Algorithm, key: k.Key})
	}
	if len(ks.keys) == 0 {
		return keySet{}, ErrDiscovery.Because("no key that can check a signature")
	}
	return ks, nil
}

// usable: for signatures, public, and strong enough. A symmetric or private key in a public set is
// everybody's; it is of another type than those below.
func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA && key.E >= 3
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// fitting gives the keys that may have made a signature. A key without an id may have any.
func (ks keySet) fitting(id, alg string) []crypto.PublicKey {
	var exact, nameless []crypto.PublicKey
	for _, k := range ks.keys {
		if k.alg != "" && k.alg != alg || !fits(k.key, alg) {
			continue
		}
		switch {
		case id == "" || k.id == id:
			exact = append(exact, k.key)
		case k.id == "":
			nameless = append(nameless, k.key)
		}
	}
	if len(exact) == 0 {
		exact = nameless
	}
	return exact[:min(len(exact), maxTries)]
}

// fits binds an algorithm to its kind of key and curve (RFC 7518 section 3.4).
func fits(key crypto.PublicKey, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case *ecdsa.PublicKey:
		return curveOf(alg) == k.Curve
	}
	return false
}

func curveOf(alg string) elliptic.Curve {
	switch alg {
	case "ES256":
		return elliptic.P256()
	case "ES384":
		return elliptic.P384()
	case "ES512":
		return elliptic.P521()
	}
	return nil
}

// verify checks a signature against the provider's keys and gives what was signed. When none of the keys
// on file made it, the provider may have a new one: it is asked once, and not again for a while.
func (p *provider) verify(ctx context.Context, address string, jws *jose.JSONWebSignature) ([]byte, error) {
	kept := p.keySet(address)
	ks, err := kept.get(ctx)
	if err != nil {
		return nil, err
	}
	payload, err := p.try(ks, jws)
	if err == nil {
		return payload, nil
	}
	ks, renewed, rerr := kept.renewed(ctx)
	switch {
	case rerr != nil:
		// The key may be a new one that we could not fetch: the provider is away, not lying.
		return nil, rerr
	case !renewed:
		return nil, err
	}
	return p.try(ks, jws)
}

func (p *provider) try(ks keySet, jws *jose.JSONWebSignature) ([]byte, error) {
	if p.env.Distrusts != nil {
		ks.keys = slices.DeleteFunc(slices.Clone(ks.keys), func(k publicKey) bool { return p.env.Distrusted(k.id, nil) })
	}
	h := jws.Signatures[0].Protected
	for _, key := range ks.fitting(h.KeyID, h.Algorithm) {
		if payload, err := jws.Verify(key); err == nil {
			return payload, nil
		}
	}
	return nil, ErrSignature.Because("no key on file made it")
}
