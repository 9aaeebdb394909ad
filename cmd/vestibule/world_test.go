package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// A world is the whole house on this machine, with made-up organizations and providers, for stories.
type world struct {
	t     *testing.T
	h     *house
	url   string
	dir   string
	clock *clock
	main  directory.RealmID
	app   broker.App
	// secret is the app's.
	secret string
	logged *bytes.Buffer
}

// clock is a clock that a story can move.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

var operator = directory.Actor{Kind: directory.Operator, ID: "test"}

const callback = "http://127.0.0.1:5555/callback"

// newWorld starts a house with one app and no organization.
func newWorld(t *testing.T) *world { return worldIn(t, t.TempDir(), nil) }

// lockedBuffer lets many goroutines log.
type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func worldIn(t *testing.T, dir string, change func(*config)) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	w := &world{t: t, dir: dir, clock: &clock{}, url: "http://localhost:" + strings.Split(l.Addr().String(), ":")[1], logged: &bytes.Buffer{}}
	c := keptIn(t, dir, config{
		Issuer: w.url, Now: w.clock.now,
		Own: func() []netip.AddrPort { return []netip.AddrPort{at.AddrPort()} },
		Log: slog.New(slog.NewTextHandler(&lockedBuffer{b: w.logged}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if change != nil {
		change(&c)
	}
	if w.h, err = build(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	srv := w.h.server(c.Log)
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		w.h.close()
	})
	w.seed()
	return w
}

func (w *world) seed() {
	ctx := w.t.Context()
	if r, err := w.h.directory.RealmByHandle(ctx, "main"); err == nil {
		w.main = r.ID
		return
	}
	w.main = directory.NewRealmID(w.clock.now())
	w.must(w.h.directory.AddRealm(ctx, operator, directory.Realm{ID: w.main, Handle: "main", Scope: directory.ScopeRealm, Status: directory.Active}))
	w.app, w.secret = w.addApp("payments", nil)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) addApp(clientID string, change func(*broker.App)) (broker.App, string) {
	w.t.Helper()
	now := w.clock.now()
	secret, kept := broker.NewClientSecret(now)
	a := broker.App{
		ID: directory.NewAppID(now), Realm: w.main, ClientID: clientID, Name: strings.ToUpper(clientID[:1]) + clientID[1:], Status: directory.Active,
		Settings: broker.Settings{
			Method: broker.SecretBasic, RedirectURIs: []string{callback}, PostLogoutURIs: []string{"http://127.0.0.1:5555/bye"},
			Home: "http://127.0.0.1:5555/", IDTokenAlg: "ES256",
		},
		Secrets: []broker.Secret{kept},
	}
	if change != nil {
		change(&a)
	}
	w.must(w.h.broker.AddApp(w.t.Context(), operator, a))
	return a, secret
}

func (w *world) addOrg(handle string, parent directory.OrgID) directory.OrgID {
	w.t.Helper()
	return w.addOrgIn(w.main, handle, parent)
}

func (w *world) addOrgIn(realm directory.RealmID, handle string, parent directory.OrgID) directory.OrgID {
	w.t.Helper()
	ctx := w.t.Context()
	id := directory.NewOrgID(w.clock.now())
	w.must(w.h.directory.AddOrg(ctx, operator, directory.Org{
		ID: id, Realm: realm, Parent: parent, Handle: handle, Name: strings.ToUpper(handle[:1]) + handle[1:], Status: directory.Active,
		Contact: "it@" + handle + ".example",
	}))
	if w.app.ID != "" {
		w.must(w.h.directory.Entitle(ctx, operator, directory.Entitlement{Org: id, App: w.app.ID}))
	}
	return id
}

// company is an organization with a provider.
type company struct {
	org directory.OrgID
	con upstream.Connection
	idp *fakeidp.Provider
}

// addOIDC makes an organization with an OpenID provider of one person who is signed in without a page.
func (w *world) addOIDC(handle string, change func(*upstream.Connection, *oidc.Config)) company {
	w.t.Helper()
	org := w.addOrg(handle, "")
	return w.connectOIDC(org, handle, change)
}

func people(handle string) []fakeidp.Person {
	return []fakeidp.Person{{ID: handle + "-1", Email: "ada@" + handle + ".example", EmailVerified: true, Name: "Ada " + handle, Given: "Ada", Family: handle}}
}

func (w *world) connectOIDC(org directory.OrgID, handle string, change func(*upstream.Connection, *oidc.Config)) company {
	w.t.Helper()
	ctx := w.t.Context()
	idp := &fakeidp.Provider{Name: handle, Kind: fakeidp.OIDC, Now: w.clock.now, People: people(handle), Auto: handle + "-1", Delay: 3 * time.Second}
	w.start(idp)
	c := upstream.Connection{
		ID: directory.NewConnectionID(w.clock.now()), Realm: w.main, Type: "oidc", Name: "Okta of " + handle, Status: upstream.Active, Issuer: idp.Base,
		JIT: upstream.JITCreate, Private: []string{strings.TrimPrefix(idp.Base, "http://")},
	}
	config := oidc.Config{ClientID: "vestibule"}
	if change != nil {
		change(&c, &config)
	}
	c.Config = encode(w.t, config)
	c.Secret = encode(w.t, oidc.Secret{ClientSecret: "s3cret-of-" + handle})
	idp.AddClient(fakeidp.Client{ID: "vestibule", Secret: "s3cret-of-" + handle, Redirects: []string{upstream.ReturnURL(w.url, c.ID)}, PostLogout: []string{upstream.SignedOutURL(w.url)}})
	made, err := w.h.connections.Create(ctx, operator, org, c)
	w.must(err)
	w.must(w.h.directory.DeclareDomain(ctx, operator, org, handle+".example", made.ID))
	return company{org, made, idp}
}

func (w *world) addSAML(handle string, change func(*upstream.Connection, *saml.Config)) company {
	w.t.Helper()
	ctx := w.t.Context()
	org := w.addOrg(handle, "")
	idp := &fakeidp.Provider{Name: handle, Kind: fakeidp.SAML, Now: w.clock.now, People: people(handle), Auto: handle + "-1", Algorithm: "RS256", Delay: 3 * time.Second}
	w.start(idp)
	doc, err := idp.Metadata()
	w.must(err)
	metadata, err := saml.ParseMetadata(bytes.NewReader(doc), idp.EntityID())
	w.must(err)
	secret, err := saml.NewSecret(rand.Reader, w.clock.now(), handle)
	w.must(err)
	c := upstream.Connection{
		ID: directory.NewConnectionID(w.clock.now()), Realm: w.main, Type: "saml", Name: "Entra of " + handle, Status: upstream.Active, Issuer: idp.EntityID(),
		JIT: upstream.JITCreate, Authoritative: true, Private: []string{strings.TrimPrefix(idp.Base, "http://")}, Secret: encode(w.t, secret),
	}
	var config saml.Config
	config = metadata.Fill(config)
	if change != nil {
		change(&c, &config)
	}
	c.Config = encode(w.t, config)
	idp.AddSP(fakeidp.SP{EntityID: upstream.MetadataURL(w.url, c.ID), ACS: []string{upstream.ReturnURL(w.url, c.ID)}})
	made, err := w.h.connections.Create(ctx, operator, org, c)
	w.must(err)
	w.must(w.h.directory.DeclareDomain(ctx, operator, org, handle+".example", made.ID))
	return company{org, made, idp}
}

func (w *world) start(idp *fakeidp.Provider) {
	w.t.Helper()
	srv, err := idp.Start("127.0.0.1:0")
	w.must(err)
	w.t.Cleanup(func() { srv.Close() })
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// browser is a browser of its own: it follows redirects, keeps cookies by site as SameSite=Lax does,
// submits pages that post themselves, and stops at the app.
type browser struct {
	t      *testing.T
	jar    map[string]map[string]string // host -> cookies
	client *http.Client
	hops   []string
	// last is what the last page was.
	last *page
}

type page struct {
	url    *url.URL
	status int
	header http.Header
	body   string
}

func newBrowser(t *testing.T) *browser {
	return &browser{t: t, jar: map[string]map[string]string{}, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: false},
	}}
}

// send makes one request and keeps its cookies. crossSite withholds them from a POST.
func (b *browser) send(method, to string, form url.Values, crossSite bool) *page {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, to, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if method == http.MethodPost && crossSite {
		req.Header.Set("Sec-Fetch-Site", "cross-site")
	} else {
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		for name, value := range b.jar[req.URL.Hostname()] {
			req.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if b.jar[req.URL.Hostname()] == nil {
			b.jar[req.URL.Hostname()] = map[string]string{}
		}
		if c.MaxAge < 0 {
			delete(b.jar[req.URL.Hostname()], c.Name)
		} else {
			b.jar[req.URL.Hostname()][c.Name] = c.Value
		}
	}
	b.hops = append(b.hops, method+" "+req.URL.Host+req.URL.Path)
	b.last = &page{req.URL, resp.StatusCode, resp.Header, string(raw)}
	return b.last
}

var (
	formAction = regexp.MustCompile(`(?s)<form[^>]*\baction="([^"]*)"[^>]*>(.*?)</form>`)
	inputField = regexp.MustCompile(`<input[^>]*>`)
	attribute  = regexp.MustCompile(`\b(name|value|type)="([^"]*)"`)
)

// follow goes on from a page: redirects, and pages that post themselves to or from a provider. It stops
// at a page for people, or at the app.
func (b *browser) follow(p *page) *page {
	b.t.Helper()
	for range 20 {
		if at := p.header.Get("Location"); at != "" && p.status/100 == 3 {
			to, err := p.url.Parse(at)
			if err != nil {
				b.t.Fatal(err)
			}
			if strings.HasPrefix(to.String(), callback) || strings.HasPrefix(to.String(), "http://127.0.0.1:5555/") {
				b.last = &page{url: to, status: p.status, header: p.header}
				return b.last
			}
			p = b.send(http.MethodGet, to.String(), nil, false)
			continue
		}
		form := selfPosting(p)
		if form == nil {
			return p
		}
		to, err := p.url.Parse(form.action)
		if err != nil {
			b.t.Fatal(err)
		}
		p = b.send(http.MethodPost, to.String(), form.values, to.Hostname() != p.url.Hostname())
	}
	b.t.Fatalf("too many hops: %v", b.hops)
	return nil
}

type htmlForm struct {
	action string
	values url.Values
}

// selfPosting finds the form of SAML's HTTP-POST binding or of OpenID's form_post.
func selfPosting(p *page) *htmlForm {
	for _, f := range forms(p) {
		if f.values.Has("SAMLRequest") || f.values.Has("SAMLResponse") || f.values.Has("code") && f.values.Has("state") {
			return f
		}
	}
	return nil
}

func forms(p *page) []*htmlForm {
	var out []*htmlForm
	for _, m := range formAction.FindAllStringSubmatch(p.body, -1) {
		f := &htmlForm{action: unescape(m[1]), values: url.Values{}}
		for _, in := range inputField.FindAllString(m[2], -1) {
			attrs := map[string]string{}
			for _, a := range attribute.FindAllStringSubmatch(in, -1) {
				attrs[a[1]] = unescape(a[2])
			}
			if attrs["name"] != "" && attrs["type"] != "checkbox" {
				f.values.Set(attrs["name"], attrs["value"])
			}
		}
		out = append(out, f)
	}
	return out
}

var entities = strings.NewReplacer("&#43;", "+", "&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&quot;", `"`, "&#xA;", "\n", "&#10;", "\n", "&#13;", "\r", "&#x3d;", "=", "&#61;", "=")

func unescape(s string) string { return entities.Replace(s) }

// request is an authorization request of the app.
type request struct {
	url.Values
	verifier string
}

func (w *world) request(change func(url.Values)) request {
	verifier := directory.NewSecret()
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{
		"response_type": {"code"}, "client_id": {w.app.ClientID}, "redirect_uri": {callback}, "scope": {"openid profile email"},
		"state": {"st-" + verifier[:8]}, "nonce": {"n-" + verifier[:8]},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if change != nil {
		change(v)
	}
	return request{v, verifier}
}

func in(org directory.OrgID) func(url.Values) {
	return func(v url.Values) { v.Set("organization", string(org)) }
}

// authorize opens an authorization request and goes as far as nobody has to do anything.
func (b *browser) authorize(w *world, r request) *page {
	b.t.Helper()
	return b.follow(b.send(http.MethodGet, w.url+"/authorize?"+r.Encode(), nil, false))
}

// code is the code that the app was sent, or the test ends.
func (p *page) code(t *testing.T) string {
	t.Helper()
	if p.url.Host != "127.0.0.1:5555" || p.url.Query().Get("code") == "" {
		t.Fatalf("no code: %s %d\n%s", p.url, p.status, textOf(p.body))
	}
	return p.url.Query().Get("code")
}

var tags = regexp.MustCompile(`(?s)<(script|style|svg)[^>]*>.*?</(script|style|svg)>|<[^>]*>`)

func textOf(html string) string {
	return strings.Join(strings.Fields(unescape(tags.ReplaceAllString(html, " "))), " ")
}

// tokenAnswer is what the token endpoint said.
type tokenAnswer struct {
	Status      int
	Header      http.Header
	Access      string `json:"access_token"`
	ID          string `json:"id_token"`
	Type        string `json:"token_type"`
	Expires     int    `json:"expires_in"`
	Refresh     string `json:"refresh_token"`
	IssuedType  string `json:"issued_token_type"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
	raw         string
}

// redeem exchanges a code as the world's app would.
func (w *world) redeem(code, verifier string) tokenAnswer {
	w.t.Helper()
	return w.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}, func(r *http.Request) {
		r.SetBasicAuth(w.app.ClientID, w.secret)
	})
}

func (w *world) token(form url.Values, change func(*http.Request)) tokenAnswer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.url+"/token", strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	a := tokenAnswer{Status: resp.StatusCode, Header: resp.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &a); err != nil {
		w.t.Fatalf("token endpoint %d: %q", resp.StatusCode, raw)
	}
	return a
}

// claims reads a token's payload.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// userinfo asks userinfo with a token.
func (w *world) userinfo(token string) (int, map[string]any) {
	w.t.Helper()
	req := httptest.NewRequest(http.MethodGet, w.url+"/userinfo", nil)
	req.RequestURI = ""
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	var out map[string]any
	raw, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out
}

func (w *world) dataFile() string { return filepath.Join(w.dir, "vestibule.db") }
