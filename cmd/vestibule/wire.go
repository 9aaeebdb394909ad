package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/outbound"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/mfa/code"
	"github.com/vestibule-id/vestibule/password"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/store"
	"github.com/vestibule-id/vestibule/templates"
)

// config is what the house is built from.
type config struct {
	Issuer      string   // "http://localhost:8080": scheme, host and port, no path
	DataDir     string   // where vestibule.db and vestibule.key lie, unless Database and KeyFile say otherwise
	Database    database // the zero value is vestibule.db in DataDir
	Key         string
	KeyFile     string
	Redis       string
	AnchorFile  string                  // where anchors of the record are appended too; "" is nowhere
	Own         func() []netip.AddrPort // what this process listens on
	Proxies     web.Proxies
	Limits      broker.Limits
	Cost        password.Cost // of hashing passwords; the zero Cost is the usual one
	Breached    string        // a file with a list of passwords that nobody may use; "" is none
	Messages    messaging
	Development bool // error pages tell the cause
	Real        bool // nothing that a made-up provider signs is believed (S54)
	Watch       watcher
	MakeKey     func(alg string) ([]byte, error) // makes signing keys; nil generates them as they are needed
	Log         *slog.Logger
	Now         func() time.Time
}

// placed fills in where things lie.
func (c config) placed() config {
	if c.Database == (database{}) {
		c.Database.Path = filepath.Join(c.DataDir, "vestibule.db")
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(filepath.Dir(c.Database.Path), "vestibule.key")
	}
	return c
}

// store is how the store is opened.
func (c config) store() store.Options {
	o := store.Options{Path: c.Database.Path, DSN: c.Database.URL, Redis: c.Redis, Key: c.Key, KeyFile: c.KeyFile, Now: c.Now, Log: c.Log}
	if !c.Watch.blind() {
		o.Watch = c.Watch.transaction
	}
	if m := c.Watch.metrics; m != nil {
		o.Recorded, o.Grouped = m.record, func(n int) { m.groups.Observe(float64(n)) }
	}
	return o
}

// house is everything, wired.
type house struct {
	store       *store.Store
	directory   *directory.Service
	connections *upstream.Service
	broker      *broker.Broker
	engine      *flows.Engine
	factors     *mfa.Service
	looks       *flows.Looks
	messages    *delivery.Post // how rooms have people written to
	assets      *templates.Assets
	pages       *templates.Renderer
	cookies     web.Cookies
	mux         *web.Mux

	stops   []context.CancelFunc // of what runs in the background
	working sync.WaitGroup
}

var errIssuer = fault.New(fault.Invalid, "vestibule.issuer", "The issuer must be https://host[:port], or http://localhost[:port] for trying things out; nothing after the port.")

// build wires the house from the bottom to the top.
func build(ctx context.Context, c config) (*house, error) {
	issuer, err := issuerOf(c.Issuer)
	if err != nil {
		return nil, err
	}
	c = c.placed()
	db, err := store.Open(ctx, c.store())
	if err != nil {
		return nil, err
	}
	h := &house{store: db}
	if err := h.wire(ctx, c, issuer); err != nil {
		h.close()
		return nil, err
	}
	runner := &delivery.Runner{
		Queue: db, Senders: senders(h, c), Tx: db, Audit: db, Woken: db.Enqueued(), Now: c.Now, Log: c.Log,
	}
	if c.Watch.metrics != nil {
		c.Watch.metrics.measure(h, runner)
	}
	h.background(ctx, runner.Run)
	h.background(ctx, h.messages.Run)
	h.background(ctx, func(ctx context.Context) { h.broker.Follow(ctx, db.Revoked()) })
	return h, nil
}

func (h *house) wire(ctx context.Context, c config, issuer *url.URL) error {
	db, secure := h.store, issuer.Scheme == "https"
	sealed, err := cookieSeal(ctx, db)
	if err != nil {
		return err
	}
	h.cookies = web.Cookies{Secure: secure, Sealed: sealed}
	if h.assets, err = templates.NewAssets(); err != nil {
		return err
	}
	if h.pages, err = templates.New(h.assets); err != nil {
		return err
	}
	h.directory = &directory.Service{
		Realms: db, Orgs: db, Domains: db, People: db, Memberships: db, Identities: db, Entitlements: db, Policies: db, Revocations: db, Passwords: db, Accounts: db,
		Tx: db, Audit: db, Now: c.Now, AppName: appName(db),
	}
	h.connections = &upstream.Service{Connections: db, Protocols: protocols(), Revocations: db, Tx: db, Audit: db, Now: c.Now}
	looks := &flows.Looks{Orgs: db, Themes: db, Assets: h.assets}
	h.looks, h.assets.Theme = looks, looks.Named
	if h.messages, err = c.Messages.post(ctx, c, db); err != nil {
		return err
	}
	guard := &outbound.Guard{Own: c.Own}
	call := func(to string) func([]string) *http.Client {
		return func(allow []string) *http.Client { return c.Watch.client(to, guard.Client(allow)) }
	}
	short, counter := c.Watch.shortLived(db.Brief(), db.Counter())
	if h.factors, err = h.secondSteps(ctx, c, issuer, short); err != nil {
		return err
	}
	judge := &flows.Judge{
		Directory: h.directory, Connections: db, Factors: h.factors, SignedIn: signedIn(db), Flows: flowService(db, h.directory, h.factors, c.Now), Now: c.Now, ByPassword: true, ByLink: h.messages.Offers().Mail,
	}
	by, err := h.bylocal(c, counter)
	if err != nil {
		return err
	}
	h.engine = &flows.Engine{
		Judge: judge, Brief: short, Factors: h.factors, By: by, Upstreams: h.opener(c, call("provider")), Looks: looks, Pages: h.pages, Cookies: h.cookies,
		Traces: db, Now: c.Now, Log: c.Log, Origin: c.Issuer, Address: c.Proxies.Address,
		Stories: flows.Stories{Counter: counter, PerNetwork: c.Limits.StoriesPerNetwork, PerApp: c.Limits.StoriesPerApp},
	}
	keys := &broker.Keyring{Store: db, Nodes: db, Tx: db, Audit: db, Now: c.Now, Log: c.Log, Make: c.MakeKey}
	if err := keys.Load(ctx); err != nil {
		return err
	}
	h.background(ctx, keys.Follow)
	if err := h.anchor(ctx, c); err != nil {
		return err
	}
	subjects, err := broker.LoadSubjects(ctx, db)
	if err != nil {
		return err
	}
	nonces, err := broker.LoadNonces(ctx, db)
	if err != nil {
		return err
	}
	h.broker = &broker.Broker{
		Apps: db, Sessions: db, Tokens: db, Families: db, Access: db, Keys: keys, Subjects: subjects, Consents: db, Directory: h.directory, Judge: judge, Flows: h.engine, Revisions: db,
		Brief: short, Counter: counter, Audit: db, Traces: db, Tx: db, Cookies: h.cookies, Looks: looks, Pages: h.pages,
		Endings: db, Viewer: db, Orders: db, Outbox: db,
		Spent: db, Call: call("app"), Nonces: nonces, Epoch: db.Epoch, Registrations: db, Proxies: c.Proxies, Limits: c.Limits, Issuer: c.Issuer, Now: c.Now, Log: c.Log,
		Development: c.Development,
	}
	h.engine.Finishers = map[string]flows.Finisher{broker.Finisher: h.broker, broker.DeviceFinisher: broker.Devices{Broker: h.broker}}
	h.mux = &web.Mux{Secure: secure, Host: issuer.Host, Log: c.Log, ErrorPage: (&errorPages{
		looks: looks, pages: h.pages, log: c.Log, now: c.Now, tell: c.Development,
	}).draw}
	if !c.Watch.blind() {
		h.mux.Watch = c.Watch.request
	}
	h.broker.Routes(h.mux)
	h.engine.Routes(h.mux)
	h.mux.Files("/assets/", h.assets)
	h.mux.Files("/theme/", h.assets)
	return nil
}

// signedIn says whether a session signed in to an app in an organization.
func signedIn(sessions broker.Sessions) func(context.Context, directory.OrgID, directory.SessionID, directory.AppID, directory.OrgID) (bool, error) {
	return func(ctx context.Context, home directory.OrgID, id directory.SessionID, app directory.AppID, org directory.OrgID) (bool, error) {
		marks, err := sessions.AppsOf(ctx, home, id)
		return slices.ContainsFunc(marks, func(m broker.AppMark) bool { return m.App == app && m.Org == org && m.Ended.IsZero() }), err
	}
}

// appName names apps to whom their policy is explained.
func appName(apps broker.Apps) func(context.Context, directory.AppID) string {
	return func(ctx context.Context, id directory.AppID) string {
		a, err := apps.AppByID(ctx, id)
		if err != nil {
			return string(id)
		}
		return a.Name
	}
}

// distrusts knows the keys of made-up providers, which sign whatever they are told to.
func (c config) distrusts() func(kid string, cert []byte) bool {
	if !c.Real {
		return nil
	}
	return func(kid string, der []byte) bool {
		if len(der) == 0 {
			return fakeidp.MarkedID(kid)
		}
		cert, err := x509.ParseCertificate(der)
		return err != nil || fakeidp.Marked(cert)
	}
}

// opener opens connections with clients that may call what each connection was allowed.
func (h *house) opener(c config, call func([]string) *http.Client) *upstream.Opener {
	return &upstream.Opener{
		Protocols: protocols(), Client: call, Now: c.Now, Base: c.Issuer, Distrusts: c.distrusts(),
		Spend: func(ctx context.Context, con upstream.Connection, kind, key string, until time.Time) error {
			return h.store.Spend(ctx, con.Org, kind, string(con.ID)+"/"+key, until)
		},
		Algorithms: func(ctx context.Context, con upstream.Connection) []string {
			chain, err := h.directory.OrgChain(ctx, con.Org)
			if err != nil {
				return nil // none: what cannot be judged is refused
			}
			eff, err := h.directory.Effective(ctx, chain, "")
			if err != nil {
				return nil
			}
			return policy.SignatureAlgorithms.In(eff).Words()
		},
	}
}

// secondSteps wires what people prove themselves by besides their identity provider.
func (h *house) secondSteps(ctx context.Context, c config, issuer *url.URL, short brief.Store) (*mfa.Service, error) {
	secret, err := h.store.Secret(ctx, "ceremonies")
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "vestibule ceremonies v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &mfa.Service{
		Factors: factors(h.store, c.Issuer, code.Way{Messages: h.messages, Pepper: h.store.Pepper, Fold: flows.NormalAddress, Host: issuer.Hostname()}),
		Told:    h.tellFactor, End: h.directory.EndAll, Enrollments: h.store, Tries: h.store, Brief: short, Seal: seal, Tx: h.store, Audit: h.store, Now: c.Now,
	}, nil
}

// cookieSeal derives the keys that seal cookies from a secret that all nodes share, so that remembered
// organizations survive a restart, another node and a change of the sealing key.
func cookieSeal(ctx context.Context, db *store.Store) (*securecookie.SecureCookie, error) {
	secret, err := db.Secret(ctx, "cookies")
	if err != nil {
		return nil, err
	}
	block, err := hkdf.Key(sha256.New, secret, nil, "vestibule cookies v1", 64)
	if err != nil {
		return nil, err
	}
	return securecookie.New(block[:32], block[32:]).SetSerializer(securecookie.JSONEncoder{}).MaxLength(3072).MaxAge(0), nil
}

// listener is the HTTP server with the bounds that every door has.
func (h *house) server(log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h.mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 256 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// anchor signs every hour where the record stands, under keys of their own.
func (h *house) anchor(ctx context.Context, c config) error {
	keys := &broker.Keyring{Store: h.store, Nodes: h.store, Tx: h.store, Audit: h.store, Now: c.Now, Log: c.Log, Use: broker.AnchorUse, Algs: []string{"EdDSA"}}
	if err := keys.Load(ctx); err != nil {
		return err
	}
	h.background(ctx, keys.Follow)
	anchorer := &audit.Anchorer{Store: h.store, Keys: keys, Now: c.Now, Log: c.Log, File: c.AnchorFile}
	h.background(ctx, anchorer.Run)
	return nil
}

// background runs work that goes on until close; ctx bounds the wiring alone.
func (h *house) background(ctx context.Context, work func(context.Context)) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stops = append(h.stops, stop)
	h.working.Go(func() { work(ctx) })
}

func (h *house) close() {
	for _, stop := range h.stops {
		stop()
	}
	h.working.Wait()
	h.store.Close()
}

// flowService is the use cases of sign-in flows.
func flowService(db *store.Store, dir *directory.Service, factors *mfa.Service, now func() time.Time) *flows.FlowService {
	return &flows.FlowService{Flows: db, Terms: db, Directory: dir, Methods: factors.Methods, Tx: db, Audit: db, Now: now}
}
