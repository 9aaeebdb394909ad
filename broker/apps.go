package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
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
// Core section 9). The registered one is enforced.
type ClientMethod string

const (
	SecretBasic ClientMethod = "client_secret_basic"
	SecretPost  ClientMethod = "client_secret_post"
	NoSecret    ClientMethod = "none" // public clients
)

// App is a relying party: an OpenID Connect client of the platform.
type App struct {
	ID       directory.AppID
	Realm    directory.RealmID // where an address typed without an organization is looked up
	ClientID string            // never given out again (S40)
	Name     string
	Status   directory.Status
	Method   ClientMethod
	// Native apps may use any port of a registered loopback redirect URI (RFC 8252 section 7.3) and
	// private-use schemes.
	Native bool
	// RedirectURIs and PostLogoutURIs are compared as strings.
	RedirectURIs   []string
	PostLogoutURIs []string
	// Home is where a person starts again when a login cannot go on; "" when the app has no such page.
	Home string
	// IDTokenAlg signs this app's id tokens: ES256, RS256 or EdDSA.
	IDTokenAlg string
	// PKCEExempt lets a confidential client leave PKCE out.
	PKCEExempt bool
	// AnyEmail releases addresses that are not verified, marked so; else they are withheld (S9).
	AnyEmail bool
	// Secrets are what the app may present; several while one replaces another.
	Secrets []Secret
	Version int64
}

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
	case a.Method != SecretBasic && a.Method != SecretPost && a.Method != NoSecret:
		return a, ErrAppSettings.Because("client authentication " + string(a.Method))
	case (a.Method == NoSecret) != (len(a.Secrets) == 0):
		return a, ErrAppSettings.Because("a public client has no secret, every other has one")
	case a.PKCEExempt && a.Method == NoSecret:
		return a, ErrAppSettings.Because("only a confidential client may leave PKCE out")
	case len(a.RedirectURIs) == 0:
		return a, ErrAppSettings.Because("at least one redirect URI")
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

// facts is what a login says about the app.
func (a App) facts() flows.AppFacts { return flows.AppFacts{ID: a.ID, Name: a.Name, Home: a.Home} }

// NewClientSecret makes a secret of 256 random bits and what is kept of it.
func NewClientSecret(now time.Time) (string, Secret) {
	s := directory.NewSecret()
	return s, Secret{Hash: hashOf(s), CreatedAt: now}
}
