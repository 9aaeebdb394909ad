package store

import (
	"sync"
	"testing"
)

// The connection that was used last is the next one's: it has in its cache what the others do not.
func TestTheReaderThatWasUsedLastIsLentFirst(t *testing.T) {
	p := newPool(3)
	for range 3 {
		p.put(&conn{})
	}
	a, err := p.get(t.Context())
	must(t, err)
	b, err := p.get(t.Context())
	must(t, err)
	p.put(b)
	p.put(a)
	for range 10 {
		c, err := p.get(t.Context())
		must(t, err)
		if c != a {
			t.Fatal("another was lent")
		}
		p.put(c)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				c, err := p.get(t.Context())
				must(t, err)
				p.put(c)
			}
		})
	}
	all.Wait()
	if len(p.idle) != 3 || len(p.free) != 3 {
		t.Errorf("%d and %d came back", len(p.idle), len(p.free))
	}
}
