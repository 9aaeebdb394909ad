package policy

import "time"

// SessionLifetime is how long a session is accepted for an organization, however busy it is.
var SessionLifetime = &Rule[time.Duration]{
	Key:       "session.lifetime",
	Group:     "Session",
	Title:     "Longest session",
	Help:      "After this time people sign in again, even while they are working.",
	Default:   12 * time.Hour,
	Limit:     90 * day,
	Loosest:   90 * day,
	Strictest: time.Minute,
	Floor:     15 * time.Minute,
	Tighter:   shorter,
	Read:      readDuration,
	Show:      showDuration,
	Samples:   []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 12 * time.Hour, 7 * day, 90 * day},
}

// SessionIdle is how long a session is accepted without activity of the person; refreshing tokens and
// prompt=none are none (S47).
var SessionIdle = &Rule[time.Duration]{
	Key:       "session.idle",
	Group:     "Session",
	Title:     "Longest pause",
	Help:      "People who did nothing for this long sign in again.",
	Default:   time.Hour,
	Limit:     30 * day,
	Loosest:   90 * day,
	Strictest: time.Minute,
	Floor:     5 * time.Minute,
	Tighter:   shorter,
	Read:      readDuration,
	Show:      showDuration,
	Samples:   []time.Duration{time.Minute, 5 * time.Minute, time.Hour, day, 30 * day, 90 * day},
}
