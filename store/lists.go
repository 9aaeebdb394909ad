package store

import (
	"context"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/manifest"
)

var _ manifest.Lists = (*Store)(nil)

// What exists, for pruning and export. These read the tables and not the caches: nobody asks in a login.

// RealmList lists all realms, by handle.
func (s *Store) RealmList(ctx context.Context) ([]directory.Realm, error) {
	var list []directory.Realm
	_, err := s.rows(ctx, selectRealm+"ORDER BY handle", func(r *row) { list = append(list, r.realm()) })
	return list, err
}

// OrgList lists a realm's organizations of any status, parents before their children: a path begins
// with the parent's.
func (s *Store) OrgList(ctx context.Context, realm directory.RealmID) ([]directory.Org, error) {
	var list []directory.Org
	_, err := s.rows(ctx, selectOrg+"WHERE realm_id = $1 ORDER BY path", func(r *row) { list = append(list, r.org()) }, realm)
	return list, err
}

// AppList lists a realm's apps, by client id.
func (s *Store) AppList(ctx context.Context, realm directory.RealmID) ([]broker.App, error) {
	var ids []directory.AppID
	_, err := s.rows(ctx, "SELECT id FROM apps WHERE realm_id = $1 ORDER BY client_id", func(r *row) { ids = append(ids, directory.AppID(r.text())) }, realm)
	if err != nil {
		return nil, err
	}
	list := make([]broker.App, 0, len(ids))
	for _, id := range ids {
		a, err := s.AppByID(ctx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// EntitlementList lists what org itself is entitled to, by app.
func (s *Store) EntitlementList(ctx context.Context, org directory.OrgID) ([]directory.Entitlement, error) {
	var list []directory.Entitlement
	_, err := s.rows(ctx, "SELECT org_id, app_id, below FROM entitlements WHERE org_id = $1 ORDER BY app_id", func(r *row) {
		list = append(list, directory.Entitlement{Org: directory.OrgID(r.text()), App: directory.AppID(r.text()), Below: r.bool()})
	}, org)
	return list, err
}

// PeopleAt lists people at home in org, by id, after one; at most n.
func (s *Store) PeopleAt(ctx context.Context, org directory.OrgID, after directory.PersonID, n int) ([]directory.Person, error) {
	var list []directory.Person
	_, err := s.rows(ctx, "SELECT "+personColumns+` FROM memberships m JOIN people p ON p.id = m.person_id
		WHERE m.org_id = $1 AND m.person_id > $2 AND p.home_id = $1 ORDER BY m.person_id LIMIT $3`,
		func(r *row) { list = append(list, r.person()) }, org, after, n)
	return list, err
}
