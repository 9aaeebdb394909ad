//go:build !quick

package main

import (
	"net/url"
	"testing"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// A passkey is set up, signs in alone and confirms in a real browser with a device; what is cancelled there
// is told in words and costs no try.
func TestBrowserSetsUpAPasskeyAndSignsInWithIt(t *testing.T) {
	for name, o := range map[string]browsertest.Options{"390": {Width: 390}, "1280": {Width: 1280}} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.policy(s.acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey", "totp"]`, "mfa.phishing_resistant": `true`})
			p := browsertest.New(t, o)
			d := p.Passkeys()
			s.asks(p, func(url.Values) {})
			p.See("Set up a passkey", "Required by Acme")
			p.Screenshot("passkey-enrol-" + name)
			p.Axe()
			d.Locked(true)
			p.Click("Create a passkey")
			p.See("That was stopped")
			p.Screenshot("passkey-enrol-cancelled-" + name)
			d.Locked(false)
			p.Click("Create a passkey")
			p.See("Signed in at acme")

			// Alone, where nobody is known.
			s.policy(s.acme.org, map[string]string{"login.sso_required": `false`})
			p.ClearCookies()
			d.Away(true)
			s.asks(p, func(v url.Values) { v.Del("organization") })
			p.See("Sign in with a passkey")
			p.Screenshot("passkey-sign-in-" + name)
			p.Axe()
			d.Away(false)
			p.Click("Sign in with a passkey")
			p.See("Signed in at acme")

			// As a second step.
			s.policy(s.acme.org, map[string]string{"login.sso_required": `true`})
			p.ClearCookies()
			s.asks(p, func(url.Values) {})
			p.See("Use your passkey", "ada@acme.example")
			p.Screenshot("passkey-factor-" + name)
			p.Axe()
			d.Locked(true)
			p.Click("Continue")
			p.See("That was stopped")
			p.NotSee("tries left")
			d.Locked(false)
			p.Click("Continue")
			p.See("Signed in at acme")
		})
	}
}

// Without script the page says what is missing, and has no button that does nothing.
func TestBrowserWithoutScriptIsToldThatPasskeysNeedIt(t *testing.T) {
	s := onStage(t)
	s.policy(s.acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["passkey", "totp"]`})
	p := browsertest.New(t, browsertest.Options{NoScript: true, Width: 390})
	s.asks(p, func(url.Values) {})
	p.Click("Passkey")
	p.See("Passkeys need JavaScript", "Use another way")
	p.NotSee("Create a passkey")
	p.Screenshot("passkey-noscript")
	p.Click("Use another way")
	p.See("Authenticator app")
}
