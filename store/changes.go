package store

import (
	"context"
	"time"
)

// touch is one changed piece of configuration, as the change log has it.
type touch struct {
	seq       int64
	kind, ref string
}

const (
	pollEvery   = 250 * time.Millisecond // how late another process's change is seen
	keepChanges = time.Hour
	pollBatch   = 500
)

// touch notes in the change log that a piece of configuration changed. It moves the revision, so a
// write that was decided on the former one is decided again (S15). What belongs to one person
// (memberships, identities) moves the person's Version instead.
func (t *tx) touch(kind, ref string) error {
	var seq int64
	if _, err := t.returning("UPDATE counters SET n = n + 1 WHERE name = 'changes' RETURNING n",
		func(r *row) { seq = r.int() }); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO changes (seq, kind, ref, at) VALUES ($1, $2, $3, $4)", seq, kind, ref, t.store.now())
	t.touches = append(t.touches, touch{seq, kind, ref})
	return err
}

// Revision counts the changes of all configuration: organizations, domains, connections, apps,
// entitlements, documents, keys. In a transaction it is exact; else it is what reads reflect now, so a
// caller takes it first, reads and decides, and compares it in the transaction that acts on it.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return 0, err
	}
	if t == nil {
		return s.seen.Load(), nil
	}
	n, err := s.revision(ctx)
	if n-int64(len(t.touches)) > s.seen.Load() {
		s.hurry()
	}
	return n, err
}

func (s *Store) revision(ctx context.Context) (n int64, err error) {
	_, err = s.rows(ctx, "SELECT n FROM counters WHERE name = 'changes'", func(r *row) { n = r.int() })
	return n, err
}

// hurry asks for the change log to be read now.
func (s *Store) hurry() {
	select {
	case s.behind <- struct{}{}:
	default:
	}
}

// applied runs after each COMMIT of this process that changed configuration, before its callers are
// answered. Another process may have committed in between, which the poll finds: seen moves over a
// gap only there.
func (s *Store) applied(touches []touch) {
	s.forget(touches)
	for _, t := range touches {
		if !s.seen.CompareAndSwap(t.seq-1, t.seq) {
			s.hurry()
			return
		}
	}
}

func (s *Store) openCaches(ctx context.Context) error {
	s.caches.prepare(s.sealer)
	n, err := s.revision(ctx)
	s.seen.Store(n)
	return err
}

// follow drops what other processes changed, and moves seen to what it read.
func (s *Store) follow(ctx context.Context) error {
	for {
		from := s.seen.Load()
		head, err := s.revision(ctx)
		if err != nil || head <= from {
			return err
		}
		var touches []touch
		_, err = s.rows(ctx, "SELECT seq, kind, ref FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2", func(r *row) {
			touches = append(touches, touch{r.int(), r.text(), r.text()})
		}, from, pollBatch)
		if err != nil {
			return err
		}
		if len(touches) == 0 || touches[0].seq != from+1 {
			s.forgetAll() // the log was swept beyond what we had seen
			touches = append(touches[:0], touch{seq: head})
		} else {
			s.forget(touches)
		}
		s.advance(touches[len(touches)-1].seq)
	}
}

func (s *Store) advance(to int64) {
	for {
		now := s.seen.Load()
		if now >= to || s.seen.CompareAndSwap(now, to) {
			return
		}
	}
}
