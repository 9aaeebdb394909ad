package demo

import (
	"context"
	"slices"
	"sync"

	"github.com/vestibule-id/vestibule/audit"
)

// Stories passes the house's traces and record on to where they are kept, and remembers for the pages of
// this world which were the latest, and which trace tells of whose sign-in. It forgets at the end.
type Stories struct {
	Traces audit.Traces
	Record audit.Recorder

	mu     sync.Mutex
	latest []audit.Trace // the newest first
	signs  map[sign]string
}

// sign is whose sign-in a trace tells of.
type sign struct{ person, org, app string }

const maxStories = 50

// SaveTrace is audit.Traces'.
func (s *Stories) SaveTrace(ctx context.Context, t audit.Trace) error {
	if err := s.Traces.SaveTrace(ctx, t); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The same story may be saved twice: transactions run again.
	s.latest = slices.DeleteFunc(s.latest, func(o audit.Trace) bool { return o.Code == t.Code })
	s.latest = slices.Insert(s.latest, 0, t)
	s.latest = s.latest[:min(len(s.latest), maxStories)]
	return nil
}

// TraceByCode is audit.Traces'.
func (s *Stories) TraceByCode(ctx context.Context, code string) (audit.Trace, bool, error) {
	return s.Traces.TraceByCode(ctx, code)
}

// Recorder is the house's record, listened to.
func (s *Stories) Recorder() audit.Recorder { return listening{s} }

type listening struct{ *Stories }

func (l listening) Record(ctx context.Context, e audit.Entry) error {
	if err := l.Stories.Record.Record(ctx, e); err != nil {
		return err
	}
	if e.Action != audit.LoginSucceeded {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signs == nil {
		l.signs = map[sign]string{}
	}
	l.signs[sign{e.Actor.ID, e.Org, e.Target.ID}] = e.Detail["trace"]
	// An app that this one opened the door for has no story of its own: it reads this one.
	l.signs[sign{e.Actor.ID, e.Org, ""}] = e.Detail["trace"]
	return nil
}

// Latest are the newest stories that have ended, at most n.
func (s *Stories) Latest(n int) []audit.Trace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.latest[:min(len(s.latest), n)])
}

// of finds the story of a person's sign-in to an organization: at that app, or at the one that opened
// the session it went on with.
func (s *Stories) of(ctx context.Context, who sign) (t audit.Trace, found bool, err error) {
	s.mu.Lock()
	code := s.signs[who]
	if code == "" {
		who.app = ""
		code = s.signs[who]
	}
	s.mu.Unlock()
	if code == "" {
		return audit.Trace{}, false, nil
	}
	return s.TraceByCode(ctx, code)
}

// forget is for a fresh start.
func (s *Stories) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest, s.signs = nil, nil
}
