package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// oneLane is a store on PostgreSQL with a single lane and nothing in the background.
func oneLane(t *testing.T) (*Store, *postgres) {
	t.Helper()
	s := openTest(t, onPostgres(t, storetest.NewClock()))
	s.stop()
	s.idle.Wait()
	p := postgresOf(s)
	p.wide = 1
	return s, p
}

// waitingTogether runs functions that all wait while the lane is busy, in this order, and gives their errors.
func waitingTogether(t *testing.T, s *Store, fns ...func(context.Context) error) []error {
	t.Helper()
	p := postgresOf(s)
	busy, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		enter := sync.OnceFunc(func() { close(busy); <-goOn })
		must(t, s.InTx(t.Context(), func(context.Context) error { enter(); return nil }))
	})
	<-busy
	errs := make([]error, len(fns))
	for i, fn := range fns {
		all.Go(func() { errs[i] = s.InTx(t.Context(), fn) })
		await(t, func() bool {
			p.lanes.mu.Lock()
			defer p.lanes.mu.Unlock()
			return len(p.lanes.waiting) == i+1
		})
	}
	close(goOn)
	all.Wait()
	return errs
}

func recording(s *Store, id string, runs *atomic.Int32) func(context.Context) error {
	return func(ctx context.Context) error { runs.Add(1); return record(ctx, s, id) }
}

// countCommits counts the transactions that commit.
func countCommits(p *postgres) *atomic.Int32 {
	var n atomic.Int32
	real := p.commit
	p.commit = func(s *session) (bool, error) { n.Add(1); return real(s) }
	return &n
}

func TestFunctionsThatWaitShareATransactionOnPostgreSQL(t *testing.T) {
	s, p := oneLane(t)
	commits := countCommits(p)
	var runs atomic.Int32
	var fns []func(context.Context) error
	for i := range laneSize {
		fns = append(fns, recording(s, fmt.Sprint("ent_", i), &runs))
	}
	for i, err := range waitingTogether(t, s, fns...) {
		if err != nil || pending(t, s, fmt.Sprint("ent_", i)) != 1 {
			t.Errorf("%d: answered %v, written %d times", i, err, pending(t, s, fmt.Sprint("ent_", i)))
		}
	}
	if commits.Load() != 2 { // theirs, and that of whom they waited for
		t.Errorf("%d commits", commits.Load())
	}
}

// A function that fails takes nobody with it, and nothing of it stays, whether it failed by itself or the
// database refused what it wrote.
func TestAFunctionThatFailsLeavesThoseThatItSharedWith(t *testing.T) {
	s, _ := oneLane(t)
	var runs atomic.Int32
	mine := errors.New("mine")
	org := treeOf(t, s, 1)
	must(t, s.CreateToken(t.Context(), org.ID, broker.TokenGrant{ID: "grt_a", App: "app_a", CodeHash: [32]byte{7}}))
	errs := waitingTogether(t, s,
		recording(s, "ent_a", &runs),
		func(ctx context.Context) error { return errors.Join(record(ctx, s, "ent_failed"), mine) },
		func(context.Context) error { return mine },
		func(ctx context.Context) error { // which the database notices after the function has ended
			return s.CreateToken(ctx, org.ID, broker.TokenGrant{ID: "grt_b", App: "app_a", CodeHash: [32]byte{7}})
		},
		recording(s, "ent_b", &runs),
	)
	for i, want := range []error{nil, mine, mine, broker.ErrCodeUsed, nil} {
		if !errors.Is(errs[i], want) || want == nil && errs[i] != nil {
			t.Errorf("%d: answered %v", i, errs[i])
		}
	}
	for id, want := range map[string]int{"ent_a": 1, "ent_b": 1, "ent_failed": 0} {
		if n := pending(t, s, id); n != want {
			t.Errorf("%s is written %d times", id, n)
		}
	}
}

// S17: where nobody knows whether a shared transaction was committed, everybody who wrote is told so, and
// nobody is run again.
func TestS17AnUnknownCommitIsUnknownToAllWhoSharedIt(t *testing.T) {
	s, p := oneLane(t)
	real, commits := p.commit, 0
	p.commit = func(s *session) (bool, error) {
		unknown, err := real(s)
		if commits++; commits == 2 {
			s.fate = cut
			return true, errors.Join(err, errDisk)
		}
		return unknown, err
	}
	var runs atomic.Int32
	for i, err := range waitingTogether(t, s, recording(s, "ent_a", &runs), recording(s, "ent_b", &runs)) {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%d: answered %v", i, err)
		}
	}
	if runs.Load() != 2 {
		t.Errorf("%d runs of two functions", runs.Load())
	}
}

// S17: nobody is answered before COMMIT returned, and where it is refused nobody is told that it was done.
func TestS17ARefusedCommitIsNobodysSuccess(t *testing.T) {
	s, p := oneLane(t)
	var runs atomic.Int32
	real, commits := p.commit, 0
	p.commit = func(s *session) (bool, error) {
		if commits++; commits == 1 {
			return real(s)
		}
		time.Sleep(20 * time.Millisecond)
		s.rollback()
		return false, errDisk
	}
	after := false
	errs := waitingTogether(t, s, recording(s, "ent_a", &runs), func(ctx context.Context) error {
		tx, err := s.txOf(ctx)
		must(t, err)
		tx.after = append(tx.after, func() { after = true })
		return record(ctx, s, "ent_b")
	})
	for i, err := range errs {
		if err == nil {
			t.Errorf("%d was told that it was done", i)
		}
	}
	if pending(t, s, "ent_a")+pending(t, s, "ent_b") != 0 || after {
		t.Error("something is there of what was refused")
	}
}

// Whoever changes configuration has its turn from the beginning, so it shares no transaction (S15).
func TestS15AChangeOfConfigurationSharesNoTransaction(t *testing.T) {
	s, p := oneLane(t)
	org := treeOf(t, s, 1)
	var sizes []int
	p.grouped = func(n int) { sizes = append(sizes, n) }
	var runs atomic.Int32
	errs := waitingTogether(t, s, recording(s, "ent_a", &runs), func(ctx context.Context) error {
		return s.UpdateOrg(ctx, org.ID, func(o *directory.Org) error { o.Name += "!"; return nil })
	}, recording(s, "ent_b", &runs))
	must(t, errors.Join(errs...))
	if !slices.Equal(sizes, []int{1, 1, 1, 1}) {
		t.Errorf("transactions of %d", sizes)
	}
	if chain, err := s.OrgChain(t.Context(), org.ID); err != nil || chain.Org().Name != org.Name+"!" {
		t.Errorf("%q, %v", chain.Org().Name, err)
	}
}

// A caller that leaves while it waits is not run, and one whose function runs has its outcome.
func TestACallerThatLeavesTheLine(t *testing.T) {
	s, p := oneLane(t)
	busy, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		must(t, s.InTx(t.Context(), func(context.Context) error { close(busy); <-goOn; return nil }))
	})
	<-busy
	ctx, leave := context.WithCancel(t.Context())
	var runs atomic.Int32
	all.Go(func() {
		if err := s.InTx(ctx, recording(s, "ent_left", &runs)); !errors.Is(err, context.Canceled) {
			t.Errorf("answered %v", err)
		}
	})
	await(t, func() bool { p.lanes.mu.Lock(); defer p.lanes.mu.Unlock(); return len(p.lanes.waiting) == 1 })
	leave()
	close(goOn)
	all.Wait()
	must(t, record(t.Context(), s, "ent_next"))
	if runs.Load() != 0 || pending(t, s, "ent_left") != 0 {
		t.Error("a function ran whose caller had left")
	}
}

// A function that does not end holds up nobody but those who share with it: the others find another lane.
func TestAFunctionThatDoesNotEndHoldsUpNobody(t *testing.T) {
	s := openTest(t, onPostgres(t, storetest.NewClock()))
	busy, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		must(t, s.InTx(t.Context(), func(context.Context) error { close(busy); <-goOn; return nil }))
	})
	<-busy
	must(t, record(t.Context(), s, "ent_other"))
	close(goOn)
	all.Wait()
}

// A function that needs a row that another transaction holds waits for it alone: those who came with it go
// on, and rows that they wrote are not held meanwhile, so that nobody waits in a ring.
func TestWhoeverWaitsForARowWaitsAlone(t *testing.T) {
	o := onPostgres(t, storetest.NewClock())
	s, other := openTest(t, o), openTest(t, o)
	s.stop()
	s.idle.Wait()
	p := postgresOf(s)
	p.wide = 1
	must(t, s.write(t.Context(), func(_ context.Context, t *tx) error {
		return t.send("INSERT INTO budgets (k, n, most, until) VALUES ('x', 0, 9, 0), ('y', 0, 9, 0)")
	}))
	use := func(s *Store, key string) func(context.Context) error {
		return func(ctx context.Context) error {
			return s.write(ctx, func(_ context.Context, t *tx) error {
				_, err := t.exec("UPDATE budgets SET n = n + 1 WHERE k = $1", key)
				return err
			})
		}
	}
	held, more, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- other.InTx(t.Context(), func(ctx context.Context) error {
			if err := use(other, "x")(ctx); err != nil {
				return err
			}
			close(held)
			<-more
			return use(other, "y")(ctx) // which those who wait for x would hold
		})
	}()
	<-held
	var runs atomic.Int32
	var all sync.WaitGroup
	answered := make(chan error, 3)
	busy, goOn := make(chan struct{}), make(chan struct{})
	all.Go(func() {
		must(t, s.InTx(t.Context(), func(context.Context) error { close(busy); <-goOn; return nil }))
	})
	<-busy
	for i, fn := range []func(context.Context) error{use(s, "y"), use(s, "x"), recording(s, "ent_a", &runs)} {
		all.Go(func() { answered <- s.InTx(t.Context(), fn) })
		await(t, func() bool {
			p.lanes.mu.Lock()
			defer p.lanes.mu.Unlock()
			return len(p.lanes.waiting) == i+1
		})
	}
	p.lanes.mu.Lock()
	p.wide = 4
	p.lanes.mu.Unlock()
	close(goOn)
	for range 2 { // all but who needs x
		select {
		case err := <-answered:
			must(t, err)
		case <-time.After(2 * time.Second): // before anybody's lock_timeout
			t.Error("somebody waits for a row that they do not need")
		}
	}
	close(more)
	must(t, <-ended)
	all.Wait()
	must(t, <-answered)
	n := int64(0)
	_, err := s.rows(t.Context(), "SELECT sum(n)::bigint FROM budgets", func(r *row) { n = r.int() })
	if err != nil || n != 4 {
		t.Errorf("%d of 4 uses, %v", n, err)
	}
}
