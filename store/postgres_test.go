package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// twoNodes are two processes that serve from one database.
func twoNodes(t *testing.T) (a, b *Store, clock *storetest.Clock) {
	t.Helper()
	clock = storetest.NewClock()
	o := onPostgres(t, clock)
	return openTest(t, o), openTest(t, o), clock
}

// aSession is a session of a person at home in org.
func aSession(t *testing.T, s *Store, org directory.Org, p directory.Person) broker.Session {
	t.Helper()
	v := broker.Session{ID: directory.NewSessionID(s.now()), TokenHash: [32]byte{9}, Realm: org.Realm, Person: p.ID, Home: org.ID,
		CreatedAt: s.now(), Ends: s.now().Add(time.Hour)}
	must(t, s.CreateSession(t.Context(), org.ID, v))
	return v
}

// S15: what a code was decided on stays so until the code is committed. Whoever changes it on another node
// waits for that; whoever decides after the change sees it.
func TestS15WhatWasDecidedOnStaysUntilTheCommit(t *testing.T) {
	a, b, _ := twoNodes(t)
	org := treeOf(t, a, 1)
	p := somebody(t, a, org)
	v := aSession(t, a, org, p)
	ctx := t.Context()
	for name, c := range map[string]struct {
		look   func(context.Context) (int64, error) // what the decision rests on
		change func(context.Context) error
	}{
		"configuration": {
			func(ctx context.Context) (int64, error) { return a.Revision(ctx) },
			func(ctx context.Context) error {
				return b.UpdateOrg(ctx, org.ID, func(o *directory.Org) error { o.Status = directory.Suspended; return nil })
			},
		},
		"person": {
			func(ctx context.Context) (int64, error) {
				p, _, err := a.Person(ctx, org.ID, p.ID)
				return p.Version, err
			},
			func(ctx context.Context) error {
				return b.UpdatePerson(ctx, org.ID, p.ID, func(p *directory.Person) error { p.Status = directory.Suspended; return nil })
			},
		},
		"membership": {
			func(ctx context.Context) (int64, error) {
				p, _, err := a.Person(ctx, org.ID, p.ID)
				return p.Version, err
			},
			func(ctx context.Context) error {
				return b.PutMembership(ctx, org.ID, directory.Membership{Person: p.ID, Kind: "member", Status: directory.Suspended})
			},
		},
		"session": {
			func(ctx context.Context) (int64, error) {
				v, err := a.Session(ctx, org.ID, v.ID)
				return v.Version, err
			},
			func(ctx context.Context) error {
				return b.UpdateSession(ctx, org.ID, v.ID, func(v *broker.Session) error { v.Ended = b.now(); return nil })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := make(chan error, 1)
			var decided int64
			must(t, a.InTx(ctx, func(ctx context.Context) (err error) {
				if decided, err = c.look(ctx); err != nil {
					return err
				}
				go func() { changed <- c.change(t.Context()) }()
				select {
				case err := <-changed:
					t.Errorf("it was changed (%v) under a decision that was not committed", err)
					changed <- err
				case <-time.After(200 * time.Millisecond):
				}
				return record(ctx, a, "ent_"+name)
			}))
			must(t, <-changed)
			// And the other way round: a change that is under way is waited for, and seen.
			changing, goOn := make(chan struct{}), make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				once := sync.OnceFunc(func() { close(changing) })
				must(t, b.InTx(t.Context(), func(ctx context.Context) error {
					if err := c.change(ctx); err != nil {
						return err
					}
					once()
					<-goOn
					return nil
				}))
			})
			<-changing
			after := decided + 1 // by the first change
			all.Go(func() {
				must(t, a.InTx(t.Context(), func(ctx context.Context) (err error) {
					after, err = c.look(ctx)
					return err
				}))
			})
			time.Sleep(50 * time.Millisecond)
			close(goOn)
			all.Wait()
			if after < decided+2 {
				t.Errorf("decided on version %d, after two changes of version %d", after, decided)
			}
		})
	}
}

// S15: codes and tightenings race on two nodes; in the order of commits no code follows a tightening that
// it was not decided on.
func TestS15NoCodeOutrunsAChange(t *testing.T) {
	a, b, _ := twoNodes(t)
	org := treeOf(t, a, 1)
	var all sync.WaitGroup
	var codes atomic.Int32
	stop := make(chan struct{})
	moved := errors.New("decide again")
	for side := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				decided, err := a.Revision(t.Context())
				must(t, err)
				err = a.InTx(t.Context(), func(ctx context.Context) error {
					if now, err := a.Revision(ctx); err != nil || now != decided {
						return errors.Join(err, moved)
					}
					// The entry's number in the record stands for the order of commits.
					return a.Record(ctx, audit.Entry{ID: fmt.Sprintf("ent_%d_%d", side, i), Org: "org_x", Action: "code", Detail: map[string]string{"rev": fmt.Sprint(decided)}})
				})
				if err == nil {
					codes.Add(1)
				} else if !errors.Is(err, moved) {
					t.Error(err)
				}
			}
		})
	}
	for i := range 60 {
		if i%10 == 9 { // who decides while everything changes all the time decides in vain: now they may
			given := codes.Load()
			await(t, func() bool { return codes.Load() > given })
		}
		must(t, b.InTx(t.Context(), func(ctx context.Context) error {
			if err := b.UpdateOrg(ctx, org.ID, func(o *directory.Org) error { o.Name = fmt.Sprint(i); return nil }); err != nil {
				return err
			}
			rev, err := b.Revision(ctx)
			if err != nil {
				return err
			}
			return b.Record(ctx, audit.Entry{ID: fmt.Sprint("ent_change_", i), Org: "org_x", Action: "change", Detail: map[string]string{"rev": fmt.Sprint(rev)}})
		}))
	}
	close(stop)
	all.Wait()
	// Of all entries that carry a revision, none was written (numbers are given while the turn is held)
	// after the change that moved past it.
	last := int64(0)
	_, err := a.rows(t.Context(), "SELECT action, detail, seq FROM audit_pending WHERE org_id = $1 UNION ALL SELECT action, detail, seq FROM audit WHERE org_id = $1 ORDER BY 3", func(r *row) {
		action, detail := r.text(), r.text()
		var rev int64
		_, _ = fmt.Sscanf(detail, `{"rev":"%d"}`, &rev)
		if action == "change" {
			last = rev
		} else if rev < last {
			t.Errorf("a code of revision %d after the change to %d", rev, last)
		}
	}, "org_x")
	must(t, err)
	if codes.Load() == 0 {
		t.Error("no code was given out")
	}
}

// S17: a COMMIT whose answer never came is not run again, and its caller is told so.
func TestS17ACommitWithoutAnAnswerIsUnknown(t *testing.T) {
	for _, c := range []struct {
		name    string
		commit  func(*session) (bool, error)
		answer  error
		runs    int32
		written int
	}{
		{"cut after it", func(s *session) (bool, error) {
			_, err := s.commit()
			s.fate = cut
			return true, errors.Join(err, errDisk)
		}, ErrUnknown, 1, 1},
		{"cut before it", func(s *session) (bool, error) {
			_ = s.c.Conn().Close()
			return s.commit()
		}, ErrUnknown, 1, 0},
		{"refused", func(s *session) (bool, error) {
			s.rollback()
			return false, &pgconn.PgError{Severity: "ERROR", Code: "53100", Message: "no space left"}
		}, ErrUnavailable, 1, 0},
		{"met another", func(s *session) (bool, error) {
			s.fate = raced
			return false, &pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "could not serialize"}
		}, ErrUnavailable, raceTries, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, onPostgres(t, storetest.NewClock()))
			s.stop()
			s.idle.Wait()
			p := postgresOf(s)
			real := p.commit
			p.commit = c.commit
			var runs atomic.Int32
			err := s.InTx(t.Context(), func(ctx context.Context) error { runs.Add(1); return record(ctx, s, "ent_x") })
			p.commit = real
			if !errors.Is(err, c.answer) || runs.Load() != c.runs {
				t.Errorf("answered %v after %d runs", err, runs.Load())
			}
			if n := pending(t, s, "ent_x"); n != c.written {
				t.Errorf("written %d times", n)
			}
			must(t, record(t.Context(), s, "ent_after"))
		})
	}
}

// S17: an item whose COMMIT is unknown was spent or was not; nobody spends it twice.
func TestS17AnUnknownSpendIsNotTriedAgain(t *testing.T) {
	s := openTest(t, onPostgres(t, storetest.NewClock()))
	p, until := postgresOf(s), s.now().Add(time.Hour)
	real := p.commit
	p.commit = func(s *session) (bool, error) {
		_, err := real(s)
		s.fate = cut
		return true, errors.Join(err, errDisk)
	}
	if err := s.Spend(t.Context(), "org_a", "assertion", "a1", until); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	p.commit = real
	if err := s.Spend(t.Context(), "org_a", "assertion", "a1", until); !errors.Is(err, upstream.ErrReplay) {
		t.Fatal(err)
	}
}

// Two nodes that make the same person at once: one is told that it exists, after looking again.
func TestAFunctionThatMetAnotherLooksAgain(t *testing.T) {
	a, b, _ := twoNodes(t)
	org := treeOf(t, a, 1)
	make1 := func(s *Store, id string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			if _, err := s.PersonByIdentifier(ctx, org.ID, "email", "ada@acme.example"); !errors.Is(err, directory.ErrPersonNotFound) {
				return err
			}
			return s.CreatePerson(ctx, org.ID, directory.Person{ID: directory.PersonID(id), Realm: org.Realm, Home: org.ID},
				[]directory.Identifier{{Kind: "email", Value: "ada@acme.example"}})
		}
	}
	for i := range 20 {
		var all sync.WaitGroup
		for side, s := range []*Store{a, b} {
			all.Go(func() { must(t, s.InTx(t.Context(), make1(s, fmt.Sprintf("per_%d_%d", i, side)))) })
		}
		all.Wait()
		must(t, a.write(t.Context(), func(_ context.Context, t *tx) error { return t.send("DELETE FROM identifiers") }))
	}
	// One that is truly taken is so however often it looks.
	must(t, a.InTx(t.Context(), make1(a, "per_x")))
	err := a.CreatePerson(t.Context(), org.ID, directory.Person{ID: "per_y", Realm: org.Realm, Home: org.ID}, []directory.Identifier{{Kind: "email", Value: "ada@acme.example"}})
	if !errors.Is(err, directory.ErrIdentifier) {
		t.Error(err)
	}
}

// S43: entries commit out of the order of their numbers, and none is skipped, lost or chained twice.
func TestS43AnEntryThatCommitsLateIsChainedLater(t *testing.T) {
	a, b, _ := twoNodes(t)
	for _, s := range []*Store{a, b} {
		s.stop()
		s.idle.Wait()
	}
	wrote, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		must(t, a.InTx(t.Context(), func(ctx context.Context) error {
			if err := record(ctx, a, "ent_late"); err != nil {
				return err
			}
			_, err := a.rows(ctx, "SELECT 1 FROM counters LIMIT 1", nil) // now the entry has its number
			close(wrote)
			<-goOn
			return err
		}))
	})
	<-wrote
	must(t, record(t.Context(), b, "ent_early"))
	must(t, b.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.chainPending(ctx)
		close(goOn) // it commits while the others are being chained
		all.Wait()
		return err
	}))
	if n, err := b.VerifyAudit(t.Context(), ""); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	must(t, b.chainAll(t.Context()))
	if n, err := b.VerifyAudit(t.Context(), ""); err != nil || n != 2 || pending(t, b, "ent_late") != 1 || rowsIn(t, b, "audit_pending") != 0 {
		t.Errorf("%d, %v, %d, %d wait", n, err, pending(t, b, "ent_late"), rowsIn(t, b, "audit_pending"))
	}
}

// S43: many nodes chain one record at once while others write it.
func TestS43ManyNodesChainOneRecord(t *testing.T) {
	a, b, _ := twoNodes(t)
	var all sync.WaitGroup
	for side := range 4 {
		all.Go(func() {
			s := []*Store{a, b}[side%2]
			for i := range 60 {
				must(t, s.Record(t.Context(), audit.Entry{ID: fmt.Sprintf("ent_%d_%d", side, i), Org: "org_a", Action: "x.y"}))
			}
		})
		all.Go(func() {
			for range 20 {
				must(t, []*Store{a, b}[side%2].chainAll(t.Context()))
			}
		})
	}
	all.Wait()
	// A turn that another node had was left to it.
	for rowsIn(t, a, "audit_pending") > 0 {
		must(t, a.chainAll(t.Context()))
	}
	if n, err := a.VerifyAudit(t.Context(), "org_a"); err != nil || n != 240 {
		t.Errorf("%d, %v", n, err)
	}
}

// Many nodes sweep at once, and none is held up or refused.
func TestManyNodesSweepAtOnce(t *testing.T) {
	a, b, clock := twoNodes(t)
	must(t, a.InTx(t.Context(), func(ctx context.Context) error {
		return a.write(ctx, func(_ context.Context, t *tx) error {
			for i := range 3 * sweepBatch {
				if err := t.send("INSERT INTO spent (hash, until) VALUES ($1, $2)", []byte(fmt.Sprint(i)), a.now()); err != nil {
					return err
				}
			}
			return nil
		})
	}))
	clock.Advance(time.Hour)
	var all sync.WaitGroup
	for side := range 6 {
		all.Go(func() { must(t, []*Store{a, b}[side%2].sweep(t.Context())) })
	}
	all.Wait()
	must(t, a.sweep(t.Context()))
	if n := rowsIn(t, a, "spent"); n != 0 {
		t.Errorf("%d left", n)
	}
}

// S16: a node whose clock is ahead removes nothing that still keeps a replay out.
func TestS16AClockThatIsAheadForgetsNothing(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	o.Now = time.Now
	right := openTest(t, o)
	o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	ahead := openTest(t, o)
	must(t, right.Spend(t.Context(), "org_a", "assertion", "a1", time.Now().Add(time.Hour)))
	must(t, ahead.sweep(t.Context()))
	if err := right.Spend(t.Context(), "org_a", "assertion", "a1", time.Now()); !errors.Is(err, upstream.ErrReplay) {
		t.Errorf("used again: %v", err)
	}
}

// S46: a node whose clock differs from the database's is not ready, and says so.
func TestS46ClocksThatDifferAreNotReady(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	for off, want := range map[time.Duration]error{0: nil, 3 * time.Second: nil, 7 * time.Second: ErrClock, -7 * time.Second: ErrClock} {
		o.Now = func() time.Time { return time.Now().Add(off) }
		s := openTest(t, o)
		if err := s.Ready(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s off: %v", off, err)
		}
		must(t, s.Close())
	}
}

// The nodes of a database know of each other, and which keys each holds.
func TestNodesKnowOfEachOther(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	a, b := openTest(t, o), openTest(t, o)
	a.Hold("oidc", []string{"k1"})
	a.Hold("anchor", []string{"k2"})
	await(t, func() bool {
		others, err := b.Others(t.Context())
		must(t, err)
		return len(others) == 1 && strings.HasPrefix(strings.Join(others[0].Keys, " "), "k2 k1")
	})
	must(t, a.Close())
	if others, err := b.Others(t.Context()); err != nil || len(others) != 0 {
		t.Errorf("a node that left: %v, %v", others, err)
	}
}

// await waits for what happens in the background.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("it does not come about")
		}
	}
}

// Nodes that start together migrate once.
func TestEightNodesMigrateAtOnce(t *testing.T) {
	o := Options{DSN: pgtest.Database(t), Now: time.Now, Log: storeLog}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { must(t, Migrate(t.Context(), o)) })
	}
	all.Wait()
	p, err := openPostgres(t.Context(), t.Context(), o, nil)
	must(t, err)
	defer p.close()
	n, err := p.read(t.Context(), "SELECT version_id FROM goose_db_version WHERE version_id > 0", nil, nil)
	must(t, err)
	files, _ := migrationFiles.ReadDir("migrations")
	if n != len(files) {
		t.Errorf("%d steps were done for %d migrations", n, len(files))
	}
}

// Each refusal says what to do, and none tells the password.
func TestAPostgreSQLThatWillNotDoIsRefusedInWords(t *testing.T) {
	server := pgtest.Shared(t)
	sql := func(database, text string) { t.Helper(); must(t, server.Exec(t.Context(), database, text)) }
	sql("postgres", "CREATE ROLE bare LOGIN; CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET synchronous_commit = off")
	with := func(dsn, name string) string { // the same database, with another user
		return strings.Replace(dsn, "//vestibule@", "//"+name+":geheim@", 1)
	}
	fresh := func() (dsn, name string) {
		dsn = pgtest.Database(t)
		return dsn, dsn[strings.Index(dsn, "@/")+2 : strings.Index(dsn, "?")]
	}
	for _, c := range []struct {
		name string
		dsn  func() string
		want error
	}{
		{"no address", func() string { return "postgres://u:geheim@[::1/x" }, ErrDSN},
		{"a password that is not escaped", func() string { return "postgres://u:ge#he/im%@db/x" }, ErrDSN},
		{"another scheme", func() string { return "mysql://u:geheim@db/x" }, ErrDSN},
		{"a pool of one", func() string { return "postgres://u:geheim@db/x?pool_max_conns=1" }, ErrDSN},
		{"nobody there", func() string { return "postgres://u:geheim@127.0.0.1:1/x" }, ErrUnreachable},
		{"no such database", func() string { return with(server.DSN("nowhere"), "vestibule") }, ErrNoDatabase},
		{"no such user", func() string { d, _ := fresh(); return with(d, "nobody") }, ErrLogin},
		{"no rights", func() string { d, _ := fresh(); return with(d, "bare") }, ErrRights},
		{"asynchronous for the user", func() string { d, _ := fresh(); return with(d, "hasty") }, ErrAsync},
		{"asynchronous for the database", func() string {
			d, name := fresh()
			sql("postgres", "ALTER DATABASE "+name+" SET synchronous_commit = off")
			return with(d, "vestibule")
		}, ErrAsync},
		{"asynchronous in the address", func() string { d, _ := fresh(); return with(d, "vestibule") + "&synchronous_commit=off" }, ErrAsync},
		{"read only", func() string {
			d, name := fresh()
			sql("postgres", "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
			return with(d, "vestibule")
		}, ErrStandby},
		{"another encoding", func() string {
			d, name := fresh()
			sql("postgres", "DROP DATABASE "+name+"; ")
			sql("postgres", "CREATE DATABASE "+name+" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
			return with(d, "vestibule")
		}, ErrEncoding},
		{"a newer schema", func() string {
			o := onPostgres(t, storetest.NewClock())
			name := o.DSN[strings.Index(o.DSN, "@/")+2 : strings.Index(o.DSN, "?")]
			sql(name, "UPDATE counters SET n = 9999 WHERE name = 'schema_needs'")
			return with(o.DSN, "vestibule")
		}, ErrNewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), Options{DSN: c.dsn(), Now: time.Now, Log: storeLog})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("answered %v", err)
			}
			if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "ge#he") || strings.Contains(fault.Of(err).Public, "geheim") {
				t.Errorf("tells the password: %v", err)
			}
		})
	}
	for version, fits := range map[string]bool{"12.22 (Debian)": false, "9.6.24": false, "": false, "13.0": true, "15.8 (Debian 15.8-0+deb12u1)": true, "19beta1": true} {
		if err := newEnough(version); (err == nil) != fits || err != nil && !errors.Is(err, ErrTooOld) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// The server is killed and comes back while everybody writes: nothing that was acknowledged is lost, what
// fails says so, nobody is let in by what may be old, and all goes on by itself.
func TestPostgreSQLRestartedWhileWritesRun(t *testing.T) {
	server, err := pgtest.Start("fsync=on", "full_page_writes=on")
	must(t, err)
	t.Cleanup(func() { must(t, server.Stop()) })
	o := onPostgres(t, storetest.NewClock())
	o.DSN, o.Now = server.DSN("postgres"), time.Now
	s := openTest(t, o)
	var mu sync.Mutex
	var acked []string
	var down atomic.Bool
	stop := make(chan struct{})
	var all sync.WaitGroup
	for side := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("ent_%d_%d", side, i)
				err := s.InTx(t.Context(), func(ctx context.Context) error { return record(ctx, s, id) })
				switch {
				case err == nil:
					mu.Lock()
					acked = append(acked, id)
					mu.Unlock()
				case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrUnreachable):
					t.Errorf("answered %v", err)
				case !down.Load():
					t.Errorf("refused while the server ran: %v", err)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	enough := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) >= n }
	}
	await(t, enough(100))
	down.Store(true)
	server.Kill()
	await(t, func() bool { return errors.Is(s.Admitting(), ErrBehind) })
	if _, err := s.Revision(t.Context()); !errors.Is(err, ErrBehind) {
		t.Errorf("decides without the database: %v", err)
	}
	if s.Ready(t.Context()) == nil {
		t.Error("ready without its database")
	}
	must(t, server.Restart())
	await(t, func() bool { return s.Admitting() == nil && s.Ready(t.Context()) == nil })
	down.Store(false)
	mu.Lock()
	had := len(acked)
	mu.Unlock()
	await(t, enough(had+200))
	close(stop)
	all.Wait()
	for _, id := range acked {
		if pending(t, s, id) != 1 {
			t.Fatalf("%s was acknowledged and is there %d times", id, pending(t, s, id))
		}
	}
}

// A function that waits for a connection that none will give back is told so, and nobody hangs.
func TestAFullPoolIsSaid(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	o.DSN += "&pool_max_conns=2"
	s := openTest(t, o)
	s.stop()
	s.idle.Wait()
	err := s.InTx(t.Context(), func(context.Context) error {
		return record(t.Context(), s, "ent_outside") // not fn's ctx
	})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("answered %v", err)
	}
}
