package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
)

// This file is how sessions end. Whatever ends one, or one organization's part of it, does so here, in
// one transaction: the marks, the tokens that it opened, the record, and a logout token for each app that
// was signed in to there and wants one.

// SessionRef says which session, without what it holds.
type SessionRef struct {
	ID        directory.SessionID
	Home      directory.OrgID
	Realm     directory.RealmID
	Person    directory.PersonID
	CreatedAt time.Time
}

// Part is what ends: of one organization, of one app, of one app in one organization, or of all when both are
// "".
type Part struct {
	Org    directory.OrgID
	App    directory.AppID
	Before time.Time // what was opened later goes on
	At     time.Time
	Reason string
}

// SessionView is a running session as its owner or an administrator sees it: without secret and proofs.
type SessionView struct {
	Session
	Apps []AppMark
}

// MaxSessionsShown is how many sessions of one person are listed at most.
const MaxSessionsShown = 200

// Endings keeps what ending many sessions needs. Pages are by id, from after the last one of the page
// before.
type Endings interface {
	// EndApps ends apps' parts of a session and returns those that this call ended: each is given once.
	EndApps(ctx context.Context, home directory.OrgID, id directory.SessionID, p Part) ([]AppMark, error)
	// SessionsFrom lists running sessions of people at home in an organization, by person and id.
	SessionsFrom(ctx context.Context, home directory.OrgID, after SessionRef, most int) ([]SessionRef, error)
	// SessionsIn lists sessions that were used for an organization.
	SessionsIn(ctx context.Context, org directory.OrgID, after directory.SessionID, most int) ([]SessionRef, error)
	// SessionsWith lists sessions that an app is signed in to, of whatever organization.
	SessionsWith(ctx context.Context, app directory.AppID, after directory.SessionID, most int) ([]SessionRef, error)
	// RevokeTokensIn revokes up to most grants of an organization, of one person or of all when person is
	// "", of the Part's app or of all when it names none, and says how many it did. RevokeTokensFor does so for an app.
	RevokeTokensIn(ctx context.Context, org directory.OrgID, person directory.PersonID, p Part, most int) (int, error)
	RevokeTokensFor(ctx context.Context, app directory.AppID, p Part, most int) (int, error)
}

// Viewer lists sessions for people.
type Viewer interface {
	// SessionsOf lists a person's running sessions, the newest first, without secrets and proofs.
	SessionsOf(ctx context.Context, home directory.OrgID, person directory.PersonID) ([]SessionView, error)
}

func (s Session) ref() SessionRef {
	return SessionRef{ID: s.ID, Home: s.Home, Realm: s.Realm, Person: s.Person, CreatedAt: s.CreatedAt}
}

// endSession ends a session and everything it opened, as its owner wished or because its time was over.
func (b *Broker) endSession(ctx context.Context, s Session, reason string) error {
	now := b.Now()
	who := audit.Ref{Kind: "person", ID: string(s.Person)}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		return b.end(ctx, s.ref(), Part{Before: now, At: now, Reason: reason}, who, apps{})
	})
}

// endPart ends what a session is to one organization, which accepts it again after a fresh proof.
func (b *Broker) endPart(ctx context.Context, s Session, org directory.OrgID, reason string) error {
	now := b.Now()
	who := audit.Ref{Kind: "person", ID: string(s.Person)}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		return b.end(ctx, s.ref(), Part{Org: org, Before: now, At: now, Reason: reason}, who, apps{})
	})
}

// apps remembers the apps of one transaction.
type apps map[directory.AppID]App

// errUnchanged keeps a session that has nothing to end from being written.
var errUnchanged = errors.New("nothing to end")

// end ends a session, or a part of it, in the transaction of ctx. Done again, it changes nothing and
// tells nobody.
func (b *Broker) end(ctx context.Context, s SessionRef, p Part, who audit.Ref, known apps) error {
	changed, err := b.endMarks(ctx, s, p)
	if err != nil {
		return err
	}
	marks, err := b.Endings.EndApps(ctx, s.Home, s.ID, p)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if err := b.tellLogout(ctx, s, m, p.At, known); err != nil {
			return err
		}
	}
	if p.App != "" || !changed && len(marks) == 0 {
		return nil // an app's grants are revoked by the app, not one by one
	}
	if err := b.Tokens.RevokeTokensOf(ctx, s.Realm, s.ID, p.Org, p.At, p.Reason); err != nil {
		return err
	}
	return b.recordEnd(ctx, s, p, who)
}

// endMarks writes that a session, or its part of an organization, is over. It reports whether it was not.
func (b *Broker) endMarks(ctx context.Context, s SessionRef, p Part) (bool, error) {
	if p.App != "" {
		return false, nil // the session goes on; only the app's part ends
	}
	err := b.Sessions.UpdateSession(ctx, s.Home, s.ID, func(t *Session) error {
		if p.Org == "" {
			if !t.Ended.IsZero() || t.CreatedAt.After(p.Before) {
				return errUnchanged
			}
			t.Ended = p.At
			return nil
		}
		for i, m := range t.Orgs {
			if m.Org == p.Org && !m.Since.After(p.Before) && (m.Held.IsZero() || m.Held.After(p.At)) {
				t.Orgs[i].Held = p.At
				return nil
			}
		}
		return errUnchanged
	})
	if errors.Is(err, errUnchanged) || errors.Is(err, ErrSessionNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (b *Broker) recordEnd(ctx context.Context, s SessionRef, p Part, who audit.Ref) error {
	at, detail := s.Home, map[string]string{"reason": p.Reason}
	if p.Org != "" {
		at, detail["organization"] = p.Org, string(p.Org)
	}
	now := b.Now()
	return b.Audit.Record(ctx, audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Org: string(at), Actor: who, Action: audit.SessionEnded,
		Target: audit.Ref{Kind: "session", ID: string(s.ID)}, Detail: detail,
	})
}

// app gives an app of this transaction, read once.
func (b *Broker) appOf(ctx context.Context, id directory.AppID, known apps) (App, error) {
	if a, ok := known[id]; ok {
		return a, nil
	}
	a, err := b.Apps.AppByID(ctx, id)
	if errors.Is(err, ErrAppNotFound) {
		err = nil // the zero app wants nothing
	}
	if err == nil {
		known[id] = a
	}
	return a, err
}

// EndSession ends a session of one of the organization's people; of a guest's session it ends the
// organization's own part (S3).
func (b *Broker) EndSession(ctx context.Context, a directory.Actor, org directory.OrgID, person directory.PersonID, id directory.SessionID) error {
	if err := directory.Allow(a, org, directory.EndSessions); err != nil {
		return err
	}
	p, _, err := b.Directory.Person(ctx, org, person)
	if err != nil {
		return err
	}
	s, err := b.Sessions.Session(ctx, p.Home, id)
	if err != nil {
		return err
	}
	if s.Person != person || p.Home != org && !s.usedIn(org) {
		return ErrSessionNotFound.Because("of another person or organization")
	}
	now := b.Now()
	part := Part{Before: now, At: now, Reason: "ended by an administrator"}
	if p.Home != org {
		part.Org = org
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error { return b.end(ctx, s.ref(), part, a.Ref(), apps{}) })
}

func (s Session) usedIn(org directory.OrgID) bool {
	return slices.ContainsFunc(s.Orgs, func(m OrgMark) bool { return m.Org == org })
}

// EndSessionsOf signs a person out: everywhere when org is their home, else of org.
func (b *Broker) EndSessionsOf(ctx context.Context, a directory.Actor, org directory.OrgID, person directory.PersonID) error {
	return b.Directory.SignOut(ctx, a, org, person)
}

// SessionsOf lists a person's running sessions: all of them for the home organization, for another one
// those that were used there, and of them nothing that is others' business.
func (b *Broker) SessionsOf(ctx context.Context, a directory.Actor, org directory.OrgID, person directory.PersonID) ([]SessionView, error) {
	if err := directory.Allow(a, org, directory.SeeSessions); err != nil {
		return nil, err
	}
	p, _, err := b.Directory.Person(ctx, org, person)
	if err != nil {
		return nil, err
	}
	list, err := b.Viewer.SessionsOf(ctx, p.Home, person)
	if err != nil {
		return nil, err
	}
	now := b.Now()
	list = slices.DeleteFunc(list, func(v SessionView) bool { return !now.Before(v.Ends) || v.CreatedAt.Before(p.SessionsAfter) })
	if p.Home == org {
		return list, nil
	}
	for i := range list {
		list[i].Orgs = slices.DeleteFunc(list[i].Orgs, func(m OrgMark) bool { return m.Org != org })
		list[i].Apps = slices.DeleteFunc(list[i].Apps, func(m AppMark) bool { return m.Org != org })
	}
	return slices.DeleteFunc(list, func(v SessionView) bool { return len(v.Orgs) == 0 }), nil
}

// SetAppStatus suspends, archives or revives an app. What it was given before is over.
func (b *Broker) SetAppStatus(ctx context.Context, a directory.Actor, id directory.AppID, to directory.Status) error {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return err
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Apps.UpdateApp(ctx, id, func(x *App) error { x.Status = to; return nil }); err != nil {
			return err
		}
		if err := b.appStopped(ctx, id, to); err != nil {
			return err
		}
		now := b.Now()
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Actor: a.Ref(), Action: audit.AppStatusChanged,
			Target: audit.Ref{Kind: "app", ID: string(id)}, Detail: map[string]string{"status": string(to)},
		})
	})
}

// appStopped orders, in the transaction that changes an app's status, that what it was given is over.
func (b *Broker) appStopped(ctx context.Context, id directory.AppID, to directory.Status) error {
	if to == directory.Active {
		return nil
	}
	now := b.Now()
	return b.Directory.Revoke(ctx, "", directory.Revocation{
		Kind: directory.RevokeApp, Ref: string(id), Reason: directory.EndedSuspended, At: now, Until: now.Add(24 * time.Hour),
	})
}

// Deliveries lists what was and is to be delivered for an organization.
func (b *Broker) Deliveries(ctx context.Context, a directory.Actor, org directory.OrgID, q delivery.Query) ([]delivery.Delivery, error) {
	if err := directory.Allow(a, org, directory.SeeDelivery); err != nil {
		return nil, err
	}
	return b.Outbox.Deliveries(ctx, string(org), q)
}
