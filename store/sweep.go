package store

import (
	"context"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
)

const (
	chainEvery = 500 * time.Millisecond // the record is chained within a second
	sweepEvery = 5 * time.Second
	sweepBatch = 200

	readKeysEvery = 2 * time.Second // a new line in the key file is found
	tidyKeysEvery = 10 * time.Minute
	sweepSteps    = 50 // batches of one walk at one sweep
)

// background runs what nobody waits for, until Close.
func (s *Store) background(ctx context.Context) {
	s.listenIn(ctx)
	if s.beside {
		return
	}
	if s.epochs != nil {
		s.idle.Go(func() { s.epochs.watch(ctx) })
	}
	s.idle.Go(func() { s.repeat(ctx, "say that this node lives", tellEvery, s.node.news, s.beat) })
	poke(s.node.news)
	s.idle.Go(func() { s.repeat(ctx, "chain the record", chainEvery, nil, s.chainAll) })
	s.idle.Go(func() { s.repeat(ctx, "sweep", sweepEvery, nil, s.sweep) })
	s.idle.Go(func() { s.repeat(ctx, "read the sealing keys", readKeysEvery, nil, s.readKeys) })
	s.idle.Go(func() { s.repeat(ctx, "end a change of data keys", tidyKeysEvery, nil, s.tidyKeys) })
}

func (s *Store) repeat(ctx context.Context, what string, every time.Duration, now <-chan struct{}, work func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		err := work(ctx)
		if err == nil {
			failures = 0
			continue
		}
		// The first of many is told, and then one in a while: this goes on until the trouble is over.
		if failures++; failures%64 == 1 && ctx.Err() == nil {
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

// sweep removes what is over its time, a few rows in a transaction, by index or in the order of making,
// so that it holds nobody up however much there is. Of two at once the second waits: the walks know how
// far they came.
func (s *Store) sweep(ctx context.Context) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	now, err := s.safelyPast(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		s.sweepOne(ctx, "DELETE FROM spent WHERE hash IN (SELECT hash FROM spent WHERE until < $1 ORDER BY until LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM tries WHERE (person_id, home_id, method, slot) IN (SELECT person_id, home_id, method, slot FROM tries WHERE slot < $1 ORDER BY slot LIMIT $2)", now.Add(-25*time.Hour)),
		s.sweepOne(ctx, "DELETE FROM access_tokens WHERE hash IN (SELECT hash FROM access_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM revoked_tokens WHERE hash IN (SELECT hash FROM revoked_tokens WHERE until < $1 ORDER BY until LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM registration_tokens WHERE hash IN (SELECT hash FROM registration_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)", now.Add(-keepEnded)),
		s.sweepOne(ctx, "DELETE FROM traces WHERE at < $1 AND seq < (SELECT min(seq) + $2 FROM traces)", now.Add(-audit.TraceLife)),
		s.sweepOne(ctx, "DELETE FROM changes WHERE at < $1 AND seq < (SELECT min(seq) + $2 FROM changes)", now.Add(-keepChanges)),
		s.sweepOne(ctx, "DELETE FROM deliveries WHERE (org_id, id) IN (SELECT org_id, id FROM deliveries WHERE at < $1 ORDER BY at LIMIT $2)", now.Add(-delivery.KeepLog)),
		s.sweepOne(ctx, "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE until < $1 AND done_at <> 0 ORDER BY until LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM budgets WHERE k IN (SELECT k FROM budgets WHERE until < $1 ORDER BY until LIMIT $2)", now),
		s.sweepOne(ctx, "DELETE FROM sms_codes WHERE (org_id, slot) IN (SELECT org_id, slot FROM sms_codes WHERE slot < $1 ORDER BY slot LIMIT $2)", now.Add(-delivery.KeepSlots)),
		s.sweepOne(ctx, "DELETE FROM guesses WHERE (realm_id, who) IN (SELECT realm_id, who FROM guesses WHERE empty_at < $1 ORDER BY empty_at LIMIT $2)", now),
		s.sweepNotes(ctx),
		s.sweepNodes(ctx),
		s.sweepOld(ctx, &s.oldSessions, now.Add(-keepEnded)),
		s.sweepOld(ctx, &s.oldGrants, now.Add(-keepEnded)),
	)
}

// safelyPast is now by the slower of this machine's clock and the database's: a node whose clock is ahead
// must not remove what still keeps a replay out.
func (s *Store) safelyPast(ctx context.Context) (time.Time, error) {
	now := s.now()
	at, err := s.Clock(ctx)
	if at.Before(now) {
		now = at
	}
	return now, err
}

func (s *Store) sweepNodes(ctx context.Context) error {
	at, err := s.Clock(ctx)
	if err != nil {
		return err
	}
	return s.sweepOne(ctx, "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < $1 ORDER BY id LIMIT $2)", at.Add(-keepNodes))
}

// sweepOne removes batches until one is not full, or another node is at it.
func (s *Store) sweepOne(ctx context.Context, q string, before time.Time) error {
	for ctx.Err() == nil {
		var n int64
		err := s.write(ctx, func(ctx context.Context, t *tx) error {
			n = 0
			mine, err := t.try(turnSweep)
			if mine {
				n, err = t.exec(q, before, sweepBatch)
			}
			return err
		})
		if err != nil || n < sweepBatch {
			return err
		}
	}
	return ctx.Err()
}

// oldRows walks a table by id, some rows at each sweep and round again at its end: rows that live long
// stand in nobody's way, and no index has to be kept for their ends.
type oldRows struct {
	list   string   // id and end of the rows after an id
	remove string   // one row by id, if its end is before
	with   []string // what hangs on it, by its id
	after  string
}

func oldSessions() oldRows {
	return oldRows{
		list:   "SELECT id, ends_at FROM sessions WHERE id > $1 ORDER BY id LIMIT $2",
		remove: "DELETE FROM sessions WHERE id = $1 AND ends_at < $2",
		with:   []string{"DELETE FROM session_orgs WHERE session_id = $1", "DELETE FROM session_apps WHERE session_id = $1"},
	}
}

func oldGrants() oldRows {
	return oldRows{
		list:   "SELECT id, expires_at FROM token_grants WHERE id > $1 ORDER BY id LIMIT $2",
		remove: "DELETE FROM token_grants WHERE id = $1 AND expires_at < $2",
	}
}

func (s *Store) sweepOld(ctx context.Context, o *oldRows, before time.Time) error {
	for range sweepSteps {
		var over []string
		n, err := s.rows(ctx, o.list, func(r *row) {
			o.after = r.text()
			if r.time().Before(before) {
				over = append(over, o.after)
			}
		}, o.after, sweepBatch)
		if err != nil {
			return err
		}
		if len(over) > 0 {
			if err := s.write(ctx, func(_ context.Context, t *tx) error { return t.removeOld(o, over, before) }); err != nil {
				return err
			}
		}
		if n < sweepBatch {
			o.after = ""
			return nil
		}
	}
	return nil
}

func (t *tx) removeOld(o *oldRows, ids []string, before time.Time) error {
	if mine, err := t.try(turnSweep); err != nil || !mine {
		return err
	}
	for _, id := range ids {
		n, err := t.exec(o.remove, id, before)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		for _, q := range o.with {
			if _, err := t.exec(q, id); err != nil {
				return err
			}
		}
	}
	return nil
}
