// Package mfa is where second factors live: each in a folder of its own, asked by a login and enrolled
// by the account page. A factor knows how to be enrolled and how to be asked for; it knows nothing of
// logins, organizations or policy. No factor is built yet, and nothing here pretends otherwise: an
// authentication context that needs one cannot be reached, and the broker says so.
package mfa
