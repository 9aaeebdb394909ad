package store

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
)

var _ directory.Realms = (*Store)(nil)

const selectRealm = "SELECT id, handle, scope, status FROM realms "

func (r *row) realm() directory.Realm {
	return directory.Realm{ID: directory.RealmID(r.text()), Handle: r.text(),
		Scope: directory.IdentScope(r.text()), Status: directory.Status(r.text())}
}

// Realm finds a realm.
func (s *Store) Realm(ctx context.Context, id directory.RealmID) (directory.Realm, error) {
	return s.findRealm(ctx, string(id), selectRealm+"WHERE id = $1", string(id))
}

// RealmByHandle finds a realm by its handle.
func (s *Store) RealmByHandle(ctx context.Context, handle string) (directory.Realm, error) {
	return s.findRealm(ctx, "@"+handle, selectRealm+"WHERE handle = $1", handle)
}

func (s *Store) findRealm(ctx context.Context, key, q, arg string) (directory.Realm, error) {
	found, err := cached(ctx, s, &s.caches.realms, key, func(ctx context.Context) (found *directory.Realm, err error) {
		_, err = s.rows(ctx, q, func(r *row) { v := r.realm(); found = &v }, arg)
		return found, err
	})
	if err != nil {
		return directory.Realm{}, err
	}
	if found == nil {
		return directory.Realm{}, directory.ErrRealmNotFound
	}
	return *found, nil
}

// CreateRealm makes a realm; its handle is given out once.
func (s *Store) CreateRealm(ctx context.Context, r directory.Realm) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("INSERT INTO realms (id, handle, scope, status) VALUES ($1, $2, $3, $4) ON CONFLICT (handle) DO NOTHING",
			r.ID, r.Handle, r.Scope, r.Status)
		if err != nil {
			return err
		}
		if n == 0 {
			return directory.ErrHandleTaken
		}
		if err := t.touch(ofRealm, string(r.ID)); err != nil {
			return err
		}
		return t.touch(ofRealm, "@"+r.Handle)
	})
}
