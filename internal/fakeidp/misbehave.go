package fakeidp

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Misbehavior is one way in which a provider can be wrong. Each changes exactly one thing and leaves
// the rest of the answer right, so that a test of it tests one check of ours.
type Misbehavior string

const (
	None            Misbehavior = ""
	WrongAudience   Misbehavior = "wrong-audience"
	WrongRecipient  Misbehavior = "wrong-recipient"
	Old             Misbehavior = "old"
	UnknownKey      Misbehavior = "unknown-key"
	Unsigned        Misbehavior = "unsigned"
	NoEmail         Misbehavior = "no-email"
	UnverifiedEmail Misbehavior = "unverified-email"
	ForeignEmail    Misbehavior = "foreign-email"
	FastClock       Misbehavior = "fast-clock"
	OtherTenant     Misbehavior = "other-tenant"
	OtherRequest    Misbehavior = "other-request"
	Slow            Misbehavior = "slow"
	Down            Misbehavior = "down"
	Unavailable     Misbehavior = "unavailable"
	Megabytes       Misbehavior = "megabytes"
	Garbage         Misbehavior = "garbage"
)

// How wrong the wrong ones are.
const (
	oldBy    = time.Hour
	fastBy   = 10 * time.Minute
	hugeBody = 32 << 20 // blanks before what a program reads
	hugePost = 4 << 20  // what a browser is made to carry
)

// Trick is a misbehavior in words, for the button that asks for it.
type Trick struct {
	Misbehavior Misbehavior
	Label       string
	Sentence    string
	Kinds       []Kind // of the providers whose page has the button
}

var both = []Kind{OIDC, SAML}

// tricks is the table. Slow, Down and Unavailable have no button at a SAML provider: an application
// never calls it, so the only one to notice would be the person's browser. SetMisbehavior takes them
// for both, and a SAML provider's metadata is then as slow or as gone as its pages.
var tricks = []Trick{
	{WrongAudience, "For another application", "The answer is right, but made out to an application that is not the one asking.", both},
	{WrongRecipient, "To another address", "The answer says that it is to be delivered somewhere else.", []Kind{SAML}},
	{Old, "An hour old", "The answer was good an hour ago.", both},
	{UnknownKey, "Signed with a renewed certificate", "The signature is sound, but nobody announced the key that made it.", both},
	{Unsigned, "Not signed", "Anybody could have written the answer.", both},
	{NoEmail, "Without an e-mail address", "The person is named, but has no address.", both},
	{UnverifiedEmail, "With an unverified address", "The provider has never checked that the address is theirs.", []Kind{OIDC}},
	{ForeignEmail, "With another company's address", "The provider vouches for an address that belongs to somebody else's domain.", both},
	{FastClock, "From a clock that is ten minutes fast", "The answer is not valid yet.", both},
	{OtherTenant, "From another tenant", "Another customer of the same provider answers.", both},
	{OtherRequest, "To another request", "The answer belongs to a sign-in that somebody else started.", both},
	{Slow, "After a long wait", "The provider keeps the application waiting.", []Kind{OIDC}},
	{Down, "Not at all", "The provider hangs up on the application.", []Kind{OIDC}},
	{Unavailable, "With an error page", "The provider says that it is being repaired.", []Kind{OIDC}},
	{Megabytes, "With megabytes", "The answer is far larger than any answer needs to be.", both},
	{Garbage, "With garbage", "The answer cannot be read.", both},
}

// Tricks lists what a provider of that kind can be told to do wrong.
func Tricks(kind Kind) []Trick {
	return slices.DeleteFunc(slices.Clone(tricks), func(t Trick) bool { return !slices.Contains(t.Kinds, kind) })
}

// offered says whether the page has a button for m.
func (p *Provider) offered(m Misbehavior) bool {
	return m == None || slices.ContainsFunc(Tricks(p.Kind), func(t Trick) bool { return t.Misbehavior == m })
}

// breaksTransport says whether m hurts whoever asks, a browser as much as a program.
func (m Misbehavior) breaksTransport() bool { return m == Slow || m == Down || m == Unavailable }

// chosen is the misbehavior of one answer: what the person pressed, else the person's own, else the
// provider's.
func (p *Provider) chosen(pressed Misbehavior, who Person) Misbehavior {
	for _, m := range []Misbehavior{pressed, who.Misbehavior} {
		if m != None {
			return m
		}
	}
	return p.misbehavior()
}

// troubled makes the whole provider slow or gone when it was told to be.
func (p *Provider) troubled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := p.misbehavior(); m.breaksTransport() && p.trouble(w, r, m) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// backChannel is troubled for what programs read, where megabytes and garbage hurt as well.
func (p *Provider) backChannel(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m := p.misbehavior()
		if !m.breaksTransport() && p.trouble(w, r, m) {
			return
		}
		next(padded(w, m), r)
	}
}

// trouble does what breaks a transport, and says whether it has answered.
func (p *Provider) trouble(w http.ResponseWriter, r *http.Request, m Misbehavior) bool {
	switch m {
	case Slow:
		return !p.hang(r)
	case Down:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case Unavailable:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<!doctype html><title>Down for repairs</title><h1>We will be back soon</h1>")
	case Garbage:
		w.Header().Set("Content-Type", p.contentType())
		io.WriteString(w, garbage)
	default:
		return false
	}
	return true
}

// garbage is text that is neither JSON nor XML nor UTF-8.
const garbage = "{\"\x00\xff\xfe<<<]]>&#0;{{{"

// hang waits as long as Slow does, and says whether the other side waited as well.
func (p *Provider) hang(r *http.Request) bool {
	delay := p.Delay
	if delay == 0 {
		delay = 30 * time.Second
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// padding puts in front of an answer what JSON and XML both allow there, and far too much of it.
type padding struct {
	http.ResponseWriter
	begun bool
}

func padded(w http.ResponseWriter, m Misbehavior) http.ResponseWriter {
	if m != Megabytes {
		return w
	}
	return &padding{ResponseWriter: w}
}

func (p *padding) Write(b []byte) (int, error) {
	chunk := strings.Repeat(" ", 64<<10)
	for sent := 0; !p.begun && sent < hugeBody; sent += len(chunk) {
		if _, err := io.WriteString(p.ResponseWriter, chunk); err != nil {
			return 0, err
		}
	}
	p.begun = true
	return p.ResponseWriter.Write(b)
}

// contentType is that of the documents which programs read here.
func (p *Provider) contentType() string {
	if p.Kind == SAML {
		return "application/samlmetadata+xml"
	}
	return "application/json"
}
