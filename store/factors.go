package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
)

var (
	_ mfa.Enrollments = (*Store)(nil)
	_ mfa.Tries       = (*Store)(nil)
)

const selectFactor = `SELECT id, realm_id, home_id, person_id, org_id, method, label, secret, public, handle, counter, created_at, last_used, counts_from, version FROM factors `

// factor reads a row; its secret is sealed still.
func (r *row) factor() mfa.Enrollment {
	return mfa.Enrollment{
		ID: directory.FactorID(r.text()), Realm: directory.RealmID(r.text()), Home: directory.OrgID(r.text()), Person: directory.PersonID(r.text()),
		Org: directory.OrgID(r.text()), Method: mfa.Method(r.text()), Label: r.text(), Secret: r.bytes(), Public: []byte(r.text()), Handle: r.bytes(),
		Counter: r.int(), CreatedAt: r.time(), LastUsed: r.time(), CountsFrom: r.time(), Version: r.int(),
	}
}

func factorSlot(e mfa.Enrollment) slot {
	return slot{"factors", "secret", string(e.ID), string(e.Home)}
}

// opened gives enrollments with their secrets.
func (s *Store) opened(ctx context.Context, list ...mfa.Enrollment) error {
	for i, e := range list {
		if len(e.Secret) == 0 {
			list[i].Secret = nil
			continue
		}
		var err error
		if list[i].Secret, err = s.unseal(ctx, factorSlot(e), e.Secret); err != nil {
			return err
		}
	}
	return nil
}

// EnrollmentsOf lists what a person at home in home set up, the oldest first.
func (s *Store) EnrollmentsOf(ctx context.Context, home directory.OrgID, person directory.PersonID) ([]mfa.Enrollment, error) {
	var list []mfa.Enrollment
	_, err := s.rows(ctx, selectFactor+"WHERE person_id = $1 AND home_id = $2 ORDER BY created_at, id", func(r *row) { list = append(list, r.factor()) }, person, home)
	if err == nil {
		err = s.opened(ctx, list...)
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}

// EnrollmentByHandle finds a credential of the realm by what it calls itself.
func (s *Store) EnrollmentByHandle(ctx context.Context, realm directory.RealmID, handle []byte) (mfa.Enrollment, error) {
	if len(handle) == 0 {
		return mfa.Enrollment{}, mfa.ErrNotFound
	}
	list := make([]mfa.Enrollment, 1)
	err := s.one(ctx, mfa.ErrNotFound, selectFactor+"WHERE realm_id = $1 AND handle = $2 AND length(handle) > 0", func(r *row) { list[0] = r.factor() }, realm, handle)
	if err == nil {
		err = s.opened(ctx, list...)
	}
	if err != nil {
		return mfa.Enrollment{}, err
	}
	return list[0], nil
}

func (s *Store) sealFactor(ctx context.Context, t *tx, e mfa.Enrollment) ([]byte, error) {
	if len(e.Secret) == 0 {
		return []byte{}, nil
	}
	o, err := s.placeOf(ctx, e.Home)
	if err != nil {
		return nil, err
	}
	return s.seal(ctx, t, string(o.Top), factorSlot(e), e.Secret)
}

// AddEnrollment stores one of a person at home in home.
func (s *Store) AddEnrollment(ctx context.Context, home directory.OrgID, e mfa.Enrollment) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		p, err := s.homely(ctx, home, e.Person)
		if err != nil {
			return err
		}
		e.Home, e.Realm = home, p.Realm
		secret, err := s.sealFactor(ctx, t, e)
		if err != nil {
			return err
		}
		handle := e.Handle
		if handle == nil {
			handle = []byte{}
		}
		if len(handle) > 0 {
			if _, err := s.EnrollmentByHandle(ctx, e.Realm, handle); err == nil {
				return mfa.ErrTaken
			}
		}
		n, err := t.exec(`INSERT INTO factors (id, realm_id, home_id, person_id, org_id, method, label, secret, public, handle, counter, created_at, last_used, counts_from, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1) ON CONFLICT DO NOTHING`,
			e.ID, e.Realm, home, e.Person, e.Org, e.Method, e.Label, secret, string(e.Public), handle, e.Counter, e.CreatedAt, e.LastUsed, e.CountsFrom)
		if err == nil && n == 0 {
			return t.taken(mfa.ErrTaken)
		}
		return err
	})
}

// homely finds a person who is at home in home.
func (s *Store) homely(ctx context.Context, home directory.OrgID, id directory.PersonID) (directory.Person, error) {
	p, _, err := s.Person(ctx, home, id)
	if err == nil && p.Home != home {
		return directory.Person{}, directory.ErrPersonNotFound
	}
	return p, err
}

// UpdateEnrollment changes one where it is: of two at once, the second sees what the first left.
func (s *Store) UpdateEnrollment(ctx context.Context, home directory.OrgID, id directory.FactorID, change func(*mfa.Enrollment) error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		list := make([]mfa.Enrollment, 1)
		err := s.one(ctx, mfa.ErrNotFound, selectFactor+"WHERE id = $1 AND home_id = $2"+heldByMe, func(r *row) { list[0] = r.factor() }, id, home)
		if err == nil {
			err = s.opened(ctx, list...)
		}
		if err != nil {
			return err
		}
		e := list[0]
		if err := change(&e); err != nil {
			return err
		}
		secret, err := s.sealFactor(ctx, t, e)
		if err != nil {
			return err
		}
		n, err := t.exec(`UPDATE factors SET label = $1, secret = $2, public = $3, counter = $4, last_used = $5, counts_from = $6, version = version + 1
			WHERE id = $7 AND version = $8`, e.Label, secret, string(e.Public), e.Counter, e.LastUsed, e.CountsFrom, id, list[0].Version)
		if err == nil && n == 0 {
			return t.taken(directory.ErrMoved)
		}
		return err
	})
}

// RemoveEnrollment ends one.
func (s *Store) RemoveEnrollment(ctx context.Context, home directory.OrgID, id directory.FactorID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("DELETE FROM factors WHERE id = $1 AND home_id = $2", id, home)
		if err == nil && n == 0 {
			return mfa.ErrNotFound
		}
		return err
	})
}

// trySlot is how finely wrong answers are counted in time.
const trySlot = 6 * time.Minute

func slotOf(now time.Time) time.Time { return now.UTC().Truncate(trySlot) }

// CountTry counts one answer before it is looked at, on the disk before it returns.
func (s *Store) CountTry(ctx context.Context, home directory.OrgID, person directory.PersonID, m mfa.Method, now time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		at := slotOf(now)
		// Its own row first: of many at once each waits here, and sees the others' counts.
		_, err := t.exec(`INSERT INTO tries (person_id, home_id, method, slot, n) VALUES ($1, $2, $3, $4, 1)
			ON CONFLICT (person_id, home_id, method, slot) DO UPDATE SET n = tries.n + 1`, person, home, m, at)
		if err != nil {
			return err
		}
		var hour, day int64
		// A slot that lies ahead was counted before the clock was set back: it counts.
		_, err = s.rows(ctx, "SELECT slot, n FROM tries WHERE person_id = $1 AND home_id = $2 AND method = $3 AND slot > $4", func(r *row) {
			slot, n := r.time(), r.int()
			day += n
			if slot.After(at.Add(-time.Hour)) {
				hour += n
			}
		}, person, home, m, at.Add(-24*time.Hour))
		if err == nil && (hour > mfa.TriesAnHour || day > mfa.TriesADay) {
			return mfa.ErrResting
		}
		return err
	})
}

// ForgiveTry takes one back.
func (s *Store) ForgiveTry(ctx context.Context, home directory.OrgID, person directory.PersonID, m mfa.Method, now time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.send("UPDATE tries SET n = n - 1 WHERE person_id = $1 AND home_id = $2 AND method = $3 AND slot = $4 AND n > 0", person, home, m, slotOf(now))
	})
}
