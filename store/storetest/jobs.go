package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
)

const testKind = delivery.Kind("logout_token")

// job is something to be delivered of an organization.
func (w *World) job(org directory.OrgID, host string) delivery.Job {
	now := w.clock.Now()
	return delivery.Job{ID: string(directory.NewJobID(now)), Kind: testKind, Org: string(org), Target: "app_1", Host: host, Payload: []byte("of " + host),
		CreatedAt: now, NotAfter: now.Add(time.Hour)}
}

func (w *World) want() delivery.Want {
	return delivery.Want{Kind: testKind, Most: 10, PerHost: 2, Until: w.clock.Now().Add(time.Minute)}
}

func (w *World) lease(t *testing.T, want delivery.Want) []delivery.Job {
	t.Helper()
	list, err := w.LeaseJobs(w.ctx, want)
	ok(t, err)
	return list
}

func hosts(list []delivery.Job) (out []string) {
	for _, j := range list {
		out = append(out, j.Host)
	}
	return out
}

func jobs(t *testing.T, w *World) {
	acme := w.acme.Org.ID
	one := w.job(acme, "a")
	// A job is there when the change is, and not otherwise.
	is(t, w.InTx(w.ctx, func(ctx context.Context) error {
		ok(t, w.Enqueue(ctx, one))
		return errChanged
	}), errChanged)
	same(t, len(w.lease(t, w.want())), 0)
	ok(t, w.InTx(w.ctx, func(ctx context.Context) error { return w.Enqueue(ctx, one) }))
	other := w.job("", "b")
	other.Kind = "mail"
	ok(t, w.Enqueue(w.ctx, other)) // the platform's, of another kind

	list := w.lease(t, w.want())
	same(t, len(list), 1)
	got := list[0]
	same(t, len(got.Lease) > 20, true)
	got.Lease = ""
	one.Attempts = 1
	same(t, got, one)
	whole(t, got, "NotBefore", "Lease")
	same(t, len(w.lease(t, w.want())), 0) // leased

	// A lease that is not answered is over, and whoever had it has no say any more.
	w.clock.Advance(time.Minute + time.Second)
	again := w.lease(t, w.want())
	same(t, []any{len(again), again[0].Attempts}, []any{1, 2})
	late := list[0]
	is(t, w.FinishJob(w.ctx, late, delivery.Delivery{}), delivery.ErrLease)
	ok(t, w.RetryJob(w.ctx, late, w.clock.Now(), "late"))
	same(t, len(w.lease(t, w.want())), 0)

	ok(t, w.RetryJob(w.ctx, again[0], w.clock.Now().Add(time.Minute), "timeout"))
	same(t, len(w.lease(t, w.want())), 0) // not due
	log, err := w.Deliveries(w.ctx, string(acme), delivery.Query{Most: 5})
	ok(t, err)
	same(t, log, []delivery.Delivery{{ID: one.ID, Org: string(acme), Kind: testKind, Target: "app_1", CreatedAt: one.CreatedAt, Outcome: delivery.Waiting, Attempts: 2, Class: "timeout"}})
	w.clock.Advance(time.Minute)
	list = w.lease(t, w.want())
	done := delivery.Delivery{ID: one.ID, Org: string(acme), Kind: testKind, Target: "app_1", CreatedAt: one.CreatedAt, At: w.clock.Now(),
		Outcome: delivery.Refused, Attempts: 3, Class: "status 400"}
	ok(t, w.FinishJob(w.ctx, list[0], done))
	is(t, w.FinishJob(w.ctx, list[0], done), delivery.ErrLease)
	log, err = w.Deliveries(w.ctx, string(acme), delivery.Query{Kind: testKind, Target: "app_1", Most: 5})
	ok(t, err)
	same(t, log, []delivery.Delivery{done})
	whole(t, log[0])
	for _, q := range []delivery.Query{{Kind: "mail", Most: 5}, {Target: "app_2", Most: 5}, {Before: one.ID, Most: 5}} {
		log, err = w.Deliveries(w.ctx, string(acme), q)
		ok(t, err)
		same(t, len(log), 0)
	}
	mail := w.want()
	mail.Kind = "mail"
	same(t, hosts(w.lease(t, mail)), []string{"b"})
}

// A receiver with a long queue leaves room for the others.
func jobsAreFair(t *testing.T, w *World) {
	acme := w.acme.Org.ID
	for range 9 {
		ok(t, w.Enqueue(w.ctx, w.job(acme, "dead")))
	}
	w.clock.Advance(time.Second)
	ok(t, w.Enqueue(w.ctx, w.job(acme, "good")))
	list := w.lease(t, w.want())
	same(t, hosts(list), []string{"dead", "dead", "good"})
	busy := w.want()
	busy.Busy = []string{"dead", "good"}
	same(t, len(w.lease(t, busy)), 0)
	one := w.want()
	one.Most = 1
	same(t, hosts(w.lease(t, one)), []string{"dead"})
	// What is due is put off; what is leased is not.
	ok(t, w.PostponeJobs(w.ctx, testKind, "dead", w.clock.Now().Add(time.Minute)))
	same(t, len(w.lease(t, w.want())), 0)
	ok(t, w.FinishJob(w.ctx, list[0], delivery.Delivery{Outcome: delivery.Delivered}))
	later := w.job(acme, "later")
	later.NotBefore = w.clock.Now().Add(30 * time.Second)
	ok(t, w.Enqueue(w.ctx, later))
	same(t, len(w.lease(t, w.want())), 0)
	w.clock.Advance(31 * time.Second)
	same(t, hosts(w.lease(t, w.want())), []string{"later"})
	w.clock.Advance(31 * time.Second)
	same(t, hosts(w.lease(t, w.want())), []string{"dead", "dead", "good"})
}

// Of many nodes that ask at once, one gets a job.
func jobsGoToOne(t *testing.T, w *World) {
	const n = 40
	for i := range n {
		ok(t, w.Enqueue(w.ctx, w.job(w.acme.Org.ID, fmt.Sprint("host", i))))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	seen := map[string]int{}
	for range 16 {
		all.Go(func() {
			for {
				want := w.want()
				want.Most = 5
				list, err := w.LeaseJobs(w.ctx, want)
				if err != nil {
					t.Error(err)
				}
				if len(list) == 0 {
					return
				}
				mu.Lock()
				for _, j := range list {
					seen[j.ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	same(t, len(seen), n)
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was given to %d", id, times)
		}
	}
}
