package store

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// This file holds what crosses between Go and a database: values on the way in, columns on the way out.

// plain turns a value into one of int64, string, []byte and nil. Times become microseconds and text is
// checked: PostgreSQL refuses NUL and broken UTF-8, and SQLite would store them.
func plain(a any) (any, error) {
	switch v := a.(type) {
	case string:
		return v, checkText(v)
	case int64, []byte, nil:
		return v, nil
	case int:
		return int64(v), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case time.Time:
		return micros(v), nil
	case time.Duration:
		return v.Microseconds(), nil
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.String {
		return v.String(), checkText(v.String())
	}
	return nil, fmt.Errorf("cannot store a %T", a)
}

func checkText(s string) error {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return ErrText
	}
	return nil
}

// micros is how times are stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// row reads the columns of one row from left to right, of a statement that SQLite steps or of a message
// that PostgreSQL sent. NULL reads as the zero value.
type row struct {
	s     *stmt    // SQLite's, nil on PostgreSQL
	cells [][]byte // PostgreSQL's, in its binary format
	col   int32
}

func (r *row) next() int32 { r.col++; return r.col - 1 }

func (r *row) cell() []byte { return r.cells[r.next()] }

func (r *row) int() int64 {
	if r.s != nil {
		return lib.Xsqlite3_column_int64(r.s.c.tls, r.s.p, r.next())
	}
	switch v := r.cell(); len(v) {
	case 8:
		return int64(binary.BigEndian.Uint64(v))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case 2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	case 1:
		return int64(v[0])
	default:
		return 0
	}
}

func (r *row) bool() bool { return r.int() != 0 }

func (r *row) time() time.Time { return fromMicros(r.int()) }

func (r *row) text() string {
	if r.s == nil {
		return string(r.cell())
	}
	i := r.next()
	p := lib.Xsqlite3_column_text(r.s.c.tls, r.s.p, i)
	n := lib.Xsqlite3_column_bytes(r.s.c.tls, r.s.p, i)
	if p == 0 || n == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(at(p)), n))
}

func (r *row) bytes() []byte {
	if r.s == nil {
		return append([]byte(nil), r.cell()...)
	}
	i := r.next()
	p := lib.Xsqlite3_column_blob(r.s.c.tls, r.s.p, i)
	n := lib.Xsqlite3_column_bytes(r.s.c.tls, r.s.p, i)
	if p == 0 || n == 0 {
		return nil
	}
	return append([]byte(nil), unsafe.Slice((*byte)(at(p)), n)...)
}

func (r *row) duration() time.Duration { return time.Duration(r.int()) * time.Microsecond }
