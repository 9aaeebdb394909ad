//go:build !quick

package main

import (
	"testing"

	"github.com/vestibule-id/vestibule/internal/browsertest"
)

// "Change a rule and watch": a parent's rule holds below it at once, is not loosened there, and is given by
// the phone of this world; and all is taken back.
func TestChangeARuleAndWatch(t *testing.T) {
	d, _ := startDemo(t, 0, "")
	p := browsertest.New(t, browsertest.Options{})
	p.Goto(d.issuer)
	p.Click("Sign in as Avery Cole")
	p.Click("Continue as Avery Cole")
	p.See("Hello, Avery Cole")
	app := p.URL()
	p.Goto(d.issuer)
	p.Screenshot("rules-first")
	p.Click("MightyBank asks for a second step")
	p.See("Second step: always, required by MightyBank Americas", "After the audit in spring")
	p.Click("Acme Bank tries to do without")
	p.See("Acme Bank tries to do without: refused", "off is looser than always, the loosest that MightyBank Americas allows")
	p.Screenshot("rules-refused")
	p.Axe()
	// Avery is signed in, and is asked for what is missing now.
	q := p.NewTab()
	q.Goto(app)
	p.Goto(d.issuer)
	p.Click("Sign in as Avery Cole")
	if p.Text("h1") == "Set up a second step" {
		p.Click("Authenticator app")
	}
	p.See("Set up an authenticator app", "Required by MightyBank Americas")
	p.Screenshot("rules-enrol")
	key := keyOf(p)
	q.Goto(d.issuer + "/demo/phone")
	q.Fill("Key", "no key")
	q.Click("Add")
	q.See("That is no key")
	q.Fill("Key", key)
	q.Click("Add")
	q.Screenshot("rules-phone")
	q.Axe()
	gives(p, browsertest.Options{}, q.Text("b.mono"))
	p.See("I have kept them")
	p.Screenshot("rules-codes")
	p.Click("I have kept them")
	p.See("Hello, Avery Cole", "You are here for Acme Bank")
	p.Goto(d.issuer)
	p.Click("Take it all back")
	p.See("Second step: off, the default")
}
