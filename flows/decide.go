package flows

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// StepName names a step. Stored in published flows and never renamed.
type StepName string

const (
	StepIdentify     StepName = "identify"
	StepChoose       StepName = "choose"
	StepAuthenticate StepName = "authenticate"
	StepLink         StepName = "link"
	StepMembership   StepName = "membership"
	StepFactor       StepName = "factor"
	StepEnroll       StepName = "enroll"

	// What flows add.
	StepNotice  StepName = "notice"
	StepTerms   StepName = "terms"
	StepProfile StepName = "profile"
	StepDeny    StepName = "deny"
)

// Route says how a login's organization was found. A weaker one never overrides a stronger.
type Route int

const (
	RouteNone       Route = iota
	RouteRemembered       // this browser used it before
	RouteIdentifier       // the domain of an address that was hinted or typed, or a handle that was typed
	RouteSession          // the running session's
	RouteNamed            // the app named it
	RouteChosen           // the person, already proved, chose it among their own
)

// OrgFacts is what is known about the organization that a login is for.
type OrgFacts struct {
	Chain    directory.Chain
	Entitled bool // to the app
	// Usable are the connections whose proofs count here: its own and those that ancestors offer, all
	// active and allowed by policy.
	Usable []ConnectionFacts
	// Trusted are other organizations' connections, by which nobody signs in here, and whose proofs count
	// because the organization's policy names them (S2).
	Trusted []ConnectionFacts
	// Local are the ways in without an identity provider. Connected says that there is one, whether it can be
	// used now or not.
	Local     LocalFacts
	Connected bool
}

// ConnectionFacts is what deciding needs of a connection.
type ConnectionFacts struct {
	ID   directory.ConnectionID
	Org  directory.OrgID
	Name string
	// After is when it was last switched off, zero: never. What it proved until then does not count.
	After time.Time
	// MFA are the values of amr or acr by which it says that the person was asked for a second step there.
	MFA []string
}

// PersonFacts is the person whom the proofs identify.
type PersonFacts struct {
	Person directory.Person
	// Member is their membership in the login's organization; zero when they have none or no
	// organization is known yet.
	Member directory.Membership
	// AcceptsActive says whether the connection that Member.Accepts names may be believed now.
	AcceptsActive bool
	// AcceptsAfter is the connection's ProofsAfter.
	AcceptsAfter time.Time
}

// State is all that is known about a login when the next step is decided.
type State struct {
	Now     time.Time
	Started time.Time
	Force   bool
	MaxAge  *time.Duration
	Route   Route
	Org     *OrgFacts // nil: not known
	// Connection is the one that was chosen or routed to; "" leaves the choice open.
	Connection directory.ConnectionID
	// Proofs are the session's and this login's; Marks are the session's.
	Proofs []Proof
	Marks  []Mark
	// Since is when the session began; zero when there is none.
	Since time.Time
	// Offline says that an app goes on for the person while they are away: how long it may is the rules of
	// refresh tokens to say, not those of sessions (OpenID Connect Core section 11).
	Offline bool
	// Browser says that the person's own browser asks, and From from where; else an app does, for them.
	Browser bool
	From    netip.Addr
	// Apart says that each app wants a sign-in of its own, and that the session is none to this one yet.
	Apart bool
	// Arrived: an assertion is here that names nobody of ours yet.
	Arrived bool
	// Local: this login goes by no identity provider.
	Local bool
	// Kept: the person's address is at a domain whose people sign in through the identity provider alone
	// (login.sso_required). Looked up where a proof of the person's own is there to be judged.
	Kept   bool
	Person *PersonFacts // nil: nobody is proved
	// AppName is what people know the app as. Needed is how strong a proof it cannot do without, Wished what
	// it would like where the person can give it (OpenID Connect Core section 5.5.1.1).
	AppName        string
	Needed, Wished Rung
	// Factors are what the person set up, where it was looked up: FactorsKnown. AskedSince is since when they
	// have been asked to set something up in this organization; zero: they were not.
	FactorsKnown bool
	Factors      []FactorFacts
	AskedSince   time.Time
	// Methods are the second steps of this installation, Enrollable those that people set up themselves;
	// the safest first.
	Methods, Enrollable []mfa.Method
	// Keeping: recovery codes wait to be shown.
	Keeping bool
	// App is the app's id; DeviceKnown: this browser signed in to the organization before. Flows read them.
	App         directory.AppID
	DeviceKnown bool
	// Done are the stations of the flow that this login has passed, Accepted the terms that the person ever
	// accepted, where the flow asks for any. Wanted are the second steps that the flow wants, and At is where
	// in the flow a step is asked whether it is wanted.
	Done     []string
	Accepted []Acceptance
	Wanted   []FlowWish
	At       *station
	// Choices are the organizations that the proved person may go to with this app. Only asked for
	// when Route is weaker than RouteNamed.
	Choices []directory.OrgID
}

// Reason says in words why something is asked, and which rule asked it.
type Reason struct {
	Text  string `json:"text"`
	Rule  string `json:"rule,omitempty"`
	Value string `json:"value,omitempty"`
	Level string `json:"level,omitempty"`
}

// Decision is what comes next: done, a step, or a refusal.
type Decision struct {
	Done     bool
	Step     StepName
	Refused  *fault.Error
	Reasons  []Reason
	Counting []Proof // the proofs that count for the organization, newest first; set when Done

	at     *station   // which of the flow, where it is one
	wanted []FlowWish // the second steps that the flow wants
}

func refuse(f *fault.Error) Decision { return Decision{Refused: f} }

// Decide says what comes next in a login. It is pure: no clock, no I/O, and asking twice moves nothing.
func Decide(f Flow, p policy.Effective, s State) Decision {
	if s.Org != nil && s.Org.Chain.Status() == directory.Active && !s.Org.Entitled && s.belongs() {
		return refuse(ErrNotEntitled) // told to whom the organization is no secret
	}
	if s.Org != nil && (s.Org.Chain.Status() != directory.Active || !s.Org.Entitled) {
		return refuse(ErrOrgUnavailable)
	}
	j := judging{flow: &f}
	if len(f.conditions) > 0 {
		all := s // the conditions' own: most logins have none, and s stays where it is cheap
		j.known = seen{policy: p, state: &all}
	}
	s.Wanted = f.wanted(&j, &s)
	line := f.stations()
	for i := range line {
		at := &line[i]
		step, known := steps[at.Step]
		if !known {
			return refuse(ErrStep) // refused, never skipped
		}
		clear := j.all(at.when)
		if clear == fails {
			continue
		}
		s.At = at
		want, why, err := step.Wants(p, s)
		if clear == unclear && (want || err != nil) {
			why = append(why, Reason{Text: "The condition of this step could not be judged, so it is taken.", Rule: "flow", Level: s.levelName(at.Org)})
		}
		if err != nil {
			return Decision{Refused: err, Reasons: why, at: at}
		}
		if want {
			return Decision{Step: at.Step, Reasons: why, at: at, wanted: s.Wanted}
		}
	}
	counting, why := s.Counting(p)
	return Decision{Done: true, Reasons: why, Counting: counting}
}

// counts says whether a proof is worth something in the login's organization, and through what: the
// organization's own connection, one that an ancestor offers, or the one that a guest's membership
// names. Everywhere else it is worth nothing, not even to say who somebody is (S2).
func (s State) counts(p Proof) bool {
	if p.Connection == "" {
		return p.Method != "" && p.Method != methodLater && p.Method != methodDevice && s.Org.Chain.Has(p.Org)
	}
	for _, list := range [][]ConnectionFacts{s.Org.Usable, s.Org.Trusted} {
		for _, c := range list {
			if c.ID == p.Connection && c.Org == p.Org {
				return p.since(c.After)
			}
		}
	}
	return s.Person != nil && s.Person.AcceptsActive && s.Person.Member.Accepts == p.Connection && p.Connection != "" && p.since(s.Person.AcceptsAfter)
}

// since says whether a proof came after its connection was last switched off.
func (p Proof) since(off time.Time) bool { return off.IsZero() || p.Seen.After(off) }

// belongs says whether a member of the login's organization proved themselves to it, however long ago.
func (s State) belongs() bool {
	return s.Person != nil && s.Person.Person.Status == directory.Active && s.Person.Member.Org == s.Org.Chain.Org().ID &&
		s.Person.Member.Holds(s.Now) && slices.ContainsFunc(s.Proofs, s.identifies)
}

// identifies says whether a proof counts and says who somebody is.
func (s State) identifies(p Proof) bool { return p.Primary() && s.counts(p) }

// Counting are the proofs that count in the organization and are fresh enough for it, newest first,
// and why the others are not enough.
func (s State) Counting(p policy.Effective) ([]Proof, []Reason) {
	var out []Proof
	var why []Reason
	for _, proof := range s.Proofs {
		if !s.counts(proof) {
			continue
		}
		if r, ok := s.allowed(p, proof); !ok {
			why = append(why, r)
			continue
		}
		if r, ok := s.fresh(p, proof); !ok {
			why = append(why, r)
			continue
		}
		at := len(out)
		for at > 0 && out[at-1].At.Before(proof.At) {
			at--
		}
		out = append(out[:at], append([]Proof{proof}, out[at:]...)...)
	}
	return out, why
}

// allowed says whether the policy of now lets people sign in as a proof of their own was given: a password of
// yesterday is none today where passwords were taken away, or the identity provider was made the only way. A
// passkey that may not be the first step may be the second.
func (s State) allowed(p policy.Effective, q Proof) (Reason, bool) {
	switch {
	case q.Connection != "" || !q.Primary():
		return Reason{}, true
	case q.Method == policy.Passkey && policy.MFAMethods.In(p).Allows(policy.Passkey):
		return Reason{}, true
	case !policy.LoginMethods.In(p).Allows(q.Method):
		return s.because(p, policy.LoginMethods.Key, "This way to sign in is not allowed."), false
	case s.Kept:
		return s.because(p, policy.SSORequired.Key, "People of this organization sign in through its identity provider."), false
	}
	return Reason{}, true
}

// Opens says whether a proof may be the first step under the policy: whether a login may rest on it.
func (s State) Opens(p policy.Effective, q Proof) bool {
	if q.Connection == "" && q.Method == policy.Passkey {
		return q.Primary() && !s.Kept && policy.LoginMethods.In(p).Allows(policy.Passkey)
	}
	return q.Primary()
}

// fresh says whether a proof is young enough, measured on what the session did in this organization
// alone (S47), under the policy of now.
func (s State) fresh(p policy.Effective, proof Proof) (Reason, bool) {
	if s.Person != nil && proof.Seen.Before(s.Person.Person.SessionsAfter) {
		return Reason{Text: "This person was signed out everywhere since."}, false
	}
	if !proof.Until.IsZero() && !s.Now.Before(proof.Until) {
		return Reason{Text: "The identity provider's own session is over."}, false
	}
	if s.inLogin(proof) {
		return s.asAsked(proof)
	}
	if s.Force {
		return Reason{Text: "The app asks for a new sign-in."}, false
	}
	if s.Apart {
		return s.because(p, policy.SessionShared.Key, "Each app asks for a sign-in of its own."), false
	}
	if s.MaxAge != nil && s.Now.Sub(proof.At) > *s.MaxAge {
		return Reason{Text: "The app asks for a more recent sign-in."}, false
	}
	since, seen, held := proof.Seen, s.lastSeen(), time.Time{}
	for _, m := range s.Marks {
		if m.Org == s.Org.Chain.Org().ID {
			since, seen, held = m.Since, m.Seen, m.Held
		}
	}
	b := sessionBounds
	if s.Offline {
		b = offlineBounds
	}
	if life := b.life.In(p); !s.Now.Before(since.Add(life)) || !held.IsZero() && !s.Now.Before(held) {
		return s.because(p, b.life.Key, b.over), false
	}
	if idle := b.idle.In(p); !s.Now.Before(seen.Add(idle)) {
		return s.because(p, b.idle.Key, b.unused), false
	}
	return Reason{}, true
}

// bounds are the rules that say how long a proof is worth something after the login that brought it.
type bounds struct {
	life, idle   *policy.Rule[time.Duration]
	over, unused string
}

var (
	sessionBounds = bounds{policy.SessionLifetime, policy.SessionIdle, "The longest session is over.", "The session was not used for too long."}
	offlineBounds = bounds{policy.RefreshLifetime, policy.RefreshIdle, "The app may renew its tokens no longer.", "The app did not renew its tokens for too long."}
)

// clockSlack is how far a provider's clock may be off when its auth_time is judged.
const clockSlack = 3 * time.Minute

// asAsked says whether a proof of this login is as fresh as the app asked: a provider may have ignored
// that it was told to ask the person again.
func (s State) asAsked(p Proof) (Reason, bool) {
	if s.Force && p.At.Before(s.Started.Add(-clockSlack)) {
		return Reason{Text: "The identity provider did not ask the person again."}, false
	}
	if s.MaxAge != nil && s.Now.Sub(p.At) > *s.MaxAge+clockSlack {
		return Reason{Text: "The identity provider's sign-in is older than the app accepts."}, false
	}
	return Reason{}, true
}

// inLogin says whether this login itself brought the proof.
func (s State) inLogin(p Proof) bool {
	return !p.held && !s.Started.IsZero() && !p.Seen.Before(s.Started)
}

func (s State) lastSeen() time.Time {
	last := s.Since
	for _, m := range s.Marks {
		if m.Seen.After(last) {
			last = m.Seen
		}
	}
	return last
}

func (s State) because(p policy.Effective, key, text string) Reason {
	w := p.Why(key)
	return Reason{Text: text, Rule: key, Value: w.Value, Level: w.Level}
}
