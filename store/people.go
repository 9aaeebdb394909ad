package store

import (
	"context"
	"encoding/json"

	"github.com/vestibule-id/vestibule/directory"
)

var (
	_ directory.People   = (*Store)(nil)
	_ directory.Accounts = (*Store)(nil)
)

const (
	personColumns = `p.id, p.realm_id, p.home_id, p.name, p.given, p.family, p.locale, p.email, p.email_since, p.email_proved,
		p.status, p.sessions_after, p.source, p.created_at, p.updated_at, p.profile, p.version`
	selectMember = "SELECT " + personColumns + ", " + membershipColumns + `
		FROM memberships m JOIN people p ON p.id = m.person_id WHERE m.org_id = $1 AND m.person_id = $2`
	// In a transaction the person stays as read until it commits (S15).
	selectMemberHeld = selectMember + " /*pg FOR SHARE OF p */"
	selectMemberMine = selectMember + " /*pg FOR NO KEY UPDATE OF p */"
)

func (r *row) person() directory.Person {
	p := directory.Person{ID: directory.PersonID(r.text()), Realm: directory.RealmID(r.text()), Home: directory.OrgID(r.text()),
		Name: r.text(), Given: r.text(), Family: r.text(), Locale: r.text(), Email: r.text(), EmailSince: r.time(), EmailProved: r.time(),
		Status: directory.Status(r.text()), SessionsAfter: r.time(), Source: r.text(), CreatedAt: r.time(), UpdatedAt: r.time()}
	if doc := r.text(); doc != "{}" {
		// The store wrote it; what a newer release added is not for this one.
		_ = json.Unmarshal([]byte(doc), &p.Profile)
	}
	p.Version = r.int()
	return p
}

// member is a person as one organization sees them.
type member struct {
	person     directory.Person
	membership directory.Membership
}

// Person finds whoever has a membership in org, whatever its status.
func (s *Store) Person(ctx context.Context, org directory.OrgID, id directory.PersonID) (directory.Person, directory.Membership, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return directory.Person{}, directory.Membership{}, err
	}
	now := s.now()
	known, mark, ok := s.persons.get(string(id), string(org), now)
	if ok && t == nil {
		return known.person, known.membership, nil
	}
	var m member
	q := selectMember
	if t != nil {
		q = selectMemberHeld
	}
	err = s.one(ctx, directory.ErrPersonNotFound, q, func(r *row) { m = member{r.person(), r.membership()} }, org, id)
	if err == nil && t == nil {
		s.persons.keep(string(id), string(org), m, now, mark)
	}
	return m.person, m.membership, err
}

// moved forgets what was read of a person, once the change is committed.
func (t *tx) moved(id directory.PersonID) {
	t.after = append(t.after, func() { t.store.persons.forget(string(id)) })
}

// PersonInRealm finds a person for a session.
func (s *Store) PersonInRealm(ctx context.Context, realm directory.RealmID, id directory.PersonID) (p directory.Person, err error) {
	err = s.one(ctx, directory.ErrPersonNotFound, "SELECT "+personColumns+" FROM people p WHERE p.id = $1 AND p.realm_id = $2",
		func(r *row) { p = r.person() }, id, realm)
	return p, err
}

// PersonByIdentifier finds the person that an identifier means in home's scope.
func (s *Store) PersonByIdentifier(ctx context.Context, home directory.OrgID, kind, value string) (p directory.Person, err error) {
	_, scope, err := s.identScope(ctx, home)
	if err != nil {
		return p, err
	}
	err = s.one(ctx, directory.ErrPersonNotFound, "SELECT "+personColumns+` FROM identifiers i JOIN people p ON p.id = i.person_id
		WHERE i.scope_id = $1 AND i.kind = $2 AND i.value = $3`, func(r *row) { p = r.person() }, scope, kind, value)
	return p, err
}

// PeopleByIdentifier lists whom an identifier means anywhere in the realm.
func (s *Store) PeopleByIdentifier(ctx context.Context, realm directory.RealmID, kind, value string) ([]directory.Person, error) {
	var list []directory.Person
	_, err := s.rows(ctx, "SELECT "+personColumns+` FROM identifiers i CROSS JOIN people p
		WHERE i.value = $1 AND i.kind = $2 AND p.id = i.person_id AND p.realm_id = $3 LIMIT 3`, func(r *row) { list = append(list, r.person()) }, value, kind, realm)
	return list, err
}

// identScope says within what the identifiers of people at home in an organization are unique.
func (s *Store) identScope(ctx context.Context, home directory.OrgID) (*directory.Org, string, error) {
	o, err := s.placeOf(ctx, home)
	if err != nil {
		return nil, "", err
	}
	realm, err := s.scopeOf(ctx, o.Realm)
	if err != nil {
		return nil, "", err
	}
	switch realm.Scope {
	case directory.ScopeTree:
		return o, string(o.Top), nil
	case directory.ScopeOrg:
		return o, string(o.ID), nil
	default:
		return o, string(realm.ID), nil // the widest, so a scope that this program does not know admits nobody twice
	}
}

// scopeOf finds a realm for its scope, which never changes.
func (s *Store) scopeOf(ctx context.Context, id directory.RealmID) (directory.Realm, error) {
	if r := s.caches.realms.peek(string(id)); r != nil {
		return *r, nil
	}
	return s.Realm(ctx, id)
}

// CreatePerson makes a person with the membership at home and the identifiers.
func (s *Store) CreatePerson(ctx context.Context, home directory.OrgID, p directory.Person, ids []directory.Identifier) error {
	profile, err := json.Marshal(p.Profile)
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, scope, err := s.identScope(ctx, home)
		if err != nil {
			return err
		}
		for _, i := range ids {
			if err := t.putIdentifier(scope, p.ID, i); err != nil {
				return err
			}
		}
		_, err = t.exec(`INSERT INTO people (id, realm_id, home_id, name, given, family, locale, email, email_since, email_proved,
			status, sessions_after, source, created_at, updated_at, profile, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
			p.ID, o.Realm, home, p.Name, p.Given, p.Family, p.Locale, p.Email, p.EmailSince, p.EmailProved, p.Status, p.SessionsAfter, p.Source, p.CreatedAt, p.UpdatedAt, string(profile), 1)
		if err != nil {
			return err
		}
		return t.putMembership(o.Realm, home, directory.Membership{Person: p.ID, Kind: "member", Status: directory.Active, Source: p.Source})
	})
}

func (t *tx) putIdentifier(scope string, id directory.PersonID, i directory.Identifier) error {
	n, err := t.exec(`INSERT INTO identifiers (scope_id, kind, value, person_id, verified_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (scope_id, kind, value) DO NOTHING`, scope, i.Kind, i.Value, id, i.VerifiedAt)
	if err == nil && n == 0 {
		return t.taken(directory.ErrIdentifier)
	}
	return err
}

// UpdatePerson changes a person who has a membership in org.
func (s *Store) UpdatePerson(ctx context.Context, org directory.OrgID, id directory.PersonID, change func(*directory.Person) error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var was directory.Person
		err := s.one(ctx, directory.ErrPersonNotFound, selectMemberMine, func(r *row) { was = r.person() }, org, id)
		if err != nil {
			return err
		}
		p := was
		if err := change(&p); err != nil {
			return err
		}
		if p.ID != was.ID || p.Realm != was.Realm || p.Home != was.Home {
			return ErrFixed.Because("a person's id, realm and home are not changed by UpdatePerson")
		}
		profile, err := json.Marshal(p.Profile)
		if err != nil {
			return err
		}
		n, err := t.exec(`UPDATE people SET name = $1, given = $2, family = $3, locale = $4, email = $5, email_since = $6, email_proved = $7,
			status = $8, sessions_after = $9, profile = $10, updated_at = $11, version = version + 1 WHERE id = $12 AND version = $13`,
			p.Name, p.Given, p.Family, p.Locale, p.Email, p.EmailSince, p.EmailProved, p.Status, p.SessionsAfter, string(profile), s.now(), id, was.Version)
		t.moved(id)
		if err == nil && n == 0 {
			return directory.ErrMoved
		}
		return err
	})
}

// IdentifiersOf lists what finds a person who has a membership in org.
func (s *Store) IdentifiersOf(ctx context.Context, org directory.OrgID, id directory.PersonID) ([]directory.Identifier, error) {
	var list []directory.Identifier
	_, err := s.rows(ctx, `SELECT i.kind, i.value, i.verified_at FROM memberships m JOIN identifiers i ON i.person_id = m.person_id
		WHERE m.org_id = $1 AND m.person_id = $2 ORDER BY i.kind, i.value`, func(r *row) {
		list = append(list, directory.Identifier{Kind: r.text(), Value: r.text(), VerifiedAt: r.time()})
	}, org, id)
	return list, err
}
