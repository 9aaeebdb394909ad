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

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/store/storetest"
)

var errDisk = errors.New("the disk is full")

// pending counts audit entries by id: the smallest row there is.
func pending(t *testing.T, s *Store, id string) int {
	t.Helper()
	n, err := s.rows(t.Context(), "SELECT id FROM audit_pending WHERE id = $1 UNION ALL SELECT id FROM audit WHERE id = $1", nil, id)
	must(t, err)
	return n
}

func record(ctx context.Context, s *Store, id string) error {
	return s.Record(ctx, audit.Entry{ID: id, At: s.now(), Action: "test.done"})
}

// S17: a caller must not be told "done" when COMMIT failed, and nobody of the group may be.
func TestS17AFailedCommitFailsEveryCallerOfTheGroup(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	hold, holding := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.InTx(t.Context(), func(context.Context) error { close(holding); <-hold; return nil })
	}()
	<-holding // what comes now gathers into one group
	var fail atomic.Bool
	var groups atomic.Int32
	lite(s).main.commit = func(c *conn) error {
		if fail.Load() {
			groups.Add(1)
			return errDisk
		}
		return commit(c)
	}
	fail.Store(true)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			err := s.InTx(t.Context(), func(ctx context.Context) error { return record(ctx, s, fmt.Sprint("ent_", i)) })
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errDisk) {
				t.Errorf("answered %v", err)
			}
		})
	}
	for len(lite(s).main.queue) < 20 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	all.Wait()
	fail.Store(false)
	for i := range 20 {
		if n := pending(t, s, fmt.Sprint("ent_", i)); n != 0 {
			t.Errorf("entry %d was written", i)
		}
	}
	if groups.Load() == 0 {
		t.Error("no commit failed")
	}
	must(t, record(t.Context(), s, "ent_after")) // the writer lives on
}

// commitBy changes how the writer commits, from within it: the background writes too.
func commitBy(t *testing.T, s *Store, by func(*conn) error) {
	t.Helper()
	_ = s.InTx(t.Context(), func(context.Context) error { lite(s).main.commit = by; return nil }) // it may be the first to fail
}

// S17: two callers must not both believe that they won, whatever the disk does.
func TestS17AnItemIsNotSpentByAFailedCommit(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	commitBy(t, s, func(*conn) error { return errDisk })
	until := s.now().Add(time.Hour)
	if err := s.Spend(t.Context(), "org_a", "assertion", "a1", until); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	commitBy(t, s, commit)
	must(t, s.Spend(t.Context(), "org_a", "assertion", "a1", until))
	if err := s.Spend(t.Context(), "org_a", "assertion", "a1", until); !errors.Is(err, upstream.ErrReplay) {
		t.Fatal(err)
	}
}

// S17: a caller whose time ends while its write runs cannot know, and is told so.
func TestS17ACallerThatLeavesHasAnUnknownOutcome(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	ctx, leave := context.WithCancel(t.Context())
	running, goOn := make(chan struct{}), make(chan struct{})
	var answer error
	var all sync.WaitGroup
	all.Go(func() {
		answer = s.InTx(ctx, func(ctx context.Context) error {
			close(running)
			<-goOn
			return record(ctx, s, "ent_x")
		})
	})
	<-running
	leave()
	all.Wait()
	if !errors.Is(answer, ErrUnknown) || !errors.Is(answer, context.Canceled) {
		t.Errorf("answered %v", answer)
	}
	close(goOn)
	must(t, record(t.Context(), s, "ent_y"))
	if n := pending(t, s, "ent_x"); n != 1 {
		t.Errorf("written %d times", n) // it may commit, and here it does
	}
}

func TestAWriteOutsideTheRunningFunctionIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := openTest(t, options(t, storetest.NewClock()))
	begun := time.Now()
	err := s.InTx(t.Context(), func(context.Context) error { return record(t.Context(), s, "ent_x") }) // not fn's ctx
	if !errors.Is(err, ErrOutside) {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < patience || took > 10*patience {
		t.Errorf("refused after %s", took)
	}
	for _, name := range []string{"TestAWriteOutsideTheRunningFunctionIsRefusedByName", "store.(*Store).write"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("does not name %s: %v", name, err)
		}
	}
	if ErrOutside.Public != "Something broke on our side." {
		t.Error("shows internals")
	}
}

func TestAStepThatFailedAfterItWroteBreaksTheWhole(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		_ = s.write(ctx, func(ctx context.Context, t *tx) error {
			if _, err := t.exec("INSERT INTO marks (name, value) VALUES ($1, $2)", "half", []byte{1}); err != nil {
				return err
			}
			return errDisk
		})
		return record(ctx, s, "ent_x") // the failure was swallowed
	})
	if !errors.Is(err, errDisk) {
		t.Errorf("answered %v", err)
	}
	if half, _ := s.mark(t.Context(), "half"); half != nil {
		t.Error("half a step was committed")
	}
}

func TestTextThatCannotBeStoredIsRefused(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	for _, bad := range []string{"a\x00b", "\xff"} {
		if err := record(t.Context(), s, bad); !errors.Is(err, ErrText) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestGroupsShareACommit(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	var commits atomic.Int32
	hold, holding := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.InTx(t.Context(), func(context.Context) error { close(holding); <-hold; return nil })
	}()
	<-holding
	lite(s).main.commit = func(c *conn) error { commits.Add(1); return commit(c) }
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { must(t, record(t.Context(), s, fmt.Sprint("ent_", i))) })
	}
	for len(lite(s).main.queue) < 100 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	all.Wait()
	if n := commits.Load(); n > 4 { // the held one, 64, 36, and perhaps the chaining
		t.Errorf("100 writes took %d commits", n)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	if _, err := s.rows(t.Context(), "DELETE FROM counters", nil); err == nil {
		t.Error("a reading connection wrote")
	}
}
