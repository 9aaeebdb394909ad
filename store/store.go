// Package store keeps everything in SQL and satisfies the storage interfaces that the other rooms
// declare; nobody but cmd and tests imports it.
//
// The durable database holds whatever must survive, on one of two engines (wire.go). On SQLite all writes
// go through one writer, which gathers the functions given to InTx into groups that share a commit
// (writer.go); on PostgreSQL each has a connection and a transaction of its own (postgres_pool.go). Reads
// go to a small pool of connections, and what every login asks (organizations, connections, apps, domains, documents,
// entitlements) is answered from memory and forgotten when it changes (cache.go). The short-lived state
// holds what internal/brief keeps for minutes, and is emptied by any stop that was not clean
// (ephemeral.go). Secrets are sealed under a key that lies beside the files, never in them (seal.go).
//
// To add a noun: a migration, a file with its name, `var _ room.Interface = (*Store)(nil)` at its top, and
// its probes in storetest. It knows no rules: what may happen is decided by the room that calls.
package store

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrOptions = fault.New(fault.Internal, "store.options", "The store was opened without a clock or a log, or not with one of a path and a database's address.")
	// ErrDirectory, ErrNotDatabase, …: why a store does not open. The cause names the file.
	ErrNoDirectory = fault.New(fault.NotFound, "store.no_directory", "There is no directory where the database shall lie. Check the path for a slip, or make the directory, writable for the user that runs this: only the file in it is made by itself.")
	ErrDirectory   = fault.New(fault.Unavailable, "store.directory", "The data directory cannot be used. Make it exist and writable for the user that runs this, or name another one.")
	ErrNotDatabase = fault.New(fault.Invalid, "store.not_a_database", "The data file is not a database, or it is damaged. Restore it from a backup, or name another data directory.")
	ErrNewer       = fault.New(fault.Conflict, "store.newer_schema", "The data was last used by a newer version, which changed it in ways that this version does not understand. Run that version or a later one.")
	ErrLocked      = fault.New(fault.Conflict, "store.locked", "Another process is serving from this data directory. Stop it first, or name another data directory.")
	// ErrText: text that cannot be stored.
	ErrText = fault.New(fault.Invalid, "store.text", "Text must be valid UTF-8 and must not hold a NUL character.")
)

// Options say where a store lies.
type Options struct {
	// Path is the SQLite database file, in whose directory ephemeral.db lies too; DSN is the address of a
	// PostgreSQL database (postgres://…; pool_max_conns is how many connections are used). One of them.
	Path string
	DSN  string
	// Redis is where short-lived state is kept (redis://…; package redis says what else it may hold). "" keeps
	// it in the PostgreSQL database, or beside the SQLite file.
	Redis string
	// KeyFile holds the sealing key; "" is vestibule.key beside the SQLite file, where it is made by itself.
	KeyFile string
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
	// Watch is told of each transaction that begins, and what to tell when it ended; nil watches none.
	Watch func(ctx context.Context) (ended func(error))
	// Grouped is told how many functions a commit held; nil tells nobody.
	Grouped func(n int)
	// Recorded is told the action of each entry of the record that was committed; nil tells nobody.
	Recorded func(audit.Action)
}

// Store is the open store. Its methods may be called by many goroutines.
type Store struct {
	now      func() time.Time
	log      *slog.Logger
	beside   bool
	watch    func(context.Context) func(error)
	recorded func(audit.Action)
	db       database
	sealer   *sealer
	hearing  hearing
	node     presence
	caches
	persons  recent[member]
	sessions recent[broker.Session]
	touched  recent[time.Time] // when identities were used last, as of the last look
	short    *ephemeral
	counter  *counter
	epochs   *epochs      // of short-lived state that is shared; nil where it is embedded
	shared   func() error // ends the connection to it

	sweeping               sync.Mutex
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
	if (o.Path == "") == (o.DSN == "") || o.Now == nil || o.Log == nil {
		return nil, ErrOptions
	}
	if o.Path != "" {
		if err := usable(filepath.Dir(o.Path)); err != nil {
			return nil, err
		}
	}
	s := &Store{now: o.Now, log: o.Log, beside: o.Beside, watch: o.Watch, recorded: o.Recorded, stop: func() {}, counter: newCounter(o.Now), sealer: newSealer(),
		oldSessions: oldSessions(), oldGrants: oldGrants(), enqueued: make(chan struct{}, 1), revoked: make(chan struct{}, 1),
		base: context.WithoutCancel(ctx), node: newPresence(), short: &ephemeral{now: o.Now, epoch: o.Now(), closed: true}}
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
	if err := s.openShort(o); err != nil {
		return err
	}
	if err := s.openDatabase(ctx, o); err != nil {
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
	if err := s.resume(ctx); err != nil {
		return err
	}
	return s.openShared(ctx, o)
}

// Migrate brings a database to this program's schema and opens nothing; a database that is there already
// is left as it is.
func Migrate(ctx context.Context, o Options) error {
	if (o.Path == "") == (o.DSN == "") || o.Log == nil {
		return ErrOptions
	}
	if o.DSN != "" {
		p, err := openPostgres(ctx, context.WithoutCancel(ctx), o, nil)
		if err == nil {
			p.close()
		}
		return err
	}
	if err := usable(filepath.Dir(o.Path)); err != nil {
		return err
	}
	c, err := openDurable(o.Path, durablePragmas)
	if err != nil {
		return err
	}
	defer c.close()
	return migrateFile(ctx, c, o.Path)
}

// openShort opens the short-lived state, first, because its file is also the lock that keeps a second
// serve out of a directory.
func (s *Store) openShort(o Options) (err error) {
	switch {
	case o.Beside, o.DSN != "":
		return nil
	}
	short, err := openEphemeral(filepath.Join(filepath.Dir(o.Path), "ephemeral.db"), o.Now)
	if err == nil {
		s.short = short
	}
	return err
}

func (s *Store) openDatabase(ctx context.Context, o Options) error {
	if o.DSN != "" {
		p, err := openPostgres(ctx, s.base, o, s.appliedAmong)
		if err == nil {
			s.db = p
		}
		return err
	}
	f, err := openFiles(ctx, o, s.applied)
	if err == nil {
		s.db = f
	}
	return err
}

// Close finishes what was begun, keeps the short-lived state for the next start and closes the files.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.stop()
		s.idle.Wait()
		if !s.beside {
			s.leave()
			err = s.park()
		}
		s.closeFiles()
	})
	return err
}

// closeFiles leaves what cannot be parked for the next start to drop.
func (s *Store) closeFiles() {
	if s.db != nil {
		s.db.close()
	}
	s.short.close()
	if s.shared != nil {
		_ = s.shared()
	}
}

// rows reads, in the transaction of ctx where there is one.
func (s *Store) rows(ctx context.Context, q string, scan func(*row), args ...any) (int, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return 0, err
	}
	if t != nil {
		return t.read(q, scan, args)
	}
	return found(s.db.read(ctx, q, scan, args))
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
