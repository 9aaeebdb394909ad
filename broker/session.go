package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
)

// Session is one person's sign-in in one browser. It belongs to a person and so to a realm (S26). It
// holds proofs; what they are worth is computed for each organization and app when asked (S2).
type Session struct {
	ID        directory.SessionID // public: the account page and the record show it
	TokenHash [sha256.Size]byte   // SHA-256 of what the cookie holds
	Realm     directory.RealmID
	Person    directory.PersonID
	Home      directory.OrgID // the person's home: its limits end the session
	CreatedAt time.Time
	Ends      time.Time // the home organization's lifetime at creation: a ceiling, policy of now may end it sooner
	Ended     time.Time // zero: running
	Device    string    // a short name of the browser, for people: "Chrome on Windows"
	Proofs    []flows.Proof
	Orgs      []OrgMark
	Version   int64
}

// OrgMark is when a session was first and last used for one organization: what that organization's
// lifetime and idle time are measured on (S47).
type OrgMark struct {
	Org   directory.OrgID
	Since time.Time // the fresh proof that opened it for this organization
	Seen  time.Time // the person's last activity; prompt=none and refresh are none
	Held  time.Time // the ceiling that policy set when it was opened; the tighter of it and today's holds
}

// AppMark is an app that a session signed in to, in an organization.
type AppMark struct {
	App   directory.AppID
	Org   directory.OrgID
	SID   string // the session as this app knows it (S37)
	First time.Time
	Ended time.Time // zero: it goes on. The next sign-in gets another SID
}

// Sessions keeps sessions. They are found by the hash of a cookie, which only the browser holds; the
// organization of the other methods is the person's home.
type Sessions interface {
	CreateSession(ctx context.Context, home directory.OrgID, s Session) error
	// SessionByToken finds a session with its proofs and organizations, ended or not;
	// ErrSessionNotFound when there is none.
	SessionByToken(ctx context.Context, hash [sha256.Size]byte) (Session, error)
	// Session finds a running or ended session by its public id.
	Session(ctx context.Context, home directory.OrgID, id directory.SessionID) (Session, error)
	// UpdateSession is compare-and-swap on Version. It stores TokenHash, Ends, Ended, Proofs and Orgs.
	UpdateSession(ctx context.Context, home directory.OrgID, id directory.SessionID, change func(*Session) error) error
	// MarkApp notes an app that was signed in to; the first note for (session, app, org) stays until it
	// ends.
	MarkApp(ctx context.Context, home directory.OrgID, id directory.SessionID, m AppMark) (AppMark, error)
	// AppsOf lists the apps a session signed in to, those too whose part ended.
	AppsOf(ctx context.Context, home directory.OrgID, id directory.SessionID) ([]AppMark, error)
}
