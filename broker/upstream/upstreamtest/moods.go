package upstreamtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fault"
)

func moods(t *testing.T, h Harness) {
	for _, m := range []Mood{Slow, Trickling, Megabytes, Dead} {
		t.Run(string(m)+" at departure", func(t *testing.T) {
			if s := open(t, h); s.Mood != nil {
				s.Mood(m)
				inTime(t, s, m, func(ctx context.Context) error {
					_, err := s.up.Depart(ctx, Attempt(time.Now()))
					return err
				})
			}
		})
		t.Run(string(m)+" at arrival", func(t *testing.T) {
			if s := open(t, h); s.Mood != nil {
				a := Attempt(time.Now())
				in := s.Answer(t, s.depart(t, a), subject, None)
				s.Mood(m)
				inTime(t, s, m, func(ctx context.Context) error {
					as, r, err := s.up.Arrive(ctx, a, in)
					checkReport(t, r)
					if err == nil && as.Key != s.Key(subject) {
						t.Errorf("key %+v", as.Key)
					}
					return err
				})
			}
		})
	}
}

// inTime runs call as the fence does, with a time of its own, and wants a fault that blames the provider
// or, where nothing had to be fetched, success. A machine that gives no answer is ErrUnreachable.
func inTime(t *testing.T, s *stage, m Mood, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := call(ctx)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if err == nil {
		return
	}
	if f := fault.Of(err); f.Kind != fault.Upstream {
		t.Errorf("%v is of kind %d, want the provider blamed", err, f.Kind)
	}
	if m != Megabytes && !errors.Is(err, upstream.ErrUnreachable) {
		t.Errorf("%v, want ErrUnreachable", err)
	}
}
