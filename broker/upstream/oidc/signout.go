package oidc

import (
	"context"
	"net/url"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// SignOut builds an RP-Initiated Logout (OpenID Connect RP-Initiated Logout 1.0 section 2). We keep no id token
// of the provider's to show as a hint, so we say who we are and whom we mean, and the provider may ask the
// person. A provider that has no such address gets nobody sent: the zero Departure.
func (p *provider) SignOut(ctx context.Context, s upstream.SignOut) (upstream.Departure, error) {
	m, err := p.metadata(ctx)
	if err != nil || m.endSession == "" {
		return upstream.Departure{}, err
	}
	u, err := url.Parse(m.endSession)
	if err != nil {
		return upstream.Departure{}, ErrDiscovery.With(err)
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.Return)
	q.Set("state", s.State)
	if h := hint(s.Hint); h != "" {
		q.Set("logout_hint", h)
	}
	u.RawQuery = q.Encode()
	return upstream.Departure{URL: u.String()}, nil
}
