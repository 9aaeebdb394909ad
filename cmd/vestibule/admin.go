package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
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

// ready tries the stores. A proxy takes a node that is not ready out of its list.
func (v *service) ready(w http.ResponseWriter, r *http.Request) {
	bounded, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := v.house.store.Ready(bounded); err != nil {
		v.log.WarnContext(r.Context(), "not ready", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, fault.Of(err).Public)
		return
	}
	fmt.Fprintln(w, "ready")
}
