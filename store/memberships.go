package store

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
)

var _ directory.Memberships = (*Store)(nil)

const membershipColumns = "m.org_id, m.person_id, m.kind, m.status, m.source, m.until, m.accepts"

func (r *row) membership() directory.Membership {
	return directory.Membership{Org: directory.OrgID(r.text()), Person: directory.PersonID(r.text()), Kind: r.text(),
		Status: directory.Status(r.text()), Source: r.text(), Until: r.time(), Accepts: directory.ConnectionID(r.text())}
}

// MembershipsOf lists a person's memberships, by organization.
func (s *Store) MembershipsOf(ctx context.Context, realm directory.RealmID, person directory.PersonID) ([]directory.Membership, error) {
	var list []directory.Membership
	_, err := s.rows(ctx, "SELECT "+membershipColumns+" FROM memberships m WHERE m.person_id = $1 AND m.realm_id = $2 ORDER BY m.org_id",
		func(r *row) { list = append(list, r.membership()) }, person, realm)
	return list, err
}

// PutMembership adds or replaces a membership of a person of the same realm.
func (s *Store) PutMembership(ctx context.Context, org directory.OrgID, m directory.Membership) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, org)
		if err != nil {
			return err
		}
		if err := t.movePerson(o.Realm, m.Person); err != nil {
			return err
		}
		return t.putMembership(o.Realm, org, m)
	})
}

func (t *tx) putMembership(realm directory.RealmID, org directory.OrgID, m directory.Membership) error {
	_, err := t.exec(`INSERT INTO memberships (org_id, person_id, realm_id, kind, status, source, until, accepts)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (org_id, person_id) DO UPDATE SET kind = excluded.kind,
		status = excluded.status, source = excluded.source, until = excluded.until, accepts = excluded.accepts`,
		org, m.Person, realm, m.Kind, m.Status, m.Source, m.Until, m.Accepts)
	return err
}

// movePerson moves a person's version: whatever was decided on the former one is decided again (S15).
func (t *tx) movePerson(realm directory.RealmID, id directory.PersonID) error {
	n, err := t.exec("UPDATE people SET version = version + 1 WHERE id = $1 AND realm_id = $2", id, realm)
	t.moved(id)
	if err == nil && n == 0 {
		return directory.ErrPersonNotFound
	}
	return err
}

// RemoveMembership ends a person's presence in org.
func (s *Store) RemoveMembership(ctx context.Context, org directory.OrgID, person directory.PersonID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.placeOf(ctx, org)
		if err != nil {
			return err
		}
		n, err := t.exec("DELETE FROM memberships WHERE org_id = $1 AND person_id = $2", org, person)
		if err != nil || n == 0 {
			return err
		}
		return t.movePerson(o.Realm, person)
	})
}
