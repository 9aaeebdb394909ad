package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/redistest"
)

// composed is what docker-compose.yml says, as far as these tests start it.
type composed struct {
	Services map[string]struct {
		Command     []string
		Environment map[string]string
		Volumes     []string
		Ports       []string
		Image       string
	}
}

// compose reads docker-compose.yml with the variables that an operator would set.
func compose(t *testing.T, variables map[string]string) composed {
	t.Helper()
	raw, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	filled := regexp.MustCompile(`\$\{([A-Z_]+)(:-([^}]*)|:\?[^}]*)?\}`).ReplaceAllStringFunc(string(raw), func(v string) string {
		name, otherwise, _ := strings.Cut(strings.Trim(v, "${}"), ":")
		if value, ok := variables[name]; ok {
			return value
		}
		if !strings.HasPrefix(otherwise, "-") {
			t.Fatalf("%s must be set", name)
		}
		return otherwise[1:]
	})
	var c composed
	if err := yaml.Unmarshal([]byte(filled), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// native is where the processes of the file are on this machine: its names and addresses, and ours.
type native struct{ *strings.Replacer }

func (n native) environment(of map[string]string) (out []string) {
	for name, value := range of {
		out = append(out, name+"="+n.Replace(value))
	}
	return out
}

func (n native) words(of []string) (out []string) {
	for _, w := range of {
		out = append(out, n.Replace(w))
	}
	return out
}

// inTurn is the proxy: it asks each node in turn, passes the Host on and says who asks, as Caddy does by
// default. asked counts by node.
func inTurn(nodes []string) (h http.Handler, asked []*atomic.Int64) {
	var turn atomic.Int64
	for range nodes {
		asked = append(asked, &atomic.Int64{})
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		i := int(turn.Add(1)) % len(nodes)
		asked[i].Add(1)
		r.SetURL(&url.URL{Scheme: "http", Host: nodes[i]})
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}, asked
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// seeds copies a directory of the repository that the file mounts.
func seeds(t *testing.T, to string, n native) {
	t.Helper()
	raw, err := os.ReadFile("../../examples/compose/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "demo.yaml"), []byte(n.Replace(string(raw))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answers waits until an address answers 200.
func answers(t *testing.T, address string) {
	t.Helper()
	said := ""
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(address)
		if err != nil {
			said = err.Error()
			continue
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if said = string(raw); resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s does not answer: %s", address, said)
}

// The processes of docker-compose.yml, started on this machine with the commands, the environment and the
// files that stand there: people sign in through a proxy that asks another node each time.
func TestTheComposeFileSignsPeopleInOverTwoNodes(t *testing.T) {
	const secret = "the-secret-of-a-look-at-it"
	c := compose(t, map[string]string{"POSTGRES_PASSWORD": "pass%40word", "DEMO_SECRET": secret, "DEVELOPMENT": "true"})
	dir := t.TempDir()
	valkey := c.Services["valkey"].Command
	if valkey[0] != "valkey-server" {
		t.Fatal(valkey)
	}
	redis, dsn, idp := redistest.Start(t, valkey[1:]...), pgtest.Database(t), freeAddress(t)
	front := httptest.NewUnstartedServer(nil)
	_, port, _ := net.SplitHostPort(front.Listener.Addr().String())
	issuer := "http://localhost:" + port
	place := func(listen, admin string) native {
		return native{strings.NewReplacer(
			"postgres://vestibule:pass%40word@postgres/vestibule?sslmode=disable", dsn,
			"valkey:6379/0", redis.Addr+"/0?timeout=5s", "/keys/", dir+"/", "/seed/", dir+"/seed/",
			"http://localhost:8080", issuer, "idp.localhost:9901", idp, "0.0.0.0:9901", idp,
			"172.30.57.0/24", "127.0.0.0/8", "0.0.0.0:8080", listen, "0.0.0.0:9090", admin)}
	}
	seeds(t, filepath.Join(dir, "seed"), place("", ""))
	process := func(name string) (env, args []string) {
		at := place(freeAddress(t), freeAddress(t))
		return at.environment(c.Services[name].Environment), at.words(c.Services[name].Command)
	}

	for range 2 { // `up` a second time keeps the key
		env, args := process("key")
		if status, said := program(t, dir, env, args...); status != 0 {
			t.Fatalf("key: %d %s", status, said)
		}
	}
	env, args := process("idp")
	provider := programOf(t, dir, env, args...)
	if err := provider.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Process.Kill(); provider.Wait() })

	var running []*served
	var nodes, admins []string
	for _, name := range []string{"node1", "node2"} {
		listen, admin := freeAddress(t), freeAddress(t)
		at := place(listen, admin)
		if words := c.Services[name].Command; len(words) != 1 || words[0] != "serve" {
			t.Fatal(words)
		}
		running = append(running, serveProgram(t, dir, at.environment(c.Services[name].Environment)))
		nodes, admins = append(nodes, listen), append(admins, admin)
	}
	handler, asked := inTurn(nodes)
	front.Config.Handler = handler
	front.Start()
	t.Cleanup(front.Close)

	env, args = process("seed")
	if status, said := program(t, dir, env, args...); status != 0 {
		t.Fatalf("seed: %d %s", status, said)
	}
	for _, admin := range admins {
		answers(t, "http://"+admin+"/readyz")
	}
	answers(t, "http://"+idp+"/.well-known/openid-configuration")
	w := &world{t: t, url: issuer, secret: secret, app: broker.App{ClientID: "trial"}}
	for range 3 {
		b := newBrowser(t)
		r := w.request(func(v url.Values) {
			v.Set("organization", "acme")
			v.Set("scope", "openid profile email offline_access")
		})
		p := b.authorize(w, r)
		if p.url.Host == idp { // its page: the button of whoever it is
			p = b.chooses(p, "ada")
		}
		tok := w.redeem(p.code(t), r.verifier)
		if tok.Status != http.StatusOK {
			t.Fatalf("%d %s", tok.Status, tok.raw)
		}
		if next := w.refresh(tok.Refresh); next.Status != http.StatusOK {
			t.Errorf("refresh: %d %s", next.Status, next.raw)
		}
		if status, info := w.userinfo(tok.Access); status != http.StatusOK || info["email"] != "ada@acme.example" {
			t.Errorf("userinfo: %d %v", status, info)
		}
	}
	for i := range asked {
		if asked[i].Load() < 6 {
			t.Errorf("node %d was asked %d times", i+1, asked[i].Load())
		}
	}
	env, _ = process("node1")
	status, said := program(t, dir, env, "doctor")
	if !strings.Contains(said, "2 serve from this database") || !strings.Contains(said, "ok    connection acme") || !strings.Contains(said, "ok    published keys") {
		t.Errorf("doctor: %d\n%s", status, said)
	}
	for _, s := range running {
		s.stop(t)
	}
}

// What the proxy's file names is what the nodes are called, and where they listen.
func TestTheProxyOfTheComposeFileNamesTheNodes(t *testing.T) {
	c := compose(t, map[string]string{"POSTGRES_PASSWORD": "x"})
	raw, err := os.ReadFile("../../examples/compose/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(raw), "reverse_proxy ")
	line, _, _ = strings.Cut(line, " {")
	if strings.Fields(line)[0] == line {
		t.Fatalf("one node: %q", line)
	}
	for _, node := range strings.Fields(line) {
		name, port, _ := strings.Cut(node, ":")
		env := c.Services[name].Environment
		if env["VESTIBULE_LISTEN"] != "0.0.0.0:"+port {
			t.Errorf("%s listens at %q", node, env["VESTIBULE_LISTEN"])
		}
		_, admin, _ := strings.Cut(env["VESTIBULE_ADMIN_LISTEN"], ":")
		if !strings.Contains(string(raw), "health_uri /readyz\n") || !strings.Contains(string(raw), "health_port "+admin+"\n") {
			t.Errorf("the proxy does not ask %s whether it is ready at port %s", name, admin)
		}
	}
	for name, s := range c.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to everybody", name, p)
			}
		}
	}
}

// chooses presses the button of a person on a made-up provider's page.
func (b *browser) chooses(p *page, person string) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if f.values.Has("request") {
			to, err := p.url.Parse(f.action)
			if err != nil {
				b.t.Fatal(err)
			}
			f.values.Set("person", person)
			return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
		}
	}
	b.t.Fatalf("no form: %d %s", p.status, textOf(p.body))
	return nil
}

// S54: a made-up provider listens beyond this machine only when it is told to.
func TestS54AMadeUpProviderStaysOnThisMachine(t *testing.T) {
	t.Setenv("PROVIDER_SECRET", "a-secret-of-the-provider")
	for line, says := range map[string]string{
		"demo provider --listen 0.0.0.0:0 --redirect http://localhost/x": fault.Of(fakeidp.ErrNotLoopback).Public,
		"demo provider": "Name the return address",
	} {
		var said bytes.Buffer
		if status := run(t.Context(), strings.Fields(line), &said, &said); status == 0 || !strings.Contains(said.String(), says) {
			t.Errorf("%s: %d %s", line, status, &said)
		}
	}
	t.Setenv("PROVIDER_SECRET", "")
	var said bytes.Buffer
	if status := run(t.Context(), strings.Fields("demo provider --redirect http://localhost/x"), &said, &said); status != 1 || !strings.Contains(said.String(), "Set PROVIDER_SECRET") {
		t.Errorf("%d %s", status, &said)
	}
}
