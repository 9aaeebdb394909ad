package main

import (
	"context"
	"net/http"
	"os"
	"strconv"

	kv "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
)

// tracing sends spans to an OpenTelemetry collector. They hold routes, never addresses: no query, no
// login id, no person (S58).
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	proxies  web.Proxies // whose traceparent is believed
}

// The standard variables of OpenTelemetry say where spans go and which are sampled; without them nothing
// is traced.
var otlpVariables = []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}

// openTracing is nil when nobody collects.
func openTracing(ctx context.Context, proxies web.Proxies) (*tracing, error) {
	wanted := false
	for _, name := range otlpVariables {
		wanted = wanted || os.Getenv(name) != ""
	}
	if !wanted || os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, errTracing.With(err)
	}
	return newTracing(ctx, proxies, sdktrace.WithBatcher(exporter))
}

var errTracing = fault.New(fault.Invalid, "vestibule.tracing", "Traces cannot be sent. Check the variables OTEL_EXPORTER_OTLP_…, or take them away to trace nothing.")

func newTracing(ctx context.Context, proxies web.Proxies, to sdktrace.TracerProviderOption) (*tracing, error) {
	about, err := resource.New(ctx, resource.WithAttributes(kv.String("service.name", "vestibule"), kv.String("service.version", version())), resource.WithFromEnv())
	if err != nil {
		return nil, errTracing.With(err)
	}
	p := sdktrace.NewTracerProvider(to, sdktrace.WithResource(about))
	return &tracing{provider: p, tracer: p.Tracer("github.com/vestibule-id/vestibule"), proxies: proxies}, nil
}

func (t *tracing) close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // spans that nobody takes are no reason to stay
	}
}

func (t *tracing) request(r *http.Request, route string) (*http.Request, func(int)) {
	ctx := r.Context()
	if t.proxies.Trusts(r) {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	name := route
	if name == "" {
		name = "none"
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(kv.String("http.route", name)))
	return r.WithContext(ctx), func(status int) {
		finish(span, status, nil)
	}
}

func (t *tracing) call(r *http.Request) func(int, error) {
	_, span := t.tracer.Start(r.Context(), "call "+r.Method, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(kv.String("http.request.method", r.Method), kv.String("server.address", r.URL.Host)))
	return func(status int, err error) { finish(span, status, err) }
}

func (t *tracing) transaction(ctx context.Context) func(error) {
	_, span := t.tracer.Start(ctx, "transaction", trace.WithSpanKind(trace.SpanKindInternal))
	return func(err error) { finish(span, 0, err) }
}

// finish ends a span. Of an error it tells the code, which is a name of ours and nobody's text.
func finish(span trace.Span, status int, err error) {
	if status != 0 {
		span.SetAttributes(kv.Int("http.response.status_code", status))
	}
	switch {
	case err != nil:
		span.SetStatus(codes.Error, fault.Of(err).Code)
	case status >= 500:
		span.SetStatus(codes.Error, strconv.Itoa(status))
	}
	span.End()
}
