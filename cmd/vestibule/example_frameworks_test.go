//go:build !quick

package main

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// framed is an example app of a framework that has pages of its own: its page /login may want a button to be
// pressed, and what goes wrong stands on its pages or in its log, as its library prints it.
type framed struct {
	framework string
	// login and logout are paths. button is where the form of the page at login goes, "" when there is none.
	login, button, logout string
	// shows is what the page says after signing in; nil is who it is and where.
	shows []string
	// start gives the app, which answers at an address when it runs with the lines of .env.
	start func(t *testing.T, at string) *exec.Cmd
	// app is lines of a manifest that change what `app create` registers.
	app      string
	mistakes []mistake
}

// mistake is something that a developer or a browser does wrong, and the sentence that the library has for it.
type mistake struct {
	says string
	env  []string // of the app, in place of what `app create` printed; with %s, the issuer
	app  string   // in place of framed's
	// ask and answer are changes of the authorization request and of its answer; "" takes a parameter away.
	ask, answer map[string]string
	// again has the answer come twice; elsewhere has it come to a browser that asked for nothing.
	again, elsewhere bool
}

// running is a framed app that was started.
type running struct {
	*framed
	host *appsHost
	at   string
	said *lockedLog
}

// started registers the app under a name of its own and starts it.
func (f *framed) started(t *testing.T, h *appsHost, name, app string, env ...string) *running {
	t.Helper()
	r := &running{framed: f, host: h, at: freeOrigin(t), said: &lockedLog{}}
	lines := h.created(t, name, f.framework, r.at)
	if app == "" {
		app = f.app
	}
	if app != "" {
		manifest := "apps:\n  - client_id: " + clientIDOf(name) + "\n" + app
		if err := os.WriteFile(filepath.Join(h.dir, "app.yaml"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, said := program(t, h.dir, h.env, "apply", "-f", "app.yaml"); status != 0 {
			t.Fatalf("apply ended with %d:\n%s", status, said)
		}
	}
	cmd := f.start(t, r.at)
	cmd.Env = append(append(append(os.Environ(), cmd.Env...), lines...), env...)
	cmd.Stdout, cmd.Stderr = r.said, r.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			said := r.said.String()
			t.Logf("%s said:\n%s", strings.Join(cmd.Args, " "), said[max(0, len(said)-4000):])
		}
	})
	return r
}

// signsIn goes from the app's login to where the redirects end; change sees each address on the way. A sign-in
// during which the service learns of a new app begins again.
func (r *running) signsIn(b *browser, change func(*url.URL)) *page {
	b.t.Helper()
	p := r.goes(b, change)
	for range 5 {
		if changedMeanwhile(p) {
			p = r.goes(b, change)
		}
	}
	return p
}

func (r *running) goes(b *browser, change func(*url.URL)) *page {
	b.t.Helper()
	p := b.send(http.MethodGet, r.at+r.login, nil, false)
	for range 30 {
		if to := p.header.Get("Location"); to != "" && p.status/100 == 3 {
			next, err := p.url.Parse(to)
			if err != nil {
				b.t.Fatal(err)
			}
			change(next)
			p = b.send(http.MethodGet, next.String(), nil, false)
			continue
		}
		next := r.pressed(b, p)
		if next == nil {
			return p
		}
		p = next
	}
	b.t.Fatalf("too many hops: %v", b.hops)
	return nil
}

// pressed is what follows a page of the app, or of Vestibule, that waits for the person.
func (r *running) pressed(b *browser, p *page) *page {
	for _, f := range forms(p) {
		switch {
		case f.values.Has("identifier"):
			f.values.Set("identifier", "ada@acme.example")
		case r.button == "" || f.action != r.button:
			continue
		}
		to, err := p.url.Parse(f.action)
		if err != nil {
			b.t.Fatal(err)
		}
		return b.send(http.MethodPost, to.String(), f.values, false)
	}
	return nil
}

func asIs(*url.URL) {}

// tried signs in, looks, and signs out of the app and of Vestibule, if the app can.
func (r *running) tried(t *testing.T) *browser {
	t.Helper()
	b := newBrowser(t)
	listens(t, r.at)
	p := r.signsIn(b, asIs)
	shows := r.shows
	if shows == nil {
		shows = []string{`"ada@acme.example"`, `"` + r.host.url + `"`, `"acme"`}
	}
	for _, want := range shows {
		if p.status != http.StatusOK || !strings.Contains(p.body, want) {
			t.Errorf("no %s at %s: %d %s", want, p.url, p.status, textOf(p.body))
		}
	}
	if r.logout == "" {
		return b
	}
	p = b.follow(b.send(http.MethodGet, r.at+r.logout, nil, false))
	if len(forms(p)) == 0 {
		t.Fatalf("no button at %s: %d %s", p.url, p.status, textOf(p.body))
	}
	out := forms(p)[0]
	back := b.follow(b.send(http.MethodPost, r.at+out.action, out.values, false))
	host := func(u string) string { return "GET " + strings.TrimPrefix(u, "http://") }
	_, after, ok := strings.Cut(strings.Join(b.hops, "\n"), host(r.host.url)+"/logout\n")
	if !ok || !strings.Contains(after, host(r.at)) || back.status != http.StatusOK {
		t.Errorf("signing out ended at %s %d, by\n%s", back.url, back.status, strings.Join(b.hops, "\n"))
	}
	// The session here is over too: signing in asks again who it is.
	asked := false
	r.signsIn(b, func(u *url.URL) { asked = asked || strings.HasPrefix(u.String(), r.host.url+"/login/") })
	if !asked {
		t.Error("Vestibule did not ask who it is after signing out")
	}
	return b
}

// makes makes a mistake and gives the page that the person reads then.
func (r *running) makes(t *testing.T, m mistake) *page {
	t.Helper()
	f, err := frameworkNamed(r.framework)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	var answer *url.URL
	p := r.signsIn(b, func(u *url.URL) {
		if strings.HasPrefix(u.String(), r.host.url+"/authorize") {
			change(u, m.ask)
		}
		if strings.HasPrefix(u.String(), r.at) && u.Path == f.callbacks[0] {
			change(u, m.answer)
			answer = u
			if m.elsewhere {
				b.jar = map[string]map[string]string{}
			}
		}
	})
	if m.again && answer != nil {
		p = b.follow(b.send(http.MethodGet, answer.String(), nil, false))
	}
	return p
}

func change(u *url.URL, with map[string]string) {
	q := u.Query()
	for name, value := range with {
		if q.Del(name); value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
}

// framedApp runs an example app, and then makes each mistake.
func framedApp(t *testing.T, h *appsHost, f *framed) {
	r := f.started(t, h, "The "+f.framework+" app", "")
	r.tried(t)
	f.provoked(t, h, r)
}

// provoked makes each mistake: the library prints what docs/errors.md has.
func (f *framed) provoked(t *testing.T, h *appsHost, r *running) {
	raw, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.ReplaceAll(string(raw), `\|`, "|")
	for _, m := range f.mistakes {
		t.Run(m.says, func(t *testing.T) {
			if _, row, ok := strings.Cut(manual, m.says+"`"); !ok || !strings.HasPrefix(strings.TrimLeft(row, "`"), " *tested*") {
				t.Errorf("docs/errors.md does not have `%s` *tested*", m.says)
			}
			says := goingOn(strings.ReplaceAll(m.says, "https://login.example.com", h.url))
			if m.env == nil && m.app == "" { // nothing about the app is wrong
				before := len(r.said.String())
				p := r.makes(t, m)
				comesTrue(t, "the library says so", func() bool { return says.MatchString(textOf(p.body) + r.said.String()[before:]) })
				return
			}
			for i, line := range m.env {
				m.env[i] = strings.ReplaceAll(line, "%s", h.url)
			}
			other := f.started(t, h, "Mistake "+randomText()[:8], m.app, m.env...)
			comesTrue(t, "the library says so", func() bool { return says.MatchString(other.says(t, m)) })
		})
	}
}

// ours are descriptions of ours that libraries repeat.
var ours = regexp.MustCompile(`the client could not be authenticated|redirect_uri or code_verifier|PKCE with S256 is required|the scope must contain openid`)

// goingOn finds a sentence of the manual, in which a description of ours goes on as it does in development.
func goingOn(says string) *regexp.Regexp {
	return regexp.MustCompile(ours.ReplaceAllString(regexp.QuoteMeta(says), `$0(?:: [^"\n]*)?`))
}

// says is what an app printed and, when it serves, what it shows to a sign-in.
func (r *running) says(t *testing.T, m mistake) string {
	resp, err := http.Get(r.at + "/")
	if err != nil {
		return r.said.String()
	}
	resp.Body.Close()
	p := r.makes(t, m)
	return textOf(p.body) + r.said.String()
}

// Django with mozilla-django-oidc, as its quickstart has it.
func TestTheDjangoExampleSignsPeopleInAndOut(t *testing.T) {
	framedApp(t, hostOfApps(t), &framed{
		framework: "django", login: "/login", logout: "/logout", start: djangoExample,
		mistakes: []mistake{
			{says: `Get Token Error (url: https://login.example.com/token, status: 401, body: {"error":"invalid_client","error_description":"the client could not be authenticated"}`, env: []string{"OIDC_RP_CLIENT_SECRET=another-one-that-is-long-enough"}},
			{says: `Get Token Error (url: https://login.example.com/token, status: 400, body: {"error":"invalid_grant","error_description":"the code is unknown, expired, used, or was issued for another client, redirect_uri or code_verifier"}`, answer: map[string]string{"code": "made-up"}},
			{says: "OIDC callback state not found in session `oidc_states`!", again: true},
			{says: "JWT Nonce verification failed.", ask: map[string]string{"nonce": "another"}},
			{says: "The provider algorithm 'ES256' does not match the client's OIDC_RP_SIGN_ALGO.", app: "    id_token_signed_response_alg: ES256\n"},
			{says: "error=invalid_request&error_description=code_challenge+is+missing", ask: map[string]string{"code_challenge": "", "code_challenge_method": ""}},
		},
	})
}

func djangoExample(t *testing.T, at string) *exec.Cmd {
	python, from := found(t, "python3", "python3-pip"), filepath.Join(exampleDir, "django")
	packages := installedFrom(t, from, "example-django", func(dir string) *exec.Cmd {
		return exec.CommandContext(t.Context(), python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
			"--only-binary=:all:", "--target", filepath.Join(dir, "packages"), "-r", "requirements.txt")
	}, "requirements.txt")
	env := []string{"PYTHONPATH=" + filepath.Join(packages, "packages"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "DATABASE=" + filepath.Join(t.TempDir(), "db.sqlite3")}
	// The people's table, before there is anybody; it wants the settings to be there, not to be right.
	migrate := exec.CommandContext(t.Context(), python, filepath.Join(from, "manage.py"), "migrate", "--verbosity", "0")
	migrate.Env = append(append(os.Environ(), env...), "OIDC_ISSUER=x", "OIDC_RP_CLIENT_ID=x", "OIDC_RP_CLIENT_SECRET=x", "SECRET_KEY=x")
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(from, "manage.py"), "runserver", "--noreload", strings.TrimPrefix(at, "http://"))
	cmd.Env = env
	return cmd
}
