package broker

// This file lets people choose which of the accounts that are signed in here an app gets.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// picking is a request that waits until the person has chosen an account. It gives no right: the choice is
// among the sessions that the choosing browser brings.
type picking struct {
	App  directory.AppID `json:"app"`
	Form string          `json:"frm"` // the parameters that count, found good
}

// another is the choice of an account that is not signed in here.
const another = directory.SessionID("another")

func pickKey(id string) string { return "select/" + id }

// askAccount keeps the request and lets the person choose.
func (b *Broker) askAccount(w http.ResponseWriter, r *http.Request, q requested) error {
	kept, err := json.Marshal(picking{App: q.app.ID, Form: q.values.Encode()})
	if err != nil {
		return err
	}
	id := directory.NewSecret()
	if err := b.Brief.Put(r.Context(), pickKey(id), kept, keptLife); err != nil {
		return err
	}
	http.Redirect(w, r, "/select/"+id, http.StatusSeeOther)
	return nil
}

// picked finds a request that waits for a choice.
func (b *Broker) picked(ctx context.Context, id string) (requested, error) {
	raw, err := b.Brief.Get(ctx, pickKey(id))
	if errors.Is(err, brief.ErrGone) {
		return requested{}, flows.ErrOver.With(err)
	}
	if err != nil {
		return requested{}, err
	}
	var p picking
	if err := json.Unmarshal(raw, &p); err != nil {
		return requested{}, err
	}
	q := requested{}
	if q.values, err = url.ParseQuery(p.Form); err != nil {
		return q, err
	}
	if q.app, err = b.Apps.AppByID(ctx, p.App); err != nil {
		return q, err
	}
	return b.answerable(q)
}

// showAccounts draws the accounts of this browser.
func (b *Broker) showAccounts(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := b.picked(ctx, r.PathValue("select"))
	if err != nil {
		return err
	}
	req, err := b.parse(ctx, q.app, q.redirect, q.values)
	if err != nil {
		return b.refuse(w, r, q, err)
	}
	list, err := b.accounts(ctx, r, q.app, &req)
	if err != nil {
		return err
	}
	page := templates.AccountsPage{Action: r.URL.Path, App: q.app.Name}
	for _, s := range list {
		dress, err := b.Looks.Of(ctx, s.Home)
		if err != nil {
			return err
		}
		item := templates.ChooseItem{Value: string(s.ID), Name: flows.Mask(s.person.Email), Hint: dress.Name()}
		if item.Name == "" {
			item.Name = s.person.Name
		}
		item.Logo, item.LogoDark = dress.Logos()
		page.Items = append(page.Items, item)
	}
	return b.pageIn(w, r, "", q.app.Name, req.Locales, page)
}

// chooseAccount goes on as the account that was chosen. What this browser does not hold cannot be chosen.
func (b *Broker) chooseAccount(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	// One kept request begins as many logins as somebody posts choices: they are counted (S53).
	if err := b.Limits.AuthorizePerNetwork.Check(r.Context(), b.Counter, b.network(r)); err != nil {
		return err
	}
	q, err := b.picked(r.Context(), r.PathValue("select"))
	if err != nil {
		return err
	}
	chosen := directory.SessionID(form.Get("session"))
	if chosen == "" {
		http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
		return nil
	}
	return b.login(w, r, q, chosen)
}

// accounts are the sessions of this browser that a request may go on with, the current one first: those of
// whom the app means, and for an app that shares none, those by which it is signed in already.
func (b *Broker) accounts(ctx context.Context, r *http.Request, app App, req *authRequest) ([]brought, error) {
	list, err := b.browserSessions(ctx, r)
	if err != nil {
		return nil, err
	}
	if req.Meant != nil {
		list = slices.DeleteFunc(list, func(s brought) bool { return !req.means(b.subject(app, s.Person)) })
	}
	if !app.Unshared {
		return list, nil
	}
	var own []brought
	for _, s := range list {
		marks, err := b.Sessions.AppsOf(ctx, s.Home, s.ID)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(marks, func(m AppMark) bool { return m.App == app.ID && m.Ended.IsZero() }) {
			own = append(own, s)
		}
	}
	return own, nil
}

// goingOn is the session that a request goes on with: the one that was chosen, that of the account that its
// login_hint names, else the current; nil is none.
func (req *authRequest) goingOn(list []brought, chosen directory.SessionID) *flows.Held {
	if chosen != "" {
		req.hint = "" // the person chose, and knows better
		i := slices.IndexFunc(list, func(s brought) bool { return s.ID == chosen })
		if i < 0 {
			return nil // another account, or a session that ended meanwhile
		}
		return list[i].held()
	}
	if req.pick || len(list) == 0 {
		return nil
	}
	for _, s := range list {
		if req.hint != "" && flows.NormalAddress(s.person.Email) == flows.NormalAddress(req.hint) {
			return s.held()
		}
	}
	return list[0].held()
}
