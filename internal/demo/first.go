package demo

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/templates"
)

// routes adds the world's pages to the issuer's site.
func (w *World) routes(m *web.Mux) {
	m.Page("GET /{$}", w.first)
	m.Page("GET /demo/trace/{code}", w.trace)
	m.Page("POST /demo/reset", w.reset)
	m.Page("GET /demo/inbox", w.inbox)
	m.Page("GET /demo/inbox/{number}", w.message)
	m.Page("GET /demo/inbox/{number}/html", w.messageHTML)
	m.Page("POST /demo/rule", w.changeRule)
	m.Page("GET /demo/phone", w.phone)
	m.Page("POST /demo/phone", w.phoneTakes)
	m.Files("GET "+sheetPath, w.pages)
}

// firstPage is the page that everything starts from.
type firstPage struct {
	Cards   []card
	Rules   []ruleButton
	Holds   []ruleLine
	Said    ruleSaid
	Stunts  []stuntButton
	Stories []storyLine
	Own     ownApp
	Fresh   bool // the reset button was just pressed
}

// card is one company.
type card struct {
	Handle, Name, Part, Brand string
	Logo, LogoDark            string // asset names
	Facts                     [2]string
	Who, URL, App             string
}

type stuntButton struct{ Label, Sentence, Company, URL string }

// storyLine is one trace in a list.
type storyLine struct {
	Code, URL, Company, App, Outcome, Title string
	Good                                    bool
	At, When                                string
}

// ownApp is what a developer needs to sign people in to an app of their own.
type ownApp struct {
	Issuer, ClientID, Secret, Redirect string
	Go, Node                           string
}

func (w *World) first(out http.ResponseWriter, r *http.Request) error {
	page := firstPage{Fresh: r.URL.Query().Has("fresh"), Own: w.ownApp()}
	for _, c := range w.companies {
		page.Cards = append(page.Cards, card{
			Handle: c.handle, Name: c.name, Part: c.part, Brand: c.brand, Logo: c.logo, LogoDark: c.logoDark, Facts: c.facts,
			Who: c.first().Name, URL: w.signInURL(c), App: w.apps[c.app].name,
		})
	}
	page.Rules, page.Said = w.ruleButtons(), w.ruled.get()
	var err error
	if page.Holds, err = w.rulesNow(r); err != nil {
		return err
	}
	for _, s := range stunts() {
		page.Stunts = append(page.Stunts, stuntButton{s.trick.Label, s.trick.Sentence, w.company(s.company).name, s.url(w)})
	}
	for _, t := range w.Stories.Latest(8) {
		page.Stories = append(page.Stories, w.storyLine(t))
	}
	return w.pages.show(out, http.StatusOK, "first.html", frame{Title: "Vestibule demonstration", Page: page})
}

// signInURL begins a company's sign-in at its app. An app looks addresses up in its own realm, and names
// organizations of others.
func (w *World) signInURL(c *company) string {
	a := w.apps[c.app]
	q := url.Values{"login_hint": {c.first().Email}}
	if a.realm != c.realm || c.idp == "" {
		q.Set("organization", c.asked())
	}
	return a.base + "/login?" + q.Encode()
}

func (w *World) storyLine(t audit.Trace) storyLine {
	l := storyLine{
		Code: audit.ShowCode(t.Code), URL: "/demo/trace/" + t.Code, Company: "A sign-in", Good: t.Outcome == "signed_in",
		At: t.At.UTC().Format(time.RFC3339), When: t.At.Format("15:04:05"), App: w.appName(t.App), Title: "Signed in",
	}
	names, _ := w.names(t)
	if names.Org != "" {
		l.Company = names.Org
	}
	if !l.Good {
		l.Title = templates.FaultOf("en", t.Fault, names).Title
	}
	return l
}

func (w *World) appName(id string) string {
	for _, a := range w.registered {
		if string(a.ID) == id {
			return a.Name
		}
	}
	return "an app"
}

// reset signs this browser out everywhere and makes the house and the apps forget it.
func (w *World) reset(out http.ResponseWriter, r *http.Request) error {
	if err := w.Broker.Forget(out, r); err != nil {
		return err
	}
	for _, a := range w.apps {
		a.forget()
	}
	w.Stories.forget()
	w.Inbox.forget()
	w.codes.forget()
	if err := w.applyRule(r, ruling{}); err != nil {
		return err
	}
	w.ruled.set(ruleSaid{})
	http.Redirect(out, r, "/?fresh", http.StatusSeeOther)
	return nil
}

func (w *World) ownApp() ownApp {
	o := ownApp{Issuer: w.issuer, ClientID: yourApp, Secret: w.kept.Secrets[yourApp], Redirect: "http://127.0.0.1:3000/callback"}
	fill := strings.NewReplacer("ISSUER", o.Issuer, "CLIENT_ID", o.ClientID, "CLIENT_SECRET", o.Secret, "REDIRECT_URI", o.Redirect)
	o.Go, o.Node = fill.Replace(ownGo), fill.Replace(ownNode)
	return o
}

// tracePage is the story of one sign-in.
type tracePage struct {
	storyLine
	Read  *read // what the person read; nil when they got in
	Steps []step
	Data  string // the directory to name to `vestibule trace`
}

// read is what an error page said.
type read struct{ Lang, Title, Cause, Remedy string }

// step is one line of a story.
type step struct {
	When, Name, Text, Code string
	Facts                  []fact
	Checks                 []audit.Check
	Bad                    bool
}

type fact struct{ Name, Value string }

func (w *World) trace(out http.ResponseWriter, r *http.Request) error {
	code, ok := audit.ParseCode(r.PathValue("code"))
	if !ok {
		return web.ErrNotFound
	}
	t, found, err := w.Stories.TraceByCode(r.Context(), code)
	if err != nil {
		return err
	}
	if !found {
		return web.ErrNotFound
	}
	page := tracePage{storyLine: w.storyLine(t), Steps: stepsOf(t), Data: w.Data}
	if !page.Good {
		page.Read = w.readOf(t, r)
	}
	return w.pages.show(out, http.StatusOK, "trace.html", frame{Title: "What happened · " + page.Code, Home: "/", Page: page})
}

// readOf is what the person was told, in the language that they were told it in.
func (w *World) readOf(t audit.Trace, r *http.Request) *read {
	names, locale := w.names(t)
	lang := templates.Language(locale, r.Header.Get("Accept-Language"))
	p := templates.FaultOf(lang, t.Fault, names)
	return &read{lang, p.Title, p.Cause, p.Remedy}
}

// names fill the words about a story; locale is the language of the company that it is about.
func (w *World) names(t audit.Trace) (n templates.Names, locale string) {
	n.App = w.appName(t.App)
	if c := w.companyOf(directory.OrgID(t.Org)); c != nil {
		n.Org, n.Provider, locale = c.name, c.idp, c.locale
	}
	return n, locale
}
