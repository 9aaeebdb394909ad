//go:build !quick

package templates_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/browsertest"
	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/templates/templatestest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// policy is the Content-Security-Policy under which pages are served; what it stops fails the test.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// costume is one way to look at a page.
type costume struct {
	theme, org, lang string
	width            int
	dark             bool
}

func (c costume) String() string {
	scheme := "light"
	if c.dark {
		scheme = "dark"
	}
	return fmt.Sprintf("%s-%s-%d-%s", c.theme, c.lang, c.width, scheme)
}

// costumes: every page in both schemes at 320, 390 and 1280 pixels, and in every layout. Every page wears
// the first three, and one of the others; in test-long all of them.
var costumes = []costume{
	{"mightybank-emea", "MightyBank EMEA", "en", 320, true},
	{"vestibule", "", "en", 390, false},
	{"mexbanco", "MexBanco", "es", 1280, false},
	{"acme-bank", "Acme Bank", "en", 1280, false},
	{"globalretail", "GlobalRetail Co", "es", 1280, true},
	{"techcorp", "TechCorp", "en", 390, true},
	{"mexbanco", "MexBanco", "es", 320, false},
	{"harbor", "Harbor Supplies", "en", 640, false},
}

const always = 3 // of them

// wears says whether the page at a place wears a costume.
func wears(page, costume int) bool {
	return browsertest.Thorough || costume < always || costume-always == page%(len(costumes)-always)
}

// gallery serves every page the way the house does.
func gallery(t *testing.T, c costume) (*httptest.Server, []string) {
	t.Helper()
	kit := templatestest.New(t)
	look := kit.Look(t, c.theme, c.org, c.lang)
	logos := map[string]string{}
	for _, name := range []string{"acme-bank.svg", "mexbanco.svg", "mexbanco-dark.svg"} {
		url, err := kit.Assets.URL(name)
		if err != nil {
			t.Fatal(err)
		}
		logos["/theme/"+name] = url
	}
	mux := http.NewServeMux()
	mux.Handle("/assets/", kit.Assets)
	mux.HandleFunc("/theme/", func(w http.ResponseWriter, r *http.Request) {
		if url := logos[r.URL.Path]; url != "" {
			r.URL.Path = url
		}
		kit.Assets.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	var paths []string
	for i, page := range templatestest.Pages() {
		path := fmt.Sprintf("/page/%d", i)
		paths = append(paths, path)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { show(t, w, kit, look, page) })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, paths
}

func show(t *testing.T, w http.ResponseWriter, kit templatestest.Kit, look templates.Look, page templates.Page) {
	if leaving, ok := page.(templates.LeavingPage); ok && leaving.Fields != nil {
		leaving.URL = "/nowhere" // answers nothing, so that the page stays
		page = leaving
	}
	if answer, ok := page.(templates.PostAnswerPage); ok {
		answer.URL = "/nowhere"
		page = answer
	}
	html, err := kit.Renderer.Render(look, page)
	if err != nil {
		t.Error(err)
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(html)
}

// No violation of axe-core, nothing that sticks out sideways, nothing that the policy stops.
func TestEveryPageInABrowser(t *testing.T) {
	for n, c := range costumes {
		t.Run(c.String(), func(t *testing.T) {
			server, paths := gallery(t, c)
			p := browsertest.New(t, browsertest.Options{Width: c.width, Dark: c.dark})
			for i, path := range paths {
				if !wears(i, n) {
					continue
				}
				p.Goto(server.URL + path)
				p.Eval(`document.querySelectorAll("details").forEach(d => d.open = true)`, nil)
				p.Axe()
				p.Screenshot(fmt.Sprintf("page-%02d-%s", i, c))
				fits(t, p, path)
				largeEnough(t, p, path)
				p.Eval(`document.documentElement.dir = "rtl"`, nil)
				fits(t, p, path+" from right to left")
			}
		})
	}
}

// fits fails when something sticks out sideways.
func fits(t *testing.T, p *browsertest.Page, what string) {
	t.Helper()
	var over float64
	p.Eval(`document.documentElement.scrollWidth - innerWidth`, &over)
	if over > 0 {
		t.Errorf("%s is %v px wider than the window", what, over)
	}
}

// largeEnough fails when something to press is less than 24 px high (WCAG 2.2, 2.5.8). A box is pressed by
// its label.
func largeEnough(t *testing.T, p *browsertest.Page, what string) {
	t.Helper()
	var small []string
	p.Eval(`[...document.querySelectorAll("a[href], button, summary, input:not([type=hidden])")].filter(e => e.checkVisibility())
		.map(e => e.type === "checkbox" ? e.closest("label") : e).filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)`, &small)
	if len(small) > 0 {
		t.Errorf("%s: too small to press: %q", what, small)
	}
}

// The longest names that are kept, without a space to break at, widen no page.
func TestLongNamesStayInside(t *testing.T) {
	org, app := strings.Repeat("W", 128), strings.Repeat("Ü", 120)
	domain := strings.Repeat("b", 247) + ".example"
	mail := strings.Repeat("a", 64) + "@" + domain
	refused := templates.FaultOf("en", "saml.bad_cert", templates.Names{Provider: org, Org: org, App: app})
	refused.Who, refused.Contact, refused.Code, refused.BackURL, refused.RetryURL, refused.App = org, "it@acmebank.example", "VB-7Q4K-29TM", "/", "/", app
	item := []templates.ChooseItem{{Value: "1", Name: org, Hint: mail, LastUsed: true}}
	for _, page := range []templates.Page{
		templates.IdentifyPage{
			App: app, Org: org, Error: templates.IdentifyUnknownDomain, Domain: domain, Value: mail, Suggestion: mail, Connection: "c", ConnectionName: org,
			Remembered: []templates.RememberedOrg{{Value: "a", Name: org, Hint: mail}},
		},
		templates.NoCompanyPage{Value: mail, App: app},
		templates.ChoosePage{App: app, Who: mail, ChangeURL: "/", CanRemember: true, Items: item},
		templates.ChooseConnectionPage{App: app, Org: org, Who: mail, ChangeURL: "/", Items: item},
		templates.LeavingPage{URL: "/", Provider: org, Host: domain, Org: org, Who: mail, ChangeURL: "/"},
		templates.NotMemberPage{Org: org, App: app, Who: mail, Contact: "it@acmebank.example", OtherURL: "/", AppURL: "/", Code: "VB-7Q4K-29TM"},
		templates.AccountsPage{Action: "/", App: app, Items: item},
		templates.ConsentPage{
			Action: "/", App: app, Org: org, Who: mail, Host: domain, Policy: "https://" + domain, Terms: "https://" + domain,
			Items: []templates.ConsentItem{{Title: org, Detail: mail}},
		},
		templates.PostAnswerPage{URL: "/nowhere", Host: domain},
		templates.OverPage{Reason: templates.OverUsed, App: app, AppURL: "/", Code: "VB-7Q4K-29TM"},
		templates.LogoutConfirmPage{App: app, Who: mail, CancelURL: "/"},
		templates.LogoutDonePage{App: app, AppURL: "/", Remains: []string{org}},
		refused,
	} {
		for _, c := range []costume{{"acme-bank", org, "en", 320, false}, {"mexbanco", org, "es", 1280, true}} {
			url, _ := wearing(t, c, page)
			p := browsertest.New(t, browsertest.Options{Width: c.width, Dark: c.dark})
			p.Goto(url)
			p.Screenshot(fmt.Sprintf("long-%s-%d", strings.ReplaceAll(page.Template(), "/", "-"), c.width))
			fits(t, p, page.Template())
		}
	}
}

// Letters are read in mail programs, which show them much as a browser does: in both schemes, on phones too.
func TestLettersInABrowser(t *testing.T) {
	kit := templatestest.New(t)
	for _, c := range []costume{{"acme-bank", "Acme Bank", "en", 390, false}, {"techcorp", "TechCorp", "es", 1280, true}} {
		t.Run(c.String(), func(t *testing.T) {
			look := kit.LetterLook(t, c.theme, c.org)
			mux := http.NewServeMux()
			var paths []string
			for i, l := range templatestest.Letters() {
				w := kit.Write(t, look, c.lang, l)
				if w.HTML == "" {
					continue
				}
				paths = append(paths, fmt.Sprintf("/letter/%d", i))
				mux.HandleFunc(paths[len(paths)-1], func(out http.ResponseWriter, _ *http.Request) {
					out.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'")
					out.Header().Set("Content-Type", "text/html; charset=utf-8")
					_, _ = out.Write([]byte(w.HTML))
				})
			}
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			p := browsertest.New(t, browsertest.Options{Width: c.width, Dark: c.dark})
			for i, path := range paths {
				if !browsertest.Thorough && i%2 == 1 {
					continue
				}
				p.Goto(server.URL + path)
				p.AxeWCAG()
				p.Screenshot(fmt.Sprintf("letter-%02d-%s", i, c))
				fits(t, p, path)
			}
		})
	}
}
