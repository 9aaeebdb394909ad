package flows

import (
	"context"
	"net/url"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

// membership refuses whoever does not belong, whatever they proved.
type membership struct{}

func (membership) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Org == nil || s.Person == nil {
		return false, nil, ErrNotMember
	}
	networks := policy.LoginNetworks.In(p)
	who, m := s.Person.Person, s.Person.Member
	switch {
	case m.Person == "":
		return false, nil, ErrNotMember
	case who.Status != directory.Active || m.Status == directory.Suspended:
		return false, nil, ErrSuspended
	case who.Realm != s.Org.Chain.Org().Realm || m.Org != s.Org.Chain.Org().ID || !m.Holds(s.Now):
		return false, nil, ErrNotMember
	case s.Browser && !networks.Everywhere() && !networks.Contains(s.From):
		// Told to members alone: to strangers the organization's networks are no business (S31).
		return false, []Reason{s.because(p, policy.LoginNetworks.Key, "People sign in from these networks alone.")}, ErrNetwork
	}
	return false, nil, nil
}

// Ask and Take have no page of their own: a refusal is drawn by the engine.
func (membership) Ask(context.Context, *Turn) (Reply, error)     { return Reply{}, ErrNotMember }
func (membership) Take(context.Context, *Turn, url.Values) error { return ErrOutOfOrder }
