package flows

import (
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// Proof is one thing that a person showed us, with where it came from: sessions and logins keep
// proofs, never an acr, and what a proof is worth is asked anew for each organization (S2).
type Proof struct {
	// Connection is the source; Org is the organization that owns it.
	Connection directory.ConnectionID `json:"con"`
	Org        directory.OrgID        `json:"org"`
	Key        directory.IdentityKey  `json:"key"`
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
