//go:build long && !quick

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
)

// servingBefore is the last commit with fewer migrations that has `serve`. The release before had none,
// so its own test is of one machine; this one is of many.
const servingBefore = "0ef6063801d6fca27bceda3523521833eddf9fd2"

// fromHistory builds the program of a commit. A checkout without history cannot, and says so.
func fromHistory(t *testing.T, commit string) string {
	t.Helper()
	tar, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "archive", commit).Output()
	if err != nil {
		t.Fatalf("the history is needed (git fetch --unshallow): %v", err)
	}
	dir := t.TempDir()
	unpacked(t, bytes.NewReader(tar), dir)
	return built(t, dir)
}

// A node of the release before and one of this beside each other, on the new schema, behind one address:
// tokens and sessions of either are good at both; then each takes the other's place, as in an upgrade and in
// its rollback, and nothing is lost. A login and its code stay at one node: how they are written changed
// since that commit, which nobody runs. Between releases it may not, so the next one lets them wander.
func TestNodesOfTwoReleasesAreOneService(t *testing.T) {
	before := fromHistory(t, servingBefore)
	var get, post company
	c := newCluster(t, 2, func(w *world) {
		w.app, w.secret = w.addApp("desk", func(a *broker.App) { refreshing(a) })
		get, post = w.addOIDC("acme", nil), w.addSAML("retail", nil)
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes said:\n%s", c.logged.b)
		}
	})
	become := func(programs ...string) {
		for i, p := range programs {
			if n := c.nodes[i]; n.program != p {
				n.kill()
				n.program = p
				n.start()
			}
		}
	}
	type held struct {
		of  company
		b   *browser
		at  int // the node where it signed in
		tok tokenAnswer
	}
	var all []*held
	var spent []string
	for turn, programs := range [][]string{{"", before}, {before, before}, {before, ""}, {"", ""}, {"", before}} {
		become(programs...)
		t.Logf("turn %d, of the release before: %t, %t", turn, c.nodes[0].program != "", c.nodes[1].program != "")
		for _, h := range all {
			spent = append(spent, h.tok.Refresh)
			h.tok = c.refresh(h.tok.Refresh).good(t, "refresh")
			h.at = 1 - h.at
			h.b.keepTo(h.at)
			if code, fault := h.b.silently(c.world, in(h.of.org)); code == "" {
				t.Errorf("turn %d: a session is gone: %s", turn, fault)
			}
			for i := range c.nodes {
				status, _, body := c.ask(pinned(i), "/introspect", url.Values{"token": {h.tok.Access}})
				if status != http.StatusOK || !bytes.Contains(body, []byte(`"active":true`)) {
					t.Errorf("turn %d, node %d: an access token: %d %s", turn, i, status, body)
				}
			}
		}
		for i, of := range []company{get, post, get} {
			h := &held{of: of, b: newBrowser(t), at: (turn + i) % 2}
			h.b.keepTo(h.at)
			r := c.request(away(of.org))
			status, _, body := c.ask(pinned(h.at), "/token", exchange(h.b.authorize(c.world, r).code(t), r.verifier))
			if status != http.StatusOK || json.Unmarshal(body, &h.tok) != nil || h.tok.Refresh == "" {
				t.Fatalf("turn %d, node %d: %d %s", turn, h.at, status, body)
			}
			all = append(all, h)
		}
	}
	if len(spent) != 3*(1+2+3+4) {
		t.Errorf("%d rotations", len(spent))
	}
	if tok := c.refresh(spent[0]); tok.Error != "invalid_grant" {
		t.Errorf("a refresh token that was spent at a node of another release: %d %s", tok.Status, tok.raw)
	}
	if status, said := program(t, c.dir, c.environment(), "audit", "verify"); status != 0 {
		t.Errorf("the record: %d %s", status, said)
	}
}

// keepTo sends all requests of a browser to one node.
func (b *browser) keepTo(node int) {
	b.client = &http.Client{Transport: pinned(node), CheckRedirect: b.client.CheckRedirect}
}
