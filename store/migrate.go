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

// migrate brings the file to this program's schema. A file that is there already costs two reads: goose
// takes 15 ms to find out the same.
func migrate(ctx context.Context, c *conn, path string) error {
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
	if err := goUp(ctx, path); err != nil {
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

func goUp(ctx context.Context, path string) (err error) {
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
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, rendered{files}, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// rendered is the migrations with their type tokens replaced by this database's types.
type rendered struct{ fs.FS }

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
	text = []byte(typeTokens.Replace(string(text)))
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
