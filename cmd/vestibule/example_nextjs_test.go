//go:build long && !quick

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// TestTheNextjsQuickstartSignsPeopleInAndOut follows the page for Next.js: in development, and built, which
// checks the types of its code.
func TestTheNextjsQuickstartSignsPeopleInAndOut(t *testing.T) {
	h := hostOfApps(t)
	copied := func(from, to string) { // it takes no packages from elsewhere
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	dir := npmExample(t, "nextjs", copied, "auth.ts", "tsconfig.json", "app/layout.tsx", "app/page.tsx", "app/api/auth/[...nextauth]/route.ts")
	next := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), found(t, "node", "npm"), append([]string{filepath.Join("node_modules", "next", "dist", "bin", "next")}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "NEXT_TELEMETRY_DISABLED=1")
		return cmd
	}
	for _, how := range []string{"dev", "start"} {
		t.Run(how, func(t *testing.T) {
			at := freeOrigin(t)
			env := strings.Join(h.created(t, "Next "+how, "nextjs", at), "\n") + "\n"
			if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(env), 0o600); err != nil {
				t.Fatal(err)
			}
			if how == "start" {
				if out, err := next("build").CombinedOutput(); err != nil {
					t.Fatalf("next build: %v\n%s", err, out)
				}
			}
			runs(t, next(how, "-p", at[strings.LastIndex(at, ":")+1:]), at)
			triedNextjs(t, h, at)
		})
	}
}

func triedNextjs(t *testing.T, h *appsHost, at string) {
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(at + "/")
	p.Click("Sign in")
	p.WaitURL(h.url)
	p.Fill("identifier", "ada@acme.example")
	p.Click("Continue")
	p.See("Sign out ada@acme.example")
	if got := p.URL(); got != at+"/" {
		t.Errorf("signed in at %s", got)
	}
	p.Goto(at + "/api/auth/session")
	var session struct {
		User struct {
			ID    string `json:"id"`
			Email string `json:"email"`
			Org   string `json:"org_id"`
		} `json:"user"`
	}
	if err := json.Unmarshal([]byte(p.Text()), &session); err != nil || !strings.HasPrefix(session.User.ID, "per_") || !strings.HasPrefix(session.User.Org, "org_") || strings.Contains(p.Text(), "eyJ") {
		t.Errorf("session: %v %s", err, p.Text())
	}
	p.Goto(at + "/")
	p.Click("Sign out")
	p.See("Sign in")
	if got := p.URL(); got != at+"/" {
		t.Errorf("signed out at %s", got)
	}
	// The session here is over too: signing in asks again who it is.
	p.Click("Sign in")
	p.WaitURL(h.url)
	p.See("Continue")
}
