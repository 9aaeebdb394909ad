package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// fake is a queue in memory, a clock, a sender and a record in one.
type fake struct {
	mu      sync.Mutex
	at      time.Time
	due     map[string]time.Time
	jobs    map[string]Job
	ended   map[string]Delivery
	entries []audit.Entry
	woken   chan struct{}
	send    func(ctx context.Context, j Job) error
	sent    []string
	tries   []Outcome
}

func newFake() *fake {
	return &fake{at: time.Unix(1e9, 0), due: map[string]time.Time{}, jobs: map[string]Job{}, ended: map[string]Delivery{}, woken: make(chan struct{}, 1)}
}

func (f *fake) Now() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.at }

func (f *fake) pass(d time.Duration) {
	f.mu.Lock()
	f.at = f.at.Add(d)
	f.mu.Unlock()
	f.wake()
}

func (f *fake) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

func (f *fake) Enqueue(_ context.Context, j Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs[j.ID], f.due[j.ID] = j, f.at
	f.wake()
	return nil
}

func (f *fake) LeaseJobs(_ context.Context, w Want) (out []Job, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id := range f.jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	byHost := map[string]int{}
	for _, id := range ids {
		j := f.jobs[id]
		if f.due[id].After(f.at) || j.Kind != w.Kind || slices.Contains(w.Busy, j.Host) || byHost[j.Host] == w.PerHost || len(out) == w.Most {
			continue
		}
		byHost[j.Host]++
		j.Attempts++
		j.Lease = fmt.Sprint(id, j.Attempts)
		f.jobs[id], f.due[id] = j, w.Until
		out = append(out, j)
	}
	return out, nil
}

func (f *fake) RetryJob(_ context.Context, j Job, at time.Time, class string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due[j.ID] = at
	return nil
}

func (f *fake) FinishJob(_ context.Context, j Job, d Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs[j.ID].Lease != j.Lease {
		return ErrLease
	}
	delete(f.jobs, j.ID)
	f.ended[j.ID] = d
	return nil
}

func (f *fake) PostponeJobs(_ context.Context, kind Kind, host string, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, j := range f.jobs {
		if j.Host == host && !f.due[id].After(f.at) {
			f.due[id] = until
		}
	}
	return nil
}

func (f *fake) Deliveries(context.Context, string, Query) ([]Delivery, error) { return nil, nil }

func (f *fake) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (f *fake) Record(_ context.Context, e audit.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, e)
	return nil
}

func (f *fake) Send(ctx context.Context, j Job) error {
	f.mu.Lock()
	f.sent = append(f.sent, j.ID)
	f.mu.Unlock()
	return f.send(ctx, j)
}

func (f *fake) Note(j Job, d Delivery) (audit.Entry, bool) {
	return audit.Entry{ID: j.ID, Detail: map[string]string{"outcome": string(d.Outcome)}}, d.Outcome == Delivered
}

func (f *fake) add(id, host string) {
	_ = f.Enqueue(context.Background(), Job{ID: id, Kind: "k", Org: "org_1", Target: "app_1", Host: host, CreatedAt: f.Now(), NotAfter: f.Now().Add(24 * time.Hour)})
}

// run sends until the test ends, and gives a function that stops it.
func (f *fake) run(t *testing.T, send func(ctx context.Context, j Job) error) (stop func()) {
	t.Helper()
	f.send = send
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	r := &Runner{Queue: f, Senders: map[Kind]Sender{"k": f}, Tx: f, Audit: f, Woken: f.woken, Now: f.Now, Log: slog.New(slog.DiscardHandler),
		Tried: func(k Kind, how Outcome) { f.mu.Lock(); defer f.mu.Unlock(); f.tries = append(f.tries, how) }}
	go func() { r.Run(ctx); close(over) }()
	stop = func() { cancel(); <-over }
	t.Cleanup(stop)
	return stop
}

// until waits for something that must come.
func (f *fake) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		ok := done()
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func TestAJobIsSentOnceAndItsEndStandsInTheRecord(t *testing.T) {
	f := newFake()
	f.run(t, func(context.Context, Job) error { return nil })
	f.add("job_1", "a")
	f.until(t, "delivered", func() bool { return f.ended["job_1"].Outcome == Delivered })
	f.pass(time.Hour)
	f.add("job_2", "a")
	f.until(t, "delivered", func() bool { return f.ended["job_2"].Outcome == Delivered && len(f.entries) == 2 })
	if len(f.sent) != 2 {
		t.Errorf("sent %v", f.sent)
	}
}

func TestAFailureIsTriedAgainAndARefusalIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		tries   int
		outcome Outcome
		class   string
	}{
		"it may be mended":   {Fail("status 503", nil), 3, Delivered, ""},
		"a bug of ours":      {errors.New("x"), 3, Delivered, ""},
		"it is never taken":  {Never("status 400", nil), 1, Refused, "status 400"},
		"wrapped and never":  {fmt.Errorf("so: %w", Never("gone", nil)), 1, Refused, "gone"},
		"a sender that errs": {nil, 3, Delivered, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.run(t, func(_ context.Context, j Job) error {
				switch {
				case j.Attempts == 3:
					return nil
				case c.err == nil:
					panic("a bug")
				}
				return c.err
			})
			f.add("job_1", "a")
			for n := 1; n < c.tries; n++ {
				f.until(t, "a try", func() bool { return len(f.sent) == n && f.due["job_1"].Sub(f.at) < leaseFor/2 })
				f.pass(time.Minute)
			}
			f.until(t, "the end", func() bool { _, ok := f.ended["job_1"]; return ok })
			want := append(slices.Repeat([]Outcome{Waiting}, c.tries-1), c.outcome)
			f.until(t, "each try told", func() bool { return slices.Equal(f.tries, want) })
			if d := f.ended["job_1"]; d.Outcome != c.outcome || d.Class != c.class || d.Attempts != c.tries || len(f.sent) != c.tries {
				t.Errorf("%+v after %d sends", d, len(f.sent))
			}
		})
	}
}

func TestWhatIsOverItsTimeIsNotSentButSaidSo(t *testing.T) {
	f := newFake()
	f.add("job_1", "a")
	f.pass(25 * time.Hour)
	f.run(t, func(context.Context, Job) error { return Fail("timeout", nil) })
	f.until(t, "dropped", func() bool { return f.ended["job_1"].Outcome == Expired })
	if len(f.sent) != 0 {
		t.Error("sent after its time")
	}
	// No pause leads beyond the end.
	_ = f.Enqueue(t.Context(), Job{ID: "job_2", Kind: "k", Host: "a", NotAfter: f.Now().Add(time.Second)})
	f.until(t, "dropped", func() bool { return f.ended["job_2"].Outcome == Expired && f.ended["job_2"].Class == "timeout" })
}

func TestAReceiverThatHangsSlowsNobodyElse(t *testing.T) {
	f := newFake()
	hang := make(chan struct{})
	for i := range 100 {
		f.add(fmt.Sprintf("job_0%02d", i), "dead")
	}
	for i := range 50 {
		f.add(fmt.Sprintf("job_1%02d", i), fmt.Sprint("good", i%5))
	}
	f.run(t, func(ctx context.Context, j Job) error {
		if j.Host != "dead" {
			return nil
		}
		select {
		case <-hang:
		case <-ctx.Done():
		}
		return Fail("timeout", nil)
	})
	f.until(t, "all the others", func() bool { return len(f.ended) == 50 })
	f.mu.Lock()
	if busy := len(f.sent) - 50; busy > perHost {
		t.Errorf("%d sends to one host at a time", busy)
	}
	f.mu.Unlock()
	// After a few failures the rest of its queue steps back, so that the front is free.
	close(hang)
	f.until(t, "put off", func() bool {
		for id := range f.jobs {
			if !f.due[id].After(f.at) {
				return false
			}
		}
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sent) > 50+2*perHost+downAfter {
		t.Errorf("%d sends to a host that is down", len(f.sent)-50)
	}
}

func TestAStopWaitsForWhatIsUnderWay(t *testing.T) {
	f := newFake()
	begun, finish := make(chan struct{}), make(chan struct{})
	stop := f.run(t, func(context.Context, Job) error { close(begun); <-finish; return nil })
	f.add("job_1", "a")
	<-begun
	go func() { time.Sleep(10 * time.Millisecond); close(finish) }()
	stop()
	if f.ended["job_1"].Outcome != Delivered {
		t.Errorf("%+v", f.ended)
	}
	f.add("job_2", "a")
	if len(f.sent) != 1 {
		t.Error("sent after the stop")
	}
}

func TestPausesGrowAndSpread(t *testing.T) {
	for tries, middle := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 11: 2048 * time.Second, 12: time.Hour, 1000: time.Hour} {
		if got := pause(tries, 0.5); got != middle {
			t.Errorf("after %d tries %s", tries, got)
		}
		if low, high := pause(tries, 0), pause(tries, 1); low != middle*3/4 || high != middle*5/4 {
			t.Errorf("after %d tries %s to %s", tries, low, high)
		}
	}
}
