package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

func newCache(limit int) *cache[string] {
	return &cache[string]{generation: new(atomic.Int64), limit: limit}
}

func TestManyWhoMissTogetherCauseOneRead(t *testing.T) {
	c := newCache(10)
	var reads atomic.Int32
	goOn := make(chan struct{})
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			v, err := c.get(t.Context(), "k", func(context.Context) (*string, error) {
				reads.Add(1)
				<-goOn
				return new("value"), nil
			})
			if err != nil || *v != "value" {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(goOn)
	all.Wait()
	if n := reads.Load(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

// The first caller's request may end; the read goes on for the others.
func TestAMissOutlivesItsFirstCaller(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	v, err := newCache(10).get(ctx, "k", func(ctx context.Context) (*string, error) { return new("value"), ctx.Err() })
	if err != nil || *v != "value" {
		t.Error(v, err)
	}
}

// A value that was read before a change and arrives after it must not be kept.
func TestAReadThatWasOvertakenIsNotKept(t *testing.T) {
	c := newCache(10)
	reading, changed := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, _ = c.get(t.Context(), "k", func(context.Context) (*string, error) { close(reading); <-changed; return new("old"), nil })
	})
	<-reading
	c.generation.Add(1)
	c.drop("k")
	// Whoever asks after the change does not wait for the overtaken read.
	v, err := c.get(t.Context(), "k", func(context.Context) (*string, error) { return new("new"), nil })
	if err != nil || *v != "new" {
		t.Errorf("%v, %v", v, err)
	}
	close(changed)
	all.Wait()
	v, _ = c.get(t.Context(), "k", func(context.Context) (*string, error) { return new("new"), nil })
	if *v != "new" {
		t.Errorf("kept %q", *v)
	}
}

// Guessing what does not exist must not push out what is in use.
func TestGuessingDoesNotEmptyTheCache(t *testing.T) {
	c := newCache(100)
	load := func(v *string) func(context.Context) (*string, error) {
		return func(context.Context) (*string, error) { return v, nil }
	}
	_, _ = c.get(t.Context(), "used", load(new("value")))
	for i := range 10_000 {
		_, _ = c.get(t.Context(), fmt.Sprint("guess", i), load(nil))
	}
	if len(c.none) > 100 || c.peek("used") == nil {
		t.Errorf("%d guesses kept; used: %v", len(c.none), c.peek("used"))
	}
}

// Another process changes something: seen within a second, and at once by what decides in a transaction.
func TestS15AChangeOfAnotherProcessIsSeen(t *testing.T) {
	o := options(t, storetest.NewClock())
	serve := openTest(t, o)
	o.Beside = true
	command := openTest(t, o)
	org := treeOf(t, serve, 2)
	status := func(ctx context.Context) directory.Status {
		chain, err := serve.OrgChain(ctx, org.ID)
		must(t, err)
		return chain.Status()
	}
	if status(t.Context()) != directory.Active { // now it is in memory
		t.Fatal("not active")
	}
	decided, err := serve.Revision(t.Context())
	must(t, err)
	must(t, command.UpdateOrg(t.Context(), org.ID, func(o *directory.Org) error { o.Status = directory.Suspended; return nil }))
	must(t, serve.InTx(t.Context(), func(ctx context.Context) error {
		now, err := serve.Revision(ctx)
		if now == decided || status(ctx) != directory.Suspended {
			t.Errorf("a transaction saw revision %d and %s", now, status(ctx))
		}
		return err
	}))
	begun := time.Now()
	for status(t.Context()) != directory.Suspended {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("not seen")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if now, _ := serve.Revision(t.Context()); now == decided {
		t.Error("what was forgotten is not in the revision")
	}
}

// Own changes are seen by the time they are answered, by everybody.
func TestS15AnOwnChangeIsSeenWhenItIsAnswered(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	org := treeOf(t, s, 1)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = s.OrgChain(t.Context(), org.ID)
				}
			}
		})
	}
	for i := range 100 {
		want := fmt.Sprint(i)
		must(t, s.UpdateOrg(t.Context(), org.ID, func(o *directory.Org) error { o.Name = want; return nil }))
		chain, err := s.OrgChain(t.Context(), org.ID)
		must(t, err)
		if chain.Org().Name != want {
			t.Fatalf("read %q after %q was answered", chain.Org().Name, want)
		}
	}
	close(stop)
	all.Wait()
}

// A log that was swept further than we had read means that anything may have changed.
func TestASweptLogForgetsEverything(t *testing.T) {
	o := options(t, storetest.NewClock())
	serve := openTest(t, o)
	org := treeOf(t, serve, 1)
	_, err := serve.OrgChain(t.Context(), org.ID)
	must(t, err)
	serve.stop()
	serve.idle.Wait()
	o.Beside = true
	command := openTest(t, o)
	must(t, command.UpdateOrg(t.Context(), org.ID, func(o *directory.Org) error { o.Name = "new"; return nil }))
	must(t, command.write(t.Context(), func(_ context.Context, tx *tx) error { _, err := tx.exec("DELETE FROM changes"); return err }))
	must(t, serve.follow(t.Context()))
	chain, err := serve.OrgChain(t.Context(), org.ID)
	must(t, err)
	if chain.Org().Name != "new" {
		t.Errorf("still %q", chain.Org().Name)
	}
}

// Whoever was outrun by another process decides again on what is now, without waiting for the poll: a login
// goes on under the new configuration, and does not end for it.
func TestWhoeverWasOutrunDecidesOnWhatIsNow(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, _ *storetest.Clock) {
		serve := openTest(t, o)
		o.Beside = true
		command := openTest(t, o)
		org := treeOf(t, serve, 1)
		for range 10 {
			must(t, command.UpdateOrg(t.Context(), org.ID, func(o *directory.Org) error { o.Name += "!"; return nil }))
			var met int64
			var name string
			must(t, serve.InTx(t.Context(), func(ctx context.Context) (err error) {
				chain, err := serve.OrgChain(ctx, org.ID)
				must(t, err)
				name = chain.Org().Name
				met, err = serve.Revision(ctx)
				return err
			}))
			now, err := serve.Revision(t.Context())
			must(t, err)
			chain, err := serve.OrgChain(t.Context(), org.ID)
			must(t, err)
			if now < met || chain.Org().Name != name {
				t.Errorf("decides on revision %d and %q, when %d and %q were met", now, chain.Org().Name, met, name)
			}
		}
	})
}
