package store

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
)

var _ brief.Store = (*ephemeral)(nil)

// ephemeral is the short-lived state: logins in progress, tickets, codes, replay marks.
//
// Whatever a process that was not stopped cleanly leaves is refused by the next (S16), so nothing here
// is worth a disk write while it is young: values live in memory, what memory has no room for lies in
// ephemeral.db, and a clean stop writes the rest there and marks both files with one random token. The
// next start takes the file only when the tokens match, and unmarks before it serves. A crash, a file
// that was restored from somewhere, a durable file that was: the tokens differ, and a new epoch begins
// with nothing.
type ephemeral struct {
	now   func() time.Time
	path  string
	epoch time.Time

	mu      sync.Mutex
	live    map[string]*note
	due     dueHeap
	size    int // bytes in live
	limit   int
	disk    *conn
	spilled int
	swept   time.Time // when the disk was last swept
	closed  bool
}

// note is one value in memory.
type note struct {
	key   string
	value []byte
	until int64 // microseconds
	at    int   // place in the heap
}

const (
	liveLimit  = 12 << 20
	noteCost   = 160 // what a note costs besides key and value
	spillBatch = 256
	stopMark   = "clean_stop"
)

// openEphemeral opens the file and takes its lock, which the system gives back however the process ends.
func openEphemeral(path string, now func() time.Time) (*ephemeral, error) {
	e := &ephemeral{now: now, path: path, live: map[string]*note{}, limit: liveLimit}
	err := e.openDisk()
	if isNotDatabase(err) || primary(err) != 0 && !unavailable(err) {
		// Only a crash leaves such a file, and then nothing in it counts.
		if err = os.Remove(path); err == nil {
			err = e.openDisk()
		}
	}
	if err != nil {
		return nil, opening(path, err)
	}
	return e, nil
}

func (e *ephemeral) openDisk() error {
	if err := private(e.path); err != nil {
		return err
	}
	c, err := openConn(e.path)
	if err != nil {
		return err
	}
	err = c.script(append(shortLivedPragmas,
		"BEGIN EXCLUSIVE", "COMMIT", // the lock stays
		"CREATE TABLE IF NOT EXISTS notes (k TEXT PRIMARY KEY, v BLOB NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID",
		"CREATE INDEX IF NOT EXISTS notes_until ON notes (until)",
		"CREATE TABLE IF NOT EXISTS epochs (token BLOB NOT NULL, epoch INTEGER NOT NULL) STRICT")...)
	if err != nil {
		c.close()
		return err
	}
	e.disk = c
	return nil
}

// resume decides whether what the file holds counts, and takes the mark of the clean stop away, on the
// disk, before anything is served.
func (s *Store) resume(ctx context.Context) error {
	token, err := s.mark(ctx, stopMark)
	if err != nil {
		return err
	}
	if s.short.disk == nil {
		return nil
	}
	if err := s.short.begin(token); err != nil {
		return err
	}
	if token == nil {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec("DELETE FROM marks WHERE name = $1", stopMark)
		return err
	})
}

func (e *ephemeral) begin(token []byte) error {
	var mine []byte
	var epoch time.Time
	if _, err := e.disk.rows("SELECT token, epoch FROM epochs", func(r *row) { mine, epoch = r.bytes(), r.time() }, nil); err != nil {
		return stored(err)
	}
	if len(token) > 0 && bytes.Equal(token, mine) {
		e.epoch = epoch
		_, err := e.disk.rows("SELECT count(*) FROM notes", func(r *row) { e.spilled = int(r.int()) }, nil)
		return stored(err)
	}
	e.epoch = e.now()
	return stored(e.disk.script("DELETE FROM notes", "DELETE FROM epochs"))
}

// park keeps the short-lived state over a clean stop: first the whole of it on the disk, then the token
// in the durable file.
func (s *Store) park() error {
	if s.short.disk == nil {
		return nil
	}
	token := make([]byte, 16)
	rand.Read(token)
	if err := s.short.park(token); err != nil {
		return err
	}
	return s.write(s.base, func(ctx context.Context, t *tx) error {
		_, err := t.exec("INSERT INTO marks (name, value) VALUES ($1, $2)", stopMark, token)
		return err
	})
}

// Brief is the short-lived state. Opened Beside a serve there is none: everything is refused.
func (s *Store) Brief() brief.Store {
	if s.epochs != nil {
		return sharedNotes{s.epochs}
	}
	return s.short
}

// Epoch is since when nothing that was put here has been lost. What was issued before it (codes,
// tickets, assertions) is refused. It may move at any time.
func (s *Store) Epoch() time.Time {
	if s.epochs != nil {
		return s.epochs.since()
	}
	return s.short.epoch
}

func (e *ephemeral) park(token []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if err := e.spill(len(e.live)); err != nil {
		return err
	}
	if _, err := e.disk.exec("DELETE FROM epochs"); err != nil {
		return stored(err)
	}
	// FULL makes this commit sync the file, and all that was written before it with it.
	if err := e.disk.script("PRAGMA synchronous=FULL"); err != nil {
		return stored(err)
	}
	_, err := e.disk.exec("INSERT INTO epochs (token, epoch) VALUES ($1, $2)", token, e.epoch)
	return stored(err)
}

func (e *ephemeral) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.disk != nil {
		e.disk.close()
		e.disk = nil
	}
}

func (e *ephemeral) begun(key string, value []byte, ttl time.Duration) error {
	if e.closed {
		return brief.ErrUnavailable
	}
	return brief.Fits(key, value, ttl)
}

// Put writes value under key, whatever was there.
func (e *ephemeral) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.begun(key, value, ttl); err != nil {
		return err
	}
	if _, _, err := e.take(key); err != nil {
		return err
	}
	return e.add(key, value, e.now().Add(ttl).UnixMicro())
}

// PutNew writes value only when nothing is under key.
func (e *ephemeral) PutNew(_ context.Context, key string, value []byte, ttl time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.begun(key, value, ttl); err != nil {
		return err
	}
	if _, until, err := e.look(key); err != nil {
		return err
	} else if until != 0 {
		return brief.ErrTaken
	}
	if _, _, err := e.take(key); err != nil {
		return err // what was over may lie there still
	}
	return e.add(key, value, e.now().Add(ttl).UnixMicro())
}

// Get reads.
func (e *ephemeral) Get(_ context.Context, key string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, brief.ErrUnavailable
	}
	value, until, err := e.look(key)
	if err != nil {
		return nil, err
	}
	if until == 0 {
		return nil, brief.ErrGone
	}
	return bytes.Clone(value), nil
}

// Take reads and deletes in one step.
func (e *ephemeral) Take(_ context.Context, key string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, brief.ErrUnavailable
	}
	value, until, err := e.take(key)
	if err == nil && until == 0 {
		err = brief.ErrGone
	}
	return value, err
}

// Swap replaces old by next and keeps the time that was left.
func (e *ephemeral) Swap(_ context.Context, key string, old, next []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.begun(key, next, time.Hour); err != nil {
		return err
	}
	value, until, err := e.look(key)
	switch {
	case err != nil:
		return err
	case until == 0:
		return brief.ErrGone
	case !bytes.Equal(value, old):
		return brief.ErrTaken
	}
	if _, _, err := e.take(key); err != nil {
		return err
	}
	return e.add(key, next, until)
}

// Delete removes.
func (e *ephemeral) Delete(_ context.Context, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return brief.ErrUnavailable
	}
	_, _, err := e.take(key)
	return err
}

// look finds what is under key and until when; until is 0 when nothing is, or it is over.
func (e *ephemeral) look(key string) (value []byte, until int64, err error) {
	if n, ok := e.live[key]; ok {
		value, until = n.value, n.until
	} else if e.spilled > 0 {
		if _, err := e.disk.rows("SELECT v, until FROM notes WHERE k = $1", func(r *row) { value, until = r.bytes(), r.int() }, []any{key}); err != nil {
			return nil, 0, brief.ErrUnavailable.With(err)
		}
	}
	if until <= e.now().UnixMicro() {
		return nil, 0, nil
	}
	return value, until, nil
}

// take is look, and removes.
func (e *ephemeral) take(key string) (value []byte, until int64, err error) {
	value, until, err = e.look(key)
	if err != nil {
		return nil, 0, err
	}
	if n, ok := e.live[key]; ok {
		e.drop(n)
		return value, until, nil
	}
	if e.spilled == 0 {
		return value, until, nil
	}
	n, err := e.disk.exec("DELETE FROM notes WHERE k = $1", key)
	if err != nil {
		return nil, 0, brief.ErrUnavailable.With(err)
	}
	e.spilled -= int(n)
	return value, until, nil
}

func (e *ephemeral) drop(n *note) {
	delete(e.live, n.key)
	heap.Remove(&e.due, n.at)
	e.size -= len(n.key) + len(n.value) + noteCost
}

// add stores under a key that holds nothing, and first makes room: what is over goes, then any values
// move to the disk. Most of what is there has been abandoned, so any will do.
func (e *ephemeral) add(key string, value []byte, until int64) error {
	now := e.now()
	for range 4 {
		if len(e.due) == 0 || e.due[0].until > now.UnixMicro() {
			break
		}
		e.drop(e.due[0])
	}
	if e.size > e.limit {
		if err := e.spill(spillBatch); err != nil {
			return err
		}
	}
	if e.spilled > 0 && now.Sub(e.swept) > time.Second {
		e.swept = now
		n, err := e.disk.exec("DELETE FROM notes WHERE k IN (SELECT k FROM notes WHERE until <= $1 ORDER BY until LIMIT $2)", now, spillBatch*4)
		if err != nil {
			return brief.ErrUnavailable.With(err)
		}
		e.spilled -= int(n)
	}
	n := &note{key: key, value: bytes.Clone(value), until: until}
	e.live[key] = n
	heap.Push(&e.due, n)
	e.size += len(key) + len(value) + noteCost
	return nil
}

// spill moves up to count values to the disk.
func (e *ephemeral) spill(count int) error {
	if err := e.disk.script("BEGIN"); err != nil {
		return brief.ErrUnavailable.With(err)
	}
	for _, n := range e.live {
		if count--; count < 0 {
			break
		}
		if _, err := e.disk.exec("INSERT INTO notes (k, v, until) VALUES ($1, $2, $3)", n.key, n.value, n.until); err != nil {
			return brief.ErrUnavailable.With(errors.Join(err, e.disk.script("COMMIT")))
		}
		e.drop(n)
		e.spilled++
	}
	if err := e.disk.script("COMMIT"); err != nil {
		return brief.ErrUnavailable.With(err)
	}
	return nil
}

// dueHeap has what ends first at its top.
type dueHeap []*note

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *dueHeap) Push(x any) { n := x.(*note); n.at = len(*h); *h = append(*h, n) }
func (h *dueHeap) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}
