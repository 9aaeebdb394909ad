package broker

// This file lets apps register themselves (RFC 7591, OpenID Connect Registration) and read, change and end
// their registration (RFC 7592).

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
)

// RegistrationToken is an initial access token (RFC 7591 section 3): whoever has it may register apps.
type RegistrationToken struct {
	Hash  [sha256.Size]byte // SHA-256 of the token
	Realm directory.RealmID // of the apps that are registered by it
	Name  string            // for people: who has it
	Orgs  []directory.OrgID // may use what is registered, from the start; else nobody may until an operator says so
	// FirstParty apps ask nobody's consent; without it what is registered is a third party's.
	FirstParty bool
	CreatedAt  time.Time
	Expires    time.Time
	Uses       int // how many apps may be registered still
}

// RegistrationTokens keeps initial access tokens. They are the platform's, and found by their hash.
type RegistrationTokens interface {
	CreateRegistrationToken(ctx context.Context, t RegistrationToken) error
	// RegistrationToken: ErrRegistrationToken when it is unknown, over or used up.
	RegistrationToken(ctx context.Context, hash [sha256.Size]byte, now time.Time) (RegistrationToken, error)
	// UseRegistrationToken takes one use away, or ErrRegistrationToken.
	UseRegistrationToken(ctx context.Context, hash [sha256.Size]byte, now time.Time) error
	// RegistrationTokenList lists those that are kept, used up and over or not, by when they were made.
	RegistrationTokenList(ctx context.Context) ([]RegistrationToken, error)
	// RemoveRegistrationToken: ErrRegistrationToken when there is none.
	RemoveRegistrationToken(ctx context.Context, hash [sha256.Size]byte) error
}

// Handle is what people call a token by: the beginning of its hash, which opens nothing.
func (t RegistrationToken) Handle() string { return hex.EncodeToString(t.Hash[:6]) }

var (
	ErrRegistrationToken         = fault.New(fault.Unauthenticated, "broker.registration_token", "This registration token is unknown, over or used up.")
	ErrNoRegistrationToken       = fault.New(fault.NotFound, "broker.registration_token_unknown", "There is no such registration token.")
	ErrManyRegistrationTokens    = fault.New(fault.Conflict, "broker.registration_token_ambiguous", "Several registration tokens have that name: call the one by its id.")
	ErrRegistrationTokenSettings = fault.New(fault.Invalid, "broker.registration_token_settings", "The registration token's settings are incomplete or wrong.")
)

const (
	registrationPrefix = "vrg_" // of initial access tokens and registration access tokens, for secret scanners
	maxTokenLife       = 366 * 24 * time.Hour
	maxTokenUses       = 10000
	maxMetadata        = 64 << 10
)

// AddRegistrationToken makes an initial access token and gives it, once. Hash, CreatedAt are filled in.
func (b *Broker) AddRegistrationToken(ctx context.Context, a directory.Actor, t RegistrationToken) (string, error) {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return "", err
	}
	now := b.Now()
	switch {
	case strings.TrimSpace(t.Name) == "" || len(t.Name) > 100:
		return "", ErrRegistrationTokenSettings.Because("a name of at most 100 characters")
	case !t.Expires.After(now) || t.Expires.After(now.Add(maxTokenLife)):
		return "", ErrRegistrationTokenSettings.Because("an end in the coming year")
	case t.Uses < 1 || t.Uses > maxTokenUses:
		return "", ErrRegistrationTokenSettings.Because("1 to 10000 uses")
	}
	for _, org := range t.Orgs {
		chain, err := b.Directory.OrgChain(ctx, org)
		if err != nil {
			return "", err
		}
		if chain.Org().Realm != t.Realm {
			return "", ErrRegistrationTokenSettings.Because("an organization of another realm")
		}
	}
	token := registrationPrefix + directory.NewSecret()
	t.Hash, t.CreatedAt = hashOf(token), now
	err := b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Registrations.CreateRegistrationToken(ctx, t); err != nil {
			return err
		}
		return b.recordApp(ctx, a.Ref(), audit.AppTokenCreated, audit.Ref{Kind: "registration_token", ID: t.Name}, nil)
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// RegistrationTokensMade lists the initial access tokens that are kept.
func (b *Broker) RegistrationTokensMade(ctx context.Context, a directory.Actor) ([]RegistrationToken, error) {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return nil, err
	}
	return b.Registrations.RegistrationTokenList(ctx)
}

// RevokeRegistrationToken ends a token, called by its handle or, where it is the only one of that name, by its
// name. What was registered by it stays.
func (b *Broker) RevokeRegistrationToken(ctx context.Context, a directory.Actor, called string) error {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return err
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		list, err := b.Registrations.RegistrationTokenList(ctx)
		if err != nil {
			return err
		}
		t, err := calledSo(list, called)
		if err != nil {
			return err
		}
		if err := b.Registrations.RemoveRegistrationToken(ctx, t.Hash); err != nil {
			return err
		}
		return b.recordApp(ctx, a.Ref(), audit.AppTokenRevoked, audit.Ref{Kind: "registration_token", ID: t.Name}, nil)
	})
}

func calledSo(list []RegistrationToken, called string) (RegistrationToken, error) {
	var named []RegistrationToken
	for _, t := range list {
		if t.Handle() == called {
			return t, nil
		}
		if t.Name == called {
			named = append(named, t)
		}
	}
	switch len(named) {
	case 0:
		return RegistrationToken{}, ErrNoRegistrationToken
	case 1:
		return named[0], nil
	}
	return RegistrationToken{}, ErrManyRegistrationTokens
}

func (b *Broker) recordApp(ctx context.Context, actor audit.Ref, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := b.Now()
	return b.Audit.Record(ctx, audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Actor: actor, Action: act, Target: target, Detail: detail,
	})
}

// errRegistrationAccess: an unknown client, a wrong token, a client that is gone: all the same (RFC 7592
// section 2).
var errRegistrationAccess = &oauthError{"invalid_token", "the token is unknown, over or used up", http.StatusUnauthorized}

// register is the client registration endpoint (RFC 7591 section 3.1).
func (b *Broker) register(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	shown, err := registrationBearer(r)
	if err != nil {
		return err
	}
	token, err := b.Registrations.RegistrationToken(ctx, hashOf(shown), b.Now())
	if errors.Is(err, ErrRegistrationToken) {
		return errRegistrationAccess
	}
	if err != nil {
		return b.asRefusal(ctx, err)
	}
	m, err := readMetadata(r)
	if err != nil {
		return err
	}
	app, secret, access, err := b.registered(ctx, token, m)
	if err != nil {
		return b.asRegistration(ctx, err)
	}
	writeJSON(w, http.StatusCreated, b.describe(app, secret, access))
	return nil
}

// registered makes the app that metadata describes: it, its secret and its registration access token.
func (b *Broker) registered(ctx context.Context, token RegistrationToken, m clientMetadata) (App, string, string, error) {
	now := b.Now()
	access := registrationPrefix + directory.NewSecret()
	kept := hashOf(access)
	app := App{
		ID: directory.NewAppID(now), Realm: token.Realm, ClientID: directory.NewSecret()[:22], Status: directory.Active,
		Settings: Settings{ThirdParty: !token.FirstParty, Registration: kept[:]},
	}
	app, secret, err := b.withMetadata(ctx, app, m, now)
	if err != nil {
		return App{}, "", "", err
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Registrations.UseRegistrationToken(ctx, token.Hash, now); err != nil {
			return err
		}
		if err := b.Apps.CreateApp(ctx, app); err != nil {
			return err
		}
		for _, org := range token.Orgs {
			// The operator who made the token said so then.
			by := directory.Actor{Kind: directory.Operator, ID: "registration token " + token.Name}
			if err := b.Directory.Entitle(ctx, by, directory.Entitlement{Org: org, App: app.ID}); err != nil {
				return err
			}
		}
		return b.recordApp(ctx, audit.Ref{Kind: "registration_token", ID: token.Name}, audit.AppRegistered, appRef(app), nil)
	})
	return app, secret, access, err
}

func appRef(app App) audit.Ref { return audit.Ref{Kind: "app", ID: string(app.ID)} }

// withMetadata gives an app the settings that metadata ask for, and a new secret where it needs one and has
// none. What metadata cannot say, the operator's settings, stays.
func (b *Broker) withMetadata(ctx context.Context, app App, m clientMetadata, now time.Time) (App, string, error) {
	before := app
	app, err := m.apply(app)
	if err != nil {
		return app, "", err
	}
	if err := b.applySector(ctx, &app, before, m); err != nil {
		return app, "", err
	}
	secret := ""
	switch needs := app.Method == SecretBasic || app.Method == SecretPost; {
	case !needs:
		app.Secrets = nil
	case len(app.Secrets) == 0:
		var kept Secret
		secret, kept = NewClientSecret(now)
		app.Secrets = []Secret{kept}
	}
	app, err = app.checked()
	if err != nil {
		return app, "", metadataError(err)
	}
	return app, secret, nil
}

// registrant finds the app whose registration access token a request shows.
func (b *Broker) registrant(r *http.Request) (App, string, error) {
	shown, err := registrationBearer(r)
	if err != nil {
		return App{}, "", err
	}
	app, err := b.Apps.AppByClientID(r.Context(), r.PathValue("client"))
	if err != nil && !errors.Is(err, ErrAppNotFound) {
		return App{}, "", b.asRefusal(r.Context(), err)
	}
	kept := hashOf(shown)
	if err != nil || subtle.ConstantTimeCompare(kept[:], app.Registration) != 1 || app.Status != directory.Active {
		return App{}, "", errRegistrationAccess
	}
	return app, shown, nil
}

// readRegistration tells an app its registration (RFC 7592 section 2.1). Of its secret only the hash is kept.
func (b *Broker) readRegistration(w http.ResponseWriter, r *http.Request) error {
	app, access, err := b.registrant(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, b.describe(app, "", access))
	return nil
}

// changeRegistration replaces an app's metadata (RFC 7592 section 2.2): what is left out is taken back.
func (b *Broker) changeRegistration(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	app, access, err := b.registrant(r)
	if err != nil {
		return err
	}
	m, err := readMetadata(r)
	if err != nil {
		return err
	}
	if err := m.checkUpdate(app, b.Now()); err != nil {
		return err
	}
	next, secret, err := b.withMetadata(ctx, app, m, b.Now())
	if err != nil {
		return b.asRegistration(ctx, err)
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		err := b.Apps.UpdateApp(ctx, app.ID, func(a *App) error {
			if a.Version != app.Version {
				return ErrMoved.Because("the app")
			}
			a.Name, a.Settings, a.Secrets = next.Name, next.Settings, next.Secrets
			return nil
		})
		if err != nil {
			return err
		}
		return b.recordApp(ctx, appRef(app), audit.RegistrationChanged, appRef(app), map[string]string{"fields": strings.Join(changedFields(app, next), ", ")})
	})
	if err != nil {
		return b.asRegistration(ctx, err)
	}
	writeJSON(w, http.StatusOK, b.describe(next, secret, access))
	return nil
}

// endRegistration archives the app (RFC 7592 section 2.3): its client id is never given out again (S40), and
// what it was given is over.
func (b *Broker) endRegistration(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	app, _, err := b.registrant(r)
	if err != nil {
		return err
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		err := b.Apps.UpdateApp(ctx, app.ID, func(a *App) error {
			a.Status, a.Registration = directory.Archived, nil
			return nil
		})
		if err != nil {
			return err
		}
		if err := b.appStopped(ctx, app.ID, directory.Archived); err != nil {
			return err
		}
		return b.recordApp(ctx, appRef(app), audit.RegistrationEnded, appRef(app), nil)
	})
	if err != nil {
		return b.asRegistration(ctx, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// registrationBearer reads the token, from the header alone: nobody registers from a browser's address bar.
func registrationBearer(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if len(r.Header.Values("Authorization")) != 1 || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return "", &oauthError{"", "", http.StatusUnauthorized}
	}
	return strings.TrimSpace(token), nil
}

// readMetadata reads a body of client metadata.
func readMetadata(r *http.Request) (clientMetadata, error) {
	var m clientMetadata
	bad := func(why string) error { return &oauthError{"invalid_client_metadata", why, http.StatusBadRequest} }
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != "application/json" {
		return m, bad("the body must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxMetadata+1))
	if err != nil || len(body) > maxMetadata {
		return m, web.ErrTooLarge
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, bad("the body is no client metadata: " + typeMistake(err))
	}
	return m, nil
}

// typeMistake names the member that is of the wrong type.
func typeMistake(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return shown(e.Field) + " is of another type"
	}
	return "no JSON object"
}

// asRegistration says a fault in the words of RFC 7591 section 3.2.2.
func (b *Broker) asRegistration(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrRegistrationToken):
		return errRegistrationAccess
	case errors.Is(err, directory.ErrMoved):
		return b.asRefusal(ctx, ErrMoved.With(err))
	}
	return b.asRefusal(ctx, err)
}
