package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var (
	_ broker.Tokens   = (*Store)(nil)
	_ broker.Families = (*Store)(nil)
)

const (
	grantColumns = `id, kind, org_id, realm_id, app_id, person_id, session_id, sid, code_hash, bound_hash, scope, resources, claims, auth_time,
		offline, proofs, opened_at, jkt, actor, parent_id, family_hash, refresh_hash, refresh_prev, refresh_echo, refreshed_at, refresh_until,
		created_at, expires_at, revoked_at, reason`
	selectGrant = "SELECT " + grantColumns + " FROM token_grants "
)

// CreateToken stores a grant; of all that ever bring one code, one succeeds.
func (s *Store) CreateToken(ctx context.Context, org directory.OrgID, g broker.TokenGrant) error {
	proofs, err := listed(g.Proofs)
	if err != nil {
		return err
	}
	family, current := []byte{}, []byte{}
	if !g.Refresh.Until.IsZero() {
		family, current = g.Refresh.Family[:], g.Refresh.Hash[:]
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, org)
		if err != nil {
			return err
		}
		return t.sendNew(broker.ErrCodeUsed, "INSERT INTO token_grants ("+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
			$16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)`, g.ID, g.Kind, org, o.Realm, g.App, g.Person, g.Session, g.SID, g.CodeHash[:], g.BoundHash[:],
			strings.Join(g.Scope, " "), strings.Join(g.Resources, " "), string(g.Claims), g.AuthTime, g.Offline, proofs, g.Opened, g.JKT, string(g.Actor), g.Parent,
			family, current, []byte{}, []byte{}, g.Refresh.At, g.Refresh.Until,
			g.CreatedAt, g.ExpiresAt, g.RevokedAt, g.Reason)
	})
}

// listed is a list as JSON, "" for none.
func listed[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	doc, err := json.Marshal(list)
	return string(doc), err
}

func (s *Store) grant(ctx context.Context, q string, args ...any) (g broker.TokenGrant, err error) {
	var proofs string
	err = s.one(ctx, broker.ErrGrantNotFound, q, func(r *row) {
		g.ID, g.Kind, g.Org, g.Realm = directory.GrantID(r.text()), broker.GrantKind(r.text()), directory.OrgID(r.text()), directory.RealmID(r.text())
		g.App, g.Person, g.Session, g.SID = directory.AppID(r.text()), directory.PersonID(r.text()), directory.SessionID(r.text()), r.text()
		copy(g.CodeHash[:], r.bytes())
		copy(g.BoundHash[:], r.bytes())
		g.Scope, g.Resources, g.Claims, g.AuthTime = strings.Fields(r.text()), strings.Fields(r.text()), raw(r.text()), r.time()
		g.Offline, proofs, g.Opened, g.JKT, g.Actor, g.Parent = r.bool(), r.text(), r.time(), r.text(), raw(r.text()), directory.GrantID(r.text())
		copy(g.Refresh.Family[:], r.bytes())
		copy(g.Refresh.Hash[:], r.bytes())
		copy(g.Refresh.Prev[:], r.bytes())
		g.Refresh.Echo, g.Refresh.At, g.Refresh.Until = r.bytes(), r.time(), r.time()
		g.CreatedAt, g.ExpiresAt, g.RevokedAt, g.Reason = r.time(), r.time(), r.time(), r.text()
	}, args...)
	if err == nil && proofs != "" {
		err = json.Unmarshal([]byte(proofs), &g.Proofs)
	}
	return g, err
}

// raw is a document, nil for none.
func raw(doc string) json.RawMessage {
	if doc == "" {
		return nil
	}
	return json.RawMessage(doc)
}

// TokenByCode finds the grant that a code opened.
func (s *Store) TokenByCode(ctx context.Context, codeHash [sha256.Size]byte) (broker.TokenGrant, error) {
	return s.grant(ctx, selectGrant+"WHERE code_hash = $1", codeHash[:])
}

// TokenByFamily finds the grant that a refresh token belongs to.
func (s *Store) TokenByFamily(ctx context.Context, family [sha256.Size]byte) (broker.TokenGrant, error) {
	return s.grant(ctx, selectGrant+"WHERE family_hash = $1 AND refresh_until <> 0", family[:])
}

// Token finds a grant of org.
func (s *Store) Token(ctx context.Context, org directory.OrgID, id directory.GrantID) (broker.TokenGrant, error) {
	return s.grant(ctx, selectGrant+"WHERE id = $1 AND org_id = $2", id, org)
}

// RotateRefresh puts the next refresh token in the place of the one that was shown.
func (s *Store) RotateRefresh(ctx context.Context, org directory.OrgID, id directory.GrantID, was [sha256.Size]byte, next broker.Refresh) (bool, error) {
	rotated := false
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec(`UPDATE token_grants SET refresh_hash = $1, refresh_prev = $2, refresh_echo = $3, refreshed_at = $4
			WHERE id = $5 AND org_id = $6 AND refresh_hash = $7 AND refresh_until <> 0 AND revoked_at = 0`,
			next.Hash[:], next.Prev[:], append([]byte{}, next.Echo...), next.At, id, org, was[:])
		rotated = n == 1
		return err
	})
	if err != nil {
		return false, err // the write may still run: what it says is its own
	}
	return rotated, nil
}

// RevokeToken ends a grant of org; what ended it first stays.
func (s *Store) RevokeToken(ctx context.Context, org directory.OrgID, id directory.GrantID, at time.Time, reason string) (bool, error) {
	ended := false
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE id = $3 AND org_id = $4 AND revoked_at = 0", at, reason, id, org)
		ended = n == 1
		if err != nil || ended {
			return err
		}
		_, err = s.Token(ctx, org, id)
		return err
	})
	if err != nil {
		return false, err
	}
	return ended, nil
}

// RevokeTokensOf ends what a session opened: in one organization, or in all when org is "". Offline grants
// outlive their session.
func (s *Store) RevokeTokensOf(ctx context.Context, realm directory.RealmID, session directory.SessionID, org directory.OrgID, at time.Time, reason string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		q := "UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE session_id = $3 AND realm_id = $4 AND revoked_at = 0 AND offline = 0"
		args := []any{at, reason, session, realm}
		if org != "" {
			q, args = q+" AND org_id = $5", append(args, org)
		}
		_, err := t.exec(q, args...)
		return err
	})
}
