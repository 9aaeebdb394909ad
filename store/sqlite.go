package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// conn is one SQLite connection. It is used by one goroutine at a time.
//
// It stands directly on the compiled library instead of database/sql: a point read costs 1.1 us here
// and 9.7 us there, and a login makes some thirty statements.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	out   uintptr // room for one out-parameter
	stmts map[string]*stmt
}

// stmt is a prepared statement; it lives as long as its connection.
type stmt struct {
	c    *conn
	p    uintptr
	args []int   // which argument each parameter takes
	n    int     // arguments
	text uintptr // room for bound text, so that binding allocates nothing
	size int
	busy bool
}

// sqliteError is what SQLite answered.
type sqliteError struct {
	code int32 // extended result code
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("sqlite %d: %s", e.code, e.text) }

const (
	openWritable = lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE | lib.SQLITE_OPEN_NOMUTEX
	static       = 0 // SQLITE_STATIC: the text stays where it is until the statement is reset
)

// at turns an address of the library's memory, which the collector neither moves nor frees, into a pointer.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func openConn(path string) (*conn, error) {
	tls := libc.NewTLS()
	c := &conn{tls: tls, out: libc.Xmalloc(tls, 8), stmts: map[string]*stmt{}}
	name, err := libc.CString(path)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(tls, name)
	rc := lib.Xsqlite3_open_v2(tls, name, c.out, openWritable, 0)
	c.db = *(*uintptr)(at(c.out))
	lib.Xsqlite3_extended_result_codes(tls, c.db, 1)
	if rc != lib.SQLITE_OK {
		err := c.fail(rc)
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() {
	for _, s := range c.stmts {
		lib.Xsqlite3_finalize(c.tls, s.p)
		libc.Xfree(c.tls, s.text)
	}
	lib.Xsqlite3_close(c.tls, c.db)
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
}

func (c *conn) fail(rc int32) error {
	if ext := lib.Xsqlite3_extended_errcode(c.tls, c.db); ext&0xff == rc&0xff {
		rc = ext
	}
	return &sqliteError{code: rc, text: libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db))}
}

// idle says that no transaction is open: SQLite ends one by itself after some errors.
func (c *conn) idle() bool { return lib.Xsqlite3_get_autocommit(c.tls, c.db) != 0 }

func (c *conn) busyTimeout(d time.Duration) {
	lib.Xsqlite3_busy_timeout(c.tls, c.db, int32(d.Milliseconds()))
}

// prepare keeps every statement it is given: the store's texts are constants, a few dozen.
func (c *conn) prepare(q string) (*stmt, error) {
	if s, ok := c.stmts[q]; ok {
		if s.busy {
			return nil, errors.New("statement used while its own rows are being read: " + q)
		}
		return s, nil
	}
	text, err := libc.CString(q)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, lib.SQLITE_PREPARE_PERSISTENT, c.out, 0)
	if rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("%w in %s", c.fail(rc), q)
	}
	s := &stmt{c: c, p: *(*uintptr)(at(c.out))}
	c.stmts[q] = s
	return s, s.number()
}

// number reads which argument each parameter means: to SQLite $1 is a name, and it numbers names in the
// order in which they first stand in the text.
func (s *stmt) number() error {
	for i := range lib.Xsqlite3_bind_parameter_count(s.c.tls, s.p) {
		name := libc.GoString(lib.Xsqlite3_bind_parameter_name(s.c.tls, s.p, i+1))
		n, err := strconv.Atoi(strings.TrimPrefix(name, "$"))
		if err != nil {
			return err
		}
		s.args, s.n = append(s.args, n-1), max(s.n, n)
	}
	return nil
}

// send is exec for whoever does not ask how many rows there were.
func (c *conn) send(q string, args ...any) error {
	_, err := c.rows(q, nil, args)
	return err
}

func (c *conn) sendNew(taken error, q string, args ...any) error {
	_, err := c.rows(q, nil, args)
	if e, ok := errors.AsType[*sqliteError](err); ok && (e.code == lib.SQLITE_CONSTRAINT_UNIQUE || e.code == lib.SQLITE_CONSTRAINT_PRIMARYKEY) {
		return taken
	}
	return err
}

// hold and try answer at once: SQLite has one writer, which is alone with everything.
func (c *conn) hold(turn, bool) error  { return nil }
func (c *conn) try(turn) (bool, error) { return true, nil }

// exec runs a statement to its end and returns how many rows it changed.
func (c *conn) exec(q string, args ...any) (int64, error) {
	_, err := c.rows(q, nil, args)
	if err != nil {
		return 0, err
	}
	return int64(lib.Xsqlite3_changes(c.tls, c.db)), nil
}

// rows runs a statement, gives each row to scan, and returns how many there were. scan must not use
// the same statement.
func (c *conn) rows(q string, scan func(*row), args []any) (n int, err error) {
	s, err := c.prepare(q)
	if err != nil {
		return 0, err
	}
	if err := s.bind(args); err != nil {
		return 0, err
	}
	s.busy = true
	defer func() { s.busy = false; lib.Xsqlite3_reset(c.tls, s.p) }()
	r := row{s: s}
	for {
		switch rc := lib.Xsqlite3_step(c.tls, s.p); rc {
		case lib.SQLITE_ROW:
			n++
			if scan != nil {
				r.col = 0
				scan(&r)
			}
		case lib.SQLITE_DONE:
			return n, nil
		default:
			return n, c.fail(rc)
		}
	}
}

// script runs several statements without parameters.
func (c *conn) script(texts ...string) error {
	for _, q := range texts {
		if _, err := c.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// bind gives each $n its value. Text is copied into the statement's own room and stays there until
// the next bind.
func (s *stmt) bind(args []any) error {
	if len(args) != s.n {
		return fmt.Errorf("statement wants %d values, was given %d", s.n, len(args))
	}
	need := 0
	for i, a := range args {
		v, err := plain(a)
		if err != nil {
			return err
		}
		args[i] = v
		switch v := v.(type) {
		case string:
			need += len(v)
		case []byte:
			need += len(v)
		}
	}
	s.grow(need)
	room := s.text
	for i, n := range s.args {
		if rc := s.bindOne(int32(i+1), args[n], &room); rc != lib.SQLITE_OK {
			return s.c.fail(rc)
		}
	}
	return nil
}

func (s *stmt) bindOne(i int32, a any, room *uintptr) int32 {
	switch v := a.(type) {
	case int64:
		return lib.Xsqlite3_bind_int64(s.c.tls, s.p, i, v)
	case string:
		p := *room
		copy(unsafe.Slice((*byte)(at(p)), len(v)), v)
		*room += uintptr(len(v))
		return lib.Xsqlite3_bind_text(s.c.tls, s.p, i, p, int32(len(v)), static)
	case []byte:
		p := *room
		copy(unsafe.Slice((*byte)(at(p)), len(v)), v)
		*room += uintptr(len(v))
		return lib.Xsqlite3_bind_blob(s.c.tls, s.p, i, p, int32(len(v)), static)
	default:
		return lib.Xsqlite3_bind_null(s.c.tls, s.p, i)
	}
}

// grow makes room for n bytes, at least one: a pointer of zero would bind NULL.
func (s *stmt) grow(n int) {
	if s.text != 0 && n <= s.size {
		return
	}
	libc.Xfree(s.c.tls, s.text)
	s.size = max(2*n, 64)
	s.text = libc.Xmalloc(s.c.tls, types.Size_t(s.size))
	if s.text == 0 {
		panic("out of memory")
	}
}
