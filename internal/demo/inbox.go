package demo

import (
	"context"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
	"github.com/vestibule-id/vestibule/internal/web"
)

// Inbox takes every e-mail and text message of this world, in place of a mail server and a gateway. They
// are kept in memory, and shown on this machine alone (S54).
type Inbox struct {
	Now func() time.Time

	mu   sync.Mutex
	list []received // the newest last
	last int
}

// received is one message.
type received struct {
	Number   int
	SMS      bool
	From, To string
	Subject  string // of an SMS its text
	Text     string
	HTML     string
	At       time.Time
}

// inboxHolds is how many messages are kept; the oldest go.
const inboxHolds = 200

// Mail takes e-mail.
func (b *Inbox) Mail() mail.Transport { return mailbox{b} }

// SMS takes text messages.
func (b *Inbox) SMS() sms.Transport { return phone{b} }

type (
	mailbox struct{ *Inbox }
	phone   struct{ *Inbox }
)

func (b mailbox) Deliver(_ context.Context, m mail.Message) error {
	from := m.FromName
	if from == "" {
		from = "Vestibule"
	}
	b.keep(received{From: from, To: m.To, Subject: m.Subject, Text: m.Text, HTML: m.HTML})
	return nil
}

func (b phone) Deliver(_ context.Context, m sms.Message) error {
	first, _, _ := strings.Cut(m.Text, "\n")
	b.keep(received{SMS: true, From: "Text message", To: m.To, Subject: first, Text: m.Text})
	return nil
}

func (b *Inbox) keep(m received) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	m.Number, m.At = b.last, b.Now()
	b.list = append(b.list, m)
	if len(b.list) > inboxHolds {
		b.list = slices.Delete(b.list, 0, len(b.list)-inboxHolds)
	}
}

// newest lists the messages, the newest first.
func (b *Inbox) newest() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.list)
	slices.Reverse(list)
	return list
}

func (b *Inbox) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = nil
}

func (b *Inbox) numbered(text string) (received, bool) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return received{}, false
	}
	list := b.newest()
	i := slices.IndexFunc(list, func(m received) bool { return m.Number == n })
	if i < 0 {
		return received{}, false
	}
	return list[i], true
}

// inboxPage lists what was sent.
type inboxPage struct{ Messages []inboxLine }

type inboxLine struct {
	URL, Subject, From, To, At, When string
	SMS                              bool
}

// messagePage shows one message: as it looks, in a frame where nothing runs, and as text.
type messagePage struct {
	inboxLine
	Frame string // address of its HTML; "" for an SMS
	Lines []template.HTML
}

func lineOf(m received) inboxLine {
	return inboxLine{URL: "/demo/inbox/" + strconv.Itoa(m.Number), Subject: m.Subject, From: m.From, To: m.To, SMS: m.SMS,
		At: m.At.UTC().Format(time.RFC3339), When: m.At.Format("15:04:05")}
}

func (w *World) inbox(out http.ResponseWriter, r *http.Request) error {
	if !fromHere(r) {
		return web.ErrNotFound
	}
	var page inboxPage
	for _, m := range w.Inbox.newest() {
		page.Messages = append(page.Messages, lineOf(m))
	}
	return w.pages.show(out, http.StatusOK, "inbox.html", frame{Title: "Inbox", Home: "/", Page: page})
}

// Frames of our own site alone, on the one page that has one.
const inboxPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"

func (w *World) message(out http.ResponseWriter, r *http.Request) error {
	m, found := w.Inbox.numbered(r.PathValue("number"))
	if !found || !fromHere(r) {
		return web.ErrNotFound
	}
	page := messagePage{inboxLine: lineOf(m), Lines: linked(m.Text)}
	if m.HTML != "" {
		page.Frame = page.URL + "/html"
	}
	out.Header().Set("Content-Security-Policy", inboxPolicy)
	return w.pages.show(out, http.StatusOK, "message.html", frame{Title: m.Subject, Home: "/", Page: page})
}

// sandbox is the policy of a message's own HTML: it is nobody's site, runs nothing and asks nobody for
// anything. Its links open tabs of their own.
const sandbox = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'self'"

func (w *World) messageHTML(out http.ResponseWriter, r *http.Request) error {
	m, found := w.Inbox.numbered(r.PathValue("number"))
	if !found || m.HTML == "" || !fromHere(r) {
		return web.ErrNotFound
	}
	out.Header().Set("Content-Security-Policy", sandbox)
	out.Header().Set("Content-Type", "text/html; charset=utf-8")
	out.Header().Del("Cross-Origin-Opener-Policy")
	_, err := out.Write([]byte(strings.Replace(m.HTML, "<head>", `<head><base target="_blank">`, 1)))
	return err
}

// fromHere says whether the browser is on this machine.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

var links = regexp.MustCompile(`https?://[^\s<>"]+`)

// linked are the lines of a text with its links to follow.
func linked(text string) (lines []template.HTML) {
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		var b strings.Builder
		rest := 0
		for _, at := range links.FindAllStringIndex(line, -1) {
			address := template.HTMLEscapeString(line[at[0]:at[1]])
			b.WriteString(template.HTMLEscapeString(line[rest:at[0]]) + `<a href="` + address + `" target="_blank" rel="noreferrer">` + address + `</a>`)
			rest = at[1]
		}
		b.WriteString(template.HTMLEscapeString(line[rest:]))
		lines = append(lines, template.HTML(b.String()))
	}
	return lines
}
