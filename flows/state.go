package flows

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// Judge gathers what Decide needs to know. The engine and the broker's Admit share it, so that nobody
// is judged on other facts.
type Judge struct {
	Directory   *directory.Service
	Connections upstream.Connections
	// Factors knows what people set up; nil where nothing can be.
	Factors *mfa.Service
	// ByPassword and ByLink say whether this installation signs people in by passwords, and by mail.
	ByPassword, ByLink bool
	// SignedIn says whether a running session signed in to an app in an organization. It is asked where
	// policy wants a sign-in for each app; without it no session is one.
	SignedIn func(ctx context.Context, home directory.OrgID, id directory.SessionID, app directory.AppID, org directory.OrgID) (bool, error)
	// Flows hands out what organizations wrote of their sign-in; nil: none of them wrote anything.
	Flows *FlowService
	Now   func() time.Time
}

// Asking says whose admission to what is in question.
type Asking struct {
	App        AppFacts
	Org        directory.OrgID // "": not known yet
	Route      Route
	Connection directory.ConnectionID
	// Person is who was proved by a login or named by a grant; "" leaves it to Session.
	Person  directory.PersonID
	Session *Held
	Proofs  []Proof // this login's
	Started time.Time
	Force   bool
	MaxAge  *time.Duration
	Arrived bool
	Local   bool // Login.Local is set
	// Offline says that Session is what a grant with offline access kept of one. Owned says that the session
	// signed in to the app: it has a grant of it, or is about to get one.
	Offline, Owned bool
	// From is where the person's browser is; nil where an app asks.
	From *netip.Addr
	// Needed and Wished are Request's. Steps: whoever asks can ask the person for a second step, and wants
	// to know what they have; others only learn that one is missing.
	Needed, Wished Rung
	Steps          bool
	// Keeping is the login's.
	Keeping bool
}

// State gathers the facts, with the policy that holds for organization and app now.
func (j *Judge) State(ctx context.Context, a Asking) (State, policy.Effective, error) {
	s := State{
		Now: j.Now(), Started: a.Started, Force: a.Force, MaxAge: a.MaxAge,
		Route: a.Route, Connection: a.Connection, Arrived: a.Arrived, Offline: a.Offline, Proofs: a.Proofs, Local: a.Local,
		App: a.App.ID, AppName: a.App.Name, Keeping: a.Keeping, Needed: a.Needed, Wished: a.Wished,
	}
	var eff policy.Effective
	if a.Org != "" {
		var err error
		if s.Org, eff, err = j.org(ctx, a.Org, a.App); err != nil {
			return State{}, eff, err
		}
	}
	if a.From != nil {
		s.Browser, s.From = true, *a.From
	}
	if err := j.apart(ctx, a, &s, eff); err != nil {
		return State{}, eff, err
	}
	if err := j.person(ctx, a, &s, eff); err != nil {
		return State{}, eff, err
	}
	if err := j.kept(ctx, a, &s, eff); err != nil {
		return State{}, eff, err
	}
	return s, eff, j.steps(ctx, a, &s, eff)
}

// apart finds out whether the session is worth nothing to the app because it signed in to others alone.
func (j *Judge) apart(ctx context.Context, a Asking, s *State, eff policy.Effective) error {
	if s.Org == nil || a.Session == nil || a.Offline || a.Owned || policy.SessionShared.In(eff) {
		return nil
	}
	s.Apart = true
	if j.SignedIn == nil || a.Session.ID == "" {
		return nil
	}
	signed, err := j.SignedIn(ctx, a.Session.Home, a.Session.ID, a.App.ID, a.Org)
	s.Apart = !signed
	return err
}

// keptToProvider says whether people of an address sign in through the organization's identity provider and
// no other way (login.sso_required): its domain is verified by the organization or one above it. Where the
// proof of the domain is doubtful, a mailbox there stands for nobody (S10).
func (j *Judge) keptToProvider(ctx context.Context, facts *OrgFacts, eff policy.Effective, address string) (kept, doubtful bool, err error) {
	name, ok := DomainOf(address)
	if !ok {
		return true, false, nil
	}
	d, found, err := j.Directory.OrgOfDomain(ctx, facts.Chain.Org().Realm, name)
	if err != nil || !found {
		return false, false, err
	}
	return facts.Chain.Has(d.Org) && facts.Connected && policy.SSORequired.In(eff), d.Doubtful, nil
}

// kept looks up whether the person's own proofs may say who they are. A passkey that was set up elsewhere
// than at home opens nothing that it would not open there.
func (j *Judge) kept(ctx context.Context, a Asking, s *State, eff policy.Effective) (err error) {
	own := func(q Proof) bool { return q.Connection == "" && q.Primary() }
	if s.Org == nil || s.Person == nil || s.Person.Person.Email == "" || !slices.ContainsFunc(s.Proofs, own) {
		return nil
	}
	who := s.Person.Person
	if home := who.Home; home != "" && !s.Org.Chain.Has(home) { // else what holds there is inherited here
		facts, there, err := j.org(ctx, home, a.App)
		if errors.Is(err, ErrOrgUnavailable) {
			s.Kept = true
			return nil
		}
		if err != nil {
			return err
		}
		s.Kept, _, err = j.keptToProvider(ctx, facts, there, who.Email)
		s.Kept = s.Kept || !policy.LoginMethods.In(there).Allows(policy.Passkey)
		if err != nil || s.Kept {
			return err
		}
	}
	if !policy.SSORequired.In(eff) {
		return nil
	}
	s.Kept, _, err = j.keptToProvider(ctx, s.Org, eff, who.Email)
	return err
}

// steps looks up what the person set up, where a second step may be wanted: most logins want none, and
// are not held up.
func (j *Judge) steps(ctx context.Context, a Asking, s *State, eff policy.Effective) error {
	wanted := policy.MFARequirement.In(eff) != policy.Off || a.Needed > RungOne || a.Wished > RungOne
	if a.Steps && wanted {
		return j.enrolled(ctx, s)
	}
	return nil
}

// enrolled looks up what the person set up.
func (j *Judge) enrolled(ctx context.Context, s *State) error {
	if s.FactorsKnown || j.Factors == nil || s.Org == nil || s.Person == nil || s.Person.Person.Home == "" {
		return nil
	}
	who := s.Person.Person
	list, err := j.Factors.EnrollmentsOf(ctx, who.Home, who.ID)
	if err != nil {
		return err
	}
	s.FactorsKnown, s.Methods, s.Enrollable = true, j.Factors.Methods(), j.Factors.Enrollable()
	for _, e := range list {
		if !j.Factors.Live(e) {
			continue
		}
		if e.Method == methodLater {
			if e.Org == s.Org.Chain.Org().ID {
				s.AskedSince = e.CreatedAt
			}
			continue
		}
		s.Factors = append(s.Factors, factsOf(e))
	}
	for _, m := range j.Factors.Implicit(subjectOf(who)) {
		s.Factors = append(s.Factors, FactorFacts{Method: m, Org: who.Home})
	}
	return nil
}

// subjectOf is the person, as factors know them.
func subjectOf(p directory.Person) mfa.Subject {
	return mfa.Subject{
		Realm: p.Realm, Home: p.Home, Person: p.ID, Name: p.Name, Email: p.Email, Locale: p.Locale,
		EmailGood: !p.EmailSince.IsZero() || !p.EmailProved.IsZero(),
	}
}

// askedSince is since when the person has been asked to set a second step up in the organization: from now
// on, if they were not.
func (j *Judge) askedSince(ctx context.Context, s State) (time.Time, error) {
	if !s.AskedSince.IsZero() {
		return s.AskedSince, nil
	}
	who := s.Person.Person
	return s.Now, j.Factors.AddEnrollment(ctx, who.Home, mfa.Enrollment{
		ID: directory.NewFactorID(s.Now), Realm: who.Realm, Home: who.Home, Person: who.ID, Org: s.Org.Chain.Org().ID,
		Method: methodLater, Public: []byte("{}"), CreatedAt: s.Now,
	})
}

func (j *Judge) org(ctx context.Context, org directory.OrgID, app AppFacts) (*OrgFacts, policy.Effective, error) {
	chain, err := j.Directory.OrgChain(ctx, org)
	if errors.Is(err, directory.ErrOrgNotFound) {
		return nil, policy.Effective{}, ErrOrgUnavailable.With(err)
	}
	if err != nil {
		return nil, policy.Effective{}, err
	}
	realm, err := j.Directory.Realm(ctx, chain.Org().Realm)
	if err != nil {
		return nil, policy.Effective{}, err
	}
	if realm.Status != directory.Active {
		return nil, policy.Effective{}, ErrOrgUnavailable.Because("realm is not active")
	}
	eff, err := j.Directory.Effective(ctx, chain, app.ID)
	if err != nil {
		return nil, eff, err
	}
	entitled, err := j.Directory.Entitled(ctx, org, app.ID)
	if err != nil {
		return nil, eff, err
	}
	facts := &OrgFacts{Chain: chain, Entitled: entitled, Local: j.localFacts(eff)}
	all, err := j.Connections.ConnectionsFor(ctx, org)
	if err != nil {
		return nil, eff, err
	}
	facts.Connected = len(all) > 0
	for _, c := range all {
		if app.accepts(c.ID) && usable(c, chain, eff) {
			facts.Usable = append(facts.Usable, ConnectionFacts{ID: c.ID, Org: c.Org, Name: c.Name, After: c.ProofsAfter, MFA: c.MFA})
		}
	}
	facts.Trusted, err = j.trusted(ctx, chain, app, eff)
	return facts, eff, err
}

// trusted are the connections of other organizations of the realm that policy names, as far as they are
// switched on and their organizations active. A connection that is gone is trusted with nothing.
func (j *Judge) trusted(ctx context.Context, chain directory.Chain, app AppFacts, eff policy.Effective) (out []ConnectionFacts, err error) {
	for _, name := range policy.TrustedConnections.In(eff).Names() {
		c, err := j.Connections.ConnectionByID(ctx, directory.ConnectionID(name))
		if errors.Is(err, upstream.ErrConnectionNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c.Realm != chain.Org().Realm || c.Status != upstream.Active || !app.accepts(c.ID) || !policy.Protocols.In(eff).Has(string(c.Type)) {
			continue
		}
		owner, err := j.Directory.OrgChain(ctx, c.Org)
		if err != nil {
			return nil, err
		}
		if owner.Status() == directory.Active { // S14
			out = append(out, ConnectionFacts{ID: c.ID, Org: c.Org, Name: c.Name, After: c.ProofsAfter, MFA: c.MFA})
		}
	}
	return out, nil
}

// accepts says whether the app takes proofs of a connection.
func (a AppFacts) accepts(id directory.ConnectionID) bool {
	return len(a.Connections) == 0 || slices.Contains(a.Connections, id)
}

// usable says whether a connection may sign people in to the last organization of chain.
func usable(c upstream.Connection, chain directory.Chain, eff policy.Effective) bool {
	owned := c.Org == chain.Org().ID || c.Offered && chain.Has(c.Org)
	return owned && c.Status == upstream.Active && policy.LoginMethods.In(eff).Allows(policy.SSO) && policy.Protocols.In(eff).Has(string(c.Type))
}

// person finds whom the proofs identify. A session whose proofs are worth nothing in the organization
// identifies nobody there (S2).
func (j *Judge) person(ctx context.Context, a Asking, s *State, eff policy.Effective) error {
	id, session := a.Person, a.Session
	if session != nil && id != "" && session.Person != id {
		session = nil // somebody else signs in now
	}
	if session != nil {
		id = session.Person
		s.Proofs = append(session.heldProofs(), s.Proofs...)
		s.Marks, s.Since = session.Marks, session.Since
	}
	if id == "" {
		return nil
	}
	facts, err := j.facts(ctx, a, session, id, eff)
	if err != nil || facts == nil {
		return err
	}
	s.Person = facts
	if s.Org != nil && a.Person == "" && !slices.ContainsFunc(s.Proofs, s.identifies) {
		s.Person = nil
	}
	if s.Person != nil && (s.Org == nil || s.Route == RouteIdentifier) {
		s.Choices, err = j.choices(ctx, facts.Person, a.App, s.Proofs)
	}
	return err
}

func (h *Held) heldProofs() []Proof {
	out := slices.Clone(h.Proofs)
	for i := range out {
		out[i].held = true
	}
	return out
}

func (j *Judge) facts(ctx context.Context, a Asking, session *Held, id directory.PersonID, eff policy.Effective) (*PersonFacts, error) {
	if a.Org == "" {
		if session == nil {
			return nil, nil
		}
		p, err := j.Directory.PersonInRealm(ctx, session.Realm, id)
		if errors.Is(err, directory.ErrPersonNotFound) {
			return nil, nil
		}
		return &PersonFacts{Person: p}, err
	}
	p, m, err := j.Directory.Person(ctx, a.Org, id)
	if errors.Is(err, directory.ErrPersonNotFound) {
		return &PersonFacts{Person: directory.Person{ID: id}}, nil // proved, but not a member here
	}
	if err != nil {
		return nil, err
	}
	facts := &PersonFacts{Person: p, Member: m}
	facts.AcceptsActive, facts.AcceptsAfter, err = j.accepts(ctx, m, a.App, eff)
	return facts, err
}

// accepts says whether the connection that a guest's membership names may be believed now: it is
// switched on and good for the app, its own organization and all above that are active (S14), and it speaks a protocol that
// the policy of the guest's organization allows.
func (j *Judge) accepts(ctx context.Context, m directory.Membership, app AppFacts, eff policy.Effective) (active bool, after time.Time, err error) {
	if m.Accepts == "" || !app.accepts(m.Accepts) {
		return false, time.Time{}, nil
	}
	c, err := j.Connections.ConnectionByID(ctx, m.Accepts)
	if errors.Is(err, upstream.ErrConnectionNotFound) {
		return false, time.Time{}, nil
	}
	if err != nil {
		return false, time.Time{}, err
	}
	chain, err := j.Directory.OrgChain(ctx, c.Org)
	if err != nil {
		return false, time.Time{}, err
	}
	return c.Status == upstream.Active && chain.Status() == directory.Active && policy.Protocols.In(eff).Has(string(c.Type)), c.ProofsAfter, nil
}

// choices are the organizations in which the person may use the app, and for which a proof of theirs
// counts: where none does, nobody has been identified, and what else the person belongs to is nobody's
// business (S2).
func (j *Judge) choices(ctx context.Context, p directory.Person, app AppFacts, proofs []Proof) ([]directory.OrgID, error) {
	members, err := j.Directory.MembershipsOf(ctx, p.Realm, p.ID)
	if err != nil {
		return nil, err
	}
	var out []directory.OrgID
	for _, m := range members {
		if !m.Holds(j.Now()) {
			continue
		}
		org, eff, err := j.org(ctx, m.Org, app)
		if errors.Is(err, ErrOrgUnavailable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s := State{Org: org, Person: &PersonFacts{Person: p, Member: m}}
		if s.Person.AcceptsActive, s.Person.AcceptsAfter, err = j.accepts(ctx, m, app, eff); err != nil {
			return nil, err
		}
		if org.Entitled && org.Chain.Status() == directory.Active && slices.ContainsFunc(proofs, s.identifies) {
			out = append(out, m.Org)
		}
	}
	return out, nil
}
