package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5/pgconn"
)

var _ wire = (*session)(nil)

// session is one PostgreSQL connection. It is used by one goroutine at a time.
//
// It speaks the extended protocol by pgconn, with every statement prepared once a connection and every
// value in binary. What nobody waits for (BEGIN, send) travels with the next statement that somebody
// does, so that a transaction costs a round trip for each answer and one for COMMIT.
type session struct {
	c     *pgconn.PgConn
	base  context.Context // of no request: a caller that leaves must not cost a connection
	stmts map[string]*pgconn.StatementDescription
	bell  *time.Timer // cuts the connection when an answer takes too long
	era   int64       // of the pool when it was made

	ahead    *pgconn.Batch // travels with the next statement
	waiting  int           // statements in ahead
	news     map[int]error // of those in ahead that make a new row: what it means that its key is taken
	ctx      context.Context
	begun    bool // BEGIN was sent, or waits in ahead
	asked    bool // something was read since
	shares   turn // the turn that it shares with others since; 0: none
	fate     fate // why the running transaction cannot commit
	collided bool // a row was there that its reads did not see (23505, 23503): run again, they will

	values  [][]byte
	formats []int16
	room    []byte
}

// fate is what became of a transaction before its COMMIT.
type fate int

const (
	alive  fate = iota
	failed      // a statement failed; a savepoint undoes it
	raced       // it met another transaction (40001, 40P01): run it again
	cut         // the connection is gone, and the transaction with it
)

// linkError is an answer that did not come: the network, the server, or its time.
type linkError struct{ cause error }

func (e *linkError) Error() string { return "postgresql: " + e.cause.Error() }
func (e *linkError) Unwrap() error { return e.cause }

const (
	answerTime = 6 * time.Second // above statement_timeout, which the server keeps itself
	aheadLimit = 64              // statements that wait to be sent
)

var binaryFormat = []int16{1}

// fail notes what an error means for the transaction.
func (s *session) fail(err error) error {
	if err == nil {
		return nil
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok || s.c.IsClosed():
		s.fate = cut
		return &linkError{err}
	case pg.Code == "40001" || pg.Code == "40P01":
		s.fate = max(s.fate, raced)
	default:
		s.fate = max(s.fate, failed)
		s.collided = s.collided || pg.Code == "23505" || pg.Code == "23503"
	}
	return err
}

// prepare keeps every statement it is given: the store's texts are constants, a few dozen.
func (s *session) prepare(q string, args []any) (*pgconn.StatementDescription, error) {
	if d, ok := s.stmts[q]; ok {
		return d, nil
	}
	oids := make([]uint32, len(args))
	for i, a := range args {
		switch a.(type) {
		case int64:
			oids[i] = oidInt8
		case string:
			oids[i] = oidText
		case []byte:
			oids[i] = oidBytea
		}
	}
	s.bell.Reset(answerTime)
	d, err := s.c.Prepare(s.base, "s"+strconv.Itoa(len(s.stmts)), forPostgres(q), oids)
	if err != nil {
		return nil, s.fail(err)
	}
	s.stmts[q] = d
	return d, nil
}

const (
	oidBytea = 17
	oidInt8  = 20
	oidText  = 25
)

// encode turns values into what travels, in room that the next statement takes again.
func (s *session) encode(d *pgconn.StatementDescription, args []any) error {
	if len(args) != len(d.ParamOIDs) {
		return fmt.Errorf("statement wants %d values, was given %d", len(d.ParamOIDs), len(args))
	}
	if need := 8 * len(args); cap(s.room) < need {
		s.room = make([]byte, 0, 2*need)
	}
	s.room, s.values, s.formats = s.room[:0], s.values[:0], s.formats[:0]
	for i, a := range args {
		var v []byte
		want := uint32(0)
		switch a := a.(type) {
		case int64:
			from := len(s.room)
			s.room = binary.BigEndian.AppendUint64(s.room, uint64(a))
			v, want = s.room[from:], oidInt8
		case string:
			v, want = unsafe.Slice(unsafe.StringData(a), len(a)), oidText
			if v == nil {
				v = []byte{}
			}
		case []byte:
			v, want = a, oidBytea
			if v == nil {
				v = []byte{}
			}
		}
		if want != 0 && want != d.ParamOIDs[i] {
			return fmt.Errorf("value %d is a %T, was prepared as another type", i+1, a)
		}
		s.values, s.formats = append(s.values, v), append(s.formats, 1)
	}
	return nil
}

// ready checks, prepares and encodes a statement.
func (s *session) ready(q string, args []any) (*pgconn.StatementDescription, error) {
	if s.fate >= raced {
		return nil, &linkError{errors.New("the transaction is over")}
	}
	if s.ctx != nil && s.ctx.Err() != nil {
		return nil, s.ctx.Err()
	}
	for i, a := range args {
		v, err := plain(a)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	d, err := s.prepare(q, args)
	if err != nil {
		return nil, err
	}
	return d, s.encode(d, args)
}

func (s *session) exec(q string, args ...any) (int64, error) {
	_, n, err := s.run(q, nil, args)
	return n, err
}

func (s *session) rows(q string, scan func(*row), args []any) (int, error) {
	n, _, err := s.run(q, scan, args)
	return n, err
}

// run sends a statement with what waited for it, and reads all answers.
func (s *session) run(q string, scan func(*row), args []any) (rows int, changed int64, err error) {
	d, err := s.ready(q, args)
	if err != nil {
		return 0, 0, err
	}
	s.asked = true
	s.bell.Reset(answerTime)
	if s.waiting == 0 {
		return s.finish(s.c.ExecStatement(s.base, d, s.values, s.formats, binaryFormat), scan)
	}
	s.ahead.ExecStatement(d, s.values, s.formats, binaryFormat)
	return s.flush(scan)
}

func (s *session) finish(r *pgconn.ResultReader, scan func(*row)) (rows int, changed int64, err error) {
	rows = each(r, scan)
	tag, err := r.Close()
	return rows, tag.RowsAffected(), s.fail(err)
}

func each(r *pgconn.ResultReader, scan func(*row)) (n int) {
	var at row
	for r.NextRow() {
		n++
		if scan != nil {
			at.cells, at.col = r.Values(), 0
			scan(&at)
		}
	}
	return n
}

// flush sends ahead and gives what its last statement answered.
func (s *session) flush(scan func(*row)) (rows int, changed int64, err error) {
	_, rows, changed, err = s.flushTag(scan)
	return rows, changed, err
}

func (s *session) flushTag(scan func(*row)) (tag pgconn.CommandTag, rows int, changed int64, err error) {
	answers := s.c.ExecBatch(s.base, s.ahead)
	before, news := s.waiting, s.news
	s.ahead, s.waiting, s.news = nil, 0, nil
	good := 0 // statements that did what they should
	for i := 0; answers.NextResult(); i++ {
		r := answers.ResultReader()
		if i >= before {
			rows = each(r, scan)
		}
		if tag, err = r.Close(); err == nil {
			good++
		}
	}
	err = answers.Close()
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" && news[good] != nil {
		s.fate = max(s.fate, failed)
		return tag, rows, 0, news[good]
	}
	return tag, rows, tag.RowsAffected(), s.fail(err)
}

func (s *session) sendNew(taken error, q string, args ...any) error {
	if err := s.send(q, args...); err != nil {
		return err
	}
	if s.news == nil {
		s.news = map[int]error{}
	}
	s.news[s.waiting-1] = taken
	return nil
}

// send lets a statement travel with the next that somebody waits for.
func (s *session) send(q string, args ...any) error {
	if s.waiting >= aheadLimit {
		if err := s.settle(); err != nil {
			return err
		}
	}
	d, err := s.ready(q, args)
	if err != nil {
		return err
	}
	if s.ahead == nil {
		s.ahead = &pgconn.Batch{}
	}
	s.ahead.ExecStatement(d, s.values, s.formats, binaryFormat)
	s.waiting++
	return nil
}

// script runs statements one by one. What waits is sent by itself before a ROLLBACK TO: a failure in
// it must not keep that from being heard.
func (s *session) script(texts ...string) error {
	for _, q := range texts {
		if err := s.step(q); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) step(q string) error {
	if strings.HasPrefix(q, "SAVEPOINT ") {
		return s.send(q)
	}
	if strings.HasPrefix(q, "ROLLBACK TO ") {
		s.shares = 0 // a turn that was taken since is given back
		if err := s.settle(); err != nil && s.fate >= raced {
			return err
		}
		if s.fate == failed {
			s.fate = alive
		}
	}
	_, err := s.exec(q)
	return err
}

// settle sends what waits.
func (s *session) settle() error {
	if s.waiting == 0 {
		return nil
	}
	s.bell.Reset(answerTime)
	s.waiting-- // the last of them is the one that is waited for
	_, _, err := s.flush(nil)
	return err
}

// Locks of all installations in one database share one space of numbers; ours begin with this one.
const lockSpace = "1987277922"

func (s *session) hold(l turn, shared bool) error {
	if shared {
		if s.shares == l {
			return nil // several functions of one transaction share it once
		}
		s.shares = l
		return s.send("SELECT pg_advisory_xact_lock_shared("+lockSpace+", $1::bigint::int)", int64(l))
	}
	if l == turnConfig {
		if s.asked {
			return errTurn
		}
		if err := s.send("NOTIFY " + heard); err != nil { // at COMMIT
			return err
		}
	}
	return s.send("SELECT pg_advisory_xact_lock("+lockSpace+", $1::bigint::int)", int64(l))
}

func (s *session) try(l turn) (got bool, err error) {
	_, err = s.rows("SELECT pg_try_advisory_xact_lock("+lockSpace+", $1::bigint::int)", func(r *row) { got = r.bool() }, []any{int64(l)})
	return got, err
}

// begin opens a transaction, with the first statement of it.
func (s *session) begin(ctx context.Context) error {
	s.ctx, s.fate, s.collided, s.asked, s.shares = ctx, alive, false, false, 0
	if err := s.send("BEGIN"); err != nil {
		return err
	}
	s.begun = true
	return nil
}

// heard is how the nodes of one database tell each other that configuration changed.
const heard = "vestibule_changes"

var errRolledBack = errors.New("the server rolled the transaction back at COMMIT")

// commit ends a transaction. unknown says that the server may have done it all the same (S17).
func (s *session) commit() (unknown bool, err error) {
	s.ctx = nil // whoever leaves now leaves a transaction that is under way
	if s.waiting == 1 && s.untouched() {
		s.ahead, s.waiting, s.news, s.begun = nil, 0, nil, false // nothing but BEGIN, which was never sent
		return false, nil
	}
	if err := s.send("COMMIT"); err != nil {
		return false, err
	}
	s.bell.Reset(answerTime)
	s.waiting--
	tag, _, _, err := s.flushTag(nil)
	if err != nil {
		return s.fate == cut, err
	}
	s.begun = false
	if tag.String() != "COMMIT" {
		return false, errRolledBack
	}
	return false, nil
}

// untouched says that the server knows of no transaction yet.
func (s *session) untouched() bool { return s.begun && s.c.TxStatus() == 'I' }

// rollback undoes what was begun.
func (s *session) rollback() {
	s.ctx, s.ahead, s.waiting, s.news, s.begun = nil, nil, 0, nil, false
	if s.fate == cut || s.c.IsClosed() || s.c.TxStatus() == 'I' {
		return
	}
	s.fate = alive
	if _, err := s.exec("ROLLBACK"); err != nil {
		s.fate = cut
	}
}

// sound says that a connection may be used again.
func (s *session) sound() bool {
	return s.fate != cut && !s.c.IsClosed() && s.c.TxStatus() == 'I' && s.waiting == 0
}

func (s *session) close() {
	s.bell.Stop()
	s.bell.Reset(answerTime) // a farewell that nobody hears ends too
	_ = s.c.Close(s.base)
	s.bell.Stop()
}
