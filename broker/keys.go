package broker

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vestibule-id/vestibule/directory"
)

// Key is a signing key. Its states are times, not events (S25): published from CreatedAt, signing from
// ActiveAt, no more from RetireAt, out of the JWKS at ExpiresAt. Zero RetireAt and ExpiresAt: not planned.
type Key struct {
	KID       string
	Use       string // "oidc"; tokens, SAML, logout and audit anchors never share keys
	Alg       string // ES256, RS256, EdDSA
	Private   []byte // PKCS #8; the store seals it
	CreatedAt time.Time
	ActiveAt  time.Time
	RetireAt  time.Time
	ExpiresAt time.Time
}

// Keys keeps signing keys. They are the platform's.
type Keys interface {
	Keys(ctx context.Context, use string) ([]Key, error)
	// AddKey stores a key. When one of the same use and algorithm that has no RetireAt exists already,
	// it stores nothing and returns nil: of two nodes that start together one makes the key.
	AddKey(ctx context.Context, k Key) error
}

// keyUse is the use of the keys that sign tokens.
const keyUse = "oidc"

// Keyring holds the signing keys in memory, ready to sign, and the key set that apps read.
type Keyring struct {
	Store Keys
	Now   func() time.Time

	mu      sync.RWMutex
	signers map[string]signer // by algorithm
	public  map[string]jose.JSONWebKey
	jwks    []byte
	etag    string
}

// signer signs with one key.
type signer struct {
	kid            string
	id, access     jose.Signer
	publishedAfter time.Time
}

// Load reads the keys and makes those that are missing: one for each algorithm that an app may ask for.
// Of several nodes that start together one makes them.
func (k *Keyring) Load(ctx context.Context) error {
	keys, err := k.Store.Keys(ctx, keyUse)
	if err != nil {
		return err
	}
	for _, alg := range signingAlgs {
		if slices.ContainsFunc(keys, func(x Key) bool { return x.Alg == alg && x.RetireAt.IsZero() }) {
			continue
		}
		made, err := newKey(alg, k.Now())
		if err != nil {
			return err
		}
		if err := k.Store.AddKey(ctx, made); err != nil {
			return err
		}
		if keys, err = k.Store.Keys(ctx, keyUse); err != nil {
			return err
		}
	}
	return k.use(keys)
}

func newKey(alg string, now time.Time) (Key, error) {
	var private any
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	return Key{KID: directory.NewSecret()[:16], Use: keyUse, Alg: alg, Private: der, CreatedAt: now, ActiveAt: now}, err
}

// use makes keys ready: signers for those that sign now, and the set of those that are published.
func (k *Keyring) use(keys []Key) error {
	now := k.Now()
	signers, public := map[string]signer{}, map[string]jose.JSONWebKey{}
	var set jose.JSONWebKeySet
	for _, key := range keys {
		if !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt) {
			continue
		}
		private, err := x509.ParsePKCS8PrivateKey(key.Private)
		if err != nil {
			return err
		}
		jwk := jose.JSONWebKey{Key: private.(crypto.Signer).Public(), KeyID: key.KID, Algorithm: key.Alg, Use: "sig"}
		set.Keys = append(set.Keys, jwk)
		public[key.KID] = jwk
		active := !now.Before(key.ActiveAt) && (key.RetireAt.IsZero() || now.Before(key.RetireAt))
		if have, ok := signers[key.Alg]; active && (!ok || have.publishedAfter.Before(key.ActiveAt)) {
			if signers[key.Alg], err = newSigner(key, private); err != nil {
				return err
			}
		}
	}
	doc, err := json.Marshal(set)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(doc)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.signers, k.public, k.jwks, k.etag = signers, public, doc, `"`+hex.EncodeToString(sum[:12])+`"`
	return nil
}

func newSigner(key Key, private any) (signer, error) {
	of := func(typ jose.ContentType) (jose.Signer, error) {
		options := (&jose.SignerOptions{}).WithType(typ)
		return jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Alg), Key: jose.JSONWebKey{Key: private, KeyID: key.KID}}, options)
	}
	id, err := of("JWT")
	if err != nil {
		return signer{}, err
	}
	access, err := of("at+jwt")
	return signer{kid: key.KID, id: id, access: access, publishedAfter: key.ActiveAt}, err
}

func (k *Keyring) signer(alg string) (signer, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s, ok := k.signers[alg]
	return s, ok
}

// verify checks a token of ours: signed by a key that is published, with that typ. expired tokens are
// the caller's to judge.
func (k *Keyring) verify(token, typ string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	head := jws.Signatures[0].Header
	k.mu.RLock()
	key, ok := k.public[head.KeyID]
	k.mu.RUnlock()
	if !ok || head.Algorithm != key.Algorithm || !strings.EqualFold(fmt.Sprint(head.ExtraHeaders[jose.HeaderType]), typ) {
		return nil, errors.New("not signed by a key of ours for this use")
	}
	return jws.Verify(key)
}

// published is the key set and its ETag.
func (k *Keyring) published() ([]byte, string) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.jwks, k.etag
}
