package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
)

// terminal is a device without a browser.
type terminal struct {
	*world
	status    int
	Device    string `json:"device_code"`
	User      string `json:"user_code"`
	URI       string `json:"verification_uri"`
	Complete  string `json:"verification_uri_complete"`
	ExpiresIn int    `json:"expires_in"`
	Interval  int    `json:"interval"`
	Error     string `json:"error"`
}

func devices(a *broker.App) {
	a.Grants = []broker.Grant{broker.GrantCode, broker.GrantDevice, broker.GrantRefresh}
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// terminal asks for a device's codes.
func (w *world) terminal(change func(url.Values)) terminal {
	w.t.Helper()
	form := url.Values{"scope": {"openid profile"}}
	if change != nil {
		change(form)
	}
	req, err := http.NewRequest(http.MethodPost, w.url+"/device_authorization", strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux) Firefox/130")
	if w.secret != "" {
		req.SetBasicAuth(w.app.ClientID, w.secret)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	d := terminal{world: w, status: resp.StatusCode}
	if err := json.Unmarshal(raw, &d); err != nil {
		w.t.Fatalf("%d %s", resp.StatusCode, raw)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
	}
	return d
}

func (d terminal) poll() tokenAnswer {
	d.t.Helper()
	return d.token(url.Values{"grant_type": {deviceGrant}, "device_code": {d.Device}}, func(r *http.Request) {
		if d.secret != "" {
			r.SetBasicAuth(d.app.ClientID, d.secret)
		}
	})
}

// types opens the device page and types a code.
func (b *browser) types(w *world, code string) *page {
	b.t.Helper()
	b.send(http.MethodGet, w.url+"/device", nil, false)
	return b.follow(b.send(http.MethodPost, w.url+"/device", url.Values{"user_code": {code}}, false))
}

// answersDevice presses one of the two buttons.
func (b *browser) answersDevice(p *page, decision string) *page {
	b.t.Helper()
	return b.follow(b.send(http.MethodPost, p.url.String(), url.Values{"decision": {decision}}, false))
}

func deviceWorld(t *testing.T) (*world, company) {
	t.Helper()
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	return w.entitledApp("tv", c.org, devices), c
}

// RFC 8628 from the first request to the tokens.
func TestADeviceIsSignedInByACodeThatIsTypedAndApproved(t *testing.T) {
	w, c := deviceWorld(t)
	d := w.terminal(in(c.org))
	if d.status != 200 || !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(d.User) || len(d.Device) < 43 ||
		d.URI != w.url+"/device" || d.Complete != d.URI+"?user_code="+d.User || d.ExpiresIn != 600 || d.Interval != 5 {
		t.Fatalf("%+v", d)
	}
	if a := d.poll(); a.Status != 400 || a.Error != "authorization_pending" {
		t.Errorf("%s", a.raw)
	}
	b := newBrowser(t)
	p := b.types(w, " "+strings.ToLower(d.User)+" ")
	text := textOf(p.body)
	for _, want := range []string{"Tv", "Acme", "ada@acme.example", d.User, "127.0.0.1", "Firefox on Linux"} {
		if !strings.Contains(text, want) {
			t.Errorf("the question does not say %q: %s", want, text)
		}
	}
	w.clock.pass(6 * time.Second)
	if a := d.poll(); a.Error != "authorization_pending" {
		t.Errorf("before the answer: %s", a.raw)
	}
	if done := b.answersDevice(p, "approve"); done.status != 200 || !strings.Contains(textOf(done.body), "signed in") {
		t.Fatalf("%d %s", done.status, textOf(done.body))
	}
	w.clock.pass(6 * time.Second)
	a := d.poll()
	if a.Status != 200 || a.ID == "" {
		t.Fatalf("%s", a.raw)
	}
	id := claims(t, a.ID)
	if id["aud"] != "tv" || id["org_id"] != string(c.org) || id["sub"] != string(w.person(c, "acme-1").ID) || id["sid"] == "" || id["nonce"] != nil {
		t.Errorf("%v", id)
	}
	if status, _ := w.userinfo(a.Access); status != 200 {
		t.Errorf("userinfo %d", status)
	}
	if again := d.poll(); again.Status != 400 || again.Error != "invalid_grant" {
		t.Errorf("a second time: %s", again.raw)
	}
	// What was approved belongs to the session of whoever approved: it ends with it.
	b.logout(w, url.Values{"id_token_hint": {a.ID}})
	if status, _ := w.userinfo(a.Access); status != 401 {
		t.Errorf("after logout: userinfo %d", status)
	}
}

// S49: following a link approves nothing; the page asks, and says who, where and what.
func TestS49ALinkOnlyFillsTheCodeIn(t *testing.T) {
	w, c := deviceWorld(t)
	d := w.terminal(in(c.org))
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	p := b.follow(b.send(http.MethodGet, d.Complete, nil, false))
	if p.url.Path != "/device" || len(forms(p)) != 1 || forms(p)[0].values.Get("user_code") != d.User {
		t.Fatalf("at %s: %s", p.url, p.body)
	}
	if a := d.poll(); a.Error != "authorization_pending" {
		t.Fatalf("a link approved: %s", a.raw)
	}
	for name, cross := range map[string]*page{
		"typing": b.send(http.MethodPost, w.url+"/device", url.Values{"user_code": {d.User}}, true),
	} {
		if cross.status != http.StatusForbidden {
			t.Errorf("%s for somebody from another site: %d", name, cross.status)
		}
	}
	question := b.types(w, d.User) // single sign-on, and still a question
	if !strings.HasPrefix(question.url.Path, "/device/") || question.status != 200 {
		t.Fatalf("at %s", question.url)
	}
	if cross := b.send(http.MethodPost, question.url.String(), url.Values{"decision": {"approve"}}, true); cross.status != http.StatusForbidden {
		t.Errorf("another site approves: %d", cross.status)
	}
	// The address of the question is no right to answer it.
	thief := newBrowser(t)
	for _, x := range []*browser{thief, signedInAs(t, w, c, "acme-2", "eve@acme.example")} {
		if p := x.send(http.MethodGet, question.url.String(), nil, false); p.status == 200 {
			t.Error("another browser reads the question")
		}
		if p := x.send(http.MethodPost, question.url.String(), url.Values{"decision": {"approve"}}, false); p.status == 200 {
			t.Error("another browser approves")
		}
	}
	w.clock.pass(6 * time.Second)
	if a := d.poll(); a.Error != "authorization_pending" {
		t.Errorf("%s", a.raw)
	}
	// Anything but approve is no.
	b.answersDevice(question, "")
	w.clock.pass(6 * time.Second)
	if a := d.poll(); a.Error != "access_denied" {
		t.Errorf("%s", a.raw)
	}
	if a := d.poll(); a.Error != "invalid_grant" {
		t.Errorf("%s", a.raw)
	}
	if p := b.answersDevice(question, "approve"); p.status != http.StatusGone {
		t.Errorf("a second answer: %d", p.status)
	}
}

func signedInAs(t *testing.T, w *world, c company, id, address string) *browser {
	t.Helper()
	c.people(id, address)
	b := newBrowser(t)
	b.signIn(w, in(c.org))
	c.people("acme-1", "ada@acme.example")
	return b
}

// An app that named an organization gets people of that organization alone.
func TestS49SomebodyOfAnotherOrganizationApprovesNothing(t *testing.T) {
	w, c := deviceWorld(t)
	other := w.addOIDC("rival", nil)
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: other.org, App: w.app.ID}))
	b := newBrowser(t)
	b.signIn(w, in(other.org))
	d := w.terminal(in(c.org))
	c.idp.SetAuto("")
	if p := b.types(w, d.User); strings.HasPrefix(p.url.Path, "/device/") {
		t.Errorf("asked at %s: %s", p.url, textOf(p.body))
	}
	w.clock.pass(6 * time.Second)
	if a := d.poll(); a.Error != "authorization_pending" {
		t.Errorf("%s", a.raw)
	}
	// Without a name the person's own organization is asked about, and named.
	free := w.terminal(nil)
	p := b.types(w, free.User)
	if text := textOf(p.body); !strings.Contains(text, "Rival") || strings.Contains(text, "Acme") {
		t.Errorf("%s", text)
	}
	b.answersDevice(p, "approve")
	if a := free.poll(); claims(t, a.ID)["org_id"] != string(other.org) {
		t.Errorf("%s", a.raw)
	}
}

// The door is asked again when the tokens are taken (S6).
func TestS49TheDoorIsAskedAgainAtRedemption(t *testing.T) {
	for name, gone := range map[string]func(w *world, c company) error{
		"the person is suspended": func(w *world, c company) error {
			return w.h.directory.SetPersonStatus(context.Background(), operator, c.org, w.person(c, "acme-1").ID, directory.Suspended)
		},
		"the membership ends": func(w *world, c company) error {
			return w.h.directory.EndMembership(context.Background(), operator, c.org, w.person(c, "acme-1").ID)
		},
		"the organization is suspended": func(w *world, c company) error {
			return w.h.directory.SetOrgStatus(context.Background(), operator, c.org, directory.Suspended)
		},
		"the app is suspended": func(w *world, _ company) error {
			return w.h.broker.SetAppStatus(context.Background(), operator, w.app.ID, directory.Suspended)
		},
		"the entitlement is removed": func(w *world, c company) error {
			return w.h.directory.RemoveEntitlement(context.Background(), c.org, w.app.ID)
		},
		"the connection is disabled": func(w *world, c company) error {
			w.change(c, func(x *upstream.Connection) { x.Status = upstream.Disabled })
			return nil
		},
		"policy allows no devices": func(w *world, c company) error {
			w.policy(c.org, map[string]string{"login.device_grant": "false"})
			return nil
		},
		"the person signs out everywhere": func(w *world, c company) error {
			return w.h.broker.EndSessionsOf(context.Background(), operator, c.org, w.person(c, "acme-1").ID)
		},
		"the app may use it no more": func(w *world, _ company) error {
			return w.h.broker.Apps.UpdateApp(context.Background(), w.app.ID, func(a *broker.App) error { a.Grants = nil; return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := deviceWorld(t)
			d := w.terminal(in(c.org))
			b := newBrowser(t)
			b.answersDevice(b.types(w, d.User), "approve")
			w.must(gone(w, c))
			if a := d.poll(); a.Status == 200 || a.Access != "" {
				t.Errorf("tokens: %s", a.raw)
			}
		})
	}
}

func TestS49PolicyAndTheAppSaySoBeforehand(t *testing.T) {
	w, c := deviceWorld(t)
	plain := w.entitledApp("plain", c.org, nil)
	if d := plain.terminal(nil); d.status != 400 || d.Error != "unauthorized_client" {
		t.Errorf("off by default: %+v", d)
	}
	w.policy(c.org, map[string]string{"login.device_grant": "false"})
	d := w.terminal(in(c.org))
	if p := newBrowser(t).types(w, d.User); p.status != http.StatusForbidden {
		t.Errorf("%d %s", p.status, textOf(p.body))
	}
}

// A device code is bound to its app, redeems once however many ask, and asking too often makes one wait.
func TestS49ADeviceCodeRedeemsOnceForItsAppAlone(t *testing.T) {
	w, c := deviceWorld(t)
	thief := w.entitledApp("thief", c.org, devices)
	d := w.terminal(in(c.org))
	if a := d.poll(); a.Error != "authorization_pending" {
		t.Errorf("%s", a.raw)
	}
	if a := d.poll(); a.Error != "slow_down" {
		t.Errorf("at once again: %s", a.raw)
	}
	w.clock.pass(6 * time.Second)
	if a := d.poll(); a.Error != "slow_down" {
		t.Errorf("after five seconds, though told to wait ten: %s", a.raw)
	}
	b := newBrowser(t)
	b.answersDevice(b.types(w, d.User), "approve")
	stolen := d
	stolen.world = thief
	if a := stolen.poll(); a.Error != "invalid_grant" {
		t.Errorf("another app: %s", a.raw)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	won := ""
	wins := 0
	for range 16 {
		all.Go(func() {
			a := d.poll()
			mu.Lock()
			defer mu.Unlock()
			if a.Status == 200 {
				won = a.Access
				wins++
			} else if a.Error != "invalid_grant" {
				t.Errorf("%s", a.raw)
			}
		})
	}
	all.Wait()
	if status, _ := w.userinfo(won); wins != 1 || status != 200 {
		t.Errorf("%d redeemed, userinfo %d", wins, status)
	}
	// The user code is good for nothing afterwards.
	if p := newBrowser(t).types(w, d.User); !strings.Contains(textOf(p.body), "no such code") {
		t.Errorf("%s", textOf(p.body))
	}
}

// Two people in front of one code: the first who answers does.
func TestS49OfTwoAnswersTheFirstCounts(t *testing.T) {
	w, c := deviceWorld(t)
	d := w.terminal(in(c.org))
	ada, eve := newBrowser(t), signedInAs(t, w, c, "acme-2", "eve@acme.example")
	mine, theirs := ada.types(w, d.User), eve.types(w, d.User)
	eve.answersDevice(theirs, "approve")
	if p := ada.answersDevice(mine, "approve"); p.status != http.StatusGone {
		t.Errorf("%d", p.status)
	}
	if got := claims(t, d.poll().ID)["sub"]; got != string(w.person(c, "acme-2").ID) {
		t.Errorf("signed in %v", got)
	}
}

// together lets as many approvals as it counts come as far as each having been found good, and then go on at
// once.
type together struct {
	brief.Store
	all *sync.WaitGroup
}

func (s together) Take(ctx context.Context, key string) ([]byte, error) {
	raw, err := s.Store.Take(ctx, key)
	if strings.HasPrefix(key, "approval/") {
		s.all.Done()
		met := make(chan struct{})
		go func() { s.all.Wait(); close(met) }()
		select {
		case <-met:
		case <-time.After(20 * time.Second): // the other is not coming
		}
	}
	return raw, err
}

// Two people who approve one device at the same moment: one does, and the other leaves nothing behind.
func TestS49OfTwoWhoApproveAtOnceTheSecondLeavesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	people := []*browser{newBrowser(t), signedInAs(t, w, c, "acme-2", "eve@acme.example")}
	w = w.entitledApp("tv", c.org, func(a *broker.App) { devices(a); a.ThirdParty = true })
	d := w.terminal(in(c.org))
	var asked []*page
	for _, b := range people {
		asked = append(asked, b.types(w, d.User))
	}
	var both, done sync.WaitGroup
	both.Add(2)
	w.h.broker.Brief = together{w.h.broker.Brief, &both}
	status := make([]int, 2)
	for i, b := range people {
		done.Go(func() { status[i] = b.answersDevice(asked[i], "approve").status })
	}
	done.Wait()
	slices.Sort(status)
	if !slices.Equal(status, []int{http.StatusOK, http.StatusGone}) {
		t.Errorf("answered %v", status)
	}
	for what, rows := range map[string][][]string{
		"consents":      w.query("SELECT person_id FROM consents WHERE app_id = $1", string(w.app.ID)),
		"marks":         w.query("SELECT session_id FROM session_apps WHERE app_id = $1", string(w.app.ID)),
		"audit entries": w.query("SELECT id FROM audit_pending WHERE action = $1 UNION ALL SELECT id FROM audit WHERE action = $2", string(audit.DeviceApproved), string(audit.DeviceApproved)),
	} {
		if len(rows) != 1 {
			t.Errorf("%d %s", len(rows), what)
		}
	}
	if tok := d.poll(); tok.Status != http.StatusOK {
		t.Errorf("the device: %s", tok.raw)
	}
}

// Whoever may not after all keeps the device from nobody else.
func TestS49ADeviceThatSomebodyMayNotApproveWaitsForAnother(t *testing.T) {
	w, c := deviceWorld(t)
	d := w.terminal(in(c.org))
	b := newBrowser(t)
	question := b.types(w, d.User)
	w.must(w.h.directory.Unentitle(t.Context(), operator, c.org, w.app.ID))
	if p := b.answersDevice(question, "approve"); p.status == http.StatusOK {
		t.Errorf("approved where the app is none of the organization's: %s", textOf(p.body))
	}
	w.must(w.h.directory.Entitle(t.Context(), operator, directory.Entitlement{Org: c.org, App: w.app.ID}))
	if p := b.answersDevice(b.types(w, d.User), "approve"); p.status != http.StatusOK {
		t.Errorf("%d %s", p.status, textOf(p.body))
	}
	if tok := d.poll(); tok.Status != http.StatusOK {
		t.Errorf("the device: %s", tok.raw)
	}
}

func TestS49CodesEndAndGuessesAreFew(t *testing.T) {
	w := worldIn(t, t.TempDir(), func(c *config) { c.Limits = broker.DefaultLimits() })
	c := w.addOIDC("acme", nil)
	tv := w.entitledApp("tv", c.org, func(a *broker.App) { devices(a); public(a) })
	tv.secret = ""
	d := tv.terminal(func(v url.Values) { in(c.org)(v); v.Set("client_id", "tv") })
	if d.status != 200 {
		t.Fatalf("a public client: %+v", d)
	}
	b := newBrowser(t)
	question := b.types(w, d.User)
	w.clock.pass(11 * time.Minute)
	if p := b.answersDevice(question, "approve"); p.status != http.StatusGone {
		t.Errorf("approved after its time: %d", p.status)
	}
	if p := newBrowser(t).types(w, d.User); !strings.Contains(textOf(p.body), "no such code") {
		t.Errorf("%s", textOf(p.body))
	}
	poll := func() tokenAnswer {
		return tv.token(url.Values{"grant_type": {deviceGrant}, "device_code": {d.Device}, "client_id": {"tv"}}, nil)
	}
	if a := poll(); a.Error != "expired_token" {
		t.Errorf("%s", a.raw)
	}
	w.clock.pass(11 * time.Minute)
	if a := poll(); a.Error != "invalid_grant" {
		t.Errorf("long after: %s", a.raw)
	}
	refused := false
	for range 400 {
		p := b.send(http.MethodPost, w.url+"/device", url.Values{"user_code": {"0000-0000"}}, false)
		refused = refused || p.status == http.StatusTooManyRequests
	}
	if !refused {
		t.Error("400 guesses from one network")
	}
}

func TestADeviceRequestThatIsWrongIsRefused(t *testing.T) {
	w, c := deviceWorld(t)
	for name, v := range map[string]struct {
		change func(url.Values)
		err    string
	}{
		"no scope":          {func(v url.Values) { v.Del("scope") }, "invalid_scope"},
		"a scope too few":   {func(v url.Values) { v.Set("scope", "profile") }, "invalid_scope"},
		"scope twice":       {func(v url.Values) { v.Add("scope", "openid") }, "invalid_request"},
		"a foreign target":  {func(v url.Values) { v.Set("resource", "https://api.evil.example") }, "invalid_target"},
		"two organizations": {func(v url.Values) { in(c.org)(v); v.Set("scope", "openid organization:other") }, "invalid_request"},
	} {
		if d := w.terminal(v.change); d.status != 400 || d.Error != v.err {
			t.Errorf("%s: %+v", name, d)
		}
	}
	wrong := *w
	wrong.secret = "x"
	if d := wrong.terminal(nil); d.status != 401 || d.Error != "invalid_client" {
		t.Errorf("%+v", d)
	}
	if a := w.token(url.Values{"grant_type": {deviceGrant}}, func(r *http.Request) { r.SetBasicAuth("tv", w.secret) }); a.Status != 400 {
		t.Errorf("%s", a.raw)
	}
}

// A device that stays signed in refreshes, as any app that may.
func TestADeviceRefreshes(t *testing.T) {
	w, c := deviceWorld(t)
	d := w.terminal(func(v url.Values) { in(c.org)(v); v.Set("scope", "openid offline_access") })
	b := newBrowser(t)
	b.answersDevice(b.types(w, d.User), "approve")
	var first struct {
		Refresh string `json:"refresh_token"`
	}
	w.must(json.Unmarshal([]byte(d.poll().raw), &first))
	next := w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.Refresh}}, func(r *http.Request) { r.SetBasicAuth("tv", w.secret) })
	if first.Refresh == "" || next.Status != 200 {
		t.Errorf("%q %s", first.Refresh, next.raw)
	}
}
