package store

import "context"

// pool lends connections that only read.
type pool struct {
	free chan *conn
	over chan struct{} // closed when nothing is lent any more
}

func newPool(size int) pool {
	return pool{free: make(chan *conn, size), over: make(chan struct{})}
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.over:
		return nil, ErrClosed
	default:
	}
	select {
	case c := <-p.free:
		return c, nil
	case <-p.over:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) put(c *conn) { p.free <- c }

// close waits for what is lent, count connections in all.
func (p *pool) close(count int) {
	if p.over == nil {
		return
	}
	close(p.over)
	for range count {
		c := <-p.free
		c.close()
	}
}
