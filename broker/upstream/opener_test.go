package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// fake is an upstream that does as it is told.
type fake struct {
	depart, arrive func(ctx context.Context) error
}

func (f *fake) Depart(ctx context.Context, _ Attempt) (Departure, error) {
	return Departure{URL: "https://idp.example/"}, f.depart(ctx)
}

func (f *fake) Arrive(ctx context.Context, _ Attempt, _ Arrival) (Assertion, Report, error) {
	return Assertion{Email: "a@acme.example"}, Report{{Name: "x"}}, f.arrive(ctx)
}

type describing struct{ *fake }

func (describing) Describe() (string, []byte, error) { return "text/xml", []byte("<x/>"), nil }
func (describing) Probe(context.Context) (Report, error) {
	return Report{{Name: "probe"}}, ErrUnreachable
}

func opener(opened *int) *Opener {
	return &Opener{
		Now: time.Now, Base: "https://login.example",
		Client: func([]string) *http.Client { return http.DefaultClient },
		Protocols: Protocols{
			"fake": {Open: func(c Connection, env Env) (Upstream, error) {
				*opened++
				f := &fake{depart: reply(nil), arrive: reply(nil)}
				if c.Name == "dead" {
					f.arrive = reply(ErrUnreachable)
				}
				if c.Name == "describing" {
					return describing{f}, nil
				}
				return f, nil
			}},
			"broken": {Open: func(Connection, Env) (Upstream, error) { return nil, ErrConfig }},
		},
	}
}

func TestAConnectionIsOpenedOncePerVersion(t *testing.T) {
	n := 0
	o := opener(&n)
	open := func(version int64) Upstream {
		t.Helper()
		up, err := o.Open(t.Context(), Connection{ID: "con_1", Type: "fake", Version: version})
		if err != nil {
			t.Fatal(err)
		}
		return up
	}
	first := open(1)
	if open(1) != first || n != 1 {
		t.Error("opened twice")
	}
	second := open(2)
	if second == first || n != 2 {
		t.Error("not opened anew for a new version")
	}
	if open(1) == second {
		t.Error("an old version got the new settings")
	}
	if open(2) != second {
		t.Error("an old version pushed the new one out")
	}
}

func TestWhatCannotBeOpenedIsNil(t *testing.T) {
	n := 0
	o := opener(&n)
	for _, kind := range []Type{"broken", "unknown"} {
		if up, err := o.Open(t.Context(), Connection{ID: "con_1", Type: kind}); up != nil || !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, %v", kind, up, err)
		}
	}
}

// capabilities.md row 141.
func TestOneDeadProviderNeverSlowsAnother(t *testing.T) {
	n := 0
	o := opener(&n)
	dead, _ := o.Open(t.Context(), Connection{ID: "con_dead", Type: "fake", Name: "dead"})
	well, _ := o.Open(t.Context(), Connection{ID: "con_well", Type: "fake"})
	for range 2 * fenceFailures {
		as, _, err := dead.Arrive(t.Context(), Attempt{}, Arrival{})
		if !errors.Is(err, ErrUnreachable) || !reflect.DeepEqual(as, Assertion{}) {
			t.Fatalf("%+v, %v", as, err)
		}
	}
	if _, err := dead.Depart(t.Context(), Attempt{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("people are sent to a dead provider: %v", err)
	}
	if _, _, err := well.Arrive(t.Context(), Attempt{}, Arrival{}); err != nil {
		t.Errorf("another organization: %v", err)
	}
}

func TestAbilitiesAreSeenThroughTheFence(t *testing.T) {
	n := 0
	o := opener(&n)
	plain, _ := o.Opened(Connection{ID: "con_1", Type: "fake"})
	able, _ := o.Opened(Connection{ID: "con_2", Type: "fake", Name: "describing"})
	if _, ok, _ := plain.Probe(t.Context()); ok {
		t.Error("probes what has no probe")
	}
	if _, _, ok, _ := plain.Describe(); ok {
		t.Error("describes what has no document")
	}
	for range 2 * fenceFailures {
		if r, ok, err := able.Probe(t.Context()); !ok || len(r) != 1 || !errors.Is(err, ErrUnreachable) {
			t.Fatalf("%v %v %v", r, ok, err)
		}
	}
	if _, _, err := able.Arrive(t.Context(), Attempt{}, Arrival{}); err != nil {
		t.Errorf("probing opened the circuit: %v", err)
	}
	if kind, doc, ok, err := able.Describe(); !ok || kind != "text/xml" || len(doc) == 0 || err != nil {
		t.Error("no document")
	}
}

func TestManyOpenAtOnce(t *testing.T) {
	o := opener(new(int))
	o.Protocols["fake"] = Protocol{Open: func(Connection, Env) (Upstream, error) {
		return &fake{depart: reply(nil), arrive: reply(nil)}, nil
	}}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			id := directory.ConnectionID(fmt.Sprint("con_", i%10))
			if _, err := o.Open(t.Context(), Connection{ID: id, Type: "fake", Version: int64(i % 3)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
