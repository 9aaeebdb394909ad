package main

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// errorPages draws what went wrong, for people: what happened, what to do, who can help, and the code
// under which the operator finds the story.
type errorPages struct {
	looks *flows.Looks
	pages *templates.Renderer
	log   *slog.Logger
	now   func() time.Time
	tell  bool // development: every page tells the cause
}

func (e *errorPages) draw(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := errors.AsType[*flows.Failure](err)
	if !ok {
		f = &flows.Failure{Err: err, At: e.now()}
	}
	if f.Trace == "" {
		// Nobody is known yet, so nothing is stored (S53): the story of this code is this line.
		f.Trace = audit.NewCode()
		e.log.InfoContext(r.Context(), "request refused", "trace", audit.ShowCode(f.Trace), "code", fault.Of(err).Code, "error", err)
	}
	look, contact := e.look(r, f)
	status := web.Status(f.Err)
	if err := flows.WritePage(w, e.pages, status, look, e.page(f, look, contact, status)); err != nil {
		e.log.ErrorContext(r.Context(), "an error page could not be drawn", "error", err)
		http.Error(w, "Something broke on our side. Reference "+audit.ShowCode(f.Trace), http.StatusInternalServerError)
	}
}

// look dresses the page as the organization's, where one is known, and gives its contact.
func (e *errorPages) look(r *http.Request, f *flows.Failure) (templates.Look, string) {
	dress, err := e.looks.Of(r.Context(), f.Org)
	if err != nil {
		dress, err = e.looks.Of(r.Context(), "")
	}
	if err != nil {
		return templates.Look{Lang: templates.Language(r.Header.Get("Accept-Language"))}, ""
	}
	contact := ""
	if f.Org != "" {
		if chain, err := e.looks.Orgs.OrgChain(r.Context(), f.Org); err == nil {
			contact = contactOf(chain)
		}
	}
	return dress.Look(r, f.App.Name, f.Locales), contact
}

// contactOf is the nearest contact in the chain.
func contactOf(chain directory.Chain) string {
	for i := len(chain) - 1; i >= 0; i-- {
		if chain[i].Contact != "" {
			return chain[i].Contact
		}
	}
	return ""
}

func (e *errorPages) page(f *flows.Failure, look templates.Look, contact string, status int) templates.Page {
	code := audit.ShowCode(f.Trace)
	back := f.Decline
	if back.URL == "" {
		back.URL = f.App.Home
	}
	switch {
	case errors.Is(f.Err, flows.ErrElsewhere):
		return templates.OverPage{Reason: templates.OverOtherBrowser, App: f.App.Name, AppURL: f.App.Home, Code: code}
	case f.Used:
		return templates.OverPage{Reason: templates.OverUsed, App: f.App.Name, AppURL: f.App.Home, Code: code}
	case errors.Is(f.Err, flows.ErrOver):
		return templates.OverPage{Reason: templates.OverExpired, App: f.App.Name, AppURL: f.App.Home, Code: code}
	case errors.Is(f.Err, flows.ErrNotMember), errors.Is(f.Err, flows.ErrSuspended):
		return templates.NotMemberPage{
			Org: look.Org, App: f.App.Name, Who: f.Who, Contact: contact, OtherURL: f.Again, AppURL: back.URL, Fields: back.Fields,
			Code: code, Suspended: errors.Is(f.Err, flows.ErrSuspended),
		}
	}
	p := e.faultPage(f, look, contact, code, status)
	p.BackURL, p.Fields = back.URL, back.Fields
	return p
}

func (e *errorPages) faultPage(f *flows.Failure, look templates.Look, contact, code string, status int) templates.FaultPage {
	what := fault.Of(f.Err)
	p := templates.FaultOf(look.Lang, what.Code, templates.Names{Provider: f.Connection, Org: look.Org, App: f.App.Name})
	p.Title, p.Cause = cmp.Or(f.Title.In(look.Lang), p.Title), cmp.Or(f.Say.In(look.Lang), p.Cause)
	p.Code, p.Status, p.Contact, p.Who = code, status, contact, look.Org
	p.App = f.App.Name
	if f.Again != "" && mayMend(what) {
		p.RetryURL = f.Again
	}
	if look.Org != "" || e.tell {
		p.Details = e.details(f, what)
	}
	if e.tell {
		p.Details = append(p.Details, templates.Detail{Name: "cause", Value: f.Err.Error()})
	}
	return p
}

// mayMend says whether trying again is likely to work: nobody is sent round in circles.
func mayMend(f *fault.Error) bool {
	switch f.Kind {
	case fault.Unavailable, fault.Throttled, fault.Expired, fault.Denied:
		return true
	}
	return slices.Contains(mendable, f.Code)
}

// mendable are the faults of providers whose remedy tells the person to start again: what fails for a
// moment, and what another account or a fresh sign-in there would mend.
var mendable = []string{
	"flows.email_domain", "flows.not_fresh",
	"oidc.auth_time", "oidc.expired", "oidc.hosted_domain", "oidc.signature", "oidc.tenant", "oidc.token_endpoint", "oidc.userinfo",
	"saml.bad_signature", "saml.expired", "saml.not_fresh",
	"upstream.busy", "upstream.malformed", "upstream.unreachable",
}

// details are for the organization's administrator: parsed fields only, and the first check that failed.
func (e *errorPages) details(f *flows.Failure, what *fault.Error) []templates.Detail {
	out := []templates.Detail{
		{Name: templates.DetailWhen, Value: f.At.UTC().Format("2 Jan 2006, 15:04:05 UTC")},
		{Name: templates.DetailProblem, Value: what.Code},
	}
	add := func(name, value string) {
		if value != "" {
			out = append(out, templates.Detail{Name: name, Value: value})
		}
	}
	add(templates.DetailConnection, f.Connection)
	add(templates.DetailApp, f.App.Name)
	for _, c := range f.Report {
		if !c.OK {
			add(templates.DetailCheck, c.Name)
			add(templates.DetailGot, c.Got)
			add(templates.DetailExpected, c.Expected)
			break
		}
	}
	return out
}
