package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
)

// ErrChain: the record was changed, or a part of it is gone. An alarm, never a nuisance.
var ErrChain = fault.New(fault.Internal, "store.audit_chain", "The record does not hold together: an entry was changed or removed.")

const (
	chainBatch = 500 // entries in one transaction at most
	chainRows  = 16  // entries in one statement
)

// link is one entry as it lies in the record. detail is hashed as it is stored, so JSON is never
// written anew.
type link struct {
	pending                                              int64
	org                                                  string
	seq                                                  int64
	id                                                   string
	at                                                   int64
	actorKind, actor, action, targetKind, target, detail string
	hash                                                 []byte
}

// sum is the hash of an entry and, through prev, of all before it in its chain.
func (l link) sum(prev []byte) []byte {
	h := sha256.New()
	var n [8]byte
	number := func(v int64) { binary.BigEndian.PutUint64(n[:], uint64(v)); h.Write(n[:]) }
	h.Write(prev)
	number(l.seq)
	number(l.at)
	for _, s := range []string{l.org, l.id, l.actorKind, l.actor, l.action, l.targetKind, l.target, l.detail} {
		number(int64(len(s)))
		h.Write([]byte(s))
	}
	return h.Sum(nil)
}

// chainPending moves waiting entries, in the order of their commits, to their organizations' chains; of
// many nodes one does it at a time. It reports whether more are waiting. On PostgreSQL an entry may commit
// after one with a higher number: it is found the next time, because only what was chained is removed.
func (s *Store) chainPending(ctx context.Context) (bool, error) {
	// A look that holds nobody up first: most of the time nothing waits.
	if n, err := s.rows(ctx, "SELECT seq FROM audit_pending LIMIT 1", nil); err != nil || n == 0 {
		return false, err
	}
	more := false // no result: fn may still run when this returns, and writes it then
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		if mine, err := t.try(turnChain); err != nil || !mine {
			return err
		}
		links, err := s.pendingLinks(ctx)
		if err != nil || len(links) == 0 {
			return err
		}
		more = len(links) == chainBatch
		heads := map[string]link{}
		for i := range links {
			if err := s.chainOne(ctx, heads, &links[i]); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(links, chainRows) {
			if err := t.moveToRecord(some); err != nil {
				return err
			}
		}
		for org, head := range heads {
			if err := t.send(`INSERT INTO audit_heads (org_id, seq, hash) VALUES ($1, $2, $3)
				ON CONFLICT (org_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`, org, head.seq, head.hash); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return more, nil
}

func (s *Store) pendingLinks(ctx context.Context) (links []link, err error) {
	_, err = s.rows(ctx, `SELECT seq, id, org_id, at, actor_kind, actor_id, action, target_kind, target_id, detail
		FROM audit_pending ORDER BY seq LIMIT $1`, func(r *row) {
		links = append(links, link{pending: r.int(), id: r.text(), org: r.text(), at: r.int(), actorKind: r.text(), actor: r.text(),
			action: r.text(), targetKind: r.text(), target: r.text(), detail: r.text()})
	}, chainBatch)
	return links, err
}

// chainOne gives an entry its place after the head of its chain.
func (s *Store) chainOne(ctx context.Context, heads map[string]link, l *link) error {
	head, ok := heads[l.org]
	if !ok {
		if _, err := s.rows(ctx, "SELECT seq, hash FROM audit_heads WHERE org_id = $1"+heldByMe, func(r *row) {
			head.seq, head.hash = r.int(), r.bytes()
		}, l.org); err != nil {
			return err
		}
	}
	l.seq = head.seq + 1
	l.hash = l.sum(head.hash)
	heads[l.org] = *l
	return nil
}

// moveToRecord puts entries into the record and takes them from those that wait: chainRows of them in two
// statements, fewer one by one.
func (t *tx) moveToRecord(links []link) error {
	each := len(links)
	if each < chainRows {
		each = 1
	}
	for some := range slices.Chunk(links, each) {
		var rows, pending []any
		for _, l := range some {
			rows = append(rows, l.org, l.seq, l.id, l.at, l.actorKind, l.actor, l.action, l.targetKind, l.target, l.detail, l.hash)
			pending = append(pending, l.pending)
		}
		if err := t.send(insertRecord[each], rows...); err != nil {
			return err
		}
		if err := t.send(deletePending[each], pending...); err != nil {
			return err
		}
	}
	return nil
}

// The statements for one entry and for chainRows of them.
var (
	insertRecord  = forEach(`INSERT INTO audit (org_id, seq, id, at, actor_kind, actor_id, action, target_kind, target_id, detail, hash) VALUES `, 11, "")
	deletePending = forEach("DELETE FROM audit_pending WHERE seq IN (", 1, ")")
)

// forEach writes a statement that holds a list of rows with so many columns, for one row and for chainRows.
func forEach(begin string, columns int, end string) map[int]string {
	out := map[int]string{}
	for _, n := range []int{1, chainRows} {
		rows := make([]string, n)
		for i := range rows {
			cells := make([]string, columns)
			for c := range cells {
				cells[c] = "$" + strconv.Itoa(i*columns+c+1)
			}
			rows[i] = "(" + strings.Join(cells, ", ") + ")"
		}
		out[n] = begin + strings.Join(rows, ", ") + end
	}
	return out
}

// VerifyAudit reads an organization's chain ("" is the platform's) from its beginning and returns how
// many entries it holds; ErrChain when one was changed, removed or cut off.
func (s *Store) VerifyAudit(ctx context.Context, org string) (n int64, err error) {
	var head link
	if _, err := s.rows(ctx, "SELECT seq, hash FROM audit_heads WHERE org_id = $1", func(r *row) { head.seq, head.hash = r.int(), r.bytes() }, org); err != nil {
		return 0, err
	}
	var prev []byte
	for n < head.seq {
		got, err := s.verifyBatch(ctx, org, n, head.seq, prev)
		if err != nil {
			return n, err
		}
		n, prev = got.seq, got.hash
	}
	if string(prev) != string(head.hash) {
		return n, ErrChain.With(fmt.Errorf("chain %q does not end in its head", org))
	}
	return n, nil
}

// verifyBatch checks the entries after seq from, up to to, and gives the last.
func (s *Store) verifyBatch(ctx context.Context, org string, from, to int64, prev []byte) (last link, err error) {
	return s.verifyEach(ctx, org, from, to, prev, func(link) {})
}

// verifyEach is verifyBatch that gives each entry that holds.
func (s *Store) verifyEach(ctx context.Context, org string, from, to int64, prev []byte, each func(link)) (last link, err error) {
	last = link{seq: from, hash: prev}
	broken := false
	_, err = s.rows(ctx, `SELECT seq, id, at, actor_kind, actor_id, action, target_kind, target_id, detail, hash FROM audit
		WHERE org_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4`, func(r *row) {
		l := link{org: org, seq: r.int(), id: r.text(), at: r.int(), actorKind: r.text(), actor: r.text(), action: r.text(),
			targetKind: r.text(), target: r.text(), detail: r.text(), hash: r.bytes()}
		broken = broken || l.seq != last.seq+1 || string(l.sum(last.hash)) != string(l.hash)
		if last = l; !broken {
			each(l)
		}
	}, org, from, to, chainBatch)
	if err == nil && (broken || last.seq == from) {
		err = ErrChain.With(fmt.Errorf("chain %q breaks after entry %d", org, from))
	}
	return last, err
}
