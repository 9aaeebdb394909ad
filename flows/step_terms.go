package flows

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Acceptance is that a person accepted a version of an organization's terms.
type Acceptance struct {
	Org     directory.OrgID // whose terms
	Version string
	At      time.Time
}

// Terms keeps what people accepted.
type Terms interface {
	// TermsAccepted lists what a member of org accepted, of any organization's terms.
	TermsAccepted(ctx context.Context, org directory.OrgID, person directory.PersonID) ([]Acceptance, error)
	// AcceptTerms keeps that a member of org accepted; what was accepted before keeps its time.
	AcceptTerms(ctx context.Context, org directory.OrgID, person directory.PersonID, a Acceptance) error
}

// terms asks people to accept a version of the organization's terms, once; another version is asked anew.
type terms struct{}

func (terms) Wants(_ policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Person == nil || s.At == nil {
		return true, nil, ErrStep // nobody accepts for somebody else
	}
	at := s.At
	if slices.ContainsFunc(s.Accepted, func(a Acceptance) bool { return a.Org == at.Org && a.Version == at.Set.Version }) {
		return false, nil, nil
	}
	r := s.flowSays("The organization's terms have to be accepted.")
	r.Value = at.Set.Version
	return true, []Reason{r}, nil
}

func (terms) Ask(_ context.Context, t *Turn) (Reply, error) {
	return Reply{Page: templates.TermsPage{FlowFrame: t.flowFrame(StepTerms), Version: t.State.At.Set.Version}}, nil
}

func (terms) Take(ctx context.Context, t *Turn, answer url.Values) error {
	if !t.here(answer) || answer.Get("accept") != "1" {
		return nil
	}
	at, who := t.State.At, t.State.Person.Person.ID
	a := Acceptance{Org: at.Org, Version: at.Set.Version, At: t.State.Now}
	if err := t.Engine.Judge.Flows.acceptTerms(ctx, t.State.Org.Chain.Org().ID, who, a); err != nil {
		return err
	}
	t.Login.note(t.State.Now, audit.Step{Name: string(StepTerms), Text: "The person accepted the terms.", Facts: map[string]string{"version": a.Version, "org": string(a.Org)}})
	return nil
}
