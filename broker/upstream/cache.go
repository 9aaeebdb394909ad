package upstream

import (
	"container/list"
	"sync"
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
