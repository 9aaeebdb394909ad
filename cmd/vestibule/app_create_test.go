package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
)

// printedLine is a line of what a command printed for a developer's .env.
func printedLine(t *testing.T, said, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(said)
	if m == nil || m[1] == "" {
		t.Fatalf("no %s in\n%s", name, said)
	}
	return m[1]
}

func changedMeanwhile(p *page) bool { return strings.Contains(p.body, "broker.moved") }

// A developer types one command beside the running service; what it prints signs somebody in.
func TestAnAppInOneCommandSignsPeopleIn(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	w.addOIDC("globex", nil)
	t.Setenv("VESTIBULE_ISSUER", w.url)
	said := w.commanded("app create Shop --for express --org acme --url http://127.0.0.1:5555/")
	if got := printedLine(t, said, "ISSUER_BASE_URL"); got != w.url {
		t.Errorf("issuer %s", got)
	}
	w.secret = printedLine(t, said, "CLIENT_SECRET")
	if strings.Count(said, w.secret) != 1 {
		t.Error("the secret is printed more than once")
	}
	var err error
	if w.app, err = w.h.store.AppByClientID(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if w.app.Method != broker.SecretBasic || w.app.IDTokenAlg != "RS256" || w.app.RedirectURIs[0] != callback || w.app.Name != "Shop" {
		t.Errorf("registered as %+v", w.app.Settings)
	}
	signs := func(what string) {
		t.Helper()
		r := w.request(set("organization", "acme"))
		p := newBrowser(t).authorize(w, r)
		for range 5 { // a sign-in during which the service learns of the command's change begins again
			if changedMeanwhile(p) {
				p = newBrowser(t).authorize(w, r)
			}
		}
		if tok := w.redeem(p.code(t), r.verifier); tok.Status != http.StatusOK {
			t.Errorf("%s: %s", what, tok.raw)
		}
	}
	signs("the secret of app create")
	if p := newBrowser(t).authorize(w, w.request(set("organization", "globex"))); p.url.Query().Get("code") != "" {
		t.Error("an organization that was not named uses the app")
	}

	old := w.secret
	w.secret = strings.TrimSpace(w.commanded("app rotate-secret shop --keep 1h"))
	comesTrue(t, "the new secret", func() bool {
		a, err := w.h.store.AppByClientID(t.Context(), "shop")
		return err == nil && len(a.Secrets) == 2
	})
	signs("the new secret")
	fresh := w.secret
	w.secret = old
	signs("the secret before it, for a while")
	w.clock.pass(61 * time.Minute)
	r := w.request(set("organization", "acme"))
	if tok := w.redeem(newBrowser(t).authorize(w, r).code(t), r.verifier); tok.Status == http.StatusOK {
		t.Error("the secret before it serves for ever")
	}
	w.secret = fresh
	signs("the new secret later")

	show, list := w.commanded("app show shop"), w.commanded("app list")
	for _, want := range []string{callback, "client_secret_basic", "RS256", "refresh_token", "good until"} {
		if !strings.Contains(show, want) {
			t.Errorf("app show has no %s:\n%s", want, show)
		}
	}
	if !strings.Contains(list, "shop ") || strings.Contains(show+list, old) || strings.Contains(show+list, fresh) {
		t.Errorf("%s\n%s", show, list)
	}
}

func TestOfAnAppsSecretTheHashIsKeptAndTheRecordSaysThatItWasMade(t *testing.T) {
	w := newWorld(t)
	secret := printedLine(t, w.commanded("app create Shop --for go"), "CLIENT_SECRET")
	app, err := w.h.store.AppByClientID(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(app.Secrets) != 1 || app.Secrets[0].Hash != sha256.Sum256([]byte(secret)) || !app.Secrets[0].Until.IsZero() {
		t.Errorf("kept: %+v", app.Secrets)
	}
	if got := w.recorded("", audit.AppCreated); !slices.Contains(got, string(app.ID)) {
		t.Errorf("on the record: %v", got)
	}
}

func TestAnAppThatCannotBeIsToldWhy(t *testing.T) {
	w := newWorld(t)
	w.addOrg("acme", "")
	if !strings.HasSuffix(errFramework.Public, ": "+frameworkNames()+".") {
		t.Errorf("the sentence does not name every framework: %s", errFramework.Public)
	}
	for _, tc := range []struct{ line, says string }{
		{"app create Shop", frameworkNames()},
		{"app create Shop --for cobol", `there is no "cobol"`},
		{"app create --for go", "Name the app"},
		{"app create Shop --for go --url shop.example", "The app's address is https://"},
		{"app create Shop --for go --url http://shop.example", "https, or http on this machine"},
		{"app create Shop --for go --url https://shop.example?x=1", "no query"},
		{"app create Shop --for go --url https://me@shop.example", "The app's address is"},
		{"app create Shop --for go --url javascript:alert(1)", "The app's address is"},
		{"app create Shop --for go --org acme --everyone", "--org or --everyone"},
		{"app create Shop --for go --org nobody", "organization"},
		{"app create Payments --for go", "none is given out twice"},
		{"app create … --for go", "--client-id"},
		{"app show nobody", "app"},
		{"app rotate-secret", "client id"},
	} {
		if status, said := w.command(tc.line); status == 0 || !strings.Contains(said, tc.says) {
			t.Errorf("vestibule %s: status %d, want %q in\n%s", tc.line, status, tc.says, said)
		}
	}
	if list := w.commanded("app list"); strings.Contains(list, "shop") {
		t.Errorf("half of an app stayed:\n%s", list)
	}
	w.commanded("app create Page --for spa --everyone")
	if status, said := w.command("app rotate-secret page"); status == 0 || !strings.Contains(said, "without a secret") {
		t.Error(said)
	}
	page, err := w.h.store.AppByClientID(t.Context(), "page")
	if err != nil {
		t.Fatal(err)
	}
	org, err := w.h.store.OrgByHandle(t.Context(), w.main, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := w.h.store.Entitled(t.Context(), org, page.ID); err != nil || !ok {
		t.Error("everyone does not hold acme", err)
	}
}

// page is the manual's page about a framework, made from what `app create` prints.
func (f framework) page() (string, error) {
	with := handed{Issuer: "https://login.example.com", ClientID: "my-app", Secret: "THE-SECRET-THAT-IT-PRINTS", URL: f.local, Random: "A-RANDOM-VALUE-THAT-IT-PRINTS"}
	q, err := f.quickstart(with)
	if err != nil {
		return "", err
	}
	s := f.settings(f.local)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nMade from what the command prints; the five steps are in [apps.md](../apps.md).\n\n    vestibule app create \"My app\" --for %s --org acme\n\n", f.title, f.name)
	fmt.Fprintf(&b, "registers, at `%s` or the address that `--url` names:\n\n| | |\n| --- | --- |\n", f.local)
	fmt.Fprintf(&b, "| Redirect URI | `%s` |\n| After signing out | `%s` |\n| Client authentication | `%s` |\n| id tokens | `%s` |\n",
		strings.Join(s.RedirectURIs, "`, `"), strings.Join(s.PostLogoutURIs, "`, `"), s.Method, s.IDTokenAlg)
	if f.refresh {
		b.WriteString("| Refresh tokens | with the scope `offline_access` |\n")
	}
	fmt.Fprintf(&b, "\n## Install\n\n%s\n## .env\n\n%s\n", indented(q.install), indented(q.env))
	for _, c := range q.code {
		fmt.Fprintf(&b, "## %s\n\n%s\n", c.name, indented(c.text))
	}
	fmt.Fprintf(&b, "## Run\n\n%s\n", q.start)
	if f.proof == "" {
		b.WriteString("**Not run.** These lines were written after the library's documentation and source; neither our tests nor we have run them, so a name may need correcting. Our tests do send the requests that the library sends, parameter by parameter, and sign in with them. What other libraries print when something is wrong is in [errors.md](../errors.md).\n")
	} else {
		fmt.Fprintf(&b, "**Run.** These lines are part of [`%s`](../../%s), which our tests start and sign in to. What is printed when something is wrong is in [errors.md](../errors.md).\n", f.proof, f.proof)
	}
	return b.String(), nil
}

func indented(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// The manual's quickstarts are what the command prints, and lines that a page calls run are lines of an
// app that runs.
func TestTheManualHasAQuickstartForEveryFramework(t *testing.T) {
	index, err := os.ReadFile("../../docs/apps.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frameworks {
		page, err := f.page()
		if err != nil {
			t.Fatal(err)
		}
		manual := "../../docs/quickstarts/" + f.name + ".md"
		if *updateDocs {
			if err := os.WriteFile(manual, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if raw, err := os.ReadFile(manual); err != nil || string(raw) != page {
			t.Errorf("%s is not what the program prints (%v); run: go test ./cmd/vestibule -run TestTheManualHasAQuickstartForEveryFramework -update-docs", manual, err)
		}
		if !strings.Contains(string(index), "(quickstarts/"+f.name+".md)") {
			t.Errorf("docs/apps.md does not name %s", manual)
		}
		if f.proof == "" {
			if !slices.ContainsFunc(notRun, func(l imitated) bool { return l.framework == f.name }) {
				t.Errorf("nothing sends the requests of %s", f.name)
			}
			continue
		}
		q, _ := f.quickstart(handed{URL: f.local})
		for i, c := range q.code {
			file := f.proof
			if i > 0 {
				file = path.Join(path.Dir(f.proof), c.name)
			}
			if app, err := os.ReadFile("../../" + file); err != nil || !strings.Contains(string(app), c.text) {
				t.Errorf("%s does not hold the lines of quickstarts/%s.txt, so nothing runs them (%v)", file, f.name, err)
			}
		}
	}
}

// Every framework's app is one that can be registered, and all that is printed for it fits together.
func TestEveryFrameworksAppCanBeRegistered(t *testing.T) {
	for _, f := range frameworks {
		app, secret, err := newApp(f, "My Shop", "", "https://shop.example/base/")
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		app.Realm = "main"
		with := handed{Issuer: "https://id.example", ClientID: app.ClientID, Secret: secret, URL: "https://shop.example/base", Random: randomText()}
		q, err := f.quickstart(with)
		if err != nil || q.install == "" || q.env == "" || len(q.code) == 0 || q.start == "" {
			t.Errorf("%s: %+v, %v", f.name, q, err)
			continue
		}
		for _, want := range []string{with.Issuer, "my-shop", secret} {
			if !strings.Contains(q.env, want) {
				t.Errorf("%s: no %s in\n%s", f.name, want, q.env)
			}
		}
		code := fmt.Sprint(q.code)
		if strings.Contains(code, "[[") || secret != "" && strings.Contains(code+q.start+q.install, secret) {
			t.Errorf("%s: the secret stands in code, or a place was not filled:\n%s", f.name, code)
		}
		for _, u := range app.RedirectURIs {
			if parsed, err := url.Parse(u); err != nil || !strings.HasPrefix(parsed.Path, "/base/") {
				t.Errorf("%s: redirect URI %s", f.name, u)
			}
		}
	}
}
