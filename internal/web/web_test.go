package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/fault"
)

func newMux() *Mux {
	m := &Mux{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	m.ErrorPage = func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(Status(err)) }
	m.Page("GET /things/{thing}", func(w http.ResponseWriter, r *http.Request) error {
		switch r.PathValue("thing") {
		case "away":
			return fault.New(fault.Unavailable, "test.away", "Away.")
		case "many":
			return Limit{Name: "test", Most: 1, Per: 90 * time.Second}.Check(r.Context(), tooMany{}, "k")
		case "panic":
			panic("a bug")
		}
		_, err := io.WriteString(w, "here")
		return err
	})
	return m
}

type tooMany struct{}

func (tooMany) Incr(context.Context, string, time.Duration) (int64, error) { return 2, nil }

func TestWhoIsTurnedAwayIsToldWhenToComeAgain(t *testing.T) {
	m := newMux()
	m.Files("/raw", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	for path, want := range map[string]string{"/things/away": "2", "/things/many": "90", "/raw": "30", "/things/a": "", "/nothing": ""} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%s: %d, Retry-After %q, want %q", path, w.Code, got, want)
		}
	}
	if !errors.Is(exceeded{time.Minute}, ErrTooMany) || Status(exceeded{time.Minute}) != http.StatusTooManyRequests {
		t.Error("a limit that was exceeded is no longer ErrTooMany")
	}
}

func TestAWatcherSeesRoutesAndNeverAddresses(t *testing.T) {
	m := newMux()
	var seen []string
	m.Watch = func(r *http.Request, route string) (*http.Request, func(int)) {
		return r.WithContext(context.WithValue(r.Context(), t, true)), func(status int) {
			seen = append(seen, route+" "+http.StatusText(status))
		}
	}
	m.Page("GET /kept", func(_ http.ResponseWriter, r *http.Request) error {
		if r.Context().Value(t) == nil {
			t.Error("the watcher's request did not go on")
		}
		return nil
	})
	for _, path := range []string{"/things/secret?email=ana@acme.example", "/things/away", "/things/panic", "/nothing/secret", "/kept"} {
		m.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	got := strings.Join(seen, "\n")
	want := "GET /things/{thing} OK\nGET /things/{thing} Service Unavailable\nGET /things/{thing} Internal Server Error\n Not Found\nGET /kept "
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
