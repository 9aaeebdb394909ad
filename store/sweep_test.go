package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

func rowsIn(t *testing.T, s *Store, table string) (n int64) {
	t.Helper()
	_, err := s.rows(t.Context(), "SELECT count(*) FROM "+table, func(r *row) { n = r.int() })
	must(t, err)
	return n
}

// What is over its time goes, what is not stays, and nothing grows with abandoned logins.
func TestSweepRemovesWhatIsOver(t *testing.T) {
	clock := storetest.NewClock()
	s := openTest(t, options(t, clock))
	s.stop()
	s.idle.Wait()
	org := treeOf(t, s, 1)
	// Sessions that live long stand first, more than a batch of them.
	must(t, s.InTx(t.Context(), func(ctx context.Context) error {
		for i := range sweepBatch + 10 {
			id := directory.SessionID(fmt.Sprintf("ses_00%04d", i))
			v := broker.Session{ID: id, TokenHash: [32]byte{1, byte(i), byte(i >> 8)}, Ends: clock.Now().Add(90 * 24 * time.Hour)}
			if err := s.CreateSession(ctx, org.ID, v); err != nil {
				return err
			}
		}
		return nil
	}))
	leave := func(n int) {
		now := clock.Now()
		for i := range n {
			id := directory.NewSessionID(now)
			var hash [32]byte
			copy(hash[:], id[4:])
			must(t, s.CreateSession(t.Context(), org.ID, broker.Session{ID: id, TokenHash: hash, Ends: now.Add(time.Hour), Orgs: []broker.OrgMark{{Org: org.ID}}}))
			_, err := s.MarkApp(t.Context(), org.ID, id, broker.AppMark{App: "app_a", Org: org.ID})
			must(t, err)
			must(t, s.CreateToken(t.Context(), org.ID, broker.TokenGrant{ID: directory.NewGrantID(now), CodeHash: hash, ExpiresAt: now.Add(time.Hour)}))
			must(t, s.Spend(t.Context(), org.ID, "a", fmt.Sprint(now, i), now.Add(time.Hour)))
			must(t, s.PutAccess(t.Context(), org.ID, broker.OpaqueToken{Hash: hash, Expires: now.Add(time.Minute)}))
			must(t, s.CallBack(t.Context(), org.ID, fmt.Sprint(now, i), now.Add(time.Minute)))
			must(t, s.SaveTrace(t.Context(), audit.Trace{Code: fmt.Sprint(now, i), At: now}))
		}
	}
	leave(210) // more than a batch
	clock.Advance(keepEnded + audit.TraceLife + 2*time.Hour)
	leave(5)
	must(t, s.sweep(t.Context()))
	must(t, s.sweep(t.Context()))
	for table, want := range map[string]int64{"sessions": 5 + sweepBatch + 10, "session_orgs": 5, "session_apps": 5, "token_grants": 5, "spent": 5, "access_tokens": 5, "revoked_tokens": 5, "traces": 5, "changes": 0} {
		if n := rowsIn(t, s, table); n != want {
			t.Errorf("%s: %d left, want %d", table, n, want)
		}
	}
	clock.Advance(keepEnded + 2*time.Hour)
	must(t, s.sweep(t.Context())) // round again, from the beginning
	if n := rowsIn(t, s, "sessions"); n != sweepBatch+10 {
		t.Errorf("the second round left %d sessions", n)
	}
	if n, err := s.Revision(t.Context()); err != nil || n == 0 {
		t.Errorf("the revision is %d, %v", n, err) // sweeping the log forgets no count
	}
}
