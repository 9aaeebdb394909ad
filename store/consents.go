package store

import (
	"context"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var _ broker.Consents = (*Store)(nil)

const selectConsent = "SELECT org_id, person_id, app_id, scope, claims, since, updated_at FROM consents "

func (r *row) consent() broker.Consent {
	return broker.Consent{
		Org: directory.OrgID(r.text()), Person: directory.PersonID(r.text()), App: directory.AppID(r.text()),
		Scope: strings.Fields(r.text()), Claims: strings.Fields(r.text()), Since: r.time(), UpdatedAt: r.time(),
	}
}

// Consent finds what a person let an app do in org.
func (s *Store) Consent(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID) (c broker.Consent, err error) {
	err = s.one(ctx, broker.ErrConsentNotFound, selectConsent+"WHERE org_id = $1 AND person_id = $2 AND app_id = $3",
		func(r *row) { c = r.consent() }, org, person, app)
	return c, err
}

// ConsentsOf lists what a person let apps do in org, by app.
func (s *Store) ConsentsOf(ctx context.Context, org directory.OrgID, person directory.PersonID) ([]broker.Consent, error) {
	var list []broker.Consent
	_, err := s.rows(ctx, selectConsent+"WHERE org_id = $1 AND person_id = $2 ORDER BY app_id", func(r *row) { list = append(list, r.consent()) }, org, person)
	return list, err
}

// PutConsent stores what a member of org let an app do there; since when stays.
func (s *Store) PutConsent(ctx context.Context, org directory.OrgID, c broker.Consent) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		realm := ""
		n, err := s.rows(ctx, "SELECT realm_id FROM memberships WHERE org_id = $1 AND person_id = $2", func(r *row) { realm = r.text() }, org, c.Person)
		if err != nil {
			return err
		}
		if n == 0 {
			return directory.ErrPersonNotFound
		}
		_, err = t.exec(`INSERT INTO consents (org_id, person_id, app_id, realm_id, scope, claims, since, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (org_id, person_id, app_id) DO UPDATE SET scope = excluded.scope, claims = excluded.claims, updated_at = excluded.updated_at`,
			org, c.Person, c.App, realm, strings.Join(c.Scope, " "), strings.Join(c.Claims, " "), c.Since, c.UpdatedAt)
		return err
	})
}

// RemoveConsent takes it back.
func (s *Store) RemoveConsent(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		n, err := t.exec("DELETE FROM consents WHERE org_id = $1 AND person_id = $2 AND app_id = $3", org, person, app)
		if err == nil && n == 0 {
			return broker.ErrConsentNotFound
		}
		return err
	})
}

// RevokeConsented ends all that an app was given for a person in org.
func (s *Store) RevokeConsented(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID, at time.Time, reason string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec("UPDATE token_grants SET revoked_at = $1, reason = $2 WHERE org_id = $3 AND person_id = $4 AND app_id = $5 AND revoked_at = 0",
			at, reason, org, person, app)
		return err
	})
}
