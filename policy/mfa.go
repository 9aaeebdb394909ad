package policy

import "time"

// Requirement is when a second step is asked for.
type Requirement string

const (
	Off       Requirement = "off"
	NewDevice Requirement = "new_device" // in browsers that are not remembered
	Always    Requirement = "always"
)

const factors = "Second steps"

// MFARequirement is when people take a second step.
var MFARequirement = ladder(Rule[Requirement]{
	Key:     "mfa.requirement",
	Group:   factors,
	Title:   "Second step",
	Help:    "When people prove themselves a second time after the first step: never, in browsers that are not remembered, or at every sign-in.",
	Default: Off,
	Limit:   Off,
}, Off, NewDevice, Always)

var secondSteps = &words{string(Passkey), string(SecurityKey), string(TOTP), string(Push), string(SMS), string(Email)}

// MFAMethods are the second steps that count. SMS is left out by default: it costs money, and numbers are
// stolen.
var MFAMethods = secondSteps.choice(Rule[Set]{
	Key:      "mfa.methods",
	Group:    factors,
	Title:    "Kinds of second step",
	Help:     "Which second steps people may set up and use. Narrowing keeps one of the strongest that are allowed: passkey and security_key, then totp and push, then email and sms.",
	Default:  secondSteps.set("passkey", "security_key", "totp", "push", "email"),
	Limit:    secondSteps.all(),
	Empty:    Set.Empty,
	Strength: classOf,
	Samples:  []Set{secondSteps.set("passkey", "totp", "sms"), secondSteps.set("passkey", "security_key"), secondSteps.set("totp", "sms"), secondSteps.set("sms", "email")},
})

// MFAPhishingResistant lets only passkeys and security keys be a second step.
var MFAPhishingResistant = demand(Rule[bool]{
	Key:   "mfa.phishing_resistant",
	Group: factors,
	Title: "Second steps that no false page can ask for",
	Help:  "Only a passkey or a security key is enough as a second step. What an identity provider says of its own second step is enough only where the operator and the connection say that it is as strong.",
})

// MFAAdmins is the requirement for whoever administers anything. An account that can change the rules is
// worth more than the data of one person, so it is strict until the operator says otherwise.
var MFAAdmins = ladder(Rule[Requirement]{
	Key:     "mfa.admins",
	Group:   factors,
	Title:   "Second step of administrators",
	Help:    "When people who administer anything take a second step. It adds to the requirement that everybody has.",
	Default: Always,
	Limit:   Always,
}, Off, NewDevice, Always)

// MFARememberDevice is how long a remembered browser skips a second step that is asked on new devices.
var MFARememberDevice = shortest(Rule[time.Duration]{
	Key:       "mfa.remember_device",
	Group:     factors,
	Title:     "How long a browser is remembered",
	Help:      "Where a second step is asked on new devices: for how long after one the same browser is not asked again. 0s is never remembered.",
	Default:   30 * day,
	Limit:     90 * day,
	Loosest:   365 * day,
	Strictest: 0,
	Samples:   []time.Duration{day},
})

// MFATrustUpstream lets the identity provider's own second step count. It counts only where the connection
// has a rule that says what in the provider's answer means one, so by default nothing counts that nobody
// named; and a level that wants its own second step switches it off for all below.
var MFATrustUpstream = allowance(Rule[bool]{
	Key:     "mfa.trust_upstream",
	Group:   factors,
	Title:   "Second steps taken at the identity provider",
	Help:    "A second step that the identity provider took counts here, where the connection says how the provider tells of it.",
	Default: true,
	Limit:   true,
})

// MFAEnrolmentGrace is how long somebody may put off setting up a second step. None by default: until it is
// set up, a stolen password is enough.
var MFAEnrolmentGrace = shortest(Rule[time.Duration]{
	Key:       "mfa.enrolment_grace",
	Group:     factors,
	Title:     "Time to set up a second step",
	Help:      "How long after they are first asked people may put off setting up a second step. 0s is at once.",
	Default:   0,
	Limit:     14 * day,
	Loosest:   90 * day,
	Strictest: 0,
	NoApp:     true,
	Samples:   []time.Duration{7 * day},
})
