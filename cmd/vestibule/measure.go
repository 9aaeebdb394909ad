package main

// What is measured inside of the house, beyond requests, calls and transactions.

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

// measure lets the house tell what happens in it. The runner has not begun yet, and nobody asks the house
// anything.
func (m *metrics) measure(h *house, runner *delivery.Runner) {
	h.engine.Watch = m.login
	h.broker.Watch = m.token
	runner.Tried = m.tried
	m.stands.db.Store(h.store)
}

// login counts how a login came out. Codes of faults are declared, so there are not many.
func (m *metrics) login(refused *fault.Error) {
	if refused == nil {
		m.logins.WithLabelValues("succeeded", "").Inc()
		return
	}
	m.logins.WithLabelValues("refused", refused.Code).Inc()
}

// token counts a request for tokens. What a stranger wrote is never a label.
func (m *metrics) token(grant, code string) {
	if !slices.Contains(m.grants, broker.Grant(grant)) {
		grant = "other"
	}
	if code == "" {
		code = "issued"
	}
	m.tokens.WithLabelValues(grant, code).Inc()
}

func (m *metrics) tried(k delivery.Kind, how delivery.Outcome) {
	outcome := string(how)
	if how == delivery.Waiting {
		outcome = "failed"
	}
	m.sends.WithLabelValues(string(k), outcome).Inc()
}

// stands reads how the store stands when somebody asks.
type stands struct {
	db atomic.Pointer[store.Store]

	mu       sync.Mutex // never held while the database is asked
	backlogs []store.Backlog
	asked    time.Time
	asking   bool
}

// backlogAge is how old the count of what waits may be, so that many who measure cost no more than one;
// backlogTime is how long it may take.
const (
	backlogAge  = 5 * time.Second
	backlogTime = time.Second
)

var (
	aboutUsable  = prometheus.NewDesc("vestibule_short_lived_usable", "1 while logins in progress and codes can be used, by where they are kept.", []string{"backend"}, nil)
	aboutEpoch   = prometheus.NewDesc("vestibule_epoch_began_timestamp_seconds", "Since when nothing of short-lived state was lost.", nil, nil)
	aboutEpochs  = prometheus.NewDesc("vestibule_epochs_total", "Epochs of short-lived state that this process knew, the first included.", nil, nil)
	aboutStops   = prometheus.NewDesc("vestibule_short_lived_stops_total", "How often short-lived state could not be used any more.", nil, nil)
	aboutAdmits  = prometheus.NewDesc("vestibule_admitting", "1 while people are let in; 0 while what others change cannot be read.", nil, nil)
	aboutBehind  = prometheus.NewDesc("vestibule_admission_stops_total", "How often people were not let in any more.", nil, nil)
	aboutWaiting = prometheus.NewDesc("vestibule_deliveries_waiting", "Deliveries that wait, of the whole installation.", []string{"kind"}, nil)
	aboutOldest  = prometheus.NewDesc("vestibule_deliveries_oldest_seconds", "How long the oldest of them has waited.", []string{"kind"}, nil)
)

// Describe lists what Collect gives.
func (s *stands) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{aboutUsable, aboutEpoch, aboutEpochs, aboutStops, aboutAdmits, aboutBehind, aboutWaiting, aboutOldest} {
		to <- d
	}
}

// Collect gives the measurements of now.
func (s *stands) Collect(to chan<- prometheus.Metric) {
	db := s.db.Load()
	if db == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, n int64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	is := db.Standing()
	gauge(aboutUsable, yes(is.Usable), is.Backend)
	gauge(aboutEpoch, float64(is.Epoch.UnixMilli())/1000)
	count(aboutEpochs, is.Epochs)
	count(aboutStops, is.Stops)
	gauge(aboutAdmits, yes(is.Admitting))
	count(aboutBehind, is.Behind)
	for _, b := range s.waiting(db) {
		gauge(aboutWaiting, float64(b.Waiting), string(b.Kind))
		gauge(aboutOldest, age(b), string(b.Kind))
	}
}

func age(b store.Backlog) float64 {
	if b.Waiting == 0 {
		return 0
	}
	return max(0, time.Since(b.Oldest).Seconds())
}

func yes(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// waiting counts what waits to be delivered. While it cannot be counted there is nothing, rather than
// what was true once.
func (s *stands) waiting(db *store.Store) []store.Backlog {
	s.mu.Lock()
	known, now := s.backlogs, time.Now()
	if s.asking || now.Sub(s.asked) < backlogAge {
		s.mu.Unlock()
		return known
	}
	s.asking = true
	s.mu.Unlock()
	bounded, cancel := context.WithTimeout(context.Background(), backlogTime)
	defer cancel()
	found, err := db.Backlogs(bounded)
	if err != nil {
		found = nil
	} else {
		found = withIdle(found)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backlogs, s.asked, s.asking = found, now, false
	return found
}

// withIdle adds the kinds of which nothing waits: a measurement that is missing alarms nobody.
func withIdle(list []store.Backlog) []store.Backlog {
	for _, kind := range kinds() {
		if !slices.ContainsFunc(list, func(b store.Backlog) bool { return b.Kind == kind }) {
			list = append(list, store.Backlog{Kind: kind})
		}
	}
	return list
}

// shortLived measures short-lived state, where somebody reads measurements.
func (w watcher) shortLived(s brief.Store, c brief.Counter) (brief.Store, brief.Counter) {
	if w.metrics == nil {
		return s, c
	}
	timed := func(operation string) timed {
		return timed{w.now, w.metrics.brief.WithLabelValues(operation, "done"), w.metrics.brief.WithLabelValues(operation, "failed")}
	}
	return timedNotes{s, timed("put"), timed("put_new"), timed("get"), timed("take"), timed("swap"), timed("delete")}, timedCounter{c, timed("incr")}
}

// timed is what one operation is measured with.
type timed struct {
	now          func() time.Time
	done, failed prometheus.Observer
}

// took notes an operation. That something is gone, or taken, is an answer.
func (t timed) took(begun time.Time, err error) {
	to := t.done
	if err != nil && !errors.Is(err, brief.ErrGone) && !errors.Is(err, brief.ErrTaken) {
		to = t.failed
	}
	to.Observe(t.now().Sub(begun).Seconds())
}

type timedNotes struct {
	inner                               brief.Store
	put, putNew, get, take, swap, erase timed
}

// Put writes value under key, whatever was there.
func (n timedNotes) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	begun := n.put.now()
	err := n.inner.Put(ctx, key, value, ttl)
	n.put.took(begun, err)
	return err
}

// PutNew writes value only when nothing is under key.
func (n timedNotes) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	begun := n.putNew.now()
	err := n.inner.PutNew(ctx, key, value, ttl)
	n.putNew.took(begun, err)
	return err
}

// Get reads.
func (n timedNotes) Get(ctx context.Context, key string) ([]byte, error) {
	begun := n.get.now()
	value, err := n.inner.Get(ctx, key)
	n.get.took(begun, err)
	return value, err
}

// Take reads and deletes in one step.
func (n timedNotes) Take(ctx context.Context, key string) ([]byte, error) {
	begun := n.take.now()
	value, err := n.inner.Take(ctx, key)
	n.take.took(begun, err)
	return value, err
}

// Swap replaces old by next and keeps the time that was left.
func (n timedNotes) Swap(ctx context.Context, key string, old, next []byte) error {
	begun := n.swap.now()
	err := n.inner.Swap(ctx, key, old, next)
	n.swap.took(begun, err)
	return err
}

// Delete removes.
func (n timedNotes) Delete(ctx context.Context, key string) error {
	begun := n.erase.now()
	err := n.inner.Delete(ctx, key)
	n.erase.took(begun, err)
	return err
}

type timedCounter struct {
	inner brief.Counter
	incr  timed
}

// Incr adds one to key and returns the count in the current window.
func (c timedCounter) Incr(ctx context.Context, key string, window time.Duration) (int64, error) {
	begun := c.incr.now()
	n, err := c.inner.Incr(ctx, key, window)
	c.incr.took(begun, err)
	return n, err
}
