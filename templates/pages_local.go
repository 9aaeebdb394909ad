package templates

// The pages of signing in without an identity provider. Forms answer with "step" and "act": "link" asks for
// a link by mail, "reset" for one by which a password is chosen, "code" brings a code, "back" goes back to
// the password.

// PasswordPage asks for a password ("password"), and offers a link by mail instead. The same page answers
// an address that nobody has (S31).
type PasswordPage struct {
	Action, Step string
	App, Org     string // Org is "" on the platform's page
	Value        string // the address
	// Fixed: the address was typed on the page before, and ChangeURL leads back there; otherwise it is a field
	// here ("identifier").
	Fixed     bool
	ChangeURL string
	Error     string // "" or one of the Password… constants
	Wait      int    // seconds, for PasswordWait
	// Password and Link say what is offered.
	Password, Link bool
	// Connections are identity providers that are offered besides, each a button named "connection".
	Connections []ChooseItem
	Passkey     *PasskeyInvite
}

// What can be wrong with a password.
const (
	PasswordEmpty     = "empty"     // nothing was typed, or no address
	PasswordMalformed = "malformed" // the address is none
	PasswordWrong     = "wrong"     // the address, the password or both
	PasswordWait      = "wait"      // too many wrong ones from devices that are not known
	PasswordBusy      = "busy"      // nothing was checked
)

// MailedPage says that a mail is on its way if somebody has the address. One that signs in (not Reset) takes
// the code that the mail's link shows in another browser ("code").
type MailedPage struct {
	Action, Step, Address string
	Reset                 bool
	Minutes               int    // how long a link is good
	Error                 string // "" or "code": the last one was wrong
	Left                  int    // tries that are left
}

// LinkPage is what the link of a mail leads to. Here says that this browser began the sign-in: the button
// goes on with it. Otherwise the button shows Code, to be typed in the browser that did.
type LinkPage struct {
	Action, App, Account string
	Here                 bool
	Browser              string // what began it; may be ""
	Minutes              int    // ago
	Code                 string
}

// NewPasswordPage asks for a new password ("password"). Renew: the old one was right, and is too old.
type NewPasswordPage struct {
	Action, Step string // Step is "" behind a mail's link
	Account      string
	Renew        bool
	MinLength    int
	Flaws        []string // what is wrong with the last one
	Busy         bool
}

// PasswordDonePage says that a password was set, and that nobody was signed in by that.
type PasswordDonePage struct{ App, AppURL string }

func (PasswordPage) Template() string     { return "login/password" }
func (MailedPage) Template() string       { return "login/mailed" }
func (LinkPage) Template() string         { return "login/link" }
func (NewPasswordPage) Template() string  { return "login/new_password" }
func (PasswordDonePage) Template() string { return "login/password_done" }
