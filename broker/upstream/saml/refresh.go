package saml

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// How often metadata is asked for. A provider that fails is left alone for a while, and an unknown
// certificate (which anybody can send) hurries us once a minute at most.
const (
	refreshDefault = 12 * time.Hour
	refreshLeast   = time.Hour
	refreshMost    = 24 * time.Hour
	refreshRetry   = 5 * time.Minute
	refreshHurry   = time.Minute
	refreshTime    = 15 * time.Second
)

// refresher learns new signing certificates from the provider's metadata, in the background: no login
// waits for it, and what was known keeps working while the provider is down. It looks for the
// connection's entityID and takes nothing of an entity with another one.
type refresher struct {
	url, entityID string
	client        *http.Client
	now           func() time.Time

	busy  atomic.Bool
	due   atomic.Int64 // Unix time
	tried atomic.Int64
	known atomic.Pointer[[]key]
}

// perhaps starts a refresh when one is due and none is under way.
func (r *refresher) perhaps(ctx context.Context) {
	if r.now().Unix() < r.due.Load() || !r.busy.CompareAndSwap(false, true) {
		return
	}
	go r.run(context.WithoutCancel(ctx))
}

// hurry is perhaps before it is due.
func (r *refresher) hurry(ctx context.Context) {
	if soon := r.tried.Load() + int64(refreshHurry/time.Second); r.due.Load() > soon {
		r.due.Store(soon)
	}
	r.perhaps(ctx)
}

func (r *refresher) run(ctx context.Context) {
	defer r.busy.Store(false)
	// A stranger's document must not end the process.
	defer func() { _ = recover() }()
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	now := r.now()
	r.tried.Store(now.Unix())
	r.due.Store(now.Add(refreshRetry).Unix())
	m, err := FetchMetadata(ctx, r.client, r.url, r.entityID)
	if err != nil || m.Valid(now) != nil {
		return
	}
	r.take(m)
	r.due.Store(now.Add(interval(m.CacheDuration)).Unix())
}

func interval(said time.Duration) time.Duration {
	if said <= 0 {
		return refreshDefault
	}
	return min(max(said, refreshLeast), refreshMost)
}

func (r *refresher) take(m Metadata) {
	var keys []key
	for _, c := range m.Certificates[:min(len(m.Certificates), maxCertificates)] {
		der, err := unbase64(c.Base64)
		if err != nil {
			continue
		}
		if k, _, err := readKey(der); err == nil {
			keys = append(keys, k)
		}
	}
	r.known.Store(&keys)
}

// join adds what the metadata announced to the pinned keys.
func (r *refresher) join(pinned []key) []key {
	known := r.known.Load()
	if known == nil {
		return pinned
	}
	out := append([]key(nil), pinned...)
	for _, k := range *known {
		if !has(pinned, k) {
			out = append(out, k)
		}
	}
	return out
}

func has(keys []key, k key) bool {
	for _, have := range keys {
		if have.print == k.print {
			return true
		}
	}
	return false
}
