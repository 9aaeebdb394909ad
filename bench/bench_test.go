package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Every operation arrives on every database, and every cell of the tables is filled. How long it takes
// is not looked at: this machine is busy.
func TestTheBenchmarkDrivesEveryOperationOnEveryDatabase(t *testing.T) {
	p, err := parse([]string{"-organizations", "3", "-count", "20", "-people", "5", "-c", "4"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if p.Binary, err = build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	var all []result
	for _, backend := range p.Backends {
		r, err := measure(t.Context(), p, dir, backend, 3, io.Discard)
		if err != nil {
			t.Fatal(backend, ": ", err)
		}
		if len(r.rows) != len(operations) || r.start <= 0 || r.idle <= 0 || r.peak < r.idle || r.page.bytes <= 0 || r.page.all <= r.page.bytes || r.page.first <= 0 {
			t.Errorf("%+v", r)
		}
		for _, line := range r.rows {
			if line.count != 20 || line.took <= 0 || line.p50 <= 0 || line.p99 < line.p50 || line.signature <= 0 {
				t.Errorf("%s: %+v", backend, line)
			}
		}
		all = append(all, r)
	}
	var out bytes.Buffer
	if err := print(&out, p, all, "bench", "0.1"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n| "); got != 2*len(operations)+2+4 {
		t.Errorf("%d lines of tables:\n%s", got, &out)
	}
}

// A measurement of refusals would look splendid.
func TestADriverThatIsRefusedSaysSo(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTooManyRequests) },
		"nothing":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) },
		"a circle": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/authorize", http.StatusFound) },
		"a refusal": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, callback+"?error=access_denied&state=state", http.StatusFound)
		},
		"other state": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, callback+"?code=c&state=other", http.StatusFound)
		},
	} {
		srv := httptest.NewServer(answer)
		d := &driver{issuer: srv.URL, introduced: &sync.Map{}, http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		for _, o := range operations {
			if o.name == "discovery" && name == "nothing" {
				continue // it asks for a document, and one came
			}
			do, err := o.begin(t.Context(), d)
			if err == nil {
				err = do(t.Context())
			}
			if err == nil {
				t.Errorf("%s: %s is a success", name, o.name)
			}
		}
		if _, err := d.page(t.Context()); err == nil {
			t.Errorf("%s: the page is a success", name)
		}
		srv.Close()
	}
}

func TestTheFirstErrorEndsAMeasurement(t *testing.T) {
	wrong := errors.New("wrong")
	var n atomic.Int64
	do := func(context.Context) error {
		if n.Add(1) == 7 {
			return wrong
		}
		return nil
	}
	if took, err := together(t.Context(), []func(context.Context) error{do, do}, 0, time.Hour, 0); !errors.Is(err, wrong) || took != nil {
		t.Error(took, err)
	}
	n.Store(100)
	if took, err := together(t.Context(), []func(context.Context) error{do, do}, 33, 0, 0); err != nil || len(took) != 33 || n.Load() != 133 {
		t.Error(len(took), n.Load(), err)
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-backends", "mysql"}, {"-organizations", "many"}, {"-organizations", "-1"}, {"-operations", "logout"}, {"-c", "0"}, {"more"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v", args)
		}
	}
}
