//go:build !quick

package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// A second step is set up and given in a real browser, with scripts and without; reloading and going back
// ask the same, and nothing is lost by a wrong answer.
func TestBrowserSetsUpAnAuthenticatorAppAndIsAskedForItsCode(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		acme := s.acme
		s.policy(acme.org, map[string]string{"mfa.requirement": `"always"`, "mfa.methods": `["totp", "passkey"]`})
		name := "mfa"
		if o.NoScript {
			name = "mfa-noscript"
		}
		p := browsertest.New(t, o)
		s.asks(p, func(url.Values) {})
		if strings.Contains(p.Text(), "Set up a second step") {
			p.Screenshot(name + "-kinds")
			p.Click("Authenticator app")
		}
		p.See("Set up an authenticator app", "Required by Acme")
		p.Screenshot(name + "-enrol")
		p.Axe()
		key := authenticator{s.world, keyOf(p)}
		p.Reload()
		if again := keyOf(p); again != key.key {
			t.Error("reloading made another key: whoever scanned the first one is lost")
		}
		gives(p, o, key.wrong())
		p.See("didn’t match", "4 tries left")
		p.Screenshot(name + "-enrol-wrong")
		p.Fill("6-digit code", key.code(0))
		p.Click("Turn on")
		p.Screenshot(name + "-codes")
		p.Click("I have kept them")
		p.See("Signed in at acme")
		s.clock.pass(time.Minute)
		q := p.NewContext()
		s.asks(q, func(url.Values) {})
		q.See("Enter your code")
		q.Screenshot(name + "-code")
		q.Axe()
		gives(q, o, key.wrong())
		q.See("didn’t match")
		q.Screenshot(name + "-code-wrong")
		q.Fill("6-digit code", key.code(0))
		q.Click("Verify")
		q.See("Signed in at acme")
	})
}

// gives pastes a code with a space in it, as apps show it: scripts send it at once.
func gives(p *browsertest.Page, o browsertest.Options, code string) {
	code = strings.ReplaceAll(code, " ", "")
	pasted := code[:3] + " " + code[3:]
	if o.NoScript {
		p.Fill("6-digit code", pasted)
		p.Press("Enter")
		return
	}
	var done bool
	p.Eval(`(() => { const i = document.querySelector("#code"); i.value = "`+pasted+`"; i.dispatchEvent(new Event("input")); return true })()`, &done)
}

// keyOf reads the key that the page shows to whoever cannot scan.
func keyOf(p *browsertest.Page) string {
	var key string
	p.Eval(`document.querySelector("#secret").textContent.replaceAll(" ", "")`, &key)
	return key
}
