// Package web turns functions that return errors into HTTP handlers, and is the only place that writes
// an error page. It sets the headers every answer carries, refuses writes that other sites sent, bounds
// what a request may weigh, and knows who is really asking behind a proxy. It knows no page, no person
// and no protocol: how an error looks is set by cmd.
package web

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrCrossOrigin  = fault.New(fault.Denied, "web.cross_origin", "This form was sent from another site.")
	ErrTooLarge     = fault.New(fault.Invalid, "web.too_large", "This request is larger than anything we accept.")
	ErrHeaderLarge  = fault.New(fault.Invalid, "web.header_too_large", "This request's address or headers are larger than anything we accept.")
	ErrForm         = fault.New(fault.Invalid, "web.form", "This form could not be read.")
	ErrNotFound     = fault.New(fault.NotFound, "web.not_found", "There is no such page.")
	ErrMethod       = fault.New(fault.Invalid, "web.method", "This address does not answer that kind of request.")
	ErrTooMany      = fault.New(fault.Throttled, "web.too_many", "Too many requests came from your network in a short time.")
	ErrMisdirected  = fault.New(fault.Invalid, "web.misdirected", "This service does not answer under that name.")
	errPanic        = fault.Of(errors.New("a handler panicked"))
	errWroteAlready = errors.New("an error after the answer had begun")
)

// Handler answers a request or says why not.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Surface is a part of the house that has routes.
type Surface interface{ Routes(*Mux) }

// What a request may weigh.
const (
	MaxHeader   = 32 << 10 // address and headers together
	MaxForm     = 64 << 10 // a form of ours
	MaxCallback = 3 << 19  // what an identity provider posts: 1 MiB of SAML, in base64 and a little more
)

// Mux is the house's router. Set its fields before the first route.
type Mux struct {
	// ErrorPage draws what went wrong, for people. It must not fail.
	ErrorPage func(w http.ResponseWriter, r *http.Request, err error)
	// Secure says that the service is reached by https: cookies and headers depend on it.
	Secure bool
	// Host is the only Host that is answered; "" answers all (tests).
	Host string
	Log  *slog.Logger
	// Watch is told of each request with the pattern of its route ("" for what matches none). It gives the
	// request to go on with, and what to tell the status of the answer, 0 when there was none. nil
	// watches nothing.
	Watch func(r *http.Request, route string) (*http.Request, func(status int))

	mux    http.ServeMux
	writes http.CrossOriginProtection
}

// Page mounts a page: cross-origin writes are refused, errors are pages.
func (m *Mux) Page(pattern string, h Handler) {
	m.mux.Handle(pattern, m.guard(MaxForm, m.ErrorPage, func(w http.ResponseWriter, r *http.Request) error {
		if err := m.writes.Check(r); err != nil {
			return ErrCrossOrigin.With(err)
		}
		return h(w, r)
	}))
}

// Foreign mounts a page that apps may post a form to from their own sites. It has no cookie to trust
// when they do.
func (m *Mux) Foreign(pattern string, h Handler) {
	m.mux.Handle(pattern, m.guard(MaxForm, m.ErrorPage, h))
}

// Callback mounts a page that identity providers post their answers to, which are large. It has no
// cookie to trust when they do.
func (m *Mux) Callback(pattern string, h Handler) {
	m.mux.Handle(pattern, m.guard(MaxCallback, m.ErrorPage, h))
}

// API mounts an address for programs; writeError writes its protocol's errors.
func (m *Mux) API(pattern string, writeError func(http.ResponseWriter, *http.Request, error), h Handler) {
	m.mux.Handle(pattern, m.guard(MaxForm, writeError, h))
}

// Files mounts a handler of static bytes, which sets its own headers.
func (m *Mux) Files(pattern string, h http.Handler) { m.mux.Handle(pattern, h) }

func (m *Mux) guard(limit int64, fail func(http.ResponseWriter, *http.Request, error), h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		PageHeaders(w.Header(), m.Secure)
		out, ok := w.(*onceWriter)
		if !ok {
			out = &onceWriter{ResponseWriter: w}
		}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				m.Log.ErrorContext(r.Context(), "panic", "path", logPath(r), "panic", p, "stack", string(debug.Stack()))
				m.fail(out, r, errPanic, fail)
			}
		}()
		if r.ContentLength > limit {
			m.fail(out, r, ErrTooLarge, fail)
			return
		}
		r.Body = http.MaxBytesReader(out, r.Body, limit)
		if err := h(out, r); err != nil {
			m.fail(out, r, err, fail)
		}
	})
}

func (m *Mux) fail(w *onceWriter, r *http.Request, err error, fail func(http.ResponseWriter, *http.Request, error)) {
	if r.Context().Err() != nil && errors.Is(err, r.Context().Err()) {
		return // nobody is there to read it
	}
	f := fault.Of(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		m.Log.ErrorContext(r.Context(), "request failed", "path", logPath(r), "code", f.Code, "error", err)
	} else {
		m.Log.DebugContext(r.Context(), "request refused", "path", logPath(r), "code", f.Code, "error", err)
	}
	if w.wrote {
		m.Log.ErrorContext(r.Context(), "request failed", "path", logPath(r), "error", errors.Join(errWroteAlready, err))
		return
	}
	if after, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		w.Header().Set("Retry-After", seconds(after.RetryAfter()))
	}
	fail(w, r, err)
}

// seconds is a Retry-After that is never too early (RFC 9110 section 10.2.3).
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// ServeHTTP bounds headers and host, then routes; what matches nothing is our own page.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &onceWriter{ResponseWriter: w}
	refused := m.admissible(r)
	h, pattern := m.mux.Handler(r)
	if m.Watch != nil {
		watched, done := m.Watch(r, pattern)
		r = watched
		defer func() { done(out.status) }()
	}
	m.route(out, r, h, pattern, refused)
}

func (m *Mux) route(w *onceWriter, r *http.Request, h http.Handler, pattern string, refused error) {
	if refused != nil {
		PageHeaders(w.Header(), m.Secure)
		w.Header().Set("Connection", "close")
		m.ErrorPage(w, r, refused)
		return
	}
	if pattern == "" {
		PageHeaders(w.Header(), m.Secure)
		m.ErrorPage(w, r, m.unrouted(w, h, r))
		return
	}
	// ServeHTTP again, so that path values are set.
	m.mux.ServeHTTP(w, r)
}

func (m *Mux) admissible(r *http.Request) error {
	size := len(r.RequestURI)
	for k, vs := range r.Header {
		for _, v := range vs {
			size += len(k) + len(v) + 4
		}
	}
	if size > MaxHeader {
		return ErrHeaderLarge
	}
	if m.Host != "" && r.Host != m.Host {
		return ErrMisdirected
	}
	return nil
}

// unrouted says whether an address is unknown or only the method is. The router's own handler knows;
// it is asked with a writer that keeps nothing but the status.
func (m *Mux) unrouted(w http.ResponseWriter, h http.Handler, r *http.Request) error {
	var probe statusOnly
	h.ServeHTTP(&probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow")) // RFC 9110 section 15.5.6
		return ErrMethod
	}
	return ErrNotFound
}

type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(code int)        { s.status = code }

// Status is the HTTP status of a kind of fault.
func Status(err error) int {
	f := fault.Of(err)
	switch f.Code {
	case ErrTooLarge.Code:
		return http.StatusRequestEntityTooLarge
	case ErrHeaderLarge.Code:
		return http.StatusRequestHeaderFieldsTooLarge
	case ErrMethod.Code:
		return http.StatusMethodNotAllowed
	case ErrMisdirected.Code:
		return http.StatusMisdirectedRequest
	}
	switch f.Kind {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Expired:
		return http.StatusGone
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Upstream:
		return http.StatusBadGateway
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// onceWriter knows whether the answer has begun: an error page after that would be appended to it. Who
// is told to come again is told when.
type onceWriter struct {
	http.ResponseWriter
	wrote  bool
	status int
}

// How long to wait where nothing better is known (RFC 9110 section 10.2.3): what cannot be reached is
// mostly back in seconds, and a limit counts in minutes.
const (
	retryUnavailable = "2"
	retryThrottled   = "30"
)

func (w *onceWriter) WriteHeader(code int) {
	if !w.wrote {
		w.status = code
	}
	w.wrote = true
	if h := w.Header(); h.Get("Retry-After") == "" {
		switch code {
		case http.StatusServiceUnavailable:
			h.Set("Retry-After", retryUnavailable)
		case http.StatusTooManyRequests:
			h.Set("Retry-After", retryThrottled)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *onceWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.wrote, w.status = true, http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *onceWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
