package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

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

// tx is what the ctx of a running function carries.
type tx struct {
	store    *Store
	conn     wire
	over     bool
	writes   int   // statements that wrote
	broken   error // a step failed after it had written; the whole must not commit
	touches  []touch
	revision int64       // before the first of touches
	code     int64       // the last code of a path, 0 when none was made
	after    []func()    // run after COMMIT, before the caller is answered
	made     madeSession // last in this transaction
	depth    int
	config   bool // holds turnConfig for itself
	met      bool // something was there that its reads had not seen: run again, they will
	late     bool // wanted turnConfig after it had read: run again with it from the beginning
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
// When ctx ends first the answer is ctx's error if fn had not begun, else ErrUnknown: it may commit, and
// it may run still, so that what fn writes outside the store must not be read after an error.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	t, err := s.txOf(ctx)
	if err != nil {
		return err
	}
	if t != nil {
		return t.savepoint(ctx, fn)
	}
	c := &call{ctx: ctx, fn: fn, store: s, done: make(chan struct{})}
	if s.watch == nil {
		return s.db.submit(c)
	}
	ended := s.watch(ctx)
	err = s.db.submit(c)
	ended(err)
	return err
}

// perform runs a call's function on a wire, in tests once for nothing before it counts.
func perform(c *call, on wire, twice bool, log *slog.Logger) {
	if c.alone {
		if c.err = stored(on.hold(turnConfig, false)); c.err != nil {
			return
		}
	}
	if twice && on.script("SAVEPOINT twice") == nil {
		once(c, on, log)
		if c.tx.late {
			return
		}
		_ = on.script("ROLLBACK TO twice", "RELEASE twice") // a failure shows in what follows
	}
	once(c, on, log)
}

func once(c *call, on wire, log *slog.Logger) {
	t := &tx{store: c.store, conn: on, depth: 1, config: c.alone}
	c.tx = t
	c.err = guard(context.WithValue(c.ctx, txKey{}, t), c.fn)
	t.over = true
	if c.err == nil {
		c.err = cmp.Or(t.broken, t.count())
	}
	if t.late {
		c.err = errTurn
	}
	if errors.Is(c.err, ErrPanic) {
		log.Error("store: a transaction's function panicked", "function", nameOf(c.fn), "error", c.err)
	}
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

// change is write for configuration. It stands alone from its first read on: what it checks (who holds a
// domain, who signs in by a connection) still holds when it commits, and nobody who decides by the
// configuration commits in between (S15).
func (s *Store) change(ctx context.Context, fn func(ctx context.Context, t *tx) error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.alone(); err != nil {
			return err
		}
		return fn(ctx, t)
	})
}

// alone takes the turn of configuration until the transaction ends.
func (t *tx) alone() error {
	if t.config || t.broken != nil {
		return t.broken
	}
	t.config = true
	err := t.conn.hold(turnConfig, false)
	if errors.Is(err, errTurn) {
		t.late = true // it goes on, but will not commit
		return nil
	}
	if err != nil {
		t.broken = stored(err)
	}
	return t.broken
}

// taken is the answer that something is another's. What the transaction read before may say otherwise
// where another node wrote it meanwhile, so it is run again to see for itself.
func (t *tx) taken(err error) error {
	t.met = true
	return err
}

// errTurn: a transaction turns out to change configuration after it has read, and what it read may not be
// so any more when its turn comes. It is run again, and has its turn from the beginning.
var errTurn = errors.New("read before its turn")

func (t *tx) hold(l turn, shared bool) error {
	if t.broken != nil {
		return t.broken
	}
	if err := t.conn.hold(l, shared); err != nil {
		t.broken = stored(err)
	}
	return t.broken
}

// try takes a turn unless another node has it.
func (t *tx) try(l turn) (bool, error) {
	if t.broken != nil {
		return false, t.broken
	}
	mine, err := t.conn.try(l)
	if err != nil {
		t.broken = stored(err)
	}
	return mine, t.broken
}

// send writes where nobody needs to know how many rows changed.
func (t *tx) send(q string, args ...any) error {
	if t.broken != nil {
		return t.broken
	}
	if err := t.conn.send(q, args...); err != nil {
		t.broken = stored(err)
		return t.broken
	}
	t.writes++
	return nil
}

// sendNew is send for a row that must be new. Where its key is taken the transaction fails by that error,
// here or later.
func (t *tx) sendNew(taken error, q string, args ...any) error {
	if t.broken != nil {
		return t.broken
	}
	if err := t.conn.sendNew(taken, q, args...); err != nil {
		t.broken = stored(err)
		return t.broken
	}
	t.writes++
	return nil
}

// read reads. A failure breaks the whole, as PostgreSQL has it; what cannot be asked for is no failure.
func (t *tx) read(q string, scan func(*row), args []any) (int, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	n, err := found(t.conn.rows(q, scan, args))
	if err != nil {
		t.broken = err
	}
	return n, err
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
	if err := t.conn.script(names.set); err != nil {
		return stored(err)
	}
	held := t.config
	touched, after := len(t.touches), len(t.after)
	err := guard(ctx, fn)
	if err == nil {
		err = t.broken
	}
	if err == nil {
		// On PostgreSQL what waited to be sent is answered here, so that its failure is this step's.
		if err = t.conn.script(names.release); err == nil {
			return nil
		}
		err = stored(err)
	}
	t.touches, t.after, t.config, t.made = t.touches[:touched], t.after[:after], held, madeSession{}
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
