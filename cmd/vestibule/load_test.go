package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/oidc"
	"github.com/vestibule-id/vestibule/broker/upstream/saml"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
)

// loadPlan is what a broker under load is built from. It travels to the process by its environment.
type loadPlan struct {
	Dir           string
	Organizations int
	// OIDC is the issuer of a provider that signs everybody in at once, ClientID and Secret ours there.
	OIDC, ClientID, Secret string
	// SAMLEntity and SAMLMetadata describe a SAML provider; "" leaves it out.
	SAMLEntity   string
	SAMLMetadata []byte
	Private      []string
	Port         int
}

// The world under load: organization "load" signs in by OIDC, "load-saml" by SAML, among many others.
const (
	loadClient   = "load"
	loadCallback = "http://127.0.0.1:5555/callback"
	loadSecret   = "load-secret-load-secret-load-secret-load-sec"
)

// serveLoad is the broker under load, in a process of its own so that its cost can be told from the
// driver's. It prints its issuer and serves until it is told to stop.
func serveLoad() error {
	var plan loadPlan
	if err := json.Unmarshal([]byte(os.Getenv("VESTIBULE_TEST_PLAN")), &plan); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if at := os.Getenv("VESTIBULE_TEST_PPROF"); at != "" {
		go http.ListenAndServe(at, nil)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(plan.Port))
	if err != nil {
		return err
	}
	at := l.Addr().(*net.TCPAddr)
	issuer := "http://localhost:" + strconv.Itoa(at.Port)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log)
	h, err := build(ctx, config{Issuer: issuer, DataDir: plan.Dir, Now: time.Now, Log: log,
		Own: func() []netip.AddrPort { return []netip.AddrPort{at.AddrPort()} }})
	if err != nil {
		return err
	}
	defer h.close()
	if err := plan.seed(ctx, h); err != nil {
		return err
	}
	srv := h.server(log)
	go srv.Serve(l)
	fmt.Println(issuer)
	<-ctx.Done()
	return srv.Close()
}

func (p loadPlan) seed(ctx context.Context, h *house) error {
	if _, err := h.directory.RealmByHandle(ctx, "main"); err == nil {
		return nil
	}
	now := time.Now()
	realm := directory.NewRealmID(now)
	if err := h.directory.AddRealm(ctx, operator, directory.Realm{ID: realm, Handle: "main", Scope: directory.ScopeRealm, Status: directory.Active}); err != nil {
		return err
	}
	app := broker.App{
		ID: directory.NewAppID(now), Realm: realm, ClientID: loadClient, Name: "Load", Status: directory.Active,
		Settings: broker.Settings{Method: broker.SecretBasic, RedirectURIs: []string{loadCallback}, IDTokenAlg: "ES256"}, Secrets: []broker.Secret{{Hash: sum(loadSecret), CreatedAt: now}},
	}
	if err := h.broker.AddApp(ctx, operator, app); err != nil {
		return err
	}
	kinds := map[string]func(directory.OrgID) (upstream.Connection, error){"load": func(directory.OrgID) (upstream.Connection, error) { return p.oidc(), nil }}
	if p.SAMLEntity != "" {
		kinds["load-saml"] = func(directory.OrgID) (upstream.Connection, error) { return p.saml() }
	}
	for i := range p.Organizations {
		handle := fmt.Sprintf("org-%d", i)
		kinds[handle] = kinds["load"]
	}
	for handle, connection := range kinds {
		if err := p.addOrg(ctx, h, realm, app.ID, handle, connection); err != nil {
			return err
		}
	}
	return nil
}

func (p loadPlan) addOrg(ctx context.Context, h *house, realm directory.RealmID, app directory.AppID, handle string, connection func(directory.OrgID) (upstream.Connection, error)) error {
	return h.store.InTx(ctx, func(ctx context.Context) error {
		org := directory.NewOrgID(time.Now())
		if err := h.directory.AddOrg(ctx, operator, directory.Org{ID: org, Realm: realm, Handle: handle, Name: handle, Status: directory.Active}); err != nil {
			return err
		}
		if err := h.directory.Entitle(ctx, operator, directory.Entitlement{Org: org, App: app}); err != nil {
			return err
		}
		c, err := connection(org)
		if err != nil {
			return err
		}
		c.Realm, c.Status, c.JIT, c.Guests, c.Private = realm, upstream.Active, upstream.JITCreate, true, p.Private
		made, err := h.connections.Create(ctx, operator, org, c)
		if err != nil {
			return err
		}
		return h.directory.DeclareDomain(ctx, operator, org, handle+".example", made.ID)
	})
}

func (p loadPlan) oidc() upstream.Connection {
	config, _ := json.Marshal(oidc.Config{ClientID: p.ClientID})
	secret, _ := json.Marshal(oidc.Secret{ClientSecret: p.Secret})
	return upstream.Connection{Type: "oidc", Name: "Provider", Issuer: p.OIDC, Config: config, Secret: secret}
}

func (p loadPlan) saml() (upstream.Connection, error) {
	metadata, err := saml.ParseMetadata(bytes.NewReader(p.SAMLMetadata), p.SAMLEntity)
	if err != nil {
		return upstream.Connection{}, err
	}
	secret, err := saml.NewSecret(rand.Reader, time.Now(), "load")
	if err != nil {
		return upstream.Connection{}, err
	}
	config, _ := json.Marshal(metadata.Fill(saml.Config{}))
	raw, _ := json.Marshal(secret)
	return upstream.Connection{Type: "saml", Name: "Provider", Issuer: p.SAMLEntity, Config: config, Secret: raw, Authoritative: true}, nil
}

// startLoad starts the broker under load and gives its issuer and process.
func startLoad(b testing.TB, plan loadPlan) (string, *exec.Cmd) {
	b.Helper()
	doc, err := json.Marshal(plan)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "VESTIBULE_TEST_ROLE=load", "VESTIBULE_TEST_PLAN="+string(doc))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal("the broker under load did not start: ", err)
	}
	return strings.TrimSpace(line), cmd
}

// cpu is the processor time that a process has used.
func cpu(b testing.TB, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal("processor time is read from /proc, which is not here: ", err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkLogin drives whole logins by many browsers through a broker in a process of its own, and
// reports what each cost that process.
func BenchmarkLogin(b *testing.B) {
	for _, kind := range []string{"load", "load-saml"} {
		for _, organizations := range []int{10, 10000} {
			b.Run(fmt.Sprintf("%s/organizations=%d", kind, organizations), func(b *testing.B) { benchmarkLogin(b, kind, organizations) })
		}
	}
}

func benchmarkLogin(b *testing.B, organization string, organizations int) {
	idp := &fakeidp.Provider{Name: "load", Kind: fakeidp.OIDC, Now: time.Now, Auto: fakeidp.Anyone, People: crowd("load", 200)}
	at := &fakeidp.Provider{Name: "load", Kind: fakeidp.SAML, Now: time.Now, Auto: fakeidp.Anyone, People: crowd("load-saml", 200), Algorithm: "RS256"}
	for _, p := range []*fakeidp.Provider{idp, at} {
		srv, err := p.Start("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer srv.Close()
	}
	doc, err := at.Metadata()
	if err != nil {
		b.Fatal(err)
	}
	issuer, cmd := startLoad(b, loadPlan{
		Dir: b.TempDir(), Organizations: organizations, OIDC: idp.Base, ClientID: "vestibule", Secret: "s", SAMLEntity: at.EntityID(), SAMLMetadata: doc,
		Private: []string{strings.TrimPrefix(idp.Base, "http://"), strings.TrimPrefix(at.Base, "http://")},
	})
	w := &driver{issuer: issuer, organization: organization, idp: idp, sp: at}
	for range 50 {
		if err := w.login(); err != nil {
			b.Fatal(err)
		}
	}
	before := cpu(b, cmd.Process.Pid)
	b.ResetTimer()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := w.login(); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	b.ReportMetric(float64((cpu(b, cmd.Process.Pid)-before).Microseconds())/float64(b.N), "broker-cpu-µs/login")
}

func crowd(handle string, n int) []fakeidp.Person {
	out := make([]fakeidp.Person, n)
	for i := range out {
		id := strconv.Itoa(i)
		out[i] = fakeidp.Person{ID: "person-" + id, Email: "person-" + id + "@" + handle + ".example", EmailVerified: true, Name: "Person " + id, Given: "Person", Family: id}
	}
	return out
}

// driver is a browser and an app that check nothing but that they arrive: the fastest way through.
type driver struct {
	issuer, organization string
	idp, sp              *fakeidp.Provider
	once                 sync.Once
	client               *http.Client
	added                sync.Map
}

const loadVerifier = "load-verifier-load-verifier-load-verifier-load"

func (d *driver) login() error {
	d.once.Do(func() {
		d.client = &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	challenge := challengeOf(loadVerifier)
	next := d.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {loadClient}, "redirect_uri": {loadCallback}, "scope": {"openid profile email"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "organization": {d.organization},
	}.Encode()
	cookies := map[string]string{}
	form := url.Values(nil)
	for range 12 {
		at, body, err := d.hop(next, form, cookies)
		if err != nil {
			return err
		}
		if strings.HasPrefix(at, loadCallback) {
			back, err := url.Parse(at)
			if err != nil {
				return err
			}
			return d.redeem(back.Query().Get("code"))
		}
		form = nil
		if at == "" {
			f := selfPosting(&page{body: body})
			if f == nil {
				return fmt.Errorf("stuck at %s: %.300s", next, textOf(body))
			}
			at, form = f.action, f.values
		}
		base, _ := url.Parse(next)
		to, err := base.Parse(at)
		if err != nil {
			return err
		}
		d.introduce(to)
		next = to.String()
	}
	return fmt.Errorf("too many hops")
}

// introduce registers the broker's connection at the provider when its first request comes by.
func (d *driver) introduce(to *url.URL) {
	if back := to.Query().Get("redirect_uri"); back != "" {
		if _, seen := d.added.LoadOrStore(back, true); !seen {
			d.idp.AddClient(fakeidp.Client{ID: "vestibule", Secret: "s", Redirects: []string{back}})
		}
	}
	if to.Query().Has("SAMLRequest") {
		if _, seen := d.added.LoadOrStore("saml", true); !seen {
			if sp, err := spOf(to.Query().Get("SAMLRequest")); err == nil {
				d.sp.AddSP(sp)
			}
		}
	}
}

func (d *driver) hop(to string, form url.Values, cookies map[string]string) (location, body string, err error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, reader = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, to, reader)
	if err != nil {
		return "", "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if strings.HasPrefix(to, d.issuer) && method == http.MethodGet {
		for k, v := range cookies {
			req.AddCookie(&http.Cookie{Name: k, Value: v})
		}
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	for _, c := range resp.Cookies() {
		cookies[c.Name] = c.Value
	}
	return resp.Header.Get("Location"), string(raw), err
}

func (d *driver) redeem(code string) error {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {loadCallback}, "code_verifier": {loadVerifier}}
	req, err := http.NewRequest(http.MethodPost, d.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(loadClient, loadSecret)
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("token: %s", raw)
	}
	return err
}
