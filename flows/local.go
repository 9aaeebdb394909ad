package flows

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/password"
	"github.com/vestibule-id/vestibule/policy"
)

// ErrTries ends a login in which too many answers were wrong.
var ErrTries = fault.New(fault.Denied, "flows.too_many_tries", "Too many wrong answers. Start signing in again.")

// By is what signing in without an identity provider takes: a password, or a link and code by e-mail.
// Whoever types an address learns nothing of whether somebody has it: the same pages, the same work, and
// mail that is written for nobody (S31).
type By struct {
	Passwords *password.Keeper
	Lists     []*password.List // what password.block_common refuses
	Guesses   Guesses
	Tries     mfa.Tries
	Messages  delivery.Messages
	Spent     Spent
	// Seal seals what a mail brings where the login waits for it.
	Seal cipher.AEAD
	// Admit bounds what one network may ask for.
	Admit func(ctx context.Context, network string) error
	// Network is where a request came from, as Request.Network has it.
	Network func(*http.Request) string
	// Rest waits, at most until ctx ends: a wrong answer takes as long as any other.
	Rest func(ctx context.Context, d time.Duration)
}

// Spent marks what may be used once, on the disk before it returns (S16). upstream.ErrReplay when it was
// used.
type Spent interface {
	Spend(ctx context.Context, org directory.OrgID, kind, key string, until time.Time) error
}

// Local is how far a login came that goes by no identity provider.
type Local struct {
	Address string   `json:"adr,omitempty"` // as it was typed
	Where   string   `json:"whr,omitempty"` // which page is next: one of the at… constants
	Error   string   `json:"err,omitempty"` // what was wrong with the last answer, for the page
	Flaws   []string `json:"flw,omitempty"`
	Wait    int      `json:"wai,omitempty"` // seconds
	Tries   int      `json:"tri,omitempty"` // wrong codes
	Mails   int      `json:"mls,omitempty"` // asked for
	Mail    []byte   `json:"mal,omitempty"` // a sealed mailed
	Link    string   `json:"lnk,omitempty"` // the hash of the last link's token
	Old     *Old     `json:"old,omitempty"`
}

// Old is a right password that is too old to go on with.
type Old struct {
	Person   directory.PersonID   `json:"per"`
	Home     directory.OrgID      `json:"hom"`
	Password directory.PasswordID `json:"pwd"`
}

// The pages of a local sign-in; "" asks for a password.
const (
	atMailed = "mailed" // a link was sent, or was not: the page cannot say
	atReset  = "reset"  // the same, of a link by which a password is chosen
	atRenew  = "renew"  // choose a password in place of one that is too old
)

// What can be wrong with an answer, as pages name it.
const (
	wrongEmpty     = "empty"
	wrongMalformed = "malformed"
	wrongPassword  = "wrong"
	wrongWait      = "wait"
	wrongBusy      = "busy"
	wrongCode      = "code"
)

const (
	maxCodes = 5 // wrong ones that end a login (S7)
	maxMails = 5 // in one login
	// mailLife is how long a link and its code are good.
	mailLife = 10 * time.Minute
	// resetLife is longer, for whoever has to find another device for it.
	resetLife = 30 * time.Minute
	// least is how long a wrong password takes to be answered, whoever it was for.
	least = 300 * time.Millisecond
	// mailedFor is how long a password that was set by mail shows no more than that mailbox does: whoever
	// has the mailbox knows it (S11).
	mailedFor = 24 * time.Hour
)

// LocalFacts are the ways to sign in here that an organization allows and this installation has.
type LocalFacts struct{ Password, Link, Passkey bool }

// Any says whether there is one.
func (f LocalFacts) Any() bool { return f.byAddress() || f.Passkey }

// byAddress says whether there is one that begins with an address.
func (f LocalFacts) byAddress() bool { return f.Password || f.Link }

// localFacts are the ways that a policy allows.
func (j *Judge) localFacts(eff policy.Effective) LocalFacts {
	return j.localAmong(policy.LoginMethods.In(eff))
}

// localLimit are the ways that an organization below could allow.
func (j *Judge) localLimit(eff policy.Effective) LocalFacts {
	return j.localAmong(policy.LoginMethods.LimitIn(eff))
}

func (j *Judge) localAmong(allowed policy.Set) LocalFacts {
	return LocalFacts{
		Password: j.ByPassword && allowed.Allows(policy.Password), Link: j.ByLink && allowed.Allows(policy.EmailLink),
		Passkey: j.Factors.Finds() && allowed.Allows(policy.Passkey),
	}
}

// local says whether the login is the kind that goes by no identity provider: the person was found to need
// none, the organization has none, or leaves the choice.
func (s State) local(p policy.Effective) bool {
	switch {
	case s.Local:
		return true
	case s.Org == nil || !s.Org.Local.Any() || s.connected():
		return false
	}
	return !s.Org.Connected || !policy.SSORequired.In(p) // one that is switched off for now leaves no other way in
}

// account is whom an address means in a login; the zero account is nobody.
type account struct {
	person directory.Person
	org    directory.OrgID // whose rules hold
	local  LocalFacts
	mail   bool // the mailbox may stand for the person
	policy policy.Effective
}

func (a account) known() bool { return a.person.ID != "" }

// account finds it: somebody at home in the organization of the login or above it, or in exactly one of the
// realm where none is known (S27), whom no rule sends to an identity provider.
func (t *Turn) account(ctx context.Context) (account, error) {
	e, l := t.Engine, t.Login
	nobody := account{policy: t.Policy, local: LocalFacts{Password: e.Judge.ByPassword, Link: e.Judge.ByLink}}
	if t.State.Org == nil {
		var err error
		if nobody.policy, err = e.Judge.Directory.RealmPolicy(ctx, l.Request.Realm); err != nil {
			return nobody, err
		}
	}
	found, err := e.Judge.Directory.PeopleByIdentifier(ctx, t.realm(), "email", NormalAddress(l.Local.Address))
	if err != nil {
		return nobody, err
	}
	if t.State.Org != nil {
		found = slices.DeleteFunc(found, func(p directory.Person) bool { return !t.State.Org.Chain.Has(p.Home) })
	}
	if len(found) != 1 {
		return nobody, nil
	}
	p := found[0]
	org := l.Org
	if org == "" {
		org = p.Home
	}
	facts, eff, err := e.Judge.org(ctx, org, l.Request.App)
	if errors.Is(err, ErrOrgUnavailable) {
		return nobody, nil
	}
	if err != nil {
		return nobody, err
	}
	if !facts.Entitled || facts.Chain.Status() != directory.Active {
		return nobody, nil
	}
	kept, doubtful, err := e.Judge.keptToProvider(ctx, facts, eff, l.Local.Address)
	if err != nil || kept {
		return nobody, err
	}
	if doubtful {
		facts.Local.Link = false
	}
	return account{person: p, org: org, local: facts.Local, mail: !doubtful, policy: eff}, nil
}

func (t *Turn) realm() directory.RealmID {
	if t.State.Org != nil {
		return t.State.Org.Chain.Org().Realm
	}
	return t.Login.Request.Realm
}

// bucket is how many wrong tries the policy takes from unknown devices.
func bucket(p policy.Effective) Bucket {
	return Bucket{Most: max(policy.LockoutAttempts.In(p), 5), For: min(policy.LockoutFor.In(p), 15*time.Minute)} // S32: the floors hold whatever a level says
}

// passwordRules are those of a new password.
func passwordRules(p policy.Effective) password.Rules {
	r := password.Rules{
		MinLength: policy.PasswordMinLength.In(p), MinStrength: policy.PasswordMinStrength.In(p), Classes: policy.PasswordClasses.In(p),
		History: policy.PasswordHistory.In(p), BlockCommon: policy.PasswordBlockCommon.In(p),
	}
	if age := policy.PasswordMaxAge.In(p); age < policy.Never {
		r.MaxAge = age
	}
	return r
}

// about is the person of an account, or who stands for nobody: what is counted for one is counted for the
// other, under an id that nobody has.
func (a account) about(address string) directory.PersonID {
	if a.known() {
		return a.person.ID
	}
	h := sha256.Sum256([]byte("nobody/" + NormalAddress(address)))
	return directory.PersonID("adr_" + base64.RawURLEncoding.EncodeToString(h[:12]))
}

// mailbox is where mail for an account goes: the address that the person gave, never the one that was typed.
// Two mailboxes can fold to one identifier (straße and strasse), and one of them may be a stranger's.
func (a account) mailbox(typed string) string {
	switch norm := NormalAddress(typed); {
	case !a.known():
		return typed
	case NormalAddress(a.person.Email) == norm:
		return a.person.Email
	default:
		return norm
	}
}

// prove makes a proof of the person, and ends the local part of the login.
func (t *Turn) prove(a account, q Proof) {
	l := t.Login
	if l.Person != a.person.ID {
		l.Proofs = nil // what somebody else proved earlier in this login is not this person's (S2)
	}
	q.Org, q.At, q.Seen = a.person.Home, t.Engine.Now(), t.Engine.Now()
	l.Person, l.Proofs, l.Local = a.person.ID, append(l.Proofs, q), nil
	if l.Org == "" {
		l.Org, l.Route = a.person.Home, RouteIdentifier
	}
}

func mailChannel(address string) string { return "mail:" + NormalAddress(address) }

// sealed and unsealed keep v in the login's row, readable by nobody who reads the row.
func (by *By) sealed(about string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, by.Seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return by.Seal.Seal(nonce, nonce, b, []byte(about)), nil
}

func (by *By) unsealed(about string, b []byte, v any) bool {
	n := by.Seal.NonceSize()
	if len(b) < n {
		return false
	}
	plain, err := by.Seal.Open(nil, b[:n], b[n:], []byte(about))
	return err == nil && json.Unmarshal(plain, v) == nil
}

func isBusy(err error) bool { return errors.Is(err, password.ErrBusy) }

// addressOf reads a network as requests name it.
func addressOf(network string) netip.Addr {
	if p, err := netip.ParsePrefix(network); err == nil {
		return p.Addr()
	}
	a, _ := netip.ParseAddr(network)
	return a
}

// known devices: browsers that somebody signed in with before. Wrong tries there slow no stranger, and
// strangers' tries slow nobody there (S32).

// knownDevice is one line of a sealed cookie.
type knownDevice struct {
	Person directory.PersonID
	Since  time.Time
}

const (
	knownCookie = "vk"
	knownMost   = 5
	knownLife   = 180 * 24 * time.Hour
)

func (e *Engine) knownDevices(r *http.Request) []knownDevice {
	var list []knownDevice
	if r == nil || !e.Cookies.Open(r, knownCookie, &list) || len(list) > knownMost {
		return nil
	}
	return list
}

// knows says whether the browser signed the person in since they were last signed out everywhere.
func (t *Turn) knows(p directory.Person) bool {
	return slices.ContainsFunc(t.Known, func(d knownDevice) bool { return d.Person == p.ID && d.Since.After(p.SessionsAfter) })
}

// makeKnown notes that somebody signed in here.
func (e *Engine) makeKnown(w http.ResponseWriter, r *http.Request, p directory.Person) {
	list := slices.DeleteFunc(e.knownDevices(r), func(d knownDevice) bool { return d.Person == p.ID })
	list = append([]knownDevice{{p.ID, e.Now()}}, list...)
	if err := e.Cookies.Seal(w, knownCookie, list[:min(len(list), knownMost)], knownLife); err != nil {
		e.Log.WarnContext(r.Context(), "the known devices could not be sealed", "error", err)
	}
}
