package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.Sessions = (*Store)(nil)

const (
	selectSession = `SELECT id, token_hash, realm_id, person_id, home_id, created_at, ends_at, ended_at, device, proofs, version FROM sessions `
	// keepEnded is how long a session that is over can still be found: long enough for the logout that
	// names it.
	keepEnded = 24 * time.Hour
)

// CreateSession stores a session with its proofs and organizations.
func (s *Store) CreateSession(ctx context.Context, home directory.OrgID, v broker.Session) error {
	proofs, err := json.Marshal(v.Proofs)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, home)
		if err != nil {
			return err
		}
		err = t.send(`INSERT INTO sessions (id, token_hash, realm_id, person_id, home_id, created_at, ends_at, ended_at, device, proofs, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			v.ID, v.TokenHash[:], o.Realm, v.Person, home, v.CreatedAt, v.Ends, v.Ended, v.Device, string(proofs), 1)
		if err != nil {
			return err
		}
		v.Realm, v.Home, v.Version = o.Realm, home, 1
		t.made = madeSession{home, v.ID}
		t.wroteSession(v)
		for _, m := range v.Orgs { // of a new session, so there is nothing to meet
			if err := t.send("INSERT INTO session_orgs (session_id, org_id, since, seen, held) VALUES ($1, $2, $3, $4, $5)", v.ID, m.Org, m.Since, m.Seen, m.Held); err != nil {
				return err
			}
		}
		return nil
	})
}

// wroteSession remembers a session as it was just written, for the app that redeems its code next.
func (t *tx) wroteSession(v broker.Session) {
	s, now := t.store, t.store.now()
	v = asKept(cloned(v))
	slices.SortFunc(v.Orgs, func(a, b broker.OrgMark) int { return strings.Compare(string(a.Org), string(b.Org)) })
	t.after = append(t.after, func() {
		s.sessions.forget(string(v.ID))
		s.sessions.wrote(string(v.ID), string(v.Home), v, now)
	})
}

// asKept gives a session with the times that the database would give back.
func asKept(v broker.Session) broker.Session {
	for _, at := range []*time.Time{&v.CreatedAt, &v.Ends, &v.Ended} {
		*at = fromMicros(micros(*at))
	}
	for i := range v.Orgs {
		for _, at := range []*time.Time{&v.Orgs[i].Since, &v.Orgs[i].Seen, &v.Orgs[i].Held} {
			*at = fromMicros(micros(*at))
		}
	}
	for i := range v.Proofs {
		for _, at := range []*time.Time{&v.Proofs[i].At, &v.Proofs[i].Seen, &v.Proofs[i].Until} {
			*at = at.Round(0) // JSON keeps no monotonic reading
		}
	}
	return v
}

// cloned gives a session whose lists may be changed.
func cloned(v broker.Session) broker.Session {
	v.Proofs, v.Orgs = slices.Clone(v.Proofs), slices.Clone(v.Orgs)
	return v
}

// SessionByToken finds a session, ended or not.
func (s *Store) SessionByToken(ctx context.Context, hash [sha256.Size]byte) (broker.Session, error) {
	return s.session(ctx, selectSession+"WHERE token_hash = $1", hash[:])
}

// Session finds a session of home by its public id.
func (s *Store) Session(ctx context.Context, home directory.OrgID, id directory.SessionID) (broker.Session, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return broker.Session{}, err
	}
	if v, _, ok := s.sessions.get(string(id), string(home), s.now()); ok && t == nil {
		return cloned(v), nil
	}
	if t != nil {
		return s.session(ctx, selectSession+"WHERE id = $1 AND home_id = $2"+heldAsRead, id, home)
	}
	return s.session(ctx, selectSession+"WHERE id = $1 AND home_id = $2", id, home)
}

func (s *Store) session(ctx context.Context, q string, args ...any) (v broker.Session, err error) {
	var proofs string
	err = s.one(ctx, broker.ErrSessionNotFound, q, func(r *row) {
		v.ID = directory.SessionID(r.text())
		copy(v.TokenHash[:], r.bytes())
		v.Realm, v.Person, v.Home = directory.RealmID(r.text()), directory.PersonID(r.text()), directory.OrgID(r.text())
		v.CreatedAt, v.Ends, v.Ended, v.Device = r.time(), r.time(), r.time(), r.text()
		proofs, v.Version = r.text(), r.int()
	}, args...)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(proofs), &v.Proofs); err != nil {
		return v, err
	}
	_, err = s.rows(ctx, "SELECT org_id, since, seen, held FROM session_orgs WHERE session_id = $1 ORDER BY org_id", func(r *row) {
		v.Orgs = append(v.Orgs, broker.OrgMark{Org: directory.OrgID(r.text()), Since: r.time(), Seen: r.time(), Held: r.time()})
	}, v.ID)
	return v, err
}

// UpdateSession stores TokenHash, Ends, Ended, Proofs and Orgs.
func (s *Store) UpdateSession(ctx context.Context, home directory.OrgID, id directory.SessionID, change func(*broker.Session) error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		was, err := s.session(ctx, selectSession+"WHERE id = $1 AND home_id = $2"+heldByMe, id, home)
		if err != nil {
			return err
		}
		v := was
		v.Orgs = append([]broker.OrgMark(nil), was.Orgs...)
		if err := change(&v); err != nil {
			return err
		}
		proofs, err := json.Marshal(v.Proofs)
		if err != nil {
			return err
		}
		n, err := t.exec(`UPDATE sessions SET token_hash = $1, ends_at = $2, ended_at = $3, proofs = $4, version = version + 1
			WHERE id = $5 AND version = $6`, v.TokenHash[:], v.Ends, v.Ended, string(proofs), id, was.Version)
		if err != nil {
			return err
		}
		if n == 0 {
			return directory.ErrMoved
		}
		v.Version = was.Version + 1
		t.wroteSession(v)
		return t.putMarks(id, was.Orgs, v.Orgs)
	})
}

// putMarks writes the organizations' marks that are new or moved, and removes those that are gone.
func (t *tx) putMarks(id directory.SessionID, was, now []broker.OrgMark) error {
	before := map[directory.OrgID]broker.OrgMark{}
	for _, m := range was {
		before[m.Org] = m
	}
	for _, m := range now {
		old, had := before[m.Org]
		delete(before, m.Org)
		if had && old == m {
			continue
		}
		if err := t.send(`INSERT INTO session_orgs (session_id, org_id, since, seen, held) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (session_id, org_id) DO UPDATE SET since = excluded.since, seen = excluded.seen, held = excluded.held`,
			id, m.Org, m.Since, m.Seen, m.Held); err != nil {
			return err
		}
	}
	for org := range before {
		if err := t.send("DELETE FROM session_orgs WHERE session_id = $1 AND org_id = $2", id, org); err != nil {
			return err
		}
	}
	return nil
}

// madeSession names a session with its home.
type madeSession struct {
	home directory.OrgID
	id   directory.SessionID
}

const insertMark = `INSERT INTO session_apps (session_id, app_id, org_id, sid, first_at)
	SELECT $1, $2, $3, $4, $5 FROM sessions WHERE id = $1 AND home_id = $6
	ON CONFLICT (session_id, app_id, org_id) DO UPDATE SET sid = excluded.sid, first_at = excluded.first_at, ended_at = 0
	WHERE session_apps.ended_at <> 0`

// MarkApp notes an app that was signed in to; the first note stays until it ends, and is returned.
func (s *Store) MarkApp(ctx context.Context, home directory.OrgID, id directory.SessionID, m broker.AppMark) (broker.AppMark, error) {
	kept := m
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if t.made == (madeSession{home, id}) {
			kept, t.made = m, madeSession{} // a session of this moment has no other mark, and has one now
			return t.send("INSERT INTO session_apps (session_id, app_id, org_id, sid, first_at) VALUES ($1, $2, $3, $4, $5)", id, m.App, m.Org, m.SID, m.First)
		}
		n, err := t.exec(insertMark, id, m.App, m.Org, m.SID, m.First, home)
		if err != nil || n == 1 {
			return err
		}
		return s.one(ctx, broker.ErrSessionNotFound, `SELECT a.sid, a.first_at FROM sessions v JOIN session_apps a ON a.session_id = v.id
			WHERE v.id = $1 AND v.home_id = $2 AND a.app_id = $3 AND a.org_id = $4`,
			func(r *row) { kept.SID, kept.First = r.text(), r.time() }, id, home, m.App, m.Org)
	})
	if err != nil {
		return broker.AppMark{}, err
	}
	return kept, nil
}

// AppsOf lists the apps a session signed in to.
func (s *Store) AppsOf(ctx context.Context, home directory.OrgID, id directory.SessionID) ([]broker.AppMark, error) {
	var list []broker.AppMark
	_, err := s.rows(ctx, `SELECT a.app_id, a.org_id, a.sid, a.first_at, a.ended_at FROM sessions v JOIN session_apps a ON a.session_id = v.id
		WHERE v.id = $1 AND v.home_id = $2 ORDER BY a.app_id, a.org_id`, func(r *row) {
		list = append(list, broker.AppMark{App: directory.AppID(r.text()), Org: directory.OrgID(r.text()), SID: r.text(), First: r.time(), Ended: r.time()})
	}, id, home)
	return list, err
}
