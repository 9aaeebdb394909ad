package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/policy"
)

// Finisher is the name under which logins of apps end here.
const Finisher = "app"

// codeLife is how long an app has to redeem a code (protocols.md section 1).
const codeLife = 60 * time.Second

// codeGrant is what a code stands for until it is redeemed.
type codeGrant struct {
	Kind    GrantKind           `json:"knd,omitempty"` // "" is ByCode
	App     directory.AppID     `json:"app"`
	Org     directory.OrgID     `json:"org"`
	Realm   directory.RealmID   `json:"rlm"`
	Person  directory.PersonID  `json:"per"`
	Home    directory.OrgID     `json:"hom"`
	Session directory.SessionID `json:"ses"`
	SID     string              `json:"sid"`
	Scope   []string            `json:"scp"`
	Nonce   string              `json:"non,omitempty"`
	// Resources are those of the request; Claims is a claimsRequest.
	Resources []string        `json:"rsc,omitempty"`
	Claims    json.RawMessage `json:"clm,omitempty"`
	JKT       string          `json:"jkt,omitempty"`
	Bound     directory.Hash  `json:"bnd"`
	Issued    time.Time       `json:"at"`
	Trace     string          `json:"trc,omitempty"`
}

// Finish ends an app's login: it asks Admit, opens or raises the session, and sends the browser back
// with a code. Where something changed between asking and writing, it asks again.
func (b *Broker) Finish(w http.ResponseWriter, r *http.Request, res flows.Result) error {
	var req authRequest
	if err := json.Unmarshal(res.Payload, &req); err != nil {
		return ErrRequest.With(err)
	}
	if other, err := b.otherThanMeant(r.Context(), req, res.Person.ID); err != nil {
		return err
	} else if other {
		return b.answerError(w, r, req.returnTo, errOtherPerson)
	}
	var s signIn
	var err error
	for range 3 {
		if s, err = b.signIn(r, req, res); !errors.Is(err, ErrMoved) {
			break
		}
	}
	if e, told := errors.AsType[*authError](err); told {
		return b.answerError(w, r, req.returnTo, e)
	}
	if err != nil {
		return err
	}
	if err := b.carry(w, r, s); err != nil {
		return err
	}
	if s.asks {
		return b.askConsent(w, r, req, s)
	}
	code, err := b.issueCode(r.Context(), req, s)
	if err != nil {
		return err
	}
	return b.answer(w, r, req.returnTo, url.Values{"code": {code}})
}

// errGivenUp: an address that the app gave up since it asked may be in other hands by now.
var errGivenUp = ErrRedirectURI.Because("given up since the app asked")

// errOtherPerson: whoever signed in is not whom the app's id_token_hint or claims name (OpenID Connect
// Core sections 3.1.2.1 and 3.1.2.2).
var errOtherPerson = &authError{"login_required", "somebody else signed in than the request means"}

// otherThanMeant says whether somebody else signed in than whom the app means.
func (b *Broker) otherThanMeant(ctx context.Context, req authRequest, person directory.PersonID) (bool, error) {
	if req.Meant == nil {
		return false, nil
	}
	app, err := b.Apps.AppByID(ctx, req.App)
	if err != nil {
		return false, err
	}
	if app.Status != directory.Active {
		return false, ErrApp // which is told nothing, not even this
	}
	if !app.allows(req.RedirectURI) {
		return false, errGivenUp
	}
	return !req.means(b.subject(app, person)), nil
}

// signIn is what a finished login left.
type signIn struct {
	admission Admission
	session   Session
	mark      AppMark
	secret    string // the session's new secret; "" when it keeps its own
	before    []brought
	trace     string
	asks      bool // the person is asked for consent before the app learns anything
}

func (b *Broker) signIn(r *http.Request, req authRequest, res flows.Result) (signIn, error) {
	ctx := r.Context()
	list, err := b.browserSessions(ctx, r)
	if err != nil {
		return signIn{}, err
	}
	s := signIn{before: list, trace: res.Trace.Code}
	org := res.Org.Org()
	in := admitRequest{
		Person: res.Person.ID, Realm: org.Realm, Org: org.ID, App: req.App,
		Fresh: res.Fresh, Started: res.Trace.At, From: b.where(r),
	}
	mine := slices.IndexFunc(list, func(x brought) bool { return x.Person == res.Person.ID && x.Realm == org.Realm })
	if mine >= 0 {
		s.session = list[mine].Session
		in.Session = list[mine].held()
	}
	if s.admission, err = b.Admit(ctx, in); err != nil {
		return s, err
	}
	if req.Device == "" && !s.admission.app.allows(req.RedirectURI) {
		return s, errGivenUp
	}
	if mine < 0 && len(res.Fresh) == 0 {
		return s, ErrNotAdmitted.Because("the session ended meanwhile")
	}
	if s.asks, err = b.wantsConsent(ctx, s.admission, req); err != nil {
		return s, err
	}
	if s.asks && req.Silent {
		return s, errConsentRequired
	}
	begun := s.session
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		s.session, s.secret = begun, "" // this may run twice
		if err := b.stands(ctx, s.admission); err != nil {
			return err
		}
		return b.writeSignIn(ctx, &s, mine >= 0, r, req, res)
	})
	if err != nil {
		return signIn{}, err // the write may still run: s is its own
	}
	return s, nil
}

// writeSignIn writes what a sign-in leaves, in one transaction: session, marks, the record, the trace.
func (b *Broker) writeSignIn(ctx context.Context, s *signIn, had bool, r *http.Request, req authRequest, res flows.Result) error {
	a := s.admission
	org, now := a.org.Org().ID, a.at
	life := policy.SessionLifetime.In(a.policy)
	proved := len(res.Fresh) > 0
	// What the login proved opens this organization anew only where it counts (S2, S47).
	// A second step alone opens nothing anew, nor does a passkey where nobody signs in by one: who somebody
	// is was proved when it was proved.
	fresh := slices.ContainsFunc(a.proofs, func(p flows.Proof) bool {
		return a.opens(p) && slices.ContainsFunc(res.Fresh, func(q flows.Proof) bool { return q.Same(p) && q.Seen.Equal(p.Seen) })
	})
	since := a.primary().Seen
	var err error
	if had {
		err = b.raise(ctx, s, proved, func(t *Session) bool { return t.mark(org, now, fresh, req.Silent, since, life) }, res)
	} else {
		err = b.open(ctx, s, r, res, life)
	}
	if err != nil {
		return err
	}
	if err := b.makeRoom(ctx, s.session, org, a.policy); err != nil {
		return err
	}
	if !s.asks && req.Device == "" { // else the person is asked first
		if s.mark, err = b.Sessions.MarkApp(ctx, s.session.Home, s.session.ID, newMark(req.App, org, now)); err != nil {
			return err
		}
	}
	for _, p := range res.Fresh {
		if p.Connection == "" {
			continue
		}
		if err := b.Directory.TouchIdentity(ctx, p.Org, p.Key, now); err != nil {
			return err
		}
	}
	if !proved {
		return nil
	}
	if err := b.Traces.SaveTrace(ctx, res.Trace); err != nil {
		return err
	}
	return b.record(ctx, org, a.person.ID, audit.LoginSucceeded, audit.Ref{Kind: "app", ID: string(req.App)}, map[string]string{
		"session": string(s.session.ID), "trace": res.Trace.Code, "connection": string(a.primary().Connection), "acr": a.acr,
	})
}

// newMark notes that a session signs in to an app. An app that waits for consent is not noted yet: it
// knows nothing of the session, so nobody tells it of its end either.
func newMark(app directory.AppID, org directory.OrgID, now time.Time) AppMark {
	return AppMark{App: app, Org: org, SID: directory.NewSecret()[:22], First: now}
}

// open begins a session.
func (b *Broker) open(ctx context.Context, s *signIn, r *http.Request, res flows.Result, life time.Duration) error {
	a := s.admission
	now := a.at
	ends, err := b.homeLife(ctx, a, life)
	if err != nil {
		return err
	}
	s.secret = directory.NewSecret()
	s.session = Session{
		ID: directory.NewSessionID(now), TokenHash: hashOf(s.secret), Realm: a.person.Realm, Person: a.person.ID, Home: a.person.Home,
		CreatedAt: now, Ends: now.Add(ends), Device: device(r.UserAgent()),
	}
	s.session.prove(res.Fresh)
	s.session.mark(a.org.Org().ID, now, true, false, now, life)
	return b.Sessions.CreateSession(ctx, s.session.Home, s.session)
}

// makeRoom ends what the person's oldest sessions are to the organization, where they have more of them than
// it allows. It is the organization's own part that ends: what they are to others is not its business (S47).
func (b *Broker) makeRoom(ctx context.Context, here Session, org directory.OrgID, p policy.Effective) error {
	most, now := policy.SessionMax.In(p), b.Now()
	if most == policy.Unlimited {
		return nil
	}
	list, err := b.Viewer.SessionsOf(ctx, here.Home, here.Person)
	if err != nil {
		return err
	}
	type leg struct {
		SessionRef
		since time.Time
	}
	var others []leg
	for _, s := range list {
		for _, m := range s.Orgs {
			if m.Org == org && s.ID != here.ID && now.Before(m.Held) && now.Before(s.Ends) {
				others = append(others, leg{s.ref(), m.Since})
			}
		}
	}
	slices.SortFunc(others, func(x, y leg) int { return y.since.Compare(x.since) })
	who, known := audit.Ref{Kind: "person", ID: string(here.Person)}, apps{}
	for i, o := range others {
		if i < most-1 {
			continue // the newest, beside this one
		}
		if err := b.end(ctx, o.SessionRef, Part{Org: org, Before: now, At: now, Reason: "more sessions than the organization allows"}, who, known); err != nil {
			return err
		}
	}
	return nil
}

// homeLife is how long the home organization lets a session live.
func (b *Broker) homeLife(ctx context.Context, a Admission, here time.Duration) (time.Duration, error) {
	if a.person.Home == a.org.Org().ID {
		return here, nil
	}
	chain, err := b.Directory.OrgChain(ctx, a.person.Home)
	if err != nil {
		return 0, err
	}
	eff, err := b.Directory.Effective(ctx, chain, "")
	return policy.SessionLifetime.In(eff), err
}

// raise adds what was proved to a running session. A session that gains a proof gets a new secret: one
// that was known before is worth nothing after (session fixation).
func (b *Broker) raise(ctx context.Context, s *signIn, proved bool, mark func(*Session) bool, res flows.Result) error {
	probe := s.session
	probe.Orgs = slices.Clone(probe.Orgs)
	if !mark(&probe) && !proved {
		return nil // nothing to write
	}
	if proved {
		s.secret = directory.NewSecret()
	}
	return b.Sessions.UpdateSession(ctx, s.session.Home, s.session.ID, func(t *Session) error {
		if !t.Ended.IsZero() {
			return ErrMoved.Because("the session was ended")
		}
		t.prove(res.Fresh)
		mark(t)
		if proved {
			t.TokenHash = hashOf(s.secret)
		}
		s.session = *t
		return nil
	})
}

// carry gives the browser its sessions, this one first. What it has no room for ends: nobody could use or
// end it any more.
func (b *Broker) carry(w http.ResponseWriter, r *http.Request, s signIn) error {
	secret := s.secret
	var others []brought
	for _, x := range s.before {
		if x.ID != s.session.ID {
			others = append(others, x)
		} else if secret == "" {
			secret = x.secret
		}
	}
	if s.secret == "" && len(s.before) > 0 && s.before[0].ID == s.session.ID {
		return nil // it has them already, in this order
	}
	list, held := []string{secret}, []Session{s.session}
	for i, x := range others {
		if i < maxSessions-1 {
			list, held = append(list, x.secret), append(held, x.Session)
		} else if err := b.endSession(r.Context(), x.Session, "displaced by a newer one"); err != nil {
			return err
		}
	}
	until, err := b.keptUntil(r.Context(), held)
	if err != nil {
		return err
	}
	return b.setSecrets(w, r, list, until)
}

// issueCode keeps what the code stands for under a key that only the app can compute: a presenter with
// one wrong value finds nothing, and burns nothing.
func (b *Broker) issueCode(ctx context.Context, req authRequest, s signIn) (string, error) {
	code, err := b.newCode(codeLabel{at: b.Now(), trace: s.trace, client: s.admission.app.ClientID, redirect: req.RedirectURI, challenge: req.Challenge})
	if err != nil {
		return "", err
	}
	bound := bind(code, s.admission.app.ClientID, req.RedirectURI, req.Challenge)
	g, err := json.Marshal(codeGrant{
		App: req.App, Org: s.admission.org.Org().ID, Realm: s.session.Realm, Person: s.session.Person, Home: s.session.Home,
		Session: s.session.ID, SID: s.mark.SID, Scope: req.Scope, Resources: req.Resources, Nonce: req.Nonce, Claims: req.Claims, JKT: req.JKT, Bound: bound, Issued: b.Now(), Trace: s.trace,
	})
	if err != nil {
		return "", err
	}
	return code, b.Brief.Put(ctx, codeKey(bound), g, codeLife)
}

func codeKey(bound [sha256.Size]byte) string { return "code/" + hex.EncodeToString(bound[:]) }

// bind hashes a code with everything that its redemption must show. The parts cannot run into one
// another: none of them holds a NUL.
func bind(code, clientID, redirect, challenge string) [sha256.Size]byte {
	return sha256.Sum256([]byte(code + "\x00" + clientID + "\x00" + redirect + "\x00" + challenge))
}
