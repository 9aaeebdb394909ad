package broker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// The secrets that every sign-in makes, a session's and a code's, begin with when they were made, and so
// does the hash under which they are kept: an index of them grows at its end, and a write touches the page
// that was touched last instead of any one of the whole index. What follows the date is a secret as any
// other, 256 random bits; 216 bits of its hash tell it from all that were made in the same moment.
const (
	dateBytes = 5
	dateLen   = 7 // as base64url
	datedLen  = dateLen + secretLen
	dateUnit  = 16 * time.Millisecond // 40 bits of it are 557 years
)

func newDated(now time.Time) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli()/dateUnit.Milliseconds()))
	return base64.RawURLEncoding.EncodeToString(b[8-dateBytes:]) + directory.NewSecret()
}

// keyOf is the hash under which a session's secret or a code is kept. A secret of an earlier release has
// no date, and what is no secret of ours has any hash.
func keyOf(secret string) [sha256.Size]byte {
	h := hashOf(secret)
	if len(secret) != datedLen && (len(secret) < datedLen || secret[datedLen] != '.') { // a code goes on behind a dot
		return h
	}
	var date [dateBytes]byte
	if n, err := base64.RawURLEncoding.Decode(date[:], []byte(secret[:dateLen])); err == nil {
		copy(h[:], date[:n])
	}
	return h
}
