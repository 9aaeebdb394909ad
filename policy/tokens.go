package policy

import "time"

// AccessLifetime is how long an access token is good for. It cannot be called back while it lives, so
// the operator alone raises its limit above ten minutes (S15).
var AccessLifetime = shortest(Rule[time.Duration]{
	Key:       "tokens.access_lifetime",
	When:      "for the next token",
	Group:     "Tokens",
	Title:     "Life of access tokens",
	Help:      "How long an app may use an access token before it asks for a new one.",
	Default:   5 * time.Minute,
	Limit:     10 * time.Minute,
	Loosest:   time.Hour,
	Strictest: time.Minute,
	Floor:     2 * time.Minute,
})

// RefreshLifetime is how long an app may go on refreshing after a sign-in.
var RefreshLifetime = shortest(Rule[time.Duration]{
	Key:       "tokens.refresh_lifetime",
	Group:     "Tokens",
	Title:     "Life of refresh tokens",
	Help:      "How long after a sign-in an app may renew its tokens.",
	Default:   30 * day,
	Limit:     90 * day,
	Loosest:   365 * day,
	Strictest: time.Minute,
	Floor:     time.Hour,
})

// RefreshIdle is how long an app may leave a refresh token unused and still renew its tokens.
var RefreshIdle = shortest(Rule[time.Duration]{
	Key:       "tokens.refresh_idle",
	Group:     "Tokens",
	Title:     "Longest pause between renewals",
	Help:      "An app that did not renew its tokens for this long needs a new sign-in.",
	Default:   7 * day,
	Limit:     90 * day,
	Loosest:   365 * day,
	Strictest: time.Minute,
	Floor:     time.Hour,
})
