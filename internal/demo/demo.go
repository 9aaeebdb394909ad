// Package demo is a made-up world to click through: companies with identity providers of their own
// kind, two apps that are real relying parties, and a first page that leads to all of them.
//
// Open reads or makes what the world keeps between starts (ports, keys, secrets) and listens; Start
// puts the companies into a wired house, by the same use cases that an operator's commands call, and
// lets providers, apps and pages answer. Providers and apps stand on http://127.0.0.1 and the house on
// http://localhost: two sites to a browser, so that what cookies do between sites is what they do in
// the world. Everything listens on loopback alone (S54), because the providers vouch for anybody.
//
// To add a company, add a row to cast.go. The package knows no store and wires nothing: cmd hands it a
// House.
package demo

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// House is the wired house that the world is put into. All fields are required.
type House struct {
	Directory   *directory.Service
	Connections *upstream.Service
	Broker      *broker.Broker
	Themes      flows.Themes
	// Stories must be what the house's engine and broker write their traces to, and its broker its record.
	Stories *Stories
	// Inbox must be what takes the house's messages.
	Inbox  *Inbox
	Assets *templates.Assets
	// Mux is the issuer's; Start adds the first page to it.
	Mux *web.Mux
	Log *slog.Logger
	Now func() time.Time
	// Data is the directory as the person named it; "" when it will be removed at the end.
	Data string
}

// World is the made-up world.
type World struct {
	House
	issuer string
	now    func() time.Time
	kept   *kept
	doors  map[string]door // by handle of company or app

	pages     *pages
	companies []*company
	apps      map[string]*app // by handle
	orgs      map[directory.OrgID]*company
	realms    map[string]directory.RealmID // by handle
	// registered are the apps as the house knows them.
	registered []broker.App

	ruled lastRule
	codes authenticator

	servers sync.WaitGroup
	mu      sync.Mutex
	running []*http.Server
}

// Open reads or makes the world's own file in dir and listens for its providers and apps.
func Open(dir string, now func() time.Time) (*World, error) {
	k, err := readKept(dir)
	if err != nil {
		return nil, err
	}
	w := &World{now: now, kept: k, doors: map[string]door{}}
	if err := w.listen(dir); err != nil {
		w.Close()
		return nil, err
	}
	if err := w.fillKept(); err != nil {
		w.Close()
		return nil, err
	}
	return w, k.save(dir)
}

// Start puts the companies into the house and opens the providers, the apps and the first page.
func (w *World) Start(ctx context.Context, h House) error {
	w.House, w.issuer = h, h.Broker.Issuer
	var err error
	if w.pages, err = newPages(w); err != nil {
		return err
	}
	if err := w.makeCompanies(); err != nil {
		return err
	}
	if err := w.seed(ctx); err != nil {
		return err
	}
	for _, c := range w.companies {
		if c.idp == "" {
			continue
		}
		if err := w.openProvider(c); err != nil {
			return err
		}
	}
	if err := w.openApps(ctx); err != nil {
		return err
	}
	w.routes(h.Mux)
	return nil
}

// serve answers at a door until Close.
func (w *World) serve(handle string, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(w.Log.Handler(), slog.LevelDebug),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = append(w.running, s)
	l := w.doors[handle].listener
	w.servers.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.Log.Error("a part of the demonstration stopped", "part", handle, "error", err)
		}
	})
}

// Close stops providers and apps at once: nobody waits for a provider that was told to be slow.
func (w *World) Close() {
	w.mu.Lock()
	for _, s := range w.running {
		s.Close()
	}
	w.mu.Unlock()
	w.servers.Wait()
	for _, d := range w.doors {
		d.listener.Close()
	}
}

// companyOf is the company whose organization that is; nil for others.
func (w *World) companyOf(org directory.OrgID) *company { return w.orgs[org] }

func (w *World) company(handle string) *company {
	for _, c := range w.companies {
		if c.handle == handle {
			return c
		}
	}
	return nil
}

// openProvider lets a company's identity provider answer.
func (w *World) openProvider(c *company) error {
	if err := w.introduce(c); err != nil {
		return err
	}
	h, err := c.provider.Handler()
	if err != nil {
		return err
	}
	w.serve(c.handle, h)
	return nil
}
