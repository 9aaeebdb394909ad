package directory

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// RevocationKind says whose sessions and tokens a revocation ends. Stored, never renamed.
type RevocationKind string

const (
	// RevokePerson ends all that a person has, everywhere: Ref is the person, Org their home.
	RevokePerson RevocationKind = "person"
	// RevokeMembership ends what a person has in one organization: Ref is the person.
	RevokeMembership RevocationKind = "membership"
	// RevokeOrg ends what anybody has in an organization and all below it, and all that people who are at
	// home there have anywhere: Ref is the organization.
	RevokeOrg RevocationKind = "org"
	// RevokeApp ends what an app was given: Ref is the app, Org "".
	RevokeApp RevocationKind = "app"
	// RevokeEntitlement ends what an app was given in an organization and all below it, wherever they may no
	// longer use it: Ref is the app.
	RevokeEntitlement RevocationKind = "entitlement"
	// RevokeConnection ends what people opened in an organization and below it by a connection of it: Ref is
	// the connection.
	RevokeConnection RevocationKind = "connection"
)

// Revocation orders that sessions and tokens of before At are over. This room cannot end sessions: it
// writes the order in the transaction of the change that causes it, and the broker carries it out, on
// whichever node comes first. Admission refuses at once and does not wait for it: what it adds is that
// apps are told, and that nothing comes to life again when the cause is gone.
type Revocation struct {
	Seq    int64 // given by the store
	Kind   RevocationKind
	Ref    string
	Org    OrgID
	Reason string // one of the Ended… constants
	At     time.Time
	Until  time.Time // how long the order is kept after it was carried out
}

// Why sessions end, as the record says it.
const (
	EndedSuspended = "suspended"
	EndedRemoved   = "removed"
	EndedSignedOut = "signed out everywhere"
	EndedPassword  = "the password was set anew"
	EndedFactors   = "second steps were removed"
	EndedRecovery  = "a way back after a lost second step was used"
	EndedNotUsed   = "the organization uses the app no longer"
	// EndedConnection: by an administrator, for the identity provider's word counts no longer.
	EndedConnection = "the connection was switched off"
)

// keepRevocation is longer than any access token lives.
const keepRevocation = 24 * time.Hour

// Revocations takes orders.
type Revocations interface {
	// Revoke joins the transaction of ctx.
	Revoke(ctx context.Context, org OrgID, r Revocation) error
}

// RevocationOf is an order of that time.
func RevocationOf(kind RevocationKind, org OrgID, ref, reason string, at time.Time) Revocation {
	return Revocation{Kind: kind, Ref: ref, Org: org, Reason: reason, At: at, Until: at.Add(keepRevocation)}
}

// order writes a revocation of now.
func (s *Service) order(ctx context.Context, kind RevocationKind, org OrgID, ref, reason string) error {
	return s.Revoke(ctx, org, RevocationOf(kind, org, ref, reason, s.Now()))
}

// SignOut ends all sessions and tokens of a person that were there before now: everywhere when org is
// their home, else in org alone, for an organization has no say over what a person does elsewhere (S3).
func (s *Service) SignOut(ctx context.Context, a Actor, org OrgID, id PersonID) error {
	if err := Allow(a, org, EndSessions); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		p, _, err := s.Person(ctx, org, id)
		if err != nil {
			return err
		}
		if p.Home != org {
			if err := s.order(ctx, RevokeMembership, org, string(id), EndedSignedOut); err != nil {
				return err
			}
			return s.recordSignOut(ctx, a, org, id)
		}
		if err := s.UpdatePerson(ctx, org, id, func(p *Person) error { p.SessionsAfter = s.Now(); return nil }); err != nil {
			return err
		}
		if err := s.order(ctx, RevokePerson, org, string(id), EndedSignedOut); err != nil {
			return err
		}
		return s.recordSignOut(ctx, a, org, id)
	})
}

// EndAll ends all that a person at home in home has open before now, for a reason that is recorded by whoever
// calls. It joins the transaction of ctx.
func (s *Service) EndAll(ctx context.Context, home OrgID, id PersonID, why string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		err := s.UpdatePerson(ctx, home, id, func(p *Person) error {
			if p.Home != home {
				return ErrPersonNotFound
			}
			p.SessionsAfter = s.Now()
			return nil
		})
		if err != nil {
			return err
		}
		return s.order(ctx, RevokePerson, home, string(id), why)
	})
}

func (s *Service) recordSignOut(ctx context.Context, a Actor, org OrgID, id PersonID) error {
	return s.record(ctx, a, org, audit.PersonSignedOut, personRef(id), nil)
}
