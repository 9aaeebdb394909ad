package store

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/store/storetest"
)

var _ storetest.Store = (*Store)(nil)

var storeLog = slog.New(slog.DiscardHandler)

func options(t testing.TB, clock *storetest.Clock) Options {
	return Options{Path: filepath.Join(t.TempDir(), "vestibule.db"), Now: clock.Now, Log: slog.New(slog.DiscardHandler)}
}

// onPostgres is options with a fresh database on PostgreSQL.
func onPostgres(t testing.TB, clock *storetest.Clock) Options {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dsn := pgtest.Prepared(t, "migrated", func(dsn string) error {
		return Migrate(t.Context(), Options{DSN: dsn, Now: clock.Now, Log: log})
	})
	key := filepath.Join(t.TempDir(), "key")
	if _, err := newKeyFile(key); err != nil {
		t.Fatal(err)
	}
	return Options{DSN: dsn, KeyFile: key, Now: clock.Now, Log: log}
}

// engines are the databases that everything must work on.
var engines = map[string]func(testing.TB, *storetest.Clock) Options{"SQLite": options, "PostgreSQL": onPostgres}

// eachEngine runs a test on every engine.
func eachEngine(t *testing.T, test func(t *testing.T, o Options, clock *storetest.Clock)) {
	for name, options := range engines {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock()
			test(t, options(t, clock), clock)
		})
	}
}

func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	for name, options := range engines {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, clock *storetest.Clock) storetest.Store {
				return openTest(t, options(t, clock))
			})
		})
	}
}

// Every function given to InTx may run twice; here each does.
func TestStoreRunsEveryFunctionTwice(t *testing.T) {
	for name, options := range engines {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, clock *storetest.Clock) storetest.Store {
				o := options(t, clock)
				o.Twice = true
				return openTest(t, o)
			})
		})
	}
}

// lite and postgresOf are what lies below a store.
func lite(s *Store) *files { return s.db.(*files) }

func postgresOf(s *Store) *postgres { return s.db.(*postgres) }
