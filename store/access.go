package store

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.AccessTokens = (*Store)(nil)

// PutAccess stores an opaque access token of org.
func (s *Store) PutAccess(ctx context.Context, org directory.OrgID, v broker.OpaqueToken) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec("INSERT INTO access_tokens (hash, org_id, app_id, grant_id, expires_at, claims) VALUES ($1, $2, $3, $4, $5, $6)",
			v.Hash[:], org, v.App, v.Grant, v.Expires, string(v.Claims))
		return err
	})
}

// AccessByHash finds an opaque access token, over or not.
func (s *Store) AccessByHash(ctx context.Context, hash [sha256.Size]byte) (v broker.OpaqueToken, err error) {
	v.Hash = hash
	err = s.one(ctx, broker.ErrGrantNotFound, "SELECT app_id, grant_id, expires_at, claims FROM access_tokens WHERE hash = $1", func(r *row) {
		v.App, v.Grant, v.Expires, v.Claims = directory.AppID(r.text()), directory.GrantID(r.text()), r.time(), raw(r.text())
	}, hash[:])
	return v, err
}

// DropAccess forgets an opaque access token of org.
func (s *Store) DropAccess(ctx context.Context, org directory.OrgID, hash [sha256.Size]byte) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("DELETE FROM access_tokens WHERE hash = $1 AND org_id = $2", hash[:], org)
		return err
	})
}

// calledBack is the key of a signed token that was called back.
func calledBack(org directory.OrgID, jti string) []byte {
	h := sha256.Sum256([]byte(string(org) + "\x00" + jti))
	return h[:]
}

// CallBack notes a signed access token as worthless until its end.
func (s *Store) CallBack(ctx context.Context, org directory.OrgID, jti string, until time.Time) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("INSERT INTO revoked_tokens (hash, until) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", calledBack(org, jti), until)
		return err
	})
}

// CalledBack says whether a signed access token of org was called back.
func (s *Store) CalledBack(ctx context.Context, org directory.OrgID, jti string) (bool, error) {
	n, err := s.rows(ctx, "SELECT 1 FROM revoked_tokens WHERE hash = $1", nil, calledBack(org, jti))
	return n > 0, err
}
