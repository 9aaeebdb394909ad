package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"time"
)

var _ database = (*files)(nil)

// files is the durable database as one SQLite file: one writer and a few readers.
type files struct {
	main    *writer
	readers *pool
	lent    int // how many readers there are
	now     func() time.Time
}

// openFiles opens the durable file: migrated, with its writer and readers.
func openFiles(ctx context.Context, o Options, applied func([]touch)) (f *files, err error) {
	c, err := openDurable(o.Path, durablePragmas)
	if err != nil {
		return nil, err
	}
	if err := migrateFile(ctx, c, o.Path); err != nil {
		c.close()
		return nil, err
	}
	f = &files{now: o.Now, main: newWriter(c, o.Log, o.Twice, applied)}
	f.main.grouped = o.Grouped
	go f.main.loop()
	f.readers = newPool(max(4, runtime.GOMAXPROCS(0)))
	for range cap(f.readers.free) {
		r, err := openDurable(o.Path, readerPragmas)
		if err != nil {
			f.close()
			return nil, err
		}
		f.lent++
		f.readers.put(r)
	}
	return f, nil
}

func newWriter(c *conn, log *slog.Logger, twice bool, applied func([]touch)) *writer {
	return &writer{conn: c, queue: make(chan *call, 1024), stop: make(chan struct{}), done: make(chan struct{}),
		log: log, twice: twice, commit: commit, applied: applied}
}

func commit(c *conn) error { _, err := c.exec("COMMIT"); return err }

func (f *files) submit(c *call) error { return f.main.submit(c) }

func (f *files) read(ctx context.Context, q string, scan func(*row), args []any) (int, error) {
	c, err := f.readers.get(ctx)
	if err != nil {
		return 0, err
	}
	defer f.readers.put(c)
	return c.rows(q, scan, args)
}

// clock is the machine's: the file has no time of its own.
func (f *files) clock(context.Context) (time.Time, error) { return f.now(), nil }

// lineage: one file has one.
func (f *files) lineage(context.Context) (string, error) { return "", nil }

// listen has nobody to hear: what another process wrote is found by asking.
func (f *files) listen(context.Context, func()) {}

func (f *files) writable(ctx context.Context) error {
	return f.submit(&call{ctx: ctx, fn: func(context.Context) error { return nil }, done: make(chan struct{})})
}

func (f *files) close() {
	f.main.close()
	f.main.conn.close()
	f.readers.close(f.lent)
}

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

// usable tries whether files can be made in a directory. It makes none: a path that was mistyped would
// begin an empty installation beside the real one.
func usable(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return ErrNoDirectory.Because(dir + " does not exist")
	}
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return ErrDirectory.With(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
