package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// touch is one changed piece of configuration, as the change log has it.
type touch struct {
	seq       int64
	kind, ref string
}

// ErrBehind: a change that was made elsewhere may be unknown here, so nobody is let in by what is known.
var ErrBehind = fault.New(fault.Unavailable, "store.behind", "This part of the service has not heard from its database for some seconds, so it lets nobody in until it has. Try again in a moment.")

const (
	pollEvery   = 250 * time.Millisecond // how late another process's change is seen
	behindAfter = 5 * time.Second        // without an answer, from when on nobody is let in (S15)
	keepChanges = time.Hour
	pollBatch   = 500
)

// touch notes in the change log that a piece of configuration changed. It moves the revision, so a
// write that was decided on the former one is decided again (S15). What belongs to one person
// (memberships, identities) moves the person's Version instead.
func (t *tx) touch(kind, ref string) error {
	if err := t.alone(); err != nil {
		return err
	}
	if len(t.touches) == 0 {
		// It stays so: whoever else changes configuration waits until this commits.
		if _, err := t.read(selectRevision, func(r *row) { t.revision = r.int() }, nil); err != nil {
			return err
		}
	}
	seq := t.revision + int64(len(t.touches)) + 1
	t.touches = append(t.touches, touch{seq, kind, ref})
	return t.send("INSERT INTO changes (seq, kind, ref, at) VALUES ($1, $2, $3, $4)", seq, kind, ref, t.store.now())
}

const selectRevision = "SELECT n FROM counters WHERE name = 'changes'"

// count writes what the transaction counted, once at its end: on PostgreSQL each change of one row leaves a
// version behind that the next has to walk over.
func (t *tx) count() error {
	if t.code > 0 {
		if err := t.send("UPDATE counters SET n = $1 WHERE name = 'org_code'", t.code); err != nil {
			return err
		}
	}
	if len(t.touches) == 0 {
		return nil
	}
	return t.send("UPDATE counters SET n = $1 WHERE name = 'changes'", t.revision+int64(len(t.touches)))
}

// Revision counts the changes of all configuration: organizations, domains, connections, apps,
// entitlements, documents, keys. In a transaction it is exact and stays so until it commits: whoever
// changes configuration waits for that. Else it is what reads reflect now, so a caller takes it first,
// reads and decides, and compares it in the transaction that acts on it. Whoever found there that another
// process was faster is not kept waiting for the poll: the next who asks first reads what changed, so that
// deciding again rests on it. While this node does not hear of changes it is ErrBehind.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	t, err := s.txOf(ctx)
	if err != nil {
		return 0, err
	}
	if t == nil {
		if s.hearing.known.Load() > s.seen.Load() {
			if err := s.follow(ctx); err != nil {
				return 0, err
			}
		}
		return s.seen.Load(), s.Admitting()
	}
	if err := t.share(); err != nil {
		return 0, err
	}
	n, err := s.revision(ctx)
	if err != nil {
		return 0, err
	}
	return t.compare(n), nil
}

// share keeps configuration as it is until the transaction ends.
func (t *tx) share() error {
	if t.config {
		return nil
	}
	return t.hold(turnConfig, true)
}

// compare adds what the transaction itself touched to the revision that it read, and has the change log
// read where that is more than this process saw.
func (t *tx) compare(others int64) int64 {
	if others > t.store.seen.Load() {
		t.store.hearing.learn(others)
		t.store.hurry()
	}
	return others + int64(len(t.touches))
}

func (s *Store) revision(ctx context.Context) (n int64, err error) {
	_, err = s.rows(ctx, selectRevision, func(r *row) { n = r.int() })
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

// appliedAmong is applied where other nodes commit too: what they did before is read first, so that the
// caller sees its own change in the revision.
func (s *Store) appliedAmong(touches []touch) {
	s.forget(touches)
	for _, t := range touches {
		if s.seen.Load() >= t.seq || s.seen.CompareAndSwap(t.seq-1, t.seq) {
			continue
		}
		if err := s.follow(s.base); err != nil {
			s.hurry()
			return
		}
	}
}

// hearing says since when this process has not heard of others' changes.
type hearing struct {
	alarm *time.Timer
	late  atomic.Bool
	stops atomic.Int64 // how often it became late
	known atomic.Int64 // the highest revision that a transaction met
}

func (h *hearing) learn(revision int64) {
	for known := h.known.Load(); known < revision && !h.known.CompareAndSwap(known, revision); known = h.known.Load() {
	}
}

// Admitting says whether decisions may rest on what is in memory: ErrBehind when the change log could not
// be read for five seconds.
func (s *Store) Admitting() error {
	if s.hearing.late.Load() {
		return ErrBehind
	}
	return nil
}

// listenIn follows the change log until ctx ends.
func (s *Store) listenIn(ctx context.Context) {
	s.hearing.alarm = time.AfterFunc(behindAfter, func() {
		s.hearing.late.Store(true)
		s.hearing.stops.Add(1)
		s.log.Error("store: the change log could not be read, nobody is let in until it can", "for", behindAfter)
	})
	s.idle.Go(func() { s.db.listen(ctx, s.hurry) })
	s.idle.Go(func() {
		defer s.hearing.alarm.Stop()
		s.repeat(ctx, "follow the change log", pollEvery, s.behind, func(ctx context.Context) error {
			if err := s.follow(ctx); err != nil {
				return err
			}
			s.hearing.alarm.Reset(behindAfter)
			if s.hearing.late.Swap(false) {
				s.log.Info("store: the change log can be read again")
			}
			return nil
		})
	})
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
