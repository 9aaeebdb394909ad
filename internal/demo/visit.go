package demo

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// What can go wrong at an app itself.
var (
	ErrProvider = fault.New(fault.Unavailable, "demo.provider", "The app cannot reach the sign-in service.")
	ErrAnswer   = fault.New(fault.Invalid, "demo.answer", "The app did not ask for this answer, or asked too long ago. Sign in again.")
	ErrTokens   = fault.New(fault.Upstream, "demo.tokens", "The app could not get its tokens. Sign in again.")
)

// visit is one browser at one app: the answers it waits for and, once signed in, who it is.
type visit struct {
	id       string
	at       time.Time
	pending  map[string]pending // by state
	signedIn *signedIn
	note     *note // said once, on the next page
}

// pending is one authorization request.
type pending struct {
	verifier, nonce string
	options         options
	at              time.Time
}

// options say what to ask the house for.
type options struct {
	organization, hint string
	silent             bool // prompt=none first; asked again with pages when that does not do
}

// note is a line that the next page shows.
type note struct {
	Good        bool
	Title, Text string
}

// signedIn is what the app knows of whoever is signed in.
type signedIn struct {
	At           time.Time
	Raw          string // the id token
	Access       string
	Claims       map[string]any
	Subject, Org string
}

const (
	maxVisits  = 1000
	maxPending = 20
	waitFor    = 30 * time.Minute
)

// cookie is the app's own: 127.0.0.1 is one site for all ports, so the name tells the apps apart.
func (a *app) cookie() string { return "demo_" + a.handle }

// visitOf finds the browser's visit, or begins one.
func (a *app) visitOf(w http.ResponseWriter, r *http.Request) *visit {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, err := r.Cookie(a.cookie()); err == nil {
		if v := a.visits[c.Value]; v != nil {
			v.at = a.world.now()
			return v
		}
	}
	return a.begin(w, &visit{pending: map[string]pending{}})
}

// begin gives a visit an id that nobody knew before, and the browser its cookie.
func (a *app) begin(w http.ResponseWriter, v *visit) *visit {
	delete(a.visits, v.id)
	if len(a.visits) >= maxVisits {
		var oldest *visit
		for _, o := range a.visits {
			if oldest == nil || o.at.Before(oldest.at) {
				oldest = o
			}
		}
		delete(a.visits, oldest.id)
	}
	v.id, v.at = directory.NewSecret(), a.world.now()
	a.visits[v.id] = v
	http.SetCookie(w, &http.Cookie{Name: a.cookie(), Value: v.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return v
}

// login asks the house to sign somebody in.
func (a *app) login(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return a.ask(w, r, options{organization: q.Get("organization"), hint: q.Get("login_hint")})
}

// change goes to another organization: without a page where the session is good enough there.
func (a *app) change(w http.ResponseWriter, r *http.Request) error {
	return a.ask(w, r, options{organization: r.URL.Query().Get("organization"), silent: true})
}

func (a *app) ask(w http.ResponseWriter, r *http.Request, o options) error {
	p, err := a.provider()
	if err != nil {
		return ErrProvider.With(err)
	}
	v := a.visitOf(w, r)
	state, want := directory.NewSecret(), pending{verifier: oauth2.GenerateVerifier(), nonce: directory.NewSecret(), options: o, at: a.world.now()}
	a.mu.Lock()
	if len(v.pending) >= maxPending {
		clear(v.pending)
	}
	v.pending[state] = want
	a.mu.Unlock()
	more := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(want.verifier), oidc.Nonce(want.nonce)}
	more = append(more, o.parameters()...)
	http.Redirect(w, r, a.config(p).AuthCodeURL(state, more...), http.StatusSeeOther)
	return nil
}

// parameters are what the request says besides what every one says.
func (o options) parameters() []oauth2.AuthCodeOption {
	var out []oauth2.AuthCodeOption
	add := func(name, value string) {
		if value != "" {
			out = append(out, oauth2.SetAuthURLParam(name, value))
		}
	}
	add("organization", o.organization)
	add("login_hint", o.hint)
	if o.silent {
		add("prompt", "none")
	}
	return out
}

// needsPage are the errors of prompt=none that asking with pages can mend (OpenID Connect Core section
// 3.1.2.6).
var needsPage = map[string]bool{
	"login_required": true, "interaction_required": true, "account_selection_required": true, "consent_required": true,
}

// arrive takes the house's answer.
func (a *app) arrive(w http.ResponseWriter, r *http.Request) error {
	q, v := r.URL.Query(), a.visitOf(w, r)
	a.mu.Lock()
	want, ok := v.pending[q.Get("state")]
	delete(v.pending, q.Get("state"))
	a.mu.Unlock()
	// RFC 9207: an answer that does not name the house is another server's.
	if !ok || q.Get("iss") != a.world.issuer || a.world.now().Sub(want.at) > waitFor {
		return ErrAnswer
	}
	if code := q.Get("error"); code != "" {
		return a.declined(w, r, v, want, code, q.Get("error_description"))
	}
	s, err := a.redeem(r.Context(), q.Get("code"), want)
	if err != nil {
		return ErrTokens.With(err)
	}
	a.mu.Lock()
	v.signedIn, v.note = s, nil
	a.begin(w, v) // an id that somebody planted before is worth nothing after (session fixation)
	a.mu.Unlock()
	http.Redirect(w, r, a.home(), http.StatusSeeOther)
	return nil
}

func (a *app) declined(w http.ResponseWriter, r *http.Request, v *visit, want pending, code, description string) error {
	if want.options.silent && needsPage[code] {
		want.options.silent = false
		return a.ask(w, r, want.options)
	}
	a.mu.Lock()
	v.note = &note{Title: "You were not signed in", Text: "The sign-in service answered " + code + ": " + description + "."}
	a.mu.Unlock()
	http.Redirect(w, r, a.home(), http.StatusSeeOther)
	return nil
}

// redeem gets the tokens for a code and checks them.
func (a *app) redeem(ctx context.Context, code string, want pending) (*signedIn, error) {
	p, err := a.provider()
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, a.client)
	tokens, err := a.config(p).Exchange(ctx, code, oauth2.VerifierOption(want.verifier))
	if err != nil {
		return nil, err
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := p.Verifier(&oidc.Config{ClientID: a.handle, Now: a.world.now}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != want.nonce {
		return nil, errors.New("the id token is for another request")
	}
	s := &signedIn{At: a.world.now(), Raw: raw, Access: tokens.AccessToken, Subject: id.Subject}
	if err := id.Claims(&s.Claims); err != nil {
		return nil, err
	}
	s.Org, _ = s.Claims["org_id"].(string)
	return s, id.VerifyAccessToken(tokens.AccessToken)
}

// logout forgets who is signed in here and asks the house to do the same (OpenID Connect RP-Initiated
// Logout).
func (a *app) logout(w http.ResponseWriter, r *http.Request) error {
	v := a.visitOf(w, r)
	a.mu.Lock()
	s := v.signedIn
	v.signedIn = nil
	v.note = &note{Good: true, Title: "You are signed out", Text: "Here and at the sign-in service. Your company’s own sign-in may go on."}
	a.mu.Unlock()
	if s == nil {
		http.Redirect(w, r, a.home(), http.StatusSeeOther)
		return nil
	}
	p, err := a.provider()
	if err != nil {
		return ErrProvider.With(err)
	}
	var said struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := p.Claims(&said); err != nil || said.EndSession == "" {
		return ErrProvider.With(err)
	}
	q := url.Values{"id_token_hint": {s.Raw}, "post_logout_redirect_uri": {a.home()}}
	http.Redirect(w, r, said.EndSession+"?"+q.Encode(), http.StatusSeeOther)
	return nil
}

// forget signs everybody out of the app.
func (a *app) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.visits)
}
