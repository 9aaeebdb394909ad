package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// TestStore runs the same on the embedded store and on PostgreSQL; this is what a store with Redis gives.
func TestAStoreWithRedisDoesWhatEveryStoreMust(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, clock *storetest.Clock) {
		o.Redis = redistest.Shared(t) + "&timeout=5s"
		s := openTest(t, o)
		storetest.Brief(t, s.Brief(), clock)
		storetest.Counter(t, s.Counter(), clock)
	})
}

// Two nodes on one database have one memory of what was used.
func TestTwoNodesShareWhatIsShortLived(t *testing.T) {
	for name, url := range map[string]string{"PostgreSQL": "", "PostgreSQL and Redis": redistest.Shared(t) + "&timeout=5s"} {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock()
			o := onPostgres(t, clock)
			o.Redis = url
			a, b := openTest(t, o), openTest(t, o)
			put(t, a, "code/1")
			if _, err := b.Brief().Take(t.Context(), "code/1"); err != nil {
				t.Fatal(err)
			}
			if !gone(t, a, "code/1") || !a.Epoch().Equal(b.Epoch()) {
				t.Errorf("epochs %s and %s", a.Epoch(), b.Epoch())
			}
			must(t, a.Brief().PutNew(t.Context(), "jti/1", nil, time.Minute))
			if err := b.Brief().PutNew(t.Context(), "jti/1", nil, time.Minute); !errors.Is(err, brief.ErrTaken) {
				t.Errorf("%v", err)
			}
			for want := range 4 {
				s := []*Store{a, b}[want%2]
				if got, err := s.Counter().Incr(t.Context(), "k", time.Minute); err != nil || got != int64(want+1) {
					t.Errorf("counted %d, %v", got, err)
				}
			}
			must(t, a.Close())
			if _, err := b.Brief().Get(t.Context(), "none"); !errors.Is(err, brief.ErrGone) {
				t.Errorf("after the other node left: %v", err)
			}
		})
	}
}

// An update of the only node ends nobody's login; a database that nobody watched for longer may have been
// put back from a dump meanwhile, and is not believed (S16).
func TestS16ADatabaseThatNobodyWatchedIsNotBelieved(t *testing.T) {
	clock := storetest.NewClock()
	o := onPostgres(t, clock)
	during := func(what func(*Store)) {
		s, err := Open(t.Context(), o)
		must(t, err)
		what(s)
		must(t, s.Close())
	}
	during(func(s *Store) { put(t, s, "login/1") })
	clock.Advance(beatGap)
	during(func(s *Store) {
		if gone(t, s, "login/1") {
			t.Error("a restart ended a login")
		}
	})
	clock.Advance(beatGap + time.Second)
	during(func(s *Store) {
		if !gone(t, s, "login/1") || !s.Epoch().Equal(clock.Now()) {
			t.Errorf("believed what nobody watched; epoch %s", s.Epoch())
		}
	})
}

// S16: tables put back from a dump under a running node: a code that was taken since is there again, and
// is refused.
func TestS16ADumpPutBackUnderARunningNode(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, onPostgres(t, clock))
	run := func(texts ...string) {
		t.Helper()
		for _, q := range texts {
			_, err := s.db.read(t.Context(), q, nil, nil)
			must(t, err)
		}
	}
	put(t, s, "code/1")
	run("CREATE TABLE dump_notes AS TABLE notes", "CREATE TABLE dump_epochs AS TABLE epochs")
	_, err := s.Brief().Take(t.Context(), "code/1")
	must(t, err)
	for was := s.epochs.now.Load().token; ; time.Sleep(10 * time.Millisecond) { // the heart beats once
		var beat, dumped int64
		_, err := s.rows(t.Context(), "SELECT e.beat, d.beat FROM epochs AS e, dump_epochs AS d WHERE e.token = $1", func(r *row) { beat, dumped = r.int(), r.int() }, was)
		must(t, err)
		if beat > dumped {
			break
		}
	}
	clock.Advance(time.Second)
	first := s.Epoch()
	run("DELETE FROM notes", "INSERT INTO notes SELECT * FROM dump_notes",
		"UPDATE epochs SET beat = d.beat, at = d.at FROM dump_epochs AS d WHERE d.name = epochs.name")
	for s.epochs.now.Load() == nil || !s.Epoch().After(first) {
		time.Sleep(10 * time.Millisecond)
	}
	if !gone(t, s, "code/1") {
		t.Error("a used code is there again")
	}
}

// S16: a promotion, or a restore to a point in time, is told by the line of the server's history.
func TestS16PostgreSQLNamesItsLine(t *testing.T) {
	s := openTest(t, onPostgres(t, storetest.NewClock()))
	line, err := s.db.lineage(t.Context())
	if err != nil || len(line) < len("/1/00000001") {
		t.Errorf("%q, %v", line, err)
	}
	at, err := s.epochs.read(t.Context())
	if err != nil || at.server != line {
		t.Errorf("the epoch stands on %q, %v", at.server, err)
	}
}

// Short-lived state is written in no transaction: what a rollback would undo is not used up.
func TestS17NotesJoinNoTransaction(t *testing.T) {
	s := openTest(t, onPostgres(t, storetest.NewClock()))
	put(t, s, "code/1")
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.Brief().Take(ctx, "code/1")
		return err
	})
	if !errors.Is(err, brief.ErrUnavailable) || !errors.Is(err, ErrOutside) {
		t.Errorf("%v", err)
	}
	if gone(t, s, "code/1") {
		t.Error("it was taken")
	}
}

func TestNotesThatAreOverAreSweptByIndex(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, onPostgres(t, clock))
	for _, k := range []string{"a", "b"} {
		must(t, s.Brief().Put(t.Context(), k, nil, time.Minute))
		_, err := s.Counter().Incr(t.Context(), k, time.Minute)
		must(t, err)
	}
	must(t, s.Brief().Put(t.Context(), "c", nil, time.Hour))
	left := func() (n int64) {
		must(t, s.sweepNotes(t.Context()))
		_, err := s.rows(t.Context(), "SELECT (SELECT count(*) FROM notes) * 10 + (SELECT count(*) FROM counts)", func(r *row) { n = r.int() })
		must(t, err)
		return n
	}
	clock.Advance(time.Minute + maxSkew)
	if n := left(); n != 32 {
		t.Errorf("swept while a clock that is late may still count: %d", n)
	}
	clock.Advance(time.Second)
	if n := left(); n != 10 {
		t.Errorf("%d are left", n)
	}
}

// S46: a machine whose clock is not that of Redis does not call itself ready, and says why.
func TestS46ANodeIsNotReadyWhileItsClockIsNotThatOfRedis(t *testing.T) {
	clock := storetest.NewClock()
	o := options(t, clock)
	o.Redis = redistest.Shared(t) + "&timeout=5s"
	s := openTest(t, o)
	if err := s.epochs.answers(t.Context()); !errors.Is(err, ErrSharedClock) {
		t.Errorf("years apart: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, ErrSharedClock) {
		t.Errorf("years apart: %v", err)
	}
	clock.Advance(time.Since(clock.Now()))
	must(t, s.epochs.answers(t.Context()))
	must(t, s.Ready(t.Context()))
}

// A node whose clock is ahead does not give up a mark of use that others still count on (S46).
func TestS46AMarkOutlivesAClockThatIsAhead(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, onPostgres(t, clock))
	must(t, s.Brief().PutNew(t.Context(), "jti/1", nil, time.Minute))
	clock.Advance(time.Minute + maxSkew - time.Millisecond)
	if err := s.Brief().PutNew(t.Context(), "jti/1", nil, time.Minute); !errors.Is(err, brief.ErrTaken) {
		t.Errorf("%v", err)
	}
	clock.Advance(time.Second)
	must(t, s.Brief().PutNew(t.Context(), "jti/1", nil, time.Minute))
}
