package flows

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/mfa"
)

// Login is a login in progress: one row, named by an unguessable id that is no right by itself.
type Login struct {
	ID      string         `json:"id"`
	Browser directory.Hash `json:"brw"` // of the cookie of the browser that began it
	Started time.Time      `json:"at"`
	Request Request        `json:"req"`

	Org        directory.OrgID        `json:"org,omitempty"`
	Route      Route                  `json:"rte,omitempty"`
	Connection directory.ConnectionID `json:"con,omitempty"`
	// Identifier is what the person typed, or the hint that was followed.
	Identifier string `json:"idf,omitempty"`
	// Keep: the person wants the chosen organization remembered for this app.
	Keep bool `json:"kep,omitempty"`
	// Note is what the next identify page must say about the last answer.
	Note string `json:"nte,omitempty"`

	// Attempt is the departure whose answer is awaited; nil before, and after its answer.
	Attempt *upstream.Attempt `json:"att,omitempty"`
	// Arrived is an answer that was accepted and names nobody of ours yet.
	Arrived *Arrived `json:"arr,omitempty"`
	// Person is who this login proved; "" while it proved nobody (the session may have).
	Person directory.PersonID `json:"per,omitempty"`
	Proofs []Proof            `json:"prf,omitempty"`

	// Method is the second step that is asked for, Ceremony the open question; Choosing: the person wants
	// another way than the first.
	Method   mfa.Method `json:"mth,omitempty"`
	Ceremony string     `json:"cer,omitempty"`
	Choosing bool       `json:"cho,omitempty"`
	// Keeping: recovery codes are shown before the login goes on, for a first second step was set up in it.
	Keeping bool `json:"kpg,omitempty"`

	// Local is how far somebody came who signs in by no identity provider; nil when nobody does.
	Local *Local `json:"lcl,omitempty"`
	// Flow are the versions of the flows that this login runs on, until its organization changes; FlowFor is
	// whom they were chosen for. Done are the stations it has passed, Typed what a page shows again.
	Flow    []FlowPin          `json:"flw,omitempty"`
	FlowFor directory.PersonID `json:"flf,omitempty"`
	Done    []string           `json:"dne,omitempty"`
	Typed   map[string]string  `json:"typ,omitempty"`
	// Passkey is the open question of a page that lets anybody sign in with a passkey.
	Passkey string `json:"psk,omitempty"`

	Trace audit.Trace `json:"trc"`

	stored []byte // the row as it was read, for Swap
}

// Arrived is an assertion with the connection that it came through.
type Arrived struct {
	Connection directory.ConnectionID `json:"con"`
	Org        directory.OrgID        `json:"org"`
	Name       string                 `json:"nam"`
	Seen       time.Time              `json:"sen"`
	Assertion  upstream.Assertion     `json:"ast"`
}

// loginLen is the length of a login's id; attempts carry it in front of their own secret, so that an
// arrival finds its login without another look-up.
const loginLen = 43

// logins keeps logins in the short-lived store, and a little longer than they live: whoever comes just
// too late, or clicks twice, is told where to begin again.
type logins struct {
	brief.Store
	now time.Time
}

const (
	late     = 5 * time.Minute  // how long an abandoned login still says whose it was
	afterUse = 10 * time.Second // how long a finished one does: as long as a double click takes, and no more
)

func loginKey(id string) string { return "login/" + id }

func usedKey(id string) string { return "used/" + id }

func (l logins) put(ctx context.Context, login *Login) error {
	b, err := json.Marshal(login)
	if err != nil {
		return err
	}
	login.stored = b
	return l.Put(ctx, loginKey(login.ID), b, Life+late)
}

// get reads a login that goes on; ErrOver when there is none.
func (l logins) get(ctx context.Context, id string) (*Login, error) {
	if len(id) != loginLen {
		return nil, ErrOver
	}
	b, err := l.Get(ctx, loginKey(id))
	if errors.Is(err, brief.ErrGone) {
		return nil, l.finished(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	var login Login
	if err := json.Unmarshal(b, &login); err != nil {
		return nil, ErrOver.With(err)
	}
	if !l.now.Before(login.Started.Add(Life)) {
		return nil, &Failure{Err: ErrOver.Because("too old"), App: login.Request.App, At: l.now}
	}
	login.stored = b
	return &login, nil
}

// save writes back what this turn changed; ErrOutOfOrder when another request was faster.
func (l logins) save(ctx context.Context, login *Login) error {
	b, err := json.Marshal(login)
	if err != nil {
		return err
	}
	if err := l.Swap(ctx, loginKey(login.ID), login.stored, b); err != nil {
		if errors.Is(err, brief.ErrTaken) {
			return ErrOutOfOrder.With(err)
		}
		return over(err)
	}
	login.stored = b
	return nil
}

// use ends the login: of many requests at once one gets it.
func (l logins) use(ctx context.Context, login *Login) error {
	if _, err := l.Take(ctx, loginKey(login.ID)); errors.Is(err, brief.ErrGone) {
		return l.finished(ctx, login.ID)
	} else if err != nil {
		return err
	}
	app, err := json.Marshal(login.Request.App)
	if err != nil {
		return err
	}
	return l.Put(ctx, usedKey(login.ID), app, afterUse)
}

// finished is why a login that is not there is over, with its app where it was finished just now.
func (l logins) finished(ctx context.Context, id string) error {
	b, err := l.Get(ctx, usedKey(id))
	if err != nil {
		return over(err)
	}
	f := &Failure{Err: ErrOver.Because("used"), At: l.now, Used: true}
	if err := json.Unmarshal(b, &f.App); err != nil {
		return ErrOver.With(err)
	}
	return f
}

func (l logins) drop(ctx context.Context, id string) error { return l.Delete(ctx, loginKey(id)) }

func over(err error) error {
	if errors.Is(err, brief.ErrGone) {
		return ErrOver.With(err)
	}
	return err
}

// owned says whether the browser with that cookie began the login.
func (login *Login) owned(cookie string) bool {
	h := sha256.Sum256([]byte(cookie))
	return cookie != "" && subtle.ConstantTimeCompare(h[:], login.Browser[:]) == 1
}

// restart forgets what was found and proved: the login's questions begin again, as far as the app leaves
// a choice.
func (login *Login) restart() {
	login.Attempt, login.Arrived, login.Person, login.Proofs = nil, nil, "", nil
	login.Connection, login.Identifier, login.Note, login.Keep, login.Request.Session = "", "", "", false, nil
	login.Method, login.Ceremony, login.Choosing, login.Keeping, login.Passkey = "", "", false, false, ""
	login.Flow, login.FlowFor, login.Done, login.Typed = nil, "", nil, nil
	login.Org, login.Route, login.Local = "", RouteNone, nil
	if login.Request.Org != "" {
		login.Org, login.Route = login.Request.Org, RouteNamed
	}
	login.Request.Hint = ""
}

// routed notes how the organization was found, where one was.
func (login *Login) routed(now time.Time) {
	how := map[Route]string{
		RouteRemembered: "The person chose an organization that this browser remembers.",
		RouteIdentifier: "The address or handle leads to an organization.",
		RouteSession:    "The session of this browser is for an organization that uses the app.",
		RouteNamed:      "The app named an organization.",
		RouteChosen:     "The person chose one of their own organizations.",
	}[login.Route]
	if login.Org != "" && how != "" {
		login.note(now, audit.Step{Name: "route", Text: how, Facts: map[string]string{"org": string(login.Org)}})
	}
}

// note adds a line to the login's trace.
func (login *Login) note(now time.Time, step audit.Step) {
	step.At = now
	login.Trace.Add(step)
}
