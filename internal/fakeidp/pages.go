package fakeidp

import (
	"bytes"
	"crypto/rand"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// No form-action: Chromium applies it to every later redirect, and answers leave for other sites.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// request is one application's request, waiting for a person to be chosen. Each protocol gives its own
// way of answering and of refusing.
type request struct {
	app    string // shown
	hint   string
	again  bool // the person must prove themselves once more
	answer func(http.ResponseWriter, *http.Request, Person, Misbehavior)
	refuse func(http.ResponseWriter, *http.Request)
}

// frame is what every page shows around its content.
type frame struct {
	Company, Title, Initials, Style, Path string
}

type choosePage struct {
	frame
	App     string
	Again   bool
	Request string
	People  []choice
	Several bool
	Tricks  []Trick
}

type choice struct {
	ID, Name, Email, Initials string
	First                     bool
}

type sendPage struct {
	frame
	App    string
	To     string
	Fields []field
}

type field struct{ Name, Value string }

type notePage struct {
	frame
	Heading string
	Text    string
}

func (p *Provider) routePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /look.css", p.look)
	mux.HandleFunc("GET /mark.svg", p.mark)
	mux.HandleFunc("GET /send.js", p.sendScript)
	mux.HandleFunc("POST /answer", p.answer)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.note(w, http.StatusNotFound, "Nothing here", "This made-up identity provider has no such page. Start at the application.")
	})
}

// ask shows whom the provider can vouch for, or answers at once for Auto.
func (p *Provider) ask(w http.ResponseWriter, r *http.Request, q *request) {
	if person, ok := p.auto(q.hint); ok {
		q.answer(w, r, person, p.chosen(None, person))
		return
	}
	id := rand.Text()
	p.waiting.put(p.Now(), id, q)
	people := p.choices(q.hint)
	p.show(w, http.StatusOK, "choose.html", choosePage{
		frame: p.frame("Sign in to " + p.Name), App: q.app, Again: q.again, Request: id,
		People: people, Several: len(people) > 1, Tricks: Tricks(p.Kind),
	})
}

// choices puts the person who is hinted at first.
func (p *Provider) choices(hint string) []choice {
	hinted, _ := p.hinted(hint)
	var list []choice
	for _, person := range p.people() {
		if person.Unlisted {
			continue
		}
		c := choice{ID: person.ID, Name: person.Name, Email: person.Email, Initials: initials(person.Name)}
		if person.ID == hinted.ID {
			list = slices.Insert(list, 0, c)
			continue
		}
		list = append(list, c)
	}
	if len(list) > 0 {
		list[0].First = true
	}
	return list
}

// answer is the person's choice. The request stays where it is, so that the back button and a second
// try work as at a real provider.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	q, ok := p.waiting.get(p.Now(), r.PostFormValue("request"))
	if !ok {
		p.note(w, http.StatusGone, "This page is too old", "The application asked too long ago. Go back to it and start again.")
		return
	}
	if r.PostFormValue("decline") != "" {
		q.refuse(w, r)
		return
	}
	person, ok := p.person(r.PostFormValue("person"))
	pressed := Misbehavior(r.PostFormValue("misbehavior"))
	if !ok || !p.offered(pressed) {
		p.note(w, http.StatusBadRequest, "Nobody was chosen", "Go back and choose somebody from the list.")
		return
	}
	q.answer(w, r, person, p.chosen(pressed, person))
}

// send makes the browser post the answer to the application: at once by a script of ours, by a button
// where scripts do not run.
func (p *Provider) send(w http.ResponseWriter, app, to string, fields ...field) {
	p.show(w, http.StatusOK, "send.html", sendPage{frame: p.frame("Back to " + app), App: app, To: to, Fields: fields})
}

func (p *Provider) note(w http.ResponseWriter, status int, heading, text string) {
	p.show(w, status, "note.html", notePage{frame: p.frame(heading), Heading: heading, Text: text})
}

func (p *Provider) frame(title string) frame {
	style := p.Look.Style
	if style == "" {
		style = Okta
	}
	base, _ := url.Parse(p.Base) // Handler has checked it
	return frame{Company: p.Name, Title: title, Initials: initials(p.Name), Style: string(style), Path: base.Path}
}

func (p *Provider) show(w http.ResponseWriter, status int, name string, page any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, page); err != nil {
		http.Error(w, "The page could not be drawn.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "origin") // not no-referrer: real providers send an Origin with their posts
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

func (p *Provider) sendScript(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, pageFiles, "pages/send.js")
}

func initials(name string) string {
	var s string
	for _, word := range strings.Fields(name) {
		if r, _ := utf8.DecodeRuneInString(word); utf8.RuneCountInString(s) < 2 {
			s += strings.ToUpper(string(r))
		}
	}
	return s
}
