package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

func flowVersions(t *testing.T, w *World) {
	org := w.acme.Org.ID
	h, err := w.FlowHead(w.ctx, org)
	ok(t, err)
	if h.Latest != 1 || h.Published != 1 || h.Version == 0 {
		t.Fatalf("the head is %+v", h)
	}
	doc := `{"items":[{"step":"notice"}]}`
	h.Draft, h.Testers = 2, []directory.PersonID{w.acme.Person.ID}
	ok(t, w.PutFlowVersion(w.ctx, org, flows.FlowVersion{Version: 2, At: w.clock.Now(), Actor: directory.Actor{Kind: directory.Operator, ID: "x"}, Doc: []byte(doc)}))
	ok(t, w.PutFlowHead(w.ctx, org, h))
	if err := w.PutFlowHead(w.ctx, org, h); !errors.Is(err, directory.ErrMoved) {
		t.Errorf("a head that moved was overwritten: %v", err)
	}
	if err := w.PutFlowVersion(w.ctx, org, flows.FlowVersion{Version: 2, At: w.clock.Now(), Doc: []byte("{}")}); !errors.Is(err, directory.ErrMoved) {
		t.Errorf("a version was overwritten: %v", err)
	}
	if h, err := w.FlowHead(w.ctx, org); err != nil || h.Draft != 2 || len(h.Testers) != 1 {
		t.Errorf("the head is %+v, %v", h, err)
	}
	list, err := w.FlowVersions(w.ctx, org, 10)
	ok(t, err)
	if len(list) != 2 || list[0].Version != 2 || string(list[0].Doc) != doc || list[0].Actor.ID != "x" || !list[0].At.Equal(w.clock.Now()) {
		t.Errorf("the versions are %+v", list)
	}
	if v, err := w.FlowVersion(w.ctx, org, 2); err != nil || v.Actor.ID != "x" {
		t.Errorf("the version is %+v, %v", v, err)
	}
	if _, err := w.FlowVersion(w.ctx, org, 3); !errors.Is(err, flows.ErrFlowVersion) {
		t.Errorf("a version that is not there: %v", err)
	}
	if err := w.PutFlowVersion(w.ctx, "org_nobody", flows.FlowVersion{Version: 1, Doc: []byte("{}")}); !errors.Is(err, directory.ErrOrgNotFound) {
		t.Errorf("nobody's flow: %v", err)
	}
}

func termsAccepted(t *testing.T, w *World) {
	org, person := w.acme.Org.ID, w.acme.Person.ID
	first := w.clock.Now()
	ok(t, w.AcceptTerms(w.ctx, org, person, flows.Acceptance{Org: org, Version: "2026-01", At: first}))
	w.clock.Advance(time.Hour)
	ok(t, w.AcceptTerms(w.ctx, org, person, flows.Acceptance{Org: org, Version: "2026-01", At: w.clock.Now()}))
	ok(t, w.AcceptTerms(w.ctx, org, person, flows.Acceptance{Org: org, Version: "2026-02", At: w.clock.Now()}))
	list, err := w.TermsAccepted(w.ctx, org, person)
	ok(t, err)
	if len(list) != 3 || list[0].Version != "2026-01" || !list[0].At.Equal(first) || list[0].Org != org || list[1].Version != "2026-02" {
		t.Errorf("accepted %+v", list)
	}
}
