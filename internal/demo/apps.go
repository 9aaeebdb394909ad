package demo

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/themes"
)

// app is one of the two made-up apps: a relying party as anybody would write one, with the standard
// libraries and nothing of the house's but its address.
type app struct {
	relyingParty
	world  *World
	base   string // http://127.0.0.1:port
	secret string
	sheet  string // address of its own colors
	client *http.Client
	ctx    context.Context // of no request: the provider's keys are asked for in the background

	mu     sync.Mutex
	known  *oidc.Provider // once discovery has answered
	visits map[string]*visit
}

// callback is where the house sends the browser back to.
func (a *app) callback() string { return a.base + "/callback" }

func (a *app) home() string { return a.base + "/" }

// openApps lets the apps answer.
func (w *World) openApps(ctx context.Context) error {
	w.apps = map[string]*app{}
	for _, r := range relyingParties {
		a, err := w.newApp(ctx, r)
		if err != nil {
			return err
		}
		w.apps[r.handle] = a
	}
	for _, r := range relyingParties {
		w.serve(r.handle, w.apps[r.handle].mux())
	}
	return nil
}

func (w *World) newApp(ctx context.Context, r relyingParty) (*app, error) {
	outfit, err := w.Assets.Publish("demo-"+r.handle, themes.Theme{Brand: r.brand, Accent: r.accent})
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}, Timeout: 10 * time.Second}
	a := &app{
		relyingParty: r, world: w, base: w.doors[r.handle].base, sheet: outfit.Look("", "", "").Theme, client: client,
		ctx: oidc.ClientContext(context.WithoutCancel(ctx), client), visits: map[string]*visit{},
	}
	if !r.public {
		a.secret = w.kept.Secrets[r.handle]
	}
	return a, nil
}

// mux is the app's own site.
func (a *app) mux() http.Handler {
	m := &web.Mux{ErrorPage: a.errorPage, Host: a.world.doors[a.handle].host, Log: a.world.Log}
	m.Page("GET /{$}", a.show)
	m.Page("GET /login", a.login)
	m.Page("GET /switch", a.change)
	m.Page("GET /callback", a.arrive)
	m.Page("POST /logout", a.logout)
	m.Files("/assets/", a.world.Assets)
	m.Files("/theme/", a.world.Assets)
	m.Files("GET "+sheetPath, a.world.pages)
	return m
}

// provider asks the house what it can do, once it answers.
func (a *app) provider() (*oidc.Provider, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known != nil {
		return a.known, nil
	}
	p, err := oidc.NewProvider(a.ctx, a.world.issuer)
	if err != nil {
		return nil, err
	}
	a.known = p
	return p, nil
}

func (a *app) config(p *oidc.Provider) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: a.handle, ClientSecret: a.secret, RedirectURL: a.callback(), Endpoint: p.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", "organization", "organization.path"},
	}
	c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if a.public {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return c
}

// registrations are the apps as the house knows them: the two of this world, and yours.
func (w *World) registrations() []broker.App {
	now := w.now()
	var out []broker.App
	for _, r := range relyingParties {
		base := w.doors[r.handle].base
		a := broker.App{
			ID: directory.NewAppID(now), Realm: w.realms[r.realm], ClientID: r.handle, Name: r.name, Status: directory.Active,
			Settings: broker.Settings{
				Method: broker.SecretBasic, IDTokenAlg: r.algorithm, Home: base + "/",
				RedirectURIs: []string{base + "/callback"}, PostLogoutURIs: []string{base + "/"},
			},
			Secrets: []broker.Secret{{Hash: sha256.Sum256([]byte(w.kept.Secrets[r.handle])), CreatedAt: now}},
		}
		if r.public {
			a.Method, a.Secrets = broker.NoSecret, nil
		}
		out = append(out, a)
	}
	return append(out, broker.App{
		ID: directory.NewAppID(now), Realm: w.realms[realmMain], ClientID: yourApp, Name: "Your app", Status: directory.Active,
		Settings: broker.Settings{Method: broker.SecretBasic, Native: true, RedirectURIs: yourRedirects(), PostLogoutURIs: yourHomes()},
		Secrets:  []broker.Secret{{Hash: sha256.Sum256([]byte(w.kept.Secrets[yourApp])), CreatedAt: now}},
	})
}

// yourPorts and yourPaths are where people's apps commonly listen and take answers. On 127.0.0.1 any
// port will do (RFC 8252 section 7.3); on localhost it has to be one of these.
var (
	yourPorts = []int{3000, 3001, 4200, 5000, 5173, 8000, 8081, 8888, 9000}
	yourPaths = []string{
		"/", "/callback", "/cb", "/auth/callback", "/oauth/callback", "/oidc/callback", "/login/callback", "/signin-oidc",
		"/api/auth/callback/vestibule", "/login/oauth2/code/vestibule",
	}
)

func yourRedirects() []string {
	var out []string
	for _, path := range yourPaths {
		out = append(out, "http://127.0.0.1"+path)
		for _, port := range yourPorts {
			out = append(out, "http://localhost:"+strconv.Itoa(port)+path)
		}
	}
	return out
}

func yourHomes() []string {
	var out []string
	for _, port := range yourPorts {
		for _, host := range []string{"localhost", "127.0.0.1"} {
			out = append(out, "http://"+host+":"+strconv.Itoa(port)+"/")
		}
	}
	return out
}
