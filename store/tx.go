package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrUnavailable: nothing was written.
	ErrUnavailable = fault.New(fault.Unavailable, "store.unavailable", "The database cannot be used right now. Try again in a moment; if it stays so, the operator must look at the disk it is on.")
	// ErrUnknown: the caller's time ended while its write was under way, so it may have been written.
	// What may be used only once is not tried again (S17): start over.
	ErrUnknown = fault.New(fault.Unavailable, "store.unknown", "This took too long and may or may not have happened. Look before you repeat it.")
	// ErrOutside is a bug of ours: a function given to InTx wrote with another ctx than its own.
	ErrOutside = fault.New(fault.Internal, "store.outside_transaction", "Something broke on our side.")
	// ErrOver is a bug of ours: a ctx was used after its transaction ended.
	ErrOver = fault.New(fault.Internal, "store.transaction_over", "Something broke on our side.")
	// ErrClosed: the store was closed.
	ErrClosed = fault.New(fault.Unavailable, "store.closed", "This service is stopping. Try again in a moment.")
	// ErrPanic is a bug of ours: a function given to InTx panicked.
	ErrPanic = fault.New(fault.Internal, "store.panic", "Something broke on our side.")
)

const (
	groupSize = 64              // functions in one transaction at most
	patience  = 2 * time.Second // how long a write waits behind one function that does not end
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
}

const (
	queued int32 = iota
	taken        // the writer has it: from here on the outcome is the writer's
	left         // the caller went away before that: it will not run
)

// tx is what the ctx of a running function carries.
type tx struct {
	store   *Store
	conn    *conn
	over    bool
	writes  int   // statements that wrote
	broken  error // a step failed after it had written; the whole must not commit
	touches []touch
	depth   int
}

type txKey struct{}

// txOf gives the transaction that ctx carries, nil when it carries none of this store.
func (s *Store) txOf(ctx context.Context) (*tx, error) {
	t, _ := ctx.Value(txKey{}).(*tx)
	if t == nil || t.store != s {
		return nil, nil
	}
	if t.over {
		return nil, ErrOver.Because("the ctx of a transaction was kept and used after it")
	}
	return t, nil
}

// InTx runs fn in one transaction, which every method called with fn's ctx joins, and returns when it
// is committed on the disk. fn may run twice; it must not wait for anything but the store. An error of
// fn undoes what it wrote and is returned as it is. Inside a transaction InTx is a savepoint.
//
// When ctx ends first the answer is ctx's error if fn had not begun, else ErrUnknown: it may commit.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	t, err := s.txOf(ctx)
	if err != nil {
		return err
	}
	if t != nil {
		return t.savepoint(ctx, fn)
	}
	return s.main.submit(&call{ctx: ctx, fn: fn, store: s, done: make(chan struct{})})
}

// write is InTx for the store's own methods. Inside a transaction it joins without a savepoint: a step
// that fails after it wrote breaks the whole, as PostgreSQL has it.
func (s *Store) write(ctx context.Context, fn func(ctx context.Context, t *tx) error) error {
	t, err := s.txOf(ctx)
	if err != nil {
		return err
	}
	if t == nil {
		return s.InTx(ctx, func(ctx context.Context) error {
			t, err := s.txOf(ctx)
			if err != nil {
				return err
			}
			return fn(ctx, t)
		})
	}
	before := t.writes
	err = fn(ctx, t)
	if err != nil && t.writes > before {
		t.broken = err
	}
	return err
}

// exec writes. It returns how many rows changed.
func (t *tx) exec(q string, args ...any) (int64, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	n, err := t.conn.exec(q, args...)
	if err != nil {
		t.broken = stored(err)
		return 0, t.broken
	}
	if n > 0 {
		t.writes++
	}
	return n, nil
}

// returning writes and reads what RETURNING gives.
func (t *tx) returning(q string, scan func(*row), args ...any) (int, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	n, err := t.conn.rows(q, scan, args)
	if err != nil {
		t.broken = stored(err)
		return 0, t.broken
	}
	t.writes += n
	return n, nil
}

func (t *tx) savepoint(ctx context.Context, fn func(context.Context) error) error {
	if t.broken != nil {
		return t.broken
	}
	names := savepoints[min(t.depth, len(savepoints)-1)]
	t.depth++
	defer func() { t.depth-- }()
	if _, err := t.conn.exec(names.set); err != nil {
		return stored(err)
	}
	touched := len(t.touches)
	err := guard(ctx, fn)
	if err == nil {
		err = t.broken
	}
	if err == nil {
		_, err := t.conn.exec(names.release)
		return stored(err)
	}
	t.touches = t.touches[:touched]
	if err := t.conn.script(names.rollback, names.release); err != nil {
		t.broken = stored(err)
		return t.broken
	}
	t.broken = nil
	return err
}

type savepointTexts struct{ set, rollback, release string }

// The first is the writer's own, around each function of a group that had a failure.
var savepoints = []savepointTexts{
	{"SAVEPOINT a", "ROLLBACK TO a", "RELEASE a"}, {"SAVEPOINT b", "ROLLBACK TO b", "RELEASE b"},
	{"SAVEPOINT c", "ROLLBACK TO c", "RELEASE c"}, {"SAVEPOINT d", "ROLLBACK TO d", "RELEASE d"},
}

// guard turns a panic of fn into an error: one caller's bug must not end everybody's writes.
func guard(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = ErrPanic.With(fmt.Errorf("%v\n%s", p, debug.Stack()))
		}
	}()
	return fn(ctx)
}

// stored wraps what the database answered; faults pass as they are.
func stored(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if unavailable(err) {
		return ErrUnavailable.With(err)
	}
	return fault.Of(err)
}

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
	for {
		select {
		case c := <-w.queue:
			group = w.gather(append(group[:0], c))
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

// begin runs one function, in tests once for nothing before it counts.
func (w *writer) begin(c *call) {
	if w.twice && w.conn.script("SAVEPOINT twice") == nil {
		w.once(c)
		if !w.conn.idle() {
			_ = w.conn.script("ROLLBACK TO twice", "RELEASE twice") // a failure shows in what follows
		}
	}
	w.once(c)
}

func (w *writer) once(c *call) {
	t := &tx{store: c.store, conn: w.conn, depth: 1}
	c.tx = t
	w.started.Add(1)
	w.running.Store(c)
	c.err = guard(context.WithValue(c.ctx, txKey{}, t), c.fn)
	w.running.Store(nil)
	t.over = true
	if c.err == nil {
		c.err = t.broken
	}
	if errors.Is(c.err, ErrPanic) {
		w.log.Error("store: a transaction's function panicked", "function", nameOf(c.fn), "error", c.err)
	}
}

// close ends the writer after what was queued is written.
func (w *writer) close() {
	close(w.stop)
	<-w.done
}

// pool lends connections that only read.
type pool struct {
	free chan *conn
	over chan struct{} // closed when nothing is lent any more
}

func newPool(size int) pool {
	return pool{free: make(chan *conn, size), over: make(chan struct{})}
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.over:
		return nil, ErrClosed
	default:
	}
	select {
	case c := <-p.free:
		return c, nil
	case <-p.over:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) put(c *conn) { p.free <- c }

// close waits for what is lent, count connections in all.
func (p *pool) close(count int) {
	if p.over == nil {
		return
	}
	close(p.over)
	for range count {
		c := <-p.free
		c.close()
	}
}
