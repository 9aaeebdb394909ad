package demo

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/vestibule-id/vestibule/audit"
)

// shelf keeps traces and entries, or refuses them.
type shelf struct {
	traces map[string]audit.Trace
	broken error
}

func (s *shelf) SaveTrace(_ context.Context, t audit.Trace) error {
	if s.broken == nil {
		s.traces[t.Code] = t
	}
	return s.broken
}

func (s *shelf) TraceByCode(_ context.Context, code string) (audit.Trace, bool, error) {
	t, ok := s.traces[code]
	return t, ok, s.broken
}

func (s *shelf) Record(context.Context, audit.Entry) error { return s.broken }

func stories() (*Stories, *shelf) {
	s := &shelf{traces: map[string]audit.Trace{}}
	return &Stories{Traces: s, Record: s}, s
}

func TestTheLatestStoriesComeFirstAndOnce(t *testing.T) {
	s, _ := stories()
	for i := range maxStories + 5 {
		code := fmt.Sprint("CODE", i)
		for range 2 { // a transaction may run twice
			if err := s.SaveTrace(t.Context(), audit.Trace{Code: code}); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := s.Latest(maxStories + 5)
	if len(got) != maxStories {
		t.Errorf("%d stories are remembered, want %d", len(got), maxStories)
	}
	if newest := fmt.Sprint("CODE", maxStories+4); got[0].Code != newest || got[1].Code == newest {
		t.Errorf("the newest are %s and %s", got[0].Code, got[1].Code)
	}
	s.forget()
	if left := s.Latest(1); len(left) != 0 {
		t.Errorf("after forgetting: %v", left)
	}
}

func TestAStoryThatIsNotKeptIsNotShown(t *testing.T) {
	s, kept := stories()
	kept.broken = errors.New("the disk is full")
	if err := s.SaveTrace(t.Context(), audit.Trace{Code: "CODE"}); err == nil || len(s.Latest(1)) != 0 {
		t.Errorf("%v, %v", err, s.Latest(1))
	}
	entry := audit.Entry{Action: audit.LoginSucceeded, Actor: audit.Ref{ID: "per_1"}, Org: "org_1", Target: audit.Ref{ID: "app_1"}, Detail: map[string]string{"trace": "CODE"}}
	if err := s.Recorder().Record(t.Context(), entry); err == nil {
		t.Error("an entry that could not be kept went unnoticed")
	}
	kept.broken = nil
	if _, found, err := s.of(t.Context(), sign{"per_1", "org_1", "app_1"}); found || err != nil {
		t.Errorf("a sign-in that was not recorded has a story (%v)", err)
	}
}

func TestASignInFindsItsOwnStoryAndNobodyElses(t *testing.T) {
	s, kept := stories()
	kept.traces["CODE"] = audit.Trace{Code: "CODE"}
	err := s.Recorder().Record(t.Context(), audit.Entry{
		Action: audit.LoginSucceeded, Actor: audit.Ref{ID: "per_1"}, Org: "org_1", Target: audit.Ref{ID: "app_1"}, Detail: map[string]string{"trace": "CODE"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[sign]bool{
		{"per_1", "org_1", "app_1"}: true,
		{"per_1", "org_1", "app_2"}: true, // single sign-on: the story of the session it went on with
		{"per_2", "org_1", "app_1"}: false,
		{"per_1", "org_2", "app_1"}: false,
	} {
		if _, found, err := s.of(t.Context(), who); found != want || err != nil {
			t.Errorf("%v: found %v (%v), want %v", who, found, err, want)
		}
	}
}
