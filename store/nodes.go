package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var _ broker.Nodes = (*Store)(nil)

// ErrClock: lifetimes would be judged wrongly here.
var ErrClock = fault.New(fault.Unavailable, "store.clock", "This machine's clock and the database's differ by more than five seconds, so it is not ready. Set both by NTP.")

const (
	tellEvery = 2 * time.Second
	liveFor   = 10 * time.Second // after its last beat a node counts as live
	keepNodes = time.Hour
	clockWarn = time.Second
	clockOff  = 5 * time.Second // more than this is not ready (S46)
)

// presence is this process as the others see it.
type presence struct {
	id string

	mu      sync.Mutex
	started time.Time           // by the database's clock, at the first beat
	keys    map[string][]string // which this node holds, by use
	news    chan struct{}       // there are others than the last beat told
}

func newPresence() presence {
	return presence{id: "nod_" + strings.ToLower(rand.Text()), keys: map[string][]string{}, news: make(chan struct{}, 1)}
}

// Clock is the database's time; a file has that of its machine.
func (s *Store) Clock(ctx context.Context) (time.Time, error) { return s.db.clock(ctx) }

// Others lists the live nodes but this one.
func (s *Store) Others(ctx context.Context) ([]broker.Node, error) {
	now, err := s.Clock(ctx)
	if err != nil {
		return nil, err
	}
	var list []broker.Node
	_, err = s.rows(ctx, "SELECT id, keys FROM nodes WHERE seen_at > $1 AND id <> $2 ORDER BY id", func(r *row) {
		list = append(list, broker.Node{ID: r.text(), Keys: strings.Fields(r.text())})
	}, now.Add(-liveFor), s.node.id)
	return list, err
}

// Hold tells other nodes which keys of a use this one has, at once.
func (s *Store) Hold(use string, kids []string) {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if slices.Equal(s.node.keys[use], kids) {
		return
	}
	s.node.keys[use] = slices.Clone(kids)
	poke(s.node.news)
}

// holds is what this node says that it has.
func (s *Store) holds() string {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	var kids []string
	for _, use := range slices.Sorted(maps.Keys(s.node.keys)) {
		kids = append(kids, s.node.keys[use]...)
	}
	return strings.Join(kids, " ")
}

// beat says that this node lives, and compares the clocks.
func (s *Store) beat(ctx context.Context) error {
	now, off, err := s.offset(ctx)
	if err != nil {
		return err
	}
	if off.Abs() > clockWarn {
		s.log.Warn("store: this machine's clock and the database's differ", "by", off.Round(time.Millisecond))
	}
	if s.node.started.IsZero() {
		s.node.started = now
	}
	return s.write(ctx, func(_ context.Context, t *tx) error {
		return t.send(`INSERT INTO nodes (id, started_at, seen_at, keys) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, keys = excluded.keys`, s.node.id, s.node.started, now, s.holds())
	})
}

// offset is the database's time, and how far this machine's is ahead of it: at least that much, whatever
// the answer took.
func (s *Store) offset(ctx context.Context) (at time.Time, off time.Duration, err error) {
	before := s.now()
	at, err = s.Clock(ctx)
	after := s.now()
	switch {
	case err != nil:
		return at, 0, err
	case before.After(at):
		return at, before.Sub(at), nil
	case at.After(after):
		return at, after.Sub(at), nil
	}
	return at, 0, nil
}

func (s *Store) clocksAgree(ctx context.Context) error {
	_, off, err := s.offset(ctx)
	if err == nil && off.Abs() > clockOff {
		return ErrClock.With(fmt.Errorf("this machine is %s ahead of the database", off.Round(time.Millisecond)))
	}
	return err
}

// leave says that this node is gone: nobody need wait until it is missed.
func (s *Store) leave() {
	err := s.write(s.base, func(_ context.Context, t *tx) error {
		return t.send("DELETE FROM nodes WHERE id = $1", s.node.id)
	})
	if err != nil {
		s.log.Warn("store: this node could not say that it leaves", "error", err)
	}
}
