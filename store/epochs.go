package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store/redis"
)

// epochs watches over short-lived state that several nodes share (S16). What is kept there is believed
// only as long as nothing of it can have been forgotten: a used code that is there again, or the mark of a
// used assertion that is not, would open an account.
//
// So the shared store has a heartbeat, a counter that goes up every second, and the database mirrors it.
// The shared store is never behind the mirror and never more than one beat ahead. If it is behind or has
// no heartbeat it forgot something; if it is further ahead, or the mirror is behind what this process saw,
// the database did. Each of these, another server or another line of replication begins a new epoch: one
// node wins the row in the database, and everybody finds the new one within a second. Values are kept
// under their epoch's token, so that those of an epoch that is over are not there; what is judged by its
// own date is refused when it was issued before Store.Epoch.
//
// Whatever else is the case (no contact, an epoch that is being begun, a watcher that is late), nothing
// may be used: it fails closed.
type epochs struct {
	s      *Store
	name   string // of the row
	side   side
	gap    time.Duration // a first look that finds the last beat older than this begins anew; 0 never does
	hurry  chan struct{}
	now    atomic.Pointer[epoch] // nil: nothing may be used
	reason atomic.Pointer[fault.Error]
	begun  atomic.Int64 // epochs that this process knew
	stops  atomic.Int64 // how often nothing could be used any more
	late   *time.Timer  // closes when nobody looked for too long

	// Of the watching goroutine alone.
	seen   epoch  // as it was confirmed last
	mine   string // the token of an epoch that this node is beginning
	beside string // the token of one that another node is
	waited int    // looks at that
}

// side is where short-lived state is shared.
type side interface {
	// Beat says which server answers and where its heartbeat stands, after moving it from one value to
	// the next if it stood there and next is not "".
	Beat(ctx context.Context, from, next string) (redis.State, error)
	// Begin sets the heartbeat.
	Begin(ctx context.Context, at string) (redis.State, error)
	// Trust is told each confirmed state.
	Trust(redis.State)
	// Keep gives the values of an epoch.
	Keep(token string) brief.Store
	brief.Counter
}

// epoch is one row of the table.
type epoch struct {
	token  string
	began  time.Time
	beat   int64
	server string
	at     time.Time

	notes brief.Store
}

const (
	beatEvery   = time.Second
	beatAgain   = 100 * time.Millisecond // while nothing may be used
	beatSpacing = 20 * time.Millisecond  // between looks, however many ask for one
	beatLate    = 10 * time.Second
	beatTime    = 3 * time.Second // for one look
	beatOthers  = 15              // looks at an epoch that another node is beginning, before we begin another
	beatGap     = 30 * time.Second
	epochName   = "brief"
)

var (
	// ErrShared: short-lived state cannot be trusted now. The cause says why.
	ErrShared = fault.New(fault.Unavailable, "store.shared", "The state of logins in progress is not at hand. Try again in a moment.")

	// ErrEpochBegins, ErrEpochLate: why, where it is known.
	ErrEpochBegins = fault.New(fault.Unavailable, "store.epoch_begins", "What was kept of logins in progress may be incomplete, so a new epoch is being begun. That takes a second or two.")
	ErrEpochLate   = fault.New(fault.Unavailable, "store.epoch_late", "Nobody could look for ten seconds whether the state of logins in progress is complete.")
	// ErrSharedClock: lifetimes would be judged wrongly there.
	ErrSharedClock = fault.New(fault.Unavailable, "store.shared_clock", "This machine's clock and that of Redis differ by more than five seconds. Let both follow NTP.")

	errBeginning = errors.New("another node is beginning a new epoch")
	errRestless  = errors.New("other nodes keep beginning new epochs")
	errLate      = errors.New("nobody looked at the heartbeat for too long")
)

func newEpochs(s *Store, at side, gap time.Duration) *epochs {
	e := &epochs{s: s, name: epochName, side: at, gap: gap, hurry: make(chan struct{}, 1)}
	e.late = time.AfterFunc(beatLate, func() { e.shut(errLate) })
	e.shut(errLate)
	return e
}

// troubled asks for a look now.
func (e *epochs) troubled() {
	select {
	case e.hurry <- struct{}{}:
	default:
	}
}

// shut lets nothing be used until the next confirmation.
func (e *epochs) shut(why error) {
	e.reason.Store(ErrShared.With(why))
	if e.now.Swap(nil) != nil {
		e.stops.Add(1)
	}
}

// current gives what may be used.
func (e *epochs) current() (*epoch, error) {
	if at := e.now.Load(); at != nil {
		return at, nil
	}
	return nil, brief.ErrUnavailable.With(e.reason.Load())
}

// open looks until there is an epoch, or it is clear that there will be none soon.
func (e *epochs) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*beatTime)
	defer cancel()
	for {
		err := e.look(ctx)
		if err == nil || !errors.Is(err, errBeginning) && !errors.Is(err, errRestless) {
			return err
		}
		if pause(ctx, beatAgain) != nil {
			return ErrShared.With(err)
		}
	}
}

// watch looks every second, at once when something is wrong, and more often until it is right again.
func (e *epochs) watch(ctx context.Context) {
	defer e.late.Stop()
	wait := beatEvery
	for pause(ctx, beatSpacing) == nil {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-e.hurry:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		was := e.now.Load()
		limited, cancel := context.WithTimeout(ctx, beatTime)
		err := e.look(limited)
		cancel()
		e.tell(was, err)
		wait = beatEvery
		if err != nil {
			wait = beatAgain
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// tell logs what changed, not each look.
func (e *epochs) tell(was *epoch, err error) {
	is := e.now.Load()
	switch {
	case was != nil && is == nil:
		e.s.log.Error("store: short-lived state cannot be used", "error", err)
	case was == nil && is != nil:
		e.s.log.Info("store: short-lived state can be used again")
	}
}

// look confirms the epoch or begins another.
func (e *epochs) look(ctx context.Context) error {
	for range 3 {
		again, err := e.once(ctx)
		if err != nil || !again {
			return err
		}
	}
	e.shut(errRestless)
	return errRestless
}

// once is one look; again when another node was faster.
func (e *epochs) once(ctx context.Context) (again bool, err error) {
	at, err := e.read(ctx)
	if err != nil {
		return false, err // the watch may go on for a while: see late
	}
	line, err := e.s.db.lineage(ctx)
	if err != nil {
		return false, err
	}
	if why := e.doubt(at); why != "" {
		return e.begin(ctx, at, line, why)
	}
	if at.beat == 0 {
		return e.unfinished(ctx, at, line)
	}
	e.beside, e.waited = "", 0
	next := ""
	if at.token != e.seen.token || at.beat == e.seen.beat { // else another node moved it since our last look
		next = stand(at.token, at.beat+1)
	}
	state, err := e.side.Beat(ctx, stand(at.token, at.beat), next)
	if err != nil {
		e.shut(err)
		return false, err
	}
	if state.Server+line != at.server {
		return e.begin(ctx, at, line, "another server answers, or another line of replication")
	}
	n := beatOf(state.Beat, at.token)
	switch {
	case n < at.beat:
		return e.begin(ctx, at, line, "the shared store forgot its last seconds, or everything")
	case n > at.beat+1:
		token := at.token
		if at, err = e.read(ctx); err != nil || at.token != token {
			return err == nil, err
		}
		if beatOf(state.Beat, at.token) > at.beat+1 {
			return e.begin(ctx, at, line, "the database forgot its last seconds, or was restored")
		}
	case n == at.beat+1:
		if err := e.mirror(ctx, &at); err != nil {
			return false, err
		}
	}
	return false, e.confirm(at, state)
}

// doubt says why the row itself cannot be what it was; "" when it can.
func (e *epochs) doubt(at epoch) string {
	switch {
	case at.token == "":
		return "there was none"
	case at.began.Before(e.seen.began), at.token == e.seen.token && at.beat < e.seen.beat:
		return "the database forgot its last seconds, or was restored"
	case e.seen.token == "" && e.gap > 0 && e.s.now().Sub(at.at) > e.gap:
		return "nobody watched for a while"
	}
	return ""
}

// unfinished goes on with an epoch that was begun and not finished: ours, or another node's when that
// node seems to be gone.
func (e *epochs) unfinished(ctx context.Context, at epoch, line string) (again bool, err error) {
	e.shut(errBeginning)
	if at.token == e.mine {
		return false, e.finish(ctx, at, line)
	}
	if e.beside != at.token {
		e.beside, e.waited = at.token, 0
	}
	if e.waited++; e.waited > beatOthers {
		return e.begin(ctx, at, line, "the node that began it did not finish")
	}
	return false, errBeginning
}

// begin tries to put a new epoch in the place of one; again when another node was faster.
func (e *epochs) begin(ctx context.Context, old epoch, line, why string) (again bool, err error) {
	e.shut(errBeginning)
	now := fromMicros(micros(e.s.now())) // as the row will have it
	next := epoch{token: strings.ToLower(rand.Text()), began: now, at: now}
	for _, earlier := range []time.Time{old.began, e.seen.began} {
		if !next.began.After(earlier) {
			next.began = earlier.Add(time.Microsecond)
		}
	}
	won, err := e.claim(ctx, old.token, next)
	if err != nil {
		return false, err
	}
	if !won {
		return true, nil
	}
	if old.token != "" || e.seen.token != "" { // else nothing was there that could be lost
		e.s.log.Warn("store: a new epoch of short-lived state begins; logins in progress start again", "why", why)
	}
	e.mine = next.token
	return false, e.finish(ctx, next, line)
}

// finish sets the heartbeat of an epoch that this node claimed. Nothing was kept under it before.
func (e *epochs) finish(ctx context.Context, at epoch, line string) error {
	state, err := e.side.Begin(ctx, stand(at.token, 1))
	if err != nil {
		e.shut(err)
		return err
	}
	at.beat, at.server = 1, state.Server+line
	done := false
	err = e.s.write(ctx, func(_ context.Context, t *tx) error {
		n, err := t.exec("UPDATE epochs SET beat = 1, server = $3, at = $4 WHERE name = $1 AND token = $2 AND beat = 0", e.name, at.token, at.server, e.s.now())
		done = n == 1
		return err
	})
	if err != nil {
		return err
	}
	if !done {
		return errBeginning // another node did not wait for us
	}
	e.mine = ""
	return e.confirm(at, state)
}

func (e *epochs) confirm(at epoch, state redis.State) error {
	if at.token != e.seen.token {
		e.begun.Add(1)
	}
	e.seen = at
	e.side.Trust(state)
	if is := e.now.Load(); is == nil || is.token != at.token {
		at.notes = e.side.Keep(at.token)
		e.now.Store(&at)
	}
	e.late.Reset(beatLate)
	return nil
}

func (e *epochs) read(ctx context.Context) (at epoch, err error) {
	_, err = e.s.rows(ctx, "SELECT token, began, beat, server, at FROM epochs WHERE name = $1", func(r *row) {
		at = epoch{token: r.text(), began: r.time(), beat: r.int(), server: r.text(), at: r.time()}
	}, e.name)
	return at, err
}

// claim puts next in the place of the epoch with that token, "" for none; of many nodes one does.
func (e *epochs) claim(ctx context.Context, token string, next epoch) (won bool, err error) {
	err = e.s.write(ctx, func(_ context.Context, t *tx) error {
		var n int64
		var err error
		if token == "" {
			n, err = t.exec("INSERT INTO epochs (name, token, began, beat, server, at) VALUES ($1, $2, $3, 0, '', $4) ON CONFLICT (name) DO NOTHING",
				e.name, next.token, next.began, next.at)
		} else {
			n, err = t.exec("UPDATE epochs SET token = $3, began = $4, beat = 0, server = '', at = $5 WHERE name = $1 AND token = $2",
				e.name, token, next.token, next.began, next.at)
		}
		won = n == 1
		return err
	})
	return won && err == nil, err
}

// mirror follows the heartbeat by one beat. Where another node did it already there is nothing to do.
func (e *epochs) mirror(ctx context.Context, at *epoch) error {
	err := e.s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("UPDATE epochs SET beat = $3, at = $4 WHERE name = $1 AND token = $2 AND beat = $5", e.name, at.token, at.beat+1, e.s.now(), at.beat)
		return err
	})
	if err == nil {
		at.beat++
	}
	return err
}

func stand(token string, beat int64) string { return token + ":" + strconv.FormatInt(beat, 10) }

// beatOf reads where a heartbeat stands; -1 when it is another epoch's, or none.
func beatOf(text, token string) int64 {
	count, ok := strings.CutPrefix(text, token+":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}

// since is when the epoch began. While none is confirmed it is now: whatever there is was issued before.
func (e *epochs) since() time.Time {
	if at := e.now.Load(); at != nil {
		return at.began
	}
	return e.s.now()
}

// standing says why no epoch is confirmed; nil while one is.
func (e *epochs) standing() error {
	_, err := e.current()
	switch {
	case errors.Is(err, errBeginning), errors.Is(err, errRestless):
		return ErrEpochBegins.With(err)
	case errors.Is(err, errLate):
		return ErrEpochLate.With(err)
	}
	return err
}

// answers tries short-lived state, and compares its clock with ours (S46).
func (e *epochs) answers(ctx context.Context) error {
	if skew, err := e.apart(ctx); err != nil {
		return err
	} else if skew.Abs() > maxSkew {
		return ErrSharedClock.With(fmt.Errorf("the clock of Redis is %s ahead of this machine's", skew))
	}
	at, err := e.current()
	if err != nil {
		return err
	}
	return answers(ctx, at.notes)
}

// maxSkew is how far the clocks of nodes, database and Redis may be apart.
const maxSkew = 5 * time.Second

// apart is how far the clock of Redis is ahead of ours; 0 where there is none.
func (e *epochs) apart(ctx context.Context) (time.Duration, error) {
	state, err := e.side.Beat(ctx, "", "")
	if err != nil || state.Clock.IsZero() {
		return 0, err
	}
	return state.Clock.Sub(e.s.now()), nil
}
