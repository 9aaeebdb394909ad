package policy

import "time"

// SessionLifetime is how long a session is accepted for an organization, however busy it is.
var SessionLifetime = shortest(Rule[time.Duration]{
	Key:       "session.lifetime",
	Group:     "Session",
	Title:     "Longest session",
	Help:      "After this time people sign in again, even while they are working.",
	Default:   12 * time.Hour,
	Limit:     90 * day,
	Loosest:   90 * day,
	Strictest: time.Minute,
	Floor:     15 * time.Minute,
})

// SessionIdle is how long a session is accepted without activity of the person; refreshing tokens and
// prompt=none are none (S47).
var SessionIdle = shortest(Rule[time.Duration]{
	Key:       "session.idle",
	Group:     "Session",
	Title:     "Longest pause",
	Help:      "People who did nothing for this long sign in again.",
	Default:   time.Hour,
	Limit:     30 * day,
	Loosest:   90 * day,
	Strictest: time.Minute,
	Floor:     5 * time.Minute,
})

// SessionPersistent lets a session survive the closing of the browser. There is one cookie for all of a
// person's organizations, so it is the home organization's to say, as its limits end the session. Off by
// default: at a shared computer closing the browser is how people think they leave.
var SessionPersistent = allowance(Rule[bool]{
	Key:     "session.persistent",
	When:    "at the next sign-in",
	Group:   "Session",
	Title:   "Sessions that survive the closing of the browser",
	Help:    "People stay signed in when they close the browser and open it again. Judged by the person's home organization when they sign in.",
	Default: false,
	Limit:   true,
	NoApp:   true,
})

// SessionMax is how many sessions a person may have in an organization at once (S47).
var SessionMax = atMost(Rule[int]{
	Key:       "session.max_per_user",
	When:      "at the next sign-in",
	Group:     "Session",
	Title:     "Most sessions of one person",
	Help:      "Whoever signs in once more is signed out where they signed in first, as far as this organization goes.",
	Default:   Unlimited,
	Limit:     Unlimited,
	Loosest:   Unlimited,
	Strictest: 1,
	NoApp:     true,
})

// StepUpAge is how fresh a second step must be for sensitive actions.
var StepUpAge = shortest(Rule[time.Duration]{
	Key:       "session.step_up_age",
	Group:     "Session",
	Title:     "Freshness for sensitive actions",
	Help:      "Before a sensitive action people confirm with a second step, unless they did so within this time.",
	Default:   10 * time.Minute,
	Limit:     12 * time.Hour,
	Loosest:   30 * day,
	Strictest: time.Minute,
	Floor:     time.Minute,
})

// SessionShared lets one sign-in serve several apps.
var SessionShared = allowance(Rule[bool]{
	Key:     "session.shared",
	Group:   "Session",
	Title:   "Single sign-on between apps",
	Help:    "One sign-in opens every app of the organization. Without it each app asks for a sign-in of its own.",
	Default: true,
	Limit:   true,
})
