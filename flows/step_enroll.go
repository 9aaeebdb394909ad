package flows

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// enroll lets the person set a second step up inside the login that wants one, offering only what policy
// permits, the safest first. It may be put off as long as policy gives new members grace.
type enroll struct{}

func (enroll) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Org == nil || s.Person == nil || s.Arrived {
		return false, nil, nil
	}
	d := s.demand(p)
	counting, _ := s.Counting(p)
	if s.met(p, d, counting) && s.Keeping {
		return true, []Reason{{Text: "Recovery codes are shown once, when a second step was set up."}}, nil
	}
	if s.met(p, d, counting) || s.postponed(p, d) {
		return false, nil, nil
	}
	if err := s.mayEnrol(p, d, counting); err != nil {
		return false, d.why, err
	}
	return true, d.why, nil
}

// mayEnrol says why the person cannot set a second step up in this login.
func (s State) mayEnrol(p policy.Effective, d demand, counting []Proof) *fault.Error {
	switch {
	case d.rung > RungOne && s.delayed(p).After(s.Now):
		return ErrDelayed
	case len(s.enrollable(p, d)) == 0:
		return ErrNoFactor
	case !slices.ContainsFunc(counting, s.countsAtHome):
		return ErrEnrolAtHome // S3: factors are the home organization's to let in
	case (d.strict || d.rung == RungPhr) && !slices.ContainsFunc(counting, func(q Proof) bool {
		return q.Connection != "" || q.Method == policy.AdminBypass || q.Method == policy.Passkey
	}):
		return ErrEnrolWeak // S12: never by a password or a mailbox alone
	}
	return nil
}

// countsAtHome says whether a proof that counts here counts in the person's home organization too.
func (s State) countsAtHome(q Proof) bool {
	home := s.Person.Person.Home
	if q.Org == home || s.Org.Chain.Org().ID == home {
		return true
	}
	// What counts below the home organization and comes from above it counts there too.
	at := func(org directory.OrgID) int {
		return slices.IndexFunc(s.Org.Chain, func(o directory.Org) bool { return o.ID == org })
	}
	return at(q.Org) >= 0 && at(q.Org) < at(home)
}

// postponed says whether setting up was put off and still may be. What policy wants to be
// phishing-resistant, and what an app cannot do without, is not (S12).
func (s State) postponed(p policy.Effective, d demand) bool {
	if d.strict || d.rung > RungOne || s.hasFactor() {
		return false
	}
	return slices.ContainsFunc(s.Proofs, func(q Proof) bool {
		return q.Method == methodLater && q.Org == s.Org.Chain.Org().ID && s.standing(q) && s.Now.Before(q.At.Add(policy.MFAEnrolmentGrace.In(p)))
	})
}

// hasFactor says whether the person has set up what could be asked for: who has, is asked.
func (s State) hasFactor() bool { return len(s.strongest()) > 0 }

// grace is until when setting up may be put off; zero: not at all.
func (s State) grace(p policy.Effective, d demand) time.Time {
	grace := policy.MFAEnrolmentGrace.In(p)
	if grace <= 0 || d.strict || d.rung > RungOne || s.hasFactor() {
		return time.Time{}
	}
	since := s.Now
	if !s.AskedSince.IsZero() {
		since = s.AskedSince
	}
	if until := since.Add(grace); s.Now.Before(until) {
		return until
	}
	return time.Time{}
}

// keeping says whether recovery codes are what is shown now.
func (t *Turn) keeping(d demand) bool {
	counting, _ := t.State.Counting(t.Policy)
	return t.State.Keeping && t.State.met(t.Policy, d, counting)
}

// keep shows recovery codes.
func (t *Turn) keep(ctx context.Context, d demand) (Reply, error) {
	l, was := t.Login, t.Login.Ceremony
	if l.Method != policy.RecoveryCode {
		l.Method, l.Ceremony = policy.RecoveryCode, ""
	}
	page, err := t.ceremony(ctx, StepEnroll, d, false)
	return Reply{Page: page, Changed: l.Ceremony != was}, err
}

// wayBack says whether whoever set up a second step is to be given recovery codes: they have none, and
// policy lets codes be a way back.
func (t *Turn) wayBack(d demand) bool {
	f, err := t.Engine.Factors.Factor(policy.RecoveryCode)
	_, offers := f.(mfa.Enroller)
	return err == nil && offers && !t.State.holds(policy.RecoveryCode) && t.State.permits(t.Policy, demand{strict: d.strict}, policy.RecoveryCode)
}

func (enroll) Ask(ctx context.Context, t *Turn) (Reply, error) {
	d := t.State.demand(t.Policy)
	if t.keeping(d) {
		return t.keep(ctx, d)
	}
	methods := t.State.enrollable(t.Policy, d)
	l, was := t.Login, t.Login.Ceremony
	if l.Method != "" && !slices.Contains(methods, l.Method) {
		l.Method, l.Ceremony = "", ""
	}
	until := t.State.grace(t.Policy, d)
	if l.Method == "" && len(methods) > 1 {
		page := t.chooseStep(StepEnroll, d, methods, true)
		page.Later, page.LaterUntil = laterUntil(until)
		return Reply{Page: page}, nil
	}
	if l.Method == "" {
		l.Method = methods[0]
	}
	q := t.question(StepEnroll, d, len(methods) > 1)
	q.Frame.Later, q.Frame.LaterUntil = laterUntil(until)
	page, id, err := t.Engine.Factors.Show(ctx, q)
	l.Ceremony = id
	return Reply{Page: page, Changed: id != was}, err
}

// laterUntil is how a page says until when setting up may be put off.
func laterUntil(until time.Time) (bool, string) {
	if until.IsZero() {
		return false, ""
	}
	return true, until.UTC().Format("2006-01-02 15:04 UTC")
}

func (enroll) Take(ctx context.Context, t *Turn, answer url.Values) error {
	d := t.State.demand(t.Policy)
	l := t.Login
	if answer.Get("later") == "1" {
		until := t.State.grace(t.Policy, d)
		if until.IsZero() {
			return nil // it may not be put off, or no longer: the page is shown again
		}
		since, err := t.Engine.Judge.askedSince(ctx, t.State)
		if err != nil {
			return err
		}
		l.Proofs = append(l.Proofs, Proof{Org: t.State.Org.Chain.Org().ID, Method: methodLater, At: since, Seen: t.State.Now})
		l.note(t.State.Now, audit.Step{Name: string(StepEnroll), Text: "The person put off setting up a second step."})
		return nil
	}
	if !t.keeping(d) && t.picked(answer, t.State.enrollable(t.Policy, d)) {
		return nil
	}
	return t.answered(ctx, StepEnroll, d, answer)
}
