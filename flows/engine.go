package flows

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/templates"
)

// Engine runs logins. All fields but Watch are required.
type Engine struct {
	Judge     *Judge
	Brief     brief.Store
	Upstreams Opener
	// Factors asks for second steps.
	Factors *mfa.Service
	// By signs people in whose organization has no identity provider.
	By        *By
	Looks     *Looks
	Pages     *templates.Renderer
	Cookies   web.Cookies
	Traces    audit.Traces
	Finishers map[string]Finisher
	Stories   Stories
	Now       func() time.Time
	Log       *slog.Logger
	// Address is where a browser is. Without it, or where it does not know, people are on no network.
	Address func(*http.Request) netip.Addr
	// Origin is the issuer's origin, without a trailing slash.
	Origin string
	// Watch is told how each login came out: nil for people who were let in, else why they were shown
	// an error, which they may mend and be told of again.
	Watch func(refused *fault.Error)

	open openLogins
}

// Stories bounds the traces of failed logins, for whoever knows an app can make as many as they like
// (S53). The zero Stories keeps all.
type Stories struct {
	Counter            brief.Counter
	PerNetwork, PerApp web.Limit
}

func (s Stories) admit(ctx context.Context, req Request) error {
	if err := s.PerNetwork.Check(ctx, s.Counter, req.Network); err != nil {
		return err
	}
	return s.PerApp.Check(ctx, s.Counter, string(req.App.ID))
}

func (e *Engine) logins() logins { return logins{e.Brief, e.Now()} }

func (e *Engine) loginURL(l *Login) string { return "/login/" + l.ID }

func (e *Engine) answerURL(l *Login, step StepName) string {
	return "/login/" + l.ID + "/" + string(step)
}

// otherURL starts the same login without the organization that was found.
func (e *Engine) otherURL(l *Login) string { return "/login/" + l.ID + "?other=1" }

// Start begins a login for a browser: it finishes at once when the session satisfies everything, sends
// the browser to its identity provider when no page is needed, and else to the login's first page.
// For a silent request it writes nothing unless the login is done; the decision says what was wanted.
func (e *Engine) Start(w http.ResponseWriter, r *http.Request, req Request) (Decision, error) {
	ctx, now := r.Context(), e.Now()
	l := &Login{ID: directory.NewSecret(), Started: now, Request: req}
	l.Trace = audit.Trace{Code: audit.NewCode(), At: now, App: string(req.App.ID)}
	if req.Note != "" {
		l.note(now, audit.Step{Name: "request", Text: req.Note})
	}
	err := e.route(ctx, l, e.remembered(r))
	if err != nil && !req.Silent {
		return Decision{}, e.end(ctx, l, err)
	}
	if err != nil {
		return Decision{}, e.failure(l, err, upstream.Connection{}, nil)
	}
	l.routed(now)
	t, d, err := e.decide(ctx, l, r)
	if err != nil && req.Silent {
		return d, e.failure(l, err, upstream.Connection{}, nil)
	}
	if err != nil { // unknown is told as suspended is, and costs the same (S31)
		return d, e.end(ctx, l, err)
	}
	if d.Done {
		return d, e.finish(w, r, t, d, false)
	}
	if req.Silent {
		return d, nil
	}
	if d.Refused != nil {
		return d, e.end(ctx, l, e.refused(t, d))
	}
	e.own(w, r, l)
	reply, err := e.ask(ctx, t, d)
	if err != nil {
		return d, e.end(ctx, l, err)
	}
	if err := e.logins().put(ctx, l); err != nil {
		return d, err
	}
	if reply.Depart != nil && reply.Depart.Form == nil {
		http.Redirect(w, r, reply.Depart.URL, redirectStatus(r))
		return d, nil
	}
	http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
	return d, nil
}

// redirectStatus: a POST must become a GET at the next place (RFC 9700 section 4.12).
func redirectStatus(r *http.Request) int {
	if r.Method == http.MethodPost {
		return http.StatusSeeOther
	}
	return http.StatusFound
}

// browserCookie is the one cookie of a browser that logs in: 256 random bits, shared by its tabs.
const browserCookie = "vb"

// own ties the login to the browser, and drops the oldest of too many (S53).
func (e *Engine) own(w http.ResponseWriter, r *http.Request, l *Login) {
	cookie := e.Cookies.Get(r, browserCookie)
	if len(cookie) != loginLen {
		cookie = directory.NewSecret()
		e.Cookies.Set(w, browserCookie, cookie, 0)
	}
	l.Browser = sha256.Sum256([]byte(cookie))
	if oldest := e.open.add(l.Browser, l.ID, l.Started); oldest != "" {
		if err := e.logins().drop(r.Context(), oldest); err != nil {
			e.Log.WarnContext(r.Context(), "an old login could not be dropped", "error", err)
		}
	}
}

// route finds the organization of a new login (flows.md, "Routing"); what it cannot find, pages ask.
func (e *Engine) route(ctx context.Context, l *Login, remembered []Remembered) error {
	req := &l.Request
	if req.Session != nil && req.Hint != "" && NormalAddress(req.Hint) != NormalAddress(req.Session.Email) {
		req.Session = nil // the app means somebody else than who is signed in here
	}
	if req.Org != "" {
		l.Org, l.Route, l.Identifier = req.Org, RouteNamed, req.Hint
		return nil
	}
	if req.Session != nil {
		done, err := e.routeSession(ctx, l, remembered)
		if done || err != nil {
			return err
		}
		req.Session = nil // nothing here for the person who is signed in: ask who it should be
	}
	if req.Hint == "" {
		return nil
	}
	found, err := e.routeIdentifier(ctx, l, req.Hint)
	if errors.Is(err, errMalformed) || errors.Is(err, errEmpty) {
		return nil
	}
	if found {
		l.Identifier = req.Hint
	}
	return err
}

// routeSession sends a running session to the person's one organization for this app, or to the one
// they asked to be remembered for it; with several it leaves the choice to them.
func (e *Engine) routeSession(ctx context.Context, l *Login, remembered []Remembered) (bool, error) {
	held := l.Request.Session
	orgs, err := e.Judge.choices(ctx, directory.Person{ID: held.Person, Realm: held.Realm}, l.Request.App, held.Proofs)
	if err != nil {
		return false, err
	}
	switch len(orgs) {
	case 0:
		return false, nil
	case 1:
		l.Org, l.Route = orgs[0], RouteSession
		return true, nil
	}
	if l.Request.Pick {
		remembered = nil // the person is asked to choose
	}
	for _, m := range remembered {
		for _, org := range orgs {
			if m.Org == org && m.App == l.Request.App.ID {
				l.Org, l.Route = org, RouteSession
				return true, nil
			}
		}
	}
	return true, nil
}

// decide gathers the facts of now and asks Decide, running silent steps' effects never.
func (e *Engine) decide(ctx context.Context, l *Login, r *http.Request) (*Turn, Decision, error) {
	s, eff, err := e.Judge.State(ctx, Asking{
		App: l.Request.App, Org: l.Org, Route: l.Route, Connection: l.Connection,
		Person: l.Person, Session: l.Request.Session, Proofs: l.Proofs,
		Started: l.Started, Force: l.Request.Force, MaxAge: l.Request.MaxAge, Arrived: l.Arrived != nil, Local: l.Local != nil,
		Needed: l.Request.Needed, Wished: l.Request.Wished, Steps: true, From: e.from(r), Keeping: l.Keeping,
	})
	if err != nil {
		return nil, Decision{}, err
	}
	t := &Turn{Engine: e, Login: l, State: s, Policy: eff}
	if r != nil {
		t.Remembered, t.Known = e.remembered(r), e.knownDevices(r)
	}
	f, err := e.flow(ctx, t)
	if err != nil {
		return nil, Decision{}, err
	}
	d := Decide(f, eff, t.State)
	t.State.At, t.State.Wanted = d.at, d.wanted
	return t, d, nil
}

// from is where the browser of a request is.
func (e *Engine) from(r *http.Request) *netip.Addr {
	var a netip.Addr
	if r != nil && e.Address != nil {
		a = e.Address(r)
	}
	return &a
}

func (e *Engine) ask(ctx context.Context, t *Turn, d Decision) (Reply, error) {
	return steps[d.Step].Ask(ctx, t)
}

// advance takes a login as far as it goes without the person: it asks the step that is next, and
// finishes when none is. effects allows silent steps, which only answers and arrivals may run.
func (e *Engine) advance(w http.ResponseWriter, r *http.Request, l *Login, effects bool) error {
	ctx, changed := r.Context(), effects
	for range len(natural) + 1 {
		t, d, err := e.decide(ctx, l, r)
		if err != nil {
			return e.end(ctx, l, err)
		}
		switch {
		case d.Refused != nil:
			return e.end(ctx, l, e.refused(t, d))
		case d.Done:
			return e.finish(w, r, t, d, true)
		case d.Step == StepLink && !effects:
			return ErrOutOfOrder.Because("an assertion waits outside the request that brought it")
		}
		reply, err := e.ask(ctx, t, d)
		if err != nil {
			return e.end(ctx, l, err)
		}
		changed = changed || reply.Changed
		if reply.Again {
			continue
		}
		if changed {
			err = e.logins().save(ctx, l)
		}
		if errors.Is(err, ErrOutOfOrder) { // another tab was faster: show where the login is now
			http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
			return nil
		}
		if err != nil {
			return err
		}
		return e.reply(w, r, t, reply)
	}
	return ErrStep.Because("the login does not advance")
}

// reply sends the browser on, or shows the step's page.
func (e *Engine) reply(w http.ResponseWriter, r *http.Request, t *Turn, reply Reply) error {
	if to := reply.Depart; to != nil {
		if to.Form == nil {
			http.Redirect(w, r, to.URL, redirectStatus(r))
			return nil
		}
		return e.page(w, r, t.Login, http.StatusOK, t.leaving(*to))
	}
	if r.Method == http.MethodPost || r.URL.RawQuery != "" {
		http.Redirect(w, r, e.loginURL(t.Login), http.StatusSeeOther)
		return nil
	}
	return e.page(w, r, t.Login, reply.Status, reply.Page)
}

func (t *Turn) leaving(to upstream.Departure) templates.LeavingPage {
	p := templates.LeavingPage{
		URL: to.URL, Host: hostOf(to.URL), Provider: t.State.connection().Name, Org: t.State.Org.Chain.Org().Name,
		Who: t.Login.Identifier, ChangeURL: t.Engine.otherURL(t.Login),
	}
	for _, name := range []string{"SAMLRequest", "RelayState"} {
		if v := to.Form.Get(name); v != "" {
			p.Fields = append(p.Fields, templates.FormField{Name: name, Value: v})
		}
	}
	return p
}

func (e *Engine) page(w http.ResponseWriter, r *http.Request, l *Login, status int, p templates.Page) error {
	dress, err := e.Looks.Of(r.Context(), l.Org)
	if err != nil {
		return err
	}
	return WritePage(w, e.Pages, status, dress.Look(r, l.Request.App.Name, l.Request.Locales), p)
}

// WritePage renders a page and sends it.
func WritePage(w http.ResponseWriter, pages *templates.Renderer, status int, look templates.Look, p templates.Page) error {
	b, err := pages.Render(look, p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, err = w.Write(b)
	return err
}

// finish uses the login up and hands the result to its finisher. Of many requests at once one
// finishes.
func (e *Engine) finish(w http.ResponseWriter, r *http.Request, t *Turn, d Decision, stored bool) error {
	l := t.Login
	fin, ok := e.Finishers[l.Request.Finisher]
	if !ok {
		return ErrNoFinisher.Because(l.Request.Finisher)
	}
	if stored {
		if err := e.logins().use(r.Context(), l); err != nil {
			return err
		}
		e.open.remove(l.Browser, l.ID)
	}
	for _, why := range d.Reasons {
		l.note(t.State.Now, audit.Step{Name: "decide", Text: why.Text})
	}
	l.Trace.Org, l.Trace.Outcome = string(l.Org), "signed_in"
	res := Result{
		Login: l.ID, Payload: l.Request.Payload, Org: t.State.Org.Chain, Person: t.State.Person.Person,
		Proofs: t.State.Proofs, Fresh: l.Proofs, Counting: d.Counting, Reasons: d.Reasons, Trace: l.Trace,
	}
	e.remember(w, r, t)
	if slices.ContainsFunc(l.Proofs, func(p Proof) bool { return p.Connection == "" && p.Primary() }) {
		e.makeKnown(w, r, res.Person)
	}
	if err := fin.Finish(w, r, res); err != nil {
		return e.ended(r.Context(), l, err)
	}
	e.came(nil)
	return nil
}

// came tells whoever watches how a login came out.
func (e *Engine) came(err error) {
	if e.Watch != nil {
		e.Watch(fault.Of(err))
	}
}

// refused says why nobody may in.
func (e *Engine) refused(t *Turn, d Decision) error {
	for _, why := range d.Reasons {
		t.Login.note(t.State.Now, audit.Step{Name: "decide", Text: why.Text})
	}
	err := e.failure(t.Login, d.Refused, upstream.Connection{}, nil)
	if f, ok := errors.AsType[*Failure](err); ok && d.at != nil && errors.Is(err, ErrDenied) {
		f.Title, f.Say = d.at.Set.Title, d.at.Set.Text
	}
	if f, ok := errors.AsType[*Failure](err); ok && t.State.Person != nil {
		f.Who = t.State.Person.Person.Email
		if errors.Is(err, ErrNoOrganization) {
			f.Org = t.State.Person.Person.Home // whose administrators can help
		}
	}
	return err
}

// failure dresses an error with what its page says, and writes it into the login's trace.
func (e *Engine) failure(l *Login, err error, c upstream.Connection, report upstream.Report) error {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	f := &Failure{Err: err, Trace: l.Trace.Code, Org: l.Org, App: l.Request.App, Connection: c.Name, Report: report, Locales: l.Request.Locales, At: e.Now()}
	if errors.Is(err, ErrOrgUnavailable) {
		f.Org = "" // one page for unknown, suspended and not entitled, in the platform's look (S31)
	}
	if l.Arrived != nil {
		f.Who = l.Arrived.Assertion.Email
	}
	return f
}

// end finishes a login that failed: its trace is kept, and it cannot go on where going on would only
// fail again. What failed for a moment may be tried again from the same page.
func (e *Engine) end(ctx context.Context, l *Login, err error) error {
	f, ok := errors.AsType[*Failure](e.failure(l, err, upstream.Connection{}, nil))
	if !ok {
		return err
	}
	e.came(f.Err)
	e.keepTrace(ctx, l, f)
	e.wayBack(ctx, l, f)
	l.Attempt, l.Arrived = nil, nil
	if l.Browser != ([sha256.Size]byte{}) {
		f.Again = e.loginURL(l) + "?other=1"
		if l.stored != nil {
			if err := e.logins().save(ctx, l); err != nil {
				f.Again = ""
			}
		} else if err := e.logins().put(ctx, l); err != nil {
			f.Again = ""
		}
	}
	return f
}

// ended keeps the story of a login that failed when it was used up already.
func (e *Engine) ended(ctx context.Context, l *Login, err error) error {
	f, ok := errors.AsType[*Failure](e.failure(l, err, upstream.Connection{}, nil))
	if ok {
		e.came(f.Err)
		e.keepTrace(ctx, l, f)
		e.wayBack(ctx, l, f)
	}
	return f
}

// wayBack lets whoever may not in tell the app so. What may be mended here is not told yet.
func (e *Engine) wayBack(ctx context.Context, l *Login, f *Failure) {
	d, ok := e.Finishers[l.Request.Finisher].(Decliner)
	if !ok || fault.Of(f.Err).Kind != fault.Denied {
		return
	}
	var err error
	if f.Decline, err = d.Decline(ctx, l.Request.Payload, f.Err); err != nil {
		e.Log.WarnContext(ctx, "no way back to the app", "error", err)
	}
	if f.Decline.Stopped {
		f.App.Home = ""
	}
}

// keepTrace stores the story of a login that failed, under the code that its page shows. Where too many
// fail, the story is a line in the log.
func (e *Engine) keepTrace(ctx context.Context, l *Login, f *Failure) {
	l.note(f.At, failedStep(f))
	tr := l.Trace
	tr.Org, tr.Outcome, tr.Fault = string(l.Org), "refused", codeOf(f)
	if errors.Is(f.Err, ErrOrgUnavailable) {
		tr.Org = "" // there may be no such organization: the story is the operator's (S44)
	}
	if e.Stories.admit(ctx, l.Request) != nil {
		e.Log.InfoContext(ctx, "a login failed", "trace", audit.ShowCode(tr.Code), "code", tr.Fault, "org", tr.Org, "app", tr.App, "error", f.Err)
		return
	}
	if err := e.Traces.SaveTrace(context.WithoutCancel(ctx), tr); err != nil {
		e.Log.ErrorContext(ctx, "a trace could not be kept", "trace", audit.ShowCode(tr.Code), "error", err)
	}
}

func hostOf(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return host
}
