package broker

// This file asks people what an app may learn and do, and remembers the answer.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
)

// Consent is what a person let an app learn and do in one organization. It says nothing for another (S39).
type Consent struct {
	Org    directory.OrgID
	Person directory.PersonID
	App    directory.AppID
	Scope  []string
	Claims []string // personal claims asked for by name
	// Since is when it was first given. Taken back and given again, it begins anew, so that nothing that
	// was opened before is good again.
	Since     time.Time
	UpdatedAt time.Time
}

// covers says whether a request asks for nothing more. A claim by name is nothing more where its scope was
// agreed to.
func (c Consent) covers(req authRequest) bool {
	for _, s := range req.Scope {
		if !slices.Contains(c.Scope, s) {
			return false
		}
	}
	for _, name := range asked(req.Claims).all() {
		if !slices.Contains(c.Claims, name) && !slices.Contains(c.Scope, scopeOf(name)) {
			return false
		}
	}
	return true
}

// Consents keeps what people let apps do.
type Consents interface {
	// Consent: ErrConsentNotFound when there is none.
	Consent(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID) (Consent, error)
	ConsentsOf(ctx context.Context, org directory.OrgID, person directory.PersonID) ([]Consent, error)
	// PutConsent adds or replaces; Since stays as it was first written. ErrPersonNotFound when the person is
	// no member.
	PutConsent(ctx context.Context, org directory.OrgID, c Consent) error
	RemoveConsent(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID) error
	// RevokeConsented revokes every grant of an app for a person in org.
	RevokeConsented(ctx context.Context, org directory.OrgID, person directory.PersonID, app directory.AppID, at time.Time, reason string) error
}

// consented is the door's view: a third-party app's grant is good while the consent stands that it was
// opened under. It gives since when that is.
func (b *Broker) consented(ctx context.Context, app App, in admitRequest) (time.Time, error) {
	opened := in.Opened
	if opened.IsZero() {
		opened = in.Grant
	}
	if !app.ThirdParty || opened.IsZero() {
		return time.Time{}, nil
	}
	c, err := b.Consents.Consent(ctx, in.Org, in.Person, in.App)
	if errors.Is(err, ErrConsentNotFound) || err == nil && c.Since.After(opened) {
		return time.Time{}, ErrNotAdmitted.Because("the person took their consent back")
	}
	return c.Since, err
}

// wantsConsent says whether the person must be asked before the app learns anything.
func (b *Broker) wantsConsent(ctx context.Context, a Admission, req authRequest) (bool, error) {
	if req.Consent {
		return true, nil
	}
	if !a.app.ThirdParty {
		return false, nil
	}
	c, err := b.Consents.Consent(ctx, a.org.Org().ID, a.person.ID, a.app.ID)
	if errors.Is(err, ErrConsentNotFound) {
		return true, nil
	}
	return !c.covers(req), err
}

// errConsentRequired is prompt=none's answer where a person would be asked (OpenID Connect Core section
// 3.1.2.6); errConsentDenied is theirs when they were.
var (
	errConsentRequired = &authError{"consent_required", "the person must be asked for consent"}
	errConsentDenied   = &authError{"access_denied", "the person did not consent"}
)

// waitingConsent is a finished sign-in that waits for the person's word. It is good only in the browser
// that holds its session.
type waitingConsent struct {
	Request authRequest         `json:"req"`
	App     flows.AppFacts      `json:"app"`
	Org     directory.OrgID     `json:"org"`
	Realm   directory.RealmID   `json:"rlm"`
	Person  directory.PersonID  `json:"per"`
	Session directory.SessionID `json:"ses"`
	Trace   string              `json:"trc,omitempty"`
}

// consentLife is how long the person may think about it.
const consentLife = 10 * time.Minute

func consentKey(id string) string { return "consent/" + id }

// askConsent keeps what a sign-in would give and asks.
func (b *Broker) askConsent(w http.ResponseWriter, r *http.Request, req authRequest, s signIn) error {
	kept, err := json.Marshal(waitingConsent{
		Request: req, App: s.admission.app.facts(), Org: s.admission.org.Org().ID, Realm: s.session.Realm, Person: s.session.Person,
		Session: s.session.ID, Trace: s.trace,
	})
	if err != nil {
		return err
	}
	id := directory.NewSecret()
	if err := b.Brief.Put(r.Context(), consentKey(id), kept, consentLife); err != nil {
		return err
	}
	http.Redirect(w, r, "/consent/"+id, http.StatusSeeOther)
	return nil
}

// waiting finds a sign-in that waits for consent, and the session of this browser that it belongs to.
func (b *Broker) waiting(r *http.Request) (c waitingConsent, s brought, err error) {
	id := r.PathValue("consent")
	raw, err := b.Brief.Get(r.Context(), consentKey(id))
	if errors.Is(err, brief.ErrGone) {
		return c, s, b.decided(r.Context(), id)
	}
	if err != nil {
		return c, s, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, s, err
	}
	list, err := b.browserSessions(r.Context(), r)
	if err != nil {
		return c, s, err
	}
	i := slices.IndexFunc(list, func(x brought) bool { return x.ID == c.Session && x.Person == c.Person })
	if i < 0 {
		return c, s, &flows.Failure{Err: flows.ErrElsewhere, App: c.App, At: b.Now()}
	}
	return c, list[i], nil
}

// decidedFor is how long a decision that was made says whose it was: a double click, and no more.
const decidedFor = 20 * time.Second

// decide uses a waiting sign-in up: of many answers at once one counts.
func (b *Broker) decide(ctx context.Context, id string, c waitingConsent) error {
	if _, err := b.Brief.Take(ctx, consentKey(id)); errors.Is(err, brief.ErrGone) {
		return b.decided(ctx, id)
	} else if err != nil {
		return err
	}
	app, err := json.Marshal(c.App)
	if err != nil {
		return err
	}
	return b.Brief.Put(ctx, "consented/"+id, app, decidedFor)
}

// decided is why nothing waits under an id.
func (b *Broker) decided(ctx context.Context, id string) error {
	f := &flows.Failure{Err: flows.ErrOver, At: b.Now()}
	raw, err := b.Brief.Get(ctx, "consented/"+id)
	if errors.Is(err, brief.ErrGone) {
		return f
	}
	if err != nil {
		return err
	}
	f.Used = true
	if err := json.Unmarshal(raw, &f.App); err != nil {
		return flows.ErrOver.With(err)
	}
	return f
}

// showConsent draws the question.
func (b *Broker) showConsent(w http.ResponseWriter, r *http.Request) error {
	c, s, err := b.waiting(r)
	if err != nil {
		return err
	}
	app, err := b.Apps.AppByID(r.Context(), c.App.ID)
	if err != nil {
		return err
	}
	return b.consentPage(w, r, c, app, s.person)
}

// answerConsent takes the answer.
func (b *Broker) answerConsent(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	c, s, err := b.waiting(r)
	if err != nil {
		return err
	}
	id := r.PathValue("consent")
	switch form.Get("decision") {
	case "allow":
		return b.allowed(w, r, id, c, s)
	case "deny":
		if err := b.decide(r.Context(), id, c); err != nil {
			return err
		}
		return b.answerDenied(w, r, c)
	}
	http.Redirect(w, r, "/consent/"+id, http.StatusSeeOther)
	return nil
}

func (b *Broker) answerDenied(w http.ResponseWriter, r *http.Request, c waitingConsent) error {
	app, err := b.Apps.AppByID(r.Context(), c.App.ID)
	if err != nil {
		return err
	}
	if app.Status != directory.Active || !app.allows(c.Request.RedirectURI) {
		return errGivenUp
	}
	return b.answerError(w, r, c.Request.returnTo, errConsentDenied)
}

// allowed asks the door again, remembers the consent, and gives the app its code.
func (b *Broker) allowed(w http.ResponseWriter, r *http.Request, id string, c waitingConsent, s brought) error {
	ctx := r.Context()
	a, err := b.admitConsent(ctx, c, s, b.where(r))
	if err != nil {
		return err
	}
	if err := b.decide(ctx, id, c); err != nil {
		return err
	}
	var done signIn
	for range 3 {
		if done, err = b.writeConsent(ctx, a, c, s); !errors.Is(err, ErrMoved) {
			break
		}
		if a, err = b.admitConsent(ctx, c, s, b.where(r)); err != nil {
			return err
		}
		err = ErrMoved
	}
	if err != nil {
		return err
	}
	code, err := b.issueCode(ctx, c.Request, done)
	if err != nil {
		return err
	}
	return b.answer(w, r, c.Request.returnTo, url.Values{"code": {code}})
}

func (b *Broker) admitConsent(ctx context.Context, c waitingConsent, s brought, from *netip.Addr) (Admission, error) {
	a, err := b.Admit(ctx, admitRequest{Person: c.Person, Realm: c.Realm, Org: c.Org, App: c.App.ID, Session: s.held(), Owned: true, From: from})
	if err != nil {
		return a, &flows.Failure{Err: err, App: c.App, Org: c.Org, Who: s.person.Email, Locales: c.Request.Locales, At: b.Now()}
	}
	if !a.app.allows(c.Request.RedirectURI) {
		return a, errGivenUp
	}
	return a, nil
}

// writeConsent writes the consent, that the session signed in to the app, and the record.
func (b *Broker) writeConsent(ctx context.Context, a Admission, c waitingConsent, s brought) (signIn, error) {
	var mark AppMark
	err := b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.stands(ctx, a); err != nil {
			return err
		}
		now, err := b.Sessions.Session(ctx, s.Home, s.ID)
		if err != nil {
			return err
		}
		if !now.Ended.IsZero() {
			return ErrMoved.Because("the session was ended")
		}
		if err := b.agree(ctx, a, c.Request.Scope, asked(c.Request.Claims).all()); err != nil {
			return err
		}
		mark, err = b.Sessions.MarkApp(ctx, s.Home, s.ID, newMark(c.App.ID, c.Org, a.at))
		return err
	})
	if err != nil {
		return signIn{}, err // the write may still run: the mark is its own
	}
	return signIn{admission: a, session: s.Session, mark: mark, trace: c.Trace}, nil
}

// agree adds to what the person let the app do, in the transaction of ctx, and records it.
func (b *Broker) agree(ctx context.Context, a Admission, scope, claims []string) error {
	org, person, app := a.org.Org().ID, a.person.ID, a.app.ID
	c, err := b.Consents.Consent(ctx, org, person, app)
	if errors.Is(err, ErrConsentNotFound) {
		c, err = Consent{Org: org, Person: person, App: app, Since: a.at}, nil
	}
	if err != nil {
		return err
	}
	c.Scope, c.Claims, c.UpdatedAt = united(c.Scope, scope), united(c.Claims, claims), a.at
	if err := b.Consents.PutConsent(ctx, org, c); err != nil {
		return err
	}
	return b.record(ctx, org, person, audit.ConsentGranted, audit.Ref{Kind: "app", ID: string(app)}, map[string]string{
		"scope": strings.Join(scope, " "), "claims": strings.Join(claims, " "),
	})
}

func united(have, more []string) []string {
	out := slices.Concat(have, more)
	slices.Sort(out)
	return slices.Compact(out)
}

// RevokeConsent takes back what a person let an app do in an organization, and ends all that it opened.
func (b *Broker) RevokeConsent(ctx context.Context, actor directory.Actor, org directory.OrgID, person directory.PersonID, app directory.AppID) error {
	if err := directory.Allow(actor, org, directory.ManagePeople); err != nil {
		return err
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Consents.RemoveConsent(ctx, org, person, app); err != nil {
			return err
		}
		now := b.Now()
		if err := b.Consents.RevokeConsented(ctx, org, person, app, now, "consent revoked"); err != nil {
			return err
		}
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: actor.Ref(), Action: audit.ConsentRevoked,
			Target: audit.Ref{Kind: "app", ID: string(app)}, Detail: map[string]string{"person": string(person)},
		})
	})
}
