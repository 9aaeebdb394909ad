package directory

import (
	"context"
	"time"

	"github.com/vestibule-id/vestibule/audit"
)

// Actor is who asks for a change. The zero Actor is nobody and may do nothing.
type Actor struct {
	Kind ActorKind
	ID   string // a person's or process's id; for the record
}

// ActorKind says what stands behind an actor.
type ActorKind string

const (
	// Operator is whoever runs this installation: the command line on its machine, the demo's seed.
	Operator ActorKind = "operator"
	// Engine is the login engine, for what follows from a proved login: just-in-time accounts, links.
	Engine ActorKind = "engine"
)

// Ref is the actor as the record names it.
func (a Actor) Ref() audit.Ref { return audit.Ref{Kind: string(a.Kind), ID: a.ID} }

// Action is something an actor may or may not do.
type Action string

const (
	ManageRealms Action = "realms.manage"
	ManageOrgs   Action = "orgs.manage"
	ManagePeople Action = "people.manage"
	ManageApps   Action = "apps.manage"
	ManageSignIn Action = "signin.manage" // domains, connections, policy, look
	ManageKeys   Action = "keys.manage"   // signing and sealing keys, backups, the record's keeping
	SeeSessions  Action = "sessions.see"
	EndSessions  Action = "sessions.end"
	SeeDelivery  Action = "delivery.see" // what was sent, and whether it arrived
	JoinByLogin  Action = "people.join"  // what the engine may: create and link whoever a connection proved
)

// Allow says whether the actor may do the action in org. Delegated administration has a later door;
// until then operators may everything and the engine what a login needs.
func Allow(a Actor, _ OrgID, act Action) error {
	switch {
	case a.Kind == Operator:
		return nil
	case a.Kind == Engine && act == JoinByLogin:
		return nil
	}
	return ErrDenied
}

// words are who an actor is, for people.
func (a Actor) words() string {
	if a.Kind == Operator {
		return "the operator"
	}
	return ""
}

// Service holds this room's use cases. All fields are required but AppName.
type Service struct {
	Realms
	Orgs
	Domains
	People
	Memberships
	Identities
	Entitlements
	Policies
	Revocations
	Passwords
	Accounts
	Tx    Tx
	Audit audit.Recorder
	Now   func() time.Time
	// AppName names an app to whom its policy is explained; without it apps are named by their id.
	AppName func(ctx context.Context, app AppID) string

	folds folds
}

// record writes one entry about org, made now, in the transaction of ctx.
func (s *Service) record(ctx context.Context, a Actor, org OrgID, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := s.Now()
	return s.Audit.Record(ctx, audit.Entry{
		ID: string(NewEntryID(now)), At: now, Org: string(org), Actor: a.Ref(), Action: act, Target: target, Detail: detail,
	})
}
