package store

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
)

var _ directory.Entitlements = (*Store)(nil)

func entitlementKey(org directory.OrgID, app directory.AppID) string {
	return string(org) + "/" + string(app)
}

// Entitled says whether an organization, itself or through an ancestor's Below, may use an app.
func (s *Store) Entitled(ctx context.Context, org directory.OrgID, app directory.AppID) (bool, error) {
	chain, err := s.OrgChain(ctx, org)
	if err != nil {
		return false, err
	}
	for i := len(chain) - 1; i >= 0; i-- {
		e, err := s.entitlement(ctx, chain[i].ID, app)
		if err != nil {
			return false, err
		}
		if e != nil && (e.Below || e.Org == org) {
			return true, nil
		}
	}
	return false, nil
}

func (s *Store) entitlement(ctx context.Context, org directory.OrgID, app directory.AppID) (*directory.Entitlement, error) {
	return cached(ctx, s, &s.caches.entitled, entitlementKey(org, app), func(ctx context.Context) (found *directory.Entitlement, err error) {
		_, err = s.rows(ctx, "SELECT below FROM entitlements WHERE org_id = $1 AND app_id = $2", func(r *row) {
			found = &directory.Entitlement{Org: org, App: app, Below: r.bool()}
		}, org, app)
		return found, err
	})
}

// PutEntitlement lets org use an app.
func (s *Store) PutEntitlement(ctx context.Context, org directory.OrgID, e directory.Entitlement) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if _, err := s.org(ctx, org); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO entitlements (org_id, app_id, below) VALUES ($1, $2, $3)
			ON CONFLICT (org_id, app_id) DO UPDATE SET below = excluded.below`, org, e.App, e.Below)
		if err != nil {
			return err
		}
		return t.touch(ofEntitlement, entitlementKey(org, e.App))
	})
}

// RemoveEntitlement ends it.
func (s *Store) RemoveEntitlement(ctx context.Context, org directory.OrgID, app directory.AppID) error {
	return s.change(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.exec("DELETE FROM entitlements WHERE org_id = $1 AND app_id = $2", org, app); err != nil {
			return err
		}
		return t.touch(ofEntitlement, entitlementKey(org, app))
	})
}
