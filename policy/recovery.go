package policy

import "time"

var recoveries = &words{string(RecoveryCode), string(AdminBypass), string(Email)}

// RecoveryMethods are the ways back for whoever lost their second step (S12). E-mail is left out by default:
// it would make every second step as strong as the mailbox.
var RecoveryMethods = recoveries.choice(Rule[Set]{
	Key:     "recovery.methods",
	When:    "at the next recovery",
	Group:   "Recovery",
	Title:   "Ways back after a lost second step",
	Help:    "What people may use who lost their second step: a recovery code, a code that an administrator makes, a code by e-mail. An empty list is none: an administrator resets them.",
	Default: recoveries.set("recovery_code", "admin_bypass"),
	Limit:   recoveries.all(),
	NoApp:   true,
})

// RecoveryDelay is how long a second step that was set up after a recovery does not count for sensitive
// actions (S12).
var RecoveryDelay = longest(Rule[time.Duration]{
	Key:       "recovery.delay",
	When:      "at the next recovery",
	Group:     "Recovery",
	Title:     "Pause after a recovery",
	Help:      "How long a second step that was set up after a recovery is not enough for sensitive actions.",
	Default:   day,
	Limit:     0,
	Loosest:   0,
	Strictest: 30 * day,
	Floor:     7 * day,
	NoApp:     true,
})
