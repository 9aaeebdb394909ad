package directory

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// The ids of every noun in the house. Each is a prefix and 26 characters of lower-case base32 over a
// UUIDv7 (RFC 9562 section 5.7), so that ids sort by time of making. They name things and give no
// right to them: whatever gives a right (cookies, codes, tickets, login ids) is a Secret.
type (
	RealmID      string // rlm_…
	OrgID        string // org_…
	PersonID     string // per_…
	ConnectionID string // con_…
	AppID        string // app_…
	SessionID    string // ses_…
	GrantID      string // grt_…, a token grant
	EntryID      string // ent_…, an audit entry
	JobID        string // job_…, something to be delivered
	PasswordID   string // pwd_…, one of the passwords that somebody had
	FactorID     string // fac_…, something a person set up to prove themselves by
)

// In byte order, so that the text of two ids compares as their times do (RFC 4648 section 7, lower case).
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

func newID(prefix string, now time.Time) string {
	var b [16]byte
	rand.Read(b[:])
	ms := uint64(now.UnixMilli())
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], ms<<16)
	copy(b[:6], t[:6])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return prefix + idEncoding.EncodeToString(b[:])
}

// Made is when the organization was made, as its id says; the zero time for what is no id.
func (o OrgID) Made() time.Time {
	raw, err := idEncoding.DecodeString(strings.TrimPrefix(string(o), "org_"))
	if err != nil || len(raw) != 16 {
		return time.Time{}
	}
	var t [8]byte
	copy(t[2:], raw[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(t[:])))
}

// ValidID says whether s has the form of an id with that prefix. It says nothing of existence.
func ValidID(prefix, s string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != 26 {
		return false
	}
	return strings.Trim(rest, idAlphabet) == ""
}

func NewRealmID(now time.Time) RealmID           { return RealmID(newID("rlm_", now)) }
func NewOrgID(now time.Time) OrgID               { return OrgID(newID("org_", now)) }
func NewPersonID(now time.Time) PersonID         { return PersonID(newID("per_", now)) }
func NewConnectionID(now time.Time) ConnectionID { return ConnectionID(newID("con_", now)) }
func NewAppID(now time.Time) AppID               { return AppID(newID("app_", now)) }
func NewSessionID(now time.Time) SessionID       { return SessionID(newID("ses_", now)) }
func NewFactorID(now time.Time) FactorID         { return FactorID(newID("fac_", now)) }
func NewGrantID(now time.Time) GrantID           { return GrantID(newID("grt_", now)) }
func NewEntryID(now time.Time) EntryID           { return EntryID(newID("ent_", now)) }
func NewPasswordID(now time.Time) PasswordID     { return PasswordID(newID("pwd_", now)) }
func NewJobID(now time.Time) JobID               { return JobID(newID("job_", now)) }

// NewSecret returns 256 random bits as 43 URL-safe characters: what cookies, codes, tickets and
// login ids are made of.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash is the SHA-256 of a secret. Its text, in JSON too, is base64url without padding.
type Hash [sha256.Size]byte

func (h Hash) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText refuses what is not the text of 32 bytes.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(h)) {
		return errHash
	}
	if n, err := base64.RawURLEncoding.Decode(h[:], text); err != nil || n != len(h) {
		return errHash
	}
	return nil
}

var errHash = errors.New("not the hash of a secret")
