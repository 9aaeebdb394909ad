package templates

// The pages of a login. Handlers of flows and broker fill these structs; each stands for one file of
// its name, and every string in it is text that is ready to show (escaping is the renderer's work).
// Forms answer with the stable field names "step", "identifier", "org", "connection" and "remember".

// IdentifyPage asks who somebody is: one field and one button.
type IdentifyPage struct {
	// Action is where every form of the page posts; Step is which step it answers ("step").
	Action, Step string
	Value        string // what was typed before
	// Error is "" or one of the Identify… constants. Domain is the address's domain and Suggestion a
	// whole address that would work; both may be "".
	Error, Domain, Suggestion string
	App                       string // the application's name; "" when it has none to show
	Org                       string // whose page this is; "" on the platform's page
	// HandleAllowed: an organization's handle may be typed instead of an address.
	HandleAllowed bool
	// CanChooseOther shows a link to OtherURL, the same login without this organization.
	CanChooseOther bool
	OtherURL       string
	// Connection is offered as one button above the field ("Continue with Okta"); "" offers none.
	Connection, ConnectionName string
	Remembered                 []RememberedOrg
	Passkey                    *PasskeyInvite
}

// What can be wrong with an identifier. The platform's page knows no IdentifyUnknownDomain: there an
// unknown domain gets NoCompanyPage (no enumeration).
const (
	IdentifyEmpty         = "empty"
	IdentifyMalformed     = "malformed"
	IdentifyUnknownDomain = "unknown_domain"
)

// RememberedOrg is an organization that this browser signed in to before; its Value comes back as "org".
type RememberedOrg struct{ Value, Name, Logo, LogoDark, Hint string }

// NoCompanyPage answers an address whose domain is unknown and one whose organization has no single
// sign-on with the very same words (S31).
type NoCompanyPage struct {
	Action, Step, Value string
	App                 string
}

// ChoosePage is the organization picker. Who is the account that the person proved, ChangeURL the way to
// use another one.
type ChoosePage struct {
	Action, Step   string
	App            string
	Who, ChangeURL string
	Items          []ChooseItem
	CanRemember    bool // shows the check box "remember"
}

// ChooseItem is one row of a picker, a submit button: "org" on ChoosePage, "connection" on
// ChooseConnectionPage. Hint is a line about how one signs in there.
type ChooseItem struct {
	Value, Name, Logo, LogoDark, Hint string
	LastUsed                          bool
}

// ChooseConnectionPage lets somebody pick one of several ways into one organization.
type ChooseConnectionPage struct {
	Action, Step   string
	App, Org       string
	Who, ChangeURL string
	Items          []ChooseItem
}

// LeavingPage takes the browser to an identity provider. With Fields it is a form that a script posts
// at once and a button posts without script; without Fields it is a link.
type LeavingPage struct {
	URL            string
	Fields         []FormField
	Provider, Host string // "Okta", "acmebank.okta.example"
	Org            string
	Who, ChangeURL string
}

// AccountsPage lets somebody choose one of the accounts that are signed in here ("session"), or another.
type AccountsPage struct {
	Action string
	App    string
	Items  []ChooseItem // an address, masked, and its organization
}

// ConsentPage asks what an app may learn and do: "decision" is "allow" or "deny".
type ConsentPage struct {
	Action        string
	App, Org, Who string
	Items         []ConsentItem
	Host          string // where the browser goes next
	Policy, Terms string // https addresses of the app's, or ""
}

// ConsentItem is one thing that an app asks for. Kind picks the picture: person, mail, clock, building, or
// anything else. Detail may be "".
type ConsentItem struct{ Kind, Title, Detail string }

// PostAnswerPage takes the answer to an app's request to the app: a form that a script posts at once and a
// button posts without script (OAuth 2.0 Form Post Response Mode).
type PostAnswerPage struct {
	URL    string
	Host   string // "app.example"
	Fields []FormField
}

// FormField is a hidden field of a form.
type FormField struct{ Name, Value string }

// NotMemberPage refuses somebody who was authenticated but does not belong: it names the organization
// and whom to ask.
type NotMemberPage struct {
	Org, App  string
	Who       string      // the account that was offered
	Contact   string      // e-mail address or https URL of the organization's help; "" when it publishes none
	OtherURL  string      // sign in with another account; "" shows no button
	AppURL    string      // back to the application; "" shows no button
	Fields    []FormField // what is posted to AppURL; none: a link
	Code      string      // the trace code
	Suspended bool        // there is a membership, and it is switched off
}

// OverPage says that a login cannot go on, and how to begin a new one.
type OverPage struct {
	Reason string // one of the Over… constants
	App    string
	AppURL string // where to begin again; "" when it is not known
	Code   string // the trace code; may be ""
}

const (
	OverExpired      = "expired"       // half an hour has passed
	OverUsed         = "used"          // it was finished already
	OverOtherBrowser = "other_browser" // it belongs to another browser, or the cookie is gone
)

// LogoutConfirmPage asks before a session ends, because another site sent the browser here.
type LogoutConfirmPage struct {
	Action, Step string
	App          string // who asks; "" when not known
	Who          string
	CancelURL    string // "" shows no way back
}

// LogoutDonePage says what ended and what did not. AppURL leads on to the application.
type LogoutDonePage struct {
	App, AppURL string
	// Remains names what stays signed in: "Okta of Acme Bank".
	Remains []string
	// Part: only what the application used has ended. RestAction is where a form ends the rest.
	Part       bool
	RestAction string
	// Providers may be signed out of as well; each is a button named "connection" of the form at
	// ProviderAction.
	Providers      []LogoutProvider
	ProviderAction string
}

// LogoutProvider is an identity provider where the person is signed in still.
type LogoutProvider struct{ Value, Name string }

// DevicePage asks for the code that a device shows. Wrong says that there is no such code.
type DevicePage struct {
	Action, Value string
	Wrong         bool
}

// DeviceApprovePage asks whether a device may be signed in. The buttons are named "decision": "approve" or
// "deny".
type DeviceApprovePage struct {
	Action   string
	App, Org string
	Who      string
	Code     string // as the device shows it
	// Network and Device are where the device's request came from; Device may be "". Minutes ago.
	Network, Device string
	Minutes         int
	Items           []ConsentItem // what the app learns, where that is the person's to say
}

// DeviceDonePage says what became of the device.
type DeviceDonePage struct {
	App      string
	Approved bool
}

// FaultPage is the only error page. Renderer.Fault makes one with the words of a fault's code.
type FaultPage struct {
	Title, Cause, Remedy string
	// Who can help and how to reach them: an e-mail address or https URL, or "".
	Who, Contact string
	Code         string // the trace code: "VB-7Q4K-29TM"
	// RetryURL and RetryLabel are the one thing most likely to work; "" shows no button.
	RetryURL, RetryLabel string
	// BackURL leads to the application, named App; "" shows no link.
	BackURL, App string
	Fields       []FormField // what is posted to BackURL; none: a link
	Details      []Detail    // folded, for an administrator
	Status       int         // the HTTP status, chosen by whoever writes the page
}

// Detail is one line of what an administrator wants to know. Name is one of the
// Detail… constants, or any text that is its own label.
type Detail struct{ Name, Value string }

const (
	DetailWhen       = "when"
	DetailConnection = "connection"
	DetailProblem    = "problem" // the fault's code
	DetailCheck      = "check"   // the check that failed
	DetailGot        = "got"
	DetailExpected   = "expected"
	DetailApp        = "app"
)

func (IdentifyPage) Template() string         { return "login/identify" }
func (NoCompanyPage) Template() string        { return "login/no_company" }
func (ChoosePage) Template() string           { return "login/choose" }
func (ChooseConnectionPage) Template() string { return "login/choose_connection" }
func (LeavingPage) Template() string          { return "login/leaving" }
func (AccountsPage) Template() string         { return "login/accounts" }
func (ConsentPage) Template() string          { return "login/consent" }
func (PostAnswerPage) Template() string       { return "login/post_answer" }
func (NotMemberPage) Template() string        { return "login/not_member" }
func (OverPage) Template() string             { return "login/over" }
func (LogoutConfirmPage) Template() string    { return "logout/confirm" }
func (LogoutDonePage) Template() string       { return "logout/done" }
func (DevicePage) Template() string           { return "device/code" }
func (DeviceApprovePage) Template() string    { return "device/approve" }
func (DeviceDonePage) Template() string       { return "device/done" }
func (FaultPage) Template() string            { return "fault/fault" }
