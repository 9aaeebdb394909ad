package templates

import "time"

// The messages that people are sent, each a struct that delivery.Messages takes as it is. Strings are text:
// names of organizations, apps, people and browsers lose what could be taken for a link or turn the
// reading direction when the message is written out (S45), so they can be given as they are stored. Fields
// with a tag are what they say: a code, an address on the web, an address of a mailbox.
//
// Browser is what asked ("Chrome on Windows"), Place roughly where from ("Lyon, France"); both may be "".
// At is when; Minutes how long the code or link is good.

// CodeMail brings a code to type: at sign-in, as a second step, to prove a mailbox.
type CodeMail struct {
	Code           string `letter:"code"`
	App, Org       string
	Browser, Place string
	At             time.Time
	Minutes        int
}

// LinkMail brings a link that signs in, in the browser that asked for it; anywhere else it leads to a code
// (S7).
type LinkMail struct {
	URL            string `letter:"url"`
	App, Org       string
	Browser, Place string
	At             time.Time
	Minutes        int
}

// ResetMail brings a link by which a password is chosen anew. It never signs in (S27).
type ResetMail struct {
	URL            string `letter:"url"`
	Account        string `letter:"address"` // whose password
	App, Org       string
	Browser, Place string
	At             time.Time
	Minutes        int
}

// FactorChangedMail tells that a way to sign in was added, removed or replaced. It goes to every old
// channel.
type FactorChangedMail struct {
	Change         string // one of the Factor… constants
	Factor         string // a policy.Method, or "password" or "recovery_code"
	Name           string // what the person calls it: "My phone"; may be ""
	Org            string
	Browser, Place string
	At             time.Time
	URL            string `letter:"url"` // where to undo it; "" says to ask the organization
}

// What became of a factor.
const (
	FactorAdded    = "added"
	FactorRemoved  = "removed"
	FactorReplaced = "replaced"
)

// RecoveryUsedMail tells that a recovery code was used.
type RecoveryUsedMail struct {
	Left           int // codes that are left
	App, Org       string
	Browser, Place string
	At             time.Time
	URL            string `letter:"url"` // as in FactorChangedMail
}

// OperatorInvitationMail brings the link by which an operator of the installation makes their account.
type OperatorInvitationMail struct {
	URL   string `letter:"url"`
	By    string // who invites; "" is the command line
	Host  string `letter:"host"` // of the installation: "login.example.com"
	Until time.Time
}

// CodeSMS brings a code to type. Host is where it is typed: phones fill it in there and nowhere else.
type CodeSMS struct {
	Code string `letter:"code"`
	App  string
	Host string `letter:"host"`
}

func (CodeMail) Template() string               { return "mail/code" }
func (LinkMail) Template() string               { return "mail/link" }
func (ResetMail) Template() string              { return "mail/reset" }
func (FactorChangedMail) Template() string      { return "mail/factor_changed" }
func (RecoveryUsedMail) Template() string       { return "mail/recovery_used" }
func (OperatorInvitationMail) Template() string { return "mail/invitation_operator" }
func (CodeSMS) Template() string                { return "sms/code" }

// Notice: no budget holds these back.
func (FactorChangedMail) Notice() {}
func (RecoveryUsedMail) Notice()  {}
