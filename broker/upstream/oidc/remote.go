package oidc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

const (
	// fetchTimeout bounds a fetch, which belongs to nobody's login.
	fetchTimeout = 8 * time.Second
	// grace is how long past its time a document is served while a new one is fetched behind the back
	// of logins. Older ones are waited for, so that a key that was withdrawn long ago signs nobody in.
	grace = time.Hour
	// maxStale is how long a document serves while its provider is down.
	maxStale = 24 * time.Hour
	// retryAfter is the least time between fetches of a document that is there.
	retryAfter = 30 * time.Second
	// askAgainAfter is the least time between fetches because of a key that is not known.
	askAgainAfter = 10 * time.Second
)

// remote is a document of a provider: fetched by one for many, kept, and refreshed. A fetch runs on a
// context of its own: the first caller going away must not fail the others, and a slow provider is
// waited for only as long as each caller has time.
type remote[T any] struct {
	now   func() time.Time
	fetch func(ctx context.Context) (value T, ttl time.Duration, err error)

	mu      sync.Mutex
	have    bool
	value   T
	fetched time.Time
	ttl     time.Duration
	tried   time.Time // when the last fetch began
	err     error     // how it ended
	running chan struct{}
}

// get gives the document, at once when one is there that still serves.
func (r *remote[T]) get(ctx context.Context) (T, error) {
	r.mu.Lock()
	now := r.now()
	age := now.Sub(r.fetched)
	if r.have && age < r.ttl {
		defer r.mu.Unlock()
		return r.value, nil
	}
	due := now.Sub(r.tried) >= retryAfter
	if r.have && age < maxStale && (age < r.ttl+grace || !due) {
		defer r.mu.Unlock()
		if due {
			r.start(ctx)
		}
		return r.value, nil
	}
	done := r.start(ctx)
	r.mu.Unlock()
	return r.wait(ctx, done)
}

// renewed fetches the document anew because what was looked for is not in it, unless that was done a
// moment ago; then ok is false. Whoever presents unknown keys must not make us ask a provider each time.
func (r *remote[T]) renewed(ctx context.Context) (value T, ok bool, err error) {
	r.mu.Lock()
	if r.running == nil && r.now().Sub(r.tried) < askAgainAfter {
		defer r.mu.Unlock()
		return r.value, false, nil
	}
	done := r.start(ctx)
	r.mu.Unlock()
	if value, err = r.wait(ctx, done); err != nil {
		return value, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value, r.err == nil, r.err
}

// start begins a fetch or joins the one that runs. r.mu is held.
func (r *remote[T]) start(ctx context.Context) chan struct{} {
	if r.running != nil {
		return r.running
	}
	r.tried, r.running = r.now(), make(chan struct{})
	go r.run(context.WithoutCancel(ctx))
	return r.running
}

func (r *remote[T]) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	value, ttl, err := r.safely(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err == nil {
		r.have, r.value, r.ttl, r.fetched = true, value, ttl, r.now()
	}
	close(r.running)
	r.running = nil
}

// safely turns a panic over a stranger's document into an error: out here it would end the process.
func (r *remote[T]) safely(ctx context.Context) (value T, ttl time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = ErrDiscovery.Because(fmt.Sprintf("reading it failed: %v", p))
		}
	}()
	return r.fetch(ctx)
}

func (r *remote[T]) wait(ctx context.Context, done chan struct{}) (T, error) {
	var none T
	select {
	case <-done:
	case <-ctx.Done():
		return none, upstream.ErrUnreachable.With(ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have && r.now().Sub(r.fetched) < maxStale {
		return r.value, nil
	}
	return none, r.err
}
