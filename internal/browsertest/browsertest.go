// Package browsertest drives a real Chromium in tests, the way a person drives it: a Page goes to an
// address, presses what is written on a button, fills the field that has a label, and reads what is
// shown. It exists because cookies, redirects, form posts between sites, back and reload are kept by
// browsers and not by us; a test with an HTTP client proves nothing about them.
//
//	p := browsertest.New(t, browsertest.Options{Width: 390, Dark: true})
//	p.Goto(server.URL)
//	p.Fill("E-mail", "ana@acme.example")
//	p.Click("Continue")
//	p.See("Taking you to Acme")
//	p.Axe()
//
// A Page belongs to one test and one goroutine. Every method fails the test at once, saying what was
// on the page instead. At the end of a test its pages close, and the test fails for every script error,
// failed asset and violation of the Content-Security-Policy that nobody expected (see Allow).
//
// One browser process serves all tests of a package where its TestMain is
//
//	func TestMain(m *testing.M) { browsertest.Main(m) }
//
// and one process each test where it is not. Files of such tests begin with "//go:build !quick", which
// leaves them out of make quick by building without them; nothing is ever skipped. The package knows
// nothing of what it looks at.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Shots names the environment variable that holds the folder for screenshots; none are taken without it.
const Shots = "VESTIBULE_SHOTS"

// names are what Chromium is called, first come first served.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"}

// Find says where Chromium is. A test that needs it fails where it is missing: a browser test that
// nobody ran has proved nothing.
func Find(t testing.TB) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("No Chromium or Google Chrome is on the PATH. Run `make test`, which installs Chromium on Debian and Ubuntu, " +
		"or install it yourself (`apt-get install chromium`), or run `make quick`, which builds without browser tests.")
	return ""
}

// Main runs a package's tests with one browser process for all of them, and exits.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain that has something to clean up of its own.
func Run(m *testing.M) int {
	shared.hold()
	defer shared.release()
	return m.Run()
}

// process is the browser that a package's tests share while anybody holds it.
type process struct {
	mu      sync.Mutex
	holders int
	ctx     context.Context
	stop    func()
}

var shared process

func (b *process) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders++
}

// release ends the browser when nobody holds it any more.
func (b *process) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders--
	if b.holders == 0 && b.stop != nil {
		b.stop()
		b.ctx, b.stop = nil, nil
	}
}

// context gives the running browser; the first to ask starts it. chromedp talks to it through a pipe,
// so that it ends with the test's process even when that is killed.
func (b *process) context(t testing.TB) context.Context {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx != nil && b.ctx.Err() == nil {
		return b.ctx
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), flags(Find(t))...)
	ctx, stop := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		stopAlloc()
		t.Fatalf("Chromium did not start: %v", err)
	}
	b.ctx = ctx
	b.stop = func() {
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = chromedp.Cancel(bounded) // asks it to leave, so that it removes its profile
		stop()
		stopAlloc()
	}
	return b.ctx
}

// flags keep the browser from the network, from other people's settings, and from throttling the tab
// that is not in front. No sandbox: root and containers have none, and the pages are our own.
func flags(path string) []chromedp.ExecAllocatorOption {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter,AutofillServerCommunication,HttpsUpgrades"),
		chromedp.Flag("lang", "en-US"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	for _, name := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "disable-component-update", "no-proxy-server",
		"disable-domain-reliability", "no-pings", "disable-component-extensions-with-background-pages",
	} {
		opts = append(opts, chromedp.Flag(name, true))
	}
	return opts
}
