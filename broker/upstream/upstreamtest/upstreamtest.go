// Package upstreamtest is what every protocol of broker/upstream must pass.
//
// A protocol's test gives Run a Harness: the protocol, and a way to start a provider that can be told to
// lie. The suite departs, lets the provider answer, arrives, and looks at what was believed. Flaws are
// what a provider or an attacker may put into an answer; Moods are what a provider's machine may do to
// us. Each flaw must be refused with a fault of the protocol and a Report that holds parsed fields only;
// nothing may panic, hang, or name somebody the provider did not name.
package upstreamtest

import (
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
)

// Flaw is what is wrong with an answer. Everything else about it is right.
type Flaw string

const (
	None          Flaw = ""               // nothing: the answer is right
	WrongAudience Flaw = "wrong audience" // made for another relying party
	WrongIssuer   Flaw = "wrong issuer"   // says that somebody else made it
	Old           Flaw = "old"            // was good a day ago
	NotYet        Flaw = "not yet"        // will be good in a day
	UnknownKey    Flaw = "unknown key"    // signed, by a key that is not the provider's
	Unsigned      Flaw = "unsigned"       // not signed at all (OIDC: alg none)
	Altered       Flaw = "altered"        // signed, then changed
	NoSubject     Flaw = "no subject"     // names nobody
	NULSubject    Flaw = "NUL in subject" // the subject, with a NUL and more text behind it
	Declined      Flaw = "declined"       // the provider says no, in the protocol's words
	Garbage       Flaw = "garbage"        // not of the protocol at all, where the answer should be
	Stale         Flaw = "stale"          // all is right, and the person proved themselves two hours ago
)

// refused lists the flaws that nobody may be signed in with.
var refused = []Flaw{
	WrongAudience, WrongIssuer, Old, NotYet, UnknownKey, Unsigned, Altered, NoSubject, NULSubject, Declined, Garbage,
}

// Mood is what the provider's machine does with whatever the connection fetches from it.
type Mood string

const (
	Well      Mood = "well"
	Slow      Mood = "slow"      // answers start after ten seconds
	Trickling Mood = "trickling" // answers start at once and never end
	Megabytes Mood = "megabytes" // answers are 64 MiB of text
	Dead      Mood = "dead"      // connections are closed at once
)

// Party is a provider and our connection to it.
type Party struct {
	// Connection passed Check, is active, and allows its own loopback addresses in Private.
	Connection upstream.Connection
	// Key is what an assertion about subject must be keyed by.
	Key func(subject string) directory.IdentityKey
	// Answer plays the browser at the provider: it takes a departure there, where the person is already
	// signed in as subject, and gives what the browser would bring back.
	Answer func(t *testing.T, d upstream.Departure, subject string, flaw Flaw) upstream.Arrival
	// Mood changes the provider's machine. nil when connections of this protocol fetch nothing.
	Mood func(m Mood)
}

// Harness is how the suite drives a protocol.
type Harness struct {
	Protocol upstream.Protocol
	// Start starts a provider of its own and a connection to it. It is called several times in a test;
	// providers differ in issuer and keys. It registers its own cleaning up.
	Start func(t *testing.T, w World) Party
}

// World is where a party lives.
type World struct {
	ID   directory.ConnectionID
	Base string // our own origin: upstream.ReturnURL(w.Base, w.ID) is where answers go
	Now  func() time.Time
}
