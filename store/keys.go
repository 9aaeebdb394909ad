package store

import (
	"context"

	"github.com/vestibule-id/vestibule/broker"
)

var _ broker.Keys = (*Store)(nil)

func keySlot(kid string) slot { return slot{"signing_keys", "private", kid, ""} }

// Keys lists the signing keys of a use, oldest first. Private parts are shared: nobody may change them.
func (s *Store) Keys(ctx context.Context, use string) ([]broker.Key, error) {
	list, err := cached(ctx, s, &s.caches.keys, use, func(ctx context.Context) (*[]broker.Key, error) { return s.loadKeys(ctx, use) })
	if err != nil || list == nil {
		return nil, err
	}
	return append([]broker.Key(nil), *list...), nil
}

func (s *Store) loadKeys(ctx context.Context, use string) (*[]broker.Key, error) {
	var list []broker.Key
	_, err := s.rows(ctx, `SELECT kid, use, alg, private, created_at, active_at, retire_at, expires_at FROM signing_keys
		WHERE use = $1 ORDER BY created_at, kid`, func(r *row) {
		list = append(list, broker.Key{KID: r.text(), Use: r.text(), Alg: r.text(), Private: r.bytes(),
			CreatedAt: r.time(), ActiveAt: r.time(), RetireAt: r.time(), ExpiresAt: r.time()})
	}, use)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	for i := range list {
		if list[i].Private, err = s.unseal(ctx, keySlot(list[i].KID), list[i].Private); err != nil {
			return nil, err
		}
	}
	return &list, nil
}

// AddKey stores a key unless one of the same use and algorithm is current.
func (s *Store) AddKey(ctx context.Context, k broker.Key) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if k.RetireAt.IsZero() {
			n, err := s.rows(ctx, "SELECT kid FROM signing_keys WHERE use = $1 AND alg = $2 AND retire_at = 0", nil, k.Use, k.Alg)
			if err != nil || n > 0 {
				return err
			}
		}
		private, err := s.seal(ctx, t, "", keySlot(k.KID), k.Private)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO signing_keys (kid, use, alg, private, created_at, active_at, retire_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, k.KID, k.Use, k.Alg, private, k.CreatedAt, k.ActiveAt, k.RetireAt, k.ExpiresAt)
		if err != nil {
			return err
		}
		return t.touch(ofKeys, k.Use)
	})
}
