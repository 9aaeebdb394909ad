package storetest

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
)

func factors(t *testing.T, w *World) {
	v, now := w.acme, w.clock.Now()
	home, person := v.Org.ID, v.Person.ID
	e := mfa.Enrollment{
		ID: directory.NewFactorID(now.Add(time.Second)), Person: person, Org: home, Method: "totp", Label: "Pixel 8", Secret: []byte("a secret of twenty b"),
		Public: []byte(`{"a":1}`), Counter: 7, CreatedAt: now.Add(time.Second),
	}
	ok(t, w.AddEnrollment(w.ctx, home, e))
	list, err := w.EnrollmentsOf(w.ctx, home, person)
	ok(t, err)
	same(t, len(list), 2) // and the tenant's own
	got := list[1]
	e.Realm, e.Home, e.Version = v.Realm.ID, home, 1
	e.Handle = got.Handle // none
	same(t, got, e)
	same(t, len(got.Handle), 0)
	same(t, list[0].Secret == nil, true)

	// Only what changes is written, and the version moves.
	ok(t, w.UpdateEnrollment(w.ctx, home, e.ID, func(e *mfa.Enrollment) error {
		e.Label, e.Secret, e.Public, e.Counter, e.LastUsed, e.CountsFrom = "Fairphone", []byte("another secret"), []byte(`{}`), 8, now, now.Add(time.Hour)
		return nil
	}))
	list, err = w.EnrollmentsOf(w.ctx, home, person)
	ok(t, err)
	got = list[1]
	same(t, []any{got.Label, string(got.Secret), string(got.Public), got.Counter, got.LastUsed, got.CountsFrom, got.Version},
		[]any{"Fairphone", "another secret", "{}", int64(8), now, now.Add(time.Hour), int64(2)})
	is(t, w.UpdateEnrollment(w.ctx, home, "fac_none", func(*mfa.Enrollment) error { return nil }), mfa.ErrNotFound)

	// S16: of many at once, one uses a counter up.
	var used sync.WaitGroup
	won := make(chan bool, 8)
	for range 8 {
		used.Go(func() {
			err := w.UpdateEnrollment(w.ctx, home, e.ID, func(e *mfa.Enrollment) error {
				if e.Counter >= 9 {
					return mfa.ErrReplay
				}
				e.Counter = 9
				return nil
			})
			if err != nil && !errors.Is(err, mfa.ErrReplay) {
				t.Error(err)
			}
			won <- err == nil
		})
	}
	used.Wait()
	close(won)
	wins := 0
	for one := range won {
		if one {
			wins++
		}
	}
	same(t, wins, 1)

	// A credential names itself, once in a realm.
	found, err := w.EnrollmentByHandle(w.ctx, v.Realm.ID, v.Factor.Handle)
	ok(t, err)
	same(t, found.ID, v.Factor.ID)
	twin := v.Factor
	twin.ID = directory.NewFactorID(now)
	is(t, w.AddEnrollment(w.ctx, home, twin), mfa.ErrTaken)
	_, err = w.EnrollmentByHandle(w.ctx, v.Realm.ID, bytes.Repeat([]byte{9}, 16))
	is(t, err, mfa.ErrNotFound)
	_, err = w.EnrollmentByHandle(w.ctx, v.Realm.ID, nil)
	is(t, err, mfa.ErrNotFound)

	ok(t, w.RemoveEnrollment(w.ctx, home, e.ID))
	is(t, w.RemoveEnrollment(w.ctx, home, e.ID), mfa.ErrNotFound)
	// Only who is at home in an organization keeps factors there.
	is(t, w.AddEnrollment(w.ctx, w.parent.ID, e), directory.ErrPersonNotFound)
}

// S7: wrong answers are counted for the person, durably, by the hour and by the day.
func tries(t *testing.T, w *World) {
	v := w.acme
	try := func(m mfa.Method) error { return w.CountTry(w.ctx, v.Org.ID, v.Person.ID, m, w.clock.Now()) }
	for range mfa.TriesAnHour {
		ok(t, try("totp"))
	}
	is(t, try("totp"), mfa.ErrResting)
	ok(t, try("sms")) // another method is another count
	ok(t, w.CountTry(w.ctx, w.mex.Org.ID, w.mex.Person.ID, "totp", w.clock.Now()))
	// A right answer is taken back.
	ok(t, w.ForgiveTry(w.ctx, v.Org.ID, v.Person.ID, "totp", w.clock.Now()))
	ok(t, try("totp"))
	is(t, try("totp"), mfa.ErrResting)
	// A clock that was set back opens nothing.
	is(t, w.CountTry(w.ctx, v.Org.ID, v.Person.ID, "totp", w.clock.Now().Add(-2*time.Hour)), mfa.ErrResting)
	for tried := mfa.TriesAnHour; tried < mfa.TriesADay; {
		w.clock.Advance(time.Hour + 6*time.Minute)
		for range mfa.TriesAnHour {
			ok(t, try("totp"))
			tried++
		}
	}
	w.clock.Advance(time.Hour + 6*time.Minute)
	is(t, try("totp"), mfa.ErrResting)
	w.clock.Advance(24 * time.Hour)
	ok(t, try("totp"))
}
