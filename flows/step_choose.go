package flows

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// choose lets a proved person pick one of their organizations, never before they are proved; and
// anybody one of the ways into an organization that has several.
type choose struct{}

func (choose) Wants(p policy.Effective, s State) (bool, []Reason, *fault.Error) {
	if s.Arrived {
		return false, nil, nil
	}
	if s.Org == nil && s.Local {
		return false, nil, nil
	}
	if s.Org == nil {
		if len(s.Choices) == 0 {
			return false, nil, ErrNoOrganization
		}
		return true, []Reason{{Text: "The person belongs to several organizations."}}, nil
	}
	if s.Person == nil {
		if s.local(p) {
			return false, nil, nil // its page has all ways
		}
		ask := !s.connected() && len(s.Org.Usable) > 1
		return ask, []Reason{{Text: "The organization has several ways to sign in."}}, nil
	}
	if s.Route == RouteIdentifier && len(s.Choices) > 1 {
		return true, []Reason{{Text: "The person belongs to several organizations."}}, nil
	}
	if s.connected() || len(s.Org.Usable) < 2 {
		return false, nil, nil
	}
	counting, why := s.Counting(p)
	return len(counting) == 0, why, nil
}

// connected says whether the way in is known. One that was closed since it was chosen or routed to is none:
// which of the others is the person's own, only they know.
func (s State) connected() bool {
	return slices.ContainsFunc(s.Org.Usable, func(c ConnectionFacts) bool { return c.ID == s.Connection })
}

func (choose) Ask(ctx context.Context, t *Turn) (Reply, error) {
	if t.State.Org != nil && len(t.State.Choices) < 2 {
		return t.askConnection(), nil
	}
	page := templates.ChoosePage{
		Action: t.Engine.answerURL(t.Login, StepChoose), Step: string(StepChoose),
		App: t.Login.Request.App.Name, CanRemember: true,
		ChangeURL: t.Engine.otherURL(t.Login),
	}
	if t.State.Person != nil {
		page.Who = t.State.Person.Person.Email
	}
	for _, id := range t.State.Choices {
		item, err := t.Engine.choice(ctx, id, t.Login.Request.App)
		if err != nil {
			return Reply{}, err
		}
		item.LastUsed = len(t.Remembered) > 0 && t.Remembered[0].Org == id
		page.Items = append(page.Items, item)
	}
	// Last used first, then by name.
	slices.SortStableFunc(page.Items, func(a, b templates.ChooseItem) int {
		if a.LastUsed != b.LastUsed {
			if a.LastUsed {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return Reply{Page: page}, nil
}

func (t *Turn) askConnection() Reply {
	page := templates.ChooseConnectionPage{
		Action: t.Engine.answerURL(t.Login, StepChoose), Step: string(StepChoose),
		App: t.Login.Request.App.Name, Org: t.State.Org.Chain.Org().Name,
		Who: t.Login.Identifier, ChangeURL: t.Engine.otherURL(t.Login),
	}
	for _, c := range t.State.Org.Usable {
		page.Items = append(page.Items, templates.ChooseItem{Value: string(c.ID), Name: c.Name})
	}
	return Reply{Page: page}
}

func (choose) Take(_ context.Context, t *Turn, answer url.Values) error {
	if con := directory.ConnectionID(answer.Get("connection")); con != "" && t.State.Org != nil {
		if !slices.ContainsFunc(t.State.Org.Usable, func(c ConnectionFacts) bool { return c.ID == con }) {
			return ErrOutOfOrder.Because("not a connection of this organization")
		}
		t.Login.Connection = con
		return nil
	}
	org := directory.OrgID(answer.Get("org"))
	if !slices.Contains(t.State.Choices, org) {
		return ErrOutOfOrder.Because("not an organization of this person")
	}
	if org != t.Login.Org {
		t.Login.Connection = "" // another organization, other ways in
	}
	t.Login.Org, t.Login.Route = org, RouteChosen
	t.Login.Keep = answer.Get("remember") == "1"
	return nil
}

// choice is one row of the picker.
func (e *Engine) choice(ctx context.Context, org directory.OrgID, app AppFacts) (templates.ChooseItem, error) {
	facts, _, err := e.Judge.org(ctx, org, app)
	if err != nil {
		return templates.ChooseItem{}, err
	}
	dress, err := e.Looks.Of(ctx, org)
	if err != nil {
		return templates.ChooseItem{}, err
	}
	item := templates.ChooseItem{Value: string(org), Name: facts.Chain.Org().Name}
	item.Logo, item.LogoDark = dress.Logos()
	if len(facts.Usable) > 0 {
		item.Hint = facts.Usable[0].Name
	}
	return item, nil
}
