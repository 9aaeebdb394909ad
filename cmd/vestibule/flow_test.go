package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// Two tabs are two logins and do not disturb each other, in whichever order they are finished.
func TestTwoTabsAreTwoLogins(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		other := w.addOIDC("other", nil)
		b := newBrowser(t)
		r1, r2, r3 := w.request(in(c.org)), w.request(in(other.org)), w.request(nil)
		one, two := b.depart(w, r1), b.depart(w, r2)
		three := b.authorize(w, r3)
		second := b.follow(b.deliver(b.atProvider(w, two)))
		first := b.follow(b.deliver(b.atProvider(w, one)))
		third := b.answer(three, "identifier", "ada@acme.example")
		for i, tab := range []struct {
			p *page
			r request
			c company
		}{{first, r1, c}, {second, r2, other}, {third, r3, c}} {
			if tab.p.url.Query().Get("state") != tab.r.Get("state") {
				t.Errorf("tab %d was given another tab's answer", i+1)
			}
			if tok := w.redeem(tab.p.code(t), tab.r.verifier); claims(t, tok.ID)["org_id"] != string(tab.c.org) {
				t.Errorf("tab %d: %s", i+1, tok.raw)
			}
		}
	})
}

// The back button: an answer to a step that is over shows the step that is next, and does no harm.
func TestAnAnswerToAStepThatIsOverShowsTheCurrentOne(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	other := w.addOIDC("other", nil)
	b := newBrowser(t)
	r := w.request(nil)
	p := b.authorize(w, r)
	typed := func(address string) *page {
		f := forms(p)[0]
		f.values.Set("identifier", address)
		return b.send(http.MethodPost, w.url+f.action, f.values, false)
	}
	typed("ada@acme.example")
	again := typed("ada@other.example") // back, and something else
	if again.status != http.StatusSeeOther || again.header.Get("Location") != p.url.Path {
		t.Errorf("%d %s", again.status, again.header.Get("Location"))
	}
	if now := b.get(w, p.url.Path); !strings.Contains(now.body, c.idp.Base) || strings.Contains(now.body, other.idp.Base) {
		t.Errorf("the current step is another one: %s", textOf(now.body))
	}
	b.follow(b.get(w, p.url.Path)).code(t)
}

// A step cannot be skipped by typing its address, nor answered with what was not offered.
func TestStepsCannotBeSkipped(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	stranger := w.addOrg("stranger", "")
	b := newBrowser(t)
	at := b.authorize(w, w.request(nil)).url.Path
	for _, step := range []string{"choose", "authenticate", "link", "membership", "factor", "nothing", "done"} {
		p := b.send(http.MethodPost, w.url+at+"/"+step, url.Values{"org": {string(stranger)}, "step": {step}}, false)
		if p.sent() != "" || p.status == http.StatusOK || p.status >= 500 {
			t.Errorf("%s: %d %s", step, p.status, p.header.Get("Location"))
		}
	}
	for _, form := range []url.Values{{"org": {string(stranger)}}, {"org": {"org_made_up"}}, {"identifier": {""}}, {"identifier": {strings.Repeat("a", 5000)}}, {"identifier": {"\x00"}}, {"identifier": {"a", "b"}}, {}} {
		p := b.send(http.MethodPost, w.url+at+"/identify", form, false)
		if p.sent() != "" || p.status >= 500 {
			t.Errorf("%v: %d", form, p.status)
		}
	}
	if p := b.get(w, at); p.status != http.StatusOK || !strings.Contains(p.body, `name="identifier"`) {
		t.Errorf("the login was harmed: %d %s", p.status, textOf(p.body))
	}
}

// Reloading any page of a login shows it again; departing twice waits for the same answer.
func TestReloadingDoesNoHarm(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		b := newBrowser(t)
		r := w.request(in(c.org))
		departure := b.depart(w, r)
		id := loginOf(t, departure)
		for range 3 {
			again := b.get(w, "/login/"+id)
			if loginOf(t, again) != id {
				t.Error("a reload departs for another login")
			}
			departure = again
		}
		w.redeem(b.follow(b.deliver(b.atProvider(w, departure))).code(t), r.verifier)
	})
}

// The first departure's answer is as good as the last one's.
func TestTheAnswerToTheFirstDepartureIsStillGood(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		b := newBrowser(t)
		r := w.request(in(c.org))
		first := b.depart(w, r)
		b.get(w, "/login/"+loginOf(t, first))
		w.redeem(b.follow(b.deliver(b.atProvider(w, first))).code(t), r.verifier)
	})
}

// A double click, eight times over: one code at most, and nobody is shown that something broke.
func TestDoubleSubmitsDoNoHarm(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	b := newBrowser(t)
	p := b.authorize(w, w.request(nil))
	f := forms(p)[0]
	f.values.Set("identifier", "ada@acme.example")
	answers := b.atOnce(8, func(c *browser) *page { return c.send(http.MethodPost, w.url+f.action, f.values, false) })
	answers = append(answers, b.atOnce(8, func(c *browser) *page { return c.get(w, p.url.Path) })...)
	for _, a := range answers {
		to := a.header.Get("Location")
		if a.status/100 != 3 || to != p.url.Path && !strings.HasPrefix(to, c.idp.Base) {
			t.Errorf("%d %s %s", a.status, to, textOf(a.body))
		}
	}
	b.follow(b.get(w, p.url.Path)).code(t)
}

// faster is another tab that writes the login just before the nth write of this one.
type faster struct {
	brief.Store
	swaps, at int
}

func (f *faster) Swap(ctx context.Context, key string, old, next []byte) error {
	if f.swaps++; f.swaps == f.at {
		return brief.ErrTaken
	}
	return f.Store.Swap(ctx, key, old, next)
}

// Whichever write of a login another tab is faster at, the browser is shown where the login stands.
func TestATabThatIsSlowerSeesWhereTheLoginStands(t *testing.T) {
	for at := 1; at <= 4; at++ {
		answering(t, func(t *testing.T, w *world, c company) {
			w.h.engine.Brief = &faster{Store: w.h.store.Brief(), at: at}
			b := newBrowser(t)
			p := b.authorize(w, w.request(nil))
			f := forms(p)[0]
			f.values.Set("identifier", "ada@acme.example")
			got := b.follow(b.send(http.MethodPost, w.url+f.action, f.values, false))
			if got.url.Path == p.url.Path { // the answer was the one that lost
				got = b.answer(got, "identifier", "ada@acme.example")
			}
			got.code(t)
		})
	}
}

// atOnce does something in many copies of the browser at the same time.
func (b *browser) atOnce(n int, do func(*browser) *page) []*page {
	out := make([]*page, n)
	var all sync.WaitGroup
	for i := range n {
		c := b.twin()
		all.Go(func() { out[i] = do(c) })
	}
	all.Wait()
	return out
}

// The answer of the provider is delivered eight times at once: one code, and every other copy is told
// that this sign-in is over.
func TestOneAnswerDeliveredOftenIsOneCode(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		b := newBrowser(t)
		answer := b.atProvider(w, b.depart(w, w.request(in(c.org))))
		codes := 0
		for _, p := range b.atOnce(8, func(c *browser) *page { return c.follow(c.deliver(answer)) }) {
			if p.sent() != "" {
				codes++
			} else if p.status < 300 || p.status >= 500 && p.status != http.StatusBadGateway {
				t.Errorf("%s %d %s", p.url.Path, p.status, textOf(p.body))
			}
		}
		if codes != 1 {
			t.Errorf("%d codes", codes)
		}
	})
}

// The back button and the second click after the end: the login says that it is finished, leads back to
// the app, and gives nothing more.
func TestAFinishedLoginSaysSo(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		b := newBrowser(t)
		form := b.authorize(w, w.request(nil))
		f := forms(form)[0]
		f.values.Set("identifier", "ada@acme.example")
		b.follow(b.send(http.MethodPost, w.url+f.action, f.values, false)).code(t)
		for what, p := range map[string]*page{
			"back": b.get(w, form.url.Path), "again": b.send(http.MethodPost, w.url+f.action, f.values, false), "other": b.get(w, form.url.Path+"?other=1"),
		} {
			if p.status != http.StatusGone || !strings.Contains(textOf(p.body), "already finished") || !strings.Contains(p.body, `href="http://127.0.0.1:5555/"`) {
				t.Errorf("%s: %d %s", what, p.status, textOf(p.body))
			}
		}
	})
}

// A login is over after half an hour, and says where to begin again.
func TestAnExpiredLoginSaysWhereToBeginAgain(t *testing.T) {
	answering(t, func(t *testing.T, w *world, c company) {
		b := newBrowser(t)
		form := b.authorize(w, w.request(nil))
		departure := b.depart(w, w.request(in(c.org)))
		answer := b.atProvider(w, departure)
		w.clock.pass(flows.Life + time.Minute)
		f := forms(form)[0]
		f.values.Set("identifier", "ada@acme.example")
		for what, p := range map[string]*page{
			"reload": b.get(w, form.url.Path), "answer": b.send(http.MethodPost, w.url+f.action, f.values, false),
			"the provider's answer": b.follow(b.deliver(answer)),
		} {
			if p.status != http.StatusGone || p.sent() != "" || !shownCode.MatchString(p.body) || !strings.Contains(p.body, `href="http://127.0.0.1:5555/"`) {
				t.Errorf("%s: %d %s", what, p.status, textOf(p.body))
			}
		}
		b.nothing(w, b.get(w, form.url.Path))
		b.signIn(w, in(c.org)) // and beginning again works
	})
}

// A code is good for a minute.
func TestACodeIsGoodForAMinute(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	for _, late := range []struct {
		by   time.Duration
		good bool
	}{{58 * time.Second, true}, {61 * time.Second, false}} {
		r := w.request(in(c.org))
		code := b.authorize(w, r).code(t)
		w.clock.pass(late.by)
		if tok := w.redeem(code, r.verifier); (tok.Status == http.StatusOK) != late.good {
			t.Errorf("after %v: %s", late.by, tok.raw)
		}
	}
}

// Another browser, or one that lost its cookie, is told so and is given nothing; the app is where to go.
func TestAnotherBrowserOrALostCookieIsTold(t *testing.T) {
	w := newWorld(t)
	w.addSAML("acme", nil)
	b := newBrowser(t)
	p := b.authorize(w, w.request(nil))
	f := forms(p)[0]
	f.values.Set("identifier", "ada@acme.example")
	lost := b.twin()
	delete(lost.cookies(), "vb")
	bent := b.twin()
	bent.cookies()["vb"] = strings.Repeat("z", 43)
	for what, x := range map[string]*browser{"another": newBrowser(t), "lost": lost, "bent": bent} {
		for _, got := range []*page{x.get(w, p.url.Path), x.send(http.MethodPost, w.url+f.action, f.values, false), x.get(w, p.url.Path+"?other=1")} {
			if got.status != http.StatusGone || !strings.Contains(got.body, "http://127.0.0.1:5555/") {
				t.Errorf("%s: %d %s", what, got.status, textOf(got.body))
			}
		}
	}
	b.answer(p, "identifier", "ada@acme.example").code(t) // the one that began it goes on
}

// A form that another site sent is refused, whatever cookies come with it.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.addOIDC("acme", nil)
	b := newBrowser(t)
	p := b.authorize(w, w.request(nil))
	f := forms(p)[0]
	f.values.Set("identifier", "ada@acme.example")
	for name, headers := range map[string]map[string]string{
		"by fetch metadata": {"Sec-Fetch-Site": "cross-site"}, "same site": {"Sec-Fetch-Site": "same-site"},
		"by origin": {"Origin": "http://127.0.0.1:5555"}, "null origin": {"Origin": "null"},
	} {
		for _, at := range []string{f.action, "/logout/confirm?continue=x"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+at, strings.NewReader(f.values.Encode()))
			w.must(err)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			for k, v := range b.cookies() {
				req.AddCookie(&http.Cookie{Name: k, Value: v})
			}
			resp, err := b.client.Do(req)
			w.must(err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d", name, at, resp.StatusCode)
			}
		}
	}
}

// "Not you?" leads back to the beginning of the same login, as far as the app leaves a choice.
func TestUsingAnotherAccountBeginsTheSameLoginAnew(t *testing.T) {
	w := newWorld(t)
	c := w.addSAML("acme", nil)
	w.addOIDC("other", nil)
	b := newBrowser(t)
	r := w.request(func(v url.Values) { v.Set("login_hint", "ada@acme.example") })
	departure := b.depart(w, r)
	stale := b.atProvider(w, departure)
	p := b.follow(b.get(w, "/login/"+loginOf(t, departure)+"?other=1"))
	if !strings.Contains(p.body, `name="identifier"`) {
		t.Fatalf("%d %s", p.status, textOf(p.body))
	}
	if got := b.follow(b.deliver(stale)); got.sent() != "" {
		t.Error("an answer that nobody waits for any more was taken")
	}
	got := b.answer(b.follow(b.get(w, p.url.Path)), "identifier", "ada@other.example")
	if tok := w.redeem(got.code(t), r.verifier); claims(t, tok.ID)["email"] != "ada@other.example" {
		t.Errorf("%s", tok.raw)
	}
	// Where the app named the organization, there is no other to choose.
	departure = b.depart(w, w.request(func(v url.Values) { in(c.org)(v); v.Set("prompt", "login") }))
	if again := b.follow(b.get(w, "/login/"+loginOf(t, departure)+"?other=1")); again.sent() == "" {
		t.Errorf("%s %d", again.url, again.status)
	}
}

// A provider that is down is told as such, with a code, and trying again works when it is back.
func TestAProviderThatFailsCanBeTriedAgain(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	for _, how := range []string{"unavailable", "wrong-audience", "garbage"} {
		c.idp.SetMisbehavior(fakeidp.Misbehavior(how))
		b := newBrowser(t)
		r := w.request(in(c.org))
		p := b.authorize(w, r)
		if p.status < 400 || !shownCode.MatchString(p.body) || p.sent() != "" {
			t.Errorf("%s: %d %s", how, p.status, textOf(p.body))
		}
		c.idp.SetMisbehavior("")
		b.signIn(w, in(c.org))
	}
}

// A weaker route never overrides a stronger: the app's word stands above the hint, the hint above what
// the browser remembers.
func TestAWeakerRouteNeverOverridesAStronger(t *testing.T) {
	w := newWorld(t)
	acme, other := w.addOIDC("acme", nil), w.addOIDC("other", nil)
	b := newBrowser(t)
	b.signIn(w, in(other.org)) // remembered from now on, and the session's
	r := w.request(func(v url.Values) { in(acme.org)(v); v.Set("login_hint", "ada@other.example") })
	tok := w.redeem(b.authorize(w, r).code(t), r.verifier)
	if claims(t, tok.ID)["org_id"] != string(acme.org) {
		t.Error("a hint overrode the organization that the app named")
	}
	c := b.twin()
	r = w.request(func(v url.Values) { v.Set("login_hint", "ada@acme.example") })
	tok = w.redeem(c.authorize(w, r).code(t), r.verifier)
	if claims(t, tok.ID)["org_id"] != string(acme.org) {
		t.Error("what the browser remembers overrode the hint")
	}
}

// A card can be used by the browser that has it, for what it names, and proves nothing.
func TestARememberedOrganizationIsACardAndNoProof(t *testing.T) {
	w := newWorld(t)
	acme, other := w.addOIDC("acme", nil), w.addOIDC("other", nil)
	b := newBrowser(t)
	b.signIn(w, in(acme.org))
	delete(b.cookies(), "vs")
	p := b.authorize(w, w.request(nil))
	if !strings.Contains(p.body, string(acme.org)) || strings.Contains(p.body, string(other.org)) {
		t.Fatalf("cards: %s", textOf(p.body))
	}
	if strings.Contains(p.body, "ada@acme.example") {
		t.Error("a card shows a whole address")
	}
	choose := func(x *browser, p *page, org string) *page {
		return x.follow(x.send(http.MethodPost, w.url+p.url.Path+"/identify", url.Values{"org": {org}, "step": {"identify"}}, false))
	}
	if got := choose(b, p, string(other.org)); got.sent() != "" || got.status < 400 {
		t.Errorf("an organization that the browser does not remember: %d", got.status)
	}
	acme.idp.SetAuto("")
	if got := choose(b, p, string(acme.org)); got.sent() != "" || !strings.HasPrefix(got.url.String(), acme.idp.Base) {
		t.Errorf("the card did not lead to the provider: %s %d", got.url, got.status)
	}
	x := newBrowser(t)
	p = x.authorize(w, w.request(nil))
	x.cookies()["vr"] = "bent" + b.cookies()["vr"]
	if got := choose(x, p, string(acme.org)); got.status < 400 {
		t.Errorf("a bent card: %d", got.status)
	}
	if got := x.get(w, p.url.Path); strings.Contains(got.body, string(acme.org)) {
		t.Error("a bent cookie was read")
	}
}

// One of several ways in is chosen on a page, and only one of those that were offered.
func TestOneOfSeveralConnectionsIsChosen(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	second := w.connectOIDC(acme.org, "acme2", func(c *upstream.Connection, _ *oidc.Config) { c.Name = "The other door" })
	other := w.addOIDC("other", nil)
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.authorize(w, r)
	if !strings.Contains(p.body, "The other door") {
		t.Fatalf("no choice: %s", textOf(p.body))
	}
	post := func(con string) *page {
		return b.follow(b.send(http.MethodPost, w.url+p.url.Path+"/choose", url.Values{"connection": {con}, "step": {"choose"}}, false))
	}
	if got := post(string(other.con.ID)); got.status < 400 || got.sent() != "" {
		t.Errorf("a connection of another organization: %d", got.status)
	}
	w.redeem(post(string(second.con.ID)).code(t), r.verifier)
}

// One provider that hangs, or answers megabytes, slows nobody else's sign-in. Times are compared with
// each other, for alone they say nothing.
func TestOneProviderThatHangsSlowsNobodyElse(t *testing.T) {
	for _, how := range []fakeidp.Misbehavior{fakeidp.Slow, fakeidp.Megabytes} {
		t.Run(string(how), func(t *testing.T) {
			w := newWorld(t)
			good, bad := w.addOIDC("good", nil), w.addOIDC("bad", nil)
			newBrowser(t).signIn(w, in(bad.org)) // its documents are known
			typical := func() time.Duration {
				var times []time.Duration
				for range 15 {
					b, began := newBrowser(t), time.Now()
					b.authorize(w, w.request(in(good.org))).code(t)
					times = append(times, time.Since(began))
				}
				return median(times)
			}
			alone := typical()
			var stuck []*page
			var browsers []*browser
			for range 24 {
				b := newBrowser(t)
				browsers = append(browsers, b)
				stuck = append(stuck, b.atProvider(w, b.depart(w, w.request(in(bad.org)))))
			}
			bad.idp.SetMisbehavior(how)
			var all sync.WaitGroup
			for i, b := range browsers {
				all.Go(func() {
					if p := b.follow(b.deliver(stuck[i])); how == fakeidp.Megabytes && p.status < 400 {
						t.Errorf("an answer of megabytes signed somebody in: %d", p.status)
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
			beside := typical()
			all.Wait()
			t.Logf("alone %v, beside it %v", alone, beside)
			if beside > 8*alone {
				t.Errorf("a sign-in takes %v beside a provider that is %s, and %v without", beside, how, alone)
			}
		})
	}
}

// What nobody opened for a connection is not reached through it, and the page tells nothing of what is
// there (S23).
func TestS23AConnectionReachesNothingPrivateThatTheOperatorDidNotOpen(t *testing.T) {
	w := newWorld(t)
	var reached atomic.Int64
	secret := httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			reached.Add(1)
		}
	}
	secret.StartTLS()
	defer secret.Close()
	c := w.addOIDC("acme", nil)
	w.change(c, func(x *upstream.Connection) {
		x.Config = encode(t, oidc.Config{ClientID: "vestibule", Endpoints: &oidc.Endpoints{
			Authorization: c.idp.Base + "/authorize", Token: secret.URL + "/token", JWKS: c.idp.Base + "/jwks",
		}})
	})
	p := newBrowser(t).authorize(w, w.request(in(c.org)))
	if reached.Load() != 0 || p.sent() != "" || p.status < 400 {
		t.Errorf("reached %d times: %s %d", reached.Load(), p.url, p.status)
	}
	if _, port, _ := strings.Cut(secret.Listener.Addr().String(), ":"); strings.Contains(p.body, port) || strings.Contains(p.body, "refused") {
		t.Errorf("the page tells what is there: %s", textOf(p.body))
	}
}

// A browser that leaves while its answer is judged, as it does at a second click, may bring another.
func TestAnAnswerThatTheBrowserAbandonedDoesNotEndTheLogin(t *testing.T) {
	w := newWorld(t)
	c := w.addOIDC("acme", nil)
	b := newBrowser(t)
	departure := b.depart(w, w.request(in(c.org)))
	first, second := b.atProvider(w, departure), b.atProvider(w, departure)
	c.idp.SetMisbehavior(fakeidp.Slow)
	ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, first.header.Get("Location"), nil)
	w.must(err)
	for name, value := range b.cookies() {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if resp, err := b.client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatalf("the provider was not slow: %d", resp.StatusCode)
	}
	c.idp.SetMisbehavior("")
	time.Sleep(100 * time.Millisecond) // the house notices that nobody is there any more
	b.follow(b.deliver(second)).code(t)
}
