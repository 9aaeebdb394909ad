package flows

import (
	"context"

	"github.com/vestibule-id/vestibule/directory"
)

// flow is what the login runs on: the versions that were published when it came to its organization, and for
// who tests a draft the draft (flows.md, "Life cycle"). It also looks up what that flow wants to know.
func (e *Engine) flow(ctx context.Context, t *Turn) (Flow, error) {
	l, s := t.Login, &t.State
	s.Done, s.DeviceKnown = l.Done, t.deviceKnown()
	if e.Judge.Flows == nil || s.Org == nil {
		return DefaultFlow, nil
	}
	if err := e.pin(ctx, l, s); err != nil {
		return Flow{}, err
	}
	f, err := e.Judge.Flows.Pinned(ctx, l.Flow)
	if err != nil || s.Person == nil {
		return f, err
	}
	if f.adds(StepTerms) && s.Person.Member.Person != "" {
		if s.Accepted, err = e.Judge.Flows.TermsAccepted(ctx, s.Org.Chain.Org().ID, s.Person.Person.ID); err != nil {
			return Flow{}, err
		}
	}
	if len(f.wishes) > 0 {
		err = e.Judge.enrolled(ctx, s)
	}
	return f, err
}

// pin chooses the versions once, again when the login comes to another organization, and once more when it is
// known whose it is: that person may test a draft.
func (e *Engine) pin(ctx context.Context, l *Login, s *State) error {
	who := directory.PersonID("")
	if s.Person != nil {
		who = s.Person.Person.ID
	}
	chain := s.Org.Chain
	if pinnedFor(l.Flow, chain) && (who == "" || who == l.FlowFor) {
		return nil
	}
	pins, err := e.Judge.Flows.Pins(ctx, chain, who)
	if err != nil {
		return err
	}
	if pinnedFor(l.Flow, chain) {
		if pins, err = e.Judge.Flows.drafts(ctx, l.Flow, pins); err != nil {
			return err
		}
	}
	l.Flow, l.FlowFor = pins, who
	return nil
}

// drafts are the pins that a login has, with the drafts that its person tests in their places.
func (s *FlowService) drafts(ctx context.Context, have, now []FlowPin) ([]FlowPin, error) {
	out := make([]FlowPin, len(have))
	for i, p := range have {
		h, err := s.FlowHead(ctx, p.Org)
		if err != nil {
			return nil, err
		}
		if out[i] = p; h.Draft != 0 && (now[i].Version == h.Draft || p.Version == h.Draft) {
			out[i] = now[i]
		}
	}
	return out, nil
}

func pinnedFor(pins []FlowPin, chain directory.Chain) bool {
	if len(pins) != len(chain) {
		return false
	}
	for i, o := range chain {
		if pins[i].Org != o.ID {
			return false
		}
	}
	return true
}

// deviceKnown says whether this browser signed in to the login's organization before: as that person, where
// somebody is proved.
func (t *Turn) deviceKnown() bool {
	s := &t.State
	if s.Org == nil {
		return false
	}
	org := s.Org.Chain.Org().ID
	for _, m := range s.Marks {
		if m.Org == org && s.Person != nil {
			return true
		}
	}
	for _, r := range t.Remembered {
		if r.Org == org && (s.Person == nil || r.Hint == Mask(s.Person.Person.Email)) {
			return true
		}
	}
	return false
}
