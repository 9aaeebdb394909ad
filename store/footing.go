package store

import (
	"context"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.Revisions = (*Store)(nil)

// All that a write rests on in one statement: on PostgreSQL each would be a round trip. Person and session
// stay as read until the transaction commits (S15).
const (
	selectFooting = `SELECT c.n, p.version FROM memberships m JOIN people p ON p.id = m.person_id JOIN counters c ON c.name = 'changes'
		WHERE m.org_id = $1 AND m.person_id = $2 /*pg FOR SHARE OF p */`
	selectFootingInSession = `SELECT c.n, p.version, v.version FROM memberships m JOIN people p ON p.id = m.person_id JOIN counters c ON c.name = 'changes'
		JOIN sessions v ON v.person_id = p.id WHERE m.org_id = $1 AND m.person_id = $2 AND v.id = $3 AND v.home_id = $4 /*pg FOR SHARE OF p, v */`
)

// Footing reads what a write of a person of org rests on, with their session of home where session is not "".
// Versions are 0 when person or session are not there; outside a transaction it is ErrOutside.
func (s *Store) Footing(ctx context.Context, org directory.OrgID, person directory.PersonID, home directory.OrgID, session directory.SessionID) (f broker.Footing, err error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return f, err
	}
	if t == nil {
		return f, ErrOutside.Because("a footing was asked for outside a transaction")
	}
	if err := t.share(); err != nil {
		return f, err
	}
	q, args := selectFooting, []any{org, person}
	if session != "" {
		q, args = selectFootingInSession, append(args, session, home)
	}
	n, err := t.read(q, func(r *row) {
		f.Revision, f.Person = r.int(), r.int()
		if session != "" {
			f.Session = r.int()
		}
	}, args)
	if err != nil {
		return f, err
	}
	if n == 0 {
		f.Revision, err = s.Revision(ctx)
		return f, err
	}
	f.Revision = t.compare(f.Revision)
	return f, nil
}
