package flows

import (
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
)

// Proof is one thing that a person showed us, with where it came from: sessions and logins keep
// proofs, never an acr, and what a proof is worth is asked anew for each organization (S2).
type Proof struct {
	// Connection is the source where an identity provider is one; Org is the organization that owns it. A
	// proof of the person's own has no connection: Org is then where it counts, with all below.
	Connection directory.ConnectionID `json:"con"`
	Org        directory.OrgID        `json:"org"`
	Key        directory.IdentityKey  `json:"key"`
	// Method is how the person proved themselves here, and Factor by which of the things they set up; both
	// are "" for an identity provider's word.
	Method mfa.Method         `json:"mth,omitempty"`
	Factor directory.FactorID `json:"fac,omitempty"`
	// Shows is what it shows, Channel what it came over where another proof may come over the same (S11).
	Shows   mfa.Evidence `json:"shw,omitempty"`
	Channel string       `json:"chn,omitempty"`
	// From is when it begins to count for more than signing in (S12); zero: at once.
	From time.Time `json:"frm,omitzero"`
	// At is when the person proved themselves to the source; Seen is when we received it.
	At   time.Time `json:"at"`
	Seen time.Time `json:"seen"`
	AMR  []string  `json:"amr,omitempty"`
	ACR  string    `json:"acr,omitempty"`
	// SID is how the source calls its session, for logout.
	SID string `json:"sid,omitempty"`
	// Until is when the source says that its word ends; zero: it does not say.
	Until time.Time `json:"until,omitzero"`

	// held: a running session brought it, not this login, whatever a clock that was set back says.
	held bool
}

// Proofs that are no proof: they say that something else may be missing for now. They add nothing to what
// was shown.
const (
	methodLater  mfa.Method = "later"  // setting up a second step was put off; At is since when
	methodDevice mfa.Method = "device" // this browser is remembered (S29)
)

// standing says whether a mark was made since the person was last signed out everywhere.
func (s State) standing(q Proof) bool {
	return s.Person == nil || !q.Seen.Before(s.Person.Person.SessionsAfter)
}

// Primary says whether a proof says who somebody is, so that a login can rest on it alone.
func (p Proof) Primary() bool {
	switch p.Method {
	case "":
		return p.Connection != ""
	case policy.Password, policy.EmailLink:
		return true
	case policy.Passkey:
		return p.Shows.Has(mfa.Verification)
	}
	return false
}

// Same says whether two proofs came from the same source, so that the newer takes the older's place.
func (p Proof) Same(q Proof) bool {
	return p.Key == q.Key && p.Method == q.Method && p.Factor == q.Factor && p.Org == q.Org && p.Connection == q.Connection
}
