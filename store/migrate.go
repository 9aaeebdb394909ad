package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver that goose uses
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Schema numbers. A migration that the release before cannot run on sets counters('schema_needs') to
// its own number; everything else leaves it, so that a rollback of the program needs none of the data.
var schema = newest()

// newest is the number of the last migration: its file's name begins with it.
func newest() (n int64) {
	files, _ := fs.Glob(migrationFiles, "migrations/*.sql") // the pattern is good
	for _, f := range files {
		number, _, _ := strings.Cut(filepath.Base(f), "_")
		if v, err := strconv.ParseInt(number, 10, 64); err == nil {
			n = max(n, v)
		}
	}
	return n
}

// migrateFile brings the file to this program's schema. A file that is there already costs two reads: goose
// takes 15 ms to find out the same.
func migrateFile(ctx context.Context, c *conn, path string) error {
	version, needs, err := schemaOf(c)
	if err != nil {
		return opening(path, err)
	}
	if needs > schema {
		return ErrNewer.With(fmt.Errorf("%s needs schema %d, this program knows %d", path, needs, schema))
	}
	if version >= schema {
		return nil
	}
	if err := upSQLite(ctx, path); err != nil {
		return opening(path, err)
	}
	return nil
}

func schemaOf(c *conn) (version, needs int64, err error) {
	tables, err := c.rows("SELECT 1 FROM sqlite_schema WHERE name IN ('goose_db_version', 'counters')", nil, nil)
	if err != nil || tables < 2 {
		return 0, 0, err
	}
	if _, err = c.rows("SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1", func(r *row) { version = r.int() }, nil); err != nil {
		return 0, 0, err
	}
	_, err = c.rows("SELECT n FROM counters WHERE name = 'schema_needs'", func(r *row) { needs = r.int() }, nil)
	return version, needs, err
}

func upSQLite(ctx context.Context, path string) error {
	return withSQLite(path, func(db *sql.DB) error { return upTo(ctx, goose.DialectSQLite3, db, sqliteTypes, schema) })
}

// withSQLite gives fn the file as database/sql has it, which goose uses.
func withSQLite(path string, fn func(*sql.DB) error) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "_pragma=busy_timeout(5000)&_txlock=immediate"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	return fn(db)
}

func upPostgres(ctx context.Context, dsn string) error {
	return withPostgres(dsn, func(db *sql.DB) error {
		return upTo(ctx, goose.DialectPostgres, db, postgresTypes, schema, goose.WithSessionLocker(oneByOne{}))
	})
}

// withPostgres gives fn the database as database/sql has it, which goose uses.
func withPostgres(dsn string, fn func(*sql.DB) error) (err error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return ErrDSN.Because(whyUnread(err))
	}
	delete(config.RuntimeParams, "pool_max_conns")
	config.ConnectTimeout = connectTime
	config.ValidateConnect = fit
	config.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		// A migration may take long. It must not wait long for a table that others use meanwhile.
		_, err := c.Exec(ctx, "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 10000").ReadAll()
		return err
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	return fn(db)
}

func upTo(ctx context.Context, dialect goose.Dialect, db *sql.DB, types dialectTypes, version int64, more ...goose.ProviderOption) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, rendered{files, types}, append(more, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = p.UpTo(ctx, version)
	return err
}

// oneByOne lets the nodes of an installation that start together migrate one after the other; all but
// the first find nothing to do. goose's own locker looks every few seconds, this one waits in the queue.
type oneByOne struct{}

func (oneByOne) SessionLock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, "SET lock_timeout = 0; SELECT pg_advisory_lock("+lockSpace+", "+strconv.Itoa(int(turnMigrate))+"); SET lock_timeout = 10000")
	return err
}

func (oneByOne) SessionUnlock(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, "SELECT pg_advisory_unlock("+lockSpace+", "+strconv.Itoa(int(turnMigrate))+")")
	return err
}

// rendered is the migrations with their type tokens replaced by this database's types, and without what
// is for the other database alone.
type rendered struct {
	fs.FS
	types dialectTypes
}

func (r rendered) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, err
	}
	defer f.Close()
	text, err := fs.ReadFile(r.FS, name)
	if err != nil {
		return nil, err
	}
	text = []byte(r.types.render(string(text)))
	return &textFile{Reader: bytes.NewReader(text), info: info, size: int64(len(text))}, nil
}

type textFile struct {
	*bytes.Reader
	info fs.FileInfo
	size int64
}

func (f *textFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *textFile) Close() error               { return nil }
func (f *textFile) Name() string               { return f.info.Name() }
func (f *textFile) Size() int64                { return f.size }
func (f *textFile) Mode() fs.FileMode          { return f.info.Mode() }
func (f *textFile) ModTime() time.Time         { return f.info.ModTime() }
func (f *textFile) IsDir() bool                { return false }
func (f *textFile) Sys() any                   { return nil }
