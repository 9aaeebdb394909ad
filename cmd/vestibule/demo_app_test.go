package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// This file tries the made-up apps as relying parties: what they must refuse.

// surfer is a browser without scripts that follows redirects as far as it is told.
type surfer struct {
	t      *testing.T
	client *http.Client
}

func newSurfer(t *testing.T) *surfer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &surfer{t, &http.Client{Jar: jar}}
}

// stay makes it stop at the first redirect.
func (s *surfer) stay() *surfer {
	still := *s.client
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &surfer{s.t, &still}
}

type seen struct {
	status   int
	body     string
	at       *url.URL // where it ended
	location *url.URL // where it was sent, when it stays
}

func (s *surfer) get(address string) seen {
	s.t.Helper()
	res, err := s.client.Get(address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	to, _ := res.Location()
	return seen{res.StatusCode, string(body), res.Request.URL, to}
}

func (s *surfer) cookie(site, name string) string {
	u, err := url.Parse(site)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range s.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// robin signs in without a page of the provider's; what is wrong with the answer keeps nobody out.
const robin = "/login?organization=main%2Ftechcorp&login_hint=robin.unverified-email%40techcorp.example"

// answered goes through a sign-in up to the answer that the app would take.
func answered(s *surfer, app string) *url.URL {
	s.t.Helper()
	at := app + robin
	for range 10 {
		got := s.stay().get(at)
		if got.location == nil {
			s.t.Fatalf("%s answers %d:\n%s", at, got.status, got.body)
		}
		if strings.HasPrefix(got.location.String(), app+"/callback") {
			return got.location
		}
		at = got.location.String()
	}
	s.t.Fatal("the sign-in does not end")
	return nil
}

func TestAnAppTakesNoAnswerThatItDidNotAskFor(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	app := d.world.Address("payments")
	for name, change := range map[string]func(s *surfer, q url.Values) *surfer{
		"another state": func(s *surfer, q url.Values) *surfer { q.Set("state", "of-nobody"); return s },
		"no state":      func(s *surfer, q url.Values) *surfer { q.Del("state"); return s },
		// RFC 9207
		"another server's answer":    func(s *surfer, q url.Values) *surfer { q.Set("iss", "https://evil.example"); return s },
		"an answer of no server":     func(s *surfer, q url.Values) *surfer { q.Del("iss"); return s },
		"another browser's answer":   func(s *surfer, _ url.Values) *surfer { return newSurfer(s.t) },
		"an answer taken before":     func(s *surfer, q url.Values) *surfer { s.stay().get(app + "/callback?" + q.Encode()); return s },
		"another code, the same ask": func(s *surfer, q url.Values) *surfer { q.Set("code", "of-nobody"); return s },
	} {
		s := newSurfer(t)
		answer := answered(s, app)
		q := answer.Query()
		got := change(s, q).stay().get(app + "/callback?" + q.Encode())
		if got.status < 400 || !strings.Contains(got.body, "That did not work") {
			t.Errorf("%s: %d, sent to %v", name, got.status, got.location)
		}
	}
	s := newSurfer(t)
	if got := s.get(answered(s, app).String()); !strings.Contains(got.body, "Hello, Robin Wrong") {
		t.Errorf("the answer as it was: %d\n%s", got.status, got.body)
	}
}

// Session fixation: whoever planted a cookie knows nothing after the sign-in.
func TestAnAppGivesAFreshCookieToWhoeverSignsIn(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	app := d.world.Address("payments")
	s := newSurfer(t)
	answer := answered(s, app)
	planted := s.cookie(app, "demo_payments")
	s.get(answer.String())
	if now := s.cookie(app, "demo_payments"); planted == "" || now == planted {
		t.Errorf("the cookie was %q and is %q", planted, now)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", app, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "demo_payments", Value: planted})
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); strings.Contains(string(body), "Robin") {
		t.Error("whoever planted the cookie is signed in as Robin")
	}
}

// The client that the first page offers works where people's apps commonly listen, and nowhere else.
func TestYourAppIsReady(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	s := newSurfer(t)
	page := s.get(d.issuer).body
	provider, err := oidc.NewProvider(t.Context(), d.issuer)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(page, "<dt>Client secret</dt><dd><code>")
	secret, _, _ := strings.Cut(rest, "<")
	for redirect, want := range map[string]bool{
		"http://127.0.0.1:3000/callback":                    true,
		"http://127.0.0.1:61234/":                           true,
		"http://localhost:5173/auth/callback":               true,
		"http://localhost:3000/api/auth/callback/vestibule": true,
		"http://localhost:61234/callback":                   false,
		"http://127.0.0.1:3000/elsewhere":                   false,
		"https://evil.example/callback":                     false,
		"http://127.0.0.1.evil.example:3000/callback":       false,
	} {
		config := oauth2.Config{
			ClientID: "your-app", ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: redirect, Scopes: []string{"openid", "profile"},
		}
		verifier, nonce := oauth2.GenerateVerifier(), "nonce-1"
		at := config.AuthCodeURL("state-1", oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce),
			oauth2.SetAuthURLParam("organization", "techcorp"), oauth2.SetAuthURLParam("login_hint", "robin.unverified-email@techcorp.example"))
		code := ""
		for range 10 {
			got := s.stay().get(at)
			if got.location == nil {
				break
			}
			if at = got.location.String(); strings.HasPrefix(at, redirect) {
				code = got.location.Query().Get("code")
				break
			}
		}
		if (code != "") != want {
			t.Errorf("%s: got the code %q", redirect, code)
		}
		if code == "" {
			continue
		}
		tokens, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
		if err != nil {
			t.Errorf("%s: %v", redirect, err)
			continue
		}
		id, err := provider.Verifier(&oidc.Config{ClientID: "your-app"}).Verify(t.Context(), tokens.Extra("id_token").(string))
		if err != nil || id.Nonce != nonce || !strings.HasPrefix(id.Subject, "per_") {
			t.Errorf("%s: %v, %v", redirect, id, err)
		}
	}
}

// A copy of the session's cookie is worth nothing after Reset: the session itself has ended.
func TestResetEndsTheSessionItself(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	app := d.world.Address("payments")
	s := newSurfer(t)
	s.get(answered(s, app).String())
	copied := newSurfer(t)
	at, err := url.Parse(d.issuer)
	if err != nil {
		t.Fatal(err)
	}
	copied.client.Jar.SetCookies(at, s.client.Jar.Cookies(at))
	silent := app + "/switch?organization=main%2Ftechcorp"
	if got := copied.get(silent); !strings.Contains(got.body, "Hello, Robin Wrong") {
		t.Fatalf("before Reset the copy is not good either: %d at %s", got.status, got.at)
	}
	res, err := s.client.Post(d.issuer+"/demo/reset", "application/x-www-form-urlencoded", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := copied.get(silent); strings.Contains(got.body, "Hello") || !strings.Contains(got.body, "Who are you?") {
		t.Errorf("after Reset the copy leads to %s", got.at)
	}
}
