package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.RegistrationTokens = (*Store)(nil)

// CreateRegistrationToken stores a token's hash.
func (s *Store) CreateRegistrationToken(ctx context.Context, t broker.RegistrationToken) error {
	orgs, err := json.Marshal(t.Orgs)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, x *tx) error {
		if _, err := s.Realm(ctx, t.Realm); err != nil {
			return err
		}
		_, err := x.exec(`INSERT INTO registration_tokens (hash, realm_id, name, orgs, first_party, created_at, expires_at, uses_left)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, t.Hash[:], t.Realm, t.Name, string(orgs), t.FirstParty, t.CreatedAt, t.Expires, t.Uses)
		return err
	})
}

// RegistrationToken reads one that may be used still.
func (s *Store) RegistrationToken(ctx context.Context, hash [sha256.Size]byte, now time.Time) (broker.RegistrationToken, error) {
	t := broker.RegistrationToken{Hash: hash}
	orgs := ""
	err := s.one(ctx, broker.ErrRegistrationToken, `SELECT realm_id, name, orgs, first_party, created_at, expires_at, uses_left
		FROM registration_tokens WHERE hash = $1 AND expires_at > $2 AND uses_left > 0`, func(r *row) {
		t.Realm, t.Name, orgs = directory.RealmID(r.text()), r.text(), r.text()
		t.FirstParty, t.CreatedAt, t.Expires, t.Uses = r.bool(), r.time(), r.time(), int(r.int())
	}, hash[:], now)
	if err != nil {
		return broker.RegistrationToken{}, err
	}
	return t, json.Unmarshal([]byte(orgs), &t.Orgs)
}

// RegistrationTokenList reads all that are kept: an operator makes few.
func (s *Store) RegistrationTokenList(ctx context.Context) ([]broker.RegistrationToken, error) {
	var out []broker.RegistrationToken
	var orgs []string
	_, err := s.rows(ctx, "SELECT hash, realm_id, name, orgs, first_party, created_at, expires_at, uses_left FROM registration_tokens ORDER BY created_at, hash", func(r *row) {
		var t broker.RegistrationToken
		copy(t.Hash[:], r.bytes())
		t.Realm, t.Name = directory.RealmID(r.text()), r.text()
		orgs = append(orgs, r.text())
		t.FirstParty, t.CreatedAt, t.Expires, t.Uses = r.bool(), r.time(), r.time(), int(r.int())
		out = append(out, t)
	})
	for i := range out {
		if err == nil {
			err = json.Unmarshal([]byte(orgs[i]), &out[i].Orgs)
		}
	}
	return out, err
}

// RemoveRegistrationToken ends a token.
func (s *Store) RemoveRegistrationToken(ctx context.Context, hash [sha256.Size]byte) error {
	return s.write(ctx, func(ctx context.Context, x *tx) error {
		n, err := x.exec("DELETE FROM registration_tokens WHERE hash = $1", hash[:])
		if err == nil && n == 0 {
			return broker.ErrRegistrationToken
		}
		return err
	})
}

// UseRegistrationToken takes one use away; of many at once no more succeed than there are uses.
func (s *Store) UseRegistrationToken(ctx context.Context, hash [sha256.Size]byte, now time.Time) error {
	return s.write(ctx, func(ctx context.Context, x *tx) error {
		n, err := x.exec("UPDATE registration_tokens SET uses_left = uses_left - 1 WHERE hash = $1 AND expires_at > $2 AND uses_left > 0", hash[:], now)
		if err == nil && n == 0 {
			return broker.ErrRegistrationToken
		}
		return err
	})
}
