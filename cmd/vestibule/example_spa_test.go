//go:build !quick

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// npmExample copies an example app and gives it its packages, which are installed once for each list of
// versions. Next.js has no lock file: it would have to name a compiler for every machine there is.
func npmExample(t *testing.T, name string, give func(from, to string), files ...string) (dir string) {
	t.Helper()
	npm, from := found(t, "npm", "npm"), filepath.Join(exampleDir, name)
	install, lists := "ci", []string{"package.json", "package-lock.json"}
	if _, err := os.Stat(filepath.Join(from, lists[1])); err != nil {
		install, lists = "install", lists[:1]
	}
	packages := installedFrom(t, from, "example-"+name, func(string) *exec.Cmd {
		return exec.CommandContext(t.Context(), npm, install, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}, lists...)
	dir = t.TempDir()
	give(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules"))
	for _, f := range append(files, "package.json") {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(from, f), filepath.Join(dir, f))
	}
	return dir
}

// linkedIn links each package by itself, for tools that keep a cache beside them.
func linkedIn(t *testing.T) func(from, to string) {
	return func(from, to string) {
		all, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if strings.HasPrefix(p.Name(), ".") {
				continue
			}
			if err := os.Symlink(filepath.Join(from, p.Name()), filepath.Join(to, p.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// runs starts a program that serves at an address until the test ends.
func runs(t *testing.T, cmd *exec.Cmd, at string) {
	t.Helper()
	said := &lockedLog{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = said, said, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends the processes that it started
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(cmd.Args, " "), said)
		}
	})
	listens(t, at)
}

// A single-page app, as its quickstart has it: the browser itself redeems the code, asks userinfo,
// refreshes and signs out, all from another origin.
func triedInABrowser(t *testing.T, h *appsHost) {
	at := freeOrigin(t)
	dir := npmExample(t, "spa", linkedIn(t), "index.html", "auth.ts", "main.ts")
	env := strings.Join(h.created(t, "The page", "spa", at), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(env), 0o600); err != nil {
		t.Fatal(err)
	}
	vite := exec.CommandContext(t.Context(), found(t, "node", "npm"), filepath.Join("node_modules", "vite", "bin", "vite.js"), "--port", at[strings.LastIndex(at, ":")+1:], "--strictPort")
	vite.Dir = dir
	runs(t, vite, at)
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(at + "/")
	p.Click("Sign in")
	p.Fill("identifier", "ada@acme.example")
	p.Click("Continue")
	p.See("Sign out ada@acme.example")
	if got := p.URL(); got != at+"/" {
		t.Errorf("signed in at %s", got)
	}
	var got struct {
		Claims, Info     map[string]any
		Before, After    string
		Refreshed, Again map[string]any
	}
	p.Eval(`(async () => {
		const { users } = await import('/auth.ts')
		const first = await users.getUser()
		const endpoint = await users.metadataService.getUserInfoEndpoint()
		const info = async u => (await fetch(endpoint, { headers: { authorization: 'Bearer ' + u.access_token } })).json()
		const claims = first.profile, before = first.refresh_token, asked = await info(first)
		const second = await users.signinSilent()
		return { claims, info: asked, before, after: second.refresh_token, refreshed: second.profile, again: await info(second) }
	})()`, &got)
	for _, c := range []map[string]any{got.Claims, got.Info, got.Refreshed, got.Again} {
		if c["email"] != "ada@acme.example" || c["org_handle"] != "acme" || c["sub"] != got.Claims["sub"] {
			t.Errorf("claims %v", c)
		}
	}
	if got.Before == "" || got.After == "" || got.Before == got.After {
		t.Errorf("refresh tokens %q and %q", got.Before, got.After)
	}
	p.Click("Sign out")
	p.See("Sign in")
	if got := p.URL(); got != at+"/" {
		t.Errorf("signed out at %s", got)
	}
	// The session here is over too: signing in asks again who it is.
	p.Click("Sign in")
	p.See("Continue")
	spaMistakes(t, h, at)
}

// spaMistakes makes a developer's mistakes in the page, and compares what oidc-client-ts and the browser say
// with docs/errors.md.
func spaMistakes(t *testing.T, h *appsHost, at string) {
	secret := envOf(h.created(t, "Has a secret", "express", freeOrigin(t)), "CLIENT_ID")
	p := browsertest.New(t, browsertest.Options{})
	t.Cleanup(func() { p.Allow("") })
	printed := map[string]string{}
	said := func(mistake, change, do string) {
		t.Helper()
		var got string
		before := len(p.Problems())
		p.Eval(`(async () => {
			const { users } = await import('/auth.ts')
			const { authority, client_id, redirect_uri, scope } = users.settings
			const u = new users.constructor({ authority, client_id, redirect_uri, scope, ...`+change+` })
			// answer takes an answer to a request that was just made.
			const answer = async parameters => {
				const { state } = await u._client.createSigninRequest({})
				return u.signinRedirectCallback(redirect_uri + '?' + new URLSearchParams({ state: state.id, ...parameters }))
			}
			return await `+do+`.then(() => 'nothing is wrong', e => 'Uncaught (in promise) ' + e)
		})()`, &got)
		printed[mistake] = got + "\n" + strings.Join(p.Problems()[before:], "\n")
	}
	const start = "u.signinRedirect()"
	port := h.url[strings.LastIndex(h.url, ":"):]
	p.Goto(at + "/callback?code=made-up&state=made-up")
	p.See("Error")
	printed["another state"] = p.Text()
	p.Goto(at + "/")
	for mistake, m := range map[string][2]string{
		"nobody at the issuer":             {"{ authority: '" + freeOrigin(t) + "' }", start},
		"the issuer by https":              {"{ authority: 'https://localhost" + port + "' }", start},
		"the issuer on another name":       {"{ authority: 'http://127.0.0.1" + port + "' }", start},
		"the issuer with a path":           {"{ authority: '" + h.url + "/oidc' }", start},
		"a code that nobody gave":          {"{}", "answer({ code: 'made-up' })"},
		"an app with a secret":             {"{ client_id: '" + secret + "' }", "answer({ code: 'made-up' })"},
		"a refresh token that nobody gave": {"{}", "u._client.useRefreshToken({ state: { refresh_token: 'made-up', profile: {} } })"},
		"a page on http":                   {"{}", "Promise.resolve(Object.defineProperty(crypto, 'subtle', { value: undefined })).then(() => " + start + ")"},
	} {
		said(mistake, m[0], m[1])
		p.Reload()
	}
	p.Eval(`void import('/auth.ts').then(({ users: { constructor: M, settings: s } }) =>
		new M({ authority: s.authority, client_id: s.client_id, redirect_uri: s.redirect_uri, scope: 'profile' }).signinRedirect())`, nil)
	p.WaitURL("/callback?error")
	p.See("Error")
	printed["no openid"] = p.Text()
	explained(t, "oidc-client-ts (single-page apps)", printed)
}

// envOf is the value of a line of .env.
func envOf(lines []string, name string) string {
	for _, l := range lines {
		if value, ok := strings.CutPrefix(l, name+"="); ok {
			return value
		}
	}
	return ""
}
