package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/themes"
)

// cache keeps immutable snapshots of what every login asks, by key. A miss is read once however many
// ask; what does not exist is remembered too, in a room of its own, so that guessing cannot push out
// what is in use. A value is forgotten by the commit that changes it, before its caller is answered.
type cache[V any] struct {
	generation *atomic.Int64 // moves before anything is forgotten
	limit      int

	mu     sync.RWMutex
	found  map[string]*V
	none   map[string]struct{}
	flight map[string]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value *V
	err   error
}

// get answers from memory, else by load, which returns nil for what does not exist. The value is
// shared: nobody may change it.
func (c *cache[V]) get(ctx context.Context, key string, load func(context.Context) (*V, error)) (*V, error) {
	c.mu.RLock()
	v, ok := c.found[key]
	if !ok {
		_, ok = c.none[key]
	}
	c.mu.RUnlock()
	if ok {
		return v, nil
	}
	return c.miss(ctx, key, load)
}

// peek answers from memory or not at all; for what never changes once it is there, in transactions too.
func (c *cache[V]) peek(key string) *V {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.found[key]
}

func (c *cache[V]) miss(ctx context.Context, key string, load func(context.Context) (*V, error)) (*V, error) {
	c.mu.Lock()
	if f, ok := c.flight[key]; ok {
		c.mu.Unlock()
		select {
		case <-f.done:
			return f.value, f.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f := &flight[V]{done: make(chan struct{})}
	if c.flight == nil {
		c.flight = map[string]*flight[V]{}
	}
	c.flight[key] = f
	c.mu.Unlock()

	before := c.generation.Load()
	// Others wait for this read, so it does not end with the first caller's request.
	f.value, f.err = load(context.WithoutCancel(ctx))
	c.mu.Lock()
	if c.flight[key] == f {
		delete(c.flight, key)
	}
	if f.err == nil && c.generation.Load() == before {
		c.keep(key, f.value)
	}
	c.mu.Unlock()
	close(f.done)
	return f.value, f.err
}

// keep stores under the lock; a full room loses any one of its values. Keys that nothing of ours has
// are not kept: they can be as long as what anybody sends.
func (c *cache[V]) keep(key string, v *V) {
	if len(key) > maxCacheKey {
		return
	}
	if c.found == nil {
		c.found, c.none = map[string]*V{}, map[string]struct{}{}
	}
	if v == nil {
		room(c.none, c.limit)
		c.none[key] = struct{}{}
		return
	}
	room(c.found, c.limit)
	c.found[key] = v
}

func room[K comparable, V any](m map[K]V, limit int) {
	if len(m) < limit {
		return
	}
	for k := range m {
		delete(m, k)
		return
	}
}

// drop forgets a key. A read that is under way keeps its callers but is not kept, and whoever asks
// from now on reads anew.
func (c *cache[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.found, key)
	delete(c.none, key)
	delete(c.flight, key)
}

func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.found)
	clear(c.none)
	clear(c.flight)
}

// cached reads by load, from memory unless ctx carries a transaction, which sees the truth (S15).
func cached[V any](ctx context.Context, s *Store, c *cache[V], key string, load func(context.Context) (*V, error)) (*V, error) {
	if t, err := s.txOf(ctx); t != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return load(ctx)
	}
	return c.get(ctx, key, load)
}

// The kinds of configuration that a change can touch. Stored in the change log, never renamed.
const (
	ofRealm       = "realm"       // by id, and by handle
	ofOrg         = "org"         // by id
	ofHandle      = "handle"      // by realm and handle
	ofDomain      = "domain"      // by realm and name
	ofConnection  = "connection"  // by id
	ofConnections = "connections" // by organization
	ofApp         = "app"         // by id
	ofClient      = "client"      // by client id
	ofEntitlement = "entitlement" // by organization and app
	ofTheme       = "theme"       // by organization
	ofPolicy      = "policy"      // by level
	ofFlow        = "flow"        // by organization
	ofKeys        = "keys"        // by use
	ofDataKey     = "data_key"    // by scope
	ofDestroyed   = "destroyed"   // by scope; known to no cache, so all of them forget everything
)

const (
	cacheLimit  = 16384 // of each cache: 100,000 organizations must not live in memory
	maxCacheKey = 320   // a realm's id and a domain of 253 characters, and some
)

// caches is everything that is answered from memory, and how far it follows the change log.
type caches struct {
	generation atomic.Int64
	seen       atomic.Int64 // the revision that the caches reflect
	behind     chan struct{}

	realms      cache[directory.Realm]
	orgs        cache[directory.Org]
	handles     cache[directory.OrgID]
	domains     cache[directory.Domain]
	connections cache[upstream.Connection]
	ownedBy     cache[[]upstream.Connection]
	apps        cache[broker.App]
	clients     cache[directory.AppID]
	entitled    cache[directory.Entitlement]
	themes      cache[themes.Theme]
	policies    cache[directory.PolicyDoc]
	flows       cache[flows.FlowHead]
	keys        cache[[]broker.Key]

	byKind map[string]dropper
}

type dropper interface {
	drop(key string)
	clear()
}

func (c *caches) prepare(sealed *sealer) {
	c.behind = make(chan struct{}, 1)
	c.byKind = map[string]dropper{
		ofRealm: share(c, &c.realms), ofOrg: share(c, &c.orgs), ofHandle: share(c, &c.handles),
		ofDomain: share(c, &c.domains), ofConnection: share(c, &c.connections), ofConnections: share(c, &c.ownedBy),
		ofApp: share(c, &c.apps), ofClient: share(c, &c.clients), ofEntitlement: share(c, &c.entitled),
		ofTheme: share(c, &c.themes), ofPolicy: share(c, &c.policies), ofFlow: share(c, &c.flows), ofKeys: share(c, &c.keys),
		ofDataKey: sealed,
	}
}

func share[V any](cs *caches, c *cache[V]) dropper {
	c.generation, c.limit = &cs.generation, cacheLimit
	return c
}

// forget drops what changed. A kind that this program does not know drops everything: another
// version of it wrote the change.
func (c *caches) forget(touches []touch) {
	c.generation.Add(1)
	for _, t := range touches {
		if d, ok := c.byKind[t.kind]; ok {
			d.drop(t.ref)
			continue
		}
		c.forgetAll()
	}
}

func (c *caches) forgetAll() {
	c.generation.Add(1)
	for _, d := range c.byKind {
		d.clear()
	}
}
