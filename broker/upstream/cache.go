package upstream

import (
	"container/list"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// Cache keeps at most Max values and forgets the least recently used. It is for what can be made again:
// opened connections, a provider's parsed documents. Safe for many at once.
type Cache[K comparable, V any] struct {
	Max int // zero: 4,096

	mu    sync.Mutex
	index map[K]*list.Element
	order list.List // of cached[K, V], the most recently used first
}

type cached[K comparable, V any] struct {
	key   K
	value V
}

const defaultMax = 4096

// Get returns what is under key.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key)
}

// GetOr returns what is under key, or puts what build makes. build runs under the cache's lock, once for
// many who ask at once: it must not wait for anything.
func (c *Cache[K, V]) GetOr(key K, build func() V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.get(key); ok {
		return v
	}
	v := build()
	c.put(key, v)
	return v
}

// Put sets what is under key.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, value)
}

func (c *Cache[K, V]) get(key K) (V, bool) {
	e, ok := c.index[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached[K, V]).value, true
}

func (c *Cache[K, V]) put(key K, value V) {
	if e, ok := c.index[key]; ok {
		e.Value = cached[K, V]{key, value}
		c.order.MoveToFront(e)
		return
	}
	if c.index == nil {
		c.index = map[K]*list.Element{}
	}
	c.index[key] = c.order.PushFront(cached[K, V]{key, value})
	for c.order.Len() > c.max() {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.index, last.Value.(cached[K, V]).key)
	}
}

func (c *Cache[K, V]) max() int {
	if c.Max > 0 {
		return c.Max
	}
	return defaultMax
}

// Opener opens connections, each version once, and keeps them open while they are used. What it gives
// is fenced: a provider that is slow or gone costs its own people an error and nobody else anything
// (capabilities.md row 141). All fields are required but Fence, whose zero value has sensible numbers.
type Opener struct {
	Protocols Protocols
	// Client gives the guarded client for a connection's Private targets.
	Client     func(private []string) *http.Client
	Now        func() time.Time
	Base       string
	Spend      func(ctx context.Context, c Connection, kind, key string, until time.Time) error
	Algorithms func(ctx context.Context, c Connection) []string
	Fence      Fence

	open Cache[directory.ConnectionID, *Opened]
}

// Opened is an open connection behind its fence.
type Opened struct {
	Connection Connection
	inner      Upstream
	fence      *fence
}

// Open gives the connection's upstream, which is an *Opened. It does no I/O. Whether the connection is
// switched on is for the caller to judge: test logins open drafts.
func (o *Opener) Open(_ context.Context, c Connection) (Upstream, error) {
	opened, err := o.Opened(c)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Opened is Open for who wants to probe or describe the connection as well.
func (o *Opener) Opened(c Connection) (*Opened, error) {
	have, ok := o.open.Get(c.ID)
	if ok && have.Connection.Version == c.Version {
		return have, nil
	}
	opened, err := o.build(c)
	if err != nil {
		return nil, err
	}
	// A node that still reads the version before must not push the newer one out.
	if !ok || have.Connection.Version < c.Version {
		o.open.Put(c.ID, opened)
	}
	return opened, nil
}

func (o *Opener) build(c Connection) (*Opened, error) {
	protocol, ok := o.Protocols[c.Type]
	if !ok {
		return nil, ErrConfig.Because("unknown connection type " + string(c.Type))
	}
	inner, err := protocol.Open(c, Env{
		Client: o.Client(c.Private), Now: o.Now, Base: o.Base, Spend: o.Spend, Algorithms: o.Algorithms,
	})
	if err != nil {
		return nil, err
	}
	return &Opened{Connection: c, inner: inner, fence: newFence(o.Fence, o.Now)}, nil
}

// Depart is Upstream's, behind the fence.
func (o *Opened) Depart(ctx context.Context, a Attempt) (d Departure, err error) {
	err = o.fence.depart(ctx, func(ctx context.Context) error {
		d, err = o.inner.Depart(ctx, a)
		return err
	})
	return d, err
}

// Arrive is Upstream's, behind the fence.
func (o *Opened) Arrive(ctx context.Context, a Attempt, in Arrival) (as Assertion, r Report, err error) {
	err = o.fence.arrive(ctx, func(ctx context.Context) error {
		as, r, err = o.inner.Arrive(ctx, a, in)
		return err
	})
	if err != nil {
		return Assertion{}, r, err
	}
	return as, r, nil
}

// Probe tests the connection; ok is false when its protocol has no probe.
func (o *Opened) Probe(ctx context.Context) (r Report, ok bool, err error) {
	p, ok := o.inner.(Prober)
	if !ok {
		return nil, false, nil
	}
	// Somebody who just repaired a provider asks, so an open circuit is no reason not to look.
	err = o.fence.bounded(ctx, func(ctx context.Context) error {
		r, err = p.Probe(ctx)
		return err
	})
	return r, true, err
}

// Describe gives the connection's document about us; ok is false when its protocol has none.
func (o *Opened) Describe() (contentType string, doc []byte, ok bool, err error) {
	d, ok := o.inner.(Describer)
	if !ok {
		return "", nil, false, nil
	}
	contentType, doc, err = d.Describe()
	return contentType, doc, true, err
}
