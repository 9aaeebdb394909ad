package store

import (
	"context"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

const (
	chainEvery = 500 * time.Millisecond // the record is chained within a second
	sweepEvery = 5 * time.Second
	sweepBatch = 200
)

// background runs what nobody waits for, until Close.
func (s *Store) background(ctx context.Context) {
	s.idle.Go(func() { s.repeat(ctx, "follow the change log", pollEvery, s.behind, s.follow) })
	if s.beside {
		return
	}
	s.idle.Go(func() { s.repeat(ctx, "chain the record", chainEvery, nil, s.chainAll) })
	s.idle.Go(func() { s.repeat(ctx, "sweep", sweepEvery, nil, s.sweep) })
}

func (s *Store) repeat(ctx context.Context, what string, every time.Duration, now <-chan struct{}, work func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		if err := work(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("store: background work failed", "work", what, "error", err)
		}
	}
}

func (s *Store) chainAll(ctx context.Context) error {
	for {
		more, err := s.chainPending(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// sweep removes a few of what is over its time, by index or in the order of making, so that it holds
// nobody up however much there is.
func (s *Store) sweep(ctx context.Context) error {
	now := s.now()
	return errors.Join(
		s.sweepOne(ctx, "DELETE FROM spent WHERE hash IN (SELECT hash FROM spent WHERE until < $1 ORDER BY until LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM traces WHERE at < $1 AND seq IN (SELECT seq FROM traces ORDER BY seq LIMIT $2)", now.Add(-audit.TraceLife)),
		s.sweepOne(ctx, "DELETE FROM changes WHERE at < $1 AND seq IN (SELECT seq FROM changes ORDER BY seq LIMIT $2)", now.Add(-keepChanges)),
		s.sweepOne(ctx, "DELETE FROM token_grants WHERE expires_at < $1 AND id IN (SELECT id FROM token_grants ORDER BY id LIMIT $2)", now.Add(-keepEnded)),
		s.sweepSessions(ctx, now.Add(-keepEnded)),
	)
}

// sweepOne removes batches until one is not full: a small pause for writers lies between them.
func (s *Store) sweepOne(ctx context.Context, q string, before time.Time) error {
	for ctx.Err() == nil {
		var n int64
		err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
			n, err = t.exec(q, before, sweepBatch)
			return err
		})
		if err != nil || n < sweepBatch {
			return err
		}
	}
	return ctx.Err()
}

// sweepSessions removes sessions that are over, with what hangs on them.
func (s *Store) sweepSessions(ctx context.Context, before time.Time) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		var ids []string
		_, err := t.returning("DELETE FROM sessions WHERE ends_at < $1 AND id IN (SELECT id FROM sessions ORDER BY id LIMIT $2) RETURNING id",
			func(r *row) { ids = append(ids, r.text()) }, before, sweepBatch)
		for _, id := range ids {
			if err != nil {
				return err
			}
			if _, err = t.exec("DELETE FROM session_orgs WHERE session_id = $1", id); err != nil {
				return err
			}
			_, err = t.exec("DELETE FROM session_apps WHERE session_id = $1", id)
		}
		return err
	})
}
