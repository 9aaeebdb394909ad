package main

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/password"
)

// These stories are of people whose organization has no identity provider: S7, S11, S16, S27, S31, S32.

// mailbox is where the house's mail goes.
type mailbox struct {
	mu   sync.Mutex
	mail []mail.Message
}

func (m *mailbox) Deliver(_ context.Context, msg mail.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail = append(m.mail, msg)
	return nil
}

func (m *mailbox) all() []mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mail)
}

var mailLink = regexp.MustCompile(`http://localhost:\d+/(mail|reset)/[A-Za-z0-9_-]{43}`)

// harbor is a world with an organization that signs its people in here.
type harbor struct {
	*world
	org     directory.OrgID
	carmen  directory.Person
	mailbox *mailbox
}

const (
	carmens = "carmen@harbor.example"
	secret  = "gardening Owls 7 at night"
)

func newHarbor(t *testing.T) *harbor {
	t.Helper()
	h := &harbor{mailbox: &mailbox{}}
	h.world = worldIn(t, t.TempDir(), func(c *config) {
		c.Cost = password.Cost{Memory: 64, Passes: 1, Lanes: 1}
		c.Messages = messaging{Limits: delivery.DefaultLimits(), Mail: h.mailbox}
		c.Messages.Limits.MailPerPerson.Most, c.Messages.Limits.MailPerAddress.Most = 100, 100
	})
	h.org = h.addOrg("harbor", "")
	h.must(h.h.directory.DeclareDomain(t.Context(), operator, h.org, "harbor.example", ""))
	h.carmen = h.addLocal(h.org, carmens, secret)
	return h
}

// addLocal makes an account with a password of another system.
func (w *world) addLocal(org directory.OrgID, address, typed string) directory.Person {
	w.t.Helper()
	now := w.clock.now()
	p := directory.Person{ID: directory.NewPersonID(now), Realm: w.main, Home: org, Name: "Carmen Delgado", Email: address, EmailSince: now, Status: directory.Active, Source: "manual", CreatedAt: now}
	w.must(w.h.directory.AddPerson(w.t.Context(), operator, p, []directory.Identifier{{Kind: "email", Value: strings.ToLower(address), VerifiedAt: now}}))
	if typed != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(typed), bcrypt.MinCost)
		w.must(err)
		w.must(w.h.directory.SetPassword(w.t.Context(), operator, org, p.ID, directory.NewPassword{Hash: string(hash), Source: directory.Imported}))
	}
	return p
}

// mailTo waits for the nth mail to an address, and gives its link.
func (h *harbor) mailTo(address string, n int) string {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var links []string
		for _, m := range h.mailbox.all() {
			if link := mailLink.FindString(m.Text); link != "" && m.To == address {
				links = append(links, link)
			}
		}
		if len(links) >= n {
			return links[n-1]
		}
	}
	h.t.Fatalf("no mail %d to %s: %+v", n, address, h.mailbox.all())
	return ""
}

// posts answers the page's form with values.
func (b *browser) posts(p *page, values ...string) *page {
	b.t.Helper()
	list := forms(p)
	if len(list) == 0 {
		b.t.Fatalf("no form on %s %d: %s", p.url, p.status, textOf(p.body))
	}
	f := list[0]
	for i := 0; i < len(values); i += 2 {
		f.values.Set(values[i], values[i+1])
	}
	to, err := p.url.Parse(f.action)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.follow(b.send(http.MethodPost, to.String(), f.values, false))
}

// opens follows a link of a mail.
func (b *browser) opens(link string) *page {
	b.t.Helper()
	return b.follow(b.send(http.MethodGet, link, nil, false))
}

// address goes to the platform's page and types an address.
func (b *browser) address(w *world, r request, address string) *page {
	b.t.Helper()
	return b.answer(b.authorize(w, r), "identifier", address)
}

func TestSomebodyWithoutAProviderSignsInByPassword(t *testing.T) {
	w := newHarbor(t)
	for name, way := range map[string]func(*browser, request) *page{
		"on the platform's page":     func(b *browser, r request) *page { return b.address(w.world, r, "Carmen@Harbor.example") },
		"on the organization's page": func(b *browser, r request) *page { r.Set("organization", "harbor"); return b.authorize(w.world, r) },
	} {
		b, r := newBrowser(t), w.request(nil)
		p := way(b, r)
		if !strings.Contains(p.body, `autocomplete="current-password"`) {
			t.Fatalf("%s: no password is asked for: %s", name, textOf(p.body))
		}
		if p = b.posts(p, "identifier", carmens, "password", "wrong"); !strings.Contains(textOf(p.body), "isn’t right") {
			t.Fatalf("%s: a wrong password: %d %s", name, p.status, textOf(p.body))
		}
		tok := w.redeem(b.posts(p, "identifier", carmens, "password", secret).code(t), r.verifier)
		got := claims(t, tok.ID)
		if got["sub"] != string(w.carmen.ID) || got["org_id"] != string(w.org) || got["acr"] != "urn:vestibule:acr:1fa" || !slices.Equal(texts(got["amr"]), []string{"pwd"}) {
			t.Errorf("%s: %v", name, got)
		}
		if _, why := b.silently(w.world, nil); why != "" {
			t.Errorf("%s: the session does not sign in again: %s", name, why)
		}
	}
	// The hash of another system was replaced on the way.
	kept, err := w.h.store.PasswordOf(t.Context(), w.org, w.carmen.ID)
	if w.must(err); !strings.HasPrefix(kept.Hash, "$argon2id$") || kept.Source != directory.Imported {
		t.Errorf("the hash is %q (%s)", kept.Hash, kept.Source)
	}
}

func TestS7ALinkGoesOnOnlyInTheBrowserThatAskedForIt(t *testing.T) {
	w := newHarbor(t)
	b, r := newBrowser(t), w.request(nil)
	p := b.posts(b.address(w.world, r, carmens), "act", "link")
	if !strings.Contains(textOf(p.body), "Look in your mailbox") {
		t.Fatalf("no word of a mail: %s", textOf(p.body))
	}
	link := w.mailTo(carmens, 1)

	// Programs that open links before people do, and whoever opens it elsewhere, change nothing.
	scanner := newBrowser(t)
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodGet} {
		if q := scanner.send(method, link, nil, false); q.status != http.StatusOK || q.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", method, q.status, q.header)
		}
	}
	q := scanner.opens(link)
	if text := textOf(q.body); !strings.Contains(text, "another browser") || strings.Contains(text, "Continue") {
		t.Errorf("elsewhere the link says: %s", text)
	}
	q = scanner.posts(q)
	code := regexp.MustCompile(`\b\d{6}\b`).FindString(textOf(q.body))
	if code == "" || !strings.Contains(textOf(q.body), "Never read this code to anybody") {
		t.Fatalf("no code elsewhere: %s", textOf(q.body))
	}
	if _, why := scanner.silently(w.world, nil); why != "login_required" {
		t.Errorf("elsewhere somebody is signed in: %q", why)
	}

	// In the waiting browser the link asks for a press, and goes on. It works once.
	q = b.opens(link)
	if !strings.Contains(textOf(q.body), "Continue") {
		t.Fatalf("here the link says: %s", textOf(q.body))
	}
	tok := w.redeem(b.posts(q).code(t), r.verifier)
	if got := claims(t, tok.ID); got["sub"] != string(w.carmen.ID) || got["acr"] != "urn:vestibule:acr:1fa" || got["email_verified"] != true {
		t.Errorf("%v", got)
	}
	for _, again := range []*page{b.opens(link), scanner.opens(link)} {
		if again.status == http.StatusOK {
			t.Errorf("a used link answers %d: %s", again.status, textOf(again.body))
		}
	}

	// The code brings the waiting browser in, too.
	b, r = newBrowser(t), w.request(nil)
	p = b.posts(b.address(w.world, r, carmens), "act", "link")
	q = scanner.posts(scanner.opens(w.mailTo(carmens, 2)))
	code = regexp.MustCompile(`\b\d{6}\b`).FindString(textOf(q.body))
	if p = b.posts(p, "act", "code", "code", wrongOf(code)); !strings.Contains(p.body, `name="code"`) {
		t.Fatalf("a wrong code: %d %s", p.status, textOf(p.body))
	}
	w.redeem(b.posts(p, "act", "code", "code", code).code(t), r.verifier)
}

func wrongOf(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestS7FiveWrongCodesEndTheLogin(t *testing.T) {
	w := newHarbor(t)
	for _, address := range []string{carmens, "nobody@harbor.example"} {
		b := newBrowser(t)
		p := b.posts(b.address(w.world, w.request(nil), address), "act", "link")
		at := p.url.String()
		for i := range 5 {
			if !strings.Contains(p.body, `name="code"`) {
				t.Fatalf("%s: after %d wrong codes: %s", address, i, textOf(p.body))
			}
			p = b.posts(p, "act", "code", "code", "not a code")
		}
		if p.status == http.StatusOK || !strings.Contains(textOf(p.body), "Too many wrong answers") {
			t.Errorf("%s: %d %s", address, p.status, textOf(p.body))
		}
		if p = b.opens(at); p.status == http.StatusOK {
			t.Errorf("%s: the login goes on: %s", address, textOf(p.body))
		}
	}
	if link := w.mailTo(carmens, 1); newBrowser(t).opens(link).status == http.StatusOK {
		t.Error("the link of a login that ended is good")
	}
}

// Who has the mailbox of an address that folds to somebody's gets nothing of theirs.
func TestS8MailGoesToTheAddressOfTheAccountAndNeverToTheOneThatWasTyped(t *testing.T) {
	w := newHarbor(t)
	w.addLocal(w.org, "strasse@harbor.example", secret)
	b := newBrowser(t)
	b.posts(b.address(w.world, w.request(nil), "straße@harbor.example"), "act", "link")
	b = newBrowser(t)
	b.posts(b.address(w.world, w.request(nil), "STRASSE@harbor.example"), "act", "reset")
	w.mailTo("strasse@harbor.example", 2)
	for _, m := range w.mailbox.all() {
		if m.To != "strasse@harbor.example" {
			t.Errorf("mail went to %s", m.To)
		}
	}
}

func TestS31NobodyLearnsWhoHasAnAccount(t *testing.T) {
	w := newHarbor(t)
	w.addLocal(w.org, "nohash@harbor.example", "")
	closed := w.addOrg("closed1", "")
	w.must(w.h.directory.DeclareDomain(t.Context(), operator, closed, "closed1.example", ""))
	w.addLocal(closed, "carmen@closed1.example", secret)
	w.must(w.h.directory.SetOrgStatus(t.Context(), operator, closed, directory.Suspended))
	linkOnly := w.addOrg("linkonl", "")
	w.policy(linkOnly, map[string]string{"login.methods": `["sso", "passkey", "email_link"]`})
	w.addLocal(linkOnly, "carmen@linkonl.example", secret)
	sso := w.addOIDC("withsso", nil)
	w.addLocal(sso.org, "carmen@withsso.example", secret)
	w.change(sso, func(c *upstream.Connection) { c.Status = upstream.Disabled })
	for _, act := range []string{"password", "link", "reset"} {
		var first, firstName string
		for _, address := range []string{carmens, "nohash@harbor.example", "nobody@harbor.example", "carmen@nowhere.example", "carmen@closed1.example", "carmen@withsso.example", "carmen@linkonl.example"} {
			b := newBrowser(t)
			typed := b.address(w.world, w.request(nil), address)
			list := forms(typed)[0]
			list.values.Set("act", act)
			if act == "password" {
				list.values.Set("password", "wrong password")
			}
			answer := b.send(http.MethodPost, w.url+list.action, list.values, false)
			page := b.follow(answer)
			got := strings.ReplaceAll(typed.seen(address)+"\n"+answer.seen(address)+"\n"+page.seen(address), address, "ADDRESS")
			if first == "" {
				first, firstName = got, address
			} else if got != first {
				t.Errorf("%s: %s and %s get different answers:\n%s\n----\n%s", act, firstName, address, first, got)
			}
		}
	}
	// Each is tried as often before it is slowed.
	slowed := func(address string) int {
		b := newBrowser(t)
		p := b.address(w.world, w.request(nil), address)
		for i := range 30 {
			if p = b.posts(p, "password", "wrong"); strings.Contains(textOf(p.body), "too many wrong passwords") {
				return i
			}
		}
		return -1
	}
	if a, n := slowed(carmens), slowed("nobody@harbor.example"); a != n || a < 5 {
		t.Errorf("somebody is slowed after %d, nobody after %d", a, n)
	}
}

func TestSSORequiredLeavesNoOtherWay(t *testing.T) {
	w := newHarbor(t)
	acme := w.addOIDC("acme", nil)
	ada := w.addLocal(acme.org, "ada@acme.example", secret)
	guest := w.addLocal(acme.org, "guest@elsewhere.example", secret)
	// Her address leads to the provider; nothing else takes her password, and no link is sent to her.
	b := newBrowser(t)
	w.must(w.h.directory.SetPersonStatus(t.Context(), operator, acme.org, ada.ID, directory.Active))
	b.address(w.world, w.request(nil), "ada@acme.example")
	if !b.visited(acme, 0) {
		t.Error("her address does not lead to the provider")
	}
	w.change(acme, func(c *upstream.Connection) { c.Status = upstream.Disabled })
	b = newBrowser(t)
	p := b.address(w.world, w.request(nil), "ada@acme.example")
	p = b.posts(p, "password", secret)
	if !strings.Contains(textOf(p.body), "isn’t right") {
		t.Errorf("a password stands in for the provider: %s", textOf(p.body))
	}
	b.posts(b.posts(p, "act", "link"), "act", "back")
	if p := newBrowser(t).authorize(w.world, w.request(in(acme.org))); p.status == http.StatusOK {
		t.Errorf("the organization's page offers another way: %s", textOf(p.body))
	}
	// A guest of another domain signs in here.
	b = newBrowser(t)
	r := w.request(nil)
	tok := w.redeem(b.posts(b.address(w.world, r, "guest@elsewhere.example"), "password", secret).code(t), r.verifier)
	if got := claims(t, tok.ID); got["sub"] != string(guest.ID) || got["org_id"] != string(acme.org) {
		t.Errorf("%v", got)
	}
	for _, m := range w.mailbox.all() {
		if m.To == "ada@acme.example" && mailLink.MatchString(m.Text) {
			t.Error("a link was sent past the provider")
		}
	}
}

// What a password proved is worth what the policy of now says: a running session of one is over where
// passwords are taken away, and where the identity provider becomes the only way.
func TestATighterWayToSignInHoldsForWhatRuns(t *testing.T) {
	w := newHarbor(t)
	signsIn := func(org directory.OrgID, address string) *browser {
		b, r := newBrowser(t), w.request(in(org))
		w.redeem(b.posts(b.authorize(w.world, r), "identifier", address, "password", secret).code(t), r.verifier)
		if code, why := b.silently(w.world, in(org)); code == "" {
			t.Fatalf("the story does not begin: %s", why)
		}
		return b
	}
	b := signsIn(w.org, carmens)
	w.policy(w.org, map[string]string{"login.methods": `["sso", "passkey", "email_link"]`})
	if code, why := b.silently(w.world, in(w.org)); code != "" || why != "interaction_required" {
		t.Errorf("passwords were taken away: %q %q", code, why)
	}
	acme := w.addOIDC("acme", nil)
	w.policy(acme.org, map[string]string{"login.sso_required": `false`})
	w.addLocal(acme.org, "ada@acme.example", secret)
	w.addLocal(acme.org, "guest@elsewhere.example", secret)
	b, guest := signsIn(acme.org, "ada@acme.example"), signsIn(acme.org, "guest@elsewhere.example")
	w.policy(acme.org, map[string]string{"login.sso_required": `true`})
	if code, why := b.silently(w.world, in(acme.org)); code != "" || why != "interaction_required" {
		t.Errorf("the provider became the only way: %q %q", code, why)
	}
	if code, why := guest.silently(w.world, in(acme.org)); code == "" {
		t.Errorf("a guest of another domain: %q", why)
	}
}

func TestS27AResetSignsNobodyInAndEndsEverySession(t *testing.T) {
	w := newHarbor(t)
	thief := newBrowser(t)
	r := w.request(func(v url.Values) { v.Set("scope", "openid offline_access") })
	thief.posts(thief.address(w.world, r, carmens), "password", secret).code(t)

	b := newBrowser(t)
	r = w.request(nil)
	waiting := b.posts(b.address(w.world, r, carmens), "act", "reset")
	link := w.mailTo(carmens, 1)
	other := newBrowser(t)
	page := other.opens(link)
	for typed, complaint := range map[string]string{"short": "characters at least", "carmendelgado": "easy to guess", "Password1234": "many people use", secret: "used it before"} {
		p := other.posts(page, "password", typed)
		if p.status != http.StatusOK || !strings.Contains(textOf(p.body), complaint) && typed != "carmendelgado" && typed != "Password1234" {
			t.Errorf("%q: %d %s", typed, p.status, textOf(p.body))
		}
		if !strings.Contains(p.body, `autocomplete="new-password"`) {
			t.Errorf("%q was taken: %s", typed, textOf(p.body))
		}
	}
	const fresh = "lanterns over the harbor wall"
	done := other.posts(page, "password", fresh)
	if done.status != http.StatusOK || !strings.Contains(textOf(done.body), "Your password is set") {
		t.Fatalf("%d %s", done.status, textOf(done.body))
	}
	for name, browser := range map[string]*browser{"who reset it": other, "who asked for it": b, "who was signed in": thief} {
		if _, why := browser.silently(w.world, nil); why != "login_required" {
			t.Errorf("%s is signed in: %q", name, why)
		}
	}
	if again := other.opens(link); again.status == http.StatusOK {
		t.Errorf("the link is good twice: %s", textOf(again.body))
	}
	if again := other.send(http.MethodPost, link, url.Values{"password": {"another long one here"}}, false); again.status == http.StatusOK {
		t.Errorf("the link is good twice: %s", textOf(again.body))
	}
	p := b.posts(waiting, "act", "back")
	if p = b.posts(p, "password", secret); !strings.Contains(textOf(p.body), "isn’t right") {
		t.Errorf("the old password: %s", textOf(p.body))
	}
	w.redeem(b.posts(p, "password", fresh).code(t), r.verifier)
}

func TestAPasswordThatIsTooOldIsChangedOnTheWay(t *testing.T) {
	w := newHarbor(t)
	w.policy(w.org, map[string]string{"password.max_age": `"90d"`, "password.history": `3`})
	w.clock.pass(91 * 24 * time.Hour)
	b, r := newBrowser(t), w.request(nil)
	p := b.posts(b.address(w.world, r, carmens), "password", secret)
	if !strings.Contains(p.body, `autocomplete="new-password"`) {
		t.Fatalf("no new password is asked for: %s", textOf(p.body))
	}
	if _, why := b.silently(w.world, nil); why != "login_required" {
		t.Errorf("signed in with the old one: %q", why)
	}
	if p = b.posts(p, "password", secret); !strings.Contains(textOf(p.body), "used it before") {
		t.Fatalf("the same one: %s", textOf(p.body))
	}
	w.redeem(b.posts(p, "password", "lanterns over the harbor wall").code(t), r.verifier)
	b, r = newBrowser(t), w.request(nil)
	w.redeem(b.posts(b.address(w.world, r, carmens), "password", "lanterns over the harbor wall").code(t), r.verifier)
}

func TestS32StrangersSlowNobodyAtADeviceThatIsKnown(t *testing.T) {
	w := newHarbor(t)
	known := newBrowser(t)
	r := w.request(nil)
	known.posts(known.address(w.world, r, carmens), "password", secret).code(t)

	stranger := newBrowser(t)
	p := stranger.address(w.world, w.request(nil), carmens)
	for range 40 {
		p = stranger.posts(p, "password", "wrong")
	}
	if !strings.Contains(textOf(p.body), "too many wrong passwords") {
		t.Fatalf("a stranger guesses on: %s", textOf(p.body))
	}
	// The right password is not looked at there either, but a link is sent all the same.
	if p = stranger.posts(p, "password", secret); !strings.Contains(textOf(p.body), "too many wrong passwords") {
		t.Errorf("a stranger's guess was judged: %s", textOf(p.body))
	}
	stranger.posts(p, "act", "link")
	w.mailTo(carmens, 1)

	r = w.request(func(v url.Values) { v.Set("prompt", "login") })
	q := known.authorize(w.world, r)
	if strings.Contains(q.body, `name="identifier"`) && !strings.Contains(q.body, `name="password"`) {
		q = known.answer(q, "identifier", carmens)
	}
	w.redeem(known.posts(q, "identifier", carmens, "password", secret).code(t), r.verifier)
	// And the stranger is slowed, not shut out.
	w.clock.pass(16 * time.Minute)
	r = w.request(nil)
	stranger = newBrowser(t)
	w.redeem(stranger.posts(stranger.address(w.world, r, carmens), "password", secret).code(t), r.verifier)
}
