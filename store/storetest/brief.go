package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
)

const racers = 32

func briefly(t *testing.T, w *World) {
	b, ctx := w.Brief(), w.ctx
	get := func(key string) string {
		v, err := b.Get(ctx, key)
		if err != nil {
			is(t, err, brief.ErrGone)
			return "gone"
		}
		return string(v)
	}
	ok(t, b.Put(ctx, "k", []byte("one"), time.Minute))
	ok(t, b.Put(ctx, "k", []byte("two"), time.Minute))
	same(t, get("k"), "two")
	is(t, b.PutNew(ctx, "k", []byte("three"), time.Minute), brief.ErrTaken)
	is(t, b.Swap(ctx, "k", []byte("one"), []byte("three")), brief.ErrTaken)
	is(t, b.Swap(ctx, "none", []byte("one"), []byte("three")), brief.ErrGone)
	w.clock.Advance(59 * time.Second)
	ok(t, b.Swap(ctx, "k", []byte("two"), []byte("three"))) // keeps the time that was left
	same(t, get("k"), "three")
	w.clock.Advance(time.Second)
	same(t, get("k"), "gone")
	_, err := b.Take(ctx, "k")
	is(t, err, brief.ErrGone)
	ok(t, b.PutNew(ctx, "k", []byte{}, time.Minute))
	v, err := b.Take(ctx, "k")
	ok(t, err)
	same(t, len(v), 0)
	same(t, get("k"), "gone")
	ok(t, b.Put(ctx, "k", []byte("x"), time.Minute))
	ok(t, b.Delete(ctx, "k"))
	ok(t, b.Delete(ctx, "k"))
	same(t, get("k"), "gone")

	value := []byte("mine")
	ok(t, b.Put(ctx, "copy", value, time.Minute))
	value[0] = 'X'
	same(t, get("copy"), "mine")
	for name, err := range map[string]error{
		"long key":   b.Put(ctx, strings.Repeat("k", 201), nil, time.Minute),
		"long value": b.Put(ctx, "k", make([]byte, 1<<20+1), time.Minute),
		"no time":    b.PutNew(ctx, "k", nil, time.Microsecond),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	races(t, w, b)
}

// S16: of many at once one wins, however often they try.
func races(t *testing.T, w *World, b brief.Store) {
	for round := range 20 {
		key := fmt.Sprint("race/", round)
		ok(t, b.Put(w.ctx, key, []byte("v"), time.Minute))
		var took, put, swapped atomic.Int32
		var all sync.WaitGroup
		ok(t, b.Put(w.ctx, key+"/swap", []byte("a"), time.Minute))
		for i := range racers {
			all.Go(func() {
				count(t, &took, func() error { _, err := b.Take(w.ctx, key); return err }, brief.ErrGone)
				count(t, &put, func() error { return b.PutNew(w.ctx, key+"/new", nil, time.Minute) }, brief.ErrTaken)
				count(t, &swapped, func() error { return b.Swap(w.ctx, key+"/swap", []byte("a"), fmt.Append(nil, "b", i)) }, brief.ErrTaken)
			})
		}
		all.Wait()
		same(t, []int32{took.Load(), put.Load(), swapped.Load()}, []int32{1, 1, 1})
	}
}

func count(t *testing.T, won *atomic.Int32, try func() error, lost error) {
	if err := try(); err == nil {
		won.Add(1)
	} else if !errors.Is(err, lost) {
		t.Error(err)
	}
}

func counter(t *testing.T, w *World) {
	c := w.Counter()
	incr := func(key string) int64 { n, err := c.Incr(w.ctx, key, time.Minute); ok(t, err); return n }
	same(t, []int64{incr("a"), incr("a"), incr("b")}, []int64{1, 2, 1})
	w.clock.Advance(59 * time.Second)
	same(t, incr("a"), int64(3)) // the window starts at the first, not at the last
	w.clock.Advance(time.Second)
	same(t, incr("a"), int64(1))
}
