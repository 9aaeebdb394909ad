package policy

// Level of identity is how well an organization knows who a person is.
type IdentityLevel string

const (
	IdentityNone     IdentityLevel = "none"
	IdentityRecorded IdentityLevel = "recorded" // somebody noted a proof of identity
	IdentityVerified IdentityLevel = "verified" // and somebody else checked it
)

// Identity is how well a person must be known to sign in.
var Identity = ladder(Rule[IdentityLevel]{
	Key:     "identity.level",
	Group:   "Identity",
	Title:   "Proof of identity",
	Help:    "What must be on record about who a person is before they sign in.",
	Default: IdentityNone,
	Limit:   IdentityNone,
}, IdentityNone, IdentityRecorded, IdentityVerified)
