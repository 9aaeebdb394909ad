package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

var (
	_ directory.Passwords = (*Store)(nil)
	_ flows.Guesses       = (*Store)(nil)
)

func passwordSlot(id directory.PasswordID, home directory.OrgID) slot {
	return slot{"passwords", "hash", string(id), string(home)}
}

// sealedPassword is a row as it lies there.
type sealedPassword struct {
	directory.Password
	hash []byte
}

func (r *row) password() sealedPassword {
	p := sealedPassword{Password: directory.Password{ID: directory.PasswordID(r.text())}, hash: r.bytes()}
	p.Set, p.Source = r.time(), directory.PasswordSource(r.text())
	return p
}

func (s *Store) openPassword(ctx context.Context, home directory.OrgID, p *sealedPassword) error {
	plain, err := s.unseal(ctx, passwordSlot(p.ID, home), p.hash)
	p.Hash = string(plain)
	return err
}

// PasswordOf gives the current password of a person at home in home.
func (s *Store) PasswordOf(ctx context.Context, home directory.OrgID, person directory.PersonID) (directory.Password, error) {
	var p sealedPassword
	n, err := s.rows(ctx, "SELECT id, hash, set_at, source FROM passwords WHERE person_id = $1 AND state = 'current' AND home_id = $2", func(r *row) { p = r.password() }, person, home)
	if err == nil && n > 0 {
		err = s.openPassword(ctx, home, &p)
	}
	if err != nil {
		return directory.Password{}, err
	}
	return p.Password, nil
}

// EarlierPasswords gives the hashes of those before the current one.
func (s *Store) EarlierPasswords(ctx context.Context, home directory.OrgID, person directory.PersonID, n int) ([]string, error) {
	var list []sealedPassword
	_, err := s.rows(ctx, "SELECT id, hash, set_at, source FROM passwords WHERE person_id = $1 AND home_id = $2 AND state = 'earlier' ORDER BY set_at DESC, id DESC LIMIT $3",
		func(r *row) { list = append(list, r.password()) }, person, home, n)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range list {
		if err := s.openPassword(ctx, home, &p); err != nil {
			return nil, err
		}
		out = append(out, p.Hash)
	}
	return out, nil
}

// PutPassword makes a password the current one of a person at home in home.
func (s *Store) PutPassword(ctx context.Context, home directory.OrgID, person directory.PersonID, p directory.Password, keep int) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		// The person's row first: of two at once the second waits here, and takes the first one's place.
		var at directory.OrgID
		err := s.one(ctx, directory.ErrPersonNotFound, "SELECT home_id FROM people WHERE id = $1"+heldByMe, func(r *row) { at = directory.OrgID(r.text()) }, person)
		if err == nil && at != home {
			err = directory.ErrPersonNotFound
		}
		if err != nil {
			return err
		}
		o, err := s.placeOf(ctx, home)
		if err != nil {
			return err
		}
		hash, err := s.seal(ctx, t, string(o.Top), passwordSlot(p.ID, home), []byte(p.Hash))
		if err != nil {
			return err
		}
		if err := t.send("UPDATE passwords SET state = 'earlier' WHERE person_id = $1 AND state = 'current'", person); err != nil {
			return err
		}
		if err := t.send(`DELETE FROM passwords WHERE person_id = $1 AND home_id = $2 AND id NOT IN (
			SELECT id FROM passwords WHERE person_id = $1 AND home_id = $2 ORDER BY set_at DESC, id DESC LIMIT $3)`, person, home, max(keep, 0)); err != nil {
			return err
		}
		return t.send("INSERT INTO passwords (id, home_id, person_id, hash, set_at, source, state) VALUES ($1, $2, $3, $4, $5, $6, 'current')",
			p.ID, home, person, hash, p.Set, string(p.Source))
	})
}

// RehashPassword replaces the hash of the current password.
func (s *Store) RehashPassword(ctx context.Context, home directory.OrgID, person directory.PersonID, id directory.PasswordID, hash string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, home)
		if err != nil {
			return err
		}
		sealed, err := s.seal(ctx, t, string(o.Top), passwordSlot(id, home), []byte(hash))
		if err != nil {
			return err
		}
		n, err := t.exec("UPDATE passwords SET hash = $1 WHERE id = $2 AND person_id = $3 AND home_id = $4 AND state = 'current'", sealed, id, person, home)
		if err == nil && n == 0 {
			return t.taken(directory.ErrPasswordMoved)
		}
		return err
	})
}

// Guess adds one guess to a bucket, on the disk before it returns.
func (s *Store) Guess(ctx context.Context, realm directory.RealmID, who string, now time.Time, b flows.Bucket) (wait time.Duration, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		wait = 0
		empty, err := s.bucket(ctx, t, realm, who)
		if err != nil {
			return err
		}
		// A bucket that a clock filled which was ahead is full, and no more than that.
		if empty = b.Add(empty, now); empty.After(now.Add(b.For)) {
			wait = empty.Sub(now.Add(b.For))
			return nil
		}
		return t.send("UPDATE guesses SET empty_at = $1 WHERE realm_id = $2 AND who = $3", empty, realm, who)
	})
	if err != nil {
		return 0, err
	}
	return wait, nil
}

// Forgive takes a guess back that was right.
func (s *Store) Forgive(ctx context.Context, realm directory.RealmID, who string, now time.Time, b flows.Bucket) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.send("UPDATE guesses SET empty_at = empty_at - $1 WHERE realm_id = $2 AND who = $3", b.Step().Microseconds(), realm, who)
	})
}

// bucket holds a row, made when there is none, until the transaction commits.
func (s *Store) bucket(ctx context.Context, t *tx, realm directory.RealmID, who string) (empty time.Time, err error) {
	if err := t.send("INSERT INTO guesses (realm_id, who, empty_at) VALUES ($1, $2, 0) ON CONFLICT (realm_id, who) DO NOTHING", realm, who); err != nil {
		return empty, err
	}
	_, err = s.rows(ctx, "SELECT empty_at FROM guesses WHERE realm_id = $1 AND who = $2"+heldByMe, func(r *row) { empty = r.time() }, realm, who)
	return empty, err
}
