package browsertest

// This file holds the page: how it opens, where it goes, what it shows.

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to load; machines that run tests are busy. What a loaded page
// is expected to show gets a third of it.
const patience = 30 * time.Second

// Options say whose browser it is. The zero value is a light 1280 by 800 desktop that runs scripts.
type Options struct {
	Width, Height int
	Dark          bool
	NoScript      bool // as for somebody whose browser runs no scripts
}

// Page is one tab.
type Page struct {
	t    testing.TB
	opts Options
	ctx  context.Context
	log  *record
	// patience is the constant, but for the tests of how this kit fails.
	patience time.Duration
}

// New opens a tab in a browser of its own: no cookies, no history, shared with nobody.
func New(t testing.TB, o Options) *Page {
	t.Helper()
	shared.hold()
	t.Cleanup(shared.release)
	return open(t, o, shared.context(t), chromedp.WithNewBrowserContext())
}

// NewContext opens a tab in a second browser, as another person or another device would.
func (p *Page) NewContext() *Page { p.t.Helper(); return New(p.t, p.opts) }

// NewTab opens another tab of the same browser, with the same cookies.
func (p *Page) NewTab() *Page { p.t.Helper(); return open(p.t, p.opts, p.ctx) }

func open(t testing.TB, o Options, parent context.Context, opts ...chromedp.ContextOption) *Page {
	t.Helper()
	if o.Width == 0 {
		o.Width = 1280
	}
	if o.Height == 0 {
		o.Height = 800
	}
	log := newRecord()
	ctx, stop := chromedp.NewContext(parent, append(opts, chromedp.WithListener(log.listen))...)
	p := &Page{t: t, opts: o, ctx: ctx, log: log, patience: patience}
	t.Cleanup(func() { p.close(stop) })
	p.must(chromedp.Do(ctx), "open a tab")
	p.setUp()
	return p
}

func (p *Page) setUp() {
	p.t.Helper()
	scheme := "light"
	if p.opts.Dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: int64(p.opts.Width), Height: int64(p.opts.Height), DeviceScaleFactor: 1})
	p.must(err, "set the size")
	// Motion is reduced so that a screenshot shows where things end, not where they are on their way.
	_, err = chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	p.must(err, "set the color scheme")
	_, err = chromedp.Call(p.ctx, audits.Enable, cdp.Empty{})
	p.must(err, "listen to violations")
	if p.opts.NoScript {
		p.scripts(false)
	}
}

func (p *Page) scripts(on bool) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
	p.must(err, "switch scripts")
}

func (p *Page) close(stop func()) {
	if p.t.Failed() && p.ctx.Err() == nil {
		p.Screenshot("failed-" + p.t.Name())
	}
	for _, problem := range p.log.unexpected() {
		p.t.Errorf("browser: %s", problem)
	}
	stop()
}

// must ends the test. what completes "could not …".
func (p *Page) must(err error, what string) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("browser: could not %s: %v", what, err)
	}
}

// bounded is the page's context for one thing it does.
func (p *Page) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.ctx, p.patience)
}

// Goto goes to an address and waits until the page has loaded, redirects and self-submitting forms
// included. A page with an error status is a page; an address where nobody answers fails the test.
func (p *Page) Goto(url string) {
	p.t.Helper()
	ctx, cancel := p.bounded()
	defer cancel()
	p.log.stir()
	res, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: url})
	p.must(err, "go to "+url)
	if res.ErrorText != "" && res.ErrorText != "net::ERR_ABORTED" {
		p.t.Fatalf("browser: could not go to %s: %s", url, res.ErrorText)
	}
	p.settle()
}

// Reload reloads, posting again where the page came from a POST, as a browser does when the person says yes.
func (p *Page) Reload() {
	p.t.Helper()
	ctx, cancel := p.bounded()
	defer cancel()
	p.log.stir()
	_, err := chromedp.Call(ctx, page.Reload, page.ReloadParams{})
	p.must(err, "reload")
	p.settle()
}

// Back presses the browser's back button.
func (p *Page) Back() { p.t.Helper(); p.travel(-1) }

// Forward presses the browser's forward button.
func (p *Page) Forward() { p.t.Helper(); p.travel(1) }

func (p *Page) travel(by int64) {
	p.t.Helper()
	ctx, cancel := p.bounded()
	defer cancel()
	history, err := chromedp.Call(ctx, page.GetNavigationHistory, cdp.Empty{})
	p.must(err, "read the history")
	to := history.CurrentIndex + by
	if to < 0 || to >= int64(len(history.Entries)) {
		p.t.Fatalf("browser: there is no page to go to in the history at %s", p.URL())
	}
	p.log.stir()
	_, err = chromedp.Call(ctx, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[to].ID})
	p.must(err, "travel in the history")
	p.settle()
}

// quiet is how long nothing must have begun to load until a page counts as settled.
const quiet = 80 * time.Millisecond

// settle waits until the page has loaded and has not begun to go elsewhere.
func (p *Page) settle() {
	p.t.Helper()
	for end := time.Now().Add(p.patience); ; time.Sleep(10 * time.Millisecond) {
		if p.log.settled(quiet) {
			return
		}
		if p.ctx.Err() != nil {
			p.t.Fatalf("browser: the tab is gone: %v", p.ctx.Err())
		}
		if time.Now().After(end) {
			p.t.Fatalf("browser: the page is still loading after %v: %s", p.patience, p.log.lastDocument())
		}
	}
}

// URL is the address in the bar.
func (p *Page) URL() string {
	p.t.Helper()
	return eval[string](p, `location.href`)
}

// Title is the document's title.
func (p *Page) Title() string { p.t.Helper(); return eval[string](p, `document.title`) }

// Text is what the page shows, or what the first element that a selector means shows.
func (p *Page) Text(selector ...string) string {
	p.t.Helper()
	if len(selector) == 0 {
		return eval[string](p, `document.body ? document.body.innerText : ""`)
	}
	return p.poll("text", selector[0], "").Text
}

// See waits until the page shows all of these texts. White space counts once, and case does not, since
// style sheets change both.
func (p *Page) See(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		if !p.within(func() bool { return shows(p.Text(), want) }) {
			p.t.Fatalf("browser: %s does not show %q. It shows:\n%s", p.URL(), want, p.Text())
		}
	}
}

// NotSee fails when the page shows one of these texts now.
func (p *Page) NotSee(texts ...string) {
	p.t.Helper()
	text := p.Text()
	for _, unwanted := range texts {
		if shows(text, unwanted) {
			p.t.Fatalf("browser: %s shows %q:\n%s", p.URL(), unwanted, text)
		}
	}
}

func shows(text, want string) bool {
	flat := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	return strings.Contains(flat(text), flat(want))
}

// WaitURL waits until the address holds part.
func (p *Page) WaitURL(part string) {
	p.t.Helper()
	if !p.within(func() bool { return strings.Contains(p.URL(), part) }) {
		p.t.Fatalf("browser: the address is %s and does not become one with %q. The page shows:\n%s", p.URL(), part, p.Text())
	}
	p.settle()
}

func (p *Page) within(done func() bool) bool {
	p.t.Helper()
	for end := time.Now().Add(p.patience / 3); ; time.Sleep(25 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Cookies are all cookies of this browser, whatever site they belong to.
func (p *Page) Cookies() []*network.Cookie {
	p.t.Helper()
	res, err := chromedp.CallBrowser(p.ctx, storage.GetCookies, storage.GetCookiesParams{
		BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	p.must(err, "read the cookies")
	return res.Cookies
}

// ClearCookies makes the browser forget all cookies, or those with these names.
func (p *Page) ClearCookies(names ...string) {
	p.t.Helper()
	if len(names) == 0 {
		_, err := chromedp.CallBrowser(p.ctx, storage.ClearCookies, storage.ClearCookiesParams{
			BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
		p.must(err, "clear the cookies")
		return
	}
	for _, c := range p.Cookies() {
		for _, name := range names {
			if c.Name == name {
				_, err := chromedp.Call(p.ctx, network.DeleteCookies, network.DeleteCookiesParams{
					Name: c.Name, Domain: c.Domain, Path: c.Path})
				p.must(err, "delete a cookie")
			}
		}
	}
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Screenshot saves the whole page as name.png in the folder that VESTIBULE_SHOTS names, else it does nothing.
func (p *Page) Screenshot(name string) {
	p.t.Helper()
	folder := os.Getenv(Shots)
	if folder == "" {
		return
	}
	ctx, cancel := p.bounded()
	defer cancel()
	beyond := true
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
	p.must(err, "take a screenshot")
	p.must(os.MkdirAll(folder, 0o755), "make the folder for screenshots")
	p.must(os.WriteFile(filepath.Join(folder, unfit.ReplaceAllString(name, "-")+".png"), shot.Data, 0o644), "save a screenshot")
}
