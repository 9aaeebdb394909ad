package store

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var (
	_ broker.Keys       = (*Store)(nil)
	_ broker.GrantEnder = (*Store)(nil)
)

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
	_, err := s.rows(ctx, `SELECT kid, use, alg, private, created_at, ready_at, active_at, retire_at, expires_at, revoked_at FROM signing_keys
		WHERE use = $1 ORDER BY created_at, kid`, func(r *row) {
		list = append(list, broker.Key{KID: r.text(), Use: r.text(), Alg: r.text(), Private: r.bytes(), CreatedAt: r.time(), ReadyAt: r.time(),
			ActiveAt: r.time(), RetireAt: r.time(), ExpiresAt: r.time(), RevokedAt: r.time()})
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

// UpdateKeys stores what fn makes of the keys of a use. The change log's row comes first, so that who
// changes keys on another node waits, and reads them as this one leaves them.
func (s *Store) UpdateKeys(ctx context.Context, use string, fn func(list []broker.Key) ([]broker.Key, error)) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if err := t.touch(ofKeys, use); err != nil {
			return err
		}
		before, err := s.Keys(ctx, use)
		if err != nil {
			return err
		}
		after, err := fn(slices.Clone(before))
		if err != nil {
			return err
		}
		return s.putKeys(ctx, t, before, after)
	})
}

// putKeys writes the difference. Keys whose end is planned come first, for of each use and algorithm one
// may have none.
func (s *Store) putKeys(ctx context.Context, t *tx, before, after []broker.Key) error {
	for _, ending := range []bool{true, false} {
		for _, k := range after {
			at := slices.IndexFunc(before, func(b broker.Key) bool { return b.KID == k.KID })
			if k.RetireAt.IsZero() == ending || at >= 0 && reflect.DeepEqual(before[at], k) {
				continue
			}
			if at < 0 {
				if err := s.addKey(ctx, t, k); err != nil {
					return err
				}
				continue
			}
			if _, err := t.exec("UPDATE signing_keys SET ready_at = $1, active_at = $2, retire_at = $3, expires_at = $4, revoked_at = $5 WHERE kid = $6",
				k.ReadyAt, k.ActiveAt, k.RetireAt, k.ExpiresAt, k.RevokedAt, k.KID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) addKey(ctx context.Context, t *tx, k broker.Key) error {
	private, err := s.seal(ctx, t, "", keySlot(k.KID), k.Private)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO signing_keys (kid, use, alg, private, created_at, ready_at, active_at, retire_at, expires_at, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, k.KID, k.Use, k.Alg, private, k.CreatedAt, k.ReadyAt, k.ActiveAt, k.RetireAt, k.ExpiresAt, k.RevokedAt)
	return err
}

const endBatch = 200

// EndTokensOf walks the grants in the order of their making, some in a transaction, so that it holds
// nobody up. Older ones may have been refreshed since, so it begins with the oldest.
func (s *Store) EndTokensOf(ctx context.Context, signed broker.Span, at time.Time, reason string, affected func(directory.AppID) (bool, error)) (map[directory.AppID]int, error) {
	type grant struct {
		id  string
		app directory.AppID
	}
	ended := map[directory.AppID]int{}
	after := ""
	for {
		var list []grant
		n, err := s.rows(ctx, "SELECT id, app_id, session_id, created_at, refreshed_at, revoked_at FROM token_grants WHERE id > $1 ORDER BY id LIMIT $2", func(r *row) {
			g := grant{r.text(), directory.AppID(r.text())}
			after = g.id
			bound, made, last, revoked := r.text() != "", r.time(), r.time(), r.time()
			if last.Before(made) {
				last = made // it was never refreshed
			}
			if bound && signed.Meets(made, last) && revoked.IsZero() {
				list = append(list, g)
			}
		}, after, endBatch)
		if err != nil {
			return ended, err
		}
		var errs error
		list = slices.DeleteFunc(list, func(g grant) bool { yes, err := affected(g.app); errs = errors.Join(errs, err); return !yes })
		if errs != nil {
			return ended, errs
		}
		if len(list) > 0 {
			if err := s.write(ctx, func(_ context.Context, t *tx) error {
				for _, g := range list {
					if _, err := t.exec("UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE id = $3 AND revoked_at = 0", at, reason, g.id); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return ended, err
			}
		}
		for _, g := range list {
			ended[g.app]++
		}
		if n < endBatch {
			return ended, nil
		}
	}
}
