package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// pen signs as the service does.
type pen struct{ private ed25519.PrivateKey }

func newPen(t *testing.T) pen {
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	return pen{private}
}

func (p pen) SignText(text []byte) (string, []byte, error) {
	return "k1", ed25519.Sign(p.private, text), nil
}

func (p pen) believes(_ string, text, signature []byte) bool {
	return ed25519.Verify(p.private.Public().(ed25519.PublicKey), text, signature)
}

func (p pen) judge(a audit.Anchor) Belief {
	if p.believes(a.KID, a.Text(), a.Signature) {
		return Believed
	}
	return Forged
}

// anchored is a store with a record of org_a and org_b that was anchored each time some entries came.
func anchored(t *testing.T, o Options, clock *storetest.Clock) (*Store, pen, *audit.Anchorer) {
	t.Helper()
	s := openTest(t, o)
	p := newPen(t)
	a := &audit.Anchorer{Store: s, Keys: p, Now: clock.Now, Log: slog.New(slog.DiscardHandler), File: filepath.Join(t.TempDir(), "anchors")}
	for range 4 {
		must(t, s.InTx(t.Context(), func(ctx context.Context) error { return recordMany(ctx, s, 40) })) // ids repeat; nobody minds
		must(t, s.chainAll(t.Context()))
		must(t, a.Once(t.Context()))
		clock.Advance(24 * time.Hour)
	}
	must(t, s.InTx(t.Context(), func(ctx context.Context) error { return recordMany(ctx, s, 10) }))
	must(t, s.chainAll(t.Context()))
	return s, p, a
}

func sentOut(t *testing.T, a *audit.Anchorer, org string) []audit.Anchor {
	t.Helper()
	f, err := os.Open(a.File)
	must(t, err)
	defer f.Close()
	all, err := audit.ReadAnchors(f)
	must(t, err)
	return all[org]
}

// rewrite makes a chain anew from an entry on, as whoever has the database can.
func rewrite(t *testing.T, s *Store, org string, from int64) {
	t.Helper()
	var prev []byte
	_, err := s.rows(t.Context(), "SELECT hash FROM audit WHERE org_id = $1 AND seq = $2", func(r *row) { prev = r.bytes() }, org, from-1)
	must(t, err)
	var links []link
	_, err = s.rows(t.Context(), `SELECT seq, id, at, actor_kind, actor_id, action, target_kind, target_id, detail FROM audit WHERE org_id = $1 AND seq >= $2 ORDER BY seq`, func(r *row) {
		links = append(links, link{org: org, seq: r.int(), id: r.text(), at: r.int(), actorKind: r.text(), actor: r.text(), action: r.text(), targetKind: r.text(), target: r.text(), detail: r.text()})
	}, org, from)
	must(t, err)
	for i, l := range links {
		if i == 0 {
			l.actor = "per_somebody_else"
		}
		prev = l.sum(prev)
		meddle(t, s, "UPDATE audit SET actor_id = $1, hash = $2 WHERE org_id = $3 AND seq = $4", l.actor, prev, org, l.seq)
	}
	meddle(t, s, "UPDATE audit_heads SET hash = $1 WHERE org_id = $2", prev, org)
}

// S43: with anchors even a record that was made anew as a whole is found out, by whoever has no key to sign
// with; what was sent out is enough when the database holds no anchors any more.
func TestS43AnAnchoredRecordCannotBeMadeAnew(t *testing.T) { eachEngine(t, storyAnchoredRecord) }

func storyAnchoredRecord(t *testing.T, o Options, clock *storetest.Clock) {
	s, p, a := anchored(t, o, clock)
	out := sentOut(t, a, "org_a")
	r, err := s.VerifyChain(t.Context(), "org_a", p.judge, out)
	if err != nil || r.First != 1 || r.Last != 85 || r.AnchoredTo != 80 || r.Anchors != 8 || len(out) != 4 {
		t.Fatalf("%+v, %v; %d were sent out", r, err, len(out))
	}
	if n, err := s.Unanchored(t.Context(), "", 10); err != nil || len(n) != 2 {
		t.Errorf("%v, %v", n, err)
	}
	forged := newPen(t)
	for _, c := range []struct {
		name    string
		do      func()
		outside bool // found by what was sent out alone
	}{
		{"made anew", func() { rewrite(t, s, "org_a", 30) }, false},
		{"its end cut off", func() {
			meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq > 70")
			meddle(t, s, "UPDATE audit_heads SET seq = 70, hash = (SELECT hash FROM audit WHERE org_id = 'org_a' AND seq = 70) WHERE org_id = 'org_a'")
		}, false},
		{"its end and its anchor cut off", func() {
			meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq > 70")
			meddle(t, s, "DELETE FROM audit_anchors WHERE org_id = 'org_a' AND seq > 70")
			meddle(t, s, "UPDATE audit_heads SET seq = 70, hash = (SELECT hash FROM audit WHERE org_id = 'org_a' AND seq = 70) WHERE org_id = 'org_a'")
		}, true},
		{"made anew, without anchors", func() {
			rewrite(t, s, "org_a", 30)
			meddle(t, s, "DELETE FROM audit_anchors WHERE org_id = 'org_a' AND seq >= 30")
		}, true},
		{"made anew, with anchors of another key", func() {
			rewrite(t, s, "org_a", 30)
			list, err := s.anchorsOf(t.Context(), "org_a")
			must(t, err)
			for _, a := range list {
				_, err := s.rows(t.Context(), "SELECT hash FROM audit WHERE org_id = 'org_a' AND seq = $1", func(r *row) { a.Hash = r.bytes() }, a.Seq)
				must(t, err)
				_, a.Signature, _ = forged.SignText(a.Text())
				meddle(t, s, "UPDATE audit_anchors SET hash = $1, signature = $2 WHERE org_id = 'org_a' AND seq = $3", a.Hash, a.Signature, a.Seq)
			}
		}, false},
		{"an anchor of another chain", func() {
			meddle(t, s, "DELETE FROM audit_anchors WHERE org_id = 'org_a'")
			meddle(t, s, "UPDATE audit_anchors SET org_id = 'org_a' WHERE org_id = 'org_b'")
		}, false},
		{"its beginning removed", func() { meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq <= 7") }, false},
		{"its beginning removed behind an anchor", func() { meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq <= 40") }, false},
		{"all removed", func() { meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a'") }, false},
		{"head and all removed", func() {
			meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a'")
			meddle(t, s, "DELETE FROM audit_heads WHERE org_id = 'org_a'")
		}, false},
		{"one removed", func() { meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq = 50") }, false},
	} {
		s, p, a = anchored(t, fresh(t, o, clock), clock)
		out = sentOut(t, a, "org_a")
		c.do()
		if _, err := s.VerifyChain(t.Context(), "org_a", p.judge, nil); errors.Is(err, ErrChain) == c.outside {
			t.Errorf("%s: by the database alone: %v", c.name, err)
		}
		if _, err := s.VerifyChain(t.Context(), "org_a", p.judge, out); !errors.Is(err, ErrChain) {
			t.Errorf("%s: with what was sent out: %v", c.name, err)
		}
	}
}

func fresh(t *testing.T, o Options, clock *storetest.Clock) Options {
	if o.DSN != "" {
		return onPostgres(t, clock)
	}
	return options(t, clock)
}

// S43: retention removes the old part of a record behind an anchor, never of the last 90 days, and what is
// left can be verified; nobody else can do the same unseen.
func TestS43ARecordIsCutOnlyBehindAnAnchorAndCanBeVerifiedAfterwards(t *testing.T) {
	eachEngine(t, storyCutRecord)
}

func storyCutRecord(t *testing.T, o Options, clock *storetest.Clock) {
	clock.Advance(time.Since(clock.Now()) - 104*24*time.Hour) // the database may have a clock of its own
	s, p, _ := anchored(t, o, clock)
	begun := clock.Now().Add(-4 * 24 * time.Hour)
	entry := func(through int64) audit.Entry {
		return audit.Entry{ID: fmt.Sprint("ent_cut_", through), At: clock.Now(), Org: "org_a", Action: audit.RecordPruned, Detail: map[string]string{"through": fmt.Sprint(through)}}
	}
	prune := func(before time.Time) (int64, error) {
		return s.PruneChain(t.Context(), "org_a", before, p.judge, entry)
	}
	clock.Advance(100 * 24 * time.Hour)
	if _, err := prune(clock.Now().Add(-89 * 24 * time.Hour)); !errors.Is(err, ErrPruneFloor) {
		t.Errorf("the last days were removed: %v", err)
	}
	if _, err := prune(begun.Add(-time.Hour)); !errors.Is(err, ErrPruneAnchor) {
		t.Errorf("nothing that old: %v", err)
	}
	n, err := prune(begun.Add(25 * time.Hour)) // the first two of the four parts
	if err != nil || n != 40 {
		t.Fatalf("%d, %v", n, err)
	}
	for range 2 { // while the entry of the cut waits, and chained
		r, err := s.VerifyChain(t.Context(), "org_a", p.judge, nil)
		if err != nil || r.First != 41 || r.Last < 85 || r.AnchoredTo != 80 {
			t.Errorf("%+v, %v", r, err)
		}
		must(t, s.chainAll(t.Context()))
	}
	if r, err := s.VerifyChain(t.Context(), "org_b", p.judge, nil); err != nil || r.First != 1 {
		t.Errorf("the other chain: %+v, %v", r, err)
	}
	meddle(t, s, "DELETE FROM audit WHERE org_id = 'org_a' AND seq <= 60") // further than was recorded, behind an anchor
	if _, err := s.VerifyChain(t.Context(), "org_a", p.judge, nil); !errors.Is(err, ErrChain) {
		t.Errorf("a deeper cut is not found: %v", err)
	}
}

// S43: one node anchors, once an hour.
func TestS43OneNodeAnchorsAnHour(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, _ *storetest.Clock) {
		o.Now = time.Now // which the database's clock follows
		s := openTest(t, o)
		o.Beside = true
		other := openTest(t, o)
		turns := 0
		for _, n := range []*Store{s, other, s} {
			mine, err := n.ClaimAnchoring(t.Context(), time.Hour)
			must(t, err)
			if mine {
				turns++
			}
		}
		if turns != 1 {
			t.Errorf("%d turns", turns)
		}
	})
}

// S43: an export shows by itself that it is whole, ours and unchanged.
func TestS43AnExportIsVerifiedWithoutTheDatabase(t *testing.T) {
	s, p, _ := anchored(t, options(t, storetest.NewClock()), storetest.NewClock())
	export := func(since time.Time) []byte {
		var b bytes.Buffer
		e := audit.NewExport(&b)
		for _, org := range []string{"org_a", "org_b"} {
			must(t, s.ExportChain(t.Context(), org, since, e))
		}
		_, err := e.End(p, s.now())
		must(t, err)
		return b.Bytes()
	}
	whole := export(time.Time{})
	check := func(text []byte, p pen) error {
		_, _, err := VerifyExport(bytes.NewReader(text), p.believes)
		return err
	}
	if _, n, err := VerifyExport(bytes.NewReader(whole), p.believes); err != nil || n != 170 {
		t.Fatalf("%d, %v", n, err)
	}
	part := export(s.now().Add(-30 * time.Hour))
	if err := check(part, p); err != nil {
		t.Errorf("a part: %v", err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, text := range map[string][]byte{
		"changed":        bytes.Replace(whole, []byte("per_a"), []byte("per_b"), 1),
		"a line removed": bytes.Join(append(append([][]byte{}, lines[:20]...), lines[21:]...), nil),
		"cut off":        bytes.Join(lines[:100], nil),
		"nothing":        nil,
		"two together":   append(append([]byte{}, whole...), part...),
	} {
		if err := check(text, p); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
	if err := check(whole, newPen(t)); !errors.Is(err, audit.ErrExport) {
		t.Errorf("signed by somebody else: %v", err)
	}
}
