package flows

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/password"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// This file is authenticate for whoever goes by no identity provider.

// askLocal shows where the sign-in stands.
func (t *Turn) askLocal(ctx context.Context) (Reply, error) {
	l, org := t.Login, ""
	if t.State.Org != nil {
		org = t.State.Org.Chain.Org().Name
	}
	loc := Local{Address: l.Identifier}
	if l.Local != nil {
		loc = *l.Local
	}
	action := t.Engine.answerURL(l, StepAuthenticate)
	switch loc.Where {
	case atMailed, atReset:
		return Reply{Page: templates.MailedPage{
			Action: action, Step: string(StepAuthenticate), Address: loc.Address, Reset: loc.Where == atReset,
			Minutes: int(mailLife / time.Minute), Error: loc.Error, Left: maxCodes - loc.Tries,
		}}, nil
	case atRenew:
		r := passwordRules(t.Policy)
		return Reply{Page: templates.NewPasswordPage{
			Action: action, Step: string(StepAuthenticate), Account: loc.Address, Renew: true, MinLength: r.MinLength, Flaws: loc.Flaws, Busy: loc.Error == wrongBusy,
		}}, nil
	}
	page := templates.PasswordPage{
		Action: action, Step: string(StepAuthenticate), App: l.Request.App.Name, Org: org, Value: loc.Address, Error: loc.Error, Wait: loc.Wait,
		Password: t.Engine.Judge.ByPassword, Link: t.Engine.Judge.ByLink, ChangeURL: t.Engine.otherURL(l),
	}
	if f := t.State.Org; f != nil {
		page.Password, page.Link = f.Local.Password, f.Local.Link
		for _, c := range f.Usable {
			page.Connections = append(page.Connections, templates.ChooseItem{Value: string(c.ID), Name: c.Name})
		}
	}
	page.Fixed = l.Org == "" // it was typed on the page before
	changed, err := t.invite(ctx, StepAuthenticate, &page.Passkey)
	if page.Passkey != nil {
		page.Passkey.Alone = !page.Password && !page.Link && len(page.Connections) == 0
	}
	return Reply{Page: page, Changed: changed}, err
}

// takeLocal takes an answer of one of these pages.
func (t *Turn) takeLocal(ctx context.Context, answer url.Values) error {
	l := t.Login
	if answer.Has("credential") {
		return t.recognize(ctx, answer)
	}
	if con := directory.ConnectionID(answer.Get("connection")); con != "" && t.State.Org != nil {
		if !slices.ContainsFunc(t.State.Org.Usable, func(c ConnectionFacts) bool { return c.ID == con }) {
			return ErrOutOfOrder.Because("not a connection of this organization")
		}
		l.Connection, l.Local = con, nil
		return nil
	}
	if l.Local == nil {
		l.Local = &Local{Address: l.Identifier}
	}
	loc := l.Local
	loc.Error, loc.Flaws, loc.Wait = "", nil, 0
	act := answer.Get("act")
	switch {
	case act == "back":
		loc.Where, loc.Old = "", nil
		return nil
	case act == "code":
		return t.takeCode(ctx, answer)
	case loc.Where == atRenew:
		return t.takeRenewed(ctx, answer)
	}
	if typed := strings.TrimSpace(answer.Get("identifier")); typed != "" && l.Org != "" && len(typed) <= maxIdentifier {
		loc.Address, l.Identifier = typed, typed
	}
	if _, ok := DomainOf(loc.Address); !ok {
		loc.Error = wrongMalformed
		if loc.Address == "" {
			loc.Error = wrongEmpty
		}
		return nil
	}
	if err := t.Engine.By.Admit(ctx, l.Request.Network); errors.Is(err, web.ErrTooMany) {
		loc.Error = wrongBusy
		return nil
	} else if err != nil {
		return err
	}
	switch act {
	case "link":
		return t.sendLink(ctx)
	case "reset":
		return t.sendReset(ctx)
	}
	return t.takePassword(ctx, answer.Get("password"))
}

// takePassword judges a password. Whoever it is for, and whether they exist: the same reads, one guess on
// the disk, one hash in the pool, the same page after the same time (S31).
func (t *Turn) takePassword(ctx context.Context, typed string) error {
	e, l, loc, began := t.Engine, t.Login, t.Login.Local, t.Engine.Now()
	if typed == "" {
		loc.Error = wrongEmpty
		return nil
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	b, who := bucket(a.policy), "unknown/"+string(a.about(loc.Address))
	if a.known() && t.knows(a.person) {
		who = "known/" + string(a.person.ID)
	}
	wait, err := e.By.Guesses.Guess(ctx, t.realm(), who, began, b)
	if err != nil {
		return err
	}
	if wait > 0 && strings.HasPrefix(who, "unknown/") {
		loc.Error, loc.Wait = wrongWait, int(wait/time.Second)+1
		return nil
	}
	kept, err := e.Judge.Directory.PasswordOf(ctx, a.person.Home, a.about(loc.Address))
	if err != nil {
		return err
	}
	if !a.local.Password {
		kept = directory.Password{}
	}
	got, err := e.By.Passwords.Check(ctx, t.turn(a), kept.Hash, typed)
	if errors.Is(err, password.ErrBusy) {
		loc.Error = wrongBusy
		return e.By.Guesses.Forgive(ctx, t.realm(), who, began, b)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		e.Log.ErrorContext(ctx, "a stored password cannot be read", "person", a.person.ID, "error", err)
	}
	if !got.Right {
		loc.Error = wrongPassword
		l.note(began, audit.Step{Name: string(StepAuthenticate), Text: "The password was not accepted."})
		e.By.Rest(ctx, least-e.Now().Sub(began))
		return nil
	}
	if err := e.By.Guesses.Forgive(ctx, t.realm(), who, began, b); err != nil {
		return err
	}
	return t.rightPassword(ctx, a, kept, got.Renewed)
}

// turn is on whose behalf a password is hashed.
func (t *Turn) turn(a account) password.Turn {
	return password.Turn{Org: string(a.person.Home), Network: t.Login.Request.Network}
}

// rightPassword makes a proof of it, or asks for a new one first.
func (t *Turn) rightPassword(ctx context.Context, a account, kept directory.Password, renewed string) error {
	e, l := t.Engine, t.Login
	if renewed != "" {
		err := e.Judge.Directory.RehashPassword(ctx, a.person.Home, a.person.ID, kept.ID, renewed)
		if err != nil && !errors.Is(err, directory.ErrPasswordMoved) {
			return err
		}
	}
	l.note(t.State.Now, audit.Step{Name: string(StepAuthenticate), Text: "The password was right."})
	if passwordRules(a.policy).Old(kept.Set, e.Now()) {
		l.Local.Where, l.Local.Old = atRenew, &Old{Person: a.person.ID, Home: a.person.Home, Password: kept.ID}
		return nil
	}
	t.prove(a, passwordProof(a.person, kept, e.Now()))
	return nil
}

func passwordProof(p directory.Person, kept directory.Password, now time.Time) Proof {
	q := Proof{Method: policy.Password, Shows: knowledge, AMR: []string{"pwd"}}
	if kept.Source == directory.Mailed && now.Before(kept.Set.Add(mailedFor)) {
		q.Channel = mailChannel(p.Email)
	}
	return q
}

// takeRenewed takes the password that comes in place of one that is too old. It rests on the old one, which
// this login saw.
func (t *Turn) takeRenewed(ctx context.Context, answer url.Values) error {
	e, l, loc := t.Engine, t.Login, t.Login.Local
	old := loc.Old
	if old == nil {
		return ErrOutOfOrder.Because("no password was right yet")
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	if a.person.ID != old.Person || !a.local.Password {
		loc.Where, loc.Old = "", nil
		return nil
	}
	hash, flaws, err := e.newPassword(ctx, t.turn(a), a, answer.Get("password"))
	if errors.Is(err, password.ErrBusy) {
		loc.Error = wrongBusy
		return nil
	}
	if err != nil || len(flaws) > 0 {
		loc.Flaws = flaws
		return err
	}
	err = e.setPassword(ctx, a, l.Request, directory.NewPassword{Hash: hash, Source: directory.Chosen, Keep: passwordRules(a.policy).History, After: &old.Password})
	if errors.Is(err, directory.ErrPasswordMoved) {
		loc.Where, loc.Old = "", nil
		return nil
	}
	if err != nil {
		return err
	}
	t.prove(a, Proof{Method: policy.Password, Shows: knowledge, AMR: []string{"pwd"}})
	return nil
}

// newPassword judges a password that somebody chooses, and hashes one that will do.
func (e *Engine) newPassword(ctx context.Context, turn password.Turn, a account, typed string) (hash string, flaws []string, err error) {
	p, err := password.Prepare(typed)
	if err != nil {
		return "", []string{string(password.Unusable)}, nil
	}
	r := passwordRules(a.policy)
	facts, _, err := e.Judge.org(ctx, a.org, AppFacts{})
	if err != nil {
		return "", nil, err
	}
	found, err := r.Judge(p, []string{a.person.Name, a.person.Given, a.person.Family, a.person.Email, facts.Chain.Org().Name, facts.Chain.Org().Handle}, e.By.Lists...)
	if err != nil {
		return "", nil, err
	}
	if len(found) == 0 {
		used, err := e.usedBefore(ctx, turn, a, p, r.History)
		if err != nil {
			return "", nil, err
		}
		if used {
			found = append(found, password.Reused)
		}
	}
	for _, f := range found {
		flaws = append(flaws, string(f))
	}
	if len(flaws) > 0 {
		return "", flaws, nil
	}
	hash, err = e.By.Passwords.Make(ctx, turn, p)
	return hash, nil, err
}

// usedBefore says whether it is the current password or one of the last so many. The current one is asked
// about even where no history is kept, for a change to the same is none.
func (e *Engine) usedBefore(ctx context.Context, turn password.Turn, a account, p password.Prepared, history int) (bool, error) {
	now, err := e.Judge.Directory.PasswordOf(ctx, a.person.Home, a.person.ID)
	if err != nil {
		return false, err
	}
	earlier, err := e.Judge.Directory.EarlierPasswords(ctx, a.person.Home, a.person.ID, history)
	if err != nil {
		return false, err
	}
	return e.By.Passwords.Used(ctx, turn, append([]string{now.Hash}, earlier...), p)
}

// setPassword changes it, and tells the person.
func (e *Engine) setPassword(ctx context.Context, a account, req Request, in directory.NewPassword) error {
	dir := e.Judge.Directory
	return dir.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := dir.SetPassword(ctx, directory.Actor{Kind: directory.Engine, ID: string(a.person.ID)}, a.person.Home, a.person.ID, in); err != nil {
			return err
		}
		if !e.Judge.ByLink || a.person.Email == "" {
			return nil
		}
		now := e.Now()
		err := e.By.Messages.Mail(ctx, delivery.Mail{
			Org: string(a.person.Home), Person: string(a.person.ID), To: a.person.Email, Language: templates.Language("", a.person.Locale, ""), Network: addressOf(req.Network),
			Message: templates.FactorChangedMail{Change: templates.FactorReplaced, Factor: "password", Browser: req.Place, At: now},
		})
		if errors.Is(err, delivery.ErrBudget) || errors.Is(err, delivery.ErrAddress) {
			return nil
		}
		return err
	})
}
