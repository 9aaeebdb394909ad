package flows

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// factor asks for a second step with something that the person set up.
type factor struct{}

func (factor) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Org == nil || s.Person == nil || s.Arrived {
		return false, nil, nil
	}
	d := s.demand(p)
	counting, _ := s.Counting(p)
	if s.met(p, d, counting) || s.postponed(p, d) {
		return false, nil, nil
	}
	if s.FactorsKnown && d.strict && s.recovered(counting) {
		return false, nil, nil // good for setting up another one, and nothing else (S12)
	}
	if !s.FactorsKnown || len(s.usable(p, d)) > 0 {
		return true, d.why, nil
	}
	if s.mayEnrol(p, d, counting) == ErrEnrolWeak && slices.Contains(s.back(p, d), policy.AdminBypass) {
		return true, d.why, nil // S12: with it the first one may be set up
	}
	// Nothing that would do is set up. Whoever sets one up proves the strongest they have first (S3).
	return s.unprovedFactor(counting), append(d.why, Reason{Text: "Before another second step is set up, the one there is has to be shown."}), nil
}

// unprovedFactor says whether the person holds something strong that this login has not seen.
func (s State) unprovedFactor(counting []Proof) bool {
	best := s.strongest()
	if len(best) == 0 {
		return false
	}
	return !slices.ContainsFunc(counting, func(q Proof) bool { return q.Factor != "" && slices.Contains(best, q.Method) })
}

// strongest are the methods of the strongest class that the person set up and can answer with here.
func (s State) strongest() []mfa.Method {
	best, top := []mfa.Method(nil), policy.Unranked
	for _, m := range s.Methods {
		if !s.enrolled(m) || m.Class() == policy.Unranked || m.Class() < top {
			continue
		}
		if m.Class() > top {
			best, top = nil, m.Class()
		}
		best = append(best, m)
	}
	return best
}

// offered are the methods that the page asks for.
func (s State) offered(p policy.Effective) (demand, []mfa.Method) {
	d := s.demand(p)
	list := s.usable(p, d)
	if len(list) == 0 {
		list = s.strongest()
	}
	for _, m := range s.back(p, d) {
		if !slices.Contains(list, m) && (d.strict || len(list) == 0) {
			list = append(list, m)
		}
	}
	return d, list
}

func (factor) Ask(ctx context.Context, t *Turn) (Reply, error) {
	d, methods := t.State.offered(t.Policy)
	if len(methods) == 0 {
		return Reply{}, ErrNoFactor
	}
	l := t.Login
	if l.Method != "" && !slices.Contains(methods, l.Method) {
		l.Method, l.Ceremony = "", ""
	}
	if l.Method == "" && l.Choosing && len(methods) > 1 {
		return Reply{Page: t.chooseStep(StepFactor, d, methods, false)}, nil
	}
	was := l.Ceremony
	if l.Method == "" {
		l.Method = methods[0]
	}
	page, err := t.ceremony(ctx, StepFactor, d, len(methods) > 1)
	return Reply{Page: page, Changed: l.Ceremony != was}, err
}

// ceremony shows the question of the login's method.
func (t *Turn) ceremony(ctx context.Context, step StepName, d demand, other bool) (templates.Page, error) {
	q := t.question(step, d, other)
	page, id, err := t.Engine.Factors.Show(ctx, q)
	if err != nil {
		return nil, err
	}
	t.Login.Ceremony = id
	return page, nil
}

func (t *Turn) question(step StepName, d demand, other bool) mfa.Question {
	l, s := t.Login, t.State
	who := s.Person.Person
	org := s.Org.Chain.Org()
	at := org.ID
	if s.Org.Chain.Has(who.Home) {
		at = who.Home // what is set up by whoever is at home above counts there as well
	}
	sub := subjectOf(who)
	sub.Org, sub.OrgName, sub.App, sub.Place = at, org.Name, l.Request.App.Name, l.Request.Place
	sub.Network = l.Request.Network
	return mfa.Question{
		From: s.delayed(t.Policy), ID: l.Ceremony, Bound: l.ID, Method: l.Method, Enrol: step == StepEnroll,
		Subject: sub,
		Frame:   t.frame(step, d, other),
	}
}

func (t *Turn) frame(step StepName, d demand, other bool) templates.StepFrame {
	return templates.StepFrame{
		Action: t.Engine.answerURL(t.Login, step), Step: string(step), App: t.Login.Request.App.Name, Org: t.State.Org.Chain.Org().Name,
		Who: t.State.Person.Person.Email, ChangeURL: t.Engine.otherURL(t.Login), By: d.by, Other: other,
	}
}

// chooseStep lists the ways, and says which of the person's own a policy took away.
func (t *Turn) chooseStep(step StepName, d demand, methods []mfa.Method, enrol bool) templates.StepsPage {
	page := templates.StepsPage{StepFrame: t.frame(step, d, false), Enrol: enrol}
	for i, m := range methods {
		item := templates.StepItem{Method: string(m), Safest: i == 0 && m.Class() == policy.PhishingResistant && len(methods) > 1}
		for _, f := range t.State.Factors {
			if f.Method == m && !enrol && f.Label != "" && item.Hint == "" {
				item.Hint = f.Label
			}
		}
		page.Items = append(page.Items, item)
	}
	if enrol {
		return page
	}
	for _, f := range t.State.Factors {
		if name := string(f.Method); f.Method.Class() > policy.Unranked && !slices.Contains(methods, f.Method) && !slices.Contains(page.Missing, name) {
			page.Missing = append(page.Missing, name)
		}
	}
	if len(page.Missing) > 0 {
		page.MissingBy = t.Policy.Why(policy.MFAMethods.Key).Level
	}
	return page
}

func (factor) Take(ctx context.Context, t *Turn, answer url.Values) error {
	d, methods := t.State.offered(t.Policy)
	if t.picked(answer, methods) {
		return nil
	}
	return t.answered(ctx, StepFactor, d, answer)
}

// picked takes the choice of another way.
func (t *Turn) picked(answer url.Values, methods []mfa.Method) bool {
	if !answer.Has("method") {
		return false
	}
	l := t.Login
	l.Method, l.Ceremony, l.Choosing = "", "", true
	if m := mfa.Method(answer.Get("method")); slices.Contains(methods, m) {
		l.Method, l.Choosing = m, false
	}
	return true
}

// answered judges the answer of a ceremony and makes a proof of a right one.
func (t *Turn) answered(ctx context.Context, step StepName, d demand, answer url.Values) error {
	l := t.Login
	passed, err := t.Engine.Factors.Answer(ctx, t.question(step, d, false), answer)
	switch {
	case errors.Is(err, mfa.ErrAgain):
		return nil
	case errors.Is(err, mfa.ErrWrong), errors.Is(err, mfa.ErrReplay), errors.Is(err, mfa.ErrCopied), errors.Is(err, mfa.ErrOver):
		l.note(t.State.Now, audit.Step{Name: string(step), Text: "The answer was not accepted.", Facts: map[string]string{"method": string(l.Method), "fault": fault.Of(err).Code}})
		return nil // the page says so
	case err != nil:
		if errors.Is(err, mfa.ErrTries) {
			l.restart() // whoever guesses begins again, with the first step
		}
		l.note(t.State.Now, audit.Step{Name: string(step), Text: "The second step was refused.", Facts: map[string]string{"method": string(l.Method)}})
		return err
	}
	l.Method, l.Ceremony, l.Choosing = "", "", false
	if step == StepEnroll && passed.Method == policy.RecoveryCode { // to keep codes is to show nothing
		l.Keeping = false
		l.note(t.State.Now, audit.Step{Name: string(step), Text: "The person kept recovery codes."})
		return nil
	}
	counting, _ := t.State.Counting(t.Policy)
	if step == StepEnroll && d.strict && t.State.recovered(counting) {
		l.note(t.State.Now, audit.Step{Name: string(step), Text: "A second step was set up after a recovery; the sign-in begins again with it.", Facts: map[string]string{"method": string(passed.Method)}})
		l.restart()
		return nil
	}
	l.Keeping = l.Keeping || step == StepEnroll && t.wayBack(d)
	l.Proofs = append(l.Proofs, proofOf(passed))
	if mfa.Recovers(passed.Method) { // all that was open before ended with it, and this login goes on
		for i := range l.Proofs {
			l.Proofs[i].Seen = t.Engine.Now()
		}
	}
	l.note(t.State.Now, audit.Step{Name: string(step), Text: "The person proved themselves a second time.", Facts: map[string]string{"method": string(passed.Method)}})
	return nil
}

func proofOf(p mfa.Passed) Proof {
	return Proof{
		Org: p.Org, Method: p.Method, Factor: p.Enrollment, Shows: p.Shows, Channel: p.Channel, At: p.At, Seen: p.At, AMR: p.AMR, From: p.From,
	}
}

// factsOf is what deciding needs of what somebody set up.
func factsOf(e mfa.Enrollment) FactorFacts {
	return FactorFacts{ID: e.ID, Method: e.Method, Org: e.Org, Label: e.Label, Since: e.CreatedAt, From: e.CountsFrom}
}
