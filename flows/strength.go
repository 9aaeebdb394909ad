package flows

import (
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// Rung is how strongly somebody proved themselves: a place on the ladder of authentication contexts, the
// higher the stronger (RFC 9470).
type Rung int

const (
	RungNone Rung = iota
	RungOne       // one proof
	RungTwo       // two of knowledge, possession and verification, over different channels
	RungPhr       // phishing-resistant: a passkey that recognized its user
)

// shows is what a proof shows under a policy: an identity provider's word is one thing known, and one thing
// held besides where the policy lets it speak of its second steps and the connection's rule matches.
func (s State) shows(p policy.Effective, q Proof) mfa.Evidence {
	if q.Connection == "" {
		return q.Shows
	}
	if policy.MFATrustUpstream.In(p) && s.vouchesFactor(q) {
		return mfa.Knowledge | mfa.Possession
	}
	return mfa.Knowledge
}

// vouchesFactor says whether the connection's rule finds a second step in what the provider said. At most
// that: nothing a provider says is phishing-resistant here (S11).
func (s State) vouchesFactor(q Proof) bool {
	means := func(rule string) bool { return rule == q.ACR || slices.Contains(q.AMR, rule) }
	vouches := func(c ConnectionFacts) bool { return c.ID == q.Connection && slices.ContainsFunc(c.MFA, means) }
	return slices.ContainsFunc(s.Org.Usable, vouches) || slices.ContainsFunc(s.Org.Trusted, vouches)
}

// Rung is how strong the proofs are together.
func (s State) Rung(p policy.Effective, counting []Proof) Rung {
	var all mfa.Evidence
	var channels []string
	rung := RungNone
	for _, q := range counting {
		shown := s.shows(p, q)
		if q.From.After(s.Now) { // set up after a recovery, not long enough ago (S12)
			if shown != 0 {
				rung = max(rung, RungOne)
			}
			continue
		}
		if shown == 0 || q.Channel != "" && slices.Contains(channels, q.Channel) {
			continue // a remembered device, a recovery code; the same mailbox twice (S11)
		}
		channels = append(channels, q.Channel)
		if shown.Has(mfa.Resistant | mfa.Verification) {
			return RungPhr
		}
		all |= shown
		rung = max(rung, RungOne)
	}
	if all.Kinds() >= 2 {
		return RungTwo
	}
	return rung
}

// demand is what policy and app want beyond the word of whoever says who somebody is.
type demand struct {
	second bool // a second step
	rung   Rung // at least this high; RungNone is any
	why    []Reason
	by     string // who asks, for the page
	strict bool   // only what is phishing-resistant
}

func (d demand) nothing() bool { return !d.second && d.rung <= RungOne }

// demand folds what policy, app and request want. A wish that the app can do without is none here: see
// State.Wished.
func (s State) demand(p policy.Effective) demand {
	var d demand
	want := policy.MFARequirement.In(p)
	if want == policy.Always || want == policy.NewDevice && !s.remembered() {
		d.second = true
		d.strict = policy.MFAPhishingResistant.In(p)
		d.why = append(d.why, s.because(p, policy.MFARequirement.Key, "A second step is required."))
		d.by = p.Why(policy.MFARequirement.Key).Level
	}
	d.rung = s.Needed
	if s.Wished > d.rung && s.couldReach(p, s.Wished) {
		d.rung = s.Wished
	}
	if d.rung > RungOne {
		d.why = append(d.why, Reason{Text: "The app asks for a stronger sign-in."})
		if d.by == "" {
			d.by = s.AppName
		}
	}
	s.flowDemand(p, &d)
	return d
}

// remembered says whether this browser's second step is remembered for the organization (S29).
func (s State) remembered() bool {
	return slices.ContainsFunc(s.Proofs, func(q Proof) bool { return q.Method == methodDevice && q.Org == s.Org.Chain.Org().ID && s.standing(q) })
}

// met says whether the proofs satisfy the demand.
func (s State) met(p policy.Effective, d demand, counting []Proof) bool {
	if d.nothing() {
		return true
	}
	return (!d.second || s.second(p, d, counting)) && s.Rung(p, counting) >= d.rung
}

// second says whether a second step is among the proofs: one of a method that policy allows, over another
// channel than the proof it stands beside; a passkey that recognized its user is both at once; an identity
// provider's where it may speak of it.
func (s State) second(p policy.Effective, d demand, counting []Proof) bool {
	for _, q := range counting {
		switch {
		case q.Connection != "":
			if !d.strict && s.shows(p, q).Kinds() >= 2 {
				return true
			}
		case !s.permits(p, d, q.Method):
		case q.Primary() && q.Method == policy.Passkey:
			return true
		case !q.Primary() && slices.ContainsFunc(counting, func(first Proof) bool {
			return s.Opens(p, first) && (first.Channel == "" || first.Channel != q.Channel)
		}):
			return true
		}
	}
	return false
}

// permits says whether a method may be the second step under the policy.
func (s State) permits(p policy.Effective, d demand, m mfa.Method) bool {
	switch m {
	case policy.RecoveryCode:
		return !d.strict && d.rung <= RungOne && policy.RecoveryMethods.In(p).Allows(m)
	case policy.AdminBypass:
		return !d.strict && d.rung <= RungOne && policy.RecoveryMethods.In(p).Allows(m)
	}
	if d.strict && m != policy.Passkey && m != policy.SecurityKey {
		return false
	}
	return policy.MFAMethods.In(p).Allows(m)
}

// FactorFacts is one thing that the person set up.
type FactorFacts struct {
	ID     directory.FactorID
	Method mfa.Method
	Org    directory.OrgID // where it counts, with all below
	Label  string
	Since  time.Time // when it was set up
	From   time.Time // when it begins to count for step-up (S12); zero: at once
}

// usable are the person's methods that could answer the demand here, the safest first.
func (s State) usable(p policy.Effective, d demand) []mfa.Method {
	var out []mfa.Method
	for _, m := range s.Methods {
		if s.permits(p, d, m) && (d.rung < RungPhr || m == policy.Passkey) && s.holds(m) && (d.rung <= RungOne || s.ripe(m)) {
			out = append(out, m)
		}
	}
	return out
}

// ripe says whether the person has one of a method that counts for step-up by now.
func (s State) ripe(m mfa.Method) bool {
	return slices.ContainsFunc(s.Factors, func(f FactorFacts) bool {
		return f.Method == m && s.Org.Chain.Has(f.Org) && !f.From.After(s.Now)
	})
}

// delayed is when what is set up now begins to count for step-up (S12): some time after a recovery, which the
// session may have seen long ago, and not before what was set up after one and is all that was shown.
func (s State) delayed(p policy.Effective) time.Time {
	var from time.Time
	later := func(t time.Time) {
		if t.After(from) {
			from = t
		}
	}
	shown := false
	for _, q := range s.Proofs {
		if mfa.Recovers(q.Method) && s.standing(q) {
			later(s.Now.Add(policy.RecoveryDelay.In(p)))
		}
		shown = shown || q.Factor != "" && q.Method.Class() > policy.Unranked && !q.From.After(s.Now) && s.counts(q)
	}
	for _, f := range s.Factors {
		if !shown && f.From.After(s.Now) {
			later(f.From)
		}
	}
	return from
}

// back are the ways back that the person has and policy allows. None is a step-up.
func (s State) back(p policy.Effective, d demand) []mfa.Method {
	var out []mfa.Method
	for _, m := range s.Methods {
		if d.rung <= RungOne && mfa.Recovers(m) && s.holds(m) && policy.RecoveryMethods.In(p).Allows(m) {
			out = append(out, m)
		}
	}
	return out
}

// recovered says whether this login itself went by a way back.
func (s State) recovered(counting []Proof) bool {
	return slices.ContainsFunc(counting, func(q Proof) bool { return mfa.Recovers(q.Method) && s.inLogin(q) })
}

// holds says whether the person set up one of a method that counts here.
func (s State) holds(m mfa.Method) bool {
	return slices.ContainsFunc(s.Factors, func(f FactorFacts) bool { return f.Method == m && s.Org.Chain.Has(f.Org) })
}

// enrolled says the same of those that the person set up: a mailbox, which everybody has, is none.
func (s State) enrolled(m mfa.Method) bool {
	return slices.ContainsFunc(s.Factors, func(f FactorFacts) bool { return f.ID != "" && f.Method == m && s.Org.Chain.Has(f.Org) })
}

// enrollable are the methods that the person could set up here to answer the demand, the safest first.
func (s State) enrollable(p policy.Effective, d demand) []mfa.Method {
	var out []mfa.Method
	for _, m := range s.Enrollable {
		if s.permits(p, d, m) && (d.rung < RungPhr || m == policy.Passkey) {
			out = append(out, m)
		}
	}
	return out
}

// couldReach says whether the person could get that high with what they set up.
func (s State) couldReach(p policy.Effective, rung Rung) bool {
	d := demand{rung: rung}
	return len(s.usable(p, d)) > 0
}

// Reach is how far up the ladder these second steps lead.
func Reach(methods []mfa.Method) Rung {
	switch {
	case slices.Contains(methods, policy.Passkey):
		return RungPhr
	case slices.ContainsFunc(methods, func(m mfa.Method) bool { return m.Class() > policy.Unranked }):
		return RungTwo
	}
	return RungOne
}
