package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/store/storetest"
)

// Two nodes on one database: each job and each order goes to one of them, once.
func TestOfTwoNodesOneGetsAJob(t *testing.T) {
	clock := storetest.NewClock()
	o := onPostgres(t, clock)
	nodes := []*Store{openTest(t, o), openTest(t, o)}
	const n = 120
	for i := range n {
		now := clock.Now()
		must(t, nodes[i%2].Enqueue(t.Context(), delivery.Job{
			ID: string(directory.NewJobID(now)), Kind: "k", Host: "h" + string(rune('a'+i%20)), Payload: []byte("x"), CreatedAt: now, NotAfter: now.Add(time.Hour),
		}))
		must(t, nodes[i%2].Revoke(t.Context(), "", directory.Revocation{Kind: directory.RevokeApp, Ref: "app_1", At: now, Until: now}))
	}
	var mu sync.Mutex
	jobs, orders := map[string]int{}, map[int64]int{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for idle := 0; idle < 5; {
				got, err := nodes[i%2].LeaseJobs(t.Context(), delivery.Want{Kind: "k", Most: 7, PerHost: 3, Until: clock.Now().Add(time.Minute)})
				if err != nil {
					t.Error(err)
				}
				claimed, err := nodes[i%2].ClaimRevocations(t.Context(), clock.Now().Add(time.Minute), 5)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, j := range got {
					jobs[j.ID]++
				}
				for _, v := range claimed {
					orders[v.Seq]++
				}
				mu.Unlock()
				if idle++; len(got)+len(claimed) > 0 {
					idle = 0
				}
			}
		})
	}
	all.Wait()
	if len(jobs) != n || len(orders) != n {
		t.Errorf("%d jobs and %d orders of %d were given away", len(jobs), len(orders), n)
	}
	for id, times := range jobs {
		if times != 1 {
			t.Errorf("%s went to %d", id, times)
		}
	}
	for seq, times := range orders {
		if times != 1 {
			t.Errorf("order %d went to %d", seq, times)
		}
	}
}

// A payload opens where it lies and nowhere else (S24), and is gone when the job is over.
func TestAPayloadIsSealedToItsJobAndErased(t *testing.T) {
	eachEngine(t, func(t *testing.T, o Options, clock *storetest.Clock) {
		s := openTest(t, o)
		now := clock.Now()
		job := func(payload string) delivery.Job {
			return delivery.Job{ID: string(directory.NewJobID(now)), Kind: "k", Host: payload, Payload: []byte(payload), CreatedAt: now, NotAfter: now.Add(time.Hour)}
		}
		mine, theirs := job("mine"), job("theirs")
		must(t, s.Enqueue(t.Context(), mine))
		must(t, s.Enqueue(t.Context(), theirs))
		count := func(q string, args ...any) int {
			n, err := s.rows(t.Context(), q, nil, args...)
			must(t, err)
			return n
		}
		if count("SELECT id FROM jobs WHERE payload = $1", []byte("mine")) != 0 {
			t.Error("a payload lies in the open")
		}
		must(t, s.InTx(t.Context(), func(ctx context.Context) error {
			tx, err := s.txOf(ctx)
			if err != nil {
				return err
			}
			_, err = tx.exec("UPDATE jobs SET payload = (SELECT payload FROM jobs WHERE id = $1) WHERE id = $2", theirs.ID, mine.ID)
			return err
		}))
		list, err := s.LeaseJobs(t.Context(), delivery.Want{Kind: "k", Most: 5, PerHost: 5, Until: now.Add(time.Minute)})
		must(t, err)
		for _, j := range list {
			if want := map[string]string{mine.ID: "", theirs.ID: "theirs"}[j.ID]; string(j.Payload) != want {
				t.Errorf("%s opens as %q", j.Host, j.Payload)
			}
			must(t, s.FinishJob(t.Context(), j, delivery.Delivery{Outcome: delivery.Delivered}))
		}
		if count("SELECT id FROM jobs LIMIT 1") != 0 {
			t.Error("a payload outlives its job")
		}
		// The log is kept for two weeks.
		if count("SELECT id FROM deliveries WHERE at >= 0 LIMIT 5") != 2 {
			t.Error("no line in the log")
		}
		clock.Advance(delivery.KeepLog + time.Hour)
		must(t, s.sweep(t.Context()))
		if count("SELECT id FROM deliveries WHERE at >= 0 LIMIT 5") != 0 {
			t.Error("the log was not swept")
		}
	})
}
