package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
	"github.com/vestibule-id/vestibule/store"
)

// backend says on what the stories run: VESTIBULE_TEST_BACKEND is "" for SQLite, "postgres", or
// "postgres+redis" with short-lived state in Redis.
// It is asked for in tests, where go test notices that a result of another one does not count.
func backend() string { return os.Getenv("VESTIBULE_TEST_BACKEND") }

// stored are the databases of the worlds of this process, and shortLived their Redis, by the directory of
// the world: one that is opened again finds what it left.
var stored, shortLived sync.Map

// keptIn says where a world that lies in dir keeps its data.
func keptIn(t testing.TB, dir string, c config) config {
	t.Helper()
	c.DataDir = dir
	if !strings.HasPrefix(backend(), "postgres") {
		return c
	}
	c.KeyFile = filepath.Join(dir, "vestibule.key")
	if _, err := store.NewSealingKeyFile(c.KeyFile); err != nil && !errors.Is(err, store.ErrKeyExists) {
		t.Fatal(err)
	}
	dsn, there := stored.Load(dir)
	if !there {
		dsn = pgtest.Prepared(t, "migrated", func(dsn string) error {
			return store.Migrate(t.Context(), store.Options{DSN: dsn, Log: slog.New(slog.DiscardHandler)})
		})
		stored.Store(dir, dsn)
	}
	c.Database = database{URL: dsn.(string)}
	if backend() == "postgres+redis" {
		url, _ := shortLived.LoadOrStore(dir, redistest.Shared(t)+"&timeout=5s") // the bound of one call is not what the stories are about
		c.Redis = url.(string)
	}
	return c
}
