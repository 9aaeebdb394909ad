package browsertest

// This file holds what the browser tells while a page is used: loading, requests, problems.

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// Request is one request that the browser sent; a redirect makes another.
type Request struct {
	Method  string
	URL     string
	Type    string            // "Document", "Stylesheet", "Script" …
	Header  map[string]string // as sent, names in lower case
	Cookies map[string]string // cookies that were sent, by name
	Body    string
	Status  int               // 0 while there is no answer
	Answer  map[string]string // the answer's header, names in lower case; several values are joined by "\n"
}

// record listens to one tab. Its methods are called from the browser's goroutine and from the test's.
type record struct {
	mu       sync.Mutex
	busy     map[cdp.FrameID]bool // frames that are loading
	main     cdp.FrameID
	stirred  time.Time // when something was done that may begin to load a page
	requests []*Request
	byID     map[network.RequestID][]*Request
	sent     map[network.RequestID]int // how many of byID have the header that was really sent
	answered map[network.RequestID]int
	problems []string
	allowed  []string
}

func newRecord() *record {
	return &record{busy: map[cdp.FrameID]bool{}, byID: map[network.RequestID][]*Request{},
		sent: map[network.RequestID]int{}, answered: map[network.RequestID]int{}}
}

// stir says that a page may be about to load.
func (r *record) stir() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stirred = time.Now()
}

func (r *record) settled(after time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.busy) == 0 && time.Since(r.stirred) >= after
}

func (r *record) lastDocument() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.requests) - 1; i >= 0; i-- {
		if r.requests[i].Type == string(network.ResourceTypeDocument) {
			return r.requests[i].Method + " " + r.requests[i].URL
		}
	}
	return "no page was asked for"
}

func (r *record) listen(event any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := event.(type) {
	case *page.EventFrameRequestedNavigation:
		r.stirred = time.Now()
	case *page.EventFrameStartedNavigating:
		r.busy[e.FrameID], r.stirred = true, time.Now()
	case *page.EventFrameStartedLoading:
		r.busy[e.FrameID], r.stirred = true, time.Now()
	case *page.EventFrameStoppedLoading:
		r.stopped(e.FrameID)
	case *page.EventNavigatedWithinDocument:
		r.stopped(e.FrameID)
	case *page.EventFrameDetached:
		r.stopped(e.FrameID)
	case *network.EventRequestWillBeSent:
		r.request(e)
	case *network.EventRequestWillBeSentExtraInfo:
		r.reallySent(e)
	case *network.EventResponseReceived:
		r.response(e.RequestID, e.Response)
	case *network.EventResponseReceivedExtraInfo:
		r.reallyAnswered(e)
	case *network.EventLoadingFailed:
		r.failed(e)
	case *runtime.EventExceptionThrown:
		r.problem("script error: " + thrown(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		r.console(e)
	case *log.EventEntryAdded:
		r.entry(e.Entry)
	case *audits.EventIssueAdded:
		r.issue(e.Issue)
	}
}

func (r *record) stopped(frame cdp.FrameID) {
	delete(r.busy, frame)
	r.stirred = time.Now()
}

func (r *record) request(e *network.EventRequestWillBeSent) {
	if e.RedirectResponse != nil {
		r.response(e.RequestID, e.RedirectResponse)
	}
	q := &Request{Method: e.Request.Method, URL: e.Request.URL, Type: string(e.Type),
		Header: lower(e.Request.Headers), Cookies: map[string]string{}}
	for _, part := range e.Request.PostDataEntries {
		q.Body += string(part.Bytes)
	}
	r.requests = append(r.requests, q)
	r.byID[e.RequestID] = append(r.byID[e.RequestID], q)
}

// reallySent completes the oldest request of its id that has only the header the page knows of:
// the browser tells in the order of the redirects, before or after it tells of the request itself.
func (r *record) reallySent(e *network.EventRequestWillBeSentExtraInfo) {
	n := r.sent[e.RequestID]
	r.sent[e.RequestID]++
	if n >= len(r.byID[e.RequestID]) {
		return
	}
	q := r.byID[e.RequestID][n]
	q.Header = lower(e.Headers)
	for _, c := range e.AssociatedCookies {
		if len(c.BlockedReasons) == 0 {
			q.Cookies[c.Cookie.Name] = c.Cookie.Value
		}
	}
}

func (r *record) response(id network.RequestID, res *network.Response) {
	if list := r.byID[id]; len(list) > 0 {
		q := list[len(list)-1]
		q.Status = int(res.Status)
		if q.Answer == nil {
			q.Answer = lower(res.Headers)
		}
	}
}

func (r *record) reallyAnswered(e *network.EventResponseReceivedExtraInfo) {
	n := r.answered[e.RequestID]
	r.answered[e.RequestID]++
	if n < len(r.byID[e.RequestID]) {
		q := r.byID[e.RequestID][n]
		q.Answer, q.Status = lower(e.Headers), int(e.StatusCode)
	}
}

// failed notes what did not load. An address that a page went to and that was given up (a download,
// an answer without content, another click) stops the loading without an event of its own.
func (r *record) failed(e *network.EventLoadingFailed) {
	if e.Type == network.ResourceTypeDocument {
		clear(r.busy)
		r.stirred = time.Now()
		return
	}
	if e.Canceled {
		return
	}
	if list := r.byID[e.RequestID]; len(list) > 0 {
		r.problem(fmt.Sprintf("%s did not load: %s %s", list[0].URL, e.ErrorText, e.BlockedReason))
	}
}

func (r *record) problem(text string) { r.problems = append(r.problems, text) }

func (r *record) console(e *runtime.EventConsoleAPICalled) {
	if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
		return
	}
	words := []string{"console error:"}
	for _, arg := range e.Args {
		words = append(words, strings.Trim(string(arg.Value), `"`)+arg.Description)
	}
	r.problem(strings.Join(words, " "))
}

// entry notes what the browser itself complains about. An error page is a document with an error
// status: that is what the test looks at, not a problem.
func (r *record) entry(e *log.Entry) {
	if e.Level != log.EntryLevelError {
		return
	}
	if list := r.byID[e.NetworkRequestID]; len(list) > 0 && list[0].Type == string(network.ResourceTypeDocument) {
		return
	}
	if strings.HasSuffix(e.URL, "/favicon.ico") {
		return
	}
	r.problem(strings.TrimSpace("browser error: " + e.Text + " " + e.URL))
}

func (r *record) issue(i *audits.InspectorIssue) {
	if i.Details == nil || i.Details.ContentSecurityPolicyIssueDetails == nil {
		return
	}
	d := i.Details.ContentSecurityPolicyIssueDetails
	r.problem(fmt.Sprintf("Content-Security-Policy: %s violated by %s (%s)", d.ViolatedDirective, d.BlockedURL, d.ContentSecurityPolicyViolationType))
}

func (r *record) unexpected() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var left []string
	for _, problem := range r.problems {
		if !r.allows(problem) {
			left = append(left, problem)
		}
	}
	return left
}

func (r *record) allows(problem string) bool {
	for _, part := range r.allowed {
		if strings.Contains(problem, part) {
			return true
		}
	}
	return false
}

func lower(h network.Headers) map[string]string {
	out := make(map[string]string, len(h))
	for name, value := range h {
		out[strings.ToLower(name)] = fmt.Sprint(value)
	}
	return out
}

func thrown(e *runtime.ExceptionDetails) string {
	text := e.Text
	if e.Exception != nil {
		text += " " + e.Exception.Description + string(e.Exception.Value)
	}
	return fmt.Sprintf("%s (%s line %d)", text, e.URL, e.LineNumber+1)
}

// Requests are all requests of this tab so far, in the order in which they were sent.
func (p *Page) Requests() []Request {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	out := make([]Request, len(p.log.requests))
	for i, q := range p.log.requests {
		out[i] = *q
	}
	return out
}

// Problems are the script errors, failed assets and policy violations so far that were not allowed.
func (p *Page) Problems() []string { return p.log.unexpected() }

// Allow expects problems that hold this text, and keeps them from failing the test.
func (p *Page) Allow(part string) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.allowed = append(p.log.allowed, part)
}
