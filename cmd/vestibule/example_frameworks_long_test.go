//go:build long && !quick

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Other people's software that takes minutes to fetch and build. It is run as its quickstart has it.

func TestTheSpringExampleSignsPeopleInAndOut(t *testing.T) {
	f := &framed{
		framework: "spring", login: "/", logout: "/logout", start: springExample,
		mistakes: []mistake{
			{says: "[invalid_token_response] An error occurred while attempting to retrieve the OAuth 2.0 Access Token Response: 401 Unauthorized: [no body]", env: []string{"SPRING_SECURITY_OAUTH2_CLIENT_REGISTRATION_VESTIBULE_CLIENT_SECRET=another-one-that-is-long-enough"}},
			{says: `The Issuer "https://login.example.com" provided in the configuration metadata did not match the requested issuer "https://login.example.com/"`, env: []string{"SPRING_SECURITY_OAUTH2_CLIENT_PROVIDER_VESTIBULE_ISSUER_URI=%s/"}},
			{says: `Unable to resolve Configuration with the provided Issuer of "http://localhost:9"`, env: []string{"SPRING_SECURITY_OAUTH2_CLIENT_PROVIDER_VESTIBULE_ISSUER_URI=http://localhost:9"}},
			{says: "[invalid_id_token] An error occurred while attempting to decode the Jwt: Signed JWT rejected: Another algorithm expected, or no matching key(s) found", app: "    id_token_signed_response_alg: ES256\n"},
			{says: "[invalid_grant] the code is unknown, expired, used, or was issued for another client, redirect_uri or code_verifier", answer: map[string]string{"code": "made-up"}},
			{says: "[authorization_request_not_found]", elsewhere: true},
			{says: "[invalid_nonce]", ask: map[string]string{"nonce": "another"}},
			{says: "[invalid_request] code_challenge is missing: PKCE with S256 is required", ask: map[string]string{"code_challenge": "", "code_challenge_method": ""}},
		},
	}
	framedApp(t, hostOfApps(t), f)
}

func springExample(t *testing.T, at string) *exec.Cmd {
	java, mvn := found(t, "java", "default-jdk-headless"), found(t, "mvn", "maven")
	sources := "src/main/java/app/"
	built := installedFrom(t, filepath.Join(exampleDir, "spring"), "example-spring", func(string) *exec.Cmd {
		return exec.CommandContext(t.Context(), mvn, "--quiet", "--batch-mode", "package")
	}, "pom.xml", sources+"App.java", sources+"SecurityConfig.java")
	cmd := exec.CommandContext(t.Context(), java, "-XX:TieredStopAtLevel=1", "-jar", filepath.Join(built, "target", "app.jar"))
	cmd.Env = []string{"LOGGING_LEVEL_ORG_SPRINGFRAMEWORK_SECURITY=TRACE"}
	return cmd
}

// Rails with OmniAuth, as Debian packages them: its OpenID Connect is GitLab's fork, which knows no PKCE.
func TestTheRailsExampleSignsPeopleInAndOut(t *testing.T) {
	framedApp(t, hostOfApps(t), &framed{
		framework: "rails", login: "/login", button: "/auth/openid_connect", logout: "/logout", start: railsExample,
		app: "    pkce_exempt: true\n",
		mistakes: []mistake{
			{says: "Rack::OAuth2::Client::Error (invalid_client :: the client could not be authenticated)", env: []string{"OIDC_CLIENT_SECRET=another-one-that-is-long-enough"}},
			{says: "Rack::OAuth2::Client::Error (invalid_grant :: the code is unknown, expired, used, or was issued for another client, redirect_uri or code_verifier)", answer: map[string]string{"code": "made-up"}},
			{says: "CallbackError (csrf_detected | Invalid 'state' parameter)", again: true},
			{says: "CallbackError (invalid_scope | the scope must contain openid)", ask: map[string]string{"scope": "profile"}},
			{says: "OpenIDConnect::Discovery::DiscoveryFailed (Issuer mismatch)", env: []string{"OIDC_ISSUER=%s/"}},
			{says: "OpenIDConnect::Discovery::DiscoveryFailed (Connection refused - Connection refused", env: []string{"OIDC_ISSUER=http://localhost:9"}},
			{says: "CallbackError (invalid_request | code_challenge is missing: PKCE with S256 is required)", app: "    pkce_exempt: false\n"},
		},
	})
}

func railsExample(t *testing.T, at string) *exec.Cmd {
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range []string{"config.ru", "config/application.rb", "config/routes.rb", "config/initializers/omniauth.rb", "app/controllers/sessions_controller.rb"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(exampleDir, "rails", f), filepath.Join(dir, f))
	}
	cmd := exec.CommandContext(t.Context(), found(t, "rackup", "ruby-rails ruby-omniauth-openid-connect ruby-omniauth-rails-csrf-protection"),
		"--server", "webrick", "--host", u.Hostname(), "--port", u.Port(), "config.ru")
	cmd.Dir = dir
	return cmd
}

// oauth2-proxy, built of its module, with the configuration of its quickstart.
func TestTheOAuth2ProxyExampleSignsPeopleInAndOut(t *testing.T) {
	h := hostOfApps(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // shows what it learns
		_ = json.NewEncoder(w).Encode(map[string]string{"email": r.Header.Get("X-Forwarded-Email"), "user": r.Header.Get("X-Forwarded-User"), "org": r.Header.Get("X-Forwarded-Groups"), "path": r.URL.Path})
	}))
	defer app.Close()
	program := builtProxy(t)
	f := &framed{
		framework: "oauth2-proxy", login: "/", shows: []string{`"ada@acme.example"`, `"user":"per_`, `"org":"org_`},
		start: func(t *testing.T, at string) *exec.Cmd {
			return exec.CommandContext(t.Context(), program, "--config", filepath.Join(exampleDir, "oauth2-proxy", "oauth2-proxy.cfg"),
				"--http-address", strings.TrimPrefix(at, "http://"), "--upstream", app.URL+"/")
		},
		mistakes: []mistake{
			{says: `token exchange failed: oauth2: "invalid_client" "the client could not be authenticated"`, env: []string{"OAUTH2_PROXY_CLIENT_SECRET=another-one-that-is-long-enough"}},
			{says: `oidc: issuer did not match the issuer returned by provider, expected "https://login.example.com/" got "https://login.example.com"`, env: []string{"OAUTH2_PROXY_OIDC_ISSUER_URL=%s/"}},
			{says: "Login Failed: Unable to find a valid CSRF token. Please try again.", elsewhere: true},
			{says: "Error while parsing OAuth2 callback: invalid_request", ask: map[string]string{"code_challenge": "", "code_challenge_method": ""}},
			{says: "neither the id_token nor the profileURL set an email", ask: map[string]string{"scope": "openid"}},
			{says: "nonce verification failed: id_token nonce claim does not match the session nonce", env: []string{"OAUTH2_PROXY_INSECURE_OIDC_SKIP_NONCE=false"}, ask: map[string]string{"nonce": "another"}},
			{says: "cookie_secret must be 16, 24, or 32 bytes to create an AES cipher", env: []string{"OAUTH2_PROXY_COOKIE_SECRET=short"}},
		},
	}
	r := f.started(t, h, "The proxy", "", "OAUTH2_PROXY_COOKIE_REFRESH=1s")
	b := r.tried(t)
	comesTrue(t, "it refreshes", func() bool {
		p := b.send(http.MethodGet, r.at+"/later", nil, false)
		return strings.Contains(p.body, `"/later"`) && strings.Contains(r.said.String(), "Refreshing session")
	})
	if said := r.said.String(); strings.Contains(said, "Unable to refresh") {
		t.Errorf("it refreshes in vain:\n%s", said)
	}
	back := url.Values{"client_id": {"the-proxy"}, "post_logout_redirect_uri": {r.at + "/"}}
	p := b.follow(b.send(http.MethodGet, r.at+"/oauth2/sign_out?rd="+url.QueryEscape(h.url+"/logout?"+back.Encode()), nil, false))
	if !strings.HasPrefix(p.url.String(), h.url+"/logout?") || !strings.Contains(textOf(p.body), "The proxy asks to sign you out") {
		t.Errorf("signing out leads to %s %d %s", p.url, p.status, textOf(p.body))
	}
	f.provoked(t, h, r)
}

func builtProxy(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "oauth2-proxy")
	build := exec.CommandContext(t.Context(), found(t, "go", "golang"), "build", "-o", program, "github.com/oauth2-proxy/oauth2-proxy/v7")
	build.Dir = filepath.Join(interopDir, "oauth2-proxy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
