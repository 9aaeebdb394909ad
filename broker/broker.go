// Package broker is the front door for applications: the OpenID Provider they talk to, the sessions of
// the people who sign in to them, and the one door, Admit, that stands before every code and token.
//
// It checks an app's request, hands the login to flows, and gets a result back through its finisher.
// Whatever it issues is minted from an Admission, which only Admit makes. The OpenID library's types
// stay in server_token.go; addresses that people see are handlers of our own.
package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

var (
	ErrAppNotFound     = fault.New(fault.NotFound, "broker.app_not_found", "There is no such app.")
	ErrClientIDTaken   = fault.New(fault.Conflict, "broker.client_id_taken", "This client id is in use or was used before; client ids are never given out again.")
	ErrSessionNotFound = fault.New(fault.NotFound, "broker.session_not_found", "There is no such session.")
	ErrGrantNotFound   = fault.New(fault.NotFound, "broker.grant_not_found", "There is no such grant.")
	ErrCodeUsed        = fault.New(fault.Conflict, "broker.code_used", "This code was redeemed already.")

	ErrUnknownClient   = fault.New(fault.Invalid, "broker.unknown_client", "The app that sent you here is not known to this service.")
	ErrRedirectURI     = fault.New(fault.Invalid, "broker.redirect_uri", "The app wants you sent back to an address that is not registered for it.")
	ErrPushed          = fault.New(fault.Expired, "broker.request_uri", "The app's sign-in request has expired or was used already.")
	ErrRequest         = fault.New(fault.Invalid, "broker.request", "The app's sign-in request could not be read.")
	ErrPostLogout      = fault.New(fault.Invalid, "broker.post_logout_redirect_uri", "The app wants you sent on to an address that is not registered for it.")
	ErrHint            = fault.New(fault.Invalid, "broker.id_token_hint", "The app's sign-out request carries a token that is not ours.")
	ErrApp             = fault.New(fault.Denied, "broker.app_suspended", "This app is switched off.")
	ErrNotAdmitted     = fault.New(fault.Denied, "broker.not_admitted", "You can't use this app right now.")
	ErrUnmet           = fault.New(fault.Denied, "broker.unmet_authentication_requirements", "This app asks for a stronger sign-in than there is here.")
	ErrConsentNotFound = fault.New(fault.NotFound, "broker.consent_not_found", "There is no such consent.")
	ErrMoved           = fault.New(fault.Unavailable, "broker.moved", "Something about your access changed while you signed in. Start again.")
)

// Revisions counts the changes of everything that admission depends on but a person's own data.
type Revisions interface {
	// Revision is exact in a transaction, at most a second old outside.
	Revision(ctx context.Context) (int64, error)
	// Footing reads, in a transaction and until it commits, what a write of a person of org rests on, with
	// their session of home where session is not "".
	Footing(ctx context.Context, org directory.OrgID, person directory.PersonID, home directory.OrgID, session directory.SessionID) (Footing, error)
}

// Footing is what a write rests on: a decision that was made by other numbers is made again (S15).
type Footing struct {
	Revision int64 // of all configuration
	Person   int64 // the person's version, which their membership moves too; 0 when they are not of the organization
	Session  int64 // the session's version; 0 when there is none, or none was asked for
}

// Broker is the front door. All fields but Limits and Watch are required.
type Broker struct {
	Apps      Apps
	Sessions  Sessions
	Tokens    Tokens
	Families  Families
	Access    AccessTokens
	Consents  Consents
	Keys      *Keyring
	Subjects  Subjects
	Directory *directory.Service
	Judge     *flows.Judge
	Flows     *flows.Engine
	Revisions Revisions
	Brief     brief.Store
	Counter   brief.Counter
	Audit     audit.Recorder
	Traces    audit.Traces
	Tx        directory.Tx
	Endings   Endings
	Viewer    Viewer
	Orders    Orders
	Outbox    Outbox
	Cookies   web.Cookies
	Looks     *flows.Looks
	Pages     *templates.Renderer
	Proxies   web.Proxies
	Limits    Limits
	// Issuer is this provider's name (OpenID Connect Discovery section 3): configuration, never the
	// Host header.
	Issuer string
	Now    func() time.Time
	Log    *slog.Logger
	// Development: what programs and apps are told of a refused request says how it differs from what is
	// registered. It is for http://localhost alone.
	Development bool

	// What clients authenticate and register with.
	Registrations RegistrationTokens
	Spent         upstream.Spent
	Nonces        *Nonces
	// Epoch is since when the short-lived store has lost nothing (S16).
	Epoch func() time.Time
	// Call makes the client for addresses that an app named, which may reach what is public and the
	// host:port targets that the operator opened for that app (S23).
	Call func(allow []string) *http.Client
	// Watch is told how each request for tokens came out: what grant was asked for, as it was written,
	// and the error code of the answer (RFC 6749 section 5.2), "" for tokens.
	Watch func(grant, code string)

	appKeys clientKeys
	acted   lately // apps that acted for themselves, by app and organization

	once         sync.Once // discovery is written once
	described    []byte
	describedErr error
}

// Limits bound what one network, and one app, may ask for; zero values allow everything.
type Limits struct {
	AuthorizePerNetwork web.Limit // new logins from one network
	AuthorizePerApp     web.Limit
	PushPerApp          web.Limit // requests that an app pushes
	StoriesPerNetwork   web.Limit // traces of failed logins
	StoriesPerApp       web.Limit
	PasswordsPerNetwork web.Limit // passwords and links by mail that one network asks for
	DevicePerNetwork    web.Limit // devices that ask to be signed in
	UserCodePerNetwork  web.Limit // device codes typed, right or wrong
	PerUserCode         web.Limit // logins begun by one code
}

// DefaultLimits keep one network from filling the store, and let a large office sign in at nine.
func DefaultLimits() Limits {
	return Limits{
		AuthorizePerNetwork: web.Limit{Name: "authorize-network", Most: 1200, Per: time.Minute},
		AuthorizePerApp:     web.Limit{Name: "authorize-app", Most: 60000, Per: time.Minute},
		PushPerApp:          web.Limit{Name: "push-app", Most: 60000, Per: time.Minute},
		StoriesPerNetwork:   web.Limit{Name: "stories-network", Most: 1000, Per: time.Hour},
		StoriesPerApp:       web.Limit{Name: "stories-app", Most: 10000, Per: time.Hour},
		PasswordsPerNetwork: web.Limit{Name: "passwords-network", Most: 600, Per: time.Minute},
		DevicePerNetwork:    web.Limit{Name: "device-network", Most: 3600, Per: time.Hour},
		UserCodePerNetwork:  web.Limit{Name: "usercode-network", Most: 360, Per: time.Hour},
		PerUserCode:         web.Limit{Name: "usercode", Most: 10, Per: time.Hour},
	}
}

// Routes mounts the provider.
func (b *Broker) Routes(m *web.Mux) {
	m.Page("GET /authorize", b.authorize)
	m.Foreign("POST /authorize", b.keepAuthorize)
	m.Page("GET /select/{select}", b.showAccounts)
	m.Page("POST /select/{select}", b.chooseAccount)
	m.Page("GET /consent/{consent}", b.showConsent)
	m.Page("POST /consent/{consent}", b.answerConsent)
	m.Page("GET /logout", b.logout)
	m.Foreign("POST /logout", b.keepLogout)
	m.Page("POST /logout/confirm", b.logoutConfirmed)
	m.Page("GET /logout/returned", b.logoutReturned)
	m.Page("POST /logout/upstream", b.logoutUpstream)
	m.Page("GET /device", b.device)
	m.Page("POST /device", b.deviceTyped)
	m.Page("GET /device/{approval}", b.deviceQuestion)
	m.Page("POST /device/{approval}", b.deviceDecided)
	m.API("POST /device_authorization", b.writeRefusal, b.deviceAuthorization)
	m.API("/device_authorization", writeOAuthError, only("POST"))
	m.API("GET /.well-known/openid-configuration", writeProblem, b.discovery)
	m.API("GET /.well-known/oauth-authorization-server", writeProblem, b.discovery)
	m.API("GET /keys", writeProblem, b.jwks)
	m.API("GET /userinfo", writeBearerError, b.userinfo)
	m.API("POST /userinfo", writeBearerError, b.userinfo)
	m.API("POST /par", b.writeRefusal, b.push)
	m.API("OPTIONS /par", writeOAuthError, b.preflight)
	m.API("/par", writeOAuthError, only("POST"))
	m.API("POST /register", b.writeRegistrationRefusal, b.register)
	m.API("/register", writeRegistrationError, only("POST"))
	m.API("GET /register/{client}", writeRegistrationError, b.readRegistration)
	m.API("PUT /register/{client}", b.writeRegistrationRefusal, b.changeRegistration)
	m.API("DELETE /register/{client}", writeRegistrationError, b.endRegistration)
	m.API("/register/{client}", writeRegistrationError, only("GET, PUT, DELETE"))
	token := b.tokenServer()
	m.API("POST /token", b.writeRefusal, token)
	m.API("POST /introspect", b.writeRefusal, b.introspect)
	m.API("/introspect", writeOAuthError, only("POST"))
	m.API("POST /revoke", b.writeRefusal, b.revoke)
	m.API("OPTIONS /revoke", writeOAuthError, b.preflight)
	m.API("/revoke", writeOAuthError, only("POST"))
	m.API("OPTIONS /token", writeOAuthError, b.preflight)
	m.API("/token", writeOAuthError, only("POST"))
	m.API("/userinfo", writeOAuthError, only("GET, POST"))
	m.API("OPTIONS /userinfo", writeOAuthError, b.preflight)
}

// only answers a program that uses another method (RFC 9110 section 15.5.6).
func only(methods string) web.Handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", methods)
		return web.ErrMethod
	}
}

func (b *Broker) record(ctx context.Context, org directory.OrgID, who directory.PersonID, act audit.Action, target audit.Ref, detail map[string]string) error {
	now := b.Now()
	return b.Audit.Record(ctx, audit.Entry{
		ID: string(directory.NewEntryID(now)), At: now, Org: string(org), Actor: audit.Ref{Kind: "person", ID: string(who)},
		Action: act, Target: target, Detail: detail,
	})
}

func hashOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// AddApp registers an app.
func (b *Broker) AddApp(ctx context.Context, a directory.Actor, app App) error {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return err
	}
	app, err := app.checked()
	if err != nil {
		return err
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.Apps.CreateApp(ctx, app); err != nil {
			return err
		}
		now := b.Now()
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Actor: a.Ref(), Action: audit.AppCreated,
			Target: audit.Ref{Kind: "app", ID: string(app.ID)},
		})
	})
}

// ChangeApp changes an app. change may run twice; what names it (id, client id, realm), its own registration
// and its status stay: SetAppStatus is the door for that.
func (b *Broker) ChangeApp(ctx context.Context, a directory.Actor, id directory.AppID, change func(*App) error) error {
	if err := directory.Allow(a, "", directory.ManageApps); err != nil {
		return err
	}
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		var fields []string
		err := b.Apps.UpdateApp(ctx, id, func(app *App) error {
			before := *app
			if err := change(app); err != nil {
				return err
			}
			app.ID, app.ClientID, app.Realm, app.Version = before.ID, before.ClientID, before.Realm, before.Version
			app.Registration, app.Status = before.Registration, before.Status
			after, err := app.checked()
			if err != nil {
				return err
			}
			fields = changedFields(before, after)
			// What an operator changed is the operator's from now on.
			after.Asked = slices.DeleteFunc(slices.Clone(after.Asked), func(name string) bool { return slices.Contains(fields, name) })
			*app = after
			return nil
		})
		if err != nil {
			return err
		}
		now := b.Now()
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Actor: a.Ref(), Action: audit.AppChanged,
			Target: audit.Ref{Kind: "app", ID: string(id)}, Detail: map[string]string{"fields": strings.Join(fields, ", ")},
		})
	})
}

// changedFields names what differs, for the record; values stay out of it.
func changedFields(a, b App) []string {
	var out []string
	if a.Name != b.Name {
		out = append(out, "name")
	}
	if !slices.Equal(a.Secrets, b.Secrets) {
		out = append(out, "secrets")
	}
	// The settings by the names under which they are stored; all of them are plain JSON.
	x, _ := json.Marshal(a.Settings)
	y, _ := json.Marshal(b.Settings)
	was, is := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	_, _ = json.Unmarshal(x, &was), json.Unmarshal(y, &is)
	for name := range settingNames(was, is) {
		if name != "asked" && !bytes.Equal(was[name], is[name]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func settingNames(maps ...map[string]json.RawMessage) map[string]bool {
	out := map[string]bool{}
	for _, m := range maps {
		for name := range m {
			out[name] = true
		}
	}
	return out
}

// Checked is the app as it would be stored, its defaults filled in, or what is wrong with it.
func (a App) Checked() (App, error) { return a.checked() }

// unavailable says whether an error is a part that cannot be reached, which asking again may mend.
func unavailable(err error) bool {
	return errors.Is(err, brief.ErrUnavailable) || errors.Is(err, ErrMoved)
}
