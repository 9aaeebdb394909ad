package broker

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/policy"
)

// The ladder of authentication contexts (RFC 9470), published in discovery as far as it can be reached.
//
// acrs is the ladder, a rung of flows each from RungOne on.
var acrs = []string{"urn:vestibule:acr:1fa", "urn:vestibule:acr:2fa", "urn:vestibule:acr:phr"}

// rungOf is where an authentication context stands on the ladder: RungNone for none, and for one that
// is not on it.
func rungOf(acr string) flows.Rung { return flows.Rung(slices.Index(acrs, acr) + 1) }

// acrOf is a rung's name.
func acrOf(r flows.Rung) string { return acrs[max(r, flows.RungOne)-1] }

// top is how far up somebody can get in this installation.
func (b *Broker) top() flows.Rung { return flows.Reach(b.Judge.Factors.Methods()) }

// reachable says whether an authentication context can be reached here; none is.
func (b *Broker) reachable(acr string) bool {
	return acr == "" || rungOf(acr) > flows.RungNone && rungOf(acr) <= b.top()
}

// Admission is Admit's word that a person may use an app in an organization now. Its fields are its
// own: nobody else can make one, and whatever is issued is minted from one (S6).
type Admission struct {
	app      App
	org      directory.Chain
	person   directory.Person
	subject  string                 // the person, as the app knows them
	proofs   []flows.Proof          // those that count, newest first
	opens    func(flows.Proof) bool // which of them a login may rest on here
	policy   policy.Effective
	acr      string
	amr      []string
	consent  time.Time // since when the person consented; zero when nobody had to ask
	authTime time.Time
	// What it rests on: a write is made only while both still stand (S15).
	revision int64
	at       time.Time
}

// primary is the newest proof that the admission rests on. Admit lets nobody in without one.
func (a Admission) primary() flows.Proof {
	return a.proofs[max(0, slices.IndexFunc(a.proofs, a.opens))]
}

// admitRequest says whom the door is asked to let through.
type admitRequest struct {
	Person  directory.PersonID
	Realm   directory.RealmID
	Org     directory.OrgID
	App     directory.AppID
	Session *flows.Held
	// Fresh are proofs that a login just brought, and Started when that login began.
	Fresh   []flows.Proof
	Started time.Time
	// Grant is when the grant was opened that a token was shown of; zero at a login or a code. Using a
	// token is no activity of the person, and idle time is judged where the grant was opened (S47).
	Grant time.Time
	// Opened is when the grant was opened where Grant does not say it. What a third-party app shows is good
	// under the consent of that time alone.
	Opened time.Time
	// Offline says that Session is what a grant with offline access kept. Owned says that the session signed in
	// to the app, or is just doing so.
	Offline, Owned bool
	// From is where the person's browser is; nil where an app asks.
	From *netip.Addr
}

// Admit is the one door: it stands before every code, token and claim. It checks realm, person,
// membership and its end, every ancestor's status, app status and entitlement, connection state, policy
// and the proofs that count, all as they are now.
func (b *Broker) Admit(ctx context.Context, in admitRequest) (Admission, error) {
	revision, err := b.Revisions.Revision(ctx)
	if err != nil {
		return Admission{}, err
	}
	app, err := b.Apps.AppByID(ctx, in.App)
	if err != nil {
		return Admission{}, err
	}
	if app.Status != directory.Active {
		return Admission{}, ErrApp
	}
	if app.Org != "" && app.Org != in.Org {
		return Admission{}, ErrNotAdmitted.Because("the app is for another organization")
	}
	if !b.reachable(app.MinACR) {
		return Admission{}, ErrUnmet
	}
	since, err := b.consented(ctx, app, in)
	if err != nil {
		return Admission{}, err
	}
	session := in.Session
	if session != nil && !in.Grant.IsZero() {
		session = asOf(session, in.Grant)
	}
	s, eff, err := b.Judge.State(ctx, flows.Asking{
		App: app.facts(), Org: in.Org, Route: flows.RouteNamed, Person: in.Person, Session: session,
		Proofs: in.Fresh, Started: in.Started, Offline: in.Offline, Owned: in.Owned, From: in.From, Needed: rungOf(app.MinACR),
	})
	if err != nil {
		return Admission{}, err
	}
	d := flows.Decide(flows.DefaultFlow, eff, s)
	if d.Refused != nil {
		return Admission{}, d.Refused
	}
	if !d.Done || len(d.Counting) == 0 || s.Person.Person.Realm != in.Realm || s.Org.Chain.Org().Realm != in.Realm {
		return Admission{}, ErrNotAdmitted.Because("step wanted: " + string(d.Step))
	}
	rung := s.Rung(eff, d.Counting)
	return Admission{
		app: app, org: s.Org.Chain, person: s.Person.Person, subject: b.subject(app, s.Person.Person.ID), proofs: d.Counting, policy: eff,
		opens: func(q flows.Proof) bool { return s.Opens(eff, q) },
		acr:   acrOf(rung), amr: amrOf(d.Counting, rung), authTime: d.Counting[0].At, revision: revision, at: s.Now, consent: since,
	}, nil
}

// admitGrant asks the door for whom a grant is of, and an app: the grant's own, or one that exchanges a
// token of it. A session that ended admits nobody; an offline grant has no need of one.
func (b *Broker) admitGrant(ctx context.Context, g TokenGrant, app directory.AppID) (Admission, error) {
	in := admitRequest{Person: g.Person, Realm: g.Realm, Org: g.Org, App: app, Offline: g.Offline, Opened: g.CreatedAt, Owned: app == g.App}
	if app != g.App {
		in.Opened = b.Now() // it needs a consent of its own, and one of today
	}
	if g.Offline {
		in.Session = g.kept()
		return b.Admit(ctx, in)
	}
	person, err := b.Directory.PersonInRealm(ctx, g.Realm, g.Person)
	if err != nil {
		return Admission{}, err
	}
	session, err := b.Sessions.Session(ctx, person.Home, g.Session)
	if err != nil {
		return Admission{}, err
	}
	if !session.Ended.IsZero() {
		return Admission{}, ErrNotAdmitted.Because("the session has ended")
	}
	in.Session, in.Grant = session.held(), g.CreatedAt
	return b.Admit(ctx, in)
}

// kept is what an offline grant keeps of its session. The last renewal stands for the person's last
// activity, for that is what tokens.refresh_idle is measured on.
func (g TokenGrant) kept() *flows.Held {
	seen := g.CreatedAt
	if g.Refresh.At.After(seen) {
		seen = g.Refresh.At
	}
	return &flows.Held{
		Realm: g.Realm, Person: g.Person, Since: g.Opened, Proofs: g.Proofs,
		Marks: []flows.Mark{{Org: g.Org, Since: g.Opened, Seen: seen, Held: g.Refresh.Until}},
	}
}

// appAdmission is admitApp's word that an app may act for itself in an organization now. Like an Admission,
// nobody else makes one.
type appAdmission struct {
	app      App
	org      directory.Chain
	policy   policy.Effective
	revision int64
}

// admitApp is the door for an app that acts for itself: there is no person whom it could check. App, realm,
// the organization and all above it are active, and the app is entitled there.
func (b *Broker) admitApp(ctx context.Context, id directory.AppID, org directory.OrgID) (appAdmission, error) {
	revision, err := b.Revisions.Revision(ctx)
	if err != nil {
		return appAdmission{}, err
	}
	app, err := b.Apps.AppByID(ctx, id)
	if err != nil {
		return appAdmission{}, err
	}
	chain, err := b.Directory.OrgChain(ctx, org)
	if err != nil {
		return appAdmission{}, err
	}
	realm, err := b.Directory.Realm(ctx, chain.Org().Realm)
	if err != nil {
		return appAdmission{}, err
	}
	entitled, err := b.Directory.Entitled(ctx, org, id)
	if err != nil {
		return appAdmission{}, err
	}
	if app.Status != directory.Active || realm.Status != directory.Active || chain.Status() != directory.Active || !entitled ||
		app.Org != "" && app.Org != org {
		return appAdmission{}, ErrNotAdmitted.Because("the app may not act in this organization")
	}
	eff, err := b.Directory.Effective(ctx, chain, id)
	return appAdmission{app: app, org: chain, policy: eff, revision: revision}, err
}

// appStands says, inside the transaction of a write, whether what the admission rests on is still so.
func (b *Broker) appStands(ctx context.Context, a appAdmission) error {
	now, err := b.Revisions.Revision(ctx)
	if err == nil && now != a.revision {
		return ErrMoved.Because("configuration")
	}
	return err
}

// asOf shows a session as if it was last used when the grant was opened.
func asOf(h *flows.Held, at time.Time) *flows.Held {
	c := *h
	c.Marks = slices.Clone(h.Marks)
	for i, m := range c.Marks {
		if m.Seen.Before(at) {
			c.Marks[i].Seen = at
		}
	}
	return &c
}

// amrOf names the methods of the proofs that count (RFC 8176), as their sources gave them; a source
// that gave none vouched by federation alone, which has no name there.
func amrOf(proofs []flows.Proof, rung flows.Rung) []string {
	var out []string
	if rung >= flows.RungTwo {
		out = append(out, "mfa")
	}
	for _, p := range proofs {
		for _, m := range p.AMR {
			if !slices.Contains(out, m) && len(out) < 8 {
				out = append(out, m)
			}
		}
	}
	return out
}

// stands says, inside the transaction of a write, whether what the admission rests on is still so.
func (b *Broker) stands(ctx context.Context, a Admission) error {
	return b.standsWith(ctx, a, Session{})
}

// standsWith is stands, and that the session is as it was when it was read.
func (b *Broker) standsWith(ctx context.Context, a Admission, s Session) error {
	now, err := b.Revisions.Footing(ctx, a.org.Org().ID, a.person.ID, s.Home, s.ID)
	switch {
	case err != nil:
		return err
	case now.Revision != a.revision:
		return ErrMoved.Because("configuration")
	case now.Person != a.person.Version:
		return ErrMoved.Because("person")
	case now.Session != s.Version:
		return ErrMoved.Because("session")
	}
	if a.consent.IsZero() {
		return nil
	}
	if c, err := b.Consents.Consent(ctx, a.org.Org().ID, a.person.ID, a.app.ID); errors.Is(err, ErrConsentNotFound) || err == nil && !c.Since.Equal(a.consent) {
		return ErrMoved.Because("consent")
	} else if err != nil {
		return err
	}
	return nil
}
