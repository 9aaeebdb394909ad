// Package password knows passwords and nothing of whose they are: how one is written down before it is
// compared, how it is hashed and verified in a pool that a flood cannot exhaust, which hashes of other
// systems are understood, and whether a new one is good enough for the rules that hold.
//
// A password is prepared first (Prepare), so that the same characters typed on two keyboards are the same
// bytes. Whatever costs memory and time goes through a Keeper, whose Pool bounds both and shares them
// fairly between organizations and addresses: verifying costs what it costs on purpose, so it must not be
// what brings the rest of the service down. The values that rules are judged by are given by the caller;
// this room knows no policy, no storage, no clock and no logins.
package password

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	// ErrBusy says that too many passwords wait to be checked. It says nothing of the password.
	ErrBusy = fault.New(fault.Throttled, "password.busy", "Too many people are signing in at this moment. Try again in a few seconds.")
	// ErrHash refuses a stored or imported hash that is of no known form, or asks for more than a limit.
	ErrHash = errors.New("no password hash that can be checked here, or one that asks for more memory or time than is allowed")
	// ErrCost refuses a cost that protects too little or takes too much.
	ErrCost = errors.New("a cost is written m=19456,t=2,p=1: 7168 to 65536 KiB, 1 to 16 passes, 1 to 4 lanes, and KiB times passes 35840 at least")
	// ErrUnusable refuses what cannot be a password at all: empty, longer than Longest, with control
	// characters, or no text.
	ErrUnusable = errors.New("a password is 1 to 256 characters of text")
)

// Longest is how many code points a password may have. What is longer is refused and never cut, for a
// password that is cut is weaker than its owner believes. NIST SP 800-63B section 3.1.1.2 wants 64 at least.
const Longest = 256

// Prepared is a password as it is hashed: text by the OpaqueString profile.
type Prepared string

// Prepare writes a typed password as RFC 8265 section 4.2 (OpaqueString) says: other spaces become the
// ASCII space, the rest is in normalization form C; case and everything else stays. ErrUnusable otherwise.
func Prepare(typed string) (Prepared, error) {
	if typed == "" || len(typed) > Longest*utf8.UTFMax || !utf8.ValidString(typed) || utf8.RuneCountInString(typed) > Longest {
		return "", ErrUnusable
	}
	p, err := precis.OpaqueString.String(typed)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if utf8.RuneCountInString(p) > Longest {
		return "", ErrUnusable
	}
	return Prepared(p), nil
}
