package main

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/redistest"
)

// These stories are about a Redis that dies, forgets or comes back with yesterday's memory.

// withRedis is a world with a Redis of its own.
func withRedis(t *testing.T) (*world, *redistest.Server) {
	t.Helper()
	s := redistest.Start(t)
	return worldIn(t, t.TempDir(), func(c *config) { c.Redis = s.URL("x") }), s
}

// recovered waits until short-lived state can be used again.
func (w *world) recovered() {
	w.t.Helper()
	for {
		_, err := w.h.store.Brief().Get(w.t.Context(), "none")
		if errors.Is(err, brief.ErrGone) {
			return
		}
		if !errors.Is(err, brief.ErrUnavailable) {
			w.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// S16: the snapshot holds two codes, one that was redeemed since. Neither opens anything; a login that was
// in progress starts again; new logins work.
func TestS16ARedisPutBackFromASnapshotRedeemsNothing(t *testing.T) {
	for name, empty := range map[string]bool{"from a snapshot": false, "empty": true} {
		t.Run(name, func(t *testing.T) {
			w, redis := withRedis(t)
			acme := w.addOIDC("acme", nil)
			code := func() (string, request) {
				r := w.request(in(acme.org))
				return newBrowser(t).authorize(w, r).code(t), r
			}
			used, usedRequest := code()
			fresh, freshRequest := code()
			waiting := newBrowser(t)
			page := waiting.authorize(w, w.request(nil)) // who are you?
			if page.status != http.StatusOK {
				t.Fatalf("%d %s", page.status, textOf(page.body))
			}
			snapshot := redis.Snapshot(t)
			if tok := w.redeem(used, usedRequest.verifier); tok.Status != http.StatusOK {
				t.Fatal(tok.raw)
			}
			if empty {
				snapshot = nil
			}
			redis.Restore(t, snapshot)
			w.recovered()
			for what, answer := range map[string]tokenAnswer{
				"a redeemed code": w.redeem(used, usedRequest.verifier), "a code of before": w.redeem(fresh, freshRequest.verifier),
			} {
				if answer.Status != http.StatusBadRequest || answer.Error != "invalid_grant" {
					t.Errorf("%s: %d %s", what, answer.Status, answer.raw)
				}
			}
			if again := waiting.send(http.MethodGet, page.url.String(), nil, false); again.status != http.StatusGone {
				t.Errorf("a login of before: %d %s", again.status, textOf(again.body))
			}
			next, r := code()
			if tok := w.redeem(next, r.verifier); tok.Status != http.StatusOK {
				t.Errorf("a new login: %s", tok.raw)
			}
		})
	}
}

// Without Redis nobody signs in, and everybody is told to come again; whoever is signed in stays so, and
// apps go on renewing their tokens.
func TestWithoutRedisSessionsAndRefreshGoOn(t *testing.T) {
	for name, away := range map[string]func(*redistest.Server, *testing.T){
		"dead":  func(s *redistest.Server, _ *testing.T) { s.Kill() },
		"hangs": func(s *redistest.Server, t *testing.T) { s.Freeze(t) },
	} {
		t.Run(name, func(t *testing.T) { withoutRedis(t, away) })
	}
}

func withoutRedis(t *testing.T, leave func(*redistest.Server, *testing.T)) {
	w, redis := withRedis(t)
	acme := w.addOIDC("acme", nil)
	w = w.entitledApp("desk", acme.org, refreshing)
	b := newBrowser(t)
	tok := w.signInAway(b, acme.org)
	r := w.request(in(acme.org))
	code := b.authorize(w, r).code(t)
	leave(redis, t)
	if answer := w.redeem(code, r.verifier); answer.Status != http.StatusServiceUnavailable || answer.Error != "server_error" {
		t.Errorf("a code: %d %s", answer.Status, answer.raw)
	}
	if p := newBrowser(t).send(http.MethodGet, w.url+"/authorize?"+w.request(nil).Encode(), nil, false); p.status != http.StatusServiceUnavailable {
		t.Errorf("a new login: %d %s", p.status, textOf(p.body))
	}
	silent := b.send(http.MethodGet, w.url+"/authorize?"+w.request(func(v url.Values) { in(acme.org)(v); v.Set("prompt", "none") }).Encode(), nil, false)
	if at, _ := url.Parse(silent.header.Get("Location")); at == nil || at.Query().Get("error") != "temporarily_unavailable" {
		t.Errorf("a silent request: %d %s", silent.status, silent.header.Get("Location"))
	}
	if status, info := w.userinfo(tok.Access); status != http.StatusOK {
		t.Errorf("userinfo: %d %v", status, info)
	}
	if next := w.refresh(tok.Refresh); next.Status != http.StatusOK {
		t.Errorf("refresh: %d %s", next.Status, next.raw)
	}
	if p := b.send(http.MethodGet, w.url+"/.well-known/openid-configuration", nil, false); p.status != http.StatusOK {
		t.Errorf("discovery: %d", p.status)
	}
}
