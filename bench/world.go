package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
)

// What the app and the service are called at each other and at the providers.
const (
	client         = "bench"
	clientSecret   = "bench-secret-bench-secret-bench-secret-bench"
	callback       = "http://127.0.0.1:5555/callback" // nothing listens there: who is sent to it has arrived
	upstreamID     = "vestibule"
	upstreamSecret = "upstream-secret"
)

// world is one installation under measurement: its databases, its providers, and the running service.
type world struct {
	binary, dir   string
	where         []string // flags that say where the data is
	organizations int
	port, admin   int // admin 0: no profiles
	postgres      *pgtest.Server
	redis         *redistest.Server
	oidc, saml    *fakeidp.Provider
	providers     []*http.Server
	process       *exec.Cmd
	said          *bytes.Buffer
}

func newWorld(ctx context.Context, p plan, dir, backend string, organizations int) (_ *world, err error) {
	w := &world{binary: p.Binary, organizations: organizations}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp(dir, "world-"); err != nil {
		return nil, err
	}
	key := filepath.Join(w.dir, "vestibule.key")
	w.where = []string{"--database=sqlite:" + filepath.Join(w.dir, "vestibule.db"), "--key-file=" + key}
	if backend == onPostgres {
		if err := w.startDatabases(ctx, key); err != nil {
			return nil, err
		}
	}
	if err := w.startProviders(p.People); err != nil {
		return nil, err
	}
	if w.port, err = freePort(); err == nil && p.Profiles != "" {
		w.admin, err = freePort()
	}
	return w, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// startDatabases starts a PostgreSQL that keeps what it acknowledged, as an installation's does.
func (w *world) startDatabases(ctx context.Context, key string) (err error) {
	if w.postgres, err = pgtest.Start("fsync=on", "full_page_writes=on", "autovacuum=on", "shared_buffers=128MB"); err != nil {
		return err
	}
	if err := w.postgres.Exec(ctx, "postgres", "CREATE DATABASE bench"); err != nil {
		return err
	}
	if w.redis, err = redistest.Open(w.dir); err != nil {
		return err
	}
	// A busy machine may let Redis wait for longer than a service would: that is not what is measured.
	w.where = []string{"--database=" + w.postgres.DSN("bench"), "--redis=" + w.redis.URL("bench") + "&timeout=5s", "--key-file=" + key}
	return w.command(ctx, "keys", "create", "--sealing", key)
}

// startProviders starts an OpenID provider and a SAML provider, which sign in whoever comes.
func (w *world) startProviders(people int) error {
	w.oidc = &fakeidp.Provider{Name: "OIDC", Kind: fakeidp.OIDC, Now: time.Now, Auto: fakeidp.Anyone, People: crowd("login", people)}
	w.saml = &fakeidp.Provider{Name: "SAML", Kind: fakeidp.SAML, Now: time.Now, Auto: fakeidp.Anyone, People: crowd("saml", people), Algorithm: "RS256"}
	for _, p := range []*fakeidp.Provider{w.oidc, w.saml} {
		srv, err := p.Start("127.0.0.1:0")
		if err != nil {
			return err
		}
		w.providers = append(w.providers, srv)
	}
	return nil
}

func crowd(organization string, n int) []fakeidp.Person {
	out := make([]fakeidp.Person, n)
	for i := range out {
		id := strconv.Itoa(i)
		out[i] = fakeidp.Person{ID: "person-" + id, Email: "person-" + id + "@" + organization + ".example", EmailVerified: true, Name: "Person " + id, Given: "Person", Family: id}
	}
	return out
}

// apply writes the manifest and applies it: organization "login" signs in by OpenID Connect, "saml" by
// SAML, and the others are there.
func (w *world) apply(ctx context.Context) error {
	metadata, err := w.saml.Metadata()
	if err != nil {
		return err
	}
	files := filepath.Join(w.dir, "manifest")
	if err := errors.Join(os.Mkdir(files, 0o700), os.WriteFile(filepath.Join(files, "saml.xml"), metadata, 0o600)); err != nil {
		return err
	}
	for i, text := range w.manifest() {
		if err := os.WriteFile(filepath.Join(files, strconv.Itoa(i)+".yaml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return w.command(ctx, "apply", "-f", files)
}

const perFile = 5000 // organizations: a file may not be larger than 16 MiB

func (w *world) manifest() (files []string) {
	private := func(p *fakeidp.Provider) string { return strings.TrimPrefix(p.Base, "http://") }
	var b strings.Builder
	fmt.Fprintf(&b, "apps:\n- client_id: %s\n  client_name: Bench\n  client_secrets: [{env: BENCH_SECRET}]\n  redirect_uris: [%q]\n", client, callback)
	b.WriteString("  grant_types: [authorization_code, refresh_token, client_credentials]\n  id_token_signed_response_alg: ES256\norganizations:\n")
	organization := func(handle string) {
		fmt.Fprintf(&b, "- handle: %s\n  name: %s\n  apps: [%s]\n  domains: [{name: %s.example, verified: operator, connection: Provider}]\n  connections:\n  - name: Provider\n    jit: create\n",
			handle, handle, client, handle)
	}
	byOIDC := func(handle string) {
		organization(handle)
		fmt.Fprintf(&b, "    type: oidc\n    issuer: %s\n    private: [%q]\n    settings: {client_id: %s}\n    secrets: {client_secret: {env: BENCH_UPSTREAM_SECRET}}\n", w.oidc.Base, private(w.oidc), upstreamID)
	}
	byOIDC("login")
	fmt.Fprintf(&b, "- handle: local\n  name: local\n  apps: [%s]\n", client)
	organization("saml")
	fmt.Fprintf(&b, "    type: saml\n    authoritative: true\n    private: [%q]\n    metadata: {file: saml.xml}\n", private(w.saml))
	for i := range w.organizations {
		if i%perFile == perFile-1 {
			files = append(files, b.String())
			b.Reset()
			b.WriteString("organizations:\n")
		}
		byOIDC("org-" + strconv.Itoa(i))
	}
	return append(files, b.String())
}

func (w *world) environment() []string {
	return append(os.Environ(), "BENCH_SECRET="+clientSecret, "BENCH_UPSTREAM_SECRET="+upstreamSecret)
}

// command runs the binary to its end.
func (w *world) command(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, w.binary, args...)
	if args[0] == "apply" {
		c.Args = append(c.Args, w.where...)
	}
	c.Dir, c.Env = w.dir, w.environment()
	c.Stdout = io.Discard
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Run(); err != nil {
		return fmt.Errorf("vestibule %s: %w\n%s", args[0], err, &errs)
	}
	return nil
}

func (w *world) issuer() string { return "http://localhost:" + strconv.Itoa(w.port) }

// serve starts the service and says how long it took to answer a first request. Limits are off: one
// network sends all.
func (w *world) serve(ctx context.Context) (time.Duration, error) {
	args := append([]string{"serve", "--issuer=" + w.issuer(), "--listen=127.0.0.1:" + strconv.Itoa(w.port), "--development", "--log-level=warn",
		"--limits-authorize-per-network=off", "--limits-authorize-per-app=off", "--limits-passwords-per-network=off"}, w.where...)
	if w.admin != 0 {
		args = append(args, "--admin-listen=127.0.0.1:"+strconv.Itoa(w.admin))
	}
	w.process, w.said = exec.CommandContext(ctx, w.binary, args...), &bytes.Buffer{}
	w.process.Dir, w.process.Env, w.process.Stderr = w.dir, w.environment(), w.said
	out, err := w.process.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := w.process.Start(); err != nil {
		w.process = nil
		return 0, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it listens now
		w.stop()
		return 0, fmt.Errorf("vestibule serve: %w\n%s", err, w.said)
	}
	d := w.driver()
	defer d.http.CloseIdleConnections()
	if _, err := d.get(ctx, w.issuer()+"/.well-known/openid-configuration", nil); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func (w *world) pid() int { return w.process.Process.Pid }

// stop ends the service as an operator does.
func (w *world) stop() {
	if w.process == nil {
		return
	}
	_ = w.process.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = w.process.Wait()
	w.process = nil
}

func (w *world) close() {
	w.stop()
	for _, srv := range w.providers {
		srv.Close()
	}
	if w.redis != nil {
		w.redis.Kill()
	}
	if w.postgres != nil {
		_ = w.postgres.Stop() // what it kept lies in a temporary directory
	}
}

// analyze tells PostgreSQL how large its tables have become, which it finds out by itself within a minute
// or so. Until then it keeps the plans that it made when they were empty.
func (w *world) analyze(ctx context.Context) error {
	if w.postgres == nil {
		return nil
	}
	return w.postgres.Exec(ctx, "bench", "ANALYZE")
}

// used is the processor time of the service and of its databases so far.
func (w *world) used() (u [3]time.Duration, err error) {
	pids := [3]int{w.pid()}
	if w.postgres != nil {
		pids[1], pids[2] = w.postgres.PID(), w.redis.PID()
	}
	for i, pid := range pids {
		if u[i], err = processor(pid); err != nil {
			return u, err
		}
	}
	return u, nil
}

// settle waits until what the manifest and the start left to do in the background is done: the record of
// 100,000 organizations is chained for minutes, and that is no login's cost.
func (w *world) settle() error {
	const look, quiet, enough = 500 * time.Millisecond, 20 * time.Millisecond, 4 // what it repeats begins within two seconds
	calm := 0
	for range 10 * time.Minute / look {
		before, err := w.used()
		if err != nil {
			return err
		}
		time.Sleep(look)
		after, err := w.used()
		if err != nil {
			return err
		}
		if calm++; after[0]-before[0] > quiet {
			calm = 0
		}
		if calm == enough {
			return nil
		}
	}
	return errors.New("the service does not come to rest")
}
