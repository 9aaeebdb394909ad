package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/vestibule-id/vestibule/directory"
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
