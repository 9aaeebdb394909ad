package flows

import (
	"context"
	"net/url"
	"slices"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// notice shows a text that the person has read before they go on: at each sign-in, and not again while a
// session goes on to other apps.
type notice struct{}

func (notice) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.passed() || s.goesOn(p) {
		return false, nil, nil
	}
	return true, []Reason{s.flowSays("The organization shows a notice to whoever signs in.")}, nil
}

// passed says whether this login has passed the station.
func (s *State) passed() bool { return s.At != nil && slices.Contains(s.Done, s.At.ID) }

// goesOn says whether the person is let in by what the session brings alone, so that this is no new sign-in.
func (s *State) goesOn(p policy.Effective) bool {
	if s.Org == nil || s.Person == nil {
		return false
	}
	counting, _ := s.Counting(p)
	return slices.ContainsFunc(counting, Proof.Primary) && !slices.ContainsFunc(counting, s.inLogin)
}

// flowSays is a reason of the station's flow.
func (s *State) flowSays(text string) Reason {
	r := Reason{Text: text, Rule: "flow"}
	if s.At != nil {
		r.Level = s.levelName(s.At.Org)
	}
	return r
}

func (notice) Ask(_ context.Context, t *Turn) (Reply, error) {
	return Reply{Page: templates.NoticePage{FlowFrame: t.flowFrame(StepNotice)}}, nil
}

// flowFrame is what the pages of a flow's own steps have in common.
func (t *Turn) flowFrame(step StepName) templates.FlowFrame {
	f := templates.FlowFrame{
		Action: t.Engine.answerURL(t.Login, step), Step: string(step), App: t.Login.Request.App.Name,
		ChangeURL: t.Engine.otherURL(t.Login), At: t.State.At.ID, Title: t.State.At.Set.Title, Text: t.State.At.Set.Text, Link: t.State.At.Set.Link,
	}
	f.By = t.State.levelName(t.State.At.Org)
	if t.State.Person != nil {
		f.Who = t.State.Person.Person.Email
	}
	return f
}

func (notice) Take(_ context.Context, t *Turn, answer url.Values) error {
	if !t.here(answer) {
		return nil // it was another notice that was read: this one is shown
	}
	t.Login.Done = append(t.Login.Done, t.State.At.ID)
	t.Login.note(t.State.Now, audit.Step{Name: string(StepNotice), Text: "The person read a notice.", Facts: map[string]string{"at": t.State.At.ID}})
	return nil
}

// here says whether an answer is to the station that is next, and not to one of the same kind before it.
func (t *Turn) here(answer url.Values) bool { return answer.Get("at") == t.State.At.ID }
