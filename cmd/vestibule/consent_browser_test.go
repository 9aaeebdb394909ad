//go:build !quick

package main

import (
	"net/url"
	"testing"

	"github.com/vestibule-id/vestibule/broker"
	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// asks opens a request of the shop's with more in it than its own page asks for.
func (s *stage) asks(p *browsertest.Page, change func(url.Values)) {
	r := s.request(func(v url.Values) {
		v.Set("redirect_uri", s.shop+"/callback")
		v.Set("organization", "acme")
		change(v)
	})
	s.mu.Lock()
	s.requests[r.Get("state")] = r
	s.mu.Unlock()
	p.Goto(s.url + "/authorize?" + r.Encode())
}

// Consent, the choice of an account and the posted answer work in a real browser, with scripts and without;
// going back and reloading decide nothing.
func TestBrowserChoosesAgreesAndIsPostedToTheApp(t *testing.T) {
	inBrowsers(t, func(t *testing.T, s *stage, o browsertest.Options) {
		s.must(s.h.store.UpdateApp(t.Context(), s.app.ID, func(a *broker.App) error { a.ThirdParty = true; return nil }))
		p := browsertest.New(t, o)
		posted := func(v url.Values) { v.Set("response_mode", "form_post") }
		onward := func() {
			if o.NoScript {
				p.Click("Continue to")
			}
		}
		s.asks(p, posted)
		p.See("Shop wants to use your account", "ada@acme.example")
		p.Reload()
		p.See("Shop wants to use your account")
		p.Click("Don’t allow")
		onward()
		p.See("Not signed in: access_denied")
		s.asks(p, posted)
		p.Click("Allow")
		onward()
		p.See("Signed in at acme")
		s.asks(p, func(v url.Values) { posted(v); v.Set("prompt", "select_account") })
		p.See("Choose an account", "a…@acme.example", "Use another account")
		p.Click("a…@acme.example")
		onward()
		p.See("Signed in at acme")
		s.asks(p, func(v url.Values) { v.Set("prompt", "select_account consent") })
		p.Click("a…@acme.example")
		p.See("Shop wants to use your account")
		p.Back()
		p.Forward()
		p.See("Shop wants to use your account")
		p.Click("Allow")
		p.See("Signed in at acme")
	})
}
