package storetest

import (
	"bytes"
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

func briefly(t *testing.T, w *World) { Brief(t, w.Brief(), w.clock) }

// Brief checks a short-lived store that tells time by the clock.
func Brief(t *testing.T, b brief.Store, clock *Clock) {
	ctx := t.Context()
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
	clock.Advance(59 * time.Second)
	ok(t, b.Swap(ctx, "k", []byte("two"), []byte("three"))) // keeps the time that was left
	same(t, get("k"), "three")
	clock.Advance(time.Second)
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

	for _, key := range []string{"a\x00b", "\xff"} { // strangers send them
		same(t, get(key), "gone")
		_, err := b.Take(ctx, key)
		is(t, err, brief.ErrGone)
		ok(t, b.Delete(ctx, key))
	}

	value := []byte("mine")
	ok(t, b.Put(ctx, "copy", value, time.Minute))
	value[0] = 'X'
	same(t, get("copy"), "mine")

	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	long, large := strings.Repeat("k", brief.MaxKey), bytes.Repeat(all, brief.MaxValue/len(all))
	ok(t, b.PutNew(ctx, long, all, time.Minute))
	ok(t, b.Swap(ctx, long, all, large))
	got, err := b.Get(ctx, long)
	ok(t, err)
	same(t, bytes.Equal(got, large), true)
	is(t, b.Swap(ctx, long, large[1:], nil), brief.ErrTaken)
	ok(t, b.Swap(ctx, long, large, nil))
	got, err = b.Take(ctx, long)
	ok(t, err)
	same(t, len(got), 0)
	for name, err := range map[string]error{
		"long key":   b.Put(ctx, strings.Repeat("k", brief.MaxKey+1), nil, time.Minute),
		"long value": b.Put(ctx, "k", make([]byte, brief.MaxValue+1), time.Minute),
		"no time":    b.PutNew(ctx, "k", nil, time.Microsecond),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	races(t, b)
}

// S16: of many at once one wins, however often they try.
func races(t *testing.T, b brief.Store) {
	ctx := t.Context()
	for round := range 20 {
		key := fmt.Sprint("race/", round)
		ok(t, b.Put(ctx, key, []byte("v"), time.Minute))
		var took, put, swapped atomic.Int32
		var all sync.WaitGroup
		ok(t, b.Put(ctx, key+"/swap", []byte("a"), time.Minute))
		for i := range racers {
			all.Go(func() {
				count(t, &took, func() error { _, err := b.Take(ctx, key); return err }, brief.ErrGone)
				count(t, &put, func() error { return b.PutNew(ctx, key+"/new", nil, time.Minute) }, brief.ErrTaken)
				count(t, &swapped, func() error { return b.Swap(ctx, key+"/swap", []byte("a"), fmt.Append(nil, "b", i)) }, brief.ErrTaken)
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

func counter(t *testing.T, w *World) { Counter(t, w.Counter(), w.clock) }

// Counter checks a counter that tells time by the clock.
func Counter(t *testing.T, c brief.Counter, clock *Clock) {
	ctx := t.Context()
	incr := func(key string) int64 { n, err := c.Incr(ctx, key, time.Minute); ok(t, err); return n }
	same(t, []int64{incr("a"), incr("a"), incr("b")}, []int64{1, 2, 1})
	clock.Advance(59 * time.Second)
	same(t, incr("a"), int64(3)) // the window starts at the first, not at the last
	clock.Advance(time.Second)
	same(t, incr("a"), int64(1))

	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			_, err := c.Incr(ctx, "race", time.Minute)
			count(t, new(atomic.Int32), func() error { return err }, nil)
		})
	}
	all.Wait()
	same(t, incr("race"), int64(racers+1))
}
