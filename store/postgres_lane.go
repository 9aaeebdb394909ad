package store

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"
)

// Functions that come at once share a transaction, as they do on SQLite: a lane takes what waits, runs the
// functions one after the other on one connection, and commits once. What one writes travels with what the
// next reads, so that a function costs one round trip, and all of them one BEGIN, one turn of configuration
// and one COMMIT. Where one fails after it wrote, all is undone and each has a transaction of its own.
const (
	laneSize = 12                   // functions in one transaction at most
	laneFull = 6                    // so many that wait are worth another lane
	laneWait = 3 * time.Millisecond // how long one waits before another lane is looked for
)

// laneLocks is how long functions that share a transaction wait for a row. Each takes its rows in an order in
// which no two wait for each other in a ring, but together they have none: whoever finds a row taken goes on
// by itself, before anybody could wait for those with whom it shared, and with the rows that they hold.
const laneLocks = "SET LOCAL lock_timeout = 20"

// lanes are the goroutines that write, and the calls that wait for one. While a call waits there is a lane.
type lanes struct {
	mu      sync.Mutex
	waiting []*call
	running int
	closed  bool
	all     sync.WaitGroup
}

// submit runs a function in a transaction, again when it met another one or lost its connection before
// COMMIT was sent. Once that was sent it is never run again (S17).
func (p *postgres) submit(c *call) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if !p.join(c) {
		return ErrClosed
	}
	wait, late := time.NewTicker(laneWait), time.NewTimer(lendTime)
	defer wait.Stop()
	defer late.Stop()
	ended := c.ctx.Done()
	for {
		select {
		case <-c.done:
			return c.err
		case <-ended:
			if c.state.CompareAndSwap(queued, left) {
				return c.ctx.Err()
			}
			ended = nil // a lane has it: it stops at its next statement, or is at COMMIT
		case <-late.C:
			if c.state.CompareAndSwap(queued, left) {
				return allLent(p.wide)
			}
		case <-wait.C:
			if c.state.Load() != queued {
				wait.Stop()
				continue
			}
			p.widen()
		}
	}
}

// join lets a call wait for a lane, and begins one where there is none or much waits. It is false when the
// database is closed.
func (p *postgres) join(c *call) bool {
	l := &p.lanes
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.waiting = append(l.waiting, c)
	if l.running == 0 || len(l.waiting) >= laneFull {
		p.begin()
	}
	return true
}

// widen begins another lane, for somebody waits behind one that does not end.
func (p *postgres) widen() {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	if len(p.lanes.waiting) > 0 {
		p.begin()
	}
}

// begin begins a lane if there may be one more. Its caller holds mu.
func (p *postgres) begin() {
	if p.lanes.running >= p.wide {
		return
	}
	p.lanes.running++
	p.lanes.all.Go(func() {
		for group := p.next(nil); len(group) > 0; group = p.next(group) {
			p.run(group)
		}
	})
}

// next takes those who wait longest; none ends the lane.
func (p *postgres) next(group []*call) []*call {
	l := &p.lanes
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(group)
	group = group[:0]
	for len(l.waiting) > 0 && len(group) < laneSize {
		c := l.waiting[0]
		if len(group) > 0 && (c.apart || group[0].apart) {
			break
		}
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if c.state.CompareAndSwap(queued, taken) {
			group = append(group, c)
		}
	}
	if len(group) == 0 {
		l.running--
	}
	return group
}

// run brings a group's outcome and answers its callers, none before COMMIT returned (S17).
func (p *postgres) run(group []*call) {
	if len(group) > 1 {
		p.again(p.together(group))
		return
	}
	c := group[0]
	c.err = p.single(c)
	close(c.done)
}

// again lets calls wait for a transaction of their own, before all others.
func (p *postgres) again(group []*call) {
	if len(group) == 0 {
		return
	}
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	for _, c := range group {
		c.apart = true
		c.state.Store(queued)
		p.begin()
	}
	p.lanes.waiting = slices.Concat(group, p.lanes.waiting)
}

// together runs a group in one transaction and answers it. Those that it gives back have no outcome: nothing
// of theirs was written, and each is to have a transaction of its own.
func (p *postgres) together(group []*call) (rest []*call) {
	s, err := p.take()
	if err != nil {
		return group
	}
	defer func() { p.give(s) }()
	if err := cmp.Or(s.begin(nil), s.send(laneLocks)); err != nil {
		s.rollback()
		return group
	}
	var answered []*call
	for _, c := range group {
		// Whoever changes configuration has its turn from the beginning, and a transaction of its own.
		s.ctx, s.asked = c.ctx, true
		perform(c, s, p.twice, p.log)
		switch {
		case c.err == nil:
			answered = append(answered, c)
		case s.fate != alive || c.tx.writes > 0 || c.tx.late:
			s.rollback()
			return group
		case c.tx.met:
			rest = append(rest, c)
		default:
			answered = append(answered, c) // with its own error, and has written nothing
		}
	}
	unknown, err := p.commit(s)
	if err != nil && !unknown {
		s.rollback()
		return group
	}
	p.share(answered, err)
	return rest
}

// share answers those who shared a transaction. err says that nobody knows whether it was committed.
func (p *postgres) share(group []*call, err error) {
	if err != nil {
		p.log.Error("store: nobody knows whether a commit was done", "error", err, "callers", len(group))
	}
	var touches []touch
	for _, c := range group {
		switch {
		case c.err != nil:
		case err == nil:
			touches = append(touches, c.tx.touches...)
		case c.tx.writes > 0:
			c.err = ErrUnknown.With(err)
		default:
			c.err = stored(err)
		}
	}
	if len(touches) > 0 {
		p.applied(touches)
	}
	for _, c := range group {
		if c.err == nil {
			for _, f := range c.tx.after {
				f()
			}
		}
	}
	if err == nil && p.grouped != nil {
		p.grouped(len(group))
	}
	for _, c := range group {
		close(c.done)
	}
}

// single runs a function in a transaction of its own, as often as it takes.
func (p *postgres) single(c *call) error {
	for try := 1; ; try++ {
		more, err := p.attempt(c)
		if err == nil {
			p.answered(c.tx)
			if p.grouped != nil {
				p.grouped(1)
			}
			return nil
		}
		if errors.Is(err, errTurn) && !c.alone {
			c.alone = true
			continue
		}
		if try >= more {
			return err
		}
		if err := p.pause(c.ctx, try); err != nil {
			return err
		}
	}
}

// finish ends the lanes after what waits is written.
func (p *postgres) finish() {
	p.lanes.mu.Lock()
	p.lanes.closed = true
	p.lanes.mu.Unlock()
	p.lanes.all.Wait()
}
