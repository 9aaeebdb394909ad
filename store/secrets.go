package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"github.com/vestibule-id/vestibule/broker"
)

var _ broker.Secrets = (*Store)(nil)

func namedSlot(name string) slot { return slot{"secrets", "value", name, ""} }

// SecretNamed gives the value of a name, which is fresh if it had none.
func (s *Store) SecretNamed(ctx context.Context, name string, fresh []byte) ([]byte, error) {
	kept, err := s.secret(ctx, name)
	if err != nil || kept != nil {
		return kept, err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		sealed, err := s.seal(ctx, t, "", namedSlot(name), fresh)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO secrets (name, value, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING", name, sealed, s.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.secret(ctx, name)
}

func (s *Store) secret(ctx context.Context, name string) ([]byte, error) {
	var sealed []byte
	n, err := s.rows(ctx, "SELECT value FROM secrets WHERE name = $1", func(r *row) { sealed = r.bytes() }, name)
	if err != nil || n == 0 {
		return nil, err
	}
	return s.unseal(ctx, namedSlot(name), sealed)
}

// secretSize is how many random bytes a secret of the installation has.
const secretSize = 32

// Secret gives the installation's secret of that name: 32 random bytes, sealed in the database, the same on
// every node and for ever, made by whoever asks first. Names are fixed words of the code, "cookies".
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	s.sealer.mu.RLock()
	secret, ok := s.sealer.secrets[name]
	s.sealer.mu.RUnlock()
	if ok {
		return bytes.Clone(secret), nil
	}
	fresh := make([]byte, secretSize)
	rand.Read(fresh)
	secret, err := s.SecretNamed(ctx, name, fresh)
	if err != nil {
		return nil, err
	}
	if t, err := s.txOf(ctx); t != nil || err != nil {
		return secret, err // what a rollback may undo is not remembered
	}
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	s.sealer.secrets[name] = bytes.Clone(secret)
	return secret, nil
}

// Pepper hashes a value that could be guessed (a code, a phone number) so that whoever has the database
// alone cannot: HMAC-SHA256 under a sealed secret, with the value's table and row, so that equal values
// do not look equal (S24).
func (s *Store) Pepper(ctx context.Context, table, row string, value []byte) ([sha256.Size]byte, error) {
	key, err := s.Secret(ctx, "pepper")
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	h := hmac.New(sha256.New, key)
	h.Write(slot{table: table, row: row}.bytes())
	h.Write(value)
	return [sha256.Size]byte(h.Sum(nil)), nil
}
