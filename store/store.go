// Package store keeps everything in SQL and satisfies the storage interfaces that the other rooms
// declare; nobody but cmd and tests imports it.
//
// There are two files. The durable one holds whatever must survive: all writes go through one writer,
// which gathers the functions given to InTx into groups that share a commit (tx.go); reads go to a small
// pool of connections, and what every login asks (organizations, connections, apps, domains, documents,
// entitlements) is answered from memory and forgotten when it changes (cache.go). The short-lived one
// holds what internal/brief keeps for minutes, and is emptied by any stop that was not clean
// (ephemeral.go). Secrets are sealed under a key that lies beside the files, never in them (seal.go).
//
// To add a noun: a migration, a file with its name, `var _ room.Interface = (*Store)(nil)` at its top, and
// its probes in storetest. It knows no rules: what may happen is decided by the room that calls.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrOptions = fault.New(fault.Internal, "store.options", "The store was opened without a path, a clock or a log.")
	// ErrDirectory, ErrNotDatabase, …: why a store does not open. The cause names the file.
	ErrDirectory   = fault.New(fault.Unavailable, "store.directory", "The data directory cannot be used. Make it exist and writable for the user that runs this, or name another one.")
	ErrNotDatabase = fault.New(fault.Invalid, "store.not_a_database", "The data file is not a database, or it is damaged. Restore it from a backup, or name another data directory.")
	ErrNewer       = fault.New(fault.Conflict, "store.newer_schema", "The data was last used by a newer version, which changed it in ways that this version does not understand. Run that version or a later one.")
	ErrLocked      = fault.New(fault.Conflict, "store.locked", "Another process is serving from this data directory. Stop it first, or name another data directory.")
	// ErrText: text that cannot be stored.
	ErrText = fault.New(fault.Invalid, "store.text", "Text must be valid UTF-8 and must not hold a NUL character.")
)

// Options say where a store lies.
type Options struct {
	Path    string // the durable database file; ephemeral.db lies in the same directory
	KeyFile string // the sealing key; "" is vestibule.key beside Path
	// Key is the sealing key itself, as a key file holds it, where there is no file: containers have it in
	// their environment.
	Key string
	// SealingKeys are keys that are neither: of a key management service.
	SealingKeys []SealingKey
	Now         func() time.Time
	Log         *slog.Logger
	// Beside opens the durable file next to a serve that may be running, for one command of an
	// operator: no short-lived state, no sweeping, no sealing of the record.
	Beside bool
	// Twice runs every function given to InTx twice, the first time for nothing. For tests: it finds
	// functions that do more than read, compute and write.
	Twice bool
}

// Store is the open store. Its methods may be called by many goroutines.
type Store struct {
	now     func() time.Time
	log     *slog.Logger
	beside  bool
	main    *writer
	readers pool
	lent    int // how many readers there are
	sealer  *sealer
	caches
	persons  recent[member]
	sessions recent[broker.Session]
	short    *ephemeral
	counter  *counter

	oldSessions, oldGrants oldRows
	enqueued               chan struct{} // a job was committed
	revoked                chan struct{} // a revocation was

	base context.Context // of no request: for background work and the clean stop
	stop context.CancelFunc
	idle sync.WaitGroup // background work
	once sync.Once
}

// Open opens or makes a store. ctx bounds the opening alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Path == "" || o.Now == nil || o.Log == nil {
		return nil, ErrOptions
	}
	if err := usable(filepath.Dir(o.Path)); err != nil {
		return nil, err
	}
	s := &Store{now: o.Now, log: o.Log, beside: o.Beside, stop: func() {}, counter: newCounter(o.Now), sealer: newSealer(),
		oldSessions: oldSessions(), oldGrants: oldGrants(), enqueued: make(chan struct{}, 1), revoked: make(chan struct{}, 1),
		base: context.WithoutCancel(ctx), short: &ephemeral{now: o.Now, epoch: o.Now(), closed: true}}
	if err := s.open(ctx, o); err != nil {
		s.closeFiles()
		return nil, err
	}
	background, stop := context.WithCancel(s.base)
	s.stop = stop
	s.background(background)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	if !o.Beside {
		// First, because it is also the lock that keeps a second serve out.
		short, err := openEphemeral(filepath.Join(filepath.Dir(o.Path), "ephemeral.db"), o.Now)
		if err != nil {
			return err
		}
		s.short = short
	}
	if err := s.openMain(ctx, o); err != nil {
		return err
	}
	if err := s.openKey(ctx, o); err != nil {
		return err
	}
	if err := s.openCaches(ctx); err != nil {
		return err
	}
	if o.Beside {
		return nil
	}
	return s.resume(ctx)
}

// openMain opens the durable file: migrated, with its writer and readers.
func (s *Store) openMain(ctx context.Context, o Options) error {
	c, err := openDurable(o.Path, durablePragmas)
	if err != nil {
		return err
	}
	if err := migrate(ctx, c, o.Path); err != nil {
		c.close()
		return err
	}
	s.main = &writer{conn: c, queue: make(chan *call, 1024), stop: make(chan struct{}), done: make(chan struct{}),
		log: o.Log, twice: o.Twice, commit: commit, applied: s.applied}
	go s.main.loop()
	s.readers = newPool(max(4, runtime.GOMAXPROCS(0)))
	for range cap(s.readers.free) {
		r, err := openDurable(o.Path, readerPragmas)
		if err != nil {
			return err
		}
		s.lent++
		s.readers.put(r)
	}
	return nil
}

func commit(c *conn) error { _, err := c.exec("COMMIT"); return err }

func openDurable(path string, pragmas []string) (*conn, error) {
	if err := private(path); err != nil {
		return nil, ErrDirectory.With(err)
	}
	c, err := openConn(path)
	if err != nil {
		return nil, opening(path, err)
	}
	c.busyTimeout(busyTimeout)
	if err := c.script(pragmas...); err != nil {
		c.close()
		return nil, opening(path, err)
	}
	return c, nil
}

// private makes a file that only its owner may read; SQLite gives its companions the same rights.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// opening says in words why a file does not open.
func opening(path string, err error) error {
	err = fmt.Errorf("%s: %w", path, err)
	switch {
	case isNotDatabase(err):
		return ErrNotDatabase.With(err)
	case isBusy(err):
		return ErrLocked.With(err)
	default:
		return ErrDirectory.With(err)
	}
}

// usable makes the directory where it is missing and tries whether files can be made in it.
func usable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ErrDirectory.With(err)
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return ErrDirectory.With(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Close finishes what was begun, keeps the short-lived state for the next start and closes the files.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.stop()
		s.idle.Wait()
		if !s.beside {
			err = s.park()
		}
		s.closeFiles()
	})
	return err
}

// closeFiles leaves what cannot be parked for the next start to drop.
func (s *Store) closeFiles() {
	if s.main != nil {
		s.main.close()
		s.main.conn.close()
	}
	s.readers.close(s.lent)
	s.short.close()
}

// Ready says whether the store can be read and written now.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.InTx(ctx, func(context.Context) error { return nil })
}

// rows reads, in the transaction of ctx where there is one.
func (s *Store) rows(ctx context.Context, q string, scan func(*row), args ...any) (int, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return 0, err
	}
	if t != nil {
		n, err := t.conn.rows(q, scan, args)
		return found(n, err)
	}
	c, err := s.readers.get(ctx)
	if err != nil {
		return 0, err
	}
	defer s.readers.put(c)
	n, err := c.rows(q, scan, args)
	return found(n, err)
}

// found makes text that cannot be stored find nothing: people and programs send anything.
func found(n int, err error) (int, error) {
	if errors.Is(err, ErrText) {
		return 0, nil
	}
	return n, stored(err)
}

// one reads one row and answers missing when there is none.
func (s *Store) one(ctx context.Context, missing error, q string, scan func(*row), args ...any) error {
	n, err := s.rows(ctx, q, scan, args...)
	if err == nil && n == 0 {
		return missing
	}
	return err
}
