package policy

// Joining is how somebody becomes a member of an organization.
type Joining string

const (
	JoinOpen        Joining = "open"        // by signing in, where the connection makes accounts
	JoinApproval    Joining = "approval"    // by asking, when somebody of the organization agrees
	JoinInvited     Joining = "invited"     // by invitation
	JoinProvisioned Joining = "provisioned" // by the organization's own directory (SCIM) alone
)

// MembersJoin is who may become a member. Open by default, for nothing is open by it alone: a connection
// makes no accounts before its organization says so.
var MembersJoin = ladder(Rule[Joining]{
	Key:     "members.join",
	When:    "at the next sign-in of somebody who is no member yet",
	Group:   "Membership",
	Title:   "How people become members",
	Help:    "Who becomes a member: whoever signs in through a connection that makes accounts, whoever asks and is approved, whoever was invited, or whom the organization's own directory names.",
	Default: JoinOpen,
	Limit:   JoinOpen,
	NoApp:   true,
}, JoinOpen, JoinApproval, JoinInvited, JoinProvisioned)
