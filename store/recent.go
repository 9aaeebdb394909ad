package store

import (
	"sync"
	"time"
)

// recent remembers for a second what one login reads several times: a person with a membership, the
// session it just made. A commit of this process forgets what it changed before its caller is answered;
// what another process changes is seen within the second, as for every read outside a transaction.
// Whoever acts on what it read compares versions inside the transaction (S15).
type recent[V any] struct {
	mu    sync.RWMutex
	moves uint64 // how often something was forgotten: a read that began before is not kept
	of    map[string][]kept[V]
	size  int
}

// kept is a subject as seen from one side; few are seen from several.
type kept[V any] struct {
	side  string
	value V
	until time.Time
}

const (
	recentLife  = time.Second
	recentLimit = 1024
)

// get gives what was read lately of a subject as seen from one side, else the mark that keep wants.
func (c *recent[V]) get(subject, side string, now time.Time) (v V, mark uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, k := range c.of[subject] {
		if k.side == side {
			return k.value, c.moves, now.Before(k.until)
		}
	}
	return v, c.moves, false
}

// mark is what keep wants of a read that begins now.
func (c *recent[V]) mark() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.moves
}

// keep remembers what was read, unless something was forgotten since mark.
func (c *recent[V]) keep(subject, side string, v V, now time.Time, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moves != mark {
		return
	}
	c.put(subject, side, v, now)
}

func (c *recent[V]) put(subject, side string, v V, now time.Time) {
	switch {
	case c.of == nil:
		c.of = map[string][]kept[V]{}
	case c.size >= recentLimit:
		clear(c.of)
		c.size = 0
	}
	next := kept[V]{side, v, now.Add(recentLife)}
	sides := c.of[subject]
	for i := range sides {
		if sides[i].side == side {
			sides[i] = next
			return
		}
	}
	c.size++
	c.of[subject] = append(sides, next)
}

// wrote remembers what a commit just wrote.
func (c *recent[V]) wrote(subject, side string, v V, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(subject, side, v, now)
}

// forget drops a subject from every side.
func (c *recent[V]) forget(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	c.size -= len(c.of[subject])
	delete(c.of, subject)
}
