package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

func passwords(t *testing.T, w *World) {
	org, person := w.acme.Org.ID, w.acme.Person.ID
	was, err := w.PasswordOf(w.ctx, org, person)
	ok(t, err)
	if want := directory.PasswordID("pwd_" + w.acme.Org.Handle); was.ID != want || was.Hash != "$hash$"+w.acme.Org.Handle || was.Source != directory.Imported {
		t.Fatalf("the password is %+v", was)
	}
	put := func(id, hash string, keep int) {
		t.Helper()
		w.clock.Advance(time.Second)
		ok(t, w.PutPassword(w.ctx, org, person, directory.Password{ID: directory.PasswordID(id), Hash: hash, Set: w.clock.Now(), Source: directory.Chosen}, keep))
	}
	earlier := func(n int, want ...string) {
		t.Helper()
		got, err := w.EarlierPasswords(w.ctx, org, person, n)
		ok(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("earlier passwords are %q, want %q", got, want)
		}
	}
	put("pwd_2", "$two", 2)
	put("pwd_3", "$three", 2)
	put("pwd_4", "$four", 2)
	earlier(10, "$three", "$two")
	earlier(1, "$three")
	if p, err := w.PasswordOf(w.ctx, org, person); err != nil || p.Hash != "$four" || p.Set != w.clock.Now() || p.Source != directory.Chosen {
		t.Errorf("the password is %+v, %v", p, err)
	}
	ok(t, w.RehashPassword(w.ctx, org, person, "pwd_4", "$four, dearer"))
	if err := w.RehashPassword(w.ctx, org, person, "pwd_3", "$x"); !errors.Is(err, directory.ErrPasswordMoved) {
		t.Errorf("an earlier password was hashed again: %v", err)
	}
	if p, err := w.PasswordOf(w.ctx, org, person); err != nil || p.Hash != "$four, dearer" || p.ID != "pwd_4" {
		t.Errorf("the password is %+v, %v", p, err)
	}
	put("pwd_5", "$five", 0)
	earlier(10)
	if p, err := w.PasswordOf(w.ctx, org, "per_nobody"); err != nil || p != (directory.Password{}) {
		t.Errorf("nobody's password is %+v, %v", p, err)
	}
}

func guesses(t *testing.T, w *World) {
	realm, b := w.acme.Realm.ID, flows.Bucket{Most: 5, For: 10 * time.Minute}
	guess := func(who string) time.Duration {
		t.Helper()
		wait, err := w.Guess(w.ctx, realm, who, w.clock.Now(), b)
		ok(t, err)
		return wait
	}
	for i := range 5 {
		if wait := guess("a"); wait != 0 {
			t.Errorf("guess %d has to wait %v", i, wait)
		}
	}
	if wait := guess("a"); wait != 2*time.Minute {
		t.Errorf("one more waits %v", wait)
	}
	if wait := guess("b"); wait != 0 {
		t.Errorf("somebody else waits %v", wait)
	}
	w.clock.Advance(2 * time.Minute)
	if wait := guess("a"); wait != 0 {
		t.Errorf("after one leaked, it waits %v", wait)
	}
	ok(t, w.Forgive(w.ctx, realm, "a", w.clock.Now(), b))
	if wait := guess("a"); wait != 0 {
		t.Errorf("after one was right, it waits %v", wait)
	}
	if wait := guess("a"); wait != 2*time.Minute {
		t.Errorf("one more waits %v", wait)
	}
	// A clock that was ahead on another node filled it for an hour: it is full, and no more.
	_, err := w.Guess(w.ctx, realm, "c", w.clock.Now().Add(time.Hour), b)
	ok(t, err)
	if wait := guess("c"); wait != 2*time.Minute {
		t.Errorf("behind a clock that was ahead, it waits %v", wait)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	took := 0
	for range 16 {
		wg.Go(func() {
			if wait, err := w.Guess(w.ctx, realm, "raced", w.clock.Now(), b); err == nil && wait == 0 {
				mu.Lock()
				took++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if took != 5 {
		t.Errorf("of 16 guesses at once %d were taken, want 5", took)
	}
}
