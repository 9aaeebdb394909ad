package policy

// Method is a way to prove oneself: at sign-in, as a second step, or to come back after a loss. Stored in
// proofs and enrolments, and never renamed.
type Method string

const (
	Passkey     Method = "passkey"      // WebAuthn with user verification, found without a name being typed
	SecurityKey Method = "security_key" // WebAuthn, the person known already
	TOTP        Method = "totp"         // RFC 6238
	Push        Method = "push"         // approved on an enrolled device
	SMS         Method = "sms"          // a code by short message
	Email       Method = "email"        // a code by e-mail

	SSO       Method = "sso"        // the word of an identity provider
	Password  Method = "password"   //
	EmailLink Method = "email_link" // a link or code by e-mail, as the first step

	RecoveryCode Method = "recovery_code" // one of a list that the person keeps
	AdminBypass  Method = "admin_bypass"  // a code that an administrator made for one use
)

// Class ranks methods by what it takes to steal one. Narrowing a list of methods keeps at least one of the
// strongest class that is allowed (S13).
type Class int

const (
	Unranked          Class = iota
	OverAChannel            // e-mail and SMS: whoever has the mailbox or the number has the code
	OnADevice               // app codes and push: bound to a device, but a false page can ask for them
	PhishingResistant       // passkeys and security keys: bound to our own address
)

// Class is the strength class of a second step.
func (m Method) Class() Class {
	switch m {
	case Passkey, SecurityKey:
		return PhishingResistant
	case TOTP, Push:
		return OnADevice
	case SMS, Email:
		return OverAChannel
	}
	return Unranked
}

// classOf is the strongest class in a list of second steps.
func classOf(s Set) int {
	best := Unranked
	for _, m := range s.Methods() {
		best = max(best, m.Class())
	}
	return int(best)
}

// rankOf ranks ways to sign in: an identity provider's word, which the organization takes back at one place,
// over a passkey, over passwords and links.
func rankOf(s Set) int {
	switch {
	case s.Allows(SSO):
		return 3
	case s.Allows(Passkey):
		return 2
	case s.Empty():
		return 0
	}
	return 1
}
