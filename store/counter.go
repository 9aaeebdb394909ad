package store

import (
	"context"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
)

var _ brief.Counter = (*counter)(nil)

// counter counts in memory: on SQLite one process serves, and a limit that a restart forgets is what
// brief.Counter allows.
type counter struct {
	now     func() time.Time
	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	n     int64
	until time.Time
}

// counterLimit bounds memory; the keys hold addresses that anybody may make up.
const counterLimit = 100_000

func newCounter(now func() time.Time) *counter {
	return &counter{now: now, windows: map[string]*window{}}
}

// Counter counts for limits.
func (s *Store) Counter() brief.Counter {
	if s.epochs != nil {
		return sharedCounter{s.epochs, s.counter}
	}
	return s.counter
}

// Incr adds one to key and returns the count in its window, which starts at the first Incr.
func (c *counter) Incr(_ context.Context, key string, length time.Duration) (int64, error) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.windows[key]
	if w == nil || !now.Before(w.until) {
		c.makeRoom(now)
		w = &window{until: now.Add(length)}
		c.windows[key] = w
	}
	w.n++
	return w.n, nil
}

// makeRoom looks at a few windows at each new one and drops those that are over; in a full room any
// one goes, so that no flood of new keys takes the memory.
func (c *counter) makeRoom(now time.Time) {
	looked := 0
	for k, w := range c.windows {
		if !now.Before(w.until) || len(c.windows) >= counterLimit {
			delete(c.windows, k)
		}
		if looked++; looked == 3 {
			return
		}
	}
}
