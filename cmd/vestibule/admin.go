package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/store"
)

// openWatch begins to measure where measurements can be read, and to trace where traces are collected.
func (v *service) openWatch(ctx context.Context) (err error) {
	v.watch.now = time.Now
	v.watch.follow(ctx, v.log)
	if v.admin != nil {
		v.watch.metrics = newMetrics()
	}
	v.watch.tracing, err = openTracing(ctx, v.settings.Proxies)
	return err
}

// closeWatch sends what was traced last.
func (v *service) closeWatch() {
	if v.watch.tracing == nil {
		return
	}
	bounded, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	v.watch.tracing.close(bounded)
}

// adminServer answers what only the operator's own network asks: whether this process lives, whether it
// can serve, what it measured. Profiles hold what is in memory, so they are for this machine alone.
func (v *service) adminServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", v.ready)
	if v.watch.metrics != nil {
		mux.Handle("GET /metrics", v.watch.metrics.handler(v.log))
	}
	if v.admin != nil && v.admin.Addr().(*net.TCPAddr).IP.IsLoopback() {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 3 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(v.log.Handler(), slog.LevelDebug)}
}

// readiness is the answer of /readyz: one entry a part, and whether all are as they should be.
type readiness struct {
	Ready bool                `json:"ready"`
	Parts map[string]standing `json:"parts"`
}

type standing struct {
	OK  bool   `json:"ok"`
	Why string `json:"why,omitempty"` // a sentence for the operator
}

// ready tries what a login needs. A proxy takes a node that is not ready out of its list.
func (v *service) ready(w http.ResponseWriter, r *http.Request) {
	bounded, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	parts := append(v.house.store.Parts(bounded), store.Part{Name: "keys", Err: v.house.broker.Keys.Ready()})
	is := readiness{Ready: true, Parts: map[string]standing{}}
	for _, p := range parts {
		is.Parts[p.Name] = standing{OK: p.Err == nil, Why: whyNot(p.Err)}
		if p.Err != nil {
			is.Ready = false
			v.log.WarnContext(r.Context(), "not ready", "part", p.Name, "error", p.Err)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !is.Ready {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(is)
}

// whyNot is the sentence of the innermost fault, which knows best. What is no fault is for the log alone.
func whyNot(err error) string {
	switch f := fault.Innermost(err); {
	case err == nil:
		return ""
	case f != nil:
		return f.Public
	case errors.Is(err, context.DeadlineExceeded):
		return "It did not answer within two seconds."
	}
	return fault.Of(err).Public
}
