package store

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/store/redis"
)

var (
	_ brief.Store   = sharedNotes{}
	_ brief.Counter = sharedCounter{}
)

// sharedNotes are the values of the epoch that is confirmed now.
type sharedNotes struct{ e *epochs }

// Put writes value under key, whatever was there.
func (n sharedNotes) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	at, err := n.e.current()
	if err != nil {
		return err
	}
	return at.notes.Put(ctx, key, value, ttl)
}

// PutNew writes value only when nothing is under key.
func (n sharedNotes) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	at, err := n.e.current()
	if err != nil {
		return err
	}
	return at.notes.PutNew(ctx, key, value, ttl)
}

// Get reads.
func (n sharedNotes) Get(ctx context.Context, key string) ([]byte, error) {
	at, err := n.e.current()
	if err != nil {
		return nil, err
	}
	return at.notes.Get(ctx, key)
}

// Take reads and deletes in one step.
func (n sharedNotes) Take(ctx context.Context, key string) ([]byte, error) {
	at, err := n.e.current()
	if err != nil {
		return nil, err
	}
	return at.notes.Take(ctx, key)
}

// Swap replaces old by next and keeps the time that was left.
func (n sharedNotes) Swap(ctx context.Context, key string, old, next []byte) error {
	at, err := n.e.current()
	if err != nil {
		return err
	}
	return at.notes.Swap(ctx, key, old, next)
}

// Delete removes.
func (n sharedNotes) Delete(ctx context.Context, key string) error {
	at, err := n.e.current()
	if err != nil {
		return err
	}
	return at.notes.Delete(ctx, key)
}

// sharedCounter counts for all nodes. While that cannot be done each node counts for itself, and every
// event twice: limits then are half as wide on each node, and a limit never keeps people out because
// something of ours is broken.
type sharedCounter struct {
	e     *epochs
	alone *counter
}

// Incr adds one to key and returns the count in its window.
func (c sharedCounter) Incr(ctx context.Context, key string, window time.Duration) (int64, error) {
	if c.e.now.Load() != nil {
		if n, err := c.e.side.Incr(ctx, key, window); err == nil {
			return n, nil
		}
	}
	n, err := c.alone.Incr(ctx, key, window)
	return 2 * n, err
}

// redisSide shares by Redis.
type redisSide struct{ *redis.Client }

// Keep gives the values of an epoch.
func (r redisSide) Keep(token string) brief.Store { return r.Notes(token) }

// openShared opens what several nodes share: Redis where there is one, else the PostgreSQL database. On
// SQLite without Redis nothing is shared.
func (s *Store) openShared(ctx context.Context, o Options) error {
	switch {
	case o.Redis != "":
		client, err := redis.Open(redis.Options{URL: o.Redis, Now: o.Now, Troubled: func() { s.epochs.troubled() }})
		if err != nil {
			return err
		}
		s.shared = client.Close
		s.epochs = newEpochs(s, redisSide{client}, 0)
	case o.DSN != "":
		s.epochs = newEpochs(s, sqlSide{s}, beatGap)
	default:
		return nil
	}
	return s.epochs.open(ctx)
}
