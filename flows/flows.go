// Package flows leads a browser through an organization's login, one step at a time.
//
// A login is one row in the short-lived store; its id is in the URL and the right to it in a cookie of
// the browser that began it. After every answer the engine asks Decide what comes next: Decide is
// pure, and the only judge of whether somebody may in: the engine, the broker's single sign-on, its
// one door Admit and the simulator all call it. Steps never call one another. A login ends through the
// finisher named in its row. The package knows neither apps' protocols nor identity providers': it is
// handed a Request, departs to an upstream.Upstream, and hands a Result back.
package flows

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/templates"
)

var (
	ErrStep           = fault.New(fault.Internal, "flows.unknown_step", "This organization's sign-in asks for a step that this version does not know.")
	ErrOutOfOrder     = fault.New(fault.Conflict, "flows.out_of_order", "This answer belongs to another step.")
	ErrOver           = fault.New(fault.Expired, "flows.over", "This sign-in is over: it took too long, or it was finished or started again.")
	ErrElsewhere      = fault.New(fault.Expired, "flows.elsewhere", "This sign-in was started in another browser, or this browser has lost its cookie.")
	ErrOrgUnavailable = fault.New(fault.Denied, "flows.org_unavailable", "You can't sign in to this app with that organization.")
	ErrNetwork        = fault.New(fault.Denied, "flows.network", "Your organization lets people sign in from its own networks alone, and you are on another.")
	ErrNotEntitled    = fault.New(fault.Denied, "flows.not_entitled", "Your organization does not use this app.")
	ErrNotMember      = fault.New(fault.Denied, "flows.not_member", "You have no account in this organization.")
	ErrSuspended      = fault.New(fault.Denied, "flows.suspended", "Your account is suspended.")
	ErrNoOrganization = fault.New(fault.Denied, "flows.no_organization", "None of your organizations uses this app.")
	ErrNotFresh       = fault.New(fault.Upstream, "flows.not_fresh", "The app asked for a fresh sign-in, but your organization's sign-in service did not ask you again.")
	ErrEmailMissing   = fault.New(fault.Upstream, "flows.email_missing", "Your organization's sign-in service did not say your e-mail address.")
	ErrEmailDomain    = fault.New(fault.Upstream, "flows.email_domain", "Your e-mail address is outside the domains of this organization.")
	ErrUnsolicited    = fault.New(fault.Invalid, "flows.unsolicited", "Nobody here asked for this sign-in answer. Start at the app.")
	ErrNoFactor       = fault.New(fault.Denied, "flows.no_factor", "A second step is required here, and none of those that are allowed can be set up.")
	ErrEnrolAtHome    = fault.New(fault.Denied, "flows.enrol_at_home", "A second step is required here. It can be set up only when you sign in through your own organization.")
	ErrEnrolWeak      = fault.New(fault.Denied, "flows.enrol_weak", "A passkey is required here, and setting up the first one needs more than a password or an e-mail.")
	ErrDenied         = fault.New(fault.Denied, "flows.denied", "Your organization's sign-in rules refused this sign-in.")
	ErrDelayed        = fault.New(fault.Denied, "flows.delayed", "Your second step was set up after a recovery, and does not count for this yet.")
	ErrNoFinisher     = fault.New(fault.Internal, "flows.no_finisher", "This sign-in cannot be finished.")
)

// Life is how long a login may take. A person may spend ten minutes at the identity provider.
const Life = 30 * time.Minute

// Request starts a login.
type Request struct {
	// Finisher ends the login; Payload is its own and comes back in the Result.
	Finisher string          `json:"fin"`
	Payload  json.RawMessage `json:"pay,omitempty"`
	// Realm is where an address or handle typed without an organization is looked up.
	Realm directory.RealmID `json:"rlm"`
	App   AppFacts          `json:"app"`
	// Org is the organization that the app named; "" when it named none.
	Org directory.OrgID `json:"org,omitempty"`
	// Hint is the app's login_hint: an address, and nothing more than a hint.
	Hint string `json:"hnt,omitempty"`
	// Force asks for a proof newer than the login; MaxAge for one at most that old.
	Force  bool           `json:"frc,omitempty"`
	MaxAge *time.Duration `json:"age,omitempty"`
	// Needed is how strong a proof the app cannot do without, Wished what it would like.
	Needed Rung `json:"ned,omitempty"`
	Wished Rung `json:"wsh,omitempty"`
	// Place is what the browser calls itself, for people: "Chrome on Windows".
	Place string `json:"plc,omitempty"`
	// Pick asks for a choice even where one was made before.
	Pick bool `json:"pck,omitempty"`
	// Locales is the app's ui_locales, best first.
	Locales string `json:"loc,omitempty"`
	// Session is the browser's running session, when it has one.
	Session *Held `json:"ses,omitempty"`
	// Network is where the request came from, for limits.
	Network string `json:"net,omitempty"`
	// Silent asks for an answer without a page: Start then writes nothing unless the login is done.
	Silent bool `json:"-"`
	// Note is what the trace says of the request itself, where it says anything.
	Note string `json:"-"`
}

// AppFacts is what a login says about the app it is for.
type AppFacts struct {
	ID   directory.AppID `json:"id"`
	Name string          `json:"name"`
	Home string          `json:"home,omitempty"` // where a person starts again
	// Connections, when it names any, are the only ones whose proofs the app accepts.
	Connections []directory.ConnectionID `json:"cons,omitempty"`
}

// Held is what a running session brings: who, what they proved, and since when each organization
// accepts it.
type Held struct {
	ID     directory.SessionID `json:"sid,omitempty"` // "" where it is no session, but what a grant kept of one
	Realm  directory.RealmID   `json:"rlm"`
	Person directory.PersonID  `json:"per"`
	Home   directory.OrgID     `json:"hom"`
	Email  string              `json:"eml,omitempty"`
	Since  time.Time           `json:"snc"` // when the session began
	Proofs []Proof             `json:"prf"`
	Marks  []Mark              `json:"mrk,omitempty"`
}

// Mark is since when a session is good for one organization, and when the person last used it (S47).
type Mark struct {
	Org   directory.OrgID `json:"org"`
	Since time.Time       `json:"snc"`
	Seen  time.Time       `json:"sen"`
	Held  time.Time       `json:"hld"` // the ceiling set when it was opened; zero: none
}

// Result is a login that is done.
type Result struct {
	Login    string
	Payload  json.RawMessage
	Org      directory.Chain
	Person   directory.Person
	Proofs   []Proof // all that is known, of the session and of this login
	Fresh    []Proof // those that this login brought
	Counting []Proof // those that count in Org
	Reasons  []Reason
	Trace    audit.Trace
}

// Finisher ends logins. Finish answers the request; an error is drawn as a page.
type Finisher interface {
	Finish(w http.ResponseWriter, r *http.Request, res Result) error
}

// Decliner is a finisher whose app can be told that somebody did not get in.
type Decliner interface {
	// Decline says how the person goes back to the app; the zero Decline is no way back.
	Decline(ctx context.Context, payload json.RawMessage, why error) (Decline, error)
}

// Decline is an address to go to, by a link or, with fields, by posting them.
type Decline struct {
	URL    string
	Fields []templates.FormField
	// Stopped: the app was switched off meanwhile, and no page of ours leads to it at all.
	Stopped bool
}

// Opener opens a connection for use; opened ones are kept, bounded in time and number of callers.
type Opener interface {
	Open(ctx context.Context, c upstream.Connection) (upstream.Upstream, error)
}

// Failure is an error with what an error page needs to say of it. It unwraps to the fault.
type Failure struct {
	Err        error
	Trace      string // the code that the page shows
	Org        directory.OrgID
	App        AppFacts
	At         time.Time
	Who        string // the account that was offered
	Connection string // the provider's name, as people know it
	Report     upstream.Report
	Again      string  // where starting again may help; ""
	Used       bool    // the login was finished already
	Decline    Decline // back to the app, with its error
	// Title and Say are the organization's own words of why, where its flow refused.
	Title, Say templates.Said
	Locales    string // the app's ui_locales, best first
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }
