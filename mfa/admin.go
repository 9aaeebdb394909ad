package mfa

import (
	"context"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
)

// What administrators do with other people's second steps. It gives control of an account, so the
// person's home organization alone may do it (S3), the person is told by their old channels, and what they
// have open ends.

// ErrLife: a bypass is good for at most an hour.
var ErrLife = fault.New(fault.Invalid, "mfa.bypass_life", "A one-time code is good for at least a minute and at most 60 minutes.")

// LongestBypass is how long a bypass may be good.
const LongestBypass = time.Hour

// Maker makes what an administrator gives somebody: the code, which is shown once, and what is kept of it.
type Maker interface {
	Factor
	Bypass(ctx context.Context, until time.Time) (code string, e Enrollment, err error)
}

// Held lists what a person set up, without what is used up, over, or no second step.
func (s *Service) Held(ctx context.Context, a directory.Actor, home directory.OrgID, person directory.PersonID) ([]Enrollment, error) {
	if err := directory.Allow(a, home, directory.ManagePeople); err != nil {
		return nil, err
	}
	return s.held(ctx, home, person)
}

func (s *Service) held(ctx context.Context, home directory.OrgID, person directory.PersonID) ([]Enrollment, error) {
	list, err := s.EnrollmentsOf(ctx, home, person)
	return slices.DeleteFunc(list, func(e Enrollment) bool {
		_, err := s.Factor(e.Method)
		return err != nil && e.Method.Class() == policy.Unranked || !s.Live(e)
	}), err
}

// Remove takes one second step from a person, and ends what they have open.
func (s *Service) Remove(ctx context.Context, a directory.Actor, sub Subject, id directory.FactorID) error {
	if err := directory.Allow(a, sub.Home, directory.ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		list, err := s.EnrollmentsOf(ctx, sub.Home, sub.Person)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(e Enrollment) bool { return e.ID == id })
		if i < 0 {
			return ErrNotFound
		}
		if err := s.remove(ctx, a, sub, list[i]); err != nil {
			return err
		}
		return s.end(ctx, sub, directory.EndedFactors)
	})
}

// Reset takes all second steps from a person, and ends what they have open. It gives how many there were.
func (s *Service) Reset(ctx context.Context, a directory.Actor, sub Subject) (int, error) {
	if err := directory.Allow(a, sub.Home, directory.ManagePeople); err != nil {
		return 0, err
	}
	count := 0
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		n := 0
		list, err := s.EnrollmentsOf(ctx, sub.Home, sub.Person)
		if err != nil {
			return err
		}
		for _, e := range list {
			if _, err := s.Factor(e.Method); err != nil && e.Method.Class() == policy.Unranked {
				continue // no second step: since when they are asked for one
			}
			if err := s.remove(ctx, a, sub, e); err != nil {
				return err
			}
			n++
		}
		count = n
		return s.end(ctx, sub, directory.EndedFactors)
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

func (s *Service) remove(ctx context.Context, a directory.Actor, sub Subject, e Enrollment) error {
	if err := s.RemoveEnrollment(ctx, sub.Home, e.ID); err != nil {
		return err
	}
	err := s.recordBy(ctx, a.Ref(), sub, audit.FactorRemoved, audit.Ref{Kind: "factor", ID: string(e.ID)}, map[string]string{"method": string(e.Method), "person": string(sub.Person)})
	if err != nil {
		return err
	}
	return s.tell(ctx, sub, Change{What: FactorRemoved, Method: e.Method, Label: e.Label, At: s.Now()})
}

// Bypass makes a code that stands for a second step once, in place of any made before. Nobody can be shown
// it again.
func (s *Service) Bypass(ctx context.Context, a directory.Actor, sub Subject, life time.Duration) (code string, until time.Time, err error) {
	if err := directory.Allow(a, sub.Home, directory.ManagePeople); err != nil {
		return "", time.Time{}, err
	}
	if life < time.Minute || life > LongestBypass {
		return "", time.Time{}, ErrLife
	}
	f, err := s.Factor(policy.AdminBypass)
	if err != nil {
		return "", time.Time{}, err
	}
	maker, ok := f.(Maker)
	if !ok {
		return "", time.Time{}, ErrUnknown.Because(string(policy.AdminBypass))
	}
	now := s.Now()
	until = now.Add(life)
	code, made, err := maker.Bypass(ctx, until)
	if err != nil {
		return "", time.Time{}, err
	}
	made.ID, made.Realm, made.Home, made.Person, made.Org = directory.NewFactorID(now), sub.Realm, sub.Home, sub.Person, sub.Org
	made.Method, made.CreatedAt = policy.AdminBypass, now
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		list, err := s.EnrollmentsOf(ctx, sub.Home, sub.Person)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Method != policy.AdminBypass {
				continue
			}
			if err := s.RemoveEnrollment(ctx, sub.Home, e.ID); err != nil {
				return err
			}
		}
		if err := s.AddEnrollment(ctx, sub.Home, made); err != nil {
			return err
		}
		if err := s.recordBy(ctx, a.Ref(), sub, audit.BypassMade, audit.Ref{Kind: "person", ID: string(sub.Person)}, nil); err != nil {
			return err
		}
		return s.tell(ctx, sub, Change{What: FactorAdded, Method: policy.AdminBypass, At: now})
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return code, until, nil
}

// end ends all that a person has open before now.
func (s *Service) end(ctx context.Context, sub Subject, why string) error {
	if s.End == nil {
		return nil
	}
	return s.End(ctx, sub.Home, sub.Person, why)
}

func (s *Service) recordBy(ctx context.Context, actor audit.Ref, sub Subject, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := s.Now()
	return s.Audit.Record(ctx, audit.Entry{ID: string(directory.NewEntryID(now)), At: now, Org: string(sub.Home), Actor: actor, Action: act, Target: target, Detail: detail})
}
