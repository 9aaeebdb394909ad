package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var _ database = (*postgres)(nil)

// postgres is the durable database on PostgreSQL. Connections are made when they are wanted and kept.
// Transactions and reads have shares of their own, so that a transaction's function that reads beside it
// never waits for a transaction.
type postgres struct {
	config  *pgconn.Config
	base    context.Context
	log     *slog.Logger
	twice   bool
	commit  func(*session) (unknown bool, err error) // COMMIT; tests make it fail
	applied func([]touch)                            // after COMMIT, before the caller is answered

	lanes   lanes         // who writes, on a connection each
	wide    int           // lanes at most
	grouped func(n int)   // after COMMIT, of how many; nil tells nobody
	reads   chan struct{} // one each that is lent to a read
	over    chan struct{} // closed by close

	mu   sync.Mutex
	idle []*session // the last used is the first lent: its statements are warm
	era  int64      // moves when the server cut a connection: those of before are not trusted
}

const (
	poolSize   = 20              // connections, unless the DSN's pool_max_conns says otherwise
	lendTime   = 5 * time.Second // how long a caller waits for a connection
	raceTries  = 8               // runs of a function that met others
	freshTries = 3               // runs of a function that met a row that it had not seen, or lost its connection
)

func newPostgres(base context.Context, config *pgconn.Config, size int, o Options, applied func([]touch)) *postgres {
	writes := max(1, size*3/5)
	return &postgres{
		config: config, base: base, log: o.Log, twice: o.Twice, commit: (*session).commit, applied: applied,
		wide: writes, grouped: o.Grouped, reads: make(chan struct{}, max(1, size-writes)), over: make(chan struct{}),
	}
}

// enter takes a place in a share.
func (p *postgres) enter(ctx context.Context, share chan struct{}) error {
	select {
	case <-p.over:
		return ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case share <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(lendTime)
	defer timer.Stop()
	select {
	case share <- struct{}{}:
		return nil
	case <-p.over:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return allLent(cap(share))
	}
}

func allLent(n int) error {
	return ErrUnavailable.Because(fmt.Sprintf("all %d connections were in use for %s", n, lendTime))
}

// take gives a connection to whoever has a place: one that is there, else a new one.
func (p *postgres) take() (*session, error) {
	p.mu.Lock()
	era := p.era
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	return p.dial(era)
}

func (p *postgres) dial(era int64) (*session, error) {
	c, err := pgconn.ConnectConfig(p.base, p.config)
	if err != nil {
		return nil, connecting(err)
	}
	bell := time.AfterFunc(time.Hour, func() { _ = c.Conn().SetDeadline(time.Unix(1, 0)) })
	bell.Stop()
	return &session{c: c, base: p.base, stmts: map[string]*pgconn.StatementDescription{}, bell: bell, era: era}, nil
}

// give takes a connection back. One that was cut says that those made before it are of no use either.
func (p *postgres) give(s *session) {
	s.bell.Stop()
	if s.sound() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.era == p.era {
			p.idle = append(p.idle, s)
			return
		}
	}
	if s.fate == cut {
		p.distrust(s.era)
	}
	s.close()
}

// distrust closes the connections of an era.
func (p *postgres) distrust(era int64) {
	p.mu.Lock()
	if p.era != era {
		p.mu.Unlock()
		return
	}
	p.era++
	old := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, s := range old {
		s.close()
	}
}

// read runs a statement on a connection of its own, once more when the connection turns out to be gone.
func (p *postgres) read(ctx context.Context, q string, scan func(*row), args []any) (n int, err error) {
	if err := p.enter(ctx, p.reads); err != nil {
		return 0, err
	}
	defer func() { <-p.reads }()
	for range freshTries {
		var s *session
		if s, err = p.take(); err != nil {
			return 0, err
		}
		s.fate, s.collided = alive, false
		n, err = s.rows(q, scan, args)
		gone := s.fate == cut
		p.give(s)
		if !gone || n > 0 {
			return n, err
		}
	}
	return n, err
}

// pause lets the other transaction go first.
func (p *postgres) pause(ctx context.Context, try int) error {
	timer := time.NewTimer(rand.N(time.Duration(try) * 8 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.over:
		return ErrClosed
	case <-timer.C:
		return nil
	}
}

// attempt runs a function once and commits. tries is how often it may be run in all.
func (p *postgres) attempt(c *call) (tries int, err error) {
	s, err := p.take()
	if err != nil {
		return 0, err
	}
	defer func() { p.give(s) }()
	if err := s.begin(c.ctx); err != nil {
		s.rollback()
		return s.tries(false), stored(err)
	}
	perform(c, s, p.twice, p.log)
	if c.err != nil {
		tries = s.tries(c.tx != nil && c.tx.met)
		s.rollback()
		return tries, c.err
	}
	unknown, err := p.commit(s)
	if err == nil {
		return 0, nil
	}
	tries = s.tries(false)
	s.rollback()
	switch {
	case !unknown:
		return tries, stored(err)
	case c.tx.writes == 0:
		return 0, stored(err)
	}
	p.log.Error("store: nobody knows whether a commit was done", "error", err, "function", nameOf(c.fn))
	return 0, ErrUnknown.With(err)
}

// tries is how often a function may be run that ended as this one did. met says that it found something
// that what it had read did not tell.
func (s *session) tries(met bool) int {
	switch {
	case s.fate == raced:
		return raceTries
	case s.fate == cut, s.collided, met && s.asked:
		return freshTries
	default:
		return 0
	}
}

// answered runs what a commit brings, before its caller goes on.
func (p *postgres) answered(t *tx) {
	if len(t.touches) > 0 {
		p.applied(t.touches)
	}
	for _, f := range t.after {
		f()
	}
}

func (p *postgres) clock(ctx context.Context) (at time.Time, err error) {
	_, err = p.read(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", func(r *row) { at = r.time() }, nil)
	return at, stored(err)
}

// lineage is the installation of the server and its timeline, which each promotion and each restore to a
// point in time change. Where a service hides them they are left out: the heartbeat tells most of it.
func (p *postgres) lineage(ctx context.Context) (string, error) {
	line := ""
	for _, q := range []string{
		"SELECT system_identifier::text FROM pg_control_system()",
		"SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
	} {
		part := ""
		_, err := p.read(ctx, q, func(r *row) { part = r.text() }, nil)
		if err != nil && !hidden(err) {
			return "", stored(err)
		}
		line += "/" + part
	}
	return line, nil
}

// hidden: the server does not have that function, or not for us.
func hidden(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "42501" || pg.Code == "42883" || pg.Code == "0A000" || pg.Code == "55000")
}

// writable commits a transaction that takes a row lock, which a server that takes no writes refuses.
func (p *postgres) writable(ctx context.Context) error {
	return p.submit(&call{ctx: ctx, fn: func(ctx context.Context) error {
		t, _ := ctx.Value(txKey{}).(*tx)
		_, err := t.read("SELECT n FROM counters WHERE name = 'schema_needs' FOR UPDATE", nil, nil)
		return err
	}, done: make(chan struct{})})
}

// close waits for what was begun.
func (p *postgres) close() {
	close(p.over)
	p.finish()
	for range cap(p.reads) {
		p.reads <- struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		s.close()
	}
	p.idle = nil
}

// listen keeps a connection that hears of changes. Without it they are found by asking, a little later.
// It also notices first when the server goes, so that nobody tries the connections that went with it.
func (p *postgres) listen(ctx context.Context, wake func()) {
	config := p.config.Copy()
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { wake() }
	for {
		p.mu.Lock()
		era := p.era
		p.mu.Unlock()
		if c, err := pgconn.ConnectConfig(ctx, config); err == nil {
			if err = c.Exec(ctx, "LISTEN "+heard).Close(); err == nil {
				wake() // of what was changed before
				for err == nil {
					err = c.WaitForNotification(ctx)
				}
			}
			farewell, done := context.WithTimeout(p.base, time.Second)
			_ = c.Close(farewell)
			done()
			if ctx.Err() == nil {
				p.distrust(era)
			}
		}
		again := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}
