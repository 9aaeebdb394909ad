//go:build !quick

package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

const head = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title></head><body><main><h1>%[1]s</h1>`

// site is a small place with the habits of a sign-in: cookies, a form post, redirects, another site.
func site(t *testing.T) (url string, posts *atomic.Int64) {
	t.Helper()
	posts = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "login", Value: "a", Path: "/", SameSite: http.SameSiteLaxMode, HttpOnly: true})
		fmt.Fprintf(w, head, "Start")
		fmt.Fprint(w, `<form method="post" action="/post"><label>E-mail <input name="email" type="email" value="old@x.example"></label>
			<label>Kind <select name="kind"><option>Work</option><option value="h">Home</option></select></label>
			<button>Continue</button></form><p><a href="/slow">A slow page</a> <a href="/none">Nothing</a></p>
			<button disabled>Later</button><p hidden>secret words</p><button>Twin</button><button>Twin</button></main>`)
	})
	mux.HandleFunc("POST /post", func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		time.Sleep(50 * time.Millisecond)
		http.Redirect(w, r, "/done?email="+r.FormValue("email")+"&kind="+r.FormValue("kind"), http.StatusSeeOther)
	})
	mux.HandleFunc("/done", func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Cookie("login")
		fmt.Fprintf(w, head, "Done")
		fmt.Fprintf(w, "<p>Hello %s of %s, cookie %v</p></main>", r.FormValue("email"), r.FormValue("kind"), c)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(400 * time.Millisecond)
		fmt.Fprintf(w, head, "Slow")
	})
	mux.HandleFunc("GET /none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /bounce", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, head, "Bounce")
		fmt.Fprintf(w, `<form method="post" action="%s"><button>Go on</button></form><script>document.forms[0].submit()</script>`, r.FormValue("to"))
	})
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'self'")
		fmt.Fprintf(w, head, "Broken")
		fmt.Fprint(w, `<p style="color:red">styled</p><script src="/gone.js"></script><script src="/bad.js"></script><img src="/pixel.png"></main>`)
	})
	mux.HandleFunc("GET /bad.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, `console.error("written", 7); document.querySelector("p").textContent = "script ran"; undefinedThing()`)
	})
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, head, "You cannot come in")
	})
	mux.HandleFunc("GET /look", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, head, "Look")
		fmt.Fprint(w, `<style>p{display:none}@media (prefers-color-scheme:dark){.dark{display:block}}@media (max-width:400px){.narrow{display:block}}</style>
			<p class="dark">It is dark</p><p class="narrow">It is narrow</p><noscript>No script here</noscript></main>`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, posts
}

func TestAPersonFillsAFormAndPressesTheButton(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url)
	p.Fill("E-mail", "ana@acme.example")
	p.Fill("Kind", "Home")
	p.Click("Continue")
	p.See("hello ana@acme.example of h", "login=a")
	if got := p.URL(); !strings.HasPrefix(got, url+"/done?") || p.Title() != "Done" {
		t.Fatalf("at %s, %q", got, p.Title())
	}
	p.Back()
	p.See("Start")
	p.NotSee("secret words")
	p.Forward()
	p.Reload()
	if got := p.Text("main p"); !strings.Contains(got, "ana@acme.example") {
		t.Fatalf("after reload: %s", got)
	}
	p.Goto(url)
	p.Fill("input[name=email]", "")
	if got := p.Value("email"); got != "" {
		t.Fatalf("the field holds %q", got)
	}
	p.Press("Enter")
	p.See("Hello")
}

func TestAClickWaitsForASlowPageAndForNone(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url)
	p.Click("Nothing")
	p.Click("A slow page")
	if got := p.Title(); got != "Slow" {
		t.Fatalf("the click came back at %q", got)
	}
}

func TestRequestsTellWhichCookiesWereSent(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url)
	p.Goto(url + "/done")
	// From localhost to 127.0.0.1, two sites: a Lax cookie must not go along with the post.
	p.Goto(strings.Replace(url, "127.0.0.1", "localhost", 1) + "/bounce?to=" + url + "/post")
	p.See("Done")
	var crossed, first, redirected *Request
	for _, q := range p.Requests() {
		q := q
		switch {
		case q.Method == "POST" && q.URL == url+"/post":
			crossed = &q
		case q.Method == "GET" && q.URL == url+"/done":
			first = &q
		case strings.HasPrefix(q.URL, url+"/done?"):
			redirected = &q
		}
	}
	if first == nil || first.Cookies["login"] != "a" || first.Type != "Document" || first.Status != 200 {
		t.Errorf("a GET of the same site: %+v", first)
	}
	if crossed == nil || len(crossed.Cookies) != 0 || crossed.Header["cookie"] != "" || crossed.Status != 303 {
		t.Errorf("a POST from another site: %+v", crossed)
	}
	if redirected == nil || redirected.Status != 200 || redirected.Cookies["login"] != "a" {
		t.Errorf("the GET that follows that POST, which a Lax cookie goes along with: %+v", redirected)
	}
	if crossed != nil && !strings.HasPrefix(crossed.Answer["location"], "/done") {
		t.Errorf("the answer's header: %v", crossed.Answer)
	}
}

func TestTabsShareCookiesAndBrowsersDoNot(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url)
	tab, other := p.NewTab(), p.NewContext()
	tab.Goto(url + "/done")
	tab.See("login=a")
	other.Goto(url + "/done")
	other.NotSee("login=a")
	p.Fill("E-mail", "still@here.example") // the first tab works on while others are in front
	if got := len(p.Cookies()); got != 1 || p.Cookies()[0].Name != "login" || !p.Cookies()[0].HTTPOnly {
		t.Fatalf("cookies: %+v", p.Cookies())
	}
	if got := len(other.Cookies()); got != 0 {
		t.Fatalf("the other browser has %d cookies", got)
	}
	p.ClearCookies("login")
	tab.Reload()
	tab.NotSee("login=a")
}

func TestAnImpatientPersonSubmitsTwice(t *testing.T) {
	url, posts := site(t)
	p := New(t, Options{})
	p.Goto(url)
	p.DoubleClick("Continue")
	p.See("Done")
	if posts.Load() != 2 {
		t.Fatalf("the server saw %d posts", posts.Load())
	}
}

func TestWithoutScriptsNothingRunsAndTheKitStillWorks(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{NoScript: true})
	p.Goto(url + "/bounce?to=" + url + "/done")
	p.See("Bounce")
	p.Click("Go on")
	p.See("Done")
	p.Goto(url + "/look")
	p.See("No script here")
	p.violations("")
	p.Goto(url + "/bounce?to=" + url + "/done")
	p.See("Bounce") // scripts are off again
}

func TestOptionsAreWhatThePageSees(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{Width: 390, Dark: true})
	p.Goto(url + "/look")
	p.See("It is dark", "It is narrow")
	p = New(t, Options{})
	p.Goto(url + "/look")
	p.NotSee("It is dark", "It is narrow")
}

func TestProblemsAreCollected(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url + "/broken")
	p.See("script ran")
	all := strings.Join(p.Problems(), "\n")
	for _, want := range []string{"Content-Security-Policy: style-src", "undefinedThing", "console error: written 7", "/gone.js", "/pixel.png"} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem tells of %q in:\n%s", want, all)
		}
	}
	for _, part := range []string{"Content-Security-Policy", "Content Security Policy", "undefinedThing", "written 7", "/gone.js", "/pixel.png"} {
		p.Allow(part)
	}
	if left := p.Problems(); len(left) != 0 {
		t.Errorf("left after Allow: %q", left)
	}
}

func TestAnErrorPageIsNoProblem(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url + "/fault")
	p.See("You cannot come in")
	if got := p.Requests()[0].Status; got != http.StatusForbidden {
		t.Errorf("status %d", got)
	}
}

func TestAxeFindsWhatIsWrong(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url + "/broken")
	found := strings.Join(p.violations(""), "\n")
	if !strings.Contains(found, "image-alt") {
		t.Errorf("axe found: %s", found)
	}
	p.Allow("")
	p.Goto(url + "/fault")
	p.Axe()
}

func TestScreenshotsGoToTheFolderAndNowhereElse(t *testing.T) {
	url, _ := site(t)
	folder := t.TempDir()
	p := New(t, Options{Width: 390})
	p.Goto(url)
	t.Setenv(Shots, "")
	p.Screenshot("none")
	t.Setenv(Shots, folder)
	p.Screenshot("sign in/390")
	if _, err := os.Stat(filepath.Join(folder, "sign-in-390.png")); err != nil {
		t.Error(err)
	}
}

// spy stands for a test that is expected to fail.
type spy struct {
	testing.TB
	said string
}

func (s *spy) Helper() {}
func (s *spy) Fatalf(format string, args ...any) {
	s.said = fmt.Sprintf(format, args...)
	panic(s)
}

func TestAFailureSaysWhatWasThereInstead(t *testing.T) {
	url, _ := site(t)
	p := New(t, Options{})
	p.Goto(url)
	p.patience = 1500 * time.Millisecond
	gone := httptest.NewServer(nil)
	nobody := gone.URL
	gone.Close()
	cases := []struct {
		name, want string
		do         func()
	}{
		{"an absent button", `"A slow page"`, func() { p.Click("Sign in with magic") }},
		{"two of a name", "2 things are called that", func() { p.Click("Twin") }},
		{"a disabled button", "it is disabled", func() { p.Click("Later") }},
		{"a text that is hidden", "Continue", func() { p.See("secret words") }},
		{"nobody answers", "ERR_CONNECTION_REFUSED", func() { p.Goto(nobody) }},
	}
	for _, c := range cases {
		s := &spy{TB: t}
		p.t = s // the page fails this one instead
		func() {
			defer func() { _ = recover() }()
			c.do()
		}()
		p.t = t
		if !strings.Contains(s.said, c.want) {
			t.Errorf("%s: said %q, without %q", c.name, s.said, c.want)
		}
	}
}
