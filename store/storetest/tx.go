package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

var errChanged = errors.New("changed my mind")

func transactions(t *testing.T, w *World) {
	rename := func(ctx context.Context, name string) error {
		return w.UpdateOrg(ctx, w.acme.Org.ID, func(o *directory.Org) error { o.Name = name; return nil })
	}
	name := func(ctx context.Context) string {
		chain, err := w.OrgChain(ctx, w.acme.Org.ID)
		ok(t, err)
		return chain.Org().Name
	}
	// What a transaction wrote it sees, others do not; an error undoes all of it.
	err := w.InTx(w.ctx, func(ctx context.Context) error {
		ok(t, rename(ctx, "inside"))
		same(t, name(ctx), "inside")
		same(t, name(w.ctx), "acme")
		return errChanged
	})
	is(t, err, errChanged)
	same(t, name(w.ctx), "acme")

	// A transaction in a transaction is a savepoint.
	ok(t, w.InTx(w.ctx, func(ctx context.Context) error {
		ok(t, rename(ctx, "outer"))
		is(t, w.InTx(ctx, func(ctx context.Context) error { ok(t, rename(ctx, "inner")); return errChanged }), errChanged)
		same(t, name(ctx), "outer")
		return w.InTx(ctx, func(ctx context.Context) error { return w.Record(ctx, audit.Entry{ID: "ent_1", Action: "x.y"}) })
	}))
	same(t, name(w.ctx), "outer")

	// One caller's failure or panic is its own.
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			err := w.InTx(w.ctx, func(ctx context.Context) error {
				o := directory.Org{ID: directory.OrgID(fmt.Sprint("org_", i)), Realm: w.acme.Realm.ID, Handle: fmt.Sprint("h", i)}
				if err := w.CreateOrg(ctx, o); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return errChanged
				case 2:
					panic("a bug")
				}
				return nil
			})
			if (err == nil) != (i%4 == 0 || i%4 == 3) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	for i := range 200 {
		_, err := w.OrgByID(w.ctx, directory.OrgID(fmt.Sprint("org_", i)))
		if (err == nil) != (i%4 == 0 || i%4 == 3) {
			t.Errorf("organization %d: %v", i, err)
		}
	}

	// A caller that has gone is told so, and nothing of it is begun.
	gone, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := rename(gone, "ghost"); err == nil {
		t.Error("a caller that had gone was served")
	}
	if got := name(w.ctx); got != "outer" {
		t.Errorf("named %q", got)
	}

	// The ctx of a transaction is of no use after it.
	var kept context.Context
	ok(t, w.InTx(w.ctx, func(ctx context.Context) error { kept = ctx; return nil }))
	if rename(kept, "late") == nil {
		t.Error("wrote in a transaction that was over")
	}
	if _, err := w.OrgChain(kept, w.acme.Org.ID); err == nil {
		t.Error("read in a transaction that was over")
	}
}

// S15: a revision that was taken before a decision tells in the transaction whether it still holds.
func revision(t *testing.T, w *World) {
	at := func(ctx context.Context) int64 { n, err := w.Revision(ctx); ok(t, err); return n }
	start := at(w.ctx)
	ok(t, w.InTx(w.ctx, func(ctx context.Context) error {
		same(t, at(ctx), start)
		ok(t, w.ReleaseDomain(ctx, w.mex.Org.ID, "mex.example"))
		same(t, at(ctx) > start, true)
		same(t, at(w.ctx), start)
		return nil
	}))
	for name, change := range map[string]func() error{
		"organization": func() error {
			return w.UpdateOrg(w.ctx, w.acme.Org.ID, func(o *directory.Org) error { o.Status = directory.Suspended; return nil })
		},
		"domain": func() error {
			return w.PutDomain(w.ctx, w.acme.Org.ID, directory.Domain{Name: "x.example"})
		},
		"entitlement": func() error { return w.RemoveEntitlement(w.ctx, w.acme.Org.ID, w.acme.App.ID) },
		"policy":      func() error { return w.PutPolicyDoc(w.ctx, directory.PolicyLevel{}, directory.PolicyDoc{}) },
	} {
		before := at(w.ctx)
		ok(t, change())
		if after := at(w.ctx); after <= before {
			t.Errorf("%s: the revision stayed at %d", name, before)
		}
	}
	before := at(w.ctx)
	w.person(t, w.acme.Org, "one@acme.example")
	same(t, at(w.ctx), before) // people move their own Version: they must not disturb everybody's logins
}

// S15: what a write rests on is told all at once, and by anything that moves it.
func footing(t *testing.T, w *World) {
	v := w.acme
	at := func(person directory.PersonID, session directory.SessionID) (f broker.Footing) {
		t.Helper()
		err := w.InTx(w.ctx, func(ctx context.Context) (err error) {
			f, err = w.Footing(ctx, v.Org.ID, person, v.Org.ID, session)
			return err
		})
		ok(t, err)
		return f
	}
	revision, err := w.Revision(w.ctx)
	ok(t, err)
	same(t, at(v.Person.ID, ""), broker.Footing{Revision: revision, Person: v.Person.Version})
	same(t, at(v.Person.ID, v.Session.ID), broker.Footing{Revision: revision, Person: v.Person.Version, Session: v.Session.Version})
	same(t, at(v.Person.ID, "ses_x"), broker.Footing{Revision: revision})
	same(t, at("per_x", ""), broker.Footing{Revision: revision})
	ok(t, w.UpdateSession(w.ctx, v.Org.ID, v.Session.ID, func(s *broker.Session) error { s.Ended = w.clock.Now(); return nil }))
	if now := at(v.Person.ID, v.Session.ID).Session; now <= v.Session.Version {
		t.Errorf("an ended session is still at version %d", now)
	}
	ok(t, w.RemoveMembership(w.ctx, v.Org.ID, v.Person.ID))
	same(t, at(v.Person.ID, "").Person, 0)
	if _, err := w.Footing(w.ctx, v.Org.ID, v.Person.ID, "", ""); err == nil {
		t.Error("told outside a transaction, where nothing stays as it is")
	}
}
