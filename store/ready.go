package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
)

// Part is one of the things that a node needs to serve.
type Part struct {
	Name string // what operators call it: database, changes, clock, short_lived, epoch
	Err  error  // a fault whose sentence says what is wrong; nil: it is as it should be
}

// Parts tries, all at once, whatever must be at hand: whether the database can be read and written, the
// log of changes is followed, the clocks agree (S46), short-lived state answers, and its epoch stands.
func (s *Store) Parts(ctx context.Context) []Part {
	tries := []struct {
		name string
		try  func(context.Context) error
	}{
		{"database", s.reached},
		{"changes", func(context.Context) error { return s.Admitting() }},
		{"clock", s.clocksAgree},
		{"short_lived", s.shortLived},
		{"epoch", func(context.Context) error { return s.epochStands() }},
	}
	parts := make([]Part, len(tries))
	var all sync.WaitGroup
	for i, one := range tries {
		parts[i].Name = one.name
		all.Go(func() { parts[i].Err = one.try(ctx) })
	}
	all.Wait()
	return parts
}

// Ready is the first of the parts that is not as it should be.
func (s *Store) Ready(ctx context.Context) error {
	for _, p := range s.Parts(ctx) {
		if p.Err != nil {
			return p.Err
		}
	}
	return nil
}

// reached reads and writes the database; what others changed is known here afterwards.
func (s *Store) reached(ctx context.Context) error {
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.db.writable(ctx)
}

func (s *Store) shortLived(ctx context.Context) error {
	if s.beside {
		return nil // a command beside the service uses none
	}
	if s.epochs != nil {
		return s.epochs.answers(ctx)
	}
	return answers(ctx, s.short)
}

func (s *Store) epochStands() error {
	if s.epochs == nil {
		return nil // it began with this process, and ends with it
	}
	return s.epochs.standing()
}

// answers asks for a key that nothing is under.
func answers(ctx context.Context, notes brief.Store) error {
	if _, err := notes.Get(ctx, "ready"); err != nil && !errors.Is(err, brief.ErrGone) {
		return err
	}
	return nil
}

// Standing is how the store stands, for whoever measures; it is read from memory.
type Standing struct {
	Backend   string    // of short-lived state: memory, postgres, redis
	Usable    bool      // short-lived state can be used
	Epoch     time.Time // since when nothing of it was lost
	Epochs    int64     // how many this process knew
	Stops     int64     // how often it could not be used any more
	Admitting bool      // people are let in
	Behind    int64     // how often they were not, because changes of others could not be read
}

// Standing tells how the store stands.
func (s *Store) Standing() Standing {
	out := Standing{Backend: "memory", Usable: true, Epoch: s.Epoch(), Epochs: 1, Admitting: s.Admitting() == nil, Behind: s.hearing.stops.Load()}
	if s.epochs == nil {
		return out
	}
	out.Backend = "postgres"
	if s.shared != nil {
		out.Backend = "redis"
	}
	out.Usable, out.Epochs, out.Stops = s.epochs.now.Load() != nil, s.epochs.begun.Load(), s.epochs.stops.Load()
	return out
}
