package password

import (
	"context"
	"sync"
	"time"
)

// Turn says on whose behalf work is asked for: the pool is shared fairly between organizations, and in each
// between addresses (S32). Org "" is where no organization is known.
type Turn struct {
	Org     string
	Network string
}

// Pool bounds how much work is done at once and how much may wait, and takes what waits in turns: one of
// each organization, and in an organization one of each address. Whoever sends a thousand requests waits
// behind themselves; whoever comes after them is next.
type Pool struct {
	// Workers is how many run at once; Waiting how many may wait. Zero is one of each.
	Workers, Waiting int
	// Rest runs work and says how long its place stays empty afterwards while others wait: what a flood keeps
	// busy leaves room for everything else. nil: no time at all.
	Rest func(work func()) time.Duration

	mu      sync.Mutex
	running int
	waiting int
	orgs    ring[*lane]
}

// lane is what waits on behalf of one organization.
type lane struct {
	waiting   int
	addresses ring[*queue]
}

// queue is what waits on behalf of one address, the longest waiting first.
type queue struct{ tickets []*ticket }

// ticket is one that waits: go on is closed to let it run, or sent away.
type ticket struct {
	turn   Turn
	called chan bool // true: run; false: sent away for somebody who has waited less
}

// Do runs work when its turn comes, in the caller's goroutine. It gives up with the context's error when
// the context ends before that, and with ErrBusy when too much waits. Work that began is never stopped.
func (p *Pool) Do(ctx context.Context, turn Turn, work func()) error {
	if err := p.enter(ctx, turn); err != nil {
		return err
	}
	p.run(work)
	return nil
}

// run works and gives the place back, after its rest where others wait for it.
func (p *Pool) run(work func()) {
	var rest time.Duration
	defer func() {
		if rest > 0 && p.backlog() {
			time.AfterFunc(rest, p.leave)
			return
		}
		p.leave()
	}()
	if p.Rest == nil {
		work()
		return
	}
	rest = p.Rest(work)
}

func (p *Pool) backlog() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

func (p *Pool) enter(ctx context.Context, turn Turn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.running < max(p.Workers, 1) {
		p.running++
		p.mu.Unlock()
		return nil
	}
	t, err := p.queueUp(turn)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case run := <-t.called:
		return sentAway(run)
	case <-ctx.Done():
	}
	p.mu.Lock()
	gone := p.remove(t)
	p.mu.Unlock()
	if !gone && <-t.called { // called at the same moment: the turn goes to the next
		p.leave()
	}
	return ctx.Err()
}

func sentAway(run bool) error {
	if run {
		return nil
	}
	return ErrBusy
}

// queueUp puts a ticket at the end of its own queue. Where all places are taken, the last of whoever holds
// most of them gives theirs up, unless that is the one who asks.
func (p *Pool) queueUp(turn Turn) (*ticket, error) {
	if p.waiting >= max(p.Waiting, 1) && !p.makeRoom(turn) {
		return nil, ErrBusy
	}
	t := &ticket{turn: turn, called: make(chan bool, 1)}
	l := p.orgs.get(turn.Org, func() *lane { return new(lane) })
	q := l.addresses.get(turn.Network, func() *queue { return new(queue) })
	q.tickets = append(q.tickets, t)
	l.waiting++
	p.waiting++
	return t, nil
}

// makeRoom sends the newest ticket of the longest queue away, where the one who asks would hold fewer
// places than its owner does.
func (p *Pool) makeRoom(turn Turn) bool {
	var org *lane
	for _, l := range p.orgs.all {
		if org == nil || l.value.waiting > org.waiting {
			org = l.value
		}
	}
	var longest *queue
	for _, q := range org.addresses.all {
		if longest == nil || len(q.value.tickets) > len(longest.tickets) {
			longest = q.value
		}
	}
	last := longest.tickets[len(longest.tickets)-1]
	mine, mineHere := 0, 0
	if l, ok := p.orgs.find(turn.Org); ok {
		mine = l.waiting
		if q, ok := l.addresses.find(turn.Network); ok {
			mineHere = len(q.tickets)
		}
	}
	if mine+1 >= org.waiting && turn.Org != last.turn.Org || turn.Org == last.turn.Org && mineHere+1 >= len(longest.tickets) {
		return false
	}
	p.remove(last)
	last.called <- false
	return true
}

// leave gives the place to whoever is next, if anybody waits.
func (p *Pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 {
		p.running--
		return
	}
	t := p.orgs.next().addresses.next().tickets[0]
	p.remove(t)
	t.called <- true
}

// remove takes a ticket out of its queue; false when it is in none any more.
func (p *Pool) remove(t *ticket) bool {
	l, ok := p.orgs.find(t.turn.Org)
	if !ok {
		return false
	}
	q, ok := l.addresses.find(t.turn.Network)
	if !ok {
		return false
	}
	for i, other := range q.tickets {
		if other != t {
			continue
		}
		q.tickets = append(q.tickets[:i:i], q.tickets[i+1:]...)
		l.waiting--
		p.waiting--
		if len(q.tickets) == 0 {
			l.addresses.drop(t.turn.Network)
		}
		if l.waiting == 0 {
			p.orgs.drop(t.turn.Org)
		}
		return true
	}
	return false
}

// ring is named values that take turns.
type ring[T any] struct {
	all []named[T]
	at  int // whose turn is next
}

type named[T any] struct {
	name  string
	value T
}

func (r *ring[T]) index(name string) int {
	for i, n := range r.all {
		if n.name == name {
			return i
		}
	}
	return -1
}

func (r *ring[T]) find(name string) (T, bool) {
	if i := r.index(name); i >= 0 {
		return r.all[i].value, true
	}
	var none T
	return none, false
}

func (r *ring[T]) get(name string, fresh func() T) T {
	if v, ok := r.find(name); ok {
		return v
	}
	v := fresh()
	r.all = append(r.all, named[T]{name, v})
	return v
}

// next is whose turn it is; the one after them is next then.
func (r *ring[T]) next() T {
	if r.at >= len(r.all) {
		r.at = 0
	}
	v := r.all[r.at].value
	r.at++
	return v
}

// drop takes a name out without anybody losing their turn.
func (r *ring[T]) drop(name string) {
	i := r.index(name)
	if i < 0 {
		return
	}
	r.all = append(r.all[:i:i], r.all[i+1:]...)
	if i < r.at {
		r.at--
	}
}
