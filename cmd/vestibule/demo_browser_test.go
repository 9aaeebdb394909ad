//go:build !quick

package main

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// arrivals are the cards of the first page: whom each signs in, the presses after its own, and where it
// ends.
var arrivals = []struct {
	button  string
	presses []string
	org     string
	email   string
}{
	{"Sign in as Dana Reyes", []string{"Continue as Dana Reyes"}, "TechCorp Inc", "dana@techcorp.example"},
	{"Sign in as Mei Tanaka", []string{"Continue as Mei Tanaka"}, "GlobalRetail Co", "mei@globalretail.example"},
	{"Sign in as Carmen Delgado", []string{"Sign in"}, "Harbor Supplies", "carmen@harborsupplies.example"},
	{"Sign in as Olivia Grant", []string{"Continue as Olivia Grant", "Acme Bank"}, "Acme Bank", "olivia@mightybank.example"},
	{"Sign in as Avery Cole", []string{"Continue as Avery Cole"}, "Acme Bank", "avery@acmebank.example"},
	{"Sign in as Lucía Herrera", []string{"Continue as Lucía Herrera"}, "MexBanco", "lucia@mexbanco.example"},
	{"Sign in as Noor Haddad", []string{"Continue as Noor Haddad"}, "MightyBank EMEA", "noor@mightybank-emea.example"},
}

// refusals are the buttons that break something, with the fault that its story must name. One of them
// breaks nothing that keeps anybody out.
var refusals = map[string]string{
	"For another application":               "saml.bad_audience",
	"To another address":                    "saml.bad_recipient",
	"An hour old":                           "saml.expired",
	"Signed with a renewed certificate":     "saml.bad_cert",
	"Not signed":                            "saml.unsigned",
	"With another company's address":        "flows.email_domain",
	"From a clock that is ten minutes fast": "saml.not_yet",
	"From another tenant":                   "saml.bad_issuer",
	"Without an e-mail address":             "flows.email_missing",
	"To another request":                    "oidc.nonce",
	"After a long wait":                     "upstream.unreachable",
	"Not at all":                            "upstream.unreachable",
	"With an error page":                    "upstream.unreachable",
	"With megabytes":                        "oidc.token_endpoint",
	"With garbage":                          "oidc.token_endpoint",
	"With an unverified address":            "",
}

// buttons are the texts of everything on the first page that begins a sign-in.
func buttons(p *browsertest.Page) (list []string) {
	p.Eval(`[...document.querySelectorAll("main a.btn, main a.choice")].map(a => (a.querySelector("b") || a).textContent)`, &list)
	return list
}

func TestEveryButtonOfTheFirstPageLeadsWhereItSays(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.See("Every company signs in its own way. You keep the rules.", "Everything here is made up")
	all := buttons(p)
	if want := len(arrivals) + len(refusals); len(all) != want {
		t.Errorf("%d buttons, the test knows %d: %q", len(all), want, all)
	}
	for _, a := range arrivals {
		t.Run(a.button, func(t *testing.T) { arrive(t, d, a.button, a.presses, a.org, a.email) })
	}
	for _, label := range all[len(arrivals):] {
		t.Run(label, func(t *testing.T) { refuse(t, d, label) })
	}
}

func arrive(t *testing.T, d *demonstration, button string, presses []string, org, email string) {
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click(button)
	if org == "Harbor Supplies" { // which has no identity provider
		p.Fill("Password", "lanterns at dusk")
	}
	for _, what := range presses {
		p.Click(what)
	}
	if clicks := 1 + len(presses); clicks > 3 {
		t.Errorf("%d clicks from the first page to the claims", clicks)
	}
	p.See("Hello, "+strings.TrimPrefix(button, "Sign in as "), "You are here for "+org+" as "+email, "What the app was told", "org_handle")
	if strings.Contains(p.URL(), "code=") {
		t.Errorf("the code stays in the address: %s", p.URL())
	}
}

func refuse(t *testing.T, d *demonstration, label string) {
	want, known := refusals[label]
	if !known {
		t.Fatalf("the test does not know the button %q", label)
	}
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click(label)
	if want == "" {
		// The account is theirs; what the provider never checked is not passed on.
		p.See("Hello, Robin Wrong")
		p.NotSee("robin.unverified-email@techcorp.example", "email_verified")
		return
	}
	if !strings.HasPrefix(p.URL(), d.issuer) {
		t.Fatalf("ended at %s", p.URL())
	}
	title := p.Text("h1")
	code := p.Text("#ref")
	p.Goto(d.issuer)
	p.See(code)
	p.Click(code)
	p.See("What the person was told", title, code, "What the operator sees", want)
}

// Whoever runs no scripts gets there too: the posts between sites have buttons of their own.
func TestTheDemonstrationNeedsNoScript(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	for _, a := range arrivals {
		p := browsertest.New(t, browsertest.Options{NoScript: true})
		p.Goto(d.issuer)
		p.Click(a.button)
		if a.org == "Harbor Supplies" {
			p.Fill("Password", "lanterns at dusk")
		}
		clicks := 1
		for _, what := range a.presses {
			p.Click(what)
			clicks++
		}
		if a.org == "GlobalRetail Co" || a.org == "MexBanco" {
			p.Click("Continue to Vestibule")
			clicks++
		}
		p.See("You are here for "+a.org, "What the app was told")
		if clicks > 3 {
			t.Errorf("%s: %d clicks without script", a.button, clicks)
		}
	}
}

// S1: what a SAML provider posts across sites comes without any cookie of ours, and the login goes on by
// a ticket and the cookie together.
func TestS1TheAnswerOfASAMLProviderBringsNoCookieOfOurs(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Mei Tanaka")
	p.Click("Continue as Mei Tanaka")
	p.See("Hello, Mei Tanaka")
	posts, tickets := 0, 0
	for _, q := range p.Requests() {
		switch {
		case q.Method == "POST" && strings.HasPrefix(q.URL, d.issuer+"/arrive/"):
			posts++
			if len(q.Cookies) > 0 || q.Answer["set-cookie"] != "" || q.Status != 303 {
				t.Errorf("the provider's post: cookies %v, answered %d and set %q", q.Cookies, q.Status, q.Answer["set-cookie"])
			}
		case strings.HasPrefix(q.URL, d.issuer+"/login/") && strings.Contains(q.URL, "?t="):
			tickets++
			if q.Cookies["vb"] == "" {
				t.Errorf("the ticket came without the login's cookie: %v", q.Cookies)
			}
		}
	}
	if posts != 1 || tickets != 1 {
		t.Errorf("%d posts of the provider and %d tickets, want one each", posts, tickets)
	}
}

// A person signed in to one app is signed in to the other, without a page and without their provider.
func TestOneSignInOpensBothApps(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.Click("Continue as Dana Reyes")
	before := len(p.Requests())
	p.Click("Sign in to Partner Desk too")
	p.See("Partner Desk", "Hello, Dana Reyes", "No step was needed: you were signed in already.")
	for _, q := range p.Requests()[before:] {
		if strings.HasPrefix(q.URL, d.world.Address("techcorp")) {
			t.Errorf("the provider was asked again: %s", q.URL)
		}
	}
	// Signing out of one ends the session; nothing is left to go on with.
	p.Click("Sign out")
	p.See("You are signed out")
	if !strings.HasPrefix(p.URL(), d.world.Address("partner-desk")) {
		t.Errorf("signed out to %s", p.URL())
	}
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.See("Continue as Dana Reyes")
}

// Switching is silent where the session counts, and a sign-in where it does not.
func TestSwitchingOrganizationAsksOnlyWhereItMust(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Olivia Grant")
	p.Click("Continue as Olivia Grant")
	p.Click("MightyBank Americas")
	p.See("You are here for MightyBank Americas", "As an administrator entered it")
	before := len(p.Requests())
	p.Click("Name one")
	p.Click("MexBanco")
	p.See("You are here for MexBanco", "4 hours", "Set by MexBanco")
	if !slices.ContainsFunc(p.Requests()[before:], func(q browsertest.Request) bool {
		u, err := url.Parse(q.URL)
		return err == nil && u.Path == "/authorize" && u.Query().Get("prompt") == "none" && u.Query().Get("organization") == "alpha/mexbanco"
	}) {
		t.Error("the app did not ask with prompt=none first")
	}
	p.Click("Choose among mine")
	p.See("Choose an organization", "Acme Bank", "MexBanco", "MightyBank Americas")
	p.NotSee("TechCorp", "EMEA")
	p.Click("Acme Bank")
	p.See("You are here for Acme Bank as olivia@mightybank.example")
	p.Click("Name one")
	p.Click("TechCorp Inc")
	p.See("Made up. This identity provider is part of a demonstration.", "TechCorp Inc")
	p.Click("Continue as Theo Lind")
	p.See("Hello, Theo Lind", "You are here for TechCorp Inc")
}

// An organization that an app names asks which of its ways in to take, in its own language.
func TestACompanyNamedByTheAppSpeaksItsLanguage(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.world.Address("payments"))
	p.Click("Say which company first")
	p.Click("MexBanco")
	var lang string
	if p.Eval(`document.documentElement.lang`, &lang); !strings.HasPrefix(lang, "es") {
		t.Errorf("MexBanco's page is in %q", lang)
	}
	p.Click("MightyBank ID")
	p.Click("Continue as Ben Ortiz")
	// He is MightyBank's and not MexBanco's.
	p.See("MexBanco")
	p.NotSee("Hello")
	code := p.Text("#ref")
	p.Goto(d.issuer)
	p.Click(code)
	p.See("What the person was told", "MexBanco", "Pregunta", "flows.not_member")
}

func TestWhoeverDeclinesAtTheProviderIsToldWhere(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.Click("Do not sign in")
	p.See("Reference VB-")
	p.Click("Back to Payments")
	p.See("Approve what leaves your accounts.")
}

func TestResetForgetsThisBrowser(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.Click("Continue as Dana Reyes")
	p.Goto(d.issuer)
	p.See("Signed in", "TechCorp Inc to Payments")
	p.Click("Reset")
	p.See("Everything is forgotten", "Nothing yet.")
	for _, c := range p.Cookies() {
		if c.Domain == "localhost" {
			t.Errorf("the browser still has the cookie %s", c.Name)
		}
	}
	p.Goto(d.world.Address("payments"))
	p.See("Approve what leaves your accounts.")
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.See("Continue as Dana Reyes")
}

// The page of another site cannot press Reset.
func TestResetIsPressedOnOurOwnPageAlone(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Dana Reyes")
	p.Click("Continue as Dana Reyes")
	p.Eval(`(() => { const f = document.createElement("form"); f.method = "post"; f.action = `+"`"+d.issuer+"/demo/reset`"+`; document.body.append(f); f.submit() })()`, nil)
	p.WaitURL("/demo/reset")
	p.See("This form came from another site")
	p.Goto(d.issuer)
	p.See("TechCorp Inc to Payments")
}

// The world is the same at the next start: the sessions go on, and so do the people.
func TestARestartKeepsSessionsAndPeople(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	_, stop := startDemo(t, port, data)
	p := browsertest.New(t, browsertest.Options{})
	issuer := "http://localhost:" + strconv.Itoa(port)
	p.Goto(issuer)
	p.Click("Sign in as Mei Tanaka")
	p.Click("Continue as Mei Tanaka")
	sub := subject(p)
	stop()

	startDemo(t, port, data)
	p.Goto(issuer)
	p.Click("Sign in as Mei Tanaka")
	p.See("Hello, Mei Tanaka", "No step was needed: you were signed in already.")
	if got := subject(p); got != sub {
		t.Errorf("she was %s and is %s", sub, got)
	}
}

// subject is the claim sub that an app shows.
func subject(p *browsertest.Page) (sub string) {
	p.Eval(`[...document.querySelectorAll(".claims tr")].find(r => r.cells[0].textContent == "sub").cells[1].textContent`, &sub)
	return sub
}

// kill -9 in the middle of a login: sessions live on, the login does not, and its page says so.
func TestAfterAKillSessionsLiveOnAndLoginsStartAgain(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	first := spawnDemo(t, port, data)
	issuer := "http://localhost:" + strconv.Itoa(port)
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(issuer)
	p.Click("Sign in as Dana Reyes")
	p.Click("Continue as Dana Reyes")
	p.See("Hello, Dana Reyes")
	choosing := p.NewContext() // proved, and at our own page
	choosing.Goto(issuer)
	choosing.Click("Sign in as Olivia Grant")
	choosing.Click("Continue as Olivia Grant")
	choosing.See("Choose an organization")
	carrying := browsertest.New(t, browsertest.Options{NoScript: true}) // with the provider's answer in hand
	carrying.Goto(issuer)
	carrying.Click("Sign in as Mei Tanaka")
	carrying.Click("Continue as Mei Tanaka")
	carrying.See("Continue to Vestibule")
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait()

	spawnDemo(t, port, data)
	p.Goto(issuer)
	p.Click("Sign in as Dana Reyes")
	p.See("Hello, Dana Reyes", "No step was needed: you were signed in already.")
	choosing.Click("Acme Bank")
	choosing.See("This sign-in is over")
	carrying.Click("Continue to Vestibule")
	carrying.See("This sign-in is over")
}

// The pages of the world can be read by everybody, at every width.
func TestThePagesOfTheDemonstrationAreAccessible(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	d.sent(t)
	ways := map[string]browsertest.Options{"1280-light": {}, "390-dark": {Width: 390, Dark: true}}
	if browsertest.Thorough {
		ways["1280-dark"], ways["390-light"] = browsertest.Options{Dark: true}, browsertest.Options{Width: 390}
	}
	for name, o := range ways {
		p := browsertest.New(t, o)
		look := func(page string) {
			t.Helper()
			p.Axe()
			var wide bool
			if p.Eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
				t.Errorf("%s scrolls sideways at %s", page, name)
			}
			p.Screenshot(page + "-" + name)
		}
		p.Goto(d.issuer)
		p.Reload()
		look("demo")
		p.Click("Inbox")
		look("inbox")
		p.Click("Your sign-in link for Payments")
		look("message")
		p.Goto(d.issuer)
		p.Click("Signed with a renewed certificate")
		look("error")
		p.Goto(d.world.Address("payments"))
		look("app-signed-out")
		p.Goto(d.issuer)
		p.Click("Sign in as Dana Reyes")
		look("sign-in-techcorp")
		p.Click("Continue as Dana Reyes")
		look("claims")
		p.Goto(d.issuer)
		p.Click("Sign in as Olivia Grant")
		p.Click("Continue as Olivia Grant")
		look("picker")
		p.Goto(d.issuer)
		p.Click("In Go")
		p.Click("In JavaScript, with openid-client")
		look("demo-afterwards")
		p.Click(".latest li:last-child a")
		look("story")
	}
}
