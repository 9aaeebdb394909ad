package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/vestibule-id/vestibule/broker"
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
	c.DataDir, c.MakeKey = dir, madeBefore
	if !strings.HasPrefix(backend(), "postgres") {
		migratedIn(t, dir)
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

// Half of what a world costs is its RSA key, and an eighth its schema, so both are made once.
var (
	rsaKeys = sync.OnceValues(func() (keys [3][]byte, err error) {
		for i := range keys {
			var key *rsa.PrivateKey
			if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
				keys[i], err = x509.MarshalPKCS8PrivateKey(key)
			}
			if err != nil {
				return keys, err
			}
		}
		return keys, nil
	})
	nextKey atomic.Int64

	migrated = sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "vestibule-migrated-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "vestibule.db")
		if err := store.Migrate(context.Background(), store.Options{Path: file, Log: slog.New(slog.DiscardHandler)}); err != nil {
			return nil, err
		}
		return os.ReadFile(file)
	})
)

// madeBefore gives one of a few RSA keys that worlds share, and makes what is cheap to make.
func madeBefore(alg string) ([]byte, error) {
	if alg != "RS256" {
		return broker.GenerateKey(alg)
	}
	keys, err := rsaKeys()
	return keys[nextKey.Add(1)%int64(len(keys))], err
}

// migratedIn puts a database without data into a world that has none.
func migratedIn(t testing.TB, dir string) {
	t.Helper()
	file := filepath.Join(dir, "vestibule.db")
	if _, err := os.Stat(file); err == nil {
		return
	}
	empty, err := migrated()
	if err == nil {
		err = os.WriteFile(file, empty, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// query reads from a world's database, beside the house.
func (w *world) query(q string, args ...string) (rows [][]string) {
	w.t.Helper()
	if dsn, there := stored.Load(w.dir); there {
		return pgtest.Query(w.t, dsn.(string), q, args...)
	}
	db, err := sql.Open("sqlite", "file:"+w.dataFile()+"?mode=ro")
	w.must(err)
	defer db.Close()
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a
	}
	found, err := db.QueryContext(w.t.Context(), q, values...)
	w.must(err)
	defer found.Close()
	columns, err := found.Columns()
	w.must(err)
	for found.Next() {
		row, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		w.must(found.Scan(into...))
		rows = append(rows, row)
	}
	w.must(found.Err())
	return rows
}

// place are the flags by which a command finds a world's database.
func (w *world) place() string {
	database := "sqlite:" + w.dataFile()
	if dsn, there := stored.Load(w.dir); there {
		database = dsn.(string)
	}
	return " -database " + database + " -key-file " + w.dir + "/vestibule.key"
}
