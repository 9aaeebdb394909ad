package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var (
	_ directory.Revocations = (*Store)(nil)
	_ broker.Orders         = (*Store)(nil)
	_ broker.Endings        = (*Store)(nil)
	_ broker.Viewer         = (*Store)(nil)
)

// Revoke writes an order to end sessions and tokens; whoever carries them out on this node is woken when
// it is committed.
func (s *Store) Revoke(ctx context.Context, org directory.OrgID, v directory.Revocation) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if org != "" {
			if _, err := s.placeOf(ctx, org); err != nil {
				return err
			}
		}
		var seq int64
		if _, err := t.returning("UPDATE counters SET n = n + 1 WHERE name = 'revocations' RETURNING n", func(r *row) { seq = r.int() }); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO revocations (seq, kind, ref, org_id, reason, at, until, lease, done_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)`,
			seq, v.Kind, v.Ref, org, v.Reason, v.At, v.Until)
		t.after = append(t.after, func() { poke(s.revoked) })
		return err
	})
}

// Revoked tells whoever carries orders out that there is one.
func (s *Store) Revoked() <-chan struct{} { return s.revoked }

// ClaimRevocations takes orders that nobody is carrying out. The outer condition is what a node that
// waited for another's claim finds no longer true.
func (s *Store) ClaimRevocations(ctx context.Context, until time.Time, most int) ([]directory.Revocation, error) {
	now := s.now()
	// A look that holds nobody up first: most of the time nothing waits.
	if n, err := s.rows(ctx, "SELECT seq FROM revocations WHERE done_at = 0 AND lease <= $1 ORDER BY lease, seq LIMIT 1", nil, now); err != nil || n == 0 {
		return nil, err
	}
	var list []directory.Revocation
	err := s.write(ctx, func(_ context.Context, t *tx) error {
		list = nil
		_, err := t.returning(`UPDATE revocations SET lease = $1 WHERE done_at = 0 AND lease <= $2 AND seq IN (
			SELECT seq FROM revocations WHERE done_at = 0 AND lease <= $2 ORDER BY lease, seq LIMIT $3`+skipLocked+`)
			RETURNING seq, kind, ref, org_id, reason, at, until`, func(r *row) {
			v := directory.Revocation{Seq: r.int(), Kind: directory.RevocationKind(r.text()), Ref: r.text(), Org: directory.OrgID(r.text())}
			v.Reason, v.At, v.Until = r.text(), r.time(), r.time()
			list = append(list, v)
		}, until, now, most)
		return err
	})
	if err != nil {
		return nil, err // the write may still run: list is its own
	}
	slices.SortFunc(list, func(a, b directory.Revocation) int { return int(a.Seq - b.Seq) })
	return list, nil
}

// KeepRevocation prolongs a claim.
func (s *Store) KeepRevocation(ctx context.Context, seq int64, until time.Time) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("UPDATE revocations SET lease = $1 WHERE seq = $2 AND done_at = 0", until, seq)
		return err
	})
}

// FinishRevocation notes that an order was carried out.
func (s *Store) FinishRevocation(ctx context.Context, seq int64, at time.Time) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("UPDATE revocations SET done_at = $1 WHERE seq = $2 AND done_at = 0", at, seq)
		return err
	})
}

// OrgsBelow lists an organization and all below it, by place in the tree.
func (s *Store) OrgsBelow(ctx context.Context, org directory.OrgID) ([]directory.OrgID, error) {
	o, err := s.org(ctx, org)
	if err != nil {
		return nil, err
	}
	var list []directory.OrgID
	// Codes hold nothing above "v".
	_, err = s.rows(ctx, "SELECT id FROM organizations WHERE path >= $1 AND path < $2 ORDER BY path",
		func(r *row) { list = append(list, directory.OrgID(r.text())) }, o.Path, o.Path+"w")
	return list, err
}

// EndApps ends apps' parts of a session and returns those that it ended: of many that try, one gets each.
func (s *Store) EndApps(ctx context.Context, home directory.OrgID, id directory.SessionID, w broker.Part) ([]broker.AppMark, error) {
	var list []broker.AppMark
	err := s.write(ctx, func(_ context.Context, t *tx) error {
		list = nil
		q := `UPDATE session_apps SET ended_at = $1 WHERE session_id = $2 AND ended_at = 0 AND first_at <= $3
			AND EXISTS (SELECT 1 FROM sessions WHERE id = $2 AND home_id = $4)`
		args := []any{w.At, id, w.Before, home}
		switch {
		case w.Org != "" && w.App != "":
			q, args = q+" AND org_id = $5 AND app_id = $6", append(args, w.Org, w.App)
		case w.Org != "":
			q, args = q+" AND org_id = $5", append(args, w.Org)
		case w.App != "":
			q, args = q+" AND app_id = $5", append(args, w.App)
		}
		_, err := t.returning(q+" RETURNING app_id, org_id, sid, first_at", func(r *row) {
			list = append(list, broker.AppMark{App: directory.AppID(r.text()), Org: directory.OrgID(r.text()), SID: r.text(), First: r.time(), Ended: w.At})
		}, args...)
		return err
	})
	if err != nil {
		return nil, err // the write may still run: list is its own
	}
	slices.SortFunc(list, func(a, b broker.AppMark) int { return strings.Compare(a.SID, b.SID) })
	return list, nil
}

const selectRef = "SELECT v.id, v.home_id, v.realm_id, v.person_id, v.created_at FROM "

func (r *row) ref() broker.SessionRef {
	return broker.SessionRef{ID: directory.SessionID(r.text()), Home: directory.OrgID(r.text()), Realm: directory.RealmID(r.text()),
		Person: directory.PersonID(r.text()), CreatedAt: r.time()}
}

func (s *Store) refs(ctx context.Context, q string, args ...any) (list []broker.SessionRef, err error) {
	_, err = s.rows(ctx, selectRef+q, func(r *row) { list = append(list, r.ref()) }, args...)
	return list, err
}

// SessionsFrom lists running sessions of people at home in an organization, by person and id.
func (s *Store) SessionsFrom(ctx context.Context, home directory.OrgID, after broker.SessionRef, most int) ([]broker.SessionRef, error) {
	return s.refs(ctx, `sessions v WHERE v.home_id = $1 AND (v.person_id, v.id) > ($2, $3) AND v.ended_at = 0 ORDER BY v.person_id, v.id LIMIT $4`,
		home, after.Person, after.ID, most)
}

// SessionsIn lists sessions that were used for an organization, by id.
func (s *Store) SessionsIn(ctx context.Context, org directory.OrgID, after directory.SessionID, most int) ([]broker.SessionRef, error) {
	return s.refs(ctx, `session_orgs o JOIN sessions v ON v.id = o.session_id WHERE o.org_id = $1 AND o.session_id > $2 ORDER BY o.session_id LIMIT $3`,
		org, after, most)
}

// SessionsWith lists sessions that signed in to an app, by id.
func (s *Store) SessionsWith(ctx context.Context, app directory.AppID, after directory.SessionID, most int) ([]broker.SessionRef, error) {
	return s.refs(ctx, `session_apps a JOIN sessions v ON v.id = a.session_id WHERE a.app_id = $1 AND a.session_id > $2 AND a.ended_at = 0
		ORDER BY a.session_id LIMIT $3`, app, after, most)
}

// RevokeTokensIn revokes some of the grants of an organization, of one person or of all when person is "",
// of one app or of all.
func (s *Store) RevokeTokensIn(ctx context.Context, org directory.OrgID, person directory.PersonID, w broker.Part, most int) (int, error) {
	switch {
	case person == "" && w.App == "":
		return s.revokeSome(ctx, "org_id = $3", org, w, most)
	case person == "":
		return s.revokeSome(ctx, "org_id = $3 AND app_id = $6", org, w, most, w.App)
	case w.App != "":
		return s.revokeSome(ctx, "org_id = $3 AND person_id = $6 AND app_id = $7", org, w, most, person, w.App)
	}
	return s.revokeSome(ctx, "org_id = $3 AND person_id = $6", org, w, most, person)
}

// RevokeTokensFor revokes some of the grants of an app.
func (s *Store) RevokeTokensFor(ctx context.Context, app directory.AppID, w broker.Part, most int) (int, error) {
	return s.revokeSome(ctx, "app_id = $3", app, w, most)
}

func (s *Store) revokeSome(ctx context.Context, whose string, ref any, w broker.Part, most int, more ...any) (int, error) {
	var n int64
	err := s.write(ctx, func(_ context.Context, t *tx) (err error) {
		args := append([]any{w.At, w.Reason, ref, w.Before, most}, more...)
		n, err = t.exec(`UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE revoked_at = 0 AND id IN (
			SELECT id FROM token_grants WHERE revoked_at = 0 AND `+whose+` AND created_at <= $4 LIMIT $5)`, args...)
		return err
	})
	if err != nil {
		return 0, err // the write may still run: n is its own
	}
	return int(n), nil
}

// SessionsOf lists a person's running sessions with what they were used for, the newest first.
func (s *Store) SessionsOf(ctx context.Context, home directory.OrgID, person directory.PersonID) ([]broker.SessionView, error) {
	var list []broker.SessionView
	at := map[string]int{}
	_, err := s.rows(ctx, `SELECT id, realm_id, created_at, ends_at, device, version FROM sessions
		WHERE home_id = $1 AND person_id = $2 AND ended_at = 0 ORDER BY id DESC LIMIT $3`, func(r *row) {
		v := broker.SessionView{Session: broker.Session{ID: directory.SessionID(r.text()), Realm: directory.RealmID(r.text()), Person: person, Home: home,
			CreatedAt: r.time(), Ends: r.time(), Device: r.text(), Version: r.int()}}
		at[string(v.ID)] = len(list)
		list = append(list, v)
	}, home, person, broker.MaxSessionsShown)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	oldest := list[len(list)-1].ID
	_, err = s.rows(ctx, `SELECT o.session_id, o.org_id, o.since, o.seen, o.held FROM sessions v JOIN session_orgs o ON o.session_id = v.id
		WHERE v.home_id = $1 AND v.person_id = $2 AND v.ended_at = 0 AND v.id >= $3`, func(r *row) {
		if i, ok := at[r.text()]; ok {
			list[i].Orgs = append(list[i].Orgs, broker.OrgMark{Org: directory.OrgID(r.text()), Since: r.time(), Seen: r.time(), Held: r.time()})
		}
	}, home, person, oldest)
	if err != nil {
		return nil, err
	}
	_, err = s.rows(ctx, `SELECT a.session_id, a.app_id, a.org_id, a.sid, a.first_at FROM sessions v JOIN session_apps a ON a.session_id = v.id
		WHERE v.home_id = $1 AND v.person_id = $2 AND v.ended_at = 0 AND v.id >= $3 AND a.ended_at = 0`, func(r *row) {
		if i, ok := at[r.text()]; ok {
			list[i].Apps = append(list[i].Apps, broker.AppMark{App: directory.AppID(r.text()), Org: directory.OrgID(r.text()), SID: r.text(), First: r.time()})
		}
	}, home, person, oldest)
	return list, err
}
