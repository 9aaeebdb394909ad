// Package upstream says what an organization's identity provider is to us: somebody to whom a browser
// departs and from whom it arrives with an assertion about a person.
//
// No http.Request crosses this line: an Arrival is a URL and its values, so that a protocol is tested
// with a table of strings. Each protocol has a folder below this one and one line in
// cmd/vestibule/registry.go; all of them pass upstreamtest. The package knows nothing of logins,
// people or policy: it says what was asserted, not whether that opens anything.
package upstream

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// Faults that every protocol may answer with. Protocols declare finer ones of their own, with the
// codes of the typed errors people meet in the set-up wizard ("saml.bad_audience", "oidc.issuer").
var (
	ErrConnectionNotFound = fault.New(fault.NotFound, "upstream.connection_not_found", "There is no such connection.")
	ErrDisabled           = fault.New(fault.Denied, "upstream.disabled", "This connection is switched off.")
	ErrConfig             = fault.New(fault.Invalid, "upstream.config", "The connection's settings are incomplete or wrong.")
	ErrUnreachable        = fault.New(fault.Upstream, "upstream.unreachable", "The organization's sign-in service is not answering.")
	ErrBusy               = fault.New(fault.Upstream, "upstream.busy", "The organization's sign-in service is answering too slowly.")
	ErrRejected           = fault.New(fault.Upstream, "upstream.rejected", "The answer of the organization's sign-in service could not be accepted.")
	ErrReplay             = fault.New(fault.Upstream, "upstream.replay", "This sign-in answer was used before.")
	ErrMalformed          = fault.New(fault.Invalid, "upstream.malformed", "The answer of the organization's sign-in service could not be read.")
	ErrNoSignOut          = fault.New(fault.Invalid, "upstream.no_sign_out", "Connections of this kind cannot end the session at the provider: choose local.")
	ErrDeclined           = fault.New(fault.Denied, "upstream.declined", "The organization's sign-in service did not sign you in.")
	ErrImmutable          = fault.New(fault.Conflict, "upstream.immutable", "People already sign in through this connection, so whom it trusts cannot change. Make another connection.")
)

// Type is a protocol: "oidc", "saml". Stored, never renamed.
type Type string

// Status of a connection. Only Active ones sign people in.
type Status string

const (
	Draft    Status = "draft"
	Active   Status = "active"
	Disabled Status = "disabled"
)

// JIT says what happens when somebody arrives who has no account (capabilities.md row 51).
type JIT string

const (
	JITCreate JIT = "create" // the account is made; the zero value "" means JITOff
	JITOff    JIT = "off"    // refused: an administrator adds people
)

// LogoutChoice is what logging out here does to the session at the provider. Whatever it is, the session
// here ends first, and the person is told where they are signed in still.
type LogoutChoice string

const (
	LogoutLocal    LogoutChoice = "local"    // it stays
	LogoutAsk      LogoutChoice = "ask"      // the person may end it too
	LogoutUpstream LogoutChoice = "upstream" // the browser is sent to end it
)

// Connection is one organization's agreement with one identity provider.
type Connection struct {
	ID     directory.ConnectionID
	Org    directory.OrgID
	Realm  directory.RealmID
	Type   Type
	Name   string // what people know it as: "Okta"
	Status Status
	// Issuer is the OIDC issuer or the SAML entityID, compared byte by byte, immutable once somebody
	// has signed in (S4). For Entra ID it is the single tenant's issuer.
	Issuer string
	// Config is the protocol's own settings, JSON of its Config type. No secrets.
	Config json.RawMessage
	// Secret is the protocol's own secrets, JSON of its Secret type; sealed at rest by the store.
	Secret json.RawMessage
	// Offered lets descendants of Org use it too.
	Offered bool
	JIT     JIT
	// Authoritative: addresses in this provider's assertions are vouched for although it sends no
	// email_verified. Only for domains verified by Org.
	Authoritative bool
	// Guests lets the provider assert people whose address is missing or outside the organization's
	// verified domains; their address is a contact and identifies nobody (S8).
	Guests bool
	// Private lists host:port targets that the operator allows although they are loopback or private
	// (S23). Empty for tenants.
	Private []string
	// Logout is what logging out here does to the person's session at the provider; "" is LogoutLocal.
	Logout LogoutChoice
	// Skew is how far the provider's clock may be off; zero means the protocol's default.
	Skew time.Duration
	// MFA are the values of amr (RFC 8176) or acr, or of an AuthnContextClassRef, by which the provider says
	// that it asked the person for a second step; empty: nothing it says means that. Where a policy lets the
	// provider's second steps count, these do.
	MFA []string
	// ProofsAfter is when the connection was last switched off; zero: never. What it proved until then counts
	// for nothing any more, also when it is switched on again.
	ProofsAfter time.Time
	Version     int64
}

// Attempt is one departure and what must be remembered to judge the arrival. It is kept in the login.
type Attempt struct {
	// ID comes back as OIDC state or SAML RelayState: 65 characters of [A-Za-z0-9_-], unguessable,
	// known to nobody but the login and the provider.
	ID string
	// Nonce is 43 unguessable characters: the OIDC nonce; SAML request IDs are "_" + Nonce.
	Nonce string
	// Verifier is the PKCE code verifier (RFC 7636), 43 characters.
	Verifier string
	// At is when the browser was sent away; Until is when the login ends.
	At, Until time.Time
	// LoginHint is the address the person typed, or ""; a hint and no more.
	LoginHint string
	// Force asks the provider to ask the person again (prompt=login, ForceAuthn).
	Force bool
	// MaxAge is the oldest authentication that will do; nil when the app did not ask.
	MaxAge *time.Duration
	// Demands are the policy of the organization that the login is for, as it is now: whoever departs or
	// arrives sets them anew.
	Demands Demands `json:"-"`
}

// Demands are what the policy of a login's organization, which may be a descendant of the connection's, asks
// of providers beyond what the connection's settings say. The zero Demands asks for nothing.
type Demands struct {
	// Algorithms narrows Env's; nil leaves them.
	Algorithms []string
	// Encrypted refuses SAML assertions in the clear; SignedRequests signs SAML requests.
	Encrypted, SignedRequests bool
}

// Allows narrows algorithms to those that the demands allow too.
func (d Demands) Allows(algorithms []string) []string {
	if d.Algorithms == nil {
		return algorithms
	}
	return slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(d.Algorithms, a) })
}

// Departure is where the browser goes.
type Departure struct {
	URL  string     // absolute
	Form url.Values // nil: GET URL. Else POST these fields to URL (SAML HTTP-POST binding).
}

// Arrival is what a browser brought to the connection's return URL.
type Arrival struct {
	Method string // GET or POST
	Values url.Values
}

// Assertion is what the provider said, checked. It names nobody of ours yet.
type Assertion struct {
	Key directory.IdentityKey
	// Email as sent; "" when none. EmailVouched: the provider itself says it is verified (OIDC
	// email_verified), or the connection is Authoritative. Whether that counts is not decided here.
	Email        string
	EmailVouched bool
	Name         string
	Given        string
	Family       string
	Locale       string
	Groups       []string
	// AuthTime is when the person proved themselves to the provider; never zero.
	AuthTime time.Time
	// AMR (RFC 8176) and ACR (or AuthnContextClassRef) as sent.
	AMR []string
	ACR string
	// SID is the OIDC sid or SAML SessionIndex, for logout.
	SID string
	// Until bounds our session where the provider said so (SessionNotOnOrAfter); zero: no bound.
	Until time.Time
	// Claims are the claims or attributes as sent, for showing their source; at most 64 names, values
	// cut to 1 KiB. Protocol artefacts (tokens, signatures) are never among them.
	Claims map[string][]string
}

// Report is the doctor's check list of one arrival, filled as far as the checks went, on failure too.
type Report []audit.Check

// Upstream is an opened connection. It is used by many logins at once.
type Upstream interface {
	// Depart says where to send the browser. It may fetch metadata, within ctx.
	Depart(ctx context.Context, a Attempt) (Departure, error)
	// Arrive checks what came back against the attempt. The error is a fault; the Report says got and
	// expected in parsed fields only, never raw text (S23).
	Arrive(ctx context.Context, a Attempt, in Arrival) (Assertion, Report, error)
}

type (
	// Prober tests a connection without a person: is the provider there, does it say what we expect.
	Prober interface {
		Probe(ctx context.Context) (Report, error)
	}
	// Describer has a document about us for the provider (SAML SP metadata).
	Describer interface {
		Describe() (contentType string, doc []byte, err error)
	}
	// SignOuter sends a browser to end the person's session at the provider.
	SignOuter interface {
		SignOut(ctx context.Context, s SignOut) (Departure, error)
	}
	// Checker validates and normalises settings before they are stored: URLs are parsed and
	// re-serialised (S36), certificates read, an issuer fixed.
	Checker func(c Connection) (Connection, error)
)

// SignOut is one browser's way to the provider's logout.
type SignOut struct {
	// Hint is the address that the person is known by here: a hint, and no more.
	Hint string
	// Return is where the provider sends the browser afterwards, SignedOutURL, and State comes back with it.
	Return, State string
}

// Env is what an opened connection may use of the world.
type Env struct {
	// Client is the guarded client for this connection: its dialer allows the connection's Private
	// targets and nothing else that is not public.
	Client *http.Client
	Now    func() time.Time
	// Base is the issuer's origin, no trailing slash; return URLs and SP entityIDs are below it.
	Base string
	// Spend marks something as used, durably, until a time; upstream.ErrReplay when it was already.
	Spend func(ctx context.Context, c Connection, kind, key string, until time.Time) error
	// Algorithms says which JWS algorithms ("ES256", "RS256", …) the organization's policy accepts;
	// SAML signatures are judged by the same names (RSA-SHA256 is RS256, ECDSA-SHA256 is ES256).
	Algorithms func(ctx context.Context, c Connection) []string
	// Distrusts says of a key, by its id or by its certificate in DER, that nothing it signs is believed: one
	// of a made-up provider (S54). nil distrusts none.
	Distrusts func(kid string, cert []byte) bool
}

// Distrusted says whether a key is one that Distrusts names.
func (e Env) Distrusted(kid string, cert []byte) bool {
	return e.Distrusts != nil && e.Distrusts(kid, cert)
}

// Protocol is one line of the registry.
type Protocol struct {
	Open  func(c Connection, env Env) (Upstream, error) // no I/O; settings were checked when stored
	Check Checker
	// Pins tells in one text what besides Issuer decides who a person is: the claim or attribute that
	// is the subject, the tenant. It cannot change once a connection has been switched on (S4). Two
	// settings with equal pins name people alike. nil: Issuer decides alone.
	Pins func(c Connection) string
	// Config and Secret are zero values of the structs whose JSON a connection's Config and Secret are; a
	// form or a file is made from their fields.
	Config, Secret any
	// Keys makes the keys of our own that a new connection has, as its Secret; nil where it has none.
	Keys func(rand io.Reader, now time.Time, name string) (json.RawMessage, error)
	// Import writes what a provider's document (SAML metadata) says of it over a connection; nil where
	// there is no such document.
	Import func(doc []byte, c Connection, now time.Time) (Connection, error)
	// Follow makes a connection one whose document is looked for at an address from now on; before says
	// that it was already. nil where Import is.
	Follow func(c Connection, address string) (follows Connection, before bool, err error)
	// SignsOut says that its upstreams are SignOuters.
	SignsOut bool
}

// Protocols is the registry: cmd/vestibule/registry.go fills it.
type Protocols map[Type]Protocol

// ReturnURL is where a provider sends the browser back to: one per connection, so that answers of one
// provider can never be taken for another's (RFC 9700 section 4.4).
func ReturnURL(base string, c directory.ConnectionID) string { return base + "/arrive/" + string(c) }

// MetadataURL is where a connection's SP metadata is served; it is the SP entityID as well.
func MetadataURL(base string, c directory.ConnectionID) string {
	return base + "/connection/" + string(c) + "/metadata"
}

// SignedOutURL is where providers send a browser back to after a logout. It is registered there.
func SignedOutURL(base string) string { return base + "/logout/returned" }

// Connections is what this room needs kept.
type Connections interface {
	// ConnectionByID is for arrivals, which know nothing but the id in their path.
	ConnectionByID(ctx context.Context, id directory.ConnectionID) (Connection, error)
	// ConnectionsFor lists what org may use: its own and those its ancestors offer, own first, by id.
	ConnectionsFor(ctx context.Context, org directory.OrgID) ([]Connection, error)
	CreateConnection(ctx context.Context, org directory.OrgID, c Connection) error
	// UpdateConnection is compare-and-swap on Version. ErrImmutable when it would change Issuer or
	// Type of a connection that has identities (S4).
	UpdateConnection(ctx context.Context, org directory.OrgID, id directory.ConnectionID, change func(*Connection) error) error
}

// Spent is the durable memory of things that may be used once (S16).
type Spent interface {
	// Spend joins no transaction: it is committed when it returns nil. ErrReplay when key was spent.
	Spend(ctx context.Context, org directory.OrgID, kind, key string, until time.Time) error
}
