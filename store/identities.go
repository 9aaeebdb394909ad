package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

var _ directory.Identities = (*Store)(nil)

// PersonByIdentity finds who signs in as key, compared byte by byte (S4). org is the connection's. The
// membership there comes along, because it is what every login asks for next.
func (s *Store) PersonByIdentity(ctx context.Context, org directory.OrgID, key directory.IdentityKey) (directory.Person, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return directory.Person{}, err
	}
	var m member
	var last time.Time
	mark, now := s.persons.mark(), s.now()
	err = s.one(ctx, directory.ErrPersonNotFound, "SELECT "+personColumns+", "+membershipColumns+`, i.last_login
		FROM identities i JOIN people p ON p.id = i.person_id
		LEFT JOIN memberships m ON m.org_id = i.org_id AND m.person_id = p.id
		WHERE i.connection_id = $1 AND i.issuer = $2 AND i.subject = $3 AND i.qualifiers = $4 AND i.org_id = $5`,
		func(r *row) { m, last = member{r.person(), r.membership()}, r.time() }, key.Connection, key.Issuer, key.Subject, key.Qualifiers, org)
	if err == nil && t == nil && m.membership.Person != "" {
		s.persons.keep(string(m.person.ID), string(org), m, now, mark)
		s.touched.wrote(touchedKey(key), string(org), last, now)
	}
	return m.person, err
}

// touchedKey is one string for an identity. Its parts cannot run into one another: text holds no NUL.
func touchedKey(k directory.IdentityKey) string {
	return string(k.Connection) + "\x00" + k.Issuer + "\x00" + k.Subject + "\x00" + k.Qualifiers
}

// LinkIdentity links an upstream account of org's own connection to a person of the realm.
func (s *Store) LinkIdentity(ctx context.Context, org directory.OrgID, i directory.Identity) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		c, err := s.ownerOf(ctx, i.Key.Connection)
		if err != nil {
			return err
		}
		if c.Org != org {
			return upstream.ErrConnectionNotFound
		}
		if _, err := s.PersonInRealm(ctx, c.Realm, i.Person); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO identities (connection_id, issuer, subject, qualifiers, org_id, realm_id, person_id, created_at, last_login)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (connection_id, issuer, subject, qualifiers) DO NOTHING`,
			i.Key.Connection, i.Key.Issuer, i.Key.Subject, i.Key.Qualifiers, org, c.Realm, i.Person, i.CreatedAt, i.LastLogin)
		if err != nil || n == 1 {
			return err
		}
		holder, err := s.PersonByIdentity(ctx, org, i.Key)
		if err == nil && holder.ID != i.Person {
			return t.taken(directory.ErrIdentityTaken)
		}
		return err
	})
}

// ownerOf finds a connection for its organization and realm, which never change.
func (s *Store) ownerOf(ctx context.Context, id directory.ConnectionID) (upstream.Connection, error) {
	if c := s.caches.connections.peek(string(id)); c != nil {
		return *c, nil
	}
	return s.ConnectionByID(ctx, id)
}

// IdentitiesOf lists a person's upstream accounts in all organizations of the realm.
func (s *Store) IdentitiesOf(ctx context.Context, realm directory.RealmID, person directory.PersonID) ([]directory.Identity, error) {
	var list []directory.Identity
	_, err := s.rows(ctx, `SELECT connection_id, issuer, subject, qualifiers, org_id, person_id, created_at, last_login
		FROM identities WHERE person_id = $1 AND realm_id = $2 ORDER BY connection_id, issuer, subject, qualifiers`, func(r *row) {
		list = append(list, directory.Identity{Key: directory.IdentityKey{Connection: directory.ConnectionID(r.text()), Issuer: r.text(),
			Subject: r.text(), Qualifiers: r.text()}, Org: directory.OrgID(r.text()), Person: directory.PersonID(r.text()),
			CreatedAt: r.time(), LastLogin: r.time()})
	}, person, realm)
	return list, err
}

// TouchIdentity notes a login, to the hour: a row that every login reads is not written by every login.
func (s *Store) TouchIdentity(ctx context.Context, org directory.OrgID, key directory.IdentityKey, at time.Time) error {
	// The login that wants it noted has just found the person by it.
	if last, _, ok := s.touched.get(touchedKey(key), string(org), s.now()); ok && at.Sub(last) < time.Hour {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var last time.Time
		err := s.one(ctx, directory.ErrPersonNotFound, `SELECT last_login FROM identities
			WHERE connection_id = $1 AND issuer = $2 AND subject = $3 AND qualifiers = $4 AND org_id = $5`,
			func(r *row) { last = r.time() }, key.Connection, key.Issuer, key.Subject, key.Qualifiers, org)
		if err != nil || at.Sub(last) < time.Hour {
			return err
		}
		_, err = t.exec(`UPDATE identities SET last_login = $5 WHERE connection_id = $1 AND issuer = $2 AND subject = $3 AND qualifiers = $4`,
			key.Connection, key.Issuer, key.Subject, key.Qualifiers, at)
		return err
	})
}
