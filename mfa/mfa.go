// Package mfa asks a person for more than the upstream's word. A factor lives in a folder of its own and
// knows how to be set up and how to be asked for; it returns its own page, so nothing outside its folder
// switches on its method. It knows nothing of logins, organizations or policy.
//
// Service runs the ceremonies of login and account page alike: one ceremony is one question to one person,
// kept for minutes under its id, sealed, bound to whoever asks, and taken out of the store before its
// answer is looked at, so that of many answers at once one is judged. What an answer uses up, a code's
// time step or a recovery code, is used up in the durable store by compare-and-swap: no node takes it
// twice (S16). Wrong answers are counted durably, for the person and across logins (S7).
package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

var (
	// ErrWrong: the answer is not the right one. The page is shown again, with the tries that are left.
	ErrWrong = fault.New(fault.Invalid, "mfa.wrong", "That is not the right answer.")
	// ErrReplay: the answer was right once and is used up.
	ErrReplay = fault.New(fault.Invalid, "mfa.used", "This code was used already. Wait for the next one.")
	// ErrCopied: the credential's counter went back, so there may be two of it (WebAuthn section 6.1.1).
	ErrCopied = fault.New(fault.Denied, "mfa.copied", "This passkey or security key may have been copied. Use another way.")
	// ErrOver: the question is not open any more: too old, answered, or asked of somebody else.
	ErrOver = fault.New(fault.Expired, "mfa.over", "This question is over. Here is a new one.")
	// ErrTries: too many wrong answers in this login.
	ErrTries = fault.New(fault.Denied, "mfa.too_many_tries", "Too many wrong answers. Start signing in again.")
	// ErrResting: too many wrong answers of this person, whoever gave them; the method rests.
	ErrResting = fault.New(fault.Throttled, "mfa.resting", "There were too many wrong answers for this account. Try again later, or use another way.")
	// ErrMany: the person has as many of the kind as anybody may.
	ErrMany = fault.New(fault.Conflict, "mfa.too_many", "This account has as many of these as it can have. Remove one first.")
	// ErrTaken: what should be set up belongs to an account already.
	ErrTaken    = fault.New(fault.Conflict, "mfa.taken", "This is set up already.")
	ErrNotFound = fault.New(fault.NotFound, "mfa.not_found", "There is no such second step on this account.")
	// ErrUnknown: no factor of this installation is called so.
	ErrUnknown = fault.New(fault.Internal, "mfa.unknown_method", "This service does not know that kind of second step.")
)

// ErrAgain: this was no answer yet, and the question goes on: a number to write to, a wish for another code.
var ErrAgain = errors.New("mfa: the question goes on")

// Method names a kind of proof: the vocabulary is policy's.
type Method = policy.Method

// Evidence is what a proof shows of a person: at most one of each kind, however often (S11).
type Evidence uint8

const (
	Knowledge    Evidence = 1 << iota // something they know; an identity provider's word counts as this
	Possession                        // something they have
	Verification                      // a device recognized them: a finger, a face, its PIN
	Resistant                         // and none of it can be phished: it is bound to our origin
)

// Has says whether all of want is shown.
func (e Evidence) Has(want Evidence) bool { return e&want == want }

// Kinds counts how many of knowledge, possession and verification are shown.
func (e Evidence) Kinds() (n int) {
	for _, kind := range []Evidence{Knowledge, Possession, Verification} {
		if e.Has(kind) {
			n++
		}
	}
	return n
}

// Enrollment is one thing that a person set up: an authenticator app, a passkey, a set of recovery codes.
type Enrollment struct {
	ID     directory.FactorID
	Realm  directory.RealmID
	Home   directory.OrgID // the person's home organization, which keeps their factors
	Person directory.PersonID
	// Org is under whose login it was set up, or Home where that is above: where it counts, with all below (S2, S3).
	Org    directory.OrgID
	Method Method
	Label  string // what its owner calls it
	// Secret is sealed at rest; nil where there is none.
	Secret []byte
	// Public is the factor's own JSON: nothing in it gives anybody a right.
	Public json.RawMessage
	// Handle finds a credential that names itself (WebAuthn section 4, credential ID), unique in the realm; nil: none.
	Handle []byte
	// Counter only rises: the last time step of a TOTP, a credential's signature counter.
	Counter   int64
	CreatedAt time.Time
	LastUsed  time.Time // zero: never
	// CountsFrom is when it begins to count for more than enrolling and signing in (S12); zero: at once.
	CountsFrom time.Time
	Version    int64
}

// Enrollments keeps what people set up. The organization is the person's home.
type Enrollments interface {
	// EnrollmentsOf lists a person's, the oldest first.
	EnrollmentsOf(ctx context.Context, home directory.OrgID, person directory.PersonID) ([]Enrollment, error)
	// AddEnrollment stores one; ErrTaken when its handle is in use in the realm.
	AddEnrollment(ctx context.Context, home directory.OrgID, e Enrollment) error
	// UpdateEnrollment is compare-and-swap on Version. It stores Label, Secret, Public, Counter, LastUsed and CountsFrom.
	UpdateEnrollment(ctx context.Context, home directory.OrgID, id directory.FactorID, change func(*Enrollment) error) error
	RemoveEnrollment(ctx context.Context, home directory.OrgID, id directory.FactorID) error
	// EnrollmentByHandle finds a credential that named itself, in the realm; ErrNotFound.
	EnrollmentByHandle(ctx context.Context, realm directory.RealmID, handle []byte) (Enrollment, error)
}

// Tries counts answers durably, for the person and the method, across logins and nodes.
type Tries interface {
	// CountTry counts one answer before it is looked at; ErrResting when too many were wrong in the last
	// hour or day.
	CountTry(ctx context.Context, home directory.OrgID, person directory.PersonID, m Method, now time.Time) error
	// ForgiveTry takes one back: the answer was right.
	ForgiveTry(ctx context.Context, home directory.OrgID, person directory.PersonID, m Method, now time.Time) error
}

// The bounds of CountTry (S7).
const (
	TriesAnHour = 20
	TriesADay   = 100
	// TriesALogin end a ceremony.
	TriesALogin = 5
)

// Subject is whom a ceremony is with, and for what.
type Subject struct {
	Realm  directory.RealmID
	Home   directory.OrgID
	Person directory.PersonID
	Name   string
	Email  string
	// EmailGood says that the address is the person's beyond doubt: proved, or vouched for.
	EmailGood bool
	Locale    string
	// Org asks, and is what the page is about; App is for what.
	Org     directory.OrgID
	OrgName string
	App     string
	// Place is where and by what it was asked, for messages: "Chrome on Windows". Network is where the browser
	// is, for limits: an address or a network.
	Place, Network string
}

// Ceremony is one question.
type Ceremony struct {
	ID      string             `json:"-"`
	Method  Method             `json:"m"`
	Enrol   bool               `json:"e,omitempty"`
	Bound   string             `json:"b"` // what asks: a login's id
	Person  directory.PersonID `json:"p"`
	Org     directory.OrgID    `json:"o"`
	Data    json.RawMessage    `json:"d,omitempty"` // the factor's own: a challenge, a new secret
	Tries   int                `json:"t,omitempty"`
	Wrong   string             `json:"w,omitempty"` // the fault's code of the last answer, for the page
	Started time.Time          `json:"s"`
	Until   time.Time          `json:"u"`

	Now         time.Time           `json:"-"`
	Subject     Subject             `json:"-"`
	Enrollments []Enrollment        `json:"-"` // the person's, of this method; all of them when enrolling
	Frame       templates.StepFrame `json:"-"`
	From        time.Time           `json:"-"` // when what is set up begins to count for step-up
}

// Keep puts the factor's own state into the ceremony.
func (c *Ceremony) Keep(v any) error {
	b, err := json.Marshal(v)
	c.Data = b
	return err
}

// Kept reads it; false when there is none yet.
func (c *Ceremony) Kept(v any) bool { return len(c.Data) > 0 && json.Unmarshal(c.Data, v) == nil }

// Passed is a right answer.
type Passed struct {
	Enrollment directory.FactorID // which one answered; "" for an implicit one
	// Use is run on the stored enrollment in the transaction that makes the answer good, and may run
	// twice: ErrReplay from it refuses the answer. nil changes nothing but LastUsed.
	Use func(*Enrollment) error
	// Shows is what this answer shows; AMR names it (RFC 8176).
	Shows Evidence
	AMR   []string
	// Channel is what it came over, where another proof may come over the same: "mail:ada@acme.example".
	Channel string
	// Warn is what an administrator should read of it: WarnClone, which refuses the answer.
	Warn string

	Method Method
	Org    directory.OrgID // where it counts
	At     time.Time
	From   time.Time // when it begins to count for step-up
}

// WarnClone: there may be two of what answered.
const WarnClone = "clone"

// Factor is one kind. Ask shows the question, made anew when c holds none; Answer judges an answer and
// changes nothing that lasts.
type Factor interface {
	Method() Method
	Ask(ctx context.Context, c *Ceremony) (templates.Page, error)
	Answer(ctx context.Context, c *Ceremony, answer url.Values) (Passed, error)
}

// Enroller is a factor that people set up themselves. Setting up is not an answer: what was typed for it
// is used up by it.
type Enroller interface {
	Factor
	Offer(ctx context.Context, c *Ceremony) (templates.Page, error)
	// Enroll gives what is to be kept: Secret, Public, Handle, Counter and Label. shows is what setting it
	// up showed just now.
	Enroll(ctx context.Context, c *Ceremony, answer url.Values) (e Enrollment, shows Passed, err error)
}

// Countable is a factor of things that are used up. Left is how often one may be used from now on: what is
// down to none is as good as not there.
type Countable interface {
	Left(e Enrollment, now time.Time) int
}

// Implicit is a factor that needs no setting up where the person has what it takes: a good address.
type Implicit interface {
	Has(s Subject) bool
}

// Finder is a factor whose answer says whose it is: nobody is known before.
type Finder interface {
	Factor
	// Invite gives what a page's script needs to ask anybody, as JSON, made anew when c holds none.
	Invite(ctx context.Context, c *Ceremony) (options string, err error)
	// Handle reads what an answer says it is of, as Enrollment.Handle has it. Nothing is judged.
	Handle(answer url.Values) ([]byte, error)
	// Recognize judges an answer by the one enrollment that c then holds.
	Recognize(ctx context.Context, c *Ceremony, answer url.Values) (Passed, error)
}
