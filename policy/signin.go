package policy

import "time"

var signIns = &words{string(SSO), string(Passkey), string(Password), string(EmailLink)}

// LoginMethods are the ways to take the first step.
var LoginMethods = signIns.choice(Rule[Set]{
	Key:      "login.methods",
	Group:    "Sign-in",
	Title:    "Ways to sign in",
	Help:     "How people may take the first step: the identity provider, a passkey, a password, a link or code by e-mail. Narrowing keeps the strongest of what is allowed: sso, then passkey.",
	Default:  signIns.all(),
	Limit:    signIns.all(),
	Empty:    Set.Empty,
	Strength: rankOf,
	Samples:  []Set{signIns.set("sso", "passkey"), signIns.set("password", "email_link")},
})

// SSORequired keeps people of verified domains to the organization's identity provider. It says nothing
// where the organization has none.
var SSORequired = demand(Rule[bool]{
	Key:     "login.sso_required",
	Group:   "Sign-in",
	Title:   "Identity provider for people of verified domains",
	Help:    "People whose address is of a verified domain sign in through the organization's identity provider and no other way.",
	Default: true,
})

var standIns = &words{string(Passkey), string(Password), string(EmailLink)}

// WhenIdPDown are the ways to sign in while the organization's identity provider does not answer.
var WhenIdPDown = standIns.choice(Rule[Set]{
	Key:     "login.when_idp_down",
	Group:   "Sign-in",
	Title:   "Ways to sign in while the identity provider is down",
	Help:    "What may stand in for an identity provider that does not answer. The rest of the policy still applies. An empty list is nothing.",
	Default: standIns.none(),
	Limit:   standIns.all(),
})

// TrustedConnections are other organizations' connections whose proofs count here (S2).
var TrustedConnections = named("con_", Rule[NameSet]{
	Key:   "login.trusted_connections",
	Group: "Sign-in",
	Title: "Other organizations' identity providers that are believed here",
	Help:  "The connections of other organizations whose word counts in this one. Whoever runs one of them can sign in as any person of this organization who is linked to it. Their second steps do not count. An empty list is none.",
	Limit: everyName,
})

// LoginNetworks are the networks that people sign in from.
var LoginNetworks = within(Rule[NetworkSet]{
	Key:     "login.networks",
	Group:   "Sign-in",
	Title:   "Networks to sign in from",
	Help:    "People sign in, and stay signed in, from these networks alone. Behind a proxy the address counts that trusted proxies name.",
	Default: anywhere,
	Limit:   anywhere,
})

// LockoutAttempts and LockoutFor slow guessing from unknown devices. Fewer than five or longer than a quarter
// of an hour would let strangers lock people out (S32).
var (
	LockoutAttempts = atMost(Rule[int]{
		Key:       "login.lockout_attempts",
		When:      "at the next wrong try",
		Group:     "Sign-in",
		Title:     "Wrong passwords or codes before a pause",
		Help:      "How many wrong passwords or codes are taken from unknown devices before they have to wait. Devices that the person signed in with before are not slowed.",
		Default:   10,
		Limit:     20,
		Loosest:   100,
		Strictest: 5,
		NoApp:     true,
	})
	LockoutFor = longest(Rule[time.Duration]{
		Key:       "login.lockout_for",
		When:      "at the next wrong try",
		Group:     "Sign-in",
		Title:     "Pause after wrong passwords or codes",
		Help:      "How long unknown devices wait after too many wrong passwords or codes.",
		Default:   5 * time.Minute,
		Limit:     time.Minute,
		Loosest:   10 * time.Second,
		Strictest: 15 * time.Minute,
		NoApp:     true,
	})
)

// DeviceGrant lets people sign devices in that have no browser of their own, by a code that they type here
// (RFC 8628). Whoever talks somebody into typing a code gets a device signed in as them, so it can be
// switched off; an app can use it only where the operator let it (S49).
var DeviceGrant = allowance(Rule[bool]{
	Key:     "login.device_grant",
	Group:   "Sign-in",
	Title:   "Signing devices in by a code",
	Help:    "People may sign in televisions, terminals and other devices by typing the code that the device shows.",
	Default: true,
	Limit:   true,
})
