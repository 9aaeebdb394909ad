package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// copyData copies the data directory as it lies on the disk now: what a crash leaves, or a backup.
func copyData(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(filepath.Join(to, "data"), os.DirFS(filepath.Dir(from))))
	return filepath.Join(to, "data", filepath.Base(from))
}

func put(t *testing.T, s *Store, key string) {
	t.Helper()
	must(t, s.Brief().Put(t.Context(), key, []byte(key), time.Hour))
}

func gone(t *testing.T, s *Store, key string) bool {
	t.Helper()
	_, err := s.Brief().Get(t.Context(), key)
	if err != nil && !errors.Is(err, brief.ErrGone) {
		t.Fatal(err)
	}
	return err != nil
}

// S16: after a stop that was not clean everything is refused, and whoever asks can see since when.
func TestS16AnUncleanStartBeginsANewEpochWithNothing(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	s := openTest(t, o)
	first := s.Epoch()
	put(t, s, "code/1")
	s.short.limit = 0 // the next lies on the disk
	put(t, s, "code/2")
	put(t, s, "code/3")
	clock.Advance(time.Minute)
	o.Path = copyData(t, o.Path)
	after := openTest(t, o)
	for _, key := range []string{"code/1", "code/2", "code/3"} {
		if !gone(t, after, key) {
			t.Errorf("%s lives after a crash", key)
		}
	}
	if !after.Epoch().Equal(first.Add(time.Minute)) {
		t.Errorf("epoch %s, began at %s", after.Epoch(), first)
	}
}

// A clean stop forgets nothing: an update of the program ends nobody's login.
func TestS16ACleanStopKeepsEverything(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	s, err := Open(t.Context(), o)
	must(t, err)
	first := s.Epoch()
	put(t, s, "login/1")
	must(t, s.Brief().Put(t.Context(), "login/2", nil, time.Minute))
	must(t, s.Close())
	clock.Advance(2 * time.Minute)
	s = openTest(t, o)
	if gone(t, s, "login/1") || !gone(t, s, "login/2") || !s.Epoch().Equal(first) {
		t.Errorf("1 gone: %v, 2 gone: %v, epoch %s", gone(t, s, "login/1"), gone(t, s, "login/2"), s.Epoch())
	}
	if _, err := s.Brief().Take(t.Context(), "login/1"); err != nil || !gone(t, s, "login/1") {
		t.Errorf("taken with %v", err)
	}
}

// S16: files that were put back from a copy hold what was used since; their mark was taken away when
// the first start used it.
func TestS16FilesPutBackFromACopyAreNotBelieved(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	stopped := func(keys ...string) {
		s, err := Open(t.Context(), o)
		must(t, err)
		for _, k := range keys {
			put(t, s, k)
		}
		must(t, s.Close())
	}
	stopped("code/1")
	old := copyData(t, o.Path)
	s, err := Open(t.Context(), o)
	must(t, err)
	_, err = s.Brief().Take(t.Context(), "code/1") // used
	must(t, err)
	must(t, s.Close())

	for name, file := range map[string]string{"the short-lived file": "ephemeral.db", "the durable file": filepath.Base(o.Path)} {
		mixed := o
		mixed.Path = copyData(t, o.Path)
		text, err := os.ReadFile(filepath.Join(filepath.Dir(old), file))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(filepath.Dir(mixed.Path), file), text, 0o600))
		s := openTest(t, mixed)
		if !gone(t, s, "code/1") {
			t.Errorf("%s from a copy: a used code lives", name)
		}
	}
}

// A flood of abandoned logins takes disk, not memory, and loses nothing.
func TestAbandonedLoginsTakeNoMemory(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, options(t, clock))
	const count = 3000
	value := make([]byte, 10_000)
	s.short.limit = 1 << 20
	for i := range count {
		must(t, s.Brief().Put(t.Context(), fmt.Sprint("login/", i), value, time.Hour))
	}
	if s.short.size > 2<<20 || s.short.spilled < count/2 {
		t.Errorf("%d bytes in memory, %d on the disk", s.short.size, s.short.spilled)
	}
	for i := range count {
		key := fmt.Sprint("login/", i)
		got, err := s.Brief().Get(t.Context(), key)
		if err != nil || len(got) != len(value) {
			t.Fatalf("%s: %v", key, err)
		}
		must(t, s.Brief().Swap(t.Context(), key, value, []byte("next")))
		if err := s.Brief().PutNew(t.Context(), key, nil, time.Hour); !errors.Is(err, brief.ErrTaken) {
			t.Fatalf("%s: %v", key, err)
		}
		if i%2 == 0 {
			_, err = s.Brief().Take(t.Context(), key)
			must(t, err)
			if !gone(t, s, key) {
				t.Fatalf("%s lives", key)
			}
		}
	}
	clock.Advance(2 * time.Hour)
	for i := range 2 * count { // what is over goes by and by, with whatever is put
		clock.Advance(time.Second)
		must(t, s.Brief().Put(t.Context(), fmt.Sprint("new/", i), nil, time.Second))
	}
	if s.short.spilled > 0 || len(s.short.live) > 10 {
		t.Errorf("%d and %d are left", len(s.short.live), s.short.spilled)
	}
}

func TestAnUnreadableShortLivedFileIsDropped(t *testing.T) {
	o := options(t, storetest.NewClock())
	must(t, os.WriteFile(filepath.Join(filepath.Dir(o.Path), "ephemeral.db"), []byte("half a page, as a power cut leaves it, and more of it to be sure"), 0o600))
	s := openTest(t, o)
	put(t, s, "k")
}

func TestCountersTakeBoundedMemory(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	for i := range counterLimit + 1000 {
		_, err := s.Counter().Incr(t.Context(), fmt.Sprint(i), time.Hour)
		must(t, err)
	}
	if n := len(s.counter.windows); n > counterLimit {
		t.Errorf("%d windows", n)
	}
}
