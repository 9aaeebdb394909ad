package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/internal/fakeidp"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// playVestibule is the program itself, with the arguments of this process.
func playVestibule() error {
	os.Unsetenv("VESTIBULE_TEST_ROLE")
	main()
	return nil
}

// program runs the program as a process of its own, in a directory, and waits for its end.
func program(t *testing.T, dir string, env []string, args ...string) (status int, said string) {
	t.Helper()
	cmd := programOf(t, dir, env, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func programOf(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"VESTIBULE_TEST_ROLE=vestibule", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return cmd
}

// served is a running `vestibule serve`.
type served struct {
	cmd  *exec.Cmd
	url  string
	errs *bytes.Buffer
}

func serveProgram(t *testing.T, dir string, env []string, args ...string) *served {
	t.Helper()
	s := &served{cmd: programOf(t, dir, env, append([]string{"serve"}, args...)...), errs: &bytes.Buffer{}}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = &lockedBuffer{b: s.errs}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		t.Fatalf("serve said nothing: %v\n%s", err, s.errs)
	}
	_, at, _ := strings.Cut(line, "Discovery: ")
	s.url = strings.TrimSuffix(strings.TrimSpace(at), "/.well-known/openid-configuration")
	go io.Copy(io.Discard, out)
	return s
}

// stop ends it as a supervisor does.
func (s *served) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, s.errs)
	}
}

// examples copies examples/ into a directory, with other ports than those in the files.
func examples(t *testing.T, change ...string) string {
	t.Helper()
	dir := t.TempDir()
	paths, err := filepath.Glob("../../examples/*.*")
	if err != nil || len(paths) < 5 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(strings.NewReplacer(change...).Replace(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Nothing but `serve`, `apply` and two files: somebody signs in to each of the tools by its own way to
// authenticate, and the claims are there.
func TestServeAndApplyAreAllThatABlackBoxNeeds(t *testing.T) {
	idp := &fakeidp.Provider{Name: "Testers", Kind: fakeidp.OIDC, Now: time.Now, Auto: "ada-0001",
		People: []fakeidp.Person{{ID: "ada-0001", Email: "ada@testers.example", EmailVerified: true, Name: "Ada Lovelace", Given: "Ada", Family: "Lovelace"}}}
	srv, err := idp.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	dir := examples(t, "127.0.0.1:9901", strings.TrimPrefix(idp.Base, "http://"), "127.0.0.1:9910", "127.0.0.1:5555")
	env := []string{"UPSTREAM_SECRET=the-secret-of-the-upstream", "TOOL_SECRET=the-secret-of-all-the-tools-of-a-test"}
	config := []string{"--config", "blackbox-config.yaml"}

	s := serveProgram(t, dir, env, append(config, "--issuer", "http://localhost:0", "--listen", "localhost:0")...)
	idp.AddClient(fakeidp.Client{ID: "vestibule", Secret: "the-secret-of-the-upstream", Redirects: []string{upstream.ReturnURL(s.url, "con_01k9vestibuleblackbo000001")}})
	if status, said := program(t, dir, env, append([]string{"plan", "-f", "blackbox.yaml"}, config...)...); status != 2 || !strings.Contains(said, "+ person ada@testers.example") {
		t.Fatalf("plan ended with %d:\n%s", status, said)
	}
	if status, said := program(t, dir, env, append([]string{"apply", "-f", "blackbox.yaml"}, config...)...); status != 0 || strings.Contains(said, env[0]) {
		t.Fatalf("apply ended with %d:\n%s", status, said)
	}
	if status, said := program(t, dir, env, append([]string{"plan", "-f", "blackbox.yaml"}, config...)...); status != 0 || !strings.Contains(said, "Nothing to change.") {
		t.Errorf("plan ended with %d:\n%s", status, said)
	}

	w := &world{t: t, url: s.url, secret: strings.TrimPrefix(env[1], "TOOL_SECRET=")}
	for _, tool := range []string{"tool-basic", "tool-post", "tool-public", "tool-no-pkce"} {
		t.Run(tool, func(t *testing.T) { w.signIn(t, tool) })
	}
	limited := 0
	for range 30 {
		if resp, err := http.Get(s.url + "/authorize?client_id=nobody"); err == nil {
			if resp.StatusCode == http.StatusTooManyRequests {
				limited++
			}
			resp.Body.Close()
		}
	}
	if limited > 0 {
		t.Errorf("the limits were not raised: %d", limited)
	}
	s.stop(t)
	again := serveProgram(t, dir, env, append(config, "--issuer", s.url, "--listen", strings.TrimPrefix(s.url, "http://"))...)
	w.signIn(t, "tool-basic")
	again.stop(t)
}

// signIn signs in to one tool of the black box from outside.
func (w *world) signIn(t *testing.T, tool string) {
	t.Helper()
	w.app = broker.App{ClientID: tool}
	b := newBrowser(t)
	r := w.request(func(v url.Values) {
		v.Set("organization", "testers")
		v.Set("scope", "openid profile email address phone")
		if tool == "tool-no-pkce" {
			v.Del("code_challenge")
			v.Del("code_challenge_method")
		}
	})
	var code string
	// The running service follows what another process applied within a second.
	for begun := time.Now(); code == "" && time.Since(begun) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		if p := b.authorize(w, r); p.url.Host == "127.0.0.1:5555" {
			code = p.code(t)
		}
	}
	if code == "" {
		t.Fatalf("nobody was signed in to %s: %s", tool, textOf(b.last.body))
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	if tool != "tool-no-pkce" {
		form.Set("code_verifier", r.verifier)
	}
	authenticate := func(req *http.Request) { req.SetBasicAuth(tool, w.secret) }
	switch tool {
	case "tool-post":
		form.Set("client_id", tool)
		form.Set("client_secret", w.secret)
		authenticate = nil
	case "tool-public":
		form.Set("client_id", tool)
		authenticate = nil
	}
	tok := w.token(form, authenticate)
	if tok.Status != 200 {
		t.Fatalf("%s: %s", tool, tok.raw)
	}
	status, info := w.userinfo(tok.Access)
	for name, want := range map[string]any{
		"name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace", "middle_name": "King", "nickname": "Ada", "preferred_username": "ada",
		"profile": "https://testers.example/ada", "picture": "https://testers.example/ada.png", "website": "https://ada.example", "gender": "female",
		"birthdate": "1815-12-10", "zoneinfo": "Europe/London", "locale": "en-GB", "phone_number": "+442071838750", "phone_number_verified": true,
		"email": "ada@testers.example", "email_verified": true,
	} {
		if info[name] != want {
			t.Errorf("%s: userinfo %d says %s is %v, not %v", tool, status, name, info[name], want)
		}
	}
	if address, ok := info["address"].(map[string]any); !ok || address["locality"] != "London" || address["postal_code"] != "SW1Y 4JH" {
		t.Errorf("%s: address %v", tool, info["address"])
	}
}

// What another process applies is what a running service does, without a restart.
func TestARunningServiceFollowsAnApply(t *testing.T) {
	dir := examples(t)
	s := serveProgram(t, dir, nil, "--issuer", "http://localhost:0", "--listen", "localhost:0")
	stays := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	status := func(client string) int {
		resp, err := stays.Get(s.url + "/authorize?response_type=code&client_id=" + client + "&redirect_uri=https://p.example/cb&scope=openid&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	becomes := func(what string, client string, want int) {
		t.Helper()
		got := 0
		for begun := time.Now(); got != want && time.Since(begun) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
			got = status(client)
		}
		if got != want {
			t.Errorf("%s: the answer is still %d, not %d", what, got, want)
		}
	}
	if got := status("p"); got != 400 {
		t.Errorf("an unknown app: %d", got)
	}
	const app = "apps: [{client_id: p, token_endpoint_auth_method: none, redirect_uris: [https://p.example/cb]STATUS}]"
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "app.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, said := program(t, dir, nil, "apply", "-f", "app.yaml"); status != 0 {
			t.Fatal(said)
		}
	}
	put(strings.Replace(app, "STATUS", "", 1))
	becomes("an app was added", "p", 303)
	put(strings.Replace(app, "STATUS", ", status: suspended", 1))
	becomes("it was suspended", "p", 403)
	if status, said := program(t, dir, nil, "serve", "--listen", "localhost:0"); status != 1 || !strings.Contains(said, "Another process is serving") {
		t.Errorf("a second serve ended with %d: %s", status, said)
	}
	s.stop(t)
}

// The files of examples/ as an operator would apply them, by their commands.
func TestTheExamplesApplyByTheirCommands(t *testing.T) {
	keys, err := os.ReadFile("../../examples/complete.yaml")
	if err != nil || len(keys) == 0 {
		t.Fatal(err)
	}
	dir := examples(t)
	env := []string{"ACME_CLIENT_SECRET=the-secret-of-acme", "PAYMENTS_SECRET=the-secret-of-payments-in-a-test"}
	if status, said := program(t, dir, env, "plan", "-f", "minimal.yaml"); status != 1 || !strings.Contains(said, "There is no database there.") {
		t.Errorf("a plan without a database: %d\n%s", status, said)
	}
	status, said := program(t, dir, env, "apply", "-f", "minimal.yaml")
	if status != 0 || !strings.Contains(said, "its provider returns people to http://localhost:8080/arrive/con_") || !strings.Contains(said, "made, 0 changed, 0 archived (done).") {
		t.Fatalf("%d\n%s", status, said)
	}
	if status, said = program(t, dir, env, "apply", "-f", "minimal.yaml"); status != 0 || said != "Nothing to change.\n" {
		t.Errorf("%d\n%s", status, said)
	}
	if status, said = program(t, dir, nil, "apply", "-f", "minimal.yaml"); status != 1 || !strings.Contains(said, "minimal.yaml:21:32: organizations[0].connections[0].secrets.client_secret.env: The environment has no variable \"ACME_CLIENT_SECRET\".") {
		t.Errorf("%d\n%s", status, said)
	}
	status, exported := program(t, dir, nil, "export", "--with-hashes")
	if status != 0 || !strings.Contains(exported, "client_id: payments") || strings.Contains(exported, "the-secret") {
		t.Fatalf("%d\n%s", status, exported)
	}
	if err := os.WriteFile(filepath.Join(dir, "exported.yaml"), []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	again := append(env, "VESTIBULE_DATABASE=sqlite:second.db", "VESTIBULE_KEY_FILE=second.key", "ACME_ACME_ID_CLIENT_SECRET=the-secret-of-acme")
	if status, said = program(t, dir, again, "apply", "-f", "exported.yaml"); status != 0 {
		t.Fatalf("%d\n%s", status, said)
	}
	if _, second := program(t, dir, again, "export", "--with-hashes"); second != exported {
		t.Errorf("the second installation says\n%s\nthe first\n%s", second, exported)
	}
}

func TestACommandLineOfManifestsThatIsWrongSaysWhatIs(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		line   string
		status int
		says   string
	}{
		{"apply", 1, "Name the files with -f"},
		{"apply file.yaml", 2, "Files are named with -f."},
		{"plan file.yaml", 1, "Files are named with -f."},
		{"plan -nonsense", 1, "-nonsense"},
		{"apply -f " + empty, 1, "holds no file that ends in .yaml or .yml."},
		{"apply -f " + empty + "/none.yaml", 1, "There is no file " + empty + "/none.yaml."},
		{"export now", 2, "It takes no arguments"},
		{"serve now", 2, "It takes no arguments"},
		{"help apply", 0, "All of it or nothing"},
		{"apply -f ../../examples/vestibule.yaml", 1, `vestibule.yaml:8:1: issuer: There is no key "issuer" here.`},
	} {
		var said bytes.Buffer
		if status := run(t.Context(), strings.Fields(tc.line), &said, &said); status != tc.status || !strings.Contains(said.String(), tc.says) {
			t.Errorf("vestibule %s: status %d, want %d, and %q in\n%s", tc.line, status, tc.status, tc.says, &said)
		}
	}
}

// inProcess is a service of these settings, in this process.
func inProcess(t *testing.T, env ...string) (*service, *bytes.Buffer) {
	t.Helper()
	return inProcessBy(t, time.Now, env...)
}

// inProcessBy is inProcess on a machine with another clock.
func inProcessBy(t *testing.T, now func() time.Time, env ...string) (*service, *bytes.Buffer) {
	t.Helper()
	env = append([]string{"VESTIBULE_LISTEN=127.0.0.1:0"}, env...)
	if !slices.ContainsFunc(env, func(line string) bool { return strings.HasPrefix(line, "VESTIBULE_DATABASE=") }) {
		env = append(env, "VESTIBULE_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "v.db"))
	}
	s, err := readSettings("", nil, env)
	if err != nil {
		t.Fatal(fault.Of(err).Public)
	}
	s.now = now
	var logged bytes.Buffer
	before := slog.Default()
	v, err := openService(t.Context(), s, slog.New(slog.NewTextHandler(&lockedBuffer{b: &logged}, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return v, &logged
}

// certificateFor writes a certificate for a host, good until then, and gives the two files.
func certificateFor(t *testing.T, dir, host string, until time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestItServesHTTP2OverTLSAndTakesANewCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificateFor(t, dir, "login.example.com", time.Now().Add(time.Hour))
	v, _ := inProcess(t, "VESTIBULE_ISSUER=https://login.example.com", "VESTIBULE_TLS_CERT="+cert, "VESTIBULE_TLS_KEY="+key)
	at := v.listeners[0].Addr().String()
	ask := func() (*http.Response, error) {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "login.example.com"}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+at+"/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "login.example.com"
		return client.Do(req)
	}
	resp, err := ask()
	if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Fatalf("%+v, %v", resp, err)
	}
	first := resp.TLS.PeerCertificates[0].SerialNumber
	certificateFor(t, dir, "login.example.com", time.Now().Add(2*time.Hour))
	if err := v.pair.load(time.Now()); err != nil {
		t.Fatal(err)
	}
	if resp, err = ask(); err != nil || resp.TLS.PeerCertificates[0].SerialNumber.Cmp(first) == 0 {
		t.Errorf("the old certificate is still in use: %v", err)
	}
	// Half of a change, as when a tool writes one file after the other, leaves what is in use.
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.pair.load(time.Now()); err == nil {
		t.Error("a broken key was taken")
	}
	if _, err = ask(); err != nil {
		t.Error(err)
	}
	if _, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestTLSFilesThatDoNotFitAreRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	cert, key := certificateFor(t, dir, "login.example.com", time.Now().Add(time.Hour))
	_, strange := certificateFor(t, other, "login.example.com", time.Now().Add(time.Hour))
	wrongHost, wrongKey := certificateFor(t, t.TempDir(), "other.example.com", time.Now().Add(time.Hour))
	over, overKey := certificateFor(t, t.TempDir(), "login.example.com", time.Now().Add(-time.Hour))
	for _, tc := range []struct{ cert, key, says string }{
		{cert, strange, "do not fit: they must be PEM"},
		{dir + "/none", key, "there is no file " + dir + "/none."},
		{wrongHost, wrongKey, "is not a certificate for login.example.com, the issuer's host."},
		{over, overKey, "Renew it."},
	} {
		_, err := openPair(tc.cert, tc.key, "login.example.com", time.Now())
		if err == nil || !strings.Contains(fault.Of(err).Public, tc.says) {
			t.Errorf("%v is not %q", err, tc.says)
		}
	}
}

func TestAnUnknownHostIsMisdirected(t *testing.T) {
	v, _ := inProcess(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+v.listeners[0].Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "mallory.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%v, %v", resp, err)
	}
}

// Who asks is whom a trusted proxy names; what anybody else claims is not read.
func TestForwardedAddressesAreBelievedOfProxiesAlone(t *testing.T) {
	for _, tc := range []struct {
		proxies string
		limited bool
	}{{"", true}, {"VESTIBULE_TRUSTED_PROXIES=10.0.0.0/8", true}, {"VESTIBULE_TRUSTED_PROXIES=127.0.0.1", false}} {
		v, _ := inProcess(t, tc.proxies, "VESTIBULE_LIMITS_AUTHORIZE_PER_NETWORK=8/hour", "VESTIBULE_ISSUER=http://localhost:0")
		limited := false
		for i := range 12 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.settings.Issuer+"/authorize?client_id=x&response_type=code", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			limited = limited || resp.StatusCode == http.StatusTooManyRequests
		}
		if limited != tc.limited {
			t.Errorf("%s: limited %v", tc.proxies, limited)
		}
	}
}

// S54: what a made-up provider signs is believed by a demonstration and by a service for development, and
// by no other, whatever its connections say.
func TestS54MadeUpProvidersAreNotBelieved(t *testing.T) {
	for _, real := range []bool{false, true} {
		w := worldIn(t, t.TempDir(), func(c *config) { c.Real = real })
		acme, retail := w.addOIDC("acme", nil), w.addSAML("retail", nil)
		for _, c := range []company{acme, retail} {
			p := newBrowser(t).authorize(w, w.request(in(c.org)))
			if got := p.url.Host == "127.0.0.1:5555"; got == real {
				t.Errorf("real %v: %s %d %s", real, p.url, p.status, textOf(p.body))
			}
		}
	}
}

// S54: a made-up world is not served on a real address.
func TestS54ADemonstrationIsNotServed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "demo.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--listen", "localhost:0", "--database", "sqlite:" + dir + "/vestibule.db"}, &said, &said); status != 1 ||
		!strings.Contains(said.String(), "it is a demonstration, whose made-up providers let anybody in as anybody.") {
		t.Errorf("%d: %s", status, &said)
	}
	if _, err := os.Stat(filepath.Join(dir, "vestibule.db")); err == nil {
		t.Error("it made a database there")
	}
}

func TestTwoServicesDoNotListenAtOneAddress(t *testing.T) {
	v, _ := inProcess(t)
	var said bytes.Buffer
	at := v.listeners[0].Addr().String()
	if status := run(t.Context(), []string{"serve", "--listen", at, "--database", "sqlite:" + t.TempDir() + "/v.db"}, &said, &said); status != 1 ||
		!strings.Contains(said.String(), "--listen: "+at+" is in use. Stop what listens there, or listen elsewhere with --listen.") {
		t.Errorf("%d: %s", status, &said)
	}
}

// A path that was mistyped begins no empty installation beside the real one.
func TestADirectoryThatIsNotThereIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tpyo")
	file := filepath.Join(t.TempDir(), "one.yaml")
	write(t, file, "realms:\n  - handle: one\n")
	for _, line := range []string{"serve --listen localhost:0", "apply -f " + file, "migrate", "doctor"} {
		var said bytes.Buffer
		status := run(t.Context(), append(strings.Fields(line), "--database", "sqlite:"+dir+"/vestibule.db"), &said, &said)
		if status != 1 || line != "doctor" && !strings.Contains(said.String(), "There is no directory where the database shall lie. Check the path for a slip") {
			t.Errorf("%s: %d: %s", line, status, &said)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Fatalf("%s made the directory", line)
		}
	}
}
