package store

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.Tokens = (*Store)(nil)

const (
	grantColumns = `id, org_id, realm_id, app_id, person_id, session_id, code_hash, bound_hash, scope, auth_time, created_at,
		expires_at, revoked_at, reason`
	selectGrant = "SELECT " + grantColumns + " FROM token_grants "
)

// CreateToken stores a grant; of all that ever bring one code, one succeeds.
func (s *Store) CreateToken(ctx context.Context, org directory.OrgID, g broker.TokenGrant) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, org)
		if err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO token_grants ("+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
			ON CONFLICT (code_hash) DO NOTHING`, g.ID, org, o.Realm, g.App, g.Person, g.Session, g.CodeHash[:], g.BoundHash[:],
			strings.Join(g.Scope, " "), g.AuthTime, g.CreatedAt, g.ExpiresAt, g.RevokedAt, g.Reason)
		if err == nil && n == 0 {
			return broker.ErrCodeUsed
		}
		return err
	})
}

func (s *Store) grant(ctx context.Context, q string, args ...any) (g broker.TokenGrant, err error) {
	err = s.one(ctx, broker.ErrGrantNotFound, q, func(r *row) {
		g.ID, g.Org, g.Realm = directory.GrantID(r.text()), directory.OrgID(r.text()), directory.RealmID(r.text())
		g.App, g.Person, g.Session = directory.AppID(r.text()), directory.PersonID(r.text()), directory.SessionID(r.text())
		copy(g.CodeHash[:], r.bytes())
		copy(g.BoundHash[:], r.bytes())
		g.Scope = strings.Fields(r.text())
		g.AuthTime, g.CreatedAt, g.ExpiresAt, g.RevokedAt, g.Reason = r.time(), r.time(), r.time(), r.time(), r.text()
	}, args...)
	return g, err
}

// TokenByCode finds the grant that a code opened.
func (s *Store) TokenByCode(ctx context.Context, codeHash [sha256.Size]byte) (broker.TokenGrant, error) {
	return s.grant(ctx, selectGrant+"WHERE code_hash = $1", codeHash[:])
}

// Token finds a grant of org.
func (s *Store) Token(ctx context.Context, org directory.OrgID, id directory.GrantID) (broker.TokenGrant, error) {
	return s.grant(ctx, selectGrant+"WHERE id = $1 AND org_id = $2", id, org)
}

// RevokeToken ends a grant of org; what ended it first stays.
func (s *Store) RevokeToken(ctx context.Context, org directory.OrgID, id directory.GrantID, at time.Time, reason string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE id = $3 AND org_id = $4 AND revoked_at = 0", at, reason, id, org)
		if err != nil || n == 1 {
			return err
		}
		_, err = s.Token(ctx, org, id)
		return err
	})
}

// RevokeTokensOf ends what a session opened: in one organization, or in all when org is "".
func (s *Store) RevokeTokensOf(ctx context.Context, realm directory.RealmID, session directory.SessionID, org directory.OrgID, at time.Time, reason string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		q := "UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE session_id = $3 AND realm_id = $4 AND revoked_at = 0"
		args := []any{at, reason, session, realm}
		if org != "" {
			q, args = q+" AND org_id = $5", append(args, org)
		}
		_, err := t.exec(q, args...)
		return err
	})
}
