package main

import (
	"embed"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/template"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// framework is what an app written with it expects to be registered as, and how it is told.
type framework struct {
	name, title string
	// local is where its development server answers, unless its developer says otherwise.
	local string
	// callbacks and ended are paths under the app's address: its redirect URIs, and where it lets people be
	// sent after they signed out. "" is the address alone, as some libraries write it.
	callbacks, ended []string
	method           broker.ClientMethod
	alg              string
	refresh          bool
	// proof is the file whose lines run in our tests, the page's first; its others lie beside it. "" is none,
	// and the page says so.
	proof string
}

// frameworks are those of `app create --for`. A new one is a line here and a file in quickstarts; the
// manual's page is made from both.
var frameworks = []framework{
	{"express", "Express, with express-openid-connect", "http://localhost:3000", paths("/callback"), paths("", "/"), broker.SecretBasic, "RS256", true, "examples/apps/express/app.mjs"},
	{"go", "Go, with go-oidc and x/oauth2", "http://localhost:3000", paths("/callback"), paths("/"), broker.SecretBasic, "ES256", true, "examples/apps/go/main.go"},
	{"flask", "Python, with Flask and Authlib", "http://localhost:5000", paths("/callback"), paths("/"), broker.SecretBasic, "ES256", true, "examples/apps/python/app.py"},
	{"nextjs", "Next.js, with Auth.js", "http://localhost:3000", paths("/api/auth/callback/vestibule"), paths("/"), broker.SecretBasic, "RS256", true, "examples/apps/nextjs/auth.ts"},
	{"spring", "Spring Boot, with Spring Security", "http://localhost:8081", paths("/login/oauth2/code/vestibule"), paths("", "/"), broker.SecretBasic, "RS256", true, "examples/apps/spring/src/main/java/app/SecurityConfig.java"},
	{"aspnet", "ASP.NET Core", "http://localhost:5000", paths("/signin-oidc"), paths("/signout-callback-oidc"), broker.SecretPost, "RS256", true, ""},
	{"django", "Django, with mozilla-django-oidc", "http://localhost:8000", paths("/oidc/callback/"), paths("/"), broker.SecretPost, "RS256", false, "examples/apps/django/settings.py"},
	{"rails", "Rails, with OmniAuth", "http://localhost:3000", paths("/auth/openid_connect/callback"), paths("/"), broker.SecretBasic, "RS256", false, "examples/apps/rails/config/initializers/omniauth.rb"},
	{"laravel", "Laravel, with Socialite", "http://localhost:8000", paths("/auth/callback"), paths("/"), broker.SecretPost, "RS256", false, ""},
	{"spa", "A single-page app, with oidc-client-ts", "http://localhost:5173", paths("/callback"), paths("/"), broker.NoSecret, "ES256", true, "examples/apps/spa/auth.ts"},
	{"oauth2-proxy", "Anything behind oauth2-proxy", "http://localhost:4180", paths("/oauth2/callback"), paths("/"), broker.SecretBasic, "RS256", true, "examples/apps/oauth2-proxy/oauth2-proxy.cfg"},
}

func paths(p ...string) []string { return p }

var (
	errFramework = fault.New(fault.Invalid, "vestibule.framework", "Name what the app is written with by --for: express, go, flask, nextjs, spring, aspnet, django, rails, laravel, spa, oauth2-proxy.")
	errAppURL    = fault.New(fault.Invalid, "vestibule.app_url", "The app's address is https://host[:port][/path], or http://localhost[:port] while you develop it: no query, nothing after a #.")
)

func frameworkNames() string {
	names := make([]string, len(frameworks))
	for i, f := range frameworks {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

func frameworkNamed(name string) (framework, error) {
	i := slices.IndexFunc(frameworks, func(f framework) bool { return f.name == name })
	if i < 0 {
		return framework{}, errFramework.Because(fmt.Sprintf("there is no %q", name))
	}
	return frameworks[i], nil
}

// appURL is an address without the slash at its end, as paths are put behind it.
func appURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errAppURL.With(err)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#") {
		return "", errAppURL.Because(raw)
	}
	return strings.TrimRight(raw, "/"), nil
}

// settings are what an app at an address is registered with.
func (f framework) settings(at string) broker.Settings {
	s := broker.Settings{Method: f.method, IDTokenAlg: f.alg, Home: at + "/"}
	for _, p := range f.callbacks {
		s.RedirectURIs = append(s.RedirectURIs, at+p)
	}
	for _, p := range f.ended {
		s.PostLogoutURIs = append(s.PostLogoutURIs, at+p)
	}
	if f.refresh {
		s.Grants = []broker.Grant{broker.GrantCode, broker.GrantRefresh}
	}
	return s
}

//go:embed quickstarts
var quickstartFiles embed.FS

// quickstart is what a developer writes down: parts of quickstarts/NAME.txt, each after a line
// "-- PART --" or, for code, "-- code FILE --".
type quickstart struct {
	install string // commands
	env     string // lines of .env
	code    []codeFile
	start   string // what to run or open then
}

// codeFile is lines of code and the file, of the app's directory, that they go into.
type codeFile struct{ name, text string }

// handed fills a quickstart in.
type handed struct{ Issuer, ClientID, Secret, URL, Port, Callback, Random string }

// IssuerHost is the issuer's host, with its port where it has one.
func (h handed) IssuerHost() string {
	u, err := url.Parse(h.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

// TLS is whether browsers reach the app by https.
func (h handed) TLS() bool { return strings.HasPrefix(h.URL, "https:") }

func (f framework) quickstart(with handed) (quickstart, error) {
	raw, err := quickstartFiles.ReadFile("quickstarts/" + f.name + ".txt")
	if err != nil {
		return quickstart{}, err
	}
	u, err := url.Parse(with.URL)
	if err != nil {
		return quickstart{}, err
	}
	if with.Port = u.Port(); with.Port == "" {
		with.Port = strings.TrimPrefix(f.local, "http://localhost:")
	}
	with.Callback = with.URL + f.callbacks[0]
	// Code of other languages has braces of its own, so ours are brackets.
	t, err := template.New(f.name).Delims("[[", "]]").Option("missingkey=error").Parse(string(raw))
	if err != nil {
		return quickstart{}, err
	}
	var b strings.Builder
	if err := t.Execute(&b, with); err != nil {
		return quickstart{}, err
	}
	var q quickstart
	for part := range strings.SplitSeq("\n"+b.String(), "\n-- ") {
		head, body, ok := strings.Cut(part, " --\n")
		if !ok {
			continue
		}
		body = strings.Trim(body, "\n") + "\n"
		switch kind, file, _ := strings.Cut(head, " "); kind {
		case "install":
			q.install = body
		case "env":
			q.env = body
		case "code":
			q.code = append(q.code, codeFile{file, body})
		case "start":
			q.start = body
		}
	}
	return q, nil
}
