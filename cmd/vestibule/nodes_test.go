package main

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
)

// Any request of a login, and of what follows it, may hit any node.
func TestTwoNodesAreOneService(t *testing.T) {
	var get, post company
	c := newCluster(t, 2, func(w *world) {
		w.app, w.secret = w.addApp("desk", func(a *broker.App) { refreshing(a) })
		get, post = w.addOIDC("acme", nil), w.addSAML("retail", nil)
	})
	for _, of := range []company{get, post} {
		b := newBrowser(t)
		tok := c.signInAway(b, of.org)
		if status, info := c.userinfo(tok.Access); status != http.StatusOK || info["org_id"] != string(of.org) {
			t.Errorf("userinfo: %d %v", status, info)
		}
		next := c.refresh(tok.Refresh).good(t, "refresh")
		if code, fault := b.silently(c.world, in(of.org)); code == "" {
			t.Errorf("the other node does not know the session: %s", fault)
		}
		if got := c.introspect(next.Access); got["active"] != true {
			t.Errorf("introspection: %v", got)
		}
		if status := c.revoke(next.Refresh); status != http.StatusOK {
			t.Errorf("revocation: %d", status)
		}
		for range c.nodes {
			inactive(t, "a revoked grant", c.introspect(next.Access))
		}
	}
	t.Run("a code at both at once", func(t *testing.T) {
		for range 10 {
			r := c.request(in(get.org))
			code := newBrowser(t).authorize(c.world, r).code(t)
			var good atomic.Int32
			c.everywhere(func(at http.RoundTripper) {
				if status, _, _ := c.ask(at, "/token", exchange(code, r.verifier)); status == http.StatusOK {
					good.Add(1)
				}
			})
			if good.Load() != 1 {
				t.Errorf("a code was redeemed %d times", good.Load())
			}
		}
	})
	t.Run("an assertion at both at once", func(t *testing.T) {
		for range 10 {
			b := newBrowser(t)
			answer := b.atProvider(c.world, b.depart(c.world, c.request(in(post.org))))
			var codes atomic.Int32
			c.everywhere(func(at http.RoundTripper) {
				one := b.twin()
				one.client = &http.Client{Transport: at, CheckRedirect: b.client.CheckRedirect}
				if one.follow(one.deliver(answer)).sent() != "" {
					codes.Add(1)
				}
			})
			if codes.Load() > 1 {
				t.Errorf("an assertion opened %d logins", codes.Load())
			}
			if codes.Load() == 0 {
				t.Error("an assertion opened nothing")
			}
		}
	})
}
