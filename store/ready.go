package store

import (
	"context"
	"errors"
	"sync"

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
