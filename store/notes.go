package store

import (
	"context"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/store/redis"
)

var (
	_ side          = sqlSide{}
	_ brief.Store   = sqlNotes{}
	_ brief.Counter = sqlSide{}
)

// sqlSide shares short-lived state in the PostgreSQL database itself, where there is no Redis. The
// database keeps what was committed, so its heartbeat is its mirror; what is noticed is another line of its
// history, a row that goes back under a node that remembers, and a time in which nobody watched.
type sqlSide struct{ s *Store }

// Beat moves by moving the mirror.
func (sqlSide) Beat(_ context.Context, from, next string) (redis.State, error) {
	if next == "" {
		next = from
	}
	return redis.State{Beat: next}, nil
}

// Begin has nothing to set.
func (sqlSide) Begin(_ context.Context, at string) (redis.State, error) {
	return redis.State{Beat: at}, nil
}

// Trust has no connections of its own.
func (sqlSide) Trust(redis.State) {}

// Keep gives the values of an epoch.
func (d sqlSide) Keep(token string) brief.Store { return sqlNotes{d.s, token + "/"} }

// Incr adds one to key and returns the count in its window, which starts at the first Incr.
func (d sqlSide) Incr(ctx context.Context, key string, window time.Duration) (n int64, err error) {
	now := d.s.now()
	err = d.s.alone(ctx, func(t *tx) error {
		_, err := t.returning(`INSERT INTO counts (k, n, until) VALUES ($1, 1, $2) ON CONFLICT (k) DO UPDATE SET
			n = CASE WHEN counts.until <= $3 THEN 1 ELSE counts.n + 1 END,
			until = CASE WHEN counts.until <= $3 THEN excluded.until ELSE counts.until END RETURNING n`,
			func(r *row) { n = r.int() }, key, now.Add(window), now)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// sqlNotes are the values of one epoch.
//
// They end by the clock of the node that asks. Nodes whose clocks are more than maxSkew away are not
// ready, so a mark of use is given up, and a value removed, only that much later: then it is over
// everywhere.
type sqlNotes struct {
	s     *Store
	space string
}

// alone writes in a transaction of its own: what a rollback would undo is not used up. After an error
// that is not brief.ErrGone or brief.ErrTaken it may have been written (S17).
func (s *Store) alone(ctx context.Context, fn func(t *tx) error) error {
	if t, err := s.txOf(ctx); t != nil || err != nil {
		return brief.ErrUnavailable.With(ErrOutside.Because("short-lived state was written in a transaction"))
	}
	err := s.write(ctx, func(_ context.Context, t *tx) error { return fn(t) })
	if err == nil || errors.Is(err, brief.ErrGone) || errors.Is(err, brief.ErrTaken) {
		return err
	}
	if errors.Is(err, ErrText) {
		return brief.ErrGone // strangers send anything as a key, and nothing is under what cannot be one
	}
	return brief.ErrUnavailable.With(err)
}

// Put writes value under key, whatever was there.
func (n sqlNotes) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := brief.Fits(key, value, ttl); err != nil {
		return err
	}
	return n.s.alone(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO notes (k, v, until) VALUES ($1, $2, $3) ON CONFLICT (k) DO UPDATE SET v = excluded.v, until = excluded.until",
			n.space+key, full(value), n.s.now().Add(ttl))
		return err
	})
}

// PutNew writes value only when nothing is under key.
func (n sqlNotes) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := brief.Fits(key, value, ttl); err != nil {
		return err
	}
	now := n.s.now()
	return n.s.alone(ctx, func(t *tx) error {
		wrote, err := t.exec("INSERT INTO notes (k, v, until) VALUES ($1, $2, $3) ON CONFLICT (k) DO UPDATE SET v = excluded.v, until = excluded.until WHERE notes.until <= $4",
			n.space+key, full(value), now.Add(ttl), now.Add(-maxSkew))
		if err == nil && wrote == 0 {
			return brief.ErrTaken
		}
		return err
	})
}

// full is never nil, which would be NULL.
func full(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Get reads.
func (n sqlNotes) Get(ctx context.Context, key string) (value []byte, err error) {
	found, err := found(n.s.db.read(ctx, "SELECT v FROM notes WHERE k = $1 AND until > $2", func(r *row) { value = r.bytes() }, []any{n.space + key, n.s.now()}))
	if err != nil {
		return nil, brief.ErrUnavailable.With(err)
	}
	if found == 0 {
		return nil, brief.ErrGone
	}
	return value, nil
}

// Take reads and deletes in one step.
func (n sqlNotes) Take(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	live := false
	now := n.s.now()
	err := n.s.alone(ctx, func(t *tx) error {
		live = false
		_, err := t.returning("DELETE FROM notes WHERE k = $1 RETURNING v, until", func(r *row) {
			value = r.bytes()
			live = r.time().After(now)
		}, n.space+key)
		return err
	})
	if err != nil {
		return nil, err // what the function writes may be written still
	}
	if !live {
		return nil, brief.ErrGone
	}
	return value, nil
}

// Swap replaces old by next and keeps the time that was left.
func (n sqlNotes) Swap(ctx context.Context, key string, old, next []byte) error {
	if err := brief.Fits(key, next, time.Hour); err != nil {
		return err
	}
	now := n.s.now()
	return n.s.alone(ctx, func(t *tx) error {
		wrote, err := t.exec("UPDATE notes SET v = $3 WHERE k = $1 AND v = $2 AND until > $4", n.space+key, full(old), full(next), now)
		if err != nil || wrote == 1 {
			return err
		}
		there, err := t.read("SELECT 1 FROM notes WHERE k = $1 AND until > $2", nil, []any{n.space + key, now})
		if err == nil && there == 0 {
			return brief.ErrGone
		}
		if err == nil {
			return brief.ErrTaken
		}
		return err
	})
}

// Delete removes.
func (n sqlNotes) Delete(ctx context.Context, key string) error {
	err := n.s.alone(ctx, func(t *tx) error {
		_, err := t.exec("DELETE FROM notes WHERE k = $1", n.space+key)
		return err
	})
	if errors.Is(err, brief.ErrGone) {
		return nil
	}
	return err
}

// sweepNotes removes what is over, of former epochs too.
func (s *Store) sweepNotes(ctx context.Context) error {
	if s.epochs == nil {
		return nil
	}
	if _, here := s.epochs.side.(sqlSide); !here {
		return nil
	}
	before := s.now().Add(-maxSkew)
	return errors.Join(
		s.sweepOne(ctx, "DELETE FROM notes WHERE k IN (SELECT k FROM notes WHERE until < $1 ORDER BY until LIMIT $2)", before),
		s.sweepOne(ctx, "DELETE FROM counts WHERE k IN (SELECT k FROM counts WHERE until < $1 ORDER BY until LIMIT $2)", before),
	)
}
