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
	of    map[string]map[string]kept[V]
	size  int
}

type kept[V any] struct {
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
	k, ok := c.of[subject][side]
	return k.value, c.moves, ok && now.Before(k.until)
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
	if c.of == nil || c.size >= recentLimit {
		c.of, c.size = map[string]map[string]kept[V]{}, 0
	}
	sides := c.of[subject]
	if sides == nil {
		sides = map[string]kept[V]{}
		c.of[subject] = sides
	}
	if _, had := sides[side]; !had {
		c.size++
	}
	sides[side] = kept[V]{v, now.Add(recentLife)}
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
