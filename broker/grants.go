package broker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

// GrantKind is what opened a grant. Stored, never renamed.
type GrantKind string

const (
	ByCode     GrantKind = "code"
	ByDevice   GrantKind = "device"
	ByExchange GrantKind = "exchange"
)

// TokenGrant is what one redeemed code, one approved device or one exchanged token opened: an OAuth
// grant. Its organization, realm and person never change (S6).
type TokenGrant struct {
	ID      directory.GrantID
	Kind    GrantKind
	Org     directory.OrgID
	Realm   directory.RealmID
	App     directory.AppID
	Person  directory.PersonID
	Session directory.SessionID
	SID     string // the session as the app knows it, for id tokens to come
	// CodeHash is SHA-256 of the code: unique, so that no code redeems twice whatever is forgotten. A grant
	// that no code opened has the hash of a secret that nobody was told.
	CodeHash [sha256.Size]byte
	// BoundHash is SHA-256 over code, client_id, redirect_uri and code_challenge: whoever shows the same
	// again is the app itself or has all its secrets, and the grant is revoked.
	BoundHash [sha256.Size]byte
	Scope     []string
	// Resources are the audiences that the app asked for at the authorization endpoint (RFC 8707).
	Resources []string
	// Claims is the claims parameter of the request (OpenID Connect Core section 5.5); nil when there was none.
	Claims   json.RawMessage
	AuthTime time.Time
	// Offline grants outlive their session (OpenID Connect Core section 11): they are judged by Proofs, those
	// that counted when the grant was opened, and Opened, when the session's sign-in to the organization was.
	Offline bool
	Proofs  []flows.Proof
	Opened  time.Time
	// JKT is the thumbprint of the DPoP key that the refresh token is bound to (RFC 9449 section 5); "" is none.
	JKT string
	// Actor is the act claim of an exchanged token (RFC 8693 section 4.1), Parent the grant of its subject
	// token: what ends that ends this.
	Actor     json.RawMessage
	Parent    directory.GrantID
	Refresh   Refresh
	CreatedAt time.Time
	ExpiresAt time.Time // when the last token it can have opened is over
	RevokedAt time.Time // zero: good
	Reason    string
}

// Refresh is a grant's family of refresh tokens. A token is two secrets of 256 bits: the family's, which
// finds the grant, and one that is new at each use.
type Refresh struct {
	Family [sha256.Size]byte // SHA-256 of the family's secret
	Hash   [sha256.Size]byte // SHA-256 of the rotating secret that is good now
	Prev   [sha256.Size]byte // and of the one before it
	// Echo is the present rotating secret, XORed with a key that is made from the one before it: who lost
	// the answer that carried the present one shows the former and gets it again.
	Echo  []byte
	At    time.Time // the last use; zero: never used
	Until time.Time // the end, as policy set it when the grant was opened; zero: no refresh tokens
}

// Tokens keeps grants.
type Tokens interface {
	// CreateToken: ErrCodeUsed when a grant has that CodeHash.
	CreateToken(ctx context.Context, org directory.OrgID, g TokenGrant) error
	TokenByCode(ctx context.Context, codeHash [sha256.Size]byte) (TokenGrant, error)
	Token(ctx context.Context, org directory.OrgID, id directory.GrantID) (TokenGrant, error)
	// RevokeToken says whether it ended the grant: false when something had before.
	RevokeToken(ctx context.Context, org directory.OrgID, id directory.GrantID, at time.Time, reason string) (bool, error)
	// RevokeTokensOf revokes what a session opened in one organization, or in all when org is "", but for
	// offline grants, which outlive it (OpenID Connect Back-Channel Logout section 2.7).
	RevokeTokensOf(ctx context.Context, realm directory.RealmID, session directory.SessionID, org directory.OrgID, at time.Time, reason string) error
}

// Families keeps refresh tokens.
type Families interface {
	// TokenByFamily finds a grant by the hash of its family's secret; ErrGrantNotFound when there is none.
	TokenByFamily(ctx context.Context, family [sha256.Size]byte) (TokenGrant, error)
	// RotateRefresh writes Hash, Prev, Echo and At of a grant that is not revoked and whose Hash is was. It
	// says whether it did: of several at once one does.
	RotateRefresh(ctx context.Context, org directory.OrgID, id directory.GrantID, was [sha256.Size]byte, next Refresh) (bool, error)
}

// OpaqueToken is an access token that means nothing without introspection.
type OpaqueToken struct {
	Hash    [sha256.Size]byte
	App     directory.AppID
	Grant   directory.GrantID // "" when the app acts for itself
	Expires time.Time
	Claims  json.RawMessage // what it would say if it were a JWT
}

// AccessTokens keeps what is known of access tokens besides their signature.
type AccessTokens interface {
	PutAccess(ctx context.Context, org directory.OrgID, t OpaqueToken) error
	// AccessByHash finds a token, over or not; ErrGrantNotFound when there is none.
	AccessByHash(ctx context.Context, hash [sha256.Size]byte) (OpaqueToken, error)
	DropAccess(ctx context.Context, org directory.OrgID, hash [sha256.Size]byte) error
	// CallBack makes a signed token worthless before its end.
	CallBack(ctx context.Context, org directory.OrgID, jti string, until time.Time) error
	CalledBack(ctx context.Context, org directory.OrgID, jti string) (bool, error)
}
