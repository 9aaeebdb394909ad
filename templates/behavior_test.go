//go:build !quick

package templates_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/browsertest"
	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/templates/templatestest"
)

// stage shows one page at /, counts what is posted to /take, and answers it slowly.
func stage(t *testing.T, page templates.Page) (url string, posts *atomic.Int64) {
	t.Helper()
	return wearing(t, costume{theme: "acme-bank", org: "Acme Bank", lang: "en"}, page)
}

// wearing is a stage in a costume.
func wearing(t *testing.T, c costume, page templates.Page) (url string, posts *atomic.Int64) {
	t.Helper()
	kit := templatestest.New(t)
	look := kit.Look(t, c.theme, c.org, c.lang)
	posts = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.Handle("/assets/", kit.Assets)
	mux.Handle("/theme/", kit.Assets)
	send := func(w http.ResponseWriter, page templates.Page) {
		html, err := kit.Renderer.Render(look, page)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(html)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { send(w, page) })
	mux.HandleFunc("GET /start", func(w http.ResponseWriter, _ *http.Request) {
		send(w, templates.OverPage{Reason: templates.OverExpired, AppURL: "/"})
	})
	mux.HandleFunc("POST /nothing", func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /take", func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		time.Sleep(150 * time.Millisecond)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		send(w, templates.FaultPage{Title: "Taken", Cause: r.PostForm.Encode(), Code: "VB-1"})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, posts
}

func leaving() templates.LeavingPage {
	return templates.LeavingPage{URL: "/take", Provider: "Okta", Host: "okta.example",
		Fields: []templates.FormField{{Name: "SAMLRequest", Value: "a+b/c="}, {Name: "RelayState", Value: "s"}}}
}

func identify() templates.IdentifyPage {
	return templates.IdentifyPage{Action: "/take", Step: "identify", HandleAllowed: true}
}

func TestTheLeavingPageSendsItselfOnce(t *testing.T) {
	url, posts := stage(t, leaving())
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url + "/start")
	p.Click("Start again")
	p.See("Taken", "SAMLRequest=a%2Bb%2Fc%3D")
	if n := posts.Load(); n != 1 {
		t.Fatalf("sent %d times", n)
	}
	// Back does not trap: it leads past the page that sent itself.
	p.Back()
	p.See("Start again")
	if n := posts.Load(); n != 1 {
		t.Errorf("Back sent it again: %d times", n)
	}
}

func TestComingBackToTheLeavingPageSendsNothing(t *testing.T) {
	page := leaving()
	page.URL = "/nothing" // as when the provider does not answer and the person gives up
	url, posts := stage(t, page)
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url)
	p.Goto(url + "/start")
	if n := posts.Load(); n != 1 {
		t.Fatalf("sent %d times", n)
	}
	p.Back()
	p.See("Taking you to Okta", "Continue to Okta")
	p.NotSee("Opening okta.example")
	time.Sleep(200 * time.Millisecond)
	if n := posts.Load(); n != 1 {
		t.Errorf("coming back sent it again: %d times", n)
	}
	p.Click("Continue to Okta")
	if n := posts.Load(); n != 2 {
		t.Errorf("the button is dead: %d times", n)
	}
}

func TestTheLeavingPageWorksWithoutScript(t *testing.T) {
	url, posts := stage(t, leaving())
	p := browsertest.New(t, browsertest.Options{NoScript: true})
	p.Goto(url)
	p.See("Taking you to Okta")
	p.NotSee("Opening okta.example")
	if posts.Load() != 0 {
		t.Fatal("sent by itself")
	}
	p.Click("Continue to Okta")
	p.See("Taken")
}

func TestAnImpatientPersonSendsOnce(t *testing.T) {
	url, posts := stage(t, identify())
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url)
	p.Fill("identifier", "priya@acme.example")
	p.DoubleClick("Continue")
	p.See("Taken")
	p.Back()
	// Enter twice: what the pointer cannot do, the keyboard could.
	p.Fill("identifier", "priya@acme.example")
	p.Eval(`(async () => { const f = document.forms[0]; f.requestSubmit(); await new Promise((r) => setTimeout(r, 50)); f.requestSubmit(); })()`, nil)
	p.See("Taken", "identifier=priya%40acme.example&step=identify")
	if n := posts.Load(); n != 2 {
		t.Errorf("sent %d times, want once for each page", n)
	}
	p.Back()
	p.Fill("identifier", "other@acme.example")
	p.Click("Continue")
	p.See("identifier=other%40acme.example")
}

// What is wrong with an answer is said by the page, in its own language: the browser's bubble stays away.
func TestAnEmptyAnswerIsSent(t *testing.T) {
	onlyAddresses := templates.IdentifyPage{Action: "/take", Step: "identify"}
	url, posts := stage(t, onlyAddresses)
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url)
	p.Click("Continue")
	p.See("Taken", "identifier=&step=identify")
	p.Goto(url)
	p.Fill("identifier", "priya")
	p.Click("Continue")
	p.See("identifier=priya&step=identify")
	if n := posts.Load(); n != 2 {
		t.Errorf("sent %d times", n)
	}
}

func TestEveryAnswerWorksWithoutScript(t *testing.T) {
	items := []templates.ChooseItem{{Value: "org_1", Name: "Acme Bank"}, {Value: "org_2", Name: "MexBanco"}}
	known := identify()
	known.Remembered = []templates.RememberedOrg{{Value: "org_1", Name: "Acme Bank"}}
	single := identify()
	single.Connection, single.ConnectionName = "con_1", "Okta"
	foreign := identify()
	foreign.Error, foreign.Suggestion = templates.IdentifyUnknownDomain, "priya@acme.example"
	for _, tc := range []struct {
		page        templates.Page
		press, sent string
	}{
		{known, "Acme Bank", "org=org_1&step=identify"},
		{single, "Continue with Okta", "connection=con_1&step=identify"},
		{foreign, "priya@acme.example", "identifier=priya%40acme.example&step=identify"},
		{templates.NoCompanyPage{Action: "/take", Step: "identify", Value: "acme"}, "Try this one", "identifier=acme&step=identify"},
		{templates.ChoosePage{Action: "/take", Step: "choose", Items: items}, "MexBanco", "org=org_2&step=choose"},
		{templates.ChooseConnectionPage{Action: "/take", Step: "authenticate", Items: items}, "MexBanco", "connection=org_2&step=authenticate"},
		{templates.LogoutConfirmPage{Action: "/take", Step: "x"}, "Sign out", "step=x"},
	} {
		url, posts := stage(t, tc.page)
		p := browsertest.New(t, browsertest.Options{NoScript: true, Width: 390})
		p.Goto(url)
		p.Click(tc.press)
		p.See("Taken", tc.sent)
		if posts.Load() != 1 {
			t.Errorf("%T: sent %d times", tc.page, posts.Load())
		}
	}
}

func TestALongListCanBeShortened(t *testing.T) {
	var items []templates.ChooseItem
	for _, name := range []string{"Acme", "Banco Andino", "Crédit Lémanique", "Delta", "Everett", "Fjord", "Golden Bay", "Harbor"} {
		items = append(items, templates.ChooseItem{Value: name, Name: name})
	}
	url, _ := stage(t, templates.ChoosePage{Action: "/take", Step: "choose", Items: items})
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url)
	p.Fill("Find in this list", "lemanique cred")
	p.See("Crédit Lémanique")
	p.NotSee("Banco Andino")
	p.Fill("Find in this list", "zzz")
	p.See("Nothing in the list matches.")
	p.Fill("Find in this list", "")
	p.See("Banco Andino")
	p.Click("Crédit Lémanique")
	p.See("org=Cr%C3%A9dit+L%C3%A9manique")

	plain := browsertest.New(t, browsertest.Options{NoScript: true})
	plain.Goto(url)
	plain.NotSee("Find in this list")
	plain.See("Harbor")
}

func TestTheReferenceCanBeCopied(t *testing.T) {
	url, _ := stage(t, templates.FaultPage{Title: "Broken", Code: "VB-7Q4K-29TM"})
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(url)
	p.Eval(`navigator.clipboard.writeText = async (s) => { document.body.dataset.copied = s; }, null`, nil)
	p.Click("Copy")
	p.See("Copied")
	var copied string
	p.Eval(`document.body.dataset.copied`, &copied)
	if copied != "VB-7Q4K-29TM" {
		t.Errorf("copied %q", copied)
	}

	plain := browsertest.New(t, browsertest.Options{NoScript: true})
	plain.Goto(url)
	plain.See("VB-7Q4K-29TM")
	plain.NotSee("Copy")
}
