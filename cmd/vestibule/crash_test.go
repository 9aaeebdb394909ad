package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveCrash is a house in a process of its own, to be killed.
func serveCrash() error {
	at := os.Getenv("VESTIBULE_TEST_LISTEN")
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	slog.SetDefault(log)
	_, port, _ := strings.Cut(at, ":")
	dir := os.Getenv("VESTIBULE_TEST_DATA")
	h, err := build(context.Background(), config{
		Issuer: "http://localhost:" + port, DataDir: dir, Now: time.Now, Log: log,
		KeyFile: filepath.Join(dir, "vestibule.key"), Database: database{URL: os.Getenv("VESTIBULE_TEST_DSN")},
		Own: func() []netip.AddrPort { return []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()} },
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return h.server(log).Serve(l)
}

// mortal is a world whose house is another process.
type mortal struct {
	*world
	port int
	dsn  string // "" on SQLite
	cmd  *exec.Cmd
}

// newMortal seeds a data directory and starts its house.
func newMortal(t *testing.T, seed func(*world)) *mortal {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{}, url: "http://localhost:" + strconv.Itoa(port), logged: &bytes.Buffer{}}
	c := keptIn(t, w.dir, config{Issuer: w.url, Now: w.clock.now, Log: slog.New(slog.DiscardHandler),
		Own: func() []netip.AddrPort { return nil }})
	w.h, err = build(t.Context(), c)
	w.must(err)
	w.seed()
	seed(w)
	w.h.close()
	m := &mortal{world: w, port: port, dsn: c.Database.URL}
	m.start()
	t.Cleanup(func() { m.kill() })
	return m
}

func (m *mortal) start() {
	m.t.Helper()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), "VESTIBULE_TEST_ROLE=crash", "VESTIBULE_TEST_DATA="+m.dir, "VESTIBULE_TEST_DSN="+m.dsn, "VESTIBULE_TEST_LISTEN=127.0.0.1:"+strconv.Itoa(m.port))
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	m.must(err)
	m.must(m.cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		m.t.Fatalf("the house did not start: %q %v", line, err)
	}
}

// kill is kill -9.
func (m *mortal) kill() {
	if m.cmd.ProcessState == nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
	}
}

// receipt is what the house acknowledged to one person before it died.
type receipt struct {
	cookies  []*http.Cookie
	code     string // that the browser was given
	verifier string
	asked    bool   // the app began to redeem the code
	access   string // that the app was given
}

// push signs somebody in as far as the house lives, and says what was acknowledged.
func (m *mortal) push(change func(url.Values)) (r receipt) {
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	home, _ := url.Parse(m.url)
	q := m.request(change)
	r.verifier = q.verifier
	resp, err := client.Get(m.url + "/authorize?" + q.Encode())
	r.cookies = jar.Cookies(home)
	if err != nil {
		return r
	}
	resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		return r
	}
	r.code, r.asked = to.Query().Get("code"), true
	form := url.Values{"grant_type": {"authorization_code"}, "code": {r.code}, "redirect_uri": {callback}, "code_verifier": {r.verifier}}
	req, _ := http.NewRequest(http.MethodPost, m.url+"/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(m.app.ClientID, m.secret)
	if resp, err = client.Do(req); err != nil {
		return r
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return r
	}
	_, rest, _ := strings.Cut(string(body), `"access_token":"`)
	r.access, _, _ = strings.Cut(rest, `"`)
	return r
}

func (r receipt) session() bool {
	for _, c := range r.cookies {
		if c.Name == "vs" {
			return true
		}
	}
	return false
}

func (r receipt) browser(t *testing.T) *browser {
	b := newBrowser(t)
	b.jar["localhost"] = map[string]string{}
	for _, c := range r.cookies {
		b.jar["localhost"][c.Name] = c.Value
	}
	return b
}

// kill -9 at any moment of logins: what was acknowledged is there afterwards, no code redeems twice, and
// sessions live on.
func TestS16KilledAtAnyMomentNothingAcknowledgedIsLost(t *testing.T) {
	var c company
	m := newMortal(t, func(w *world) { c = w.addOIDC("acme", nil) })
	m.push(in(c.org)) // the first one makes the account
	kept, spent := 0, 0
	for range 6 {
		var mu sync.Mutex
		var all []receipt
		var drivers sync.WaitGroup
		end := make(chan struct{})
		for range 4 {
			drivers.Go(func() {
				for {
					select {
					case <-end:
						return
					default:
					}
					r := m.push(in(c.org))
					mu.Lock()
					all = append(all, r)
					mu.Unlock()
				}
			})
		}
		time.Sleep(30*time.Millisecond + rand.N(300*time.Millisecond))
		m.kill()
		close(end)
		drivers.Wait()
		m.start()
		c.idp.SetAuto("") // whoever is asked again is stopped at the provider
		for _, r := range sampled(all) {
			b := r.browser(t)
			if r.session() {
				kept++
				if code, fault := b.silently(m.world, in(c.org)); code == "" {
					t.Errorf("a session that was acknowledged is gone: %s", fault)
				}
			}
			if r.access != "" {
				if status, _ := m.userinfo(r.access); status != http.StatusOK {
					t.Errorf("a token that was acknowledged is not known: %d", status)
				}
			}
			if r.asked {
				spent++
				tok := m.redeem(r.code, r.verifier)
				if outlives() && r.access == "" && tok.Status == http.StatusOK {
					tok = m.redeem(r.code, r.verifier) // it had not been redeemed, so it was good once
				}
				if tok.Status != http.StatusBadRequest || tok.Error != "invalid_grant" {
					t.Errorf("a code from before redeems: %s", tok.raw)
				}
			}
			if r.access != "" { // and showing it again revoked what it had opened
				if status, _ := m.userinfo(r.access); status != http.StatusUnauthorized {
					t.Errorf("the grant of a replayed code is good: %d", status)
				}
			}
		}
		c.idp.SetAuto("acme-1")
	}
	if kept == 0 || spent == 0 {
		t.Errorf("the house never got anywhere: %d sessions, %d codes", kept, spent)
	}
}

// sampled keeps the last receipts, those nearest to the end, and some of the others.
func sampled(all []receipt) []receipt {
	if len(all) <= 40 {
		return all
	}
	return append(all[:10:10], all[len(all)-30:]...)
}

// outlives says that short-lived state is kept apart from the process, so that a kill ends nobody's login.
func outlives() bool { return backend() != "" }

// What was in progress is refused with a page that says where to begin again, and beginning again works.
// Where it outlives the process it goes on.
func TestS16AfterAKillLoginsInProgressBeginAgain(t *testing.T) {
	var get, post company
	m := newMortal(t, func(w *world) { get, post = w.addOIDC("acme", nil), w.addSAML("retail", nil) })
	b := newBrowser(t)
	begun := b.authorize(m.world, m.request(nil))
	departed := b.depart(m.world, m.request(in(get.org)))
	arriving := b.atProvider(m.world, departed)
	posting := b.atProvider(m.world, b.depart(m.world, m.request(in(post.org))))
	parked := ticketOf(t, b.deliver(b.atProvider(m.world, b.depart(m.world, m.request(in(post.org))))))
	r := m.request(in(get.org))
	x := newBrowser(t)
	unredeemed := x.authorize(m.world, r).code(t)
	m.kill()
	m.start()
	form := forms(begun)[0]
	form.values.Set("identifier", "ada@acme.example")
	for what, p := range map[string]*page{
		"a page":                b.get(m.world, begun.url.Path),
		"a form":                b.send(http.MethodPost, m.url+form.action, form.values, false),
		"an answer by redirect": b.follow(b.deliver(arriving)),
		"an answer by post":     b.follow(b.deliver(posting)),
		"a ticket":              b.follow(b.get(m.world, parked)),
	} {
		gone := p.status == http.StatusGone && p.sent() == "" && shownCode.MatchString(p.body)
		if gone == outlives() || outlives() && p.status >= http.StatusBadRequest {
			t.Errorf("%s: %d %s", what, p.status, textOf(p.body))
		}
	}
	if tok := m.redeem(unredeemed, r.verifier); outlives() && tok.Status != http.StatusOK || !outlives() && tok.Error != "invalid_grant" {
		t.Errorf("a code from before the kill: %s", tok.raw)
	}
	if code, fault := x.silently(m.world, in(get.org)); code == "" {
		t.Errorf("the session did not live on: %s", fault)
	}
	b.signIn(m.world, in(get.org))
	newBrowser(t).signIn(m.world, in(post.org))
}

// A clean stop loses nothing at all: what was in progress goes on.
func TestAfterACleanStopLoginsGoOn(t *testing.T) {
	dir, b := t.TempDir(), newBrowser(t)
	keptIn(t, dir, config{}) // for longer than the first world
	var at string
	t.Run("before", func(t *testing.T) {
		w := worldIn(t, dir, nil)
		at = b.authorize(w, w.request(nil)).url.Path
	})
	w := worldIn(t, dir, nil)
	if p := b.get(w, at); p.status != http.StatusOK || !strings.Contains(p.body, `name="identifier"`) {
		t.Errorf("a login in progress was lost by a clean stop: %d %s", p.status, textOf(p.body))
	}
}
