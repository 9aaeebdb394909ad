package directory

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/vestibule-id/vestibule/audit"
)

// ValidHandle says whether s can be a handle: LDH ASCII, lower case, 1 to 63 characters (S40).
func ValidHandle(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// AddRealm makes a realm.
func (s *Service) AddRealm(ctx context.Context, a Actor, r Realm) error {
	if err := Allow(a, "", ManageRealms); err != nil {
		return err
	}
	if !ValidHandle(r.Handle) {
		return ErrHandle
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.CreateRealm(ctx, r); err != nil {
			return err
		}
		return s.record(ctx, a, "", audit.RealmCreated, audit.Ref{Kind: "realm", ID: string(r.ID)}, nil)
	})
}

// AddOrg makes an organization below o.Parent, or at the top of its realm.
func (s *Service) AddOrg(ctx context.Context, a Actor, o Org) error {
	if err := Allow(a, o.Parent, ManageOrgs); err != nil {
		return err
	}
	if !ValidHandle(o.Handle) {
		return ErrHandle
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.CreateOrg(ctx, o); err != nil {
			return err
		}
		return s.record(ctx, a, o.ID, audit.OrgCreated, orgRef(o.ID), nil)
	})
}

// SetOrgStatus suspends, archives or revives an organization; what is below it follows (S14).
func (s *Service) SetOrgStatus(ctx context.Context, a Actor, org OrgID, to Status) error {
	if err := Allow(a, org, ManageOrgs); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.UpdateOrg(ctx, org, func(o *Org) error { o.Status = to; return nil }); err != nil {
			return err
		}
		if to != Active {
			if err := s.order(ctx, RevokeOrg, org, string(org), EndedSuspended); err != nil {
				return err
			}
		}
		return s.record(ctx, a, org, audit.OrgStatusChanged, orgRef(org), map[string]string{"status": string(to)})
	})
}

// ChangeOrg changes handle, name or contact of an organization; its status has a door of its own,
// SetOrgStatus. change may run twice.
func (s *Service) ChangeOrg(ctx context.Context, a Actor, org OrgID, change func(*Org) error) error {
	if err := Allow(a, org, ManageOrgs); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		var fields []string
		err := s.UpdateOrg(ctx, org, func(o *Org) error {
			before := *o
			if err := change(o); err != nil {
				return err
			}
			o.Status = before.Status
			fields = differing(map[string]bool{"handle": before.Handle == o.Handle, "name": before.Name == o.Name, "contact": before.Contact == o.Contact})
			if !ValidHandle(o.Handle) {
				return ErrHandle
			}
			return nil
		})
		if err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.OrgChanged, orgRef(org), map[string]string{"fields": strings.Join(fields, ", ")})
	})
}

// differing names the fields that are not the same, in order.
func differing(same map[string]bool) []string {
	var out []string
	for name, equal := range same {
		if !equal {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// DeclareDomain marks a domain as the organization's own on the operator's word (S10): it is verified
// without DNS.
func (s *Service) DeclareDomain(ctx context.Context, a Actor, org OrgID, name string, via ConnectionID) error {
	if err := Allow(a, org, ManageSignIn); err != nil {
		return err
	}
	name, err := DomainName(name)
	if err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		chain, err := s.OrgChain(ctx, org)
		if err != nil {
			return err
		}
		d := Domain{Name: name, Realm: chain.Org().Realm, Org: org, Connection: via, VerifiedAt: s.Now(), VerifiedBy: "operator"}
		if have, ok, err := s.OrgOfDomain(ctx, d.Realm, name); err != nil {
			return err
		} else if ok && have.Org == org {
			d.VerifiedAt = have.VerifiedAt // what was vouched for since then stays so
		}
		if err := s.PutDomain(ctx, org, d); err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.DomainVerified, audit.Ref{Kind: "domain", ID: name}, map[string]string{"by": "operator"})
	})
}

// DomainName normalises a domain to lower-case A-labels (UTS 46) and refuses what nobody can claim:
// names without a dot, public suffixes, addresses.
func DomainName(name string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(strings.TrimSpace(name), "."))
	if err != nil {
		return "", ErrDomain.With(err)
	}
	ascii = strings.ToLower(ascii)
	if suffix, _ := publicsuffix.PublicSuffix(ascii); !strings.Contains(ascii, ".") || suffix == ascii {
		return "", ErrDomain.Because(ascii)
	}
	return ascii, nil
}

// Entitle lets an organization's people use an app. What is below it and used the app by its leave, and now
// may not, is ended.
func (s *Service) Entitle(ctx context.Context, a Actor, e Entitlement) error {
	if err := Allow(a, e.Org, ManageApps); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		before, err := s.Entitled(ctx, e.Org, e.App)
		if err != nil {
			return err
		}
		if err := s.PutEntitlement(ctx, e.Org, e); err != nil {
			return err
		}
		if before && !e.Below { // it may have held for all below until now
			if err := s.order(ctx, RevokeEntitlement, e.Org, string(e.App), EndedNotUsed); err != nil {
				return err
			}
		}
		return s.record(ctx, a, e.Org, audit.AppEntitled, audit.Ref{Kind: "app", ID: string(e.App)}, nil)
	})
}

// Unentitle ends an organization's use of an app, and what the app was given there.
func (s *Service) Unentitle(ctx context.Context, a Actor, org OrgID, app AppID) error {
	if err := Allow(a, org, ManageApps); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.RemoveEntitlement(ctx, org, app); err != nil {
			return err
		}
		if err := s.order(ctx, RevokeEntitlement, org, string(app), EndedNotUsed); err != nil {
			return err
		}
		return s.record(ctx, a, org, audit.AppUnentitled, audit.Ref{Kind: "app", ID: string(app)}, nil)
	})
}

func orgRef(id OrgID) audit.Ref { return audit.Ref{Kind: "org", ID: string(id)} }
