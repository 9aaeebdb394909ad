package templates

import (
	"strings"
)

// The pages of second steps. Every form posts to Action with "step"; "method" with no value asks for the
// list of other ways, "later" with "1" postpones setting one up where that is allowed.

// StepFrame is what stands around the question of a second step.
type StepFrame struct {
	Action, Step   string
	App, Org       string
	Who, ChangeURL string
	// By is who asks for it: an organization or an app, by name; "" says nothing.
	By string
	// Other: there is another way, or another kind to set up.
	Other bool
	// Later: it may be set up another time; LaterUntil is until when, ready to show.
	Later      bool
	LaterUntil string
	// Error is the code of what was wrong with the last answer, "" when nothing was; Left is how many
	// tries are left.
	Error string
	Left  int
}

// TOTPPage asks for the code of an authenticator app ("code"). Devices are what their owner calls them.
type TOTPPage struct {
	StepFrame
	Devices []string
}

// TOTPEnrollPage sets an authenticator app up: a picture to scan, the same key as text, and the first
// code ("code"). QR is the path of an SVG of Size units; URI opens an app on the same device.
type TOTPEnrollPage struct {
	StepFrame
	Key, URI, QR string
	Size         int
}

// RecoveryPage asks for a recovery code ("code"), of which Remaining of Total are left.
type RecoveryPage struct {
	StepFrame
	Remaining, Total int
}

// CodePage asks for a code that was sent ("code"), by Kind "email" or "sms", To a place that is shown masked.
// "resend" with "1" asks for another one, "change" with "1" for another number where one is set up.
type CodePage struct {
	StepFrame
	Kind, To string
	Enrol    bool
	Resend   bool // another one may be asked for now
	Sent     int  // how many were
	Minutes  int  // how long one is good
}

// Way is the kind, as there are words for it.
func (p CodePage) Way() string {
	if p.Kind == "sms" {
		return p.Kind
	}
	return "email"
}

// PhonePage asks for the number that codes are to be sent to ("number").
type PhonePage struct{ StepFrame }

// BypassPage asks for a code that an administrator made ("code").
type BypassPage struct{ StepFrame }

// RecoveryCodesPage shows a new set of recovery codes, once: "kept" with "1" says that its owner has them.
type RecoveryCodesPage struct {
	StepFrame
	Codes []string
}

// File is where the codes can be had as a text file, as long as the page is open.
func (p RecoveryCodesPage) File() string { return strings.TrimSuffix(p.Action, p.Step) + "codes.txt" }

// Text is that file: whose codes they are, and the codes.
func (p RecoveryCodesPage) Text() string { return p.Org + "\n" + p.Who + "\n\n" + p.Lines() + "\n" }

// Lines are the codes as they are copied.
func (p RecoveryCodesPage) Lines() string { return strings.Join(p.Codes, "\n") }

// WebAuthnPage asks for a passkey, or for a security key (Key): its script gives Options to the browser
// (PublicKeyCredentialRequestOptionsJSON) and posts what comes of it ("credential").
type WebAuthnPage struct {
	StepFrame
	Key     bool
	Options string
}

// WebAuthnEnrollPage sets one up the same way (PublicKeyCredentialCreationOptionsJSON).
type WebAuthnEnrollPage struct {
	StepFrame
	Key     bool
	Options string
}

// PasskeyInvite lets whoever has a passkey sign in with it: a button, and where the browser offers passkeys
// in the field for the name, there too. nil offers neither. Error and Left are as in StepFrame.
type PasskeyInvite struct {
	Action, Step, Options, Error string
	Left                         int
	Alone                        bool // there is nothing else on the page
}

// StepsPage is the list of ways to confirm who one is, or of kinds to set up (Enrol): each a button
// named "method".
type StepsPage struct {
	StepFrame
	Enrol bool
	Items []StepItem
	// Missing are methods that the person set up and may not use here, MissingBy who decided so.
	Missing   []string
	MissingBy string
}

// StepItem is one way. Method chooses words and picture; Hint, which may be "", is a line of its own:
// "Pixel 8".
type StepItem struct {
	Method, Hint string
	Safest       bool
}

func (TOTPPage) Template() string           { return "mfa/totp" }
func (TOTPEnrollPage) Template() string     { return "mfa/totp_enroll" }
func (WebAuthnPage) Template() string       { return "mfa/webauthn" }
func (WebAuthnEnrollPage) Template() string { return "mfa/webauthn_enroll" }
func (RecoveryPage) Template() string       { return "mfa/recovery" }
func (RecoveryCodesPage) Template() string  { return "mfa/recovery_codes" }
func (CodePage) Template() string           { return "mfa/code" }
func (BypassPage) Template() string         { return "mfa/bypass" }
func (PhonePage) Template() string          { return "mfa/phone" }
func (StepsPage) Template() string          { return "mfa/steps" }

// Kind is the method where there are words and a picture for it.
func (i StepItem) Kind() string { return kindOf(i.Method) }

// MissingKinds are the missing methods, as Kind gives them.
func (p StepsPage) MissingKinds() []string {
	var out []string
	for _, m := range p.Missing {
		out = append(out, kindOf(m))
	}
	return out
}

func kindOf(method string) string {
	if _, drawn := icons["mfa-"+method]; drawn {
		return method
	}
	return "other"
}
