package main

import (
	"encoding/base32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// These stories hold second steps to policy.md, "Whose proof counts", and to S2, S3, S7, S11, S12, S15, S16.

// authenticator is an app on somebody's phone: it was shown a key.
type authenticator struct {
	w   *world
	key string
}

// keyOn reads the key that an enrolment page shows as text.
func (w *world) keyOn(p *page) authenticator {
	w.t.Helper()
	_, rest, ok := strings.Cut(p.body, `id="secret">`)
	key, _, _ := strings.Cut(rest, "<")
	key = strings.ReplaceAll(key, " ", "")
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key); !ok || err != nil {
		w.t.Fatalf("no key on %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return authenticator{w, key}
}

// code is what the app shows now, or some time from now.
func (a authenticator) code(later time.Duration) string {
	a.w.t.Helper()
	code, err := totp.GenerateCodeCustom(a.key, a.w.clock.now().Add(later), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	a.w.must(err)
	return code
}

// wrong is a code that no step near now has.
func (a authenticator) wrong() string {
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444"} {
		if code != a.code(0) && code != a.code(-30*time.Second) && code != a.code(30*time.Second) {
			return code
		}
	}
	return "555555"
}

// asksCode says that a page asks for the code of an authenticator app.
func (p *page) asksCode(t *testing.T) *page {
	t.Helper()
	if p.status != http.StatusOK || !strings.Contains(textOf(p.body), "Enter your code") {
		t.Fatalf("no code is asked for at %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return p
}

// guarded is an organization that wants a second step at every sign-in, and somebody of it who set up an
// authenticator app.
func guarded(t *testing.T, more map[string]string) (*world, company, *browser, authenticator) {
	t.Helper()
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	wishes := map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`}
	for k, v := range more {
		wishes[k] = v
	}
	w.policy(acme.org, wishes)
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.enrols(w, r)
	app := w.keyOn(p)
	tok := w.redeem(b.keeps(b.answer(p, "code", app.code(0))).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] != "urn:vestibule:acr:2fa" || !slices.Contains(texts(got["amr"]), "otp") || !slices.Contains(texts(got["amr"]), "mfa") {
		t.Fatalf("acr %v, amr %v", got["acr"], got["amr"])
	}
	w.clock.pass(time.Minute)
	return w, acme, b, app
}

// enrols begins a login and goes to where an authenticator app is set up.
func (b *browser) enrols(w *world, r request) *page {
	b.t.Helper()
	p := b.authorize(w, r)
	if strings.Contains(p.body, `value="totp"`) {
		p = b.answer2(p, "method", "totp")
	}
	return p
}

// answer2 presses the button of that name and value.
func (b *browser) answer2(p *page, field, value string) *page {
	b.t.Helper()
	for _, f := range forms(p) {
		if to, err := p.url.Parse(f.action); err == nil && strings.Contains(p.body, `name="`+field+`"`) && strings.HasPrefix(to.Path, "/login/") {
			f.values.Set(field, value)
			return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
		}
	}
	b.t.Fatalf("no button %s=%s on %s: %s", field, value, p.url, textOf(p.body))
	return nil
}

// recoveryCodes reads the codes that a page shows once.
func recoveryCodes(t *testing.T, p *page) []string {
	t.Helper()
	_, rest, ok := strings.Cut(p.body, `id="codes"`)
	_, rest, _ = strings.Cut(rest, ">")
	list, _, _ := strings.Cut(rest, "<")
	codes := strings.Fields(list)
	if !ok || len(codes) != 10 {
		t.Fatalf("no recovery codes on %s %d: %s", p.url, p.status, textOf(p.body))
	}
	return codes
}

// keeps says that the codes on the page are kept.
func (b *browser) keeps(p *page) *page {
	b.t.Helper()
	recoveryCodes(b.t, p)
	return b.answer2(p, "kept", "1")
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, x := range list {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

func TestASecondStepIsSetUpInTheLoginAndAskedForInTheNext(t *testing.T) {
	w, acme, b, app := guarded(t, nil)
	// The session has both proofs: single sign-on asks nothing.
	if got := claims(t, b.signIn(w, in(acme.org)).ID); got["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("acr of the session: %v", got["acr"])
	}
	// Another browser is asked for the code, says who asks for it, and takes it once.
	other := newBrowser(t)
	r := w.request(in(acme.org))
	p := other.authorize(w, r).asksCode(t)
	if !strings.Contains(textOf(p.body), "Required by Acme") {
		t.Errorf("the page does not say who asks: %s", textOf(p.body))
	}
	p = other.answer(p, "code", app.wrong()).asksCode(t)
	if !strings.Contains(textOf(p.body), "4 tries left") {
		t.Errorf("%s", textOf(p.body))
	}
	right := app.code(0)
	tok := w.redeem(other.answer(p, "code", right[:3]+" "+right[3:]).code(t), r.verifier)
	if got := claims(t, tok.ID); got["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("acr %v", got["acr"])
	}
	// S16: the code that was used is used up, in any login.
	third := newBrowser(t)
	p = third.authorize(w, w.request(in(acme.org))).asksCode(t)
	if p = third.answer(p, "code", right).asksCode(t); !strings.Contains(textOf(p.body), "used already") {
		t.Errorf("a code was taken twice: %s", textOf(p.body))
	}
	// prompt=login asks for both again.
	w.clock.pass(time.Minute)
	acme.idp.SetAuto("acme-1")
	b.authorize(w, w.request(func(v url.Values) { in(acme.org)(v); v.Set("prompt", "login") })).asksCode(t)
	// The record says that it was set up, with the recovery codes.
	if got := w.recorded(acme.org, "factor.added"); len(got) != 2 {
		t.Errorf("recorded %v", got)
	}
}

// Nothing that is sent leads past the step: no other step's answer, no answer without the question, no
// other way's name, no code of another person or login.
func TestNothingLeadsPastASecondStep(t *testing.T) {
	w, acme, _, app := guarded(t, nil)
	acme.people("acme-1", "ada@acme.example", "acme-2", "bob@acme.example")
	for name, post := range map[string]struct {
		step string
		form url.Values
	}{
		"nothing":           {"factor", url.Values{}},
		"a wrong code":      {"factor", url.Values{"code": {app.wrong()}}},
		"another step":      {"enroll", url.Values{"code": {app.code(0)}}},
		"putting it off":    {"factor", url.Values{"later": {"1"}}},
		"putting it off, 2": {"enroll", url.Values{"later": {"1"}}},
		"another way":       {"factor", url.Values{"method": {"recovery_code"}}},
		"no such way":       {"factor", url.Values{"method": {"sms"}}},
		"authenticate":      {"authenticate", url.Values{}},
		"link":              {"link", url.Values{}},
		"membership":        {"membership", url.Values{}},
		"identify":          {"identify", url.Values{"identifier": {"ada@acme.example"}}},
	} {
		b := newBrowser(t)
		p := b.authorize(w, w.request(in(acme.org))).asksCode(t)
		post.form.Set("step", post.step)
		p = b.follow(b.send(http.MethodPost, w.url+strings.TrimSuffix(p.url.Path, "/factor")+"/"+post.step, post.form, false))
		if p.url.Host == "127.0.0.1:5555" {
			t.Errorf("%s: at the app, %s", name, p.url)
		}
	}
	// Bob has nothing set up: Ada's code is none of his, and he is asked to set up his own.
	acme.idp.SetAuto("acme-2")
	b := newBrowser(t)
	p := b.enrols(w, w.request(in(acme.org)))
	if strings.Contains(textOf(p.body), "Enter your code") {
		t.Fatal("Bob is asked for a code that he cannot have")
	}
	if p = b.answer(p, "code", app.code(0)); p.url.Host == "127.0.0.1:5555" {
		t.Error("Ada's code set up Bob's app")
	}
}

// S7: five wrong answers end a login, and twenty an hour let the method rest, whoever gave them.
func TestS7WrongAnswersAreCountedInTheLoginAndForThePerson(t *testing.T) {
	w, acme, _, app := guarded(t, nil)
	wrong := app.wrong()
	for range 4 {
		b := newBrowser(t)
		p := b.authorize(w, w.request(in(acme.org))).asksCode(t)
		for range 4 {
			p = b.answer(p, "code", wrong).asksCode(t)
		}
		if p = b.answer(p, "code", wrong); p.status != http.StatusForbidden || !strings.Contains(textOf(p.body), "Too many wrong answers") {
			t.Fatalf("after five: %d %s", p.status, textOf(p.body))
		}
	}
	b := newBrowser(t)
	p := b.authorize(w, w.request(in(acme.org))).asksCode(t)
	if p = b.answer(p, "code", app.code(0)); p.status != http.StatusTooManyRequests {
		t.Errorf("after twenty wrong answers: %d %s", p.status, textOf(p.body))
	}
	w.clock.pass(67 * time.Minute)
	r := w.request(in(acme.org))
	b = newBrowser(t)
	b.answer(b.authorize(w, r).asksCode(t), "code", app.code(0)).code(t)
}

// Of many answers at once with the one right code, in logins of their own, one is let in (S16).
func TestS16OneCodeLetsInOneOfManyAtOnce(t *testing.T) {
	w, acme, _, app := guarded(t, nil)
	code := app.code(0)
	var pages [8]*page
	var browsers [8]*browser
	for i := range pages {
		browsers[i] = newBrowser(t)
		pages[i] = browsers[i].authorize(w, w.request(in(acme.org))).asksCode(t)
	}
	var all sync.WaitGroup
	for i := range pages {
		all.Go(func() { pages[i] = browsers[i].answer(pages[i], "code", code) })
	}
	all.Wait()
	in := 0
	for _, p := range pages {
		if p.url.Host == "127.0.0.1:5555" && p.url.Query().Get("code") != "" {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d were let in", in)
	}
}

// A policy that is tightened holds for what runs: sessions are asked for what is missing and no more,
// silent requests and refreshing apps are told.
func TestATighterPolicyHoldsForWhatRuns(t *testing.T) {
	app, acme, b, tok := offline(t, nil)
	app.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`})
	if got := app.refresh(tok.Refresh); got.Error != "invalid_grant" {
		t.Errorf("refresh under the tighter policy: %s", got.raw)
	}
	if status, _ := app.userinfo(tok.Access); status == http.StatusOK {
		t.Error("userinfo goes on under the tighter policy")
	}
	if code, fault := b.silently(app, in(acme.org)); code != "" || fault != "interaction_required" {
		t.Errorf("silently: %q %q", code, fault)
	}
	departed := acme.idp.Base
	hops := len(b.hops)
	r := app.request(in(acme.org))
	p := b.enrols(app, r)
	phone := app.keyOn(p)
	for _, hop := range b.hops[hops:] {
		if strings.HasPrefix(hop, departed) {
			t.Error("only the second step was missing, and the provider was asked again")
		}
	}
	got := app.redeem(b.keeps(b.answer(p, "code", phone.code(0))).code(t), r.verifier)
	if claims(t, got.ID)["acr"] != "urn:vestibule:acr:2fa" {
		t.Errorf("%s", got.raw)
	}
}

// RFC 9470: an app asks for more by acr_values, and only what is missing is asked for. Whoever has nothing
// set up gets in as they are where it is a wish, and not where it is essential.
func TestAnAppStepsUpByAcrValues(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	up := func(v url.Values) { in(acme.org)(v); v.Set("acr_values", "urn:vestibule:acr:2fa") }
	must := func(v url.Values) {
		in(acme.org)(v)
		v.Set("claims", `{"id_token":{"acr":{"essential":true,"value":"urn:vestibule:acr:2fa"}}}`)
	}
	b := newBrowser(t)
	if got := claims(t, b.signIn(w, up).ID)["acr"]; got != "urn:vestibule:acr:1fa" {
		t.Fatalf("acr %v", got)
	}
	r := w.request(must)
	p := b.enrols(w, r)
	phone := w.keyOn(p)
	if got := claims(t, w.redeem(b.keeps(b.answer(p, "code", phone.code(0))).code(t), r.verifier).ID)["acr"]; got != "urn:vestibule:acr:2fa" {
		t.Errorf("acr %v", got)
	}
	w.clock.pass(time.Minute)
	other := newBrowser(t)
	if got := claims(t, other.signIn(w, in(acme.org)).ID)["acr"]; got != "urn:vestibule:acr:1fa" {
		t.Errorf("acr %v without a wish", got)
	}
	hops := len(other.hops)
	r = w.request(up)
	p = other.authorize(w, r).asksCode(t)
	if len(other.hops)-hops > 3 {
		t.Errorf("more than the missing step was asked for: %v", other.hops[hops:])
	}
	got := claims(t, w.redeem(other.answer(p, "code", phone.code(0)).code(t), r.verifier).ID)
	if got["acr"] != "urn:vestibule:acr:2fa" || int64(got["auth_time"].(float64)) != w.clock.now().Unix() {
		t.Errorf("acr %v, auth_time %v, now %d", got["acr"], got["auth_time"], w.clock.now().Unix())
	}
}

// A provider's own second step counts where the policy lets it and the connection says how it is told;
// never as more than 2fa.
func TestAProvidersSecondStepCountsByRuleAlone(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	acme.idp.SetPeople(fakeidp.Person{ID: "acme-1", Email: "ada@acme.example", EmailVerified: true, Name: "Ada", AMR: []string{"pwd", "mfa", "phr"}})
	acme.idp.SetAuto("acme-1")
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`})
	lets := func() bool {
		return newBrowser(t).authorize(w, w.request(in(acme.org))).url.Host == "127.0.0.1:5555"
	}
	if lets() {
		t.Error("nobody said what mfa means, and it counted")
	}
	w.change(acme, func(c *upstream.Connection) { c.MFA = []string{"mfa"} })
	if !lets() {
		t.Error("the rule matches, and did not count")
	}
	if got := claims(t, newBrowser(t).signIn(w, in(acme.org)).ID)["acr"]; got != "urn:vestibule:acr:2fa" {
		t.Errorf("acr %v", got)
	}
	w.policy(acme.org, map[string]string{"mfa.trust_upstream": `false`})
	if lets() {
		t.Error("the policy forbids it, and it counted")
	}
	w.policy(acme.org, map[string]string{"mfa.trust_upstream": `true`, "mfa.phishing_resistant": `true`})
	if lets() {
		t.Error("nothing that a provider says is phishing-resistant here (S11)")
	}
}

// S2 and S3: what the organization of an attacker can prove sets up nothing on the account of a guest, and
// what was set up there is nothing at home.
func TestS3AGuestsSecondStepIsTheirHomesToLetIn(t *testing.T) {
	h := newHostile(t)
	h.policy(h.rogue.org, map[string]string{"mfa.requirement": `"always"`})
	b := newBrowser(t)
	p := b.authorize(h.world, h.request(in(h.rogue.org)))
	if p.status != http.StatusForbidden || !strings.Contains(textOf(p.body), "Set up your second step at your own organization") {
		t.Errorf("%d %s", p.status, textOf(p.body))
	}
	home := directory.OrgID(h.bank.org)
	list, err := h.h.store.EnrollmentsOf(t.Context(), home, h.vera)
	if err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// A set-up that policy lets people put off is put off until the time is over, and not a second longer.
func TestSettingUpCanBePutOffAsLongAsPolicyLetsIt(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.enrolment_grace": `"2d"`, "session.lifetime": `"30d"`, "session.idle": `"30d"`})
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.authorize(w, r)
	if !strings.Contains(textOf(p.body), "Not now") {
		t.Fatalf("%s", textOf(p.body))
	}
	tok := w.redeem(b.answer2(p, "later", "1").code(t), r.verifier)
	if got := claims(t, tok.ID)["acr"]; got != "urn:vestibule:acr:1fa" {
		t.Errorf("acr %v: putting off proves nothing", got)
	}
	b.signIn(w, in(acme.org)) // the session goes on
	w.clock.pass(47 * time.Hour)
	b.signIn(w, in(acme.org))
	w.clock.pass(2 * time.Hour)
	if code, fault := b.silently(w, in(acme.org)); code != "" || fault != "interaction_required" {
		t.Errorf("after the time: %q %q", code, fault)
	}
	// It began when it was first asked: another browser has no time of its own.
	p = newBrowser(t).authorize(w, w.request(in(acme.org)))
	if strings.Contains(textOf(p.body), "Not now") || p.url.Host == "127.0.0.1:5555" {
		t.Errorf("%s %s", p.url, textOf(p.body))
	}
}

// Rows 62 and 63, S12, S24: codes for the way back.
func TestRecoveryCodesAreShownOnceAndEachLetsInOnce(t *testing.T) {
	w := newWorld(t)
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`})
	b := newBrowser(t)
	r := w.request(in(acme.org))
	p := b.enrols(w, r)
	app := w.keyOn(p)
	p = b.answer(p, "code", app.code(0))
	codes := recoveryCodes(t, p)
	// Looking again shows the same ones, and the file has them; nobody else's browser does.
	if again := recoveryCodes(t, b.get(w, p.url.Path)); !slices.Equal(again, codes) {
		t.Errorf("%v, then %v", codes, again)
	}
	at := p.url.Path
	file := b.get(w, p.url.Path+"/codes.txt")
	if !strings.Contains(file.header.Get("Content-Disposition"), "attachment") || !strings.Contains(file.body, strings.Join(codes, "\n")) {
		t.Errorf("the file: %v %q", file.header, file.body)
	}
	if stranger := newBrowser(t).get(w, p.url.Path+"/codes.txt"); strings.Contains(stranger.body, codes[0]) {
		t.Error("another browser is sent the codes")
	}
	b.answer2(p, "kept", "1").code(t)
	if after := b.get(w, at+"/codes.txt"); strings.Contains(after.body, codes[0]) {
		t.Error("the codes are shown a second time")
	}
	// One lets in once, instead of the app; what is left is counted.
	w.clock.pass(time.Minute)
	comes := func() (*browser, *page) {
		other := newBrowser(t)
		p := other.authorize(w, w.request(in(acme.org))).asksCode(t)
		p = other.answer2(p, "method", "")
		p = other.answer2(p, "method", "recovery_code")
		if !strings.Contains(textOf(p.body), "Enter a recovery code") {
			t.Fatalf("%s", textOf(p.body))
		}
		return other, p
	}
	other, p := comes()
	if !strings.Contains(textOf(p.body), "10 of 10 left") {
		t.Errorf("%s", textOf(p.body))
	}
	other.answer(p, "code", strings.ToUpper(codes[2])).code(t)
	other, p = comes()
	if !strings.Contains(textOf(p.body), "9 of 10 left") {
		t.Errorf("%s", textOf(p.body))
	}
	if p = other.answer(p, "code", codes[2]); p.status != http.StatusOK || !strings.Contains(textOf(p.body), "didn’t match") {
		t.Errorf("used twice: %d %s", p.status, textOf(p.body))
	}
}
