package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var _ audit.Anchors = (*Store)(nil)

var (
	ErrExport      = fault.New(fault.Invalid, "store.audit_export", "That is not an export of the record, or it is incomplete, was changed, or was signed by somebody else.")
	ErrPruneFloor  = fault.New(fault.Invalid, "store.prune_floor", "The record of the last 90 days is never removed. Name an earlier time.")
	ErrPruneAnchor = fault.New(fault.Conflict, "store.prune_anchor", "There is nothing to remove before that time that an anchor stands for. The service anchors the record every hour while it runs.")
)

// pruneFloor is how much of the record always stays (S43).
const pruneFloor = 90 * 24 * time.Hour

// ClaimAnchoring moves the time of the last anchoring, which one node manages.
func (s *Store) ClaimAnchoring(ctx context.Context, every time.Duration) (mine bool, err error) {
	now, err := s.Clock(ctx)
	if err != nil {
		return false, err
	}
	// A look that holds nobody up first.
	n, err := s.rows(ctx, "SELECT n FROM counters WHERE name = 'anchored_at' AND n > $1", nil, now.Add(-every))
	if err != nil || n > 0 {
		return false, err
	}
	took := int64(0)
	err = s.write(ctx, func(_ context.Context, t *tx) (err error) {
		took, err = t.exec("UPDATE counters SET n = $1 WHERE name = 'anchored_at' AND n <= $2", micros(now), now.Add(-every))
		return err
	})
	if err != nil {
		return false, err
	}
	return took > 0, nil
}

// Unanchored lists where the chains stand that went on since their last anchor.
func (s *Store) Unanchored(ctx context.Context, after string, most int) (list []audit.Anchor, err error) {
	_, err = s.rows(ctx, `SELECT h.org_id, h.seq, h.hash FROM audit_heads h WHERE h.org_id >= $1
		AND NOT EXISTS (SELECT 1 FROM audit_anchors a WHERE a.org_id = h.org_id AND a.seq = h.seq) ORDER BY h.org_id LIMIT $2`, func(r *row) {
		list = append(list, audit.Anchor{Org: r.text(), Seq: r.int(), Hash: r.bytes()})
	}, after, most)
	return list, err
}

// SaveAnchors keeps anchors; one that is there already stays.
func (s *Store) SaveAnchors(ctx context.Context, list []audit.Anchor) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		for _, a := range list {
			if _, err := t.exec(`INSERT INTO audit_anchors (org_id, seq, hash, at, kid, signature) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (org_id, seq) DO NOTHING`, a.Org, a.Seq, a.Hash, a.At, a.KID, a.Signature); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) anchorsOf(ctx context.Context, org string) (list []audit.Anchor, err error) {
	_, err = s.rows(ctx, "SELECT org_id, seq, hash, at, kid, signature FROM audit_anchors WHERE org_id = $1 ORDER BY seq", func(r *row) {
		list = append(list, audit.Anchor{Org: r.text(), Seq: r.int(), Hash: r.bytes(), At: r.time(), KID: r.text(), Signature: r.bytes()})
	}, org)
	return list, err
}

// Belief is what somebody who has the public keys makes of a signature.
type Belief int

const (
	Forged  Belief = iota // no key of ours signed that
	Revoked               // a key did that was revoked since: it says nothing
	Believed
)

// ChainReport says what was found when a chain was verified.
type ChainReport struct {
	First, Last int64 // the entries that are there; First is more than 1 when the chain was cut behind an anchor
	Waiting     int   // entries that were not chained yet
	Anchors     int   // that fit
	AnchoredTo  int64 // the last entry that an anchor covers
	AnchoredAt  time.Time
}

// AuditChains lists whose chains there are, after one in order.
func (s *Store) AuditChains(ctx context.Context, after string, first bool, most int) (orgs []string, err error) {
	q := "SELECT org_id FROM audit_heads WHERE org_id > $1 ORDER BY org_id LIMIT $2"
	if first {
		q = "SELECT org_id FROM audit_heads WHERE org_id >= $1 ORDER BY org_id LIMIT $2"
	}
	_, err = s.rows(ctx, q, func(r *row) { orgs = append(orgs, r.text()) }, after, most)
	return orgs, err
}

// VerifyChain reads a chain from its beginning, or from where it was cut, and compares it with every
// anchor, those kept here and those sent out before. ErrChain says that an entry was changed or removed,
// that the end was cut off, or that the whole was written anew.
func (s *Store) VerifyChain(ctx context.Context, org string, judge func(audit.Anchor) Belief, outside []audit.Anchor) (ChainReport, error) {
	var r ChainReport
	kept, err := s.anchorsOf(ctx, org) // before the head, which only goes on
	if err != nil {
		return r, err
	}
	var head link
	if _, err := s.rows(ctx, "SELECT seq, hash FROM audit_heads WHERE org_id = $1", func(r *row) { head.seq, head.hash = r.int(), r.bytes() }, org); err != nil {
		return r, err
	}
	at := map[int64][]audit.Anchor{}
	for _, a := range append(kept, outside...) {
		switch {
		case judge(a) == Revoked:
			continue
		case judge(a) != Believed || a.Org != org:
			return r, ErrChain.With(fmt.Errorf("chain %q: the anchor at %d was not signed by us", org, a.Seq))
		case a.Seq > head.seq:
			return r, ErrChain.With(fmt.Errorf("chain %q ends at %d, but stood at %d on %s", org, head.seq, a.Seq, a.At.UTC()))
		}
		at[a.Seq] = append(at[a.Seq], a)
	}
	if r.Waiting, err = s.rows(ctx, "SELECT seq FROM audit_pending WHERE org_id = $1", nil, org); err != nil {
		return r, err
	}
	return r, s.verifyFrom(ctx, org, head, at, &r)
}

func (s *Store) verifyFrom(ctx context.Context, org string, head link, at map[int64][]audit.Anchor, r *ChainReport) error {
	first := head.seq + 1
	if _, err := s.rows(ctx, "SELECT seq FROM audit WHERE org_id = $1 ORDER BY seq LIMIT 1", func(r *row) { first = r.int() }, org); err != nil {
		return err
	}
	r.First, r.Last = first, head.seq
	var prev []byte
	cut := first - 1
	if cut > 0 {
		if len(at[cut]) == 0 {
			return ErrChain.With(fmt.Errorf("chain %q begins at %d, and no anchor stands for what was before", org, first))
		}
		prev = at[cut][0].Hash
	}
	fits := func(seq int64, hash []byte) error {
		for _, a := range at[seq] {
			if !bytes.Equal(a.Hash, hash) {
				return ErrChain.With(fmt.Errorf("chain %q was written anew: entry %d is not the one that was anchored on %s", org, seq, a.At.UTC()))
			}
			if r.Anchors++; seq >= r.AnchoredTo {
				r.AnchoredTo, r.AnchoredAt = seq, a.At
			}
		}
		return nil
	}
	if err := fits(cut, prev); err != nil {
		return err
	}
	recorded := cut == 0
	for n := cut; n < head.seq; {
		var wrong error
		got, err := s.verifyEach(ctx, org, n, head.seq, prev, func(l link) {
			if err := fits(l.seq, l.hash); err != nil && wrong == nil {
				wrong = err
			}
			recorded = recorded || prunedThrough(l) >= cut
		})
		if err != nil || wrong != nil {
			return errors.Join(wrong, err)
		}
		n, prev = got.seq, got.hash
	}
	if !bytes.Equal(prev, head.hash) {
		return ErrChain.With(fmt.Errorf("chain %q does not end in its head", org))
	}
	if !recorded { // it may wait to be chained
		if _, err := s.rows(ctx, "SELECT action, detail FROM audit_pending WHERE org_id = $1", func(r *row) {
			recorded = recorded || prunedThrough(link{action: r.text(), detail: r.text()}) >= cut
		}, org); err != nil {
			return err
		}
	}
	if !recorded {
		return ErrChain.With(fmt.Errorf("chain %q begins at %d, and nothing in it says that the entries before were removed", org, first))
	}
	return nil
}

// prunedThrough is up to which entry a chain was cut by what an entry records; 0 is none.
func prunedThrough(l link) int64 {
	if l.action != string(audit.RecordPruned) {
		return 0
	}
	var detail map[string]string
	if json.Unmarshal([]byte(l.detail), &detail) != nil {
		return 0
	}
	n, _ := strconv.ParseInt(detail["through"], 10, 64)
	return n
}

// PruneChain removes the entries of a chain that are older than a time, up to an anchor, after it was
// verified. It records that first. It returns how many entries went.
func (s *Store) PruneChain(ctx context.Context, org string, before time.Time, judge func(audit.Anchor) Belief, entry func(through int64) audit.Entry) (int64, error) {
	now, err := s.Clock(ctx)
	if err != nil {
		return 0, err
	}
	if before.After(now.Add(-pruneFloor)) {
		return 0, ErrPruneFloor.Because(before.UTC().String())
	}
	report, err := s.VerifyChain(ctx, org, judge, nil)
	if err != nil {
		return 0, err
	}
	steps, err := s.cuts(ctx, org, before, judge)
	if err != nil {
		return 0, err
	}
	if len(steps) == 0 {
		return 0, ErrPruneAnchor.Because(org)
	}
	through := steps[len(steps)-1]
	if err := s.Record(ctx, entry(through)); err != nil {
		return 0, err
	}
	for _, to := range steps {
		if err := s.write(ctx, func(_ context.Context, t *tx) error {
			_, err := t.exec("DELETE FROM audit WHERE org_id = $1 AND seq <= $2", org, to)
			return err
		}); err != nil {
			return 0, err
		}
	}
	return through - report.First + 1, nil
}

// cuts are the anchors behind which everything is older than a time; each may be the last before a crash.
func (s *Store) cuts(ctx context.Context, org string, before time.Time, judge func(audit.Anchor) Belief) (steps []int64, err error) {
	_, err = s.rows(ctx, `SELECT a.seq, a.hash, a.at, a.kid, a.signature FROM audit_anchors a JOIN audit e ON e.org_id = a.org_id AND e.seq = a.seq
		WHERE a.org_id = $1 AND e.at < $2 ORDER BY a.seq`, func(r *row) {
		a := audit.Anchor{Org: org, Seq: r.int(), Hash: r.bytes(), At: r.time(), KID: r.text(), Signature: r.bytes()}
		if judge(a) == Believed {
			steps = append(steps, a.Seq)
		}
	}, org, before)
	return steps, err
}

// exported is an entry as an export has it: whole, so that its hash can be computed again.
type exported struct {
	Org        string `json:"org"`
	Seq        int64  `json:"seq"`
	ID         string `json:"id"`
	At         int64  `json:"at_micros"`
	Time       string `json:"time"` // At for people
	ActorKind  string `json:"actor_kind"`
	Actor      string `json:"actor"`
	Action     string `json:"action"`
	TargetKind string `json:"target_kind"`
	Target     string `json:"target"`
	Detail     string `json:"detail"` // JSON, as it was hashed
	Prev       []byte `json:"prev,omitempty"`
	Hash       []byte `json:"hash"`
}

func (e exported) link() link {
	return link{org: e.Org, seq: e.Seq, id: e.ID, at: e.At, actorKind: e.ActorKind, actor: e.Actor, action: e.Action, targetKind: e.TargetKind, target: e.Target, detail: e.Detail, hash: e.Hash}
}

// ExportChain writes the entries of a chain from a time on, verified as it reads.
func (s *Store) ExportChain(ctx context.Context, org string, since time.Time, to *audit.Export) error {
	var head, start link
	if _, err := s.rows(ctx, "SELECT seq FROM audit_heads WHERE org_id = $1", func(r *row) { head.seq = r.int() }, org); err != nil {
		return err
	}
	start.seq = head.seq + 1
	if _, err := s.rows(ctx, "SELECT seq FROM audit WHERE org_id = $1 AND at >= $2 ORDER BY seq LIMIT 1", func(r *row) { start.seq = r.int() }, org, since); err != nil {
		return err
	}
	start.seq--
	for _, q := range []string{"SELECT hash FROM audit_anchors WHERE org_id = $1 AND seq = $2", "SELECT hash FROM audit WHERE org_id = $1 AND seq = $2"} {
		if _, err := s.rows(ctx, q, func(r *row) { start.hash = r.bytes() }, org, start.seq); err != nil {
			return err
		}
	}
	prev := start.hash
	for n := start.seq; n < head.seq; {
		var failed error
		got, err := s.verifyEach(ctx, org, n, head.seq, prev, func(l link) {
			e := exported{l.org, l.seq, l.id, l.at, fromMicros(l.at).UTC().Format(time.RFC3339Nano), l.actorKind, l.actor, l.action, l.targetKind, l.target, l.detail, nil, l.hash}
			if l.seq == start.seq+1 {
				e.Prev = start.hash
			}
			if failed == nil {
				failed = to.Line(e)
			}
		})
		if err != nil || failed != nil {
			return errors.Join(failed, err)
		}
		n, prev = got.seq, got.hash
	}
	return nil
}

// VerifyExport checks an export without any database: its signature, and that each entry follows the one
// before it.
func VerifyExport(from io.Reader, believed func(kid string, text, signature []byte) bool) (signedAt time.Time, lines int64, err error) {
	last := map[string]link{}
	signedAt, lines, err = audit.ReadExport(from, believed, func(line []byte) error {
		var e exported
		if err := json.Unmarshal(line, &e); err != nil {
			return ErrExport.With(err)
		}
		before, known := last[e.Org]
		if !known {
			before = link{seq: e.Seq - 1, hash: e.Prev}
		}
		if e.Seq != before.seq+1 || !bytes.Equal(e.link().sum(before.hash), e.Hash) {
			return ErrChain.With(fmt.Errorf("chain %q breaks at entry %d", e.Org, e.Seq))
		}
		last[e.Org] = e.link()
		return nil
	})
	if errors.Is(err, audit.ErrExport) {
		err = ErrExport.With(err)
	}
	return signedAt, lines, err
}
