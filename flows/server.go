package flows

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// Routes mounts the login's own addresses. Arrivals alone may come from other sites.
func (e *Engine) Routes(m *web.Mux) {
	m.Page("GET /login/{login}", e.show)
	m.Page("POST /login/{login}/{step}", e.answer)
	m.Page("GET /login/{login}/codes.txt", e.codes)
	m.Page("GET /mail/{token}", e.showLink)
	m.Page("POST /mail/{token}", e.followLink)
	m.Page("GET /reset/{token}", e.showReset)
	m.Page("POST /reset/{token}", e.takeReset)
	m.Callback("GET /arrive/{connection}", e.arrive)
	m.Callback("POST /arrive/{connection}", e.arrive)
	m.Page("GET /connection/{connection}/metadata", e.describe)
}

// load finds the login of a request and refuses whoever did not begin it.
func (e *Engine) load(r *http.Request) (*Login, error) {
	l, err := e.logins().get(r.Context(), r.PathValue("login"))
	if err != nil {
		return nil, err
	}
	if !l.owned(e.Cookies.Get(r, browserCookie)) {
		return nil, &Failure{Err: ErrElsewhere, App: l.Request.App, At: e.Now()}
	}
	return l, nil
}

// show draws the step that is next.
func (e *Engine) show(w http.ResponseWriter, r *http.Request) error {
	q, err := web.Query(r)
	if err != nil {
		return err
	}
	if ticket := q.Get("t"); ticket != "" {
		return e.redeem(w, r, ticket)
	}
	l, err := e.load(r)
	if err != nil {
		return err
	}
	if q.Get("other") == "1" {
		return e.other(w, r, l)
	}
	return e.advance(w, r, l, false)
}

// codes sends the recovery codes that the open page shows as a file.
func (e *Engine) codes(w http.ResponseWriter, r *http.Request) error {
	l, err := e.load(r)
	if err != nil {
		return err
	}
	t, d, err := e.decide(r.Context(), l, r)
	if err != nil {
		return e.end(r.Context(), l, err)
	}
	demand := t.State.demand(t.Policy)
	if d.Step != StepEnroll || l.Ceremony == "" || l.Method != policy.RecoveryCode || !t.keeping(demand) {
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	}
	was := l.Ceremony
	p, err := t.ceremony(r.Context(), StepEnroll, demand, false)
	if err != nil {
		return err
	}
	page, ok := p.(templates.RecoveryCodesPage)
	if !ok || l.Ceremony != was { // the question is over: other codes would be shown, and kept by nobody
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="recovery-codes.txt"`)
	_, err = io.WriteString(w, page.Text())
	return err
}

// other forgets what was found and starts the login's questions again, as far as the app leaves a
// choice.
func (e *Engine) other(w http.ResponseWriter, r *http.Request, l *Login) error {
	l.restart()
	if err := e.logins().save(r.Context(), l); err != nil && !errors.Is(err, ErrOutOfOrder) {
		return err // out of order, another click was faster: show where the login is now
	}
	http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
	return nil
}

// answer takes a page's answer. One for a step that is over shows the current step: a double click,
// the back button and a second tab do no harm.
func (e *Engine) answer(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	l, err := e.load(r)
	if err != nil {
		return err
	}
	if form.Get("forget") == "1" {
		e.Cookies.Clear(w, rememberCookie)
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	}
	t, d, err := e.decide(r.Context(), l, r)
	if err != nil {
		return e.end(r.Context(), l, err)
	}
	if d.Refused != nil {
		return e.end(r.Context(), l, e.refused(t, d))
	}
	if d.Done || d.Step != StepName(r.PathValue("step")) {
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	}
	org, route := l.Org, l.Route
	if err := steps[d.Step].Take(r.Context(), t, form); err != nil {
		return e.end(r.Context(), l, err)
	}
	if l.Org != org || l.Route != route {
		l.routed(t.State.Now)
	}
	if err := e.logins().save(r.Context(), l); errors.Is(err, ErrOutOfOrder) {
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	} else if err != nil {
		return err
	}
	return e.advance(w, r, l, true)
}

// arrive takes what an identity provider sent through the browser. A GET brings our cookie and is
// judged at once. A POST from another site brings none: its answer is parked under a one-time ticket
// that only this browser is given, and the login's row learns nothing of it (S1).
func (e *Engine) arrive(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	in, err := arrival(r)
	if err != nil {
		return err
	}
	l, err := e.awaited(ctx, in)
	if err != nil {
		return err
	}
	if string(l.Connection) != r.PathValue("connection") {
		return e.refuseArrival(ctx, l, ErrElsewhere.Because("the answer came to another connection's address"))
	}
	here := r.Method == http.MethodGet && l.owned(e.Cookies.Get(r, browserCookie))
	if r.Method == http.MethodGet && !here {
		// Somebody else's browser: whoever was tricked into this, the login must lead nowhere.
		return e.destroy(ctx, l, ErrElsewhere)
	}
	if !here {
		if err := e.spendAttempt(ctx, l); err != nil {
			return err
		}
	}
	arrived, err := e.accept(ctx, l, in)
	if err != nil && here && ctx.Err() != nil {
		return err // the browser left in the middle, by a second click: what it brings next is still good
	}
	if err != nil {
		return e.end(context.WithoutCancel(ctx), l, err)
	}
	if !here {
		return e.park(w, r, l, arrived)
	}
	l.Attempt, l.Arrived = nil, arrived
	return e.advance(w, r, l, true)
}

func arrival(r *http.Request) (upstream.Arrival, error) {
	in := upstream.Arrival{Method: r.Method}
	var err error
	if r.Method == http.MethodGet {
		in.Values, err = web.Query(r)
	} else {
		in.Values, err = web.Form(r)
	}
	return in, err
}

// awaited finds the login that waits for an answer, by the state or RelayState that came back.
func (e *Engine) awaited(ctx context.Context, in upstream.Arrival) (*Login, error) {
	id := in.Values.Get("state")
	if id == "" {
		id = in.Values.Get("RelayState")
	}
	if len(id) != loginLen+attemptLen {
		return nil, ErrUnsolicited
	}
	l, err := e.logins().get(ctx, id[:loginLen])
	if err != nil {
		return nil, err
	}
	if l.Attempt == nil || l.Attempt.ID != id {
		return nil, &Failure{Err: ErrOver.Because("the answer was given already"), App: l.Request.App, Org: l.Org, At: e.Now()}
	}
	return l, nil
}

// spendAttempt lets the first answer to an attempt that comes without the cookie be the only one. With
// the cookie the row itself sees to that: it is used up, or its attempt ends, in one step.
func (e *Engine) spendAttempt(ctx context.Context, l *Login) error {
	err := e.Brief.PutNew(ctx, "attempt/"+l.Attempt.ID, []byte{1}, l.Started.Add(Life).Sub(e.Now())+time.Second)
	if errors.Is(err, brief.ErrTaken) {
		return &Failure{Err: ErrOver.With(err), App: l.Request.App, Org: l.Org, At: e.Now()}
	}
	return err
}

// accept lets the connection judge the answer.
func (e *Engine) accept(ctx context.Context, l *Login, in upstream.Arrival) (*Arrived, error) {
	c, err := e.Judge.Connections.ConnectionByID(ctx, l.Connection)
	if err != nil {
		return nil, err
	}
	if c.Status != upstream.Active {
		return nil, e.failure(l, upstream.ErrDisabled, c, nil)
	}
	up, err := e.Upstreams.Open(ctx, c)
	if err != nil {
		return nil, e.failure(l, err, c, nil)
	}
	_, eff, err := e.Judge.org(ctx, l.Org, l.Request.App)
	if err != nil {
		return nil, e.failure(l, err, c, nil)
	}
	attempt := *l.Attempt
	attempt.Demands = demands(eff) // of now, not of when the browser was sent away
	a, report, err := up.Arrive(ctx, attempt, in)
	now := e.Now()
	l.note(now, audit.Step{Name: "arrive", Text: "An answer of " + c.Name + " arrived.", Checks: report, Facts: map[string]string{"connection": string(c.ID)}})
	if err != nil {
		return nil, e.failure(l, err, c, report)
	}
	return &Arrived{Connection: c.ID, Org: c.Org, Name: c.Name, Seen: now, Assertion: a}, nil
}

// ticketLife is how long the browser has to follow one redirect.
const ticketLife = 2 * time.Minute

// parked is what waits under a ticket.
type parked struct {
	Login   string     `json:"login"`
	Attempt string     `json:"attempt"`
	Arrived *Arrived   `json:"arrived"`
	Step    audit.Step `json:"step"`
}

func ticketKey(ticket string) string {
	h := sha256.Sum256([]byte(ticket))
	return "ticket/" + base64.RawURLEncoding.EncodeToString(h[:])
}

// park keeps an accepted answer under the hash of a fresh ticket and sends the browser to claim it.
func (e *Engine) park(w http.ResponseWriter, r *http.Request, l *Login, a *Arrived) error {
	p := parked{Login: l.ID, Attempt: l.Attempt.ID, Arrived: a}
	if n := len(l.Trace.Steps); n > 0 {
		p.Step = l.Trace.Steps[n-1]
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ticket := directory.NewSecret()
	if err := e.Brief.Put(r.Context(), ticketKey(ticket), b, ticketLife); err != nil {
		return err
	}
	http.Redirect(w, r, e.loginURL(l)+"?t="+ticket, http.StatusSeeOther)
	return nil
}

// redeem moves a parked answer into the login, for the browser that brings both the ticket and the
// login's cookie. A ticket without the cookie destroys ticket, answer and login.
func (e *Engine) redeem(w http.ResponseWriter, r *http.Request, ticket string) error {
	ctx := r.Context()
	b, err := e.Brief.Take(ctx, ticketKey(ticket))
	if errors.Is(err, brief.ErrGone) { // the back button: whose login it is sees where it stands
		l, err := e.load(r)
		if err == nil {
			http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		}
		return err
	}
	if err != nil {
		return err
	}
	var p parked
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	l, err := e.logins().get(ctx, p.Login)
	if err != nil {
		return err
	}
	if p.Login != r.PathValue("login") || !l.owned(e.Cookies.Get(r, browserCookie)) {
		return e.destroy(ctx, l, ErrElsewhere)
	}
	if l.Attempt == nil || l.Attempt.ID != p.Attempt {
		return ErrOver.Because("the login waits for another answer")
	}
	l.note(p.Step.At, p.Step)
	l.Attempt, l.Arrived = nil, p.Arrived
	return e.advance(w, r, l, true)
}

// destroy ends a login that was touched by a browser that did not begin it.
func (e *Engine) destroy(ctx context.Context, l *Login, why *fault.Error) error {
	if err := e.logins().drop(ctx, l.ID); err != nil {
		return err
	}
	f := &Failure{Err: why, Trace: l.Trace.Code, App: l.Request.App, At: e.Now()}
	e.keepTrace(ctx, l, f)
	return f
}

// refuseArrival spends the attempt and keeps the story.
func (e *Engine) refuseArrival(ctx context.Context, l *Login, why *fault.Error) error {
	return e.destroy(ctx, l, why)
}

// describe serves a connection's document about us: SAML SP metadata.
func (e *Engine) describe(w http.ResponseWriter, r *http.Request) error {
	id := directory.ConnectionID(r.PathValue("connection"))
	c, err := e.Judge.Connections.ConnectionByID(r.Context(), id)
	if err != nil {
		return err
	}
	up, err := e.Upstreams.Open(r.Context(), c)
	if err != nil {
		return err
	}
	d, ok := up.(describer)
	if !ok {
		return web.ErrNotFound
	}
	contentType, doc, ok, err := d.Describe()
	if err != nil {
		return err
	}
	if !ok {
		return web.ErrNotFound
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, err = w.Write(doc)
	return err
}

// describer is what an opened connection offers beside upstream.Upstream; ok is false when its protocol
// has no document.
type describer interface {
	Describe() (contentType string, doc []byte, ok bool, err error)
}

func codeOf(err error) string { return fault.Of(err).Code }

func failedStep(f *Failure) audit.Step {
	s := audit.Step{Name: "refused", Text: fault.Of(f).Public, Code: codeOf(f), Checks: f.Report}
	if cause := strings.TrimSpace(f.Connection); cause != "" {
		s.Facts = map[string]string{"connection_name": cause}
	}
	return s
}
