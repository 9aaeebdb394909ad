package storetest

import (
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

func consents(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	_, err := w.Consent(w.ctx, v.Org.ID, v.Person.ID, "app_new")
	is(t, err, broker.ErrConsentNotFound)
	c := broker.Consent{Org: v.Org.ID, Person: v.Person.ID, App: "app_new", Scope: []string{"email", "openid"}, Claims: []string{"birthdate"}, Since: now, UpdatedAt: now}
	ok(t, w.PutConsent(w.ctx, v.Org.ID, c))
	got, err := w.Consent(w.ctx, v.Org.ID, v.Person.ID, "app_new")
	ok(t, err)
	same(t, got, c)
	// Since stays.
	c.Scope, c.Claims, c.UpdatedAt = []string{"openid"}, nil, now.Add(time.Hour)
	later := c
	later.Since = now.Add(time.Hour)
	ok(t, w.PutConsent(w.ctx, v.Org.ID, later))
	list, err := w.ConsentsOf(w.ctx, v.Org.ID, v.Person.ID)
	ok(t, err)
	same(t, len(list), 2) // and the tenant's own
	got, err = w.Consent(w.ctx, v.Org.ID, v.Person.ID, "app_new")
	ok(t, err)
	same(t, got.Since, c.Since)
	same(t, got.Scope, c.Scope)
	same(t, len(got.Claims), 0)
	same(t, got.UpdatedAt, c.UpdatedAt)
	// S39: consent in one organization is none in another, and somebody who is no member gives none.
	_, err = w.Consent(w.ctx, w.parent.ID, v.Person.ID, "app_new")
	is(t, err, broker.ErrConsentNotFound)
	is(t, w.PutConsent(w.ctx, w.parent.ID, c), directory.ErrPersonNotFound)
	// Taking it back ends the app's grants for that person in that organization.
	ok(t, w.RevokeConsented(w.ctx, v.Org.ID, v.Person.ID, "app_new", now, "consent revoked"))
	g, err := w.Token(w.ctx, v.Org.ID, v.Grant.ID)
	ok(t, err)
	same(t, g.RevokedAt.IsZero(), true) // another app's
	ok(t, w.RevokeConsented(w.ctx, v.Org.ID, v.Person.ID, v.Grant.App, now, "consent revoked"))
	g, err = w.Token(w.ctx, v.Org.ID, v.Grant.ID)
	ok(t, err)
	same(t, g.Reason, "consent revoked")
	ok(t, w.RemoveConsent(w.ctx, v.Org.ID, v.Person.ID, "app_new"))
	is(t, w.RemoveConsent(w.ctx, v.Org.ID, v.Person.ID, "app_new"), broker.ErrConsentNotFound)
}
