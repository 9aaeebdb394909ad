//go:build !quick

package fakeidp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/crewjam/saml"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

func TestMain(m *testing.M) { browsertest.Main(m) }

// application is on another site than the provider: localhost, where that is 127.0.0.1.
type application struct {
	url string
	mu  sync.Mutex
	got []*http.Request
}

func newApplication(t *testing.T) *application {
	a := &application{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "app", Value: "1", Path: "/", SameSite: http.SameSiteLaxMode})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.ParseForm(); r.URL.Path == "/arrive" {
			a.mu.Lock()
			a.got = append(a.got, r)
			a.mu.Unlock()
		}
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>App</title><main><h1>The application</h1></main>`)
	}))
	t.Cleanup(srv.Close)
	a.url = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	return a
}

func (a *application) last(t *testing.T) *http.Request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.got) == 0 {
		t.Fatal("nothing arrived at the application")
	}
	return a.got[len(a.got)-1]
}

// doors start a provider of each kind, and say where an application sends the browser.
func doors(t *testing.T, app *application, change func(*Provider)) map[string]string {
	t.Helper()
	o := oidcProvider()
	o.Clients[0].Redirects, o.Look = []string{app.url + "/arrive"}, Look{Brand: "#c4f042"}
	s := samlProvider()
	s.SPs[0].ACS, s.Look = []string{app.url + "/arrive"}, Look{Style: Entra, Brand: "#1f7a3d"}
	for _, p := range []*Provider{o, s} {
		if change != nil {
			change(p)
		}
		start(t, p)
	}
	q := url.Values{"client_id": {"vestibule"}, "redirect_uri": {app.url + "/arrive"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}}
	_, sso := newService(t, s).depart(func(r *saml.AuthnRequest) { r.AssertionConsumerServiceURL = app.url + "/arrive" })
	return map[string]string{
		"oidc":           o.Base + "/authorize?" + q.Encode(),
		"oidc-form-post": o.Base + "/authorize?response_mode=form_post&" + q.Encode(),
		"saml":           sso,
	}
}

func TestAPersonComesBackToTheApplication(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		app := newApplication(t)
		for name, door := range doors(t, app, nil) {
			p := browsertest.New(t, browsertest.Options{NoScript: !scripts})
			p.Goto(app.url) // which sets its cookie
			p.Goto(door)
			p.Click("Continue as Ada Lovelace")
			if !scripts && name != "oidc" {
				p.Click("Continue to Vestibule")
			}
			p.See("The application")
			r := app.last(t)
			posted := name != "oidc"
			if r.Method == "POST" != posted || r.Form.Get("code")+r.Form.Get("SAMLResponse") == "" {
				t.Errorf("%s: arrived by %s with %v", name, r.Method, r.Form)
			}
			// What SameSite does to a post from another site, and why the two hosts differ.
			if _, err := r.Cookie("app"); (err == nil) == posted {
				t.Errorf("%s: the application's cookie: %v", name, err)
			}
			if posted && !strings.HasPrefix(r.Header.Get("Origin"), "http://127.0.0.1:") {
				t.Errorf("%s: Origin %q", name, r.Header.Get("Origin"))
			}
			for _, c := range p.Cookies() {
				if c.Domain == "127.0.0.1" {
					t.Errorf("%s: the provider has a cookie: %s", name, c.Name)
				}
			}
		}
	}
}

func TestAPersonAnswersWrongly(t *testing.T) {
	app := newApplication(t)
	door := doors(t, app, nil)["saml"]
	p := browsertest.New(t, browsertest.Options{NoScript: true})
	p.Goto(door)
	p.NotSee("An hour old")
	p.Click("Answer wrongly instead…")
	p.Click("Grace Hopper")
	p.Click("An hour old")
	p.See("GlobalRetail has answered")
	p.Back() // and thinks better of it
	p.Click("Do not sign in")
	p.Click("Continue to Vestibule")
	p.See("The application")
	declined := app.last(t).Form.Get("SAMLResponse")
	p.Goto(door)
	p.Click("Answer wrongly instead…")
	p.Click("Not signed")
	p.Click("Continue to Vestibule")
	p.See("The application")
	if wrong := app.last(t).Form.Get("SAMLResponse"); declined == "" || wrong == "" || wrong == declined {
		t.Error("nothing was answered")
	}
}

func TestPagesAreForEverybody(t *testing.T) {
	app := newApplication(t)
	long := func(p *Provider) {
		p.People = []Person{ada, {ID: "n", Name: "Nobody"}, {ID: "l", Name: strings.Repeat("Wolfeschlegelsteinhausen", 3), Email: strings.Repeat("long", 20) + "@techcorp.example"}}
	}
	normal, crowded := doors(t, app, nil), doors(t, app, long)
	nobody := doors(t, app, func(p *Provider) { p.People = []Person{} })
	for _, width := range []int{320, 390, 1280} {
		for _, dark := range []bool{false, true} {
			if !browsertest.Thorough && dark == (width != 320) {
				continue // the narrow one dark, the others light
			}
			p := browsertest.New(t, browsertest.Options{Width: width, Dark: dark, NoScript: true})
			check := func(name string) {
				t.Helper()
				p.Axe()
				var over int
				p.Eval(`document.documentElement.scrollWidth - innerWidth`, &over)
				if over > 0 {
					t.Errorf("%s scrolls sideways by %d pixels at %d", name, over, width)
				}
				p.Screenshot(fmt.Sprintf("fakeidp-%s-%d-%v", name, width, dark))
			}
			for _, kind := range []string{"oidc", "saml"} {
				p.Goto(normal[kind])
				check(kind)
				p.Click("Answer wrongly instead…")
				check(kind + "-wrongly")
				p.Goto(crowded[kind])
				check(kind + "-crowded")
				p.Goto(nobody[kind])
				check(kind + "-nobody")
			}
			p.Goto(normal["saml"])
			p.Click("Continue as Ada Lovelace")
			check("send")
			at, _ := url.Parse(normal["oidc"])
			p.Allow("404")
			p.Goto("http://" + at.Host + "/nothing")
			check("note")
		}
	}
}
