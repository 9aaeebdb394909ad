//go:build !quick

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

const exampleDir = "../../examples/apps"

// exampleManifest is the organization of the developer who tries the examples.
const exampleManifest = `
organizations:
  - handle: acme
    name: Acme
    domains: [{name: acme.example, verified: operator}]
    connections:
      - id: con_01k9vestibulesamples000001
        name: Acme ID
        type: oidc
        issuer: %[1]s
        private: ["%[2]s"]
        jit: create
        settings: {client_id: vestibule}
        secrets: {client_secret: {env: UPSTREAM_SECRET}}
`

// appsHost is a `vestibule serve` for a developer who tries apps, and a company whose provider signs Ada in
// without a page.
type appsHost struct {
	dir, url string
	env      []string
}

func hostOfApps(t *testing.T) *appsHost {
	t.Helper()
	idp := &fakeidp.Provider{Name: "acme", Kind: fakeidp.OIDC, Now: time.Now, People: people("acme"), Auto: "acme-1"}
	srv, err := idp.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	h := &appsHost{dir: t.TempDir(), env: []string{"UPSTREAM_SECRET=the-secret-of-the-upstream"}}
	manifest := fmt.Sprintf(exampleManifest, idp.Base, strings.TrimPrefix(idp.Base, "http://"))
	if err := os.WriteFile(filepath.Join(h.dir, "acme.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	h.url = serveProgram(t, h.dir, h.env, "--issuer", "http://localhost:0", "--listen", "localhost:0", "--development").url
	idp.AddClient(fakeidp.Client{ID: "vestibule", Secret: "the-secret-of-the-upstream", Redirects: []string{upstream.ReturnURL(h.url, "con_01k9vestibulesamples000001")}})
	h.env = append(h.env, "VESTIBULE_ISSUER="+h.url)
	if status, said := program(t, h.dir, h.env, "apply", "-f", "acme.yaml"); status != 0 {
		t.Fatalf("apply ended with %d:\n%s", status, said)
	}
	return h
}

// created registers an app, and gives the lines of .env that its developer reads.
func (h *appsHost) created(t *testing.T, name, framework, at string) []string {
	t.Helper()
	status, said := program(t, h.dir, h.env, "app", "create", name, "--for", framework, "--url", at, "--org", "acme")
	if status != 0 {
		t.Fatalf("app create ended with %d:\n%s", status, said)
	}
	return dotEnv(said)
}

// TestTheExampleAppsSignPeopleInAndOut is a developer's fifteen minutes: serve, apply, `app create`, the
// example app with the printed .env, a browser.
func TestTheExampleAppsSignPeopleInAndOut(t *testing.T) {
	h := hostOfApps(t)
	for _, e := range []struct {
		framework string
		start     func(t *testing.T) *exec.Cmd
	}{
		{"go", goExample}, {"express", expressExample}, {"flask", flaskExample},
	} {
		t.Run(e.framework, func(t *testing.T) {
			started := func(name string, change ...string) string {
				at := freeOrigin(t)
				cmd := e.start(t)
				cmd.Env = append(append(cmd.Env, h.created(t, name, e.framework, at)...), change...)
				begin(t, cmd, nil)
				return at
			}
			tried(t, h.url, started("The "+e.framework+" app"))
			// The same with a secret that is another one: the developer reads a sentence that the manual has.
			b, at := newBrowser(t), started("Wrong "+e.framework, "CLIENT_SECRET=another-one-that-is-long-enough")
			p := b.signsIn(at)
			inTheManual(t, e.framework, p)
		})
	}
	t.Run("spa", func(t *testing.T) { triedInABrowser(t, h) })
}

// freeOrigin is an address of this machine that nothing listened on a moment ago.
func freeOrigin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("http://localhost:%d", l.Addr().(*net.TCPAddr).Port)
}

// dotEnv are the lines that `app create` printed below "# .env".
func dotEnv(said string) []string {
	_, after, _ := strings.Cut(said, "\n# .env")
	_, after, _ = strings.Cut(after, "\n")
	lines, _, _ := strings.Cut(after, "\n\n")
	return strings.Split(lines, "\n")
}

func goExample(t *testing.T) *exec.Cmd {
	program := filepath.Join(t.TempDir(), "app")
	build := exec.CommandContext(t.Context(), found(t, "go", "golang"), "build", "-o", program, ".")
	build.Dir = filepath.Join(exampleDir, "go")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exec.CommandContext(t.Context(), program)
}

func expressExample(t *testing.T) *exec.Cmd {
	node, npm := found(t, "node", "npm"), found(t, "npm", "npm")
	packages := installedFrom(t, filepath.Join(exampleDir, "express"), "example-express", func(string) *exec.Cmd {
		return exec.CommandContext(t.Context(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}, "package.json", "package-lock.json")
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(exampleDir, "express", "app.mjs"), filepath.Join(dir, "app.mjs"))
	return exec.CommandContext(t.Context(), node, filepath.Join(dir, "app.mjs"))
}

func flaskExample(t *testing.T) *exec.Cmd {
	python := found(t, "python3", "python3-pip")
	packages := installedFrom(t, filepath.Join(exampleDir, "python"), "example-python", func(dir string) *exec.Cmd {
		return exec.CommandContext(t.Context(), python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
			"--only-binary=:all:", "--target", filepath.Join(dir, "packages"), "-r", "requirements.txt")
	}, "requirements.txt")
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(exampleDir, "python", "app.py"))
	cmd.Env = []string{"PYTHONPATH=" + filepath.Join(packages, "packages"), "PYTHONDONTWRITEBYTECODE=1"}
	return cmd
}

// seenInApp is what an example app shows.
type seenInApp struct {
	SignedIn  bool           `json:"signed_in"`
	Claims    map[string]any `json:"claims"`
	Userinfo  map[string]any `json:"userinfo"`
	Refreshed bool           `json:"refreshed"`
	Message   string         `json:"message"`
}

// tried signs in to an app, looks, refreshes and signs out.
func tried(t *testing.T, issuer, at string) {
	t.Helper()
	b := newBrowser(t)
	shows := func(p *page) (s seenInApp) {
		t.Helper()
		if err := json.Unmarshal([]byte(p.body), &s); err != nil || p.status != http.StatusOK || !strings.HasPrefix(p.url.String(), at) {
			t.Fatalf("%s %d: %s", p.url, p.status, textOf(p.body))
		}
		return s
	}
	listens(t, at)
	if s := shows(b.follow(b.send(http.MethodGet, at+"/", nil, false))); s.SignedIn {
		t.Error("a stranger is signed in")
	}
	s := shows(b.signsIn(at))
	if !s.SignedIn || s.Claims["email"] != "ada@acme.example" || s.Claims["org_handle"] != "acme" || s.Claims["iss"] != issuer || s.Userinfo["sub"] != s.Claims["sub"] {
		t.Errorf("signed in as %+v", s)
	}
	if s := shows(b.send(http.MethodGet, at+"/refresh", nil, false)); !s.Refreshed {
		t.Errorf("refresh: %+v", s)
	}
	if s := shows(b.send(http.MethodGet, at+"/", nil, false)); s.Userinfo["email"] != "ada@acme.example" {
		t.Errorf("after the refresh: %+v", s)
	}
	out := b.follow(b.send(http.MethodGet, at+"/logout", nil, false))
	if s := shows(out); s.SignedIn || out.url.Path != "/" && out.url.Path != "" {
		t.Errorf("after signing out: %s %+v", out.url, s)
	}
	// The session here is over too: signing in asks again who it is.
	if p := b.follow(b.send(http.MethodGet, at+"/login", nil, false)); !strings.HasPrefix(p.url.String(), issuer) {
		t.Errorf("still signed in: %s", p.url)
	}
	if p := b.send(http.MethodGet, at+"/callback?"+url.Values{"code": {"made-up"}, "state": {"made-up"}}.Encode(), nil, false); p.status < 400 {
		t.Errorf("the app takes an answer that it did not ask for: %d %s", p.status, textOf(p.body))
	} else {
		inTheManual(t, "made-up answer", p)
	}
}

func listens(t *testing.T, at string) {
	t.Helper()
	comesTrue(t, "the app listens", func() bool {
		resp, err := http.Get(at + "/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// signsIn goes from an app's /login through Vestibule and the provider, back to the app.
func (b *browser) signsIn(at string) *page {
	b.t.Helper()
	listens(b.t, at)
	var p *page
	for range 5 { // a sign-in during which the service learns of a new app begins again
		p = b.follow(b.send(http.MethodGet, at+"/login", nil, false))
		if strings.Contains(p.body, `name="identifier"`) {
			p = b.answer(p, "identifier", "ada@acme.example")
		}
		if !changedMeanwhile(p) {
			break
		}
	}
	return p
}

// inTheManual checks that what an app's library printed stands in docs/errors.md, verbatim.
func inTheManual(t *testing.T, what string, p *page) {
	t.Helper()
	var said seenInApp
	if err := json.Unmarshal([]byte(p.body), &said); err != nil || said.Message == "" {
		t.Fatalf("%s: no message at %s: %d %s", what, p.url, p.status, p.body)
	}
	verbatim(t, what, said.Message)
}

// inDevelopment is how a description of ours goes on in development, which the manual leaves out.
var inDevelopment = regexp.MustCompile(`(the client could not be authenticated): [^"]*`)

// verbatim checks that each line of a message stands in docs/errors.md.
func verbatim(t *testing.T, what, message string) {
	t.Helper()
	message = inDevelopment.ReplaceAllString(message, "$1")
	manual, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(message) {
		if !strings.Contains(string(manual), strings.TrimSpace(line)) {
			t.Errorf("%s: docs/errors.md does not have %q", what, message)
			return
		}
	}
}
