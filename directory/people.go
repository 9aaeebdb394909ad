package directory

import (
	"context"
	"reflect"
	"strings"

	"github.com/vestibule-id/vestibule/audit"
)

// AddPerson makes an account with its home membership and the identifiers that find it.
func (s *Service) AddPerson(ctx context.Context, a Actor, p Person, ids []Identifier) error {
	if err := allowPeople(a, p.Home); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.CreatePerson(ctx, p.Home, p, ids); err != nil {
			return err
		}
		return s.record(ctx, a, p.Home, audit.PersonCreated, personRef(p.ID), map[string]string{"source": p.Source})
	})
}

// AddMember gives a person a membership in another organization than their home.
func (s *Service) AddMember(ctx context.Context, a Actor, m Membership) error {
	if err := Allow(a, m.Org, ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.PutMembership(ctx, m.Org, m); err != nil {
			return err
		}
		if !m.Holds(s.Now()) {
			if err := s.order(ctx, RevokeMembership, m.Org, string(m.Person), EndedSuspended); err != nil {
				return err
			}
		}
		return s.record(ctx, a, m.Org, audit.MembershipCreated, personRef(m.Person), map[string]string{"kind": m.Kind})
	})
}

// ChangePerson changes what is known of a person at home in home: names, locale, profile. What finds and
// proves them stays as it is. change may run twice.
func (s *Service) ChangePerson(ctx context.Context, a Actor, home OrgID, id PersonID, change func(*Person) error) error {
	if err := Allow(a, home, ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		var fields []string
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			if p.Home != home {
				return ErrPersonNotFound // another organization may only end its own membership (S3)
			}
			before := *p
			if err := change(p); err != nil {
				return err
			}
			fields = differing(map[string]bool{"name": before.Name == p.Name, "given_name": before.Given == p.Given, "family_name": before.Family == p.Family,
				"locale": before.Locale == p.Locale, "profile": reflect.DeepEqual(before.Profile, p.Profile)})
			p.Email, p.EmailSince, p.EmailProved = before.Email, before.EmailSince, before.EmailProved
			p.Status, p.SessionsAfter, p.Source = before.Status, before.SessionsAfter, before.Source
			return nil
		})
		if err != nil {
			return err
		}
		return s.record(ctx, a, home, audit.PersonChanged, personRef(id), map[string]string{"fields": strings.Join(fields, ", ")})
	})
}

// ChangeMember replaces a membership that is there: its kind, its end, its status.
func (s *Service) ChangeMember(ctx context.Context, a Actor, m Membership) error {
	if err := Allow(a, m.Org, ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if _, _, err := s.Person(ctx, m.Org, m.Person); err != nil {
			return err
		}
		if err := s.PutMembership(ctx, m.Org, m); err != nil {
			return err
		}
		if !m.Holds(s.Now()) {
			if err := s.order(ctx, RevokeMembership, m.Org, string(m.Person), EndedSuspended); err != nil {
				return err
			}
		}
		return s.record(ctx, a, m.Org, audit.MembershipChanged, personRef(m.Person), map[string]string{"kind": m.Kind})
	})
}

// SetPersonStatus suspends or revives a person in their home organization. Suspension voids what was
// issued before it.
func (s *Service) SetPersonStatus(ctx context.Context, a Actor, home OrgID, id PersonID, to Status) error {
	if err := Allow(a, home, ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			if p.Home != home {
				return ErrPersonNotFound // another organization may only end its own membership (S3)
			}
			p.Status = to
			if to != Active {
				p.SessionsAfter = s.Now()
			}
			return nil
		})
		if err != nil {
			return err
		}
		if to != Active {
			if err := s.order(ctx, RevokePerson, home, string(id), EndedSuspended); err != nil {
				return err
			}
		}
		return s.record(ctx, a, home, audit.PersonStatusChanged, personRef(id), map[string]string{"status": string(to)})
	})
}

// EndMembership removes a person from an organization that is not their home.
func (s *Service) EndMembership(ctx context.Context, a Actor, org OrgID, id PersonID) error {
	if err := Allow(a, org, ManagePeople); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.RemoveMembership(ctx, org, id); err != nil {
			return err
		}
		if err := s.order(ctx, RevokeMembership, org, string(id), EndedRemoved); err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.MembershipRemoved, personRef(id), nil)
	})
}

// LinkPerson ties an upstream account to a person.
func (s *Service) LinkPerson(ctx context.Context, a Actor, org OrgID, i Identity) error {
	if err := allowPeople(a, org); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.LinkIdentity(ctx, org, i); err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.IdentityLinked, personRef(i.Person), map[string]string{"connection": string(i.Key.Connection)})
	})
}

// allowPeople: accounts are made by whoever manages people, and by a login that was proved.
func allowPeople(a Actor, org OrgID) error {
	if a.Kind == Engine {
		return Allow(a, org, JoinByLogin)
	}
	return Allow(a, org, ManagePeople)
}

func personRef(id PersonID) audit.Ref { return audit.Ref{Kind: "person", ID: string(id)} }
