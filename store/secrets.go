package store

import (
	"context"

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
