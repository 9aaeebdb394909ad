package upstream

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func reply(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// trip makes n arrivals that nobody answers.
func trip(t *testing.T, f *fence, n int) {
	t.Helper()
	for range n {
		if err := f.arrive(t.Context(), reply(ErrUnreachable)); !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
	}
}

func called(t *testing.T, f *fence, arrival bool) bool {
	t.Helper()
	was := false
	f.do(t.Context(), arrival, func(context.Context) error { was = true; return ErrUnreachable })
	return was
}

func TestADeadProviderIsNotCalledForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{}, time.Now)
		trip(t, f, fenceFailures-1)
		if !called(t, f, true) {
			t.Fatal("closed too early")
		}
		for _, arrival := range []bool{true, false} {
			if called(t, f, arrival) {
				t.Error("called while the circuit is open")
			}
		}
		time.Sleep(fencePause)
		if !called(t, f, true) {
			t.Error("not tried again")
		}
		// It failed again: the pause doubles, up to its bound.
		for pause := 2 * fencePause; pause < 10*time.Minute; pause *= 2 {
			wait := min(pause, fenceMaxPause)
			time.Sleep(wait - time.Millisecond)
			if called(t, f, true) {
				t.Errorf("called within %v", wait)
			}
			time.Sleep(time.Millisecond)
			if !called(t, f, true) {
				t.Errorf("not tried after %v", wait)
			}
		}
	})
}

func TestAProviderThatIsBackIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{}, time.Now)
		trip(t, f, fenceFailures)
		time.Sleep(fencePause)
		if err := f.arrive(t.Context(), reply(nil)); err != nil {
			t.Fatal(err)
		}
		trip(t, f, fenceFailures-1)
		if !called(t, f, true) {
			t.Error("a success did not clear the failures before it")
		}
	})
}

func TestWhileFindingOutOneArrivalCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{}, time.Now)
		trip(t, f, fenceFailures)
		time.Sleep(fencePause)
		go f.arrive(t.Context(), func(context.Context) error { time.Sleep(time.Second); return nil })
		synctest.Wait()
		if called(t, f, true) || called(t, f, false) {
			t.Error("a second one called as well")
		}
		time.Sleep(2 * time.Second)
		if !called(t, f, true) {
			t.Error("still closed after the answer")
		}
	})
}

func TestCallsUnderWayWhenTheCircuitOpensDoNotLengthenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{}, time.Now)
		for range 8 * fenceFailures {
			go f.arrive(t.Context(), func(context.Context) error { time.Sleep(time.Second); return ErrUnreachable })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		time.Sleep(fencePause)
		if !called(t, f, true) {
			t.Error("one outage counted many times")
		}
	})
}

func TestRubbishNeitherOpensNorClosesTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{}, time.Now)
		for range 100 {
			f.arrive(t.Context(), reply(ErrMalformed))
			f.arrive(t.Context(), reply(ErrRejected))
		}
		if !called(t, f, true) {
			t.Error("rubbish shut the organization out")
		}
		for range fenceFailures - 1 {
			f.arrive(t.Context(), reply(ErrMalformed))
			f.depart(t.Context(), reply(nil))
			trip(t, f, 1)
		}
		if called(t, f, true) {
			t.Error("rubbish and departures keep a dead provider in use")
		}
	})
}

func TestABrowserThatLeavesSaysNothingOfTheProvider(t *testing.T) {
	f := newFence(Fence{}, time.Now)
	for range 3 * fenceFailures {
		ctx, leave := context.WithCancel(t.Context())
		f.arrive(ctx, func(ctx context.Context) error { leave(); return ErrUnreachable.With(ctx.Err()) })
	}
	if !called(t, f, true) {
		t.Error("people who close their browser opened the circuit")
	}
}

func TestAHangingProviderHoldsItsOwnPlacesAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFence(Fence{Parallel: 8}, time.Now)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				start := time.Now()
				err := f.arrive(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				if !errors.Is(err, ErrUnreachable) || time.Since(start) != fenceTimeout {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if err := f.arrive(t.Context(), reply(nil)); !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
			t.Errorf("the ninth: %v after %v", err, time.Since(start))
		}
		wg.Wait()
		if f.inFlight != 0 {
			t.Errorf("%d places are lost", f.inFlight)
		}
	})
}

func TestAPanicGivesItsPlaceBack(t *testing.T) {
	f := newFence(Fence{Parallel: 1}, time.Now)
	func() {
		defer func() { recover() }()
		f.arrive(t.Context(), func(context.Context) error { panic("odd") })
	}()
	if err := f.arrive(t.Context(), reply(nil)); err != nil {
		t.Fatal(err)
	}
}
