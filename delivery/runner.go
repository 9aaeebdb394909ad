package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// ErrLease: another node has the job by now, for this one did not answer in time. Nobody but a Runner
// sees it.
var ErrLease = errors.New("delivery: the lease of this job is over")

const (
	perHost   = 4                // sends to one host at a time, for each kind
	pollEvery = time.Second      // how late what another node enqueued, or put off, is seen
	sendLimit = 20 * time.Second // one send
	leaseFor  = time.Minute      // longer than a send, so that nobody else begins before it is over
	stopGrace = 5 * time.Second  // how long a stop waits for sends in progress
	downAfter = 3                // failures in a row after which a host's other jobs are put off
	downFor   = 30 * time.Second
	firstWait = 2 * time.Second
	longWait  = time.Hour
)

// Tx runs fn in one transaction; fn may run twice.
type Tx interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Runner sends what is due. All fields but Tried are required.
type Runner struct {
	Queue   Queue
	Senders map[Kind]Sender
	Tx      Tx
	Audit   audit.Recorder
	// Woken tells that a job was enqueued on this node; others are found by polling.
	Woken <-chan struct{}
	Now   func() time.Time
	Log   *slog.Logger
	// Tried is told how each try went: how the job ended, or Waiting when it is to be tried again.
	Tried func(k Kind, how Outcome)
}

func (r *Runner) tried(k Kind, how Outcome) {
	if r.Tried != nil {
		r.Tried(k, how)
	}
}

// Run sends until ctx ends, and then waits a moment for what is under way. What did not end by then is
// due again when its lease is over.
func (r *Runner) Run(ctx context.Context) {
	lanes := make([]*lane, 0, len(r.Senders))
	var all sync.WaitGroup
	for kind, sender := range r.Senders {
		l := newLane(r, kind, sender)
		lanes = append(lanes, l)
		all.Go(func() { l.run(ctx) })
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-r.Woken:
			for _, l := range lanes {
				l.poke()
			}
		}
	}
	all.Wait()
}

// lane sends the jobs of one kind.
type lane struct {
	*Runner
	kind   Kind
	sender Sender
	woken  chan struct{}

	mu     sync.Mutex
	flying map[string]int // sends in progress, by host
	count  int
	failed map[string]int // failures in a row, by host
	left   bool           // the last lease may have left something that is due
}

func newLane(r *Runner, kind Kind, sender Sender) *lane {
	return &lane{Runner: r, kind: kind, sender: sender, woken: make(chan struct{}, 1), flying: map[string]int{}, failed: map[string]int{}}
}

func (l *lane) poke() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

func (l *lane) run(ctx context.Context) {
	// Sends outlive the stop by its grace.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sends sync.WaitGroup
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, j := range l.lease(ctx) {
			sends.Go(func() { l.attempt(sending, j) })
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-l.woken:
		}
	}
	over := make(chan struct{})
	go func() { sends.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(stopGrace):
		cancel()
		<-over
	}
}

// lease takes what is due as far as there is room.
func (l *lane) lease(ctx context.Context) []Job {
	l.mu.Lock()
	w := Want{Kind: l.kind, Most: MaxLease - l.count, PerHost: perHost, Until: l.Now().Add(leaseFor)}
	for host := range l.flying {
		w.Busy = append(w.Busy, host)
	}
	l.left = w.Most == 0
	l.mu.Unlock()
	if w.Most == 0 {
		return nil
	}
	jobs, err := l.Queue.LeaseJobs(ctx, w)
	if err != nil {
		if ctx.Err() == nil {
			l.Log.ErrorContext(ctx, "delivery: jobs could not be leased", "kind", l.kind, "error", err)
		}
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Where something was taken or left out, there may be more as soon as there is room.
	l.left = len(jobs) > 0 || len(w.Busy) > 0
	for _, j := range jobs {
		l.flying[j.Host]++
		l.count++
	}
	return jobs
}

// landed makes room, and asks for more where there may be some.
func (l *lane) landed(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.flying[host]--; l.flying[host] <= 0 {
		delete(l.flying, host)
	}
	if l.left {
		l.poke()
	}
}

// attempt sends one job and notes how it went.
func (l *lane) attempt(ctx context.Context, j Job) {
	defer l.landed(j.Host)
	if !l.Now().Before(j.NotAfter) {
		l.finish(ctx, j, Expired, "")
		return
	}
	err := l.send(ctx, j)
	if ctx.Err() != nil {
		return // the node stops: the lease runs out
	}
	if err == nil {
		l.answered(j.Host)
		l.finish(ctx, j, Delivered, "")
		return
	}
	class, final := classOf(err)
	l.Log.InfoContext(ctx, "delivery: a try failed", "job", j.ID, "kind", j.Kind, "org", j.Org, "target", j.Target, "attempt", j.Attempts, "class", class, "error", err)
	if final {
		l.answered(j.Host)
		l.finish(ctx, j, Refused, class)
		return
	}
	at := l.Now().Add(pause(j.Attempts, rand.Float64()))
	if !at.Before(j.NotAfter) {
		l.finish(ctx, j, Expired, class)
		return
	}
	l.tried(j.Kind, Waiting)
	if err := l.Queue.RetryJob(ctx, j, at, class); err != nil {
		l.Log.ErrorContext(ctx, "delivery: a try could not be noted", "job", j.ID, "error", err)
	}
	l.silent(ctx, j.Host)
}

// pause is how long to wait after a number of tries: doubled each time, up to an hour, and spread by a
// quarter so that what failed together does not come back together. chance is between 0 and 1.
func pause(tries int, chance float64) time.Duration {
	d := longWait
	if tries = max(tries, 1); tries < 12 {
		d = min(firstWait<<(tries-1), longWait)
	}
	return time.Duration(float64(d) * (0.75 + chance/2))
}

// send bounds the sender: its time, and its bugs.
func (l *lane) send(ctx context.Context, j Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = Fail("internal", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return l.sender.Send(ctx, j)
}

func (l *lane) answered(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failed, host)
}

// silent counts a failure of a host. After some in a row its other jobs step back, so that they do not
// stand in the way of those that can arrive.
func (l *lane) silent(ctx context.Context, host string) {
	l.mu.Lock()
	if len(l.failed) > 1024 {
		clear(l.failed)
	}
	l.failed[host]++
	down := l.failed[host] >= downAfter
	l.mu.Unlock()
	if !down {
		return
	}
	if err := l.Queue.PostponeJobs(ctx, l.kind, host, l.Now().Add(downFor)); err != nil {
		l.Log.ErrorContext(ctx, "delivery: a host's jobs could not be put off", "kind", l.kind, "error", err)
	}
}

// finish ends a job, with its line in the record where its sender wants one.
func (l *lane) finish(ctx context.Context, j Job, how Outcome, class string) {
	d := Delivery{ID: j.ID, Org: j.Org, Kind: j.Kind, Target: j.Target, CreatedAt: j.CreatedAt, At: l.Now(), Outcome: how, Attempts: j.Attempts, Class: class}
	entry, noted := audit.Entry{}, false
	if n, ok := l.sender.(Noter); ok {
		entry, noted = n.Note(j, d)
	}
	err := l.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := l.Queue.FinishJob(ctx, j, d); err != nil || !noted {
			return err
		}
		return l.Audit.Record(ctx, entry)
	})
	switch {
	case err == nil:
		l.tried(j.Kind, how)
	case errors.Is(err, ErrLease):
		l.Log.WarnContext(ctx, "delivery: the lease was over before the send was", "job", j.ID, "kind", j.Kind)
	default:
		l.Log.ErrorContext(ctx, "delivery: an outcome could not be noted", "job", j.ID, "outcome", how, "error", err)
	}
}
