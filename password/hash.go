package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what making or checking one of our own hashes takes. Every hash carries its own, so that it may
// be raised at any time: hashes are made anew when their owner signs in.
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// UsualCost is the smallest of those that OWASP's Password Storage Cheat Sheet names as equal: a hash takes
// 7 MiB for as long as one with 46 MiB and one pass does. Small is chosen because memory is what a flood of
// sign-ins exhausts first.
var UsualCost = Cost{Memory: 7 * 1024, Passes: 5, Lanes: 1}

// String is the cost as it is configured, and as it stands in a hash.
func (c Cost) String() string { return fmt.Sprintf("m=%d,t=%d,p=%d", c.Memory, c.Passes, c.Lanes) }

// ParseCost reads what String writes. Less than UsualCost's work, and more than a server can bear, is
// ErrCost.
func ParseCost(s string) (Cost, error) {
	var c Cost
	if _, err := fmt.Sscanf(s, "m=%d,t=%d,p=%d", &c.Memory, &c.Passes, &c.Lanes); err != nil || c.String() != s {
		return Cost{}, ErrCost
	}
	if c.Memory < UsualCost.Memory || c.Memory > 64*1024 || c.Passes < 1 || c.Passes > 16 || c.Lanes < 1 || c.Lanes > 4 {
		return Cost{}, ErrCost
	}
	if c.Memory*c.Passes < UsualCost.Memory*UsualCost.Passes {
		return Cost{}, ErrCost
	}
	return c, nil
}

const (
	saltLen = 16 // RFC 9106 section 3.1
	keyLen  = 32
)

var b64 = base64.RawStdEncoding

// encode makes the string of a new argon2id hash, in the form of the PHC string format.
func (c Cost) encode(p Prepared) string {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(p), salt, c.Passes, c.Memory, c.Lanes, keyLen)
	return c.prefix() + b64.EncodeToString(salt) + "$" + b64.EncodeToString(key)
}

func (c Cost) prefix() string { return fmt.Sprintf("$argon2id$v=%d$%s$", argon2.Version, c) }

// current says whether a hash is one that encode would make today.
func (c Cost) current(hash string) bool { return strings.HasPrefix(hash, c.prefix()) }

// idle does the work of checking one hash of ours without one, so that asking for nobody takes as long as
// asking for somebody (S31).
func (c Cost) idle(p Prepared) {
	salt := make([]byte, saltLen)
	key := argon2.IDKey([]byte(p), salt, c.Passes, c.Memory, c.Lanes, keyLen)
	subtle.ConstantTimeCompare(key, make([]byte, keyLen))
}
