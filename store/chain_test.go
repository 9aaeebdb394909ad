package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// chained is a store with two organizations' records, sealed into their chains.
func chained(t *testing.T) *Store {
	t.Helper()
	s := openTest(t, options(t, storetest.NewClock()))
	must(t, s.InTx(t.Context(), func(ctx context.Context) error { return recordMany(ctx, s, 1200) })) // more than two batches
	must(t, s.chainAll(t.Context()))
	return s
}

func recordMany(ctx context.Context, s *Store, count int) error {
	for i := range count {
		err := s.Record(ctx, audit.Entry{ID: fmt.Sprint("ent_", i), At: s.now(), Org: []string{"org_a", "org_b"}[i%2], Action: "x.y",
			Actor: audit.Ref{Kind: "person", ID: "per_a"}, Target: audit.Ref{Kind: "app", ID: "app_a"}, Detail: map[string]string{"b": "2", "a": "1"}})
		if err != nil {
			return err
		}
	}
	return nil
}

// S43: entries are chained in the order of their commits, each organization's by itself.
func TestS43EachOrganizationsRecordIsOneChain(t *testing.T) {
	s := chained(t)
	for _, org := range []string{"org_a", "org_b"} {
		if n, err := s.VerifyAudit(t.Context(), org); err != nil || n != 600 {
			t.Errorf("%s: %d, %v", org, n, err)
		}
	}
	if n, err := s.rows(t.Context(), "SELECT seq FROM audit_pending", nil); err != nil || n != 0 {
		t.Errorf("%d wait, %v", n, err)
	}
	must(t, s.Record(t.Context(), audit.Entry{ID: "ent_late", Org: "org_a"}))
	must(t, s.chainAll(t.Context()))
	if n, err := s.VerifyAudit(t.Context(), "org_a"); err != nil || n != 601 {
		t.Errorf("%d, %v", n, err)
	}
}

// S43: whoever changes, removes, moves or cuts off an entry is found out.
func TestS43AMeddledRecordIsFoundOut(t *testing.T) {
	for name, q := range map[string]string{
		"an actor changed":    "UPDATE audit SET actor_id = 'per_b' WHERE org_id = 'org_a' AND seq = 3",
		"a detail changed":    `UPDATE audit SET detail = '{"a":"1"}' WHERE org_id = 'org_a' AND seq = 599`,
		"a time changed":      "UPDATE audit SET at = at + 1 WHERE org_id = 'org_a' AND seq = 1",
		"an entry removed":    "DELETE FROM audit WHERE org_id = 'org_a' AND seq = 300",
		"the last removed":    "DELETE FROM audit WHERE org_id = 'org_a' AND seq = 600",
		"the first removed":   "DELETE FROM audit WHERE org_id = 'org_a' AND seq = 1",
		"all removed":         "DELETE FROM audit WHERE org_id = 'org_a'",
		"the end cut off":     "UPDATE audit_heads SET seq = 599 WHERE org_id = 'org_a'",
		"fields run together": "UPDATE audit SET actor_kind = 'perso', actor_id = 'nper_a' WHERE org_id = 'org_a' AND seq = 7",
	} {
		s := chained(t)
		must(t, s.write(t.Context(), func(_ context.Context, tx *tx) error { _, err := tx.exec(q); return err }))
		if _, err := s.VerifyAudit(t.Context(), "org_a"); !errors.Is(err, ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.VerifyAudit(t.Context(), "org_b"); err != nil {
			t.Errorf("%s: the other chain: %v", name, err)
		}
	}
}

// S43: the change and its entry are one: neither without the other.
func TestS43AnEntryIsUndoneWithItsChange(t *testing.T) {
	s := openTest(t, options(t, storetest.NewClock()))
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		must(t, record(ctx, s, "ent_x"))
		return errDisk
	})
	if !errors.Is(err, errDisk) || pending(t, s, "ent_x") != 0 {
		t.Errorf("%v, %d", err, pending(t, s, "ent_x"))
	}
}
