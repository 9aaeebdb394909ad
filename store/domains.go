package store

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
)

var _ directory.Domains = (*Store)(nil)

const (
	domainColumns = "name, realm_id, org_id, connection_id, verified_at, verified_by, doubtful"
	selectDomain  = "SELECT " + domainColumns + " FROM domains "
)

func (r *row) domain() directory.Domain {
	return directory.Domain{Name: r.text(), Realm: directory.RealmID(r.text()), Org: directory.OrgID(r.text()),
		Connection: directory.ConnectionID(r.text()), VerifiedAt: r.time(), VerifiedBy: r.text(), Doubtful: r.bool()}
}

func domainKey(realm directory.RealmID, name string) string { return string(realm) + "/" + name }

// OrgOfDomain finds who has verified exactly this domain in the realm.
func (s *Store) OrgOfDomain(ctx context.Context, realm directory.RealmID, name string) (directory.Domain, bool, error) {
	d, err := cached(ctx, s, &s.caches.domains, domainKey(realm, name), func(ctx context.Context) (found *directory.Domain, err error) {
		_, err = s.rows(ctx, selectDomain+"WHERE realm_id = $1 AND name = $2 AND verified_at <> 0", func(r *row) {
			d := r.domain()
			found = &d
		}, realm, name)
		return found, err
	})
	if err != nil || d == nil {
		return directory.Domain{}, false, err
	}
	return *d, true, nil
}

// DomainsOf lists an organization's domains, by name.
func (s *Store) DomainsOf(ctx context.Context, org directory.OrgID) ([]directory.Domain, error) {
	var list []directory.Domain
	_, err := s.rows(ctx, selectDomain+"WHERE org_id = $1 ORDER BY name", func(r *row) { list = append(list, r.domain()) }, org)
	return list, err
}

// PutDomain claims or changes a claim of org.
func (s *Store) PutDomain(ctx context.Context, org directory.OrgID, d directory.Domain) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.org(ctx, org)
		if err != nil {
			return err
		}
		holder, taken, err := s.OrgOfDomain(ctx, o.Realm, d.Name)
		if err != nil {
			return err
		}
		if taken && holder.Org != org {
			return directory.ErrDomainTaken
		}
		_, err = t.exec("INSERT INTO domains ("+domainColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (realm_id, name, org_id) DO UPDATE SET connection_id = excluded.connection_id,
			verified_at = excluded.verified_at, verified_by = excluded.verified_by, doubtful = excluded.doubtful`,
			d.Name, o.Realm, org, d.Connection, d.VerifiedAt, d.VerifiedBy, d.Doubtful)
		if err != nil {
			return err
		}
		return t.touch(ofDomain, domainKey(o.Realm, d.Name))
	})
}

// ReleaseDomain gives up a claim.
func (s *Store) ReleaseDomain(ctx context.Context, org directory.OrgID, name string) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		o, err := s.org(ctx, org)
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM domains WHERE realm_id = $1 AND name = $2 AND org_id = $3", o.Realm, name, org); err != nil {
			return err
		}
		return t.touch(ofDomain, domainKey(o.Realm, name))
	})
}
