package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

var _ upstream.Spent = (*Store)(nil)

// Spend marks something as used, on the disk before it returns (S16). It joins no transaction: what a
// rollback would undo is not spent.
func (s *Store) Spend(ctx context.Context, org directory.OrgID, kind, key string, until time.Time) error {
	if t, err := s.txOf(ctx); t != nil || err != nil {
		return ErrOutside.Because("Spend was called in a transaction")
	}
	hash := spentHash(string(org), kind, key)
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("INSERT INTO spent (hash, until) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", hash, until)
		if err == nil && n == 0 {
			return upstream.ErrReplay
		}
		return err
	})
}

// spentHash keeps rows small, and holds nothing of the person.
func spentHash(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}
