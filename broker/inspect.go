package broker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/fault"
)

// errNotGood: a token is not ours, is over, was called back, or whose it is may not in any more. Who asks
// is never told which.
var errNotGood = errors.New("the token is not good")

// inspected is an access token of ours that is good now.
type inspected struct {
	claims    accessClaims
	grant     TokenGrant // zero when an app acts for itself
	admission Admission  // zero then, too
	depth     int        // how often it was exchanged
}

// inspect checks an access token, signed or opaque, and asks the door again for whom it is of. Its
// audience is the caller's to judge.
func (b *Broker) inspect(ctx context.Context, token string) (inspected, error) {
	c, err := b.readAccess(ctx, token)
	if err != nil {
		return inspected{}, err
	}
	return b.admitted(ctx, c)
}

// admitted asks the door for whom a token that was read is of.
func (b *Broker) admitted(ctx context.Context, c accessClaims) (inspected, error) {
	id, _, person := strings.Cut(c.ID, ".")
	if !person {
		return b.acts(ctx, c)
	}
	g, above, err := b.standing(ctx, c.OrgID, directory.GrantID(id))
	if err != nil {
		return inspected{}, err
	}
	for _, up := range above { // what came of an app's token is worth nothing when that would not be good
		if _, err := b.admitGrant(ctx, up, up.App); err != nil {
			return inspected{}, notGood(err)
		}
	}
	a, err := b.admitGrant(ctx, g, g.App)
	if err != nil {
		return inspected{}, notGood(err)
	}
	if c.Subject != a.subject {
		return inspected{}, errNotGood // the grant says who it is; its token must say the same
	}
	return inspected{c, g, a, len(above)}, nil
}

// acts asks the door for an app whose token is for itself.
func (b *Broker) acts(ctx context.Context, c accessClaims) (inspected, error) {
	app, err := b.Apps.AppByClientID(ctx, c.Client)
	if err != nil {
		return inspected{}, notGood(err)
	}
	if c.Subject != app.ClientID || !app.may(GrantClient) {
		return inspected{}, errNotGood
	}
	if _, err := b.admitApp(ctx, app.ID, c.OrgID); err != nil {
		return inspected{}, notGood(err)
	}
	return inspected{claims: c}, nil
}

// notGood: a part of ours that fails says nothing of the token.
func notGood(err error) error {
	if k := fault.Of(err).Kind; k == fault.Internal || k == fault.Unavailable {
		return err
	}
	return errNotGood
}

// readAccess reads an access token that is not over and was not called back.
func (b *Broker) readAccess(ctx context.Context, token string) (accessClaims, error) {
	c, err := b.accessClaims(ctx, token)
	if err != nil {
		return c, err
	}
	if c.Issuer != b.Issuer || b.Now().Unix() >= c.Expires {
		return c, errNotGood
	}
	return c, nil
}

func (b *Broker) accessClaims(ctx context.Context, token string) (c accessClaims, err error) {
	if strings.HasPrefix(token, opaquePrefix) {
		t, err := b.Access.AccessByHash(ctx, hashOf(token))
		if errors.Is(err, ErrGrantNotFound) {
			return c, errNotGood
		}
		if err != nil {
			return c, err
		}
		return c, json.Unmarshal(t.Claims, &c)
	}
	body, err := b.Keys.verify(token, "at+jwt")
	if err != nil || json.Unmarshal(body, &c) != nil {
		return c, errNotGood
	}
	back, err := b.Access.CalledBack(ctx, c.OrgID, c.ID)
	if err == nil && back {
		err = errNotGood
	}
	return c, err
}

// maxExchanges is how often a token may be exchanged on.
const maxExchanges = 4

// standing finds a grant that was not revoked, and those that it came from, which were not either.
func (b *Broker) standing(ctx context.Context, org directory.OrgID, id directory.GrantID) (g TokenGrant, above []TokenGrant, err error) {
	g, err = b.notRevoked(ctx, org, id)
	for up := g.Parent; err == nil && up != ""; {
		if len(above) == maxExchanges {
			return g, above, errNotGood
		}
		var parent TokenGrant
		parent, err = b.notRevoked(ctx, org, up)
		above, up = append(above, parent), parent.Parent
	}
	return g, above, err
}

func (b *Broker) notRevoked(ctx context.Context, org directory.OrgID, id directory.GrantID) (TokenGrant, error) {
	g, err := b.Tokens.Token(ctx, org, id)
	if errors.Is(err, ErrGrantNotFound) || err == nil && !g.RevokedAt.IsZero() {
		return TokenGrant{}, errNotGood
	}
	return g, err
}

// within holds an exchanged token to its subject: the same auth_time and amr, no stronger acr, no later end.
func (c *accessClaims) within(subject accessClaims) {
	c.Expires, c.AuthTime, c.AMR = min(c.Expires, subject.Expires), subject.AuthTime, subject.AMR
	if rungOf(c.ACR) > rungOf(subject.ACR) {
		c.ACR = subject.ACR
	}
}
