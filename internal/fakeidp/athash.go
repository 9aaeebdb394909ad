package fakeidp

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
)

// atHash is OpenID Connect Core section 3.1.3.6. EdDSA with Ed25519 hashes with SHA-512.
func atHash(algorithm, access string) string {
	var sum []byte
	if algorithm == "EdDSA" {
		s := sha512.Sum512([]byte(access))
		sum = s[:]
	} else {
		s := sha256.Sum256([]byte(access))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
