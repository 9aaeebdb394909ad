package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
)

var _ delivery.Queue = (*Store)(nil)

// Enqueue keeps a job; whoever sends on this node is woken when it is committed.
func (s *Store) Enqueue(ctx context.Context, j delivery.Job) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		scope, err := s.scopeOfOrg(ctx, directory.OrgID(j.Org))
		if err != nil {
			return err
		}
		payload, err := s.seal(ctx, t, scope, payloadSlot(j), j.Payload)
		if err != nil {
			return err
		}
		at := j.NotBefore
		if at.Before(j.CreatedAt) {
			at = j.CreatedAt
		}
		_, err = t.exec(`INSERT INTO jobs (id, kind, org_id, target, host, payload, created_at, run_at, not_after, attempts, lease, last_error)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', '')`,
			j.ID, j.Kind, j.Org, j.Target, j.Host, payload, j.CreatedAt, at, j.NotAfter)
		t.after = append(t.after, func() { poke(s.enqueued) })
		return err
	})
}

// Enqueued tells whoever sends that there is something new.
func (s *Store) Enqueued() <-chan struct{} { return s.enqueued }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// scopeOfOrg is whose data key seals what is an organization's; "" is the platform's.
func (s *Store) scopeOfOrg(ctx context.Context, org directory.OrgID) (string, error) {
	if org == "" {
		return "", nil
	}
	o, err := s.placeOf(ctx, org)
	if err != nil {
		return "", err
	}
	return string(o.Top), nil
}

func payloadSlot(j delivery.Job) slot { return slot{"jobs", "payload", j.ID, j.Org} }

// duePage is how many due jobs one lease looks at: the first of a host stand for it.
const duePage = 256

// leaseJobs takes the first few of each host among those that are due. The outer condition is what a node
// that waited for another's lease finds no longer true.
var leaseJobs = `UPDATE jobs SET run_at = $1, lease = $2, attempts = attempts + 1 WHERE run_at <= $3 AND id IN (
		SELECT id FROM (SELECT id, run_at, row_number() OVER (PARTITION BY host ORDER BY run_at, id) AS place FROM (
			SELECT id, host, run_at FROM jobs WHERE kind = $4 AND run_at <= $3 AND host NOT IN (` + places(8, delivery.MaxLease) + `)
			ORDER BY run_at LIMIT $5` + skipLocked + `) AS due) AS placed
		WHERE place <= $6 ORDER BY run_at, id LIMIT $7)
	RETURNING id, org_id, target, host, payload, created_at, not_after, attempts`

// places writes n parameters from $first on.
func places(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}

// LeaseJobs takes jobs that are due.
func (s *Store) LeaseJobs(ctx context.Context, w delivery.Want) ([]delivery.Job, error) {
	now, token := s.now(), directory.NewSecret()[:22]
	// A look that holds nobody up first: most of the time nothing is due.
	if n, err := s.rows(ctx, "SELECT id FROM jobs WHERE kind = $1 AND run_at <= $2 ORDER BY run_at LIMIT 1", nil, w.Kind, now); err != nil || n == 0 {
		return nil, err
	}
	args := []any{w.Until, token, now, w.Kind, duePage, w.PerHost, min(w.Most, delivery.MaxLease)}
	for i := range delivery.MaxLease {
		host := "\n" // no host is called that
		if i < len(w.Busy) {
			host = w.Busy[i]
		}
		args = append(args, host)
	}
	jobs, err := s.leased(ctx, args, token, w.Kind)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(jobs, func(a, b delivery.Job) int { return strings.Compare(a.ID, b.ID) })
	for i := range jobs {
		plain, err := s.unseal(ctx, payloadSlot(jobs[i]), jobs[i].Payload)
		if err != nil {
			s.log.ErrorContext(ctx, "store: a job's payload does not open", "job", jobs[i].ID, "error", err)
		}
		jobs[i].Payload = plain
	}
	return jobs, nil
}

// leased gives the jobs with their payloads as they are stored.
func (s *Store) leased(ctx context.Context, args []any, token string, kind delivery.Kind) ([]delivery.Job, error) {
	var jobs []delivery.Job
	err := s.write(ctx, func(_ context.Context, t *tx) error {
		jobs = nil
		_, err := t.returning(leaseJobs, func(r *row) {
			j := delivery.Job{ID: r.text(), Kind: kind, Org: r.text(), Target: r.text(), Host: r.text(), Payload: r.bytes(), Lease: token}
			j.CreatedAt, j.NotAfter, j.Attempts = r.time(), r.time(), int(r.int())
			jobs = append(jobs, j)
		}, slices.Clone(args)...)
		return err
	})
	if err != nil {
		return nil, err // the write may still run: jobs are its own
	}
	return jobs, nil
}

// RetryJob makes a leased job due again.
func (s *Store) RetryJob(ctx context.Context, j delivery.Job, at time.Time, class string) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec("UPDATE jobs SET run_at = $1, lease = '', last_error = $2 WHERE id = $3 AND lease = $4 AND lease <> ''", at, class, j.ID, j.Lease)
		return err
	})
}

// FinishJob erases a leased job and notes how it ended.
func (s *Store) FinishJob(ctx context.Context, j delivery.Job, d delivery.Delivery) error {
	return s.write(ctx, func(_ context.Context, t *tx) error {
		n, err := t.exec("DELETE FROM jobs WHERE id = $1 AND lease = $2 AND lease <> ''", j.ID, j.Lease)
		if err != nil {
			return err
		}
		if n == 0 {
			return delivery.ErrLease
		}
		_, err = t.exec(`INSERT INTO deliveries (org_id, id, kind, target, created_at, at, outcome, attempts, last_error)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, j.Org, j.ID, j.Kind, j.Target, j.CreatedAt, d.At, d.Outcome, d.Attempts, d.Class)
		return err
	})
}

// postponeMost is how many jobs one failure of a host puts off; the next failure finds the next.
const postponeMost = 500

// PostponeJobs puts off what is due for a host. What is leased is not due.
func (s *Store) PostponeJobs(ctx context.Context, kind delivery.Kind, host string, until time.Time) error {
	now := s.now()
	return s.write(ctx, func(_ context.Context, t *tx) error {
		_, err := t.exec(`UPDATE jobs SET run_at = $1 WHERE run_at <= $2 AND id IN (
			SELECT id FROM jobs WHERE kind = $3 AND host = $4 AND run_at <= $2 ORDER BY run_at LIMIT $5)`, until, now, kind, host, postponeMost)
		return err
	})
}

// Backlog is what waits to be delivered, of one kind.
type Backlog struct {
	Kind    delivery.Kind
	Waiting int64
	Oldest  time.Time // when the one that waits longest was enqueued
}

// Backlogs counts what waits, of all organizations.
func (s *Store) Backlogs(ctx context.Context) ([]Backlog, error) {
	var list []Backlog
	_, err := s.rows(ctx, "SELECT kind, count(*), min(created_at) FROM jobs GROUP BY kind", func(r *row) {
		list = append(list, Backlog{Kind: delivery.Kind(r.text()), Waiting: r.int(), Oldest: r.time()})
	})
	return list, err
}

// Deliveries lists an organization's jobs and how its former ones ended, the newest first.
func (s *Store) Deliveries(ctx context.Context, org string, q delivery.Query) ([]delivery.Delivery, error) {
	before := q.Before
	if before == "" {
		before = "~" // after every id
	}
	var list []delivery.Delivery
	_, err := s.rows(ctx, `SELECT id, kind, target, created_at, at, outcome, attempts, last_error FROM (
			SELECT id, kind, target, created_at, 0 AS at, 'waiting' AS outcome, attempts, last_error FROM jobs WHERE org_id = $1 AND id < $2
			UNION ALL SELECT id, kind, target, created_at, at, outcome, attempts, last_error FROM deliveries WHERE org_id = $1 AND id < $2
		) AS d WHERE ($3 = '' OR kind = $3) AND ($4 = '' OR target = $4) ORDER BY id DESC LIMIT $5`,
		func(r *row) {
			d := delivery.Delivery{ID: r.text(), Org: org, Kind: delivery.Kind(r.text()), Target: r.text(), CreatedAt: r.time(), At: r.time()}
			d.Outcome, d.Attempts, d.Class = delivery.Outcome(r.text()), int(r.int()), r.text()
			list = append(list, d)
		}, org, before, q.Kind, q.Target, max(q.Most, 1))
	return list, err
}
