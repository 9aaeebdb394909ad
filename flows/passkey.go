package flows

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/templates"
)

// This file is signing in with a passkey alone. The page that asks who somebody is asks for any passkey of
// this address, whatever was typed: what it shows says nothing of anybody (S31). What the passkey proves
// counts where it was set up and below (S2), and opens a login where the rules of the organization and of
// the person's home let it.

// invite fills what a page needs to let people sign in with a passkey; changed says that the login's row
// must be written.
func (t *Turn) invite(ctx context.Context, step StepName, into **templates.PasskeyInvite) (changed bool, err error) {
	e, l := t.Engine, t.Login
	if !e.Factors.Finds() || t.State.Org != nil && !t.State.Org.Local.Passkey {
		return false, nil
	}
	inv, err := e.Factors.Invite(ctx, l.ID, l.Passkey)
	if err != nil {
		return false, err
	}
	changed, l.Passkey = l.Passkey != inv.ID, inv.ID
	*into = &templates.PasskeyInvite{Action: e.answerURL(l, step), Step: string(step), Options: inv.Options, Error: inv.Error, Left: inv.Left}
	return changed, nil
}

// recognize takes the answer to an invitation: whoever it is of is the login's person, and the page is shown
// again where it was nobody's.
func (t *Turn) recognize(ctx context.Context, answer url.Values) error {
	e, l, now := t.Engine, t.Login, t.State.Now
	if !e.Factors.Finds() {
		return ErrOutOfOrder.Because("no passkeys here")
	}
	passed, found, err := e.Factors.Recognize(ctx, t.realm(), l.ID, l.Passkey, answer)
	if err != nil {
		l.note(now, audit.Step{Name: "passkey", Text: "A passkey was not accepted.", Facts: map[string]string{"fault": fault.Of(err).Code}})
	}
	switch {
	case errors.Is(err, mfa.ErrWrong), errors.Is(err, mfa.ErrCopied), errors.Is(err, mfa.ErrOver):
		return nil // the page says so
	case errors.Is(err, mfa.ErrTries):
		l.restart()
		return err
	case err != nil:
		return err
	}
	if l.Person != found.Person {
		l.Proofs = nil // what somebody else proved earlier in this login is not this person's (S2)
	}
	l.Person, l.Passkey, l.Local, l.Proofs = found.Person, "", nil, append(l.Proofs, proofOf(passed))
	l.note(now, audit.Step{Name: "passkey", Text: "The person signed in with a passkey."})
	if l.Org != "" {
		return nil
	}
	return t.goHome(ctx, found)
}

// goHome finds the organization for somebody who was recognized without one: their home, or where they may
// use the app when that is not there. Which of several it should be, they choose next.
func (t *Turn) goHome(ctx context.Context, found mfa.Enrollment) error {
	l := t.Login
	orgs, err := t.Engine.Judge.choices(ctx, directory.Person{ID: found.Person, Realm: found.Realm}, l.Request.App, l.Proofs)
	if err != nil {
		return err
	}
	l.Org, l.Route = found.Home, RouteIdentifier
	if len(orgs) > 0 && !slices.Contains(orgs, found.Home) {
		l.Org = orgs[0]
	}
	return nil
}
