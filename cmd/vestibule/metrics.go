package main

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
)

// metrics are what /metrics shows. No name and no label holds an organization, an app or a person (S54).
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // by route and class of status
	took     *prometheus.HistogramVec // by route
	calls    *prometheus.CounterVec   // by whom and outcome
	callTook *prometheus.HistogramVec // by whom and method
	writes   *prometheus.CounterVec   // by outcome
	wrote    prometheus.Histogram
	groups   prometheus.Histogram
	recorded *prometheus.CounterVec   // by action
	logins   *prometheus.CounterVec   // by outcome and fault
	tokens   *prometheus.CounterVec   // by grant type and outcome
	sends    *prometheus.CounterVec   // by kind and outcome
	brief    *prometheus.HistogramVec // by operation and outcome
	stands   stands
	grants   []broker.Grant // that there are

	routes  sync.Map // route → *routeMeter: what a request counts with is looked up once
	actions sync.Map // audit.Action → prometheus.Counter
	written [2]prometheus.Counter
}

// Times in seconds: a page from memory takes a tenth of a millisecond, a hanging provider ten seconds.
var buckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func newMetrics() *metrics {
	m := &metrics{
		grants:   broker.GrantTypes(),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_http_requests_total",
			Help: "Requests that were answered, by route and class of status (0 when the browser went away)."}, []string{"route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vestibule_http_request_seconds",
			Help: "How long answers took, by route.", Buckets: buckets}, []string{"route"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_outbound_calls_total",
			Help: "Calls to identity providers and apps, by class of status; failed when there was no answer."}, []string{"to", "outcome"}),
		callTook: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vestibule_outbound_call_seconds",
			Help: "How long identity providers and apps took to answer.", Buckets: buckets}, []string{"to", "method"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_store_transactions_total",
			Help: "Transactions of the durable store, by outcome: committed, or undone because a rule or the database refused."}, []string{"outcome"}),
		wrote: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vestibule_store_transaction_seconds",
			Help: "How long transactions took until they were on the disk.", Buckets: buckets}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vestibule_store_group_size",
			Help: "How many writes shared a commit.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64}}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_logins_total",
			Help: "How logins came out; refused once for each error page that was shown, with its fault's code."}, []string{"outcome", "fault"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_token_requests_total",
			Help: "Requests for tokens, by grant type; issued, or the error code of the answer."}, []string{"grant_type", "outcome"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_deliveries_total",
			Help: "Tries to deliver: delivered, failed and to be tried again, refused, or expired."}, []string{"kind", "outcome"}),
		brief: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vestibule_short_lived_seconds",
			Help: "How long short-lived state took; failed when it could not be reached.", Buckets: buckets}, []string{"operation", "outcome"}),
		recorded: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vestibule_recorded_total",
			Help: "Entries of the audit record, by action: sign-ins, refusals, tokens, replays, changes."}, []string{"action"}),
	}
	m.written = [2]prometheus.Counter{m.writes.WithLabelValues("committed"), m.writes.WithLabelValues("undone")}
	built := prometheus.NewGauge(prometheus.GaugeOpts{Name: "vestibule_build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": version()}})
	built.Set(1)
	m.registry.MustRegister(m.requests, m.took, m.calls, m.callTook, m.writes, m.wrote, m.groups, m.recorded,
		m.logins, m.tokens, m.sends, m.brief, &m.stands, built,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// routeMeter is what one route's requests are counted with.
type routeMeter struct {
	status [6]prometheus.Counter
	took   prometheus.Observer
}

func (m *metrics) route(pattern string) *routeMeter {
	if have, ok := m.routes.Load(pattern); ok {
		return have.(*routeMeter)
	}
	name := pattern
	if name == "" {
		name = "none"
	}
	r := &routeMeter{took: m.took.WithLabelValues(name)}
	for class := range r.status {
		label := "0"
		if class > 0 {
			label = strconv.Itoa(class) + "xx"
		}
		r.status[class] = m.requests.WithLabelValues(name, label)
	}
	have, _ := m.routes.LoadOrStore(pattern, r)
	return have.(*routeMeter)
}

func (m *metrics) answered(pattern string, status int, took time.Duration) {
	r := m.route(pattern)
	r.status[class(status)].Inc()
	r.took.Observe(took.Seconds())
}

// class is the first digit of a status.
func class(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

func (m *metrics) called(to, method string, status int, err error, took time.Duration) {
	outcome := "failed"
	if err == nil {
		outcome = strconv.Itoa(class(status)) + "xx"
	}
	m.calls.WithLabelValues(to, outcome).Inc()
	m.callTook.WithLabelValues(to, method).Observe(took.Seconds())
}

func (m *metrics) transacted(err error, took time.Duration) {
	if err == nil {
		m.written[0].Inc()
	} else {
		m.written[1].Inc()
	}
	m.wrote.Observe(took.Seconds())
}

func (m *metrics) record(a audit.Action) {
	c, ok := m.actions.Load(a)
	if !ok {
		c, _ = m.actions.LoadOrStore(a, m.recorded.WithLabelValues(string(a)))
	}
	c.(prometheus.Counter).Inc()
}

func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
}

// version is the module's, as the toolchain wrote it into the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

// watcher sees what goes through the house: it measures where somebody reads measurements, and traces
// where somebody collects traces. Its zero value sees nothing.
type watcher struct {
	metrics *metrics
	tracing *tracing
	log     *slog.Logger // of each request, at its level debug; nil writes none
	now     func() time.Time
}

func (w watcher) blind() bool { return w.metrics == nil && w.tracing == nil && w.log == nil }

// follow writes a line for each request where the log is that fine. Elsewhere it costs nothing.
func (w *watcher) follow(ctx context.Context, log *slog.Logger) {
	if log.Enabled(ctx, slog.LevelDebug) {
		w.log = log
	}
}

// line tells of one answer: by its route, never by its address, which may hold what is secret or personal
// (S58).
func (w watcher) line(r *http.Request, route string, status int, took time.Duration) {
	if w.log == nil {
		return
	}
	if route == "" {
		route = "none"
	}
	w.log.DebugContext(r.Context(), "request", "route", route, "status", status, "took", took)
}

// request is web.Mux's Watch.
func (w watcher) request(r *http.Request, route string) (*http.Request, func(int)) {
	begun := w.now()
	ended := func(int) {}
	if w.tracing != nil {
		r, ended = w.tracing.request(r, route)
	}
	return r, func(status int) {
		took := w.now().Sub(begun)
		if w.metrics != nil {
			w.metrics.answered(route, status, took)
		}
		w.line(r, route, status, took)
		ended(status)
	}
}

// transaction is the store's Watch.
func (w watcher) transaction(ctx context.Context) func(error) {
	begun := w.now()
	ended := func(error) {}
	if w.tracing != nil {
		ended = w.tracing.transaction(ctx)
	}
	return func(err error) {
		if w.metrics != nil {
			w.metrics.transacted(err, w.now().Sub(begun))
		}
		ended(err)
	}
}

// client watches the calls of a client that was made for outside calls, to a provider or an app.
func (w watcher) client(to string, c *http.Client) *http.Client {
	if w.blind() {
		return c
	}
	watched := *c
	watched.Transport = watchedTransport{w, to, c.Transport}
	return &watched
}

type watchedTransport struct {
	watcher
	to    string
	inner http.RoundTripper
}

func (t watchedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := t.now()
	ended := func(int, error) {}
	if t.tracing != nil {
		ended = t.tracing.call(r)
	}
	resp, err := t.inner.RoundTrip(r)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	if t.metrics != nil {
		t.metrics.called(t.to, r.Method, status, err, t.now().Sub(begun))
	}
	ended(status, err)
	return resp, err
}

// CloseIdleConnections lets http.Client's method of this name reach through.
func (t watchedTransport) CloseIdleConnections() {
	if c, ok := t.inner.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
