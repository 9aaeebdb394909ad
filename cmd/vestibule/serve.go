package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vestibule-id/vestibule/internal/demo"
	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	errListen = fault.New(fault.Unavailable, "vestibule.listen", "The service cannot listen there.")
	// errDemoData keeps a made-up world, whose providers vouch for anybody, off a real address (S54).
	errDemoData = fault.New(fault.Conflict, "vestibule.demo_data", "The database lies beside a demo.json: it is a demonstration, whose made-up providers let anybody in as anybody. Name another database with --database.")
)

// drain is how long requests under way may take once the service is told to stop.
const drain = 20 * time.Second

// runServe runs the service until it is told to stop.
func runServe(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := newFlags("serve", "", "Runs the service. Without any setting: http://localhost:8080, and a SQLite file vestibule.db in the working directory.\nEach setting is a flag, a variable of the environment and a key of the YAML file; flags win, then the environment.", errs)
	read := configFlags(flags, true)
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 0 {
		return misused(flags, only)
	}
	s, err := read()
	if err != nil {
		return err
	}
	v, err := openService(ctx, s, s.log(errs))
	if err != nil {
		return err
	}
	return v.run(ctx, out)
}

// service is a running `vestibule serve`.
type service struct {
	settings  *settings
	log       *slog.Logger
	house     *house
	pair      *pair // of TLS; nil serves plain HTTP
	listeners []net.Listener
	admin     net.Listener // nil: nowhere
	server    *http.Server
	sideDoor  *http.Server
	watch     watcher
}

// openService builds the house up to where it answers.
func openService(ctx context.Context, s *settings, log *slog.Logger) (*service, error) {
	slog.SetDefault(slog.New(warnings{log.Handler()})) // libraries log through it, and chat
	v := &service{settings: s, log: log}
	if err := v.open(ctx); err != nil {
		v.close()
		return nil, err
	}
	for _, note := range s.notes {
		log.WarnContext(ctx, note)
	}
	return v, nil
}

func (v *service) open(ctx context.Context) (err error) {
	s := v.settings
	if s.Database.Path != "" && demo.Keeps(filepath.Dir(s.Database.Path)) {
		return errDemoData
	}
	if err := v.listen(ctx); err != nil {
		return err
	}
	issuer, err := issuerOf(s.Issuer)
	if err != nil {
		return err
	}
	if s.TLSCert != "" {
		if v.pair, err = openPair(s.TLSCert, s.TLSKey, issuer.Hostname(), time.Now()); err != nil {
			return err
		}
	}
	if err := v.openWatch(ctx); err != nil {
		return err
	}
	c := s.house(v.log, v.own)
	c.Watch = v.watch
	if v.house, err = build(ctx, c); err != nil {
		return err
	}
	v.server = v.house.server(v.log)
	if v.pair != nil {
		v.server.TLSConfig = v.pair.config()
	}
	v.sideDoor = v.adminServer()
	return nil
}

// listen takes the addresses, so that whatever is wrong with them is known before a database is made.
func (v *service) listen(ctx context.Context) error {
	var how net.ListenConfig
	for _, at := range v.settings.Listen {
		all, err := listenAt(ctx, &how, at)
		v.listeners = append(v.listeners, all...)
		if err != nil {
			return cannotListen(v.settings.where("listen"), at, err)
		}
	}
	if at := v.settings.AdminListen; at != "" {
		l, err := how.Listen(ctx, "tcp", at)
		if err != nil {
			return cannotListen(v.settings.where("admin_listen"), at, err)
		}
		v.admin = l
	}
	if u, err := url.Parse(v.settings.Issuer); err == nil && u.Port() == "0" { // it was asked for any port that is free
		v.settings.Issuer = "http://localhost:" + strconv.Itoa(v.listeners[0].Addr().(*net.TCPAddr).Port)
	}
	return nil
}

// listenAt listens at one address. localhost is both loopback addresses, as browsers have it; a machine
// without IPv6 has one.
func listenAt(ctx context.Context, how *net.ListenConfig, at string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		l, err := how.Listen(ctx, "tcp", at)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	four, err := how.Listen(ctx, "tcp4", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	_, port, _ = net.SplitHostPort(four.Addr().String())
	six, err := how.Listen(ctx, "tcp6", "[::1]:"+port)
	if err == nil {
		return []net.Listener{four, six}, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return []net.Listener{four}, err // somebody else would answer half of the browsers
	}
	return []net.Listener{four}, nil
}

func cannotListen(from, at string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return wrong(errListen, "%s: %s is in use. Stop what listens there, or listen elsewhere with --listen.", from, at)
	case errors.Is(err, syscall.EACCES):
		return wrong(errListen, "%s: this user may not listen on %s. Take a port above 1023, or give the binary the right: setcap cap_net_bind_service=+ep.", from, at)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return wrong(errListen, "%s: %s is no address of this machine.", from, at)
	}
	return wrong(errListen, "%s: the service cannot listen on %s.", from, at)
}

// own is where this process listens: no provider may make it call itself.
func (v *service) own() []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range v.all() {
		out = append(out, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return out
}

func (v *service) all() []net.Listener {
	if v.admin == nil {
		return v.listeners
	}
	return append(append([]net.Listener{}, v.listeners...), v.admin)
}

// run answers until ctx ends: then nothing new is accepted, what is under way is finished, and the store
// is closed last.
func (v *service) run(ctx context.Context, out io.Writer) error {
	defer v.close()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, len(v.all()))
	for _, l := range v.listeners {
		go func() { ended <- v.serve(l) }()
	}
	if v.admin != nil {
		go func() { ended <- v.sideDoor.Serve(v.admin) }()
	}
	if v.pair != nil {
		go v.pair.follow(background, v.log)
	}
	fmt.Fprintf(out, "Listening on %s. Discovery: %s/.well-known/openid-configuration\n", v.places(), v.settings.Issuer)
	select {
	case err := <-ended:
		return errListen.With(err)
	case <-ctx.Done():
	}
	v.log.InfoContext(ctx, "stopping", "within", drain.String())
	bounded, cancel := context.WithTimeout(background, drain)
	defer cancel()
	var both sync.WaitGroup
	for _, server := range []*http.Server{v.server, v.sideDoor} {
		both.Go(func() {
			if err := server.Shutdown(bounded); err != nil {
				v.log.WarnContext(bounded, "requests were cut off at the stop", "error", err)
			}
		})
	}
	both.Wait()
	return nil
}

func (v *service) serve(l net.Listener) error {
	if v.pair != nil {
		return v.server.ServeTLS(l, "", "")
	}
	return v.server.Serve(l)
}

func (v *service) places() string {
	var out []string
	for _, l := range v.listeners {
		out = append(out, l.Addr().String())
	}
	return strings.Join(out, ", ")
}

func (v *service) close() {
	for _, server := range []*http.Server{v.server, v.sideDoor} {
		if server != nil {
			server.Close()
		}
	}
	for _, l := range v.all() {
		l.Close()
	}
	if v.house != nil {
		v.house.close()
	}
	v.closeWatch()
}

// warnings lets pass what a library says only when something is wrong.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(name string) slog.Handler   { return warnings{w.Handler.WithGroup(name)} }
