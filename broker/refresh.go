package broker

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/policy"
)

// A refresh token is "vrt_", the family's secret, a dot, and a secret that rotates: 256 random bits each,
// stored as SHA-256. The family's finds the grant, so whoever shows it with a rotating secret that is not
// the present one replays an older token of the family, however old, and the family is revoked (RFC 9700
// section 4.14.2). Whoever makes up a rotating secret without the family's finds nothing and burns nothing.
//
// A refresh leaves no entry in the record: they come every few minutes from every app, the grant says when
// it was last used, and what matters of them, a replay, is recorded.

const (
	refreshPrefix = "vrt_"
	// refreshGrace is how long the same client may show the token before the present one, because the
	// answer that carried the present one was lost, or because several of its processes refreshed at once.
	refreshGrace = 5 * time.Second
	refreshTries = 4
)

var errRefreshToken = &oauthError{"invalid_grant", "the refresh token is unknown, expired, used or revoked, or was issued to another client", http.StatusBadRequest}

// openFamily gives a grant its first refresh token. None is given when policy allows none any more.
func openFamily(g *TokenGrant, p policy.Effective) (token string) {
	until := g.Opened.Add(policy.RefreshLifetime.In(p))
	if !g.CreatedAt.Before(until) {
		return ""
	}
	family, secret := directory.NewSecret(), directory.NewSecret()
	g.Offline, g.ExpiresAt = true, until.Add(policy.AccessLifetime.In(p))
	g.Refresh = Refresh{Family: hashOf(family), Hash: hashOf(secret), Until: until}
	return refreshPrefix + family + "." + secret
}

// splitRefresh takes a refresh token apart.
func splitRefresh(token string) (family, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, refreshPrefix)
	family, secret, two := strings.Cut(rest, ".")
	return family, secret, ok && two && len(family) == secretLen && len(secret) == secretLen
}

// refreshing is a refresh request (RFC 6749 section 6) of an app that proved itself.
type refreshing struct {
	token    string
	scope    string // narrower than the grant's, or "" for the grant's
	resource string
	jkt      string // the DPoP key that the request was proved with; "" is none
}

// refresh gives new tokens for a refresh token. Of several requests at once one rotates it; the others
// find that and are given the same.
func (b *Broker) refresh(ctx context.Context, app App, in refreshing) (tokens, error) {
	family, secret, ok := splitRefresh(in.token)
	if !ok {
		return tokens{}, differs(errRefreshToken, "it is no refresh token of ours")
	}
	var out tokens
	var err error
	for range refreshTries {
		if out, err = b.refreshOnce(ctx, app, in, family, secret); !errors.Is(err, ErrMoved) {
			break
		}
	}
	return out, err
}

func (b *Broker) refreshOnce(ctx context.Context, app App, in refreshing, family, secret string) (tokens, error) {
	g, err := b.Families.TokenByFamily(ctx, hashOf(family))
	if errors.Is(err, ErrGrantNotFound) {
		return tokens{}, differs(errRefreshToken, "it is unknown, or was over long ago")
	}
	if err != nil {
		return tokens{}, err
	}
	now := b.Now()
	if err := g.refreshable(app, in, now); err != nil {
		return tokens{}, err
	}
	t, ok := g.turn(secret, app, now)
	if !ok {
		return tokens{}, b.refreshReplayed(ctx, g, now)
	}
	scope, err := narrowed(in.scope, g.Scope)
	if err != nil {
		return tokens{}, err
	}
	aud, err := b.audience(app, in.resource, g.Resources)
	if err != nil {
		return tokens{}, err
	}
	a, err := b.admitGrant(ctx, g, g.App)
	if err != nil {
		return tokens{}, notAdmitted(err, errRefreshToken)
	}
	// OpenID Connect Core section 12.2: the same sub, auth_time and sid, and no nonce.
	m, err := b.mint(ctx, a, minting{grant: g.ID, scope: scope, aud: aud, jkt: in.jkt, sid: g.SID, claims: asked(g.Claims)})
	if err != nil {
		return tokens{}, err
	}
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := b.stands(ctx, a); err != nil {
			return err
		}
		if err := b.take(ctx, g, t); err != nil {
			return err
		}
		return b.keepAccess(ctx, g.Org, m)
	})
	if err != nil {
		return tokens{}, err
	}
	m.Refresh = refreshPrefix + family + "." + t.secret
	return m.tokens, nil
}

// refreshable says why a grant gives that app nothing any more, or nil.
func (g TokenGrant) refreshable(app App, in refreshing, now time.Time) error {
	switch {
	case g.App != app.ID:
		return differs(errRefreshToken, "it was issued to another client")
	case !app.may(GrantRefresh):
		return differs(errRefreshToken, app.otherGrant(GrantRefresh))
	case !g.RevokedAt.IsZero():
		return differs(errRefreshToken, "its family was revoked")
	case !now.Before(g.Refresh.Until):
		return differs(errRefreshToken, "it was over at "+g.Refresh.Until.UTC().Format(time.RFC3339))
	case g.JKT != "" && g.JKT != in.jkt:
		return differs(errRefreshToken, otherKey("it", in.jkt))
	}
	return nil
}

// turn is what a refresh makes of the family.
type turn struct {
	secret string   // the rotating secret that the app is given
	next   *Refresh // what is written; nil where another request wrote it
}

// turn judges the rotating secret that was shown: the present one, or the one before it within the grace.
// Anything else is a replay.
func (g TokenGrant) turn(secret string, app App, now time.Time) (turn, bool) {
	next := g.Refresh
	next.At = now
	switch hashOf(secret) {
	case g.Refresh.Hash:
		if app.keepsRefresh() {
			return turn{secret, &next}, true
		}
		present := directory.NewSecret()
		next.Prev, next.Hash, next.Echo = g.Refresh.Hash, hashOf(present), masked(present, secret)
		return turn{present, &next}, true
	case g.Refresh.Prev:
		present := unmasked(g.Refresh.Echo, secret)
		return turn{secret: present}, now.Sub(g.Refresh.At) <= refreshGrace && hashOf(present) == g.Refresh.Hash
	}
	return turn{}, false
}

// keepsRefresh says whether the app's refresh tokens stay as they are: where its tokens are worth nothing
// without its keys, rotating adds no safety (S48, FAPI 2.0 Security Profile section 5.3.2.1).
func (a App) keepsRefresh() bool {
	return a.confidential() && (a.FAPI || a.KeepRefresh && a.DPoP)
}

// take writes a turn, or makes sure that what another request wrote still stands.
func (b *Broker) take(ctx context.Context, g TokenGrant, t turn) error {
	if t.next != nil {
		ok, err := b.Families.RotateRefresh(ctx, g.Org, g.ID, g.Refresh.Hash, *t.next)
		if err == nil && !ok {
			return ErrMoved.Because("refreshed or revoked meanwhile")
		}
		return err
	}
	now, err := b.Tokens.Token(ctx, g.Org, g.ID)
	if err == nil && (!now.RevokedAt.IsZero() || now.Refresh.Hash != g.Refresh.Hash) {
		return ErrMoved.Because("refreshed or revoked meanwhile")
	}
	return err
}

// refreshReplayed revokes the family of a refresh token that was used before: either the app or a thief
// has an older copy, and nobody can tell which.
func (b *Broker) refreshReplayed(ctx context.Context, g TokenGrant, now time.Time) error {
	if err := b.revokeReplayed(ctx, g, now, "refresh token replayed"); err != nil {
		return err
	}
	return differs(errRefreshToken, "it was used before: its whole family is revoked now")
}

// revokeReplayed ends a grant whose code or refresh token was used before. It is recorded once, however
// often that is repeated (S43).
func (b *Broker) revokeReplayed(ctx context.Context, g TokenGrant, now time.Time, reason string) error {
	return b.Tx.InTx(ctx, func(ctx context.Context) error {
		ended, err := b.Tokens.RevokeToken(ctx, g.Org, g.ID, now, reason)
		if err != nil || !ended {
			return err
		}
		return b.record(ctx, g.Org, g.Person, audit.TokenReplayed, audit.Ref{Kind: "app", ID: string(g.App)}, map[string]string{"grant": string(g.ID)})
	})
}

// narrowed is the scope that is asked for, which the grant must have (RFC 6749 section 6).
func narrowed(asked string, had []string) ([]string, error) {
	if asked == "" {
		return had, nil
	}
	scope := strings.Fields(asked)
	for _, s := range scope {
		if !slices.Contains(had, s) {
			return nil, differs(errScope, oneOf("granted", had, s))
		}
	}
	slices.Sort(scope)
	return slices.Compact(scope), nil
}

var errScope = &oauthError{"invalid_scope", "more is asked for than was granted", http.StatusBadRequest}

// masked hides the present rotating secret from everybody but whoever has the one before it.
func masked(present, before string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(present)
	if err != nil {
		return nil
	}
	return xored(raw, before)
}

// unmasked is the present rotating secret, for whoever has the one before it.
func unmasked(echo []byte, before string) string {
	return base64.RawURLEncoding.EncodeToString(xored(echo, before))
}

func xored(data []byte, secret string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "refresh echo", sha256.Size)
	if err != nil || len(data) != len(key) {
		return nil
	}
	out := make([]byte, len(key))
	subtle.XORBytes(out, data, key)
	return out
}
