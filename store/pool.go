package store

import (
	"context"
	"sync"
)

// pool lends connections that only read. The one that was given back last is lent first: what one reader
// has read since the last commit another would have to read again.
type pool struct {
	free chan struct{} // one for each connection that is there
	over chan struct{} // closed when nothing is lent any more
	mu   sync.Mutex
	idle []*conn
}

func newPool(size int) *pool {
	return &pool{free: make(chan struct{}, size), over: make(chan struct{})}
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.over:
		return nil, ErrClosed
	default:
	}
	select {
	case <-p.free:
		return p.last(), nil
	case <-p.over:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) last() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	c := p.idle[n]
	p.idle = p.idle[:n]
	return c
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	p.free <- struct{}{}
}

// close waits for what is lent, count connections in all.
func (p *pool) close(count int) {
	if p == nil {
		return
	}
	close(p.over)
	for range count {
		<-p.free
		p.last().close()
	}
}
