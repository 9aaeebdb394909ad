//go:build !quick

package main

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// The stories of flow_test.go in a real browser, which alone knows what it does with cookies, history,
// forms and redirects.

// stage is a world with an app that a browser can open, on another site than the house.
type stage struct {
	*world
	shop     string // the app's address
	acme     company
	mu       sync.Mutex
	requests map[string]request // by state
	redeemed map[string]string  // the organization of each state
}

// onStage makes a world of an OpenID provider that answers by redirect, one that posts, and a SAML
// provider that is posted to and posts, all of which sign in at once; the app redeems every code.
func onStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{world: newWorld(t), requests: map[string]request{}, redeemed: map[string]string{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.shop = srv.URL
	s.app, s.secret = s.addApp("shop", func(a *broker.App) {
		a.RedirectURIs, a.Home, a.PostLogoutURIs = []string{srv.URL + "/callback"}, srv.URL+"/", []string{srv.URL + "/bye"}
	})
	s.acme = s.addOIDC("acme", nil)
	s.addOIDC("posted", formPost)
	s.addSAML("retail", func(_ *upstream.Connection, c *saml.Config) { c.Binding = "post" })
	return s
}

// ServeHTTP is the app: its home, and where codes arrive.
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page := func(text string) {
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Shop</title><main><h1>The shop</h1><p>%s</p><a href="/start">Sign in at the shop</a></main>`, html.EscapeString(text))
	}
	switch r.URL.Path {
	case "/start":
		http.Redirect(w, r, s.url+"/authorize?"+s.begin(r.URL.Query().Get("organization")), http.StatusFound)
	case "/callback":
		if err := r.ParseForm(); err != nil {
			s.t.Error(err)
		}
		page(s.arrived(r.Form))
	case "/favicon.ico":
		w.WriteHeader(http.StatusNoContent)
	default:
		page("Welcome.")
	}
}

func (s *stage) begin(organization string) string {
	r := s.request(func(v url.Values) {
		v.Set("redirect_uri", s.shop+"/callback")
		if organization != "" {
			v.Set("organization", organization)
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[r.Get("state")] = r
	return r.Encode()
}

func (s *stage) arrived(q url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[q.Get("state")]
	if !ok || q.Get("code") == "" {
		return "Not signed in: " + q.Get("error")
	}
	if org, again := s.redeemed[q.Get("state")]; again {
		return "Signed in before at " + org
	}
	tok := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {s.shop + "/callback"}, "code_verifier": {r.verifier}},
		func(req *http.Request) { req.SetBasicAuth(s.app.ClientID, s.secret) })
	if tok.Status != http.StatusOK {
		return "Not signed in: " + tok.Error
	}
	s.redeemed[q.Get("state")] = claims(s.t, tok.ID)["org_handle"].(string)
	return "Signed in at " + s.redeemed[q.Get("state")]
}

// open goes to the app and asks to be signed in.
func (s *stage) open(p *browsertest.Page, organization string) {
	p.Goto(s.shop + "/start?organization=" + organization)
}

// inBrowsers tells a story twice: to a browser that runs scripts and to one that does not.
func inBrowsers(t *testing.T, story func(t *testing.T, s *stage, o browsertest.Options)) {
	for name, o := range map[string]browsertest.Options{"scripts": {}, "no scripts": {NoScript: true}} {
		t.Run(name, func(t *testing.T) { story(t, onStage(t), o) })
	}
}

// through presses the buttons that scripts would press, where there are none.
func (s *stage) through(p *browsertest.Page, o browsertest.Options, organization string) {
	if !o.NoScript {
		return
	}
	if organization == "retail" {
		p.Click("Continue to Entra of retail")
	}
	if organization != "acme" {
		p.Click("Continue to")
	}
}

// No form-action stands in the way of a provider's redirects, no cookie of ours goes to an arrival that
// another site posts, and every binding works in a browser that keeps SameSite.
func TestBrowserSignsInByEveryBindingAndArrivalsCarryNoCookie(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		for _, org := range []string{"acme", "posted", "retail"} {
			p := browsertest.New(t, o)
			s.open(p, org)
			s.through(p, o, org)
			p.See("Signed in at " + org)
			posts := 0
			for _, r := range p.Requests() {
				if !strings.HasPrefix(r.URL, s.url+"/arrive/") || r.Method != http.MethodPost {
					continue
				}
				posts++
				if len(r.Cookies) != 0 {
					t.Errorf("%s: the arrival carried %v", org, r.Cookies)
				}
				if r.Answer["set-cookie"] != "" {
					t.Errorf("%s: the arrival set %s", org, r.Answer["set-cookie"])
				}
			}
			if want := map[string]int{"posted": 1, "retail": 1}[org]; posts != want {
				t.Errorf("%s: %d posted arrivals", org, posts)
			}
		}
	})
}

func TestBrowserTwoTabsDoNotDisturbEachOther(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		one := browsertest.New(t, o)
		s.open(one, "")
		two := one.NewTab()
		s.open(two, "")
		two.Fill("identifier", "ada@retail.example")
		two.Press("Enter")
		s.through(two, o, "retail")
		two.See("Signed in at retail")
		one.Fill("identifier", "ada@acme.example")
		one.Press("Enter")
		one.See("Signed in at acme")
	})
}

func TestBrowserBackAndReloadDoNoHarm(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		s.acme.idp.SetAuto("") // stop at the provider's page
		p := browsertest.New(t, o)
		s.open(p, "")
		p.Reload()
		p.Fill("identifier", "nobody@nowhere.example")
		p.Press("Enter")
		p.See("nobody@nowhere.example")
		p.Reload()
		p.See("nobody@nowhere.example")
		p.Click("Not you?")
		p.Fill("identifier", "ada@acme.example")
		p = p.NewContext()
		s.open(p, "")
		p.Fill("identifier", "ada@acme.example")
		p.Press("Enter")
		p.WaitURL(s.acme.idp.Base)
		p.Reload()
		p.Back() // to a page of the step that is over, or, where the browser asks for it anew, to where the login is
		if strings.HasPrefix(p.URL(), s.url) {
			p.Fill("identifier", "ada@retail.example")
			p.Press("Enter")
		}
		p.WaitURL(s.acme.idp.Base) // the step that is next
		p.Click("Continue as Ada acme")
		p.See("Signed in at acme")
		p.Back() // to wherever the browser thinks it was: nothing breaks, nothing is signed in twice
		p.NotSee("broke on our side")
		p.Forward()
		p.See("The shop")
		p.Reload()
		p.See("Signed in before at acme")
	})
}

// finished goes on where a second click came too late for the first one's answer: the page says that the
// sign-in is done and leads back to the app. Where the browser also dropped the answer that held its
// session, it asks once more who it is.
func (s *stage) finished(p *browsertest.Page, organization string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		switch text := p.Text(); {
		case strings.Contains(text, "Signed in"):
			return
		case strings.Contains(text, "already finished"):
			p.See("VB-")
			p.Click("Start again")
			p.Click("Sign in at the shop")
		case strings.Contains(text, "Work e-mail"):
			p.Fill("identifier", "ada@acme.example")
			p.Press("Enter")
		case organization != "" && strings.Contains(text, "Choose an organization"):
			p.Click(organization)
		}
	}
}

func TestBrowserDoubleClicksDoNoHarm(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		p := browsertest.New(t, o)
		s.open(p, "")
		p.Allow("410")
		p.Fill("identifier", "ada@acme.example")
		p.DoubleClick("Continue")
		s.finished(p, "")
		p.See("Signed in at acme")

		// The picker's answer is the last of a login: whoever is too quick is not left in the cold.
		below := s.addOrg("below", s.acme.org)
		s.change(s.acme, func(c *upstream.Connection) { c.Offered = true })
		s.member(below, s.person(s.acme, "acme-1").ID, "")
		s.open(p, "")
		p.See("Choose an organization")
		p.DoubleClick("Below")
		s.finished(p, "Below")
		p.See("Signed in at below")
	})
}

func TestBrowserAnExpiredLoginSaysWhereToBegin(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		s.acme.idp.SetAuto("")
		p := browsertest.New(t, o)
		s.open(p, "")
		s.clock.pass(flows.Life + time.Minute)
		p.Allow("410")
		p.Fill("identifier", "ada@acme.example")
		p.Press("Enter")
		p.See("open for half an hour", "VB-")
		if !o.NoScript {
			p.Axe()
		}
		p.Click("Start again")
		p.See("Welcome.")
	})
}

func TestBrowserAnotherBrowserAndALostCookieAreTold(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		p := browsertest.New(t, o)
		s.open(p, "")
		other := p.NewContext()
		other.Allow("410")
		other.Goto(p.URL())
		other.See("another browser", "VB-")
		other.Axe()
		lost := p.NewTab()
		lost.Goto(p.URL())
		p.ClearCookies("vb")
		p.Allow("410")
		lost.Allow("410")
		p.Fill("identifier", "ada@acme.example")
		p.Press("Enter")
		p.See("another browser")
		lost.Reload()
		lost.See("another browser")
		lost.Click("Start again")
		lost.Click("Sign in at the shop")
		lost.Fill("identifier", "ada@acme.example")
		lost.Press("Enter")
		lost.See("Signed in at acme")
	})
}

// A starts, B delivers, A reloads: nothing (S1), with the cookies that real browsers send.
func TestS1BrowserAStartsBDeliversAReloads(t *testing.T) {
	for _, org := range []string{"acme", "posted", "retail"} {
		t.Run(org, func(t *testing.T) {
			s := onStage(t)
			found, err := s.h.directory.OrgByHandle(t.Context(), s.main, org)
			s.must(err)
			a, b := newBrowser(t), browsertest.New(t, browsertest.Options{})
			// A is a program, so that it can stop where A's browser would go on; B is a browser.
			departure := a.depart(s.world, s.request(func(v url.Values) { v.Set("redirect_uri", s.shop+"/callback"); v.Set("organization", org) }))
			b.Allow("410")
			if f := selfPosting(departure); f != nil {
				b.Goto(s.lure(t, f))
				b.Click("Win a prize")
			} else {
				b.Goto(departure.header.Get("Location"))
			}
			b.WaitURL(s.url)
			b.See("another browser")
			for _, c := range b.Cookies() {
				if c.Name == "vs" {
					t.Error("B has a session")
				}
			}
			if p := a.get(s.world, "/login/"+loginOf(t, departure)); p.status != http.StatusGone {
				t.Errorf("A's login is still there: %d", p.status)
			}
			s.open(b, string(found)) // B's own sign-in works
			b.See("Signed in at " + org)
		})
	}
}

// lure is a page of the attacker's that posts A's request from B's browser.
func (s *stage) lure(t *testing.T, f *htmlForm) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Prize</title><link rel="icon" href="data:,"><form method="post" action="%s">`, html.EscapeString(f.action))
		for name := range f.values {
			fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, name, html.EscapeString(f.values.Get(name)))
		}
		fmt.Fprint(w, `<button>Win a prize</button></form>`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// A page of another site that posts into a login, or signs somebody out, is refused by what browsers say
// about where a form comes from.
func TestBrowserFormsOfOtherSitesAreRefused(t *testing.T) {
	s := onStage(t)
	p := browsertest.New(t, browsertest.Options{})
	s.open(p, "acme")
	p.See("Signed in at acme")
	s.open(p, "posted")
	p.See("Signed in at posted")
	tab := p.NewTab()
	tab.Allow("403")
	at := s.url + "/logout/confirm?continue=" + directory.NewSecret()
	tab.Goto(s.lure(t, &htmlForm{action: at, values: url.Values{"step": {"confirm"}}}))
	tab.Click("Win a prize")
	tab.See("another site")
	s.open(p, "acme")
	p.See("Signed in at acme")
}

// An app on the device takes its code by a scheme of its own (RFC 8252 section 7.1): the browser follows
// there from our form over the provider, and nothing in our pages' policy stands in the way.
func TestBrowserFollowsToAnAppsOwnScheme(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		const own = "com.example.shop:/callback"
		s.app, s.secret = s.addApp("handheld", func(a *broker.App) {
			a.Native, a.Method, a.Secrets = true, broker.NoSecret, nil
			a.RedirectURIs, a.PostLogoutURIs, a.Home = []string{own}, nil, ""
		})
		s.must(s.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: s.acme.org, App: s.app.ID}))
		r := s.request(func(v url.Values) { v.Set("redirect_uri", own) })
		p := browsertest.New(t, o)
		p.Goto(s.url + "/authorize?" + r.Encode())
		p.Fill("identifier", "ada@acme.example")
		p.Press("Enter")
		var code string
		for end := time.Now().Add(15 * time.Second); code == "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			for _, asked := range p.Requests() {
				if to, err := url.Parse(asked.Answer["location"]); err == nil && to.Scheme == "com.example.shop" {
					code = to.Query().Get("code")
				}
			}
		}
		tok := s.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {own}, "code_verifier": {r.verifier}, "client_id": {"handheld"}}, nil)
		if tok.Status != http.StatusOK {
			t.Errorf("the app got %q, and for it %s", code, tok.raw)
		}
	})
}
