package browsertest

// This file holds a device that keeps passkeys.

import (
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Passkeys is the device of a page's tab, with a screen lock that its user opens.
type Passkeys struct {
	p  *Page
	id webauthn.AuthenticatorID
}

// Passkeys plugs the device in. Its user is there until Away says otherwise.
func (p *Page) Passkeys() *Passkeys {
	p.t.Helper()
	ctx, cancel := p.bounded()
	defer cancel()
	_, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{})
	p.must(err, "switch passkeys on")
	made, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	p.must(err, "plug a device in")
	return &Passkeys{p, made.AuthenticatorID}
}

// Away says whether the user touches nothing.
func (d *Passkeys) Away(yes bool) {
	d.p.t.Helper()
	ctx, cancel := d.p.bounded()
	defer cancel()
	_, err := chromedp.Call(ctx, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: d.id, Enabled: !yes})
	d.p.must(err, "send the user away")
}

// Locked says whether the screen lock stays shut.
func (d *Passkeys) Locked(yes bool) {
	d.p.t.Helper()
	ctx, cancel := d.p.bounded()
	defer cancel()
	_, err := chromedp.Call(ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: d.id, IsUserVerified: !yes})
	d.p.must(err, "lock the device")
}
