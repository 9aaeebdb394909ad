package broker

import (
	"context"
	"time"
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
