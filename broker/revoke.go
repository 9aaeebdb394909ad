package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
)

var errNotYours = &oauthError{"unauthorized_client", "the token was issued to another client", http.StatusBadRequest}

// revoke takes a token back from the app that gives it up (RFC 7009): a refresh token with everything that
// its family opened, an access token alone. What we do not know is gone already, which is what was asked.
func (b *Broker) revoke(w http.ResponseWriter, r *http.Request) error {
	allowOrigin(w)
	form, app, err := b.program(r)
	if err != nil {
		return err
	}
	token := form.Get("token")
	switch {
	case strings.HasPrefix(token, refreshPrefix):
		err = b.revokeFamily(r.Context(), app, token)
	case strings.HasPrefix(token, opaquePrefix):
		err = b.revokeOpaque(r.Context(), app, token)
	default:
		err = b.revokeSigned(r.Context(), app, token)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusOK)
	return nil
}

// revokeFamily ends a family by any token of it: whoever shows the family's secret held one.
func (b *Broker) revokeFamily(ctx context.Context, app App, token string) error {
	family, _, ok := splitRefresh(token)
	if !ok {
		return nil
	}
	g, err := b.Families.TokenByFamily(ctx, hashOf(family))
	if errors.Is(err, ErrGrantNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if g.App != app.ID {
		return errNotYours
	}
	now := b.Now()
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		ended, err := b.Tokens.RevokeToken(ctx, g.Org, g.ID, now, "given up by the app")
		if err != nil || !ended {
			return err
		}
		ref := audit.Ref{Kind: "app", ID: string(g.App)}
		return b.Audit.Record(ctx, audit.Entry{
			ID: string(directory.NewEntryID(now)), At: now, Org: string(g.Org), Actor: ref, Action: audit.TokenGivenUp,
			Target: audit.Ref{Kind: "person", ID: string(g.Person)}, Detail: map[string]string{"grant": string(g.ID)},
		})
	})
}

// An access token that is given up leaves no entry in the record: it would have been over in minutes.

func (b *Broker) revokeOpaque(ctx context.Context, app App, token string) error {
	t, err := b.Access.AccessByHash(ctx, hashOf(token))
	if errors.Is(err, ErrGrantNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.App != app.ID {
		return errNotYours
	}
	c, err := b.accessClaims(ctx, token)
	if errors.Is(err, errNotGood) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.Access.DropAccess(ctx, c.OrgID, t.Hash)
}

func (b *Broker) revokeSigned(ctx context.Context, app App, token string) error {
	c, err := b.readAccess(ctx, token)
	if errors.Is(err, errNotGood) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Client != app.ClientID {
		return errNotYours
	}
	return b.Access.CallBack(ctx, c.OrgID, c.ID, time.Unix(c.Expires, 0))
}
