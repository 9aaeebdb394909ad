package store

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	groupSize = 64              // functions in one transaction at most
	patience  = 2 * time.Second // how long a write waits behind one function that does not end
	// companyWait is how long a group waits for company while there is some, companySize how many are
	// enough. An fsync takes about as long, so nobody waits much longer than they would have anyway.
	companyWait = 2 * time.Millisecond
	companySize = 14
)

// writer owns the only connection that writes. Functions are gathered into groups that share one
// transaction and so one fsync: 40 times the durable writes of one transaction each.
type writer struct {
	conn    *conn
	queue   chan *call
	stop    chan struct{}
	done    chan struct{}
	log     *slog.Logger
	twice   bool                  // run every function twice (tests)
	commit  func(*conn) error     // COMMIT; tests make it fail
	applied func(touches []touch) // after COMMIT, before anybody is answered
	grouped func(n int)           // after COMMIT, of how many; nil tells nobody

	started atomic.Int64         // counts functions begun, so that a waiter sees whether one hangs
	running atomic.Pointer[call] // the function that runs now
}

// call is one InTx on its way through the writer.
type call struct {
	ctx   context.Context
	fn    func(context.Context) error
	store *Store
	state atomic.Int32
	done  chan struct{}
	err   error
	tx    *tx
	alone bool // has turnConfig from the beginning
	apart bool // shares no transaction, for one that it shared failed (PostgreSQL)
}

const (
	queued int32 = iota
	taken        // the writer has it: from here on the outcome is the writer's
	left         // the caller went away before that: it will not run
)

// submit waits for a call's outcome.
func (w *writer) submit(c *call) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	begun := w.started.Load()
	queue := w.queue
	for {
		select {
		case queue <- c:
			queue = nil
		case <-c.done:
			return c.err
		case <-w.done:
			return c.outcome(ErrClosed)
		case <-c.ctx.Done():
			return c.outcome(c.ctx.Err())
		case <-timer.C:
			now := w.started.Load()
			if r := w.running.Load(); r != nil && r != c && now == begun && c.state.CompareAndSwap(queued, left) {
				return ErrOutside.With(fmt.Errorf("the write %s waited %s for the transaction %s to end: a function given to InTx must use the ctx it is given",
					nameOf(c.fn), patience, nameOf(r.fn)))
			}
			begun = now
			timer.Reset(patience)
		}
	}
}

// outcome is what a caller that stops waiting can know.
func (c *call) outcome(why error) error {
	if c.state.CompareAndSwap(queued, left) {
		return why
	}
	select {
	case <-c.done:
		return c.err
	default:
		return ErrUnknown.With(why)
	}
}

func nameOf(fn func(context.Context) error) string {
	return runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
}

// loop is the writer's goroutine.
func (w *writer) loop() {
	defer close(w.done)
	group := make([]*call, 0, groupSize)
	company := false // the last group was more than one
	for {
		select {
		case c := <-w.queue:
			group = append(group[:0], c)
			if company {
				group = w.await(group)
			}
			group = w.gather(group)
			company = len(group) > 1
			w.run(group)
			clear(group)
		case <-w.stop:
			for group = w.gather(group[:0]); len(group) > 0; group = w.gather(group[:0]) {
				w.run(group)
			}
			return
		}
	}
}

// await gives others a moment to join the group, for a commit costs the same for one as for many. Only
// where there was company a moment ago: whoever is alone is answered at once.
func (w *writer) await(group []*call) []*call {
	timer := time.NewTimer(companyWait)
	defer timer.Stop()
	for len(group) < companySize {
		select {
		case c := <-w.queue:
			group = append(group, c)
		case <-timer.C:
			return group
		}
	}
	return group
}

func (w *writer) gather(group []*call) []*call {
	for len(group) < groupSize {
		select {
		case c := <-w.queue:
			group = append(group, c)
		default:
			return group
		}
	}
	return group
}

// run commits a group and answers its callers, none before COMMIT returned (S17).
func (w *writer) run(group []*call) {
	live := group[:0]
	for _, c := range group {
		if c.state.CompareAndSwap(queued, taken) {
			live = append(live, c)
		}
	}
	if len(live) == 0 {
		return
	}
	err := w.transact(live)
	if err == nil && w.grouped != nil {
		w.grouped(len(live))
	}
	var touches []touch
	for _, c := range live {
		if err != nil && c.err == nil {
			c.err = err
		}
		if c.err == nil {
			touches = append(touches, c.tx.touches...)
		}
	}
	if len(touches) > 0 {
		w.applied(touches)
	}
	for _, c := range live {
		if c.err == nil {
			for _, f := range c.tx.after {
				f()
			}
		}
	}
	for _, c := range live {
		close(c.done)
	}
}

// transact runs a group's functions and commits. Its error is everybody's: nothing was written.
func (w *writer) transact(group []*call) error {
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return stored(err)
	}
	if !w.together(group) {
		if err := w.rollback(); err != nil {
			return err
		}
		if len(group) == 1 {
			return nil // its own error is its answer
		}
		if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
			return stored(err)
		}
		w.apart(group)
	}
	if w.conn.idle() {
		return ErrUnavailable.Because("the database ended the transaction by itself")
	}
	if err := w.commit(w.conn); err != nil {
		w.log.Error("store: commit failed", "error", err, "callers", len(group))
		if err := w.rollback(); err != nil {
			return err
		}
		return ErrUnavailable.With(err)
	}
	return nil
}

func (w *writer) rollback() error {
	if w.conn.idle() {
		return nil
	}
	_, err := w.conn.exec("ROLLBACK")
	return stored(err)
}

// together runs the functions one after the other without savepoints, which is cheap and nearly always
// right. It reports false when one failed after it had written.
func (w *writer) together(group []*call) bool {
	for _, c := range group {
		w.begin(c)
		if c.err != nil && (c.tx.writes > 0 || w.conn.idle()) {
			return false
		}
	}
	return true
}

// apart runs each function in a savepoint of its own, so that one failure undoes only its own writes.
func (w *writer) apart(group []*call) {
	for i, c := range group {
		if _, err := w.conn.exec(savepoints[0].set); err != nil {
			failAll(group[i:], stored(err))
			return
		}
		w.begin(c)
		if c.err != nil {
			if w.conn.idle() {
				return
			}
			if _, err := w.conn.exec(savepoints[0].rollback); err != nil {
				failAll(group[i:], stored(err))
				return
			}
		}
		if _, err := w.conn.exec(savepoints[0].release); err != nil {
			failAll(group[i:], stored(err))
			return
		}
	}
}

func failAll(group []*call, err error) {
	for _, c := range group {
		c.err = err
	}
}

// begin runs one function, and lets waiters see that it runs.
func (w *writer) begin(c *call) {
	w.started.Add(1)
	w.running.Store(c)
	perform(c, w.conn, w.twice, w.log)
	w.running.Store(nil)
}

// close ends the writer after what was queued is written.
func (w *writer) close() {
	close(w.stop)
	<-w.done
}
