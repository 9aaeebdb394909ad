package audit

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// codeLength is 40 bits in an alphabet of 32 (S44).
const codeLength = 8

// alphabet has no I, L, O and U: people read codes out on the telephone.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// misheard is what people write instead of a digit.
var misheard = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "", "\t", "")

// NewCode makes a trace's code: eight characters of 40 random bits.
func NewCode() string {
	var b [codeLength * 5 / 8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return encoding.EncodeToString(b[:])
}

// ShowCode is a code as people see it: VB-7Q4K-29TM.
func ShowCode(code string) string {
	if len(code) != codeLength {
		return code
	}
	return "VB-" + code[:4] + "-" + code[4:]
}

// ParseCode finds the code in what a person typed: with or without the prefix and hyphens, in either
// case, and with the letters that look like digits.
func ParseCode(typed string) (code string, ok bool) {
	code = misheard.Replace(strings.ToUpper(strings.TrimSpace(typed)))
	if len(code) == codeLength+2 {
		code = strings.TrimPrefix(code, "VB")
	}
	if len(code) != codeLength || strings.Trim(code, alphabet) != "" {
		return "", false
	}
	return code, true
}
