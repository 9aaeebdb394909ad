package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// ClientMethod is how an app authenticates at the token endpoint (RFC 6749 section 2.3, OpenID Connect
// Core section 9). The registered one is enforced, at every endpoint that authenticates clients.
type ClientMethod string

const (
	SecretBasic ClientMethod = "client_secret_basic"
	SecretPost  ClientMethod = "client_secret_post"
	PrivateKey  ClientMethod = "private_key_jwt" // RFC 7523, with the keys of JWKS or JWKSURI
	NoSecret    ClientMethod = "none"            // public clients
)

// Grant is a grant type (RFC 6749 section 1.3, RFC 8628, RFC 8693).
type Grant string

const (
	GrantCode     Grant = "authorization_code"
	GrantRefresh  Grant = "refresh_token"
	GrantClient   Grant = "client_credentials"
	GrantDevice   Grant = "urn:ietf:params:oauth:grant-type:device_code"
	GrantExchange Grant = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// OrgMode says whether an app's requests name an organization.
type OrgMode string

const (
	OrgOptional OrgMode = ""         // it may; else the person is routed
	OrgRequired OrgMode = "required" // it must
	OrgNone     OrgMode = "none"     // it must not; the person is always routed
)

// App is a relying party: an OpenID Connect client of the platform.
type App struct {
	ID       directory.AppID
	Realm    directory.RealmID // where an address typed without an organization is looked up
	ClientID string            // never given out again (S40)
	Name     string
	Status   directory.Status
	Settings
	// Secrets are what the app may present; several while one replaces another.
	Secrets []Secret
	Version int64
}

// Settings are what an app asked for, or was given by the operator. The zero value of each is the strict
// or the usual choice. Their JSON is stored: names stay.
type Settings struct {
	Method ClientMethod `json:"method"`
	// Native apps may use any port of a registered loopback redirect URI (RFC 8252 section 7.3) and
	// private-use schemes.
	Native bool `json:"native,omitempty"`
	// RedirectURIs and PostLogoutURIs are compared as strings.
	RedirectURIs   []string `json:"redirect_uris"`
	PostLogoutURIs []string `json:"post_logout_uris,omitempty"`
	// Home is where a person starts again when a login cannot go on; "" when the app has no such page.
	Home string `json:"home,omitempty"`
	// Grants are the grant types that the app may use; empty is authorization_code alone.
	Grants []Grant `json:"grants,omitempty"`
	// IDTokenAlg signs this app's id tokens and logout tokens: ES256, RS256 or EdDSA.
	IDTokenAlg string `json:"id_token_alg"`
	// PKCEExempt lets a confidential client leave PKCE out.
	PKCEExempt bool `json:"pkce_exempt,omitempty"`
	// AnyEmail releases addresses that are not verified, marked so; else they are withheld (S9).
	AnyEmail bool `json:"any_email,omitempty"`

	// JWKS holds the app's public keys (RFC 7517), or JWKSURI says where they are fetched: they check its
	// client assertions and request objects.
	JWKS    json.RawMessage `json:"jwks,omitempty"`
	JWKSURI string          `json:"jwks_uri,omitempty"`
	// Private are host:port targets, not public or not https on 443, that the operator opened for calls
	// to this app alone: its keys, its back-channel logout (S23).
	Private []string `json:"private,omitempty"`
	// PAR demands that requests are pushed (RFC 9126 section 6); RequestObject that they are signed (RFC
	// 9101 section 10.5); DPoP that access tokens are bound to a key of the app's (RFC 9449).
	PAR           bool `json:"par,omitempty"`
	RequestObject bool `json:"request_object,omitempty"`
	DPoP          bool `json:"dpop,omitempty"`
	// FAPI holds the app to the FAPI 2.0 Security Profile (S48): private_key_jwt, pushed requests, DPoP,
	// PS256, ES256 or EdDSA only, refresh tokens that stay.
	FAPI bool `json:"fapi,omitempty"`
	// KeepRefresh leaves refresh tokens as they are at each use. Only for confidential apps with
	// sender-constrained tokens (S48); else they rotate.
	KeepRefresh bool `json:"keep_refresh,omitempty"`
	// Opaque gives the app access tokens that mean nothing without introspection; else they are RFC 9068
	// JWTs.
	Opaque bool `json:"opaque,omitempty"`
	// Audiences are the resources that the app may ask access tokens for (RFC 8707); Scopes are the scopes
	// that it may ask for besides those of OpenID Connect, which mean something to those resources.
	Audiences []string `json:"audiences,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`

	// OrgMode says whether requests name an organization. Org pins one; Connections, when it names any,
	// are the only ones whose proof this app accepts; MinACR is the least authentication context it accepts.
	OrgMode     OrgMode                  `json:"organization_mode,omitempty"`
	Org         directory.OrgID          `json:"organization,omitempty"`
	Connections []directory.ConnectionID `json:"connections,omitempty"`
	MinACR      string                   `json:"min_acr,omitempty"`
	// Unshared: a sign-in to another app is none to this one.
	Unshared bool `json:"unshared,omitempty"`
	// ThirdParty apps ask the person's consent before they learn anything.
	ThirdParty bool `json:"third_party,omitempty"`
	// Pairwise gives the app subjects of its own (OpenID Connect Core section 8.1), the same for all apps
	// of one Sector, a host name; "" is the one host of the redirect URIs, and shared with no other app where
	// that is a loopback address.
	Pairwise bool   `json:"pairwise,omitempty"`
	Sector   string `json:"sector,omitempty"`
	// Claims are the only personal claims that the app may learn; empty is all that its scopes bring.
	Claims []string `json:"claims,omitempty"`
	// Memberships lets the app ask for the scope organizations (S38).
	Memberships bool `json:"memberships,omitempty"`
	// MaxAge is how old a sign-in may be when a request says nothing; zero: as old as policy allows
	// (OpenID Connect Registration default_max_age).
	MaxAge time.Duration `json:"max_age,omitempty"`

	// BackChannelLogoutURI is told when a session that the app was signed in to ends (OpenID Connect
	// Back-Channel Logout section 2.2); "" is nobody.
	BackChannelLogoutURI string `json:"backchannel_logout_uri,omitempty"`
	// InitiateLogin is where a login that somebody else begins is sent (OpenID Connect Core section 4).
	InitiateLogin string   `json:"initiate_login_uri,omitempty"`
	LogoURI       string   `json:"logo_uri,omitempty"`
	PolicyURI     string   `json:"policy_uri,omitempty"`
	TermsURI      string   `json:"tos_uri,omitempty"`
	Contacts      []string `json:"contacts,omitempty"`

	// Registration is set for apps that registered themselves (RFC 7591): the SHA-256 of what they show to
	// read and change their registration (RFC 7592).
	Registration []byte `json:"registration,omitempty"`
	// Asked are those of its settings, by the names under which they are stored, that such an app asked to be
	// held to, and so may take back. What is not here was set by an operator and stays.
	Asked []string `json:"asked,omitempty"`
}

// may says whether the app may use a grant type.
func (s Settings) may(g Grant) bool {
	if len(s.Grants) == 0 {
		return g == GrantCode
	}
	return slices.Contains(s.Grants, g)
}

// pushes says whether the app's requests must be pushed, binds whether its tokens must be bound to a key.
func (s Settings) pushes() bool { return s.PAR || s.FAPI }
func (s Settings) binds() bool  { return s.DPoP || s.FAPI }

// confidential apps can keep a secret or a key.
func (s Settings) confidential() bool { return s.Method != NoSecret }

// Secret is a client secret of 256 random bits, kept as SHA-256.
type Secret struct {
	Hash      [sha256.Size]byte
	CreatedAt time.Time
	Until     time.Time // zero: no end
}

// Apps keeps apps. An app belongs to the platform, not to an organization, so it is found by id.
type Apps interface {
	AppByID(ctx context.Context, id directory.AppID) (App, error)
	// AppByClientID: ErrAppNotFound when there is none.
	AppByClientID(ctx context.Context, clientID string) (App, error)
	// CreateApp: ErrClientIDTaken when the client id is or was in use.
	CreateApp(ctx context.Context, a App) error
	UpdateApp(ctx context.Context, id directory.AppID, change func(*App) error) error
}

var (
	ErrAppSettings = fault.New(fault.Invalid, "broker.app_settings", "The app's settings are incomplete or wrong.")
	hostName       = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	privateScheme  = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$`)
)

// Signing algorithms that an app may ask for its id tokens.
var signingAlgs = []string{"ES256", "RS256", "EdDSA"}

// checked gives the app with its defaults filled in, or says what is wrong with it.
func (a App) checked() (App, error) {
	if a.IDTokenAlg == "" {
		a.IDTokenAlg = "ES256"
	}
	switch {
	case a.ClientID == "" || len(a.ClientID) > 128 || strings.ContainsFunc(a.ClientID, notVisible):
		return a, ErrAppSettings.Because("client id: 1 to 128 visible ASCII characters")
	case a.Name == "":
		return a, ErrAppSettings.Because("a name")
	case !slices.Contains(signingAlgs, a.IDTokenAlg):
		return a, ErrAppSettings.Because("id token algorithm " + a.IDTokenAlg)
	case a.Method != SecretBasic && a.Method != SecretPost && a.Method != PrivateKey && a.Method != NoSecret:
		return a, ErrAppSettings.Because("client authentication " + string(a.Method))
	case (a.Method == NoSecret || a.Method == PrivateKey) != (len(a.Secrets) == 0):
		return a, ErrAppSettings.Because("apps that authenticate by a secret have one, others have none")
	case a.MinACR != "" && !slices.Contains(acrs, a.MinACR):
		return a, ErrAppSettings.Because("authentication context " + a.MinACR)
	case a.PKCEExempt && a.Method == NoSecret:
		return a, ErrAppSettings.Because("only a confidential client may leave PKCE out")
	case a.may(GrantCode) && len(a.RedirectURIs) == 0:
		return a, ErrAppSettings.Because("at least one redirect URI")
	case (a.Method == PrivateKey || a.RequestObject) && len(a.JWKS) == 0 && a.JWKSURI == "":
		return a, ErrAppSettings.Because("private_key_jwt and signed requests need jwks or jwks_uri")
	}
	if err := a.checkKeys(); err != nil {
		return a, err
	}
	if err := a.checkFAPI(); err != nil {
		return a, err
	}
	own := false
	if a.Pairwise && a.Sector == "" {
		a.Sector, own = a.sector() // kept, so that a change of addresses makes nobody a stranger
	}
	if a.Pairwise && !own && !hostName.MatchString(a.Sector) {
		return a, ErrAppSettings.Because("pairwise subjects need a sector, a host name in lower case, or redirect URIs on one host")
	}
	if err := a.checkTargets(); err != nil {
		return a, err
	}
	for _, u := range append(slices.Clone(a.RedirectURIs), a.PostLogoutURIs...) {
		if err := a.checkURI(u); err != nil {
			return a, err
		}
	}
	if a.Home != "" {
		if err := (App{}).checkURI(a.Home); err != nil {
			return a, err
		}
	}
	if a.BackChannelLogoutURI != "" {
		if err := a.checkCalled(a.BackChannelLogoutURI); err != nil {
			return a, err
		}
	}
	return a, nil
}

func notVisible(r rune) bool { return r <= ' ' || r > '~' }

// checkURI refuses what a browser must not be sent to. Private-use schemes (RFC 8252 section 7.1) are
// for native apps alone (S36); plain http is for this machine.
func (a App) checkURI(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Fragment != "" || strings.Contains(raw, "#") || u.User != nil || strings.ContainsFunc(raw, notVisible) {
		return ErrAppSettings.Because("not an absolute address without user and fragment: " + raw)
	}
	switch {
	case u.Scheme == "https" && u.Host != "":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case a.Native && privateScheme.MatchString(u.Scheme):
		return nil
	}
	return ErrAppSettings.Because("https, or http on this machine: " + raw)
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// allows says whether a redirect URI is registered: the same string, or, for a native app, the same string
// but for the port of a loopback address (RFC 8252 section 7.3).
func (a App) allows(redirect string) bool {
	if slices.Contains(a.RedirectURIs, redirect) {
		return true
	}
	if !a.Native {
		return false
	}
	asked, err := url.Parse(redirect)
	if err != nil || asked.Scheme != "http" || asked.User != nil || asked.Port() == "" ||
		asked.Hostname() != "127.0.0.1" && asked.Hostname() != "::1" {
		return false
	}
	for _, r := range a.RedirectURIs {
		have, err := url.Parse(r)
		if err != nil || have.Scheme != "http" || have.Hostname() != asked.Hostname() {
			continue
		}
		if redirect == "http://"+asked.Host+strings.TrimPrefix(r, "http://"+have.Host) {
			return true
		}
	}
	return false
}

// presents says whether secret is one of the app's.
func (a App) presents(secret string, now time.Time) bool {
	h := hashOf(secret)
	ok := 0
	for _, s := range a.Secrets {
		if s.Until.IsZero() || now.Before(s.Until) {
			ok |= subtle.ConstantTimeCompare(h[:], s.Hash[:])
		}
	}
	return ok == 1
}

// facts is what a login says about the app. To one that is switched off no page of ours leads.
func (a App) facts() flows.AppFacts {
	f := flows.AppFacts{ID: a.ID, Name: a.Name, Home: a.Home, Connections: a.Connections}
	if a.Status != directory.Active {
		f.Home = ""
	}
	return f
}

// NewClientSecret makes a secret of 256 random bits and what is kept of it.
func NewClientSecret(now time.Time) (string, Secret) {
	s := directory.NewSecret()
	return s, Secret{Hash: hashOf(s), CreatedAt: now}
}
