package upstream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Fence says how much one connection may cost the others. Zero values are the numbers below.
type Fence struct {
	Timeout  time.Duration // of one departure or arrival
	Parallel int           // departures and arrivals at once; more get ErrBusy
	Failures int           // unanswered calls in a row that open the circuit
	Pause    time.Duration // how long it stays open at first; doubles up to MaxPause
	MaxPause time.Duration
}

const (
	// A person waits this long at most for their provider, and holds one of Parallel places meanwhile.
	fenceTimeout = 10 * time.Second
	// At 100 ms for an exchange this is more than a thousand logins a second for one connection.
	fenceParallel = 128
	fenceFailures = 5
	fencePause    = 5 * time.Second
	fenceMaxPause = time.Minute
)

func (f Fence) filled() Fence {
	fill(&f.Timeout, fenceTimeout)
	fill(&f.Parallel, fenceParallel)
	fill(&f.Failures, fenceFailures)
	fill(&f.Pause, fencePause)
	fill(&f.MaxPause, fenceMaxPause)
	return f
}

func fill[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// fence is a concurrency cap and a circuit breaker around one connection.
//
// Only ErrUnreachable counts as a failure, and protocols answer it only when the network itself gave no
// answer: else anybody could shut an organization out by arriving with rubbish. Only an accepted arrival
// counts as a success: a departure usually calls nobody, and rubbish is refused before anybody is called.
type fence struct {
	Fence
	now func() time.Time

	mu       sync.Mutex
	inFlight int
	failures int
	until    time.Time     // the circuit is open before this
	pause    time.Duration // how long it was opened last
	probing  bool          // one arrival is finding out whether the provider is back
}

func newFence(f Fence, now func() time.Time) *fence { return &fence{Fence: f.filled(), now: now} }

// depart and arrive run a call when there is room and the circuit is not open. After the pause it is half
// open: departures pass, so that somebody can come back, and one arrival at a time finds out.
func (f *fence) depart(ctx context.Context, call func(context.Context) error) error {
	return f.do(ctx, false, call)
}

func (f *fence) arrive(ctx context.Context, call func(context.Context) error) error {
	return f.do(ctx, true, call)
}

func (f *fence) do(ctx context.Context, arrival bool, call func(context.Context) error) error {
	probe, err := f.enter(arrival)
	if err != nil {
		return err
	}
	// Set to the worst before the call, so that a panic gives its place back and counts.
	outcome := error(ErrUnreachable)
	defer func() { f.leave(ctx, arrival, probe, outcome) }()
	outcome = f.bounded(ctx, call)
	return outcome
}

// bounded runs call within the time that one call may take.
func (f *fence) bounded(ctx context.Context, call func(context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	err := call(inner)
	if err != nil && inner.Err() != nil && !errors.Is(err, ErrUnreachable) {
		return ErrUnreachable.With(err)
	}
	return err
}

func (f *fence) enter(arrival bool) (probe bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failures >= f.Failures {
		if f.probing || f.now().Before(f.until) {
			return false, ErrUnreachable.Because("the circuit is open")
		}
		probe = arrival
	}
	if f.inFlight >= f.Parallel {
		return false, ErrBusy
	}
	f.inFlight++
	f.probing = probe
	return probe, nil
}

func (f *fence) leave(ctx context.Context, arrival, probe bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	if probe {
		f.probing = false
	}
	switch {
	case err == nil && arrival:
		f.failures, f.pause = 0, 0
	case errors.Is(err, ErrUnreachable) && !errors.Is(ctx.Err(), context.Canceled):
		// When the browser went away, the call's end says nothing of the provider.
		f.failed()
	}
}

// failed counts and opens the circuit. Calls that were under way when it opened do not lengthen it.
func (f *fence) failed() {
	f.failures++
	if f.failures < f.Failures || f.now().Before(f.until) {
		return
	}
	f.pause = min(max(2*f.pause, f.Pause), f.MaxPause)
	f.until = f.now().Add(f.pause)
}
