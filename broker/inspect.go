package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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
}

// inspect checks an access token, signed or opaque, and asks the door again for whom it is of. Its
// audience is the caller's to judge.
func (b *Broker) inspect(ctx context.Context, token string) (inspected, error) {
	c, err := b.readAccess(ctx, token)
	if err != nil {
		return inspected{}, err
	}
	id, _, _ := strings.Cut(c.ID, ".")
	g, err := b.standing(ctx, c.OrgID, directory.GrantID(id))
	if err != nil {
		return inspected{}, err
	}
	a, err := b.admitGrant(ctx, g, g.App)
	if err != nil {
		return inspected{}, notGood(err)
	}
	if c.Subject != a.subject {
		return inspected{}, errNotGood // the grant says who it is; its token must say the same
	}
	return inspected{c, g, a}, nil
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

// standing finds a grant that was not revoked, and nothing that it came from.
func (b *Broker) standing(ctx context.Context, org directory.OrgID, id directory.GrantID) (TokenGrant, error) {
	g, err := b.notRevoked(ctx, org, id)
	for up, n := g.Parent, 0; err == nil && up != ""; n++ {
		if n == maxExchanges {
			return g, errNotGood
		}
		var parent TokenGrant
		parent, err = b.notRevoked(ctx, org, up)
		up = parent.Parent
	}
	return g, err
}

func (b *Broker) notRevoked(ctx context.Context, org directory.OrgID, id directory.GrantID) (TokenGrant, error) {
	g, err := b.Tokens.Token(ctx, org, id)
	if errors.Is(err, ErrGrantNotFound) || err == nil && !g.RevokedAt.IsZero() {
		return TokenGrant{}, errNotGood
	}
	return g, err
}

// ladder is the authentication contexts from the weakest up.
var ladder = []string{acrOne}

// within holds an exchanged token to its subject: the same auth_time and amr, no stronger acr, no later end.
func (c *accessClaims) within(subject accessClaims) {
	c.Expires, c.AuthTime, c.AMR = min(c.Expires, subject.Expires), subject.AuthTime, subject.AMR
	if slices.Index(ladder, subject.ACR) < slices.Index(ladder, c.ACR) {
		c.ACR = subject.ACR
	}
}
