package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
)

func registration(t *testing.T, w *World) {
	now := w.clock.Now()
	token := broker.RegistrationToken{
		Hash: [32]byte{7}, Realm: w.acme.Realm.ID, Name: "partners", Orgs: []directory.OrgID{w.acme.Org.ID}, FirstParty: true,
		CreatedAt: now, Expires: now.Add(time.Hour), Uses: 5,
	}
	ok(t, w.CreateRegistrationToken(w.ctx, token))
	got, err := w.RegistrationToken(w.ctx, token.Hash, now)
	ok(t, err)
	same(t, got, token)
	whole(t, got)
	strange := token
	strange.Hash, strange.Realm = [32]byte{8}, "rlm_nowhere"
	is(t, w.CreateRegistrationToken(w.ctx, strange), directory.ErrRealmNotFound)

	var all sync.WaitGroup
	var used atomic.Int32
	for range 16 {
		all.Go(func() {
			if w.UseRegistrationToken(w.ctx, token.Hash, now) == nil {
				used.Add(1)
			}
		})
	}
	all.Wait()
	same(t, used.Load(), int32(5))
	_, err = w.RegistrationToken(w.ctx, token.Hash, now)
	is(t, err, broker.ErrRegistrationToken)
	is(t, w.UseRegistrationToken(w.ctx, token.Hash, now), broker.ErrRegistrationToken)

	over := token
	over.Hash = [32]byte{9}
	ok(t, w.CreateRegistrationToken(w.ctx, over))
	is(t, w.UseRegistrationToken(w.ctx, over.Hash, now.Add(time.Hour)), broker.ErrRegistrationToken)
	_, err = w.RegistrationToken(w.ctx, over.Hash, now.Add(time.Hour))
	is(t, err, broker.ErrRegistrationToken)
	ok(t, w.UseRegistrationToken(w.ctx, over.Hash, now.Add(time.Hour-time.Second)))
	_, err = w.RegistrationToken(w.ctx, [32]byte{10}, now)
	is(t, err, broker.ErrRegistrationToken)

	list, err := w.RegistrationTokenList(w.ctx)
	ok(t, err)
	token.Uses, over.Uses = 0, 4
	same(t, list, []broker.RegistrationToken{token, over})
	ok(t, w.RemoveRegistrationToken(w.ctx, over.Hash))
	is(t, w.RemoveRegistrationToken(w.ctx, over.Hash), broker.ErrRegistrationToken)
	is(t, w.UseRegistrationToken(w.ctx, over.Hash, now), broker.ErrRegistrationToken)
	list, err = w.RegistrationTokenList(w.ctx)
	ok(t, err)
	same(t, list, []broker.RegistrationToken{token})
}
