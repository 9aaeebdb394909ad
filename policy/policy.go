// Package policy says what holds when platform, realm, organizations and app each ask for something:
// an organization can tighten security, never loosen it.
//
// Every setting is a Rule: a typed value with an order of tightness and one line in the table of
// rules.go. Resolve folds a chain of levels, the platform first, into an Effective, and a rule reads
// its value from that: SessionLifetime.In(effective). The fold carries two running values, a limit and
// a value. A level that sets a value of its own narrows both, so a set value binds everything below it;
// a default binds nobody, and a level may choose something looser than the default it inherits, up to
// the limit. Check judges a wish before it is stored, and Why says in words who decided a value.
//
// Everything here is pure: no storage, no clock, no people. Where levels come from and who may write
// them is the business of others. What cannot be read is refused, and an Effective that nobody resolved
// holds the strictest value of every rule: a forgotten policy locks.
package policy

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrUnreadable: a stored document holds a setting or a value that this binary does not know. After
	// a rollback it may be the one that kept somebody out, so it is never skipped.
	ErrUnreadable = fault.New(fault.Internal, "policy.unreadable", "The sign-in policy of this organization cannot be read, so nobody is let in. The operator of this service can repair it.")
	// ErrChain: the levels do not begin with the platform or are out of order.
	ErrChain = fault.New(fault.Internal, "policy.chain", "The sign-in policy of this organization is incomplete, so nobody is let in. The operator of this service can repair it.")

	// The faults of Check. Their sentence is replaced by one that names the setting, the limit and who
	// set it.
	ErrUnknown = fault.New(fault.Invalid, "policy.unknown_setting", "There is no such setting.")
	ErrValue   = fault.New(fault.Invalid, "policy.value", "This is not a value that the setting can have.")
	ErrLooser  = fault.New(fault.Invalid, "policy.looser", "This is looser than a level above allows.")
	ErrFloor   = fault.New(fault.Invalid, "policy.floor", "This is tighter than anybody may ask for.")
	ErrNobody  = fault.New(fault.Invalid, "policy.nobody", "This would leave nothing that is allowed.")
	ErrKept    = fault.New(fault.Invalid, "policy.kept", "This would drop what a level above wants kept.")
	ErrLevel   = fault.New(fault.Invalid, "policy.level", "This cannot be set at this level.")
	ErrReason  = fault.New(fault.Invalid, "policy.reason", "A reason is at most 500 characters of text in one line.")
	ErrWeaker  = fault.New(fault.Invalid, "policy.weaker", "This would drop the strongest of what is allowed now.")
)

// Kind is what a level is, in the order in which a chain goes down.
type Kind string

const (
	Platform Kind = "platform" // first, once
	Realm    Kind = "realm"
	Org      Kind = "org" // the top-level organization first
	App      Kind = "app" // last: an app's own demand, "Payments needs a passkey"
)

// depth orders kinds; a kind that is not in it stands nowhere.
var depth = map[Kind]int{Platform: 1, Realm: 2, Org: 3, App: 4}

// Level is one place where settings are set. Only the platform has Defaults and Limits; a setting that
// is missing from them has the rule's own.
type Level struct {
	Kind Kind
	ID   string
	Name string // what people know it as; shown in provenance
	// Values, Defaults and Limits are JSON by setting key, as they are stored: "8h", ["oidc"].
	Values, Defaults, Limits map[string]json.RawMessage
	// Keep are members of sets that every level below must keep when it narrows the set (S13). An app, below
	// which there is nothing, has none.
	Keep map[string]json.RawMessage
	// Notes say who wrote a value, when and why, by setting key; for what stands in Defaults, Limits and Keep
	// by NoteOf.
	Notes map[string]Note
}

// Note is who wrote something of a level's document, when, and for what reason. It decides nothing.
type Note struct {
	By     string    `json:"by,omitempty"` // in words for people: "the operator"
	At     time.Time `json:"at,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Part is a part of a level's document.
type Part string

const (
	OwnValues Part = ""
	Defaults  Part = "default"
	Limits    Part = "limit"
	Kept      Part = "keep"
)

// NoteOf is the key of a setting's note in a part of a document.
func NoteOf(p Part, key string) string {
	if p == OwnValues {
		return key
	}
	return string(p) + " " + key
}

// mostReason bounds a reason, in bytes; it is shown beside a field.
const mostReason = 500

// CheckReason says whether a reason can be stored and shown.
func CheckReason(text string) error {
	if len(text) > mostReason || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return ErrReason
	}
	return nil
}

// shown is a level's name in a sentence.
func (l Level) shown() string {
	switch {
	case l.Kind == Platform:
		return "the platform"
	case l.Name != "":
		return l.Name
	}
	return l.ID
}
