package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/pgtest"
	"github.com/vestibule-id/vestibule/internal/web"
)

const policyOfPages = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// Every page of a login carries one policy, whatever the connection's settings are: no form-action, which
// would break the providers' own redirects, and nothing from configuration.
func TestS36EveryPageCarriesTheSamePolicyAndNothingOfConfiguration(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	twin := w.addOIDC("twin", nil)
	w.connectOIDC(twin.org, "twin-b", nil)
	b := newBrowser(t)
	pages := map[string]*page{
		"identify":  b.authorize(w, w.request(nil)),
		"leaving":   b.send(http.MethodGet, w.url+"/login/"+loginOf(t, b.depart(w, w.request(in(c.org)))), nil, false),
		"choose":    b.authorize(w, w.request(in(twin.org))),
		"malformed": b.answer(b.authorize(w, w.request(nil)), "identifier", "<script>"),
		"nowhere":   b.answer(b.authorize(w, w.request(nil)), "identifier", "a@nowhere.example"),
		"unknown":   b.authorize(w, w.request(func(v url.Values) { v.Set("organization", "nobody") })),
		"no client": b.get(w, "/authorize"),
		"no page":   b.get(w, "/nothing/here"),
		"over":      b.get(w, "/login/"+strings.Repeat("x", 43)),
		"logout":    b.get(w, "/logout"),
	}
	b.signIn(w, in(c.org))
	pages["confirm"] = b.get(w, "/logout")
	for name, p := range pages {
		if got := p.header.Values("Content-Security-Policy"); len(got) != 1 || got[0] != policyOfPages {
			t.Errorf("%s: %q", name, got)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := p.header.Get(header); got != want {
				t.Errorf("%s: %s %q", name, header, got)
			}
		}
		for _, inline := range []string{"<style", "style=\"", "onclick", "onload", "javascript:"} {
			if strings.Contains(p.body, inline) {
				t.Errorf("%s: inline %q", name, inline)
			}
		}
	}
}

// Addresses in a connection's settings are parsed and written anew, or refused.
func TestS36AddressesThatCouldSpeakInAHeaderAreRefused(t *testing.T) {
	w := newWorld(t)
	org := w.addOrg("acme", "")
	for _, bad := range []string{
		"https://x; script-src *", "https://x/;script-src%20*\r\nX: y", "javascript:alert(1)", "https://user@x.example/", "//x.example", "data:text/html,x",
		"https://x.example/\" onload=\"", "https://x.example#f", "https://*.example/", "http://x.example/", "https://x.example:99999/",
		"https://x_y.example/", "custom:callback", "https://", "https:///x", " https://x.example", "https://x.example\x00/",
	} {
		_, err := w.h.connections.Create(t.Context(), operator, org, upstream.Connection{
			Realm: w.main, Type: "oidc", Name: "Bent", Status: upstream.Active, Issuer: "https://idp.example",
			Config: encode(t, oidc.Config{ClientID: "v", Endpoints: &oidc.Endpoints{Authorization: bad, Token: "https://idp.example/token", JWKS: "https://idp.example/keys"}}),
			Secret: encode(t, oidc.Secret{ClientSecret: "s"}),
		})
		if err == nil {
			t.Errorf("an authorization endpoint of %q was stored", bad)
		}
		_, err = w.h.connections.Create(t.Context(), operator, org, upstream.Connection{
			Realm: w.main, Type: "oidc", Name: "Bent", Status: upstream.Active, Issuer: bad,
			Config: encode(t, oidc.Config{ClientID: "v"}), Secret: encode(t, oidc.Secret{ClientSecret: "s"}),
		})
		if err == nil {
			t.Errorf("an issuer of %q was stored", bad)
		}
		for name, change := range map[string]func(*broker.App){
			"redirect": func(a *broker.App) { a.RedirectURIs = []string{bad} },
			"logout":   func(a *broker.App) { a.PostLogoutURIs = []string{bad} },
			"home":     func(a *broker.App) { a.Home = bad },
		} {
			if bad == "https://*.example/" || bad == "https://x_y.example/" || bad == "https://x.example:99999/" || strings.HasPrefix(bad, "https://x; ") {
				continue // an app's own address is compared as it is, and never is a policy
			}
			_, secret := broker.NewClientSecret(w.clock.now())
			app := broker.App{
				ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: "bent-" + directory.NewSecret()[:8], Name: "Bent", Status: directory.Active,
				Settings: broker.Settings{Method: broker.SecretBasic, RedirectURIs: []string{callback}}, Secrets: []broker.Secret{secret},
			}
			change(&app)
			if err := w.h.broker.AddApp(t.Context(), operator, app); err == nil {
				t.Errorf("an app's %s address of %q was stored", name, bad)
			}
		}
	}
}

// journal keeps what is logged.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// secretive is a browser that notes every secret that it meets: cookies, codes, states, tickets, answers.
type secretive struct {
	*browser
	secrets map[string]string // the secret: what it is
}

func (s *secretive) note(what string, values ...string) {
	for _, v := range values {
		if len(v) >= 16 {
			s.secrets[v] = what
		}
	}
}

// walk goes through a login by hand, so that nothing on the way is missed.
func (s *secretive) walk(w *world, r request) *page {
	s.note("the app's state or nonce", r.Get("nonce"))
	s.note("PKCE verifier", r.verifier)
	departure := s.depart(w, r)
	answer := s.atProvider(w, departure)
	if to, err := url.Parse(departure.header.Get("Location")); err == nil && selfPosting(departure) == nil {
		s.note("our state", to.Query().Get("state"))
		s.note("our nonce", to.Query().Get("nonce"))
	}
	if f := selfPosting(answer); f != nil {
		s.note("the provider's answer", f.values.Get("SAMLResponse"), f.values.Get("code"))
	} else if to, err := url.Parse(answer.header.Get("Location")); err == nil {
		s.note("the provider's code", to.Query().Get("code"))
	}
	p := s.deliver(answer)
	if to, err := url.Parse(p.header.Get("Location")); err == nil {
		s.note("ticket", to.Query().Get("t"))
	}
	p = s.follow(p)
	s.note("code", p.sent())
	for name, v := range s.cookies() {
		s.note("cookie "+name, v)
	}
	return p
}

// Nothing secret stands in a trace, in a log line or, but for what must be kept, in any file.
func TestS44NothingSecretIsLoggedTracedOrLeftInFiles(t *testing.T) {
	log, dir := &journal{}, t.TempDir()
	w := worldIn(t, dir, func(c *config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	companies := []company{w.addOIDC("acme", nil), w.addOIDC("posted", formPost), w.addSAML("retail", nil)}
	s := &secretive{browser: newBrowser(t), secrets: map[string]string{}}
	s.note("client secret", w.secret)
	var codes []string
	for _, c := range companies {
		var kept oidc.Secret
		if c.con.Type == "oidc" {
			kept.ClientSecret = "s3cret-of-" + c.idp.Name
			s.note("upstream client secret", kept.ClientSecret)
		}
		r := w.request(func(v url.Values) { in(c.org)(v); v.Set("login_hint", "ada@"+c.idp.Name+".example") })
		p := s.walk(w, r)
		tok := w.redeem(p.code(t), r.verifier)
		s.note("token", tok.Access, tok.ID, strings.Split(tok.Access, ".")[2], strings.Split(tok.ID, ".")[2])
		w.userinfo(tok.Access)
		w.redeem(p.sent(), r.verifier) // a replay is a story too
		for _, wrong := range []string{"wrong-audience", "old", "unknown-key", "unsigned", "garbage", "foreign-email"} {
			c.idp.SetMisbehavior(fakeidp.Misbehavior(wrong))
			p := s.walk(w, w.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") }))
			codes = append(codes, shownCode.FindString(p.body))
		}
		c.idp.SetMisbehavior("")
	}
	for _, at := range []string{"/authorize?client_id=payments&redirect_uri=https://evil.example&state=abcdefghijklmnopqrstuvwx", "/login/" + strings.Repeat("y", 43) + "?t=abcdefghijklmnopqrstuvwx", "/arrive/con_x?code=abcdefghijklmnopqrstuvwx&state=abcdefghijklmnopqrstuvwx"} {
		s.get(w, at)
	}
	s.note("what a stranger sent", "abcdefghijklmnopqrstuvwx")
	stories := 0
	for _, shown := range codes {
		code, ok := audit.ParseCode(shown)
		if !ok {
			t.Errorf("no code on an error page: %q", shown)
			continue
		}
		tr, found, err := w.h.store.TraceByCode(t.Context(), code)
		w.must(err)
		if !found {
			t.Errorf("no story behind %s", shown)
			continue
		}
		stories++
		s.absent(t, "the trace", []byte(fmt.Sprint(tr)))
		for _, c := range companies {
			if strings.Contains(fmt.Sprint(tr), "ada@") || strings.Contains(fmt.Sprint(tr), "<saml") {
				t.Errorf("the trace of %s tells an address or a document: %v", c.idp.Name, tr)
			}
		}
	}
	if stories != 18 {
		t.Errorf("%d stories of 18 failures", stories)
	}
	s.absent(t, "the log", []byte(log.String()))
	for _, address := range []string{"ada@acme.example", "ada%40acme.example", "ada@retail.example"} {
		if strings.Contains(log.String(), address) {
			t.Errorf("the log tells %s", address)
		}
	}
	w.files(t, s)
}

// files looks for secrets in everything that lies in the data directory. What a login in progress needs
// to be finished is in the short-lived file under the login's id, and is worth nothing without the
// browser's cookie; sealing keys are in their own file.
func (w *world) files(t *testing.T, s *secretive) {
	t.Helper()
	seen := 0
	look := func(name string, raw []byte, durable bool) {
		seen++
		for secret, what := range s.secrets {
			short := strings.HasPrefix(what, "our ") || what == "the app's state or nonce" || what == "what a stranger sent" || what == "the provider's answer"
			if (durable || !short) && bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s is in %s", what, name)
			}
		}
	}
	w.must(filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(filepath.Base(path), raw, !strings.HasPrefix(filepath.Base(path), "ephemeral"))
		return nil
	}))
	if dsn, there := stored.Load(w.dir); there {
		look("the database", pgtest.Dump(t, dsn.(string), "notes"), true)
		look("the short-lived table", pgtest.Dump(t, dsn.(string)), false)
	}
	if seen < 3 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func (s *secretive) absent(t *testing.T, where string, text []byte) {
	t.Helper()
	for secret, what := range s.secrets {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is in %s: %s", what, where, secret)
		}
	}
}

// A trace is shown with what its organization's connection sent, to that organization: the story of one
// is kept under its own organization, and one without is the operator's.
func TestS44ATraceIsKeptUnderTheOrganizationOfItsLogin(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.idp.SetMisbehavior("wrong-audience")
	for _, story := range []struct {
		page *page
		org  directory.OrgID
	}{
		{newBrowser(t).authorize(w, w.request(in(c.org))), c.org},
		{newBrowser(t).authorize(w, w.request(func(v url.Values) { v.Set("organization", "nobody") })), ""},
	} {
		code, _ := audit.ParseCode(shownCode.FindString(story.page.body))
		tr, found, err := w.h.store.TraceByCode(t.Context(), code)
		if err != nil || !found || tr.Org != string(story.org) && story.org != "" {
			t.Errorf("trace of %q: found %v, %+v, %v", story.org, found, tr, err)
		}
	}
}

// A trace is kept for fourteen days and no longer.
func TestS44ATraceIsKeptForFourteenDays(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	c.idp.SetMisbehavior("wrong-audience")
	p := newBrowser(t).authorize(w, w.request(in(c.org)))
	code, _ := audit.ParseCode(shownCode.FindString(p.body))
	for _, at := range []struct {
		pass  time.Duration
		found bool
	}{{13 * 24 * time.Hour, true}, {25 * time.Hour, false}} {
		w.clock.pass(at.pass)
		if _, found, err := w.h.store.TraceByCode(t.Context(), code); err != nil || found != at.found {
			t.Errorf("found %v, want %v (%v)", found, at.found, err)
		}
	}
}

// At most ten logins are open for one browser; the oldest goes.
func TestS53OneBrowserHasTenOpenLoginsAtMost(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	var logins []string
	for range 13 {
		logins = append(logins, b.authorize(w, w.request(nil)).url.Path)
	}
	for i, at := range logins {
		want := http.StatusOK
		if i < 3 {
			want = http.StatusGone
		}
		if got := b.get(w, at).status; got != want {
			t.Errorf("login %d: %d, want %d", i, got, want)
		}
	}
	// Another browser's are its own.
	c := newBrowser(t)
	other := c.authorize(w, w.request(nil)).url.Path
	for range 11 {
		b.authorize(w, w.request(nil))
	}
	if got := c.get(w, other).status; got != http.StatusOK {
		t.Errorf("another browser's login was dropped: %d", got)
	}
}

// Before the app and its redirect_uri are known, nothing is written; nor is it for prompt=none that fails.
func TestS53NothingIsWrittenBeforeTheAppIsKnown(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	short := &writes{Store: w.h.store.Brief()}
	w.h.broker.Brief, w.h.engine.Brief = short, short
	count := w.rows(t)
	b := newBrowser(t)
	for name, change := range map[string]func(url.Values){
		"no client":               func(v url.Values) { v.Del("client_id") },
		"unknown client":          func(v url.Values) { v.Set("client_id", "nobody") },
		"wrong address":           func(v url.Values) { v.Set("redirect_uri", callback+"/x") },
		"no address":              func(v url.Values) { v.Del("redirect_uri") },
		"no PKCE":                 func(v url.Values) { v.Del("code_challenge") },
		"silent":                  func(v url.Values) { v.Set("prompt", "none") },
		"silent, an organization": func(v url.Values) { v.Set("prompt", "none"); in(c.org)(v) },
		"silent, an unknown one":  func(v url.Values) { v.Set("prompt", "none"); v.Set("organization", "nobody") },
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := w.request(change)
			if method == http.MethodGet {
				b.send(method, w.url+"/authorize?"+r.Encode(), nil, false)
			} else if !strings.HasPrefix(name, "silent") {
				b.send(method, w.url+"/authorize", r.Values, true)
			}
			if got := w.rows(t); got != count {
				t.Errorf("%s, %s: %s, was %s", method, name, got, count)
				count = got
			}
			if n := short.n.Swap(0); n != 0 {
				t.Errorf("%s, %s: %d short-lived writes", method, name, n)
			}
			if len(b.cookies()) != 0 {
				t.Errorf("%s, %s: cookies %v", method, name, b.cookies())
			}
		}
	}
	if b.authorize(w, w.request(nil)); short.n.Load() == 0 {
		t.Error("the count counts nothing")
	}
}

// writes counts what is written into the short-lived store.
type writes struct {
	brief.Store
	n atomic.Int64
}

func (c *writes) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c.n.Add(1)
	return c.Store.Put(ctx, key, value, ttl)
}

func (c *writes) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	c.n.Add(1)
	return c.Store.PutNew(ctx, key, value, ttl)
}

// rows counts the rows of every durable table.
func (w *world) rows(t *testing.T) string {
	t.Helper()
	list := "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
	if _, there := stored.Load(w.dir); there {
		list = "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
	}
	out := ""
	for _, row := range w.query(list) {
		// The record and the list of nodes are written in the background; notes and counts are short-lived.
		if name := row[0]; !strings.HasPrefix(name, "audit") && !slices.Contains([]string{"nodes", "notes", "counts"}, name) {
			out += name + " " + w.query("SELECT count(*) FROM " + name)[0][0] + " "
		}
	}
	return out
}

func TestS53OneNetworkAndOneAppMayAskForSoMuch(t *testing.T) {
	limit := func(most int64) web.Limit { return web.Limit{Name: "try", Most: most, Per: time.Minute} }
	for name, limits := range map[string]broker.Limits{
		"network": {AuthorizePerNetwork: limit(5)}, "app": {AuthorizePerApp: limit(5)},
	} {
		t.Run(name, func(t *testing.T) {
			w := worldIn(t, t.TempDir(), func(c *config) { c.Limits = limits })
			for i := range 8 {
				p := newBrowser(t).authorize(w, w.request(nil))
				want := http.StatusOK
				if i >= 5 {
					want = http.StatusTooManyRequests
				}
				if p.status != want {
					t.Errorf("request %d: %d, want %d", i+1, p.status, want)
				}
				if want != http.StatusOK && !strings.Contains(p.body, "<title>") {
					t.Errorf("not our page: %s", p.body)
				}
			}
			w.clock.pass(2 * time.Minute)
			if p := newBrowser(t).authorize(w, w.request(nil)); p.status != http.StatusOK {
				t.Errorf("two minutes later: %d", p.status)
			}
		})
	}
	if l := broker.DefaultLimits(); l.AuthorizePerNetwork.Most == 0 || l.AuthorizePerApp.Most == 0 {
		t.Error("by default nothing is limited")
	}
}

// Too large a body or header is answered by our page, at every address that takes one.
func TestS53TooLargeIsAnsweredByOurPage(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	big := url.Values{"x": {strings.Repeat("a", 2<<20)}}
	b := newBrowser(t)
	login := b.authorize(w, w.request(nil)).url.Path
	for _, at := range []string{"/authorize", "/logout", "/logout/confirm", login + "/identify", "/arrive/" + string(c.con.ID)} {
		p := b.send(http.MethodPost, w.url+at, big, false)
		if p.status != http.StatusRequestEntityTooLarge || !shownCode.MatchString(p.body) {
			t.Errorf("%s: %d %.80s", at, p.status, p.body)
		}
	}
	for _, at := range []string{"/authorize", "/logout", login} {
		p := b.send(http.MethodGet, w.url+at+"?x="+strings.Repeat("a", 64<<10), nil, false)
		if p.status != http.StatusRequestHeaderFieldsTooLarge || !shownCode.MatchString(p.body) {
			t.Errorf("%s: %d %.80s", at, p.status, p.body)
		}
	}
}

// Handles and client ids are never given out again (S40), and sub is the same in all organizations.
func TestS40NamesAreNeverGivenOutAgain(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	w.must(w.h.directory.SetOrgStatus(t.Context(), operator, c.org, directory.Archived))
	err := w.h.directory.AddOrg(t.Context(), operator, directory.Org{ID: directory.NewOrgID(w.clock.now()), Realm: w.main, Handle: "acme", Name: "Other", Status: directory.Active})
	if !errors.Is(err, directory.ErrHandleTaken) {
		t.Errorf("a handle was given out again: %v", err)
	}
	w.must(w.h.broker.Apps.UpdateApp(t.Context(), w.app.ID, func(a *broker.App) error { a.Status = directory.Archived; return nil }))
	_, secret := broker.NewClientSecret(w.clock.now())
	err = w.h.broker.AddApp(t.Context(), operator, broker.App{
		ID: directory.NewAppID(w.clock.now()), Realm: w.main, ClientID: w.app.ClientID, Name: "Other", Status: directory.Active,
		Settings: broker.Settings{Method: broker.SecretBasic, RedirectURIs: []string{callback}}, Secrets: []broker.Secret{secret},
	})
	if !errors.Is(err, broker.ErrClientIDTaken) {
		t.Errorf("a client id was given out again: %v", err)
	}
	for _, handle := range []string{"Acme", "ac me", "аcme", "-acme", "acme-", "ac_me", strings.Repeat("a", 64), ""} {
		if directory.ValidHandle(handle) {
			t.Errorf("%q is a handle", handle)
		}
	}
}

func TestS40SubIsOnePersonsInEveryOrganization(t *testing.T) {
	w, lax, strict, b := twoLegs(t)
	one, two := claims(t, w.redeemed(t, b, in(lax.org)).ID), claims(t, w.redeemed(t, b, in(strict)).ID)
	if one["sub"] != two["sub"] || one["org_id"] == two["org_id"] {
		t.Errorf("%v %v", one["sub"], two["sub"])
	}
}

// What a stranger's program does wrong fills nobody's log with errors.
func TestWhatProgramsDoWrongIsNoErrorOfOurs(t *testing.T) {
	log := &journal{}
	w := worldIn(t, t.TempDir(), func(c *config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	c := w.addOIDC("acme", nil)
	w.userinfo("not-a-token")
	w.redeem("no-code", "no-verifier")
	w.token(url.Values{"grant_type": {"password"}}, nil)
	w.token(url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {"nobody"}}, nil)
	newBrowser(t).get(w, "/authorize?client_id=nobody")
	newBrowser(t).send(http.MethodPost, w.url+"/arrive/"+string(c.con.ID), url.Values{"state": {"made up"}}, true)
	if strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "level=WARN") {
		t.Errorf("logged:\n%s", log)
	}
}
