package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// TokenGrant is what one redeemed code opened: an OAuth grant. Its organization, realm and person
// never change (S6).
type TokenGrant struct {
	ID       directory.GrantID
	Org      directory.OrgID
	Realm    directory.RealmID
	App      directory.AppID
	Person   directory.PersonID
	Session  directory.SessionID
	CodeHash [sha256.Size]byte // SHA-256 of the code: unique, so that no code redeems twice whatever is forgotten
	// BoundHash is SHA-256 over code, client_id, redirect_uri and code_challenge: whoever shows the same
	// again is the app itself or has all its secrets, and the grant is revoked.
	BoundHash [sha256.Size]byte
	Scope     []string
	AuthTime  time.Time
	CreatedAt time.Time
	ExpiresAt time.Time // when the last token it can have opened is over
	RevokedAt time.Time // zero: good
	Reason    string
}

// Tokens keeps grants.
type Tokens interface {
	// CreateToken: ErrCodeUsed when a grant has that CodeHash.
	CreateToken(ctx context.Context, org directory.OrgID, g TokenGrant) error
	TokenByCode(ctx context.Context, codeHash [sha256.Size]byte) (TokenGrant, error)
	Token(ctx context.Context, org directory.OrgID, id directory.GrantID) (TokenGrant, error)
	RevokeToken(ctx context.Context, org directory.OrgID, id directory.GrantID, at time.Time, reason string) error
	// RevokeTokensOf revokes what a session opened in one organization, or in all when org is "".
	RevokeTokensOf(ctx context.Context, realm directory.RealmID, session directory.SessionID, org directory.OrgID, at time.Time, reason string) error
}
