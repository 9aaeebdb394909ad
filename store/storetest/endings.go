package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

// An app's part of a session ends once, whoever tries, and its next sign-in has another sid.
func endings(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	part := broker.Part{Org: v.Org.ID, Before: now, At: now.Add(time.Second), Reason: "logout"}
	_, err := w.MarkApp(w.ctx, v.Org.ID, v.Session.ID, broker.AppMark{App: w.mex.App.ID, Org: w.mex.Org.ID, SID: "sid-other", First: now})
	ok(t, err)
	late := broker.AppMark{App: w.emea.App.ID, Org: v.Org.ID, SID: "sid-late", First: now.Add(time.Minute)}
	_, err = w.MarkApp(w.ctx, v.Org.ID, v.Session.ID, late)
	ok(t, err)
	var won atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			list, err := w.EndApps(w.ctx, v.Org.ID, v.Session.ID, part)
			if err != nil {
				t.Error(err)
			}
			for _, m := range list {
				same(t, m, broker.AppMark{App: v.App.ID, Org: v.Org.ID, SID: "sid-acme", First: now, Ended: part.At})
			}
			won.Add(int32(len(list)))
		})
	}
	all.Wait()
	same(t, won.Load(), int32(1))
	again := broker.AppMark{App: v.App.ID, Org: v.Org.ID, SID: "sid-new", First: now.Add(time.Hour)}
	kept, err := w.MarkApp(w.ctx, v.Org.ID, v.Session.ID, again)
	ok(t, err)
	same(t, kept, again)
	list, err := w.AppsOf(w.ctx, v.Org.ID, v.Session.ID)
	ok(t, err)
	for _, m := range list {
		if !m.Ended.IsZero() {
			t.Errorf("%+v is ended", m)
		}
	}
	one, err := w.EndApps(w.ctx, v.Org.ID, v.Session.ID, broker.Part{App: w.emea.App.ID, Before: now.Add(time.Hour), At: now})
	ok(t, err)
	same(t, []any{len(one), one[0].SID}, []any{1, "sid-late"})
	// An app's part of one organization alone: not that of another app, nor of another organization.
	apart, err := w.EndApps(w.ctx, v.Org.ID, v.Session.ID, broker.Part{Org: w.mex.Org.ID, App: v.App.ID, Before: now.Add(time.Hour), At: now})
	ok(t, err)
	same(t, len(apart), 0)
	apart, err = w.EndApps(w.ctx, v.Org.ID, v.Session.ID, broker.Part{Org: w.mex.Org.ID, App: w.mex.App.ID, Before: now.Add(time.Hour), At: now})
	ok(t, err)
	same(t, []any{len(apart), apart[0].SID}, []any{1, "sid-other"})
	rest, err := w.EndApps(w.ctx, v.Org.ID, v.Session.ID, broker.Part{Before: now.Add(time.Hour), At: now})
	ok(t, err)
	same(t, []any{len(rest), rest[0].SID}, []any{1, "sid-new"})

	ref := broker.SessionRef{ID: v.Session.ID, Home: v.Org.ID, Realm: v.Realm.ID, Person: v.Person.ID, CreatedAt: now}
	for name, page := range map[string]func(after broker.SessionRef) ([]broker.SessionRef, error){
		"from": func(after broker.SessionRef) ([]broker.SessionRef, error) {
			return w.SessionsFrom(w.ctx, v.Org.ID, after, 5)
		},
		"in": func(after broker.SessionRef) ([]broker.SessionRef, error) {
			return w.SessionsIn(w.ctx, v.Org.ID, after.ID, 5)
		},
	} {
		list, err := page(broker.SessionRef{})
		ok(t, err)
		same(t, list, []broker.SessionRef{ref})
		whole(t, list[0])
		list, err = page(ref)
		ok(t, err)
		if len(list) != 0 {
			t.Errorf("%s: %v after the last", name, list)
		}
	}
	with, err := w.SessionsWith(w.ctx, w.mex.App.ID, "", 5)
	ok(t, err)
	same(t, len(with), 1) // mex's own; of acme's session it ended
	views, err := w.SessionsOf(w.ctx, w.mex.Org.ID, w.mex.Person.ID)
	ok(t, err)
	same(t, []any{len(views), views[0].Device, views[0].Orgs, len(views[0].Apps), len(views[0].Proofs), views[0].TokenHash},
		[]any{1, "Chrome on Windows", w.mex.Session.Orgs, 1, 0, [32]byte{}})
	ok(t, w.UpdateSession(w.ctx, w.mex.Org.ID, w.mex.Session.ID, func(s *broker.Session) error { s.Ended = now; return nil }))
	views, err = w.SessionsOf(w.ctx, w.mex.Org.ID, w.mex.Person.ID)
	ok(t, err)
	same(t, len(views), 0)

	// Grants end in batches, those of before a time.
	for i := range 5 {
		g := v.Grant
		g.Refresh = broker.Refresh{}
		g.ID, g.CodeHash, g.CreatedAt = directory.NewGrantID(now), hash(string(rune('a'+i))), now.Add(time.Duration(i)*time.Minute)
		ok(t, w.CreateToken(w.ctx, v.Org.ID, g))
	}
	till := broker.Part{Before: now.Add(2 * time.Minute), At: now, Reason: "suspended"}
	none := till
	none.App = w.mex.App.ID
	for _, person := range []directory.PersonID{"", v.Person.ID} {
		n, err := w.RevokeTokensIn(w.ctx, v.Org.ID, person, none, 3)
		ok(t, err)
		same(t, n, 0) // another app's grants alone
	}
	n, err := w.RevokeTokensIn(w.ctx, v.Org.ID, v.Person.ID, till, 3)
	ok(t, err)
	same(t, n, 3)
	n, err = w.RevokeTokensIn(w.ctx, v.Org.ID, "", till, 3)
	ok(t, err)
	same(t, n, 1)
	n, err = w.RevokeTokensFor(w.ctx, v.App.ID, broker.Part{Before: now.Add(time.Hour), At: now, Reason: "suspended"}, 10)
	ok(t, err)
	same(t, n, 2)
	g, err := w.Token(w.ctx, v.Org.ID, v.Grant.ID)
	ok(t, err)
	same(t, []any{g.RevokedAt, g.Reason}, []any{now, "suspended"})
	g, err = w.Token(w.ctx, w.mex.Org.ID, w.mex.Grant.ID)
	ok(t, err)
	same(t, g.RevokedAt.IsZero(), true)
}

// An order is there when the change that caused it is, is claimed by one, and is not lost with them.
func revocations(t *testing.T, w *World) {
	now := w.clock.Now()
	v := directory.Revocation{Kind: directory.RevokeOrg, Ref: string(w.parent.ID), Org: w.parent.ID, Reason: directory.EndedSuspended, At: now, Until: now.Add(time.Hour)}
	is(t, w.InTx(w.ctx, func(ctx context.Context) error { ok(t, w.Revoke(ctx, w.parent.ID, v)); return errChanged }), errChanged)
	claim := func() []directory.Revocation {
		list, err := w.ClaimRevocations(w.ctx, w.clock.Now().Add(time.Minute), 10)
		ok(t, err)
		return list
	}
	same(t, len(claim()), 0)
	for range 40 {
		ok(t, w.Revoke(w.ctx, w.parent.ID, v))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	seen := map[int64]int{}
	for range 16 {
		all.Go(func() {
			for list := claim(); len(list) > 0; list = claim() {
				mu.Lock()
				for _, got := range list {
					seen[got.Seq]++
					got.Seq = 0
					same(t, got, v)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	same(t, len(seen), 40)
	for seq, times := range seen {
		if times != 1 {
			t.Errorf("%d was claimed by %d", seq, times)
		}
	}
	ok(t, w.FinishRevocation(w.ctx, 1, now))
	ok(t, w.KeepRevocation(w.ctx, 2, now.Add(time.Hour)))
	ok(t, w.KeepRevocation(w.ctx, 1, now)) // it is over
	w.clock.Advance(2 * time.Minute)
	left := 0
	for list := claim(); len(list) > 0; list = claim() {
		left += len(list)
	}
	same(t, left, 38)
	below, err := w.OrgsBelow(w.ctx, w.parent.ID)
	ok(t, err)
	same(t, below, []directory.OrgID{w.parent.ID, w.acme.Org.ID, w.mex.Org.ID})
	below, err = w.OrgsBelow(w.ctx, w.acme.Org.ID)
	ok(t, err)
	same(t, below, []directory.OrgID{w.acme.Org.ID})
	is(t, w.Revoke(w.ctx, "org_none", v), directory.ErrOrgNotFound)
}
