package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// logoutRequest is an RP-initiated logout (OpenID Connect RP-Initiated Logout section 2).
type logoutRequest struct {
	app   App    // zero when nobody says who asks
	sid   string // of the hint; "" without one
	after string // where to go afterwards, registered; ""
	state string
}

// keepLogout takes a logout by POST from another site: it keeps it and lets the browser come by GET.
func (b *Broker) keepLogout(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if _, err := b.parseLogout(r.Context(), form); err != nil {
		return err
	}
	return b.keep(w, r, "/logout", form)
}

// logout ends the session of this browser: at once when the app shows a token of this very session,
// else after the person agreed, for any site can send a browser here.
func (b *Broker) logout(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := web.Query(r)
	if err != nil {
		return err
	}
	if kept := q.Get("continue"); kept != "" {
		if q, err = b.kept(ctx, kept); err != nil {
			return err
		}
	}
	req, err := b.parseLogout(ctx, q)
	if err != nil {
		return err
	}
	list, err := b.browserSessions(ctx, r)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return b.farewell(w, r, req.leaving(""))
	}
	target, org, hinted, err := b.meant(ctx, list, req)
	if err != nil {
		return err
	}
	if hinted {
		return b.endLeg(w, r, req, list, target, org, q)
	}
	return b.confirmLogout(w, r, req, target, q)
}

func (b *Broker) parseLogout(ctx context.Context, v url.Values) (logoutRequest, error) {
	req := logoutRequest{state: v.Get("state")}
	clientID := v.Get("client_id")
	if hint := v.Get("id_token_hint"); hint != "" {
		c, err := b.readHint(hint)
		if err != nil {
			return req, err
		}
		if clientID != "" && c.Audience != clientID {
			return req, ErrHint.Because("audience")
		}
		clientID, req.sid = c.Audience, c.SID
	}
	if clientID != "" {
		app, err := b.Apps.AppByClientID(ctx, clientID)
		if errors.Is(err, ErrAppNotFound) {
			return req, ErrUnknownClient.With(err)
		}
		if err != nil {
			return req, err
		}
		req.app = app
	}
	if req.app.ID != "" && req.app.Status != directory.Active {
		// Whoever signs out does so all the same, but no page of ours leads to an app that was stopped.
		req.app.PostLogoutURIs, req.app.Home = nil, ""
		return req, nil
	}
	if after := v.Get("post_logout_redirect_uri"); after != "" {
		if !slices.Contains(req.app.PostLogoutURIs, after) {
			return req, &flows.Failure{Err: ErrPostLogout.Because(difference("post_logout_redirect_uri", req.app.PostLogoutURIs, after)), App: req.app.facts(), At: b.Now()}
		}
		req.after = after
	}
	return req, nil
}

// readHint reads an id token of ours that an app shows again. An expired one will do (OpenID Connect
// RP-Initiated Logout section 2, Core section 3.1.2.1).
func (b *Broker) readHint(hint string) (idClaims, error) {
	var c idClaims
	body, err := b.Keys.verify(hint, "JWT")
	if err != nil {
		return c, ErrHint.With(err)
	}
	if err := json.Unmarshal(body, &c); err != nil || c.Issuer != b.Issuer {
		return c, ErrHint.Because("issuer")
	}
	return c, nil
}

// meant finds the session and the organization that the hint's sid names.
func (b *Broker) meant(ctx context.Context, list []brought, req logoutRequest) (brought, directory.OrgID, bool, error) {
	if req.sid == "" {
		return list[0], "", false, nil
	}
	for _, s := range list {
		apps, err := b.Sessions.AppsOf(ctx, s.Home, s.ID)
		if err != nil {
			return s, "", false, err
		}
		for _, m := range apps {
			if m.SID == req.sid && m.App == req.app.ID {
				return s, m.Org, true, nil
			}
		}
	}
	return list[0], "", false, nil
}

func (b *Broker) confirmLogout(w http.ResponseWriter, r *http.Request, req logoutRequest, s brought, q url.Values) error {
	id, err := b.put(r, q)
	if err != nil {
		return err
	}
	page := templates.LogoutConfirmPage{
		Action: "/logout/confirm?continue=" + id, Step: "confirm", App: req.app.Name, Who: s.person.Email, CancelURL: req.app.Home,
	}
	return b.page(w, r, s.Home, req.app.Name, page)
}

// logoutConfirmed ends everything that this browser is signed in to, as its owner asked, and what it has
// half finished: the next person at it must not finish that.
func (b *Broker) logoutConfirmed(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := b.kept(ctx, r.URL.Query().Get("continue"))
	if err != nil {
		return err
	}
	req, err := b.parseLogout(ctx, q)
	if err != nil {
		return err
	}
	list, err := b.browserSessions(ctx, r)
	if err != nil {
		return err
	}
	var home directory.OrgID
	for _, s := range list {
		home = s.Home
		if err := b.endSession(ctx, s.Session, "logout"); err != nil {
			return err
		}
	}
	b.Flows.Abandon(w)
	if err := b.setSecrets(w, r, nil, time.Time{}); err != nil {
		return err
	}
	if len(list) > 1 {
		home = "" // several people were signed in here
	}
	d := req.leaving(home)
	for _, s := range list {
		b.meets(ctx, &d, s)
	}
	return b.goOn(w, r, d)
}

// endLeg ends what the session was to one organization (S37): when nothing else is left, the session. What
// is left ends only if the person says so.
func (b *Broker) endLeg(w http.ResponseWriter, r *http.Request, req logoutRequest, list []brought, s brought, org directory.OrgID, q url.Values) error {
	ctx, now := r.Context(), b.Now()
	d := req.leaving(org)
	others := slices.DeleteFunc(slices.Clone(s.Orgs), func(m OrgMark) bool { return m.Org == org || !now.Before(m.Held) })
	if len(others) > 0 {
		if err := b.endPart(ctx, s.Session, org, "logout"); err != nil {
			return err
		}
		rest, err := b.put(r, q)
		if err != nil {
			return err
		}
		d.Rest = rest
		for _, m := range others {
			if chain, err := b.Directory.OrgChain(ctx, m.Org); err == nil {
				d.Remains = append(d.Remains, chain.Org().Name)
			}
		}
		return b.farewell(w, r, d)
	}
	if err := b.endSession(ctx, s.Session, "logout"); err != nil {
		return err
	}
	var secrets []string
	var rest []Session
	for _, x := range list {
		if x.ID != s.ID {
			secrets, rest = append(secrets, x.secret), append(rest, x.Session)
		}
	}
	until, err := b.keptUntil(ctx, rest)
	if err != nil {
		return err
	}
	if err := b.setSecrets(w, r, secrets, until); err != nil {
		return err
	}
	b.meets(ctx, &d, s)
	return b.goOn(w, r, d)
}

func (b *Broker) page(w http.ResponseWriter, r *http.Request, org directory.OrgID, app string, p templates.Page) error {
	return b.pageIn(w, r, org, app, r.URL.Query().Get("ui_locales"), p)
}

// pageIn draws a page in an organization's look, in a language that was wished for.
func (b *Broker) pageIn(w http.ResponseWriter, r *http.Request, org directory.OrgID, app, locales string, p templates.Page) error {
	dress, err := b.Looks.Of(r.Context(), org)
	if err != nil {
		return err
	}
	return flows.WritePage(w, b.Pages, http.StatusOK, dress.Look(r, app, locales), p)
}
