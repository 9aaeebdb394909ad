package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// What a hash of another system may ask for. A file of accounts is somebody else's data: one line in it
// must not be able to take the memory or the minutes of the service at each sign-in.
const (
	maxHash       = 1024      // bytes of the whole string
	maxMemory     = 128 << 10 // KiB: scrypt with N=2^17, r=8, which OWASP recommends
	maxPasses     = 32
	maxWork       = 4 * maxMemory // KiB times passes of argon2; N times r times p of scrypt in KiB
	maxIterations = 1_500_000     // of PBKDF2; Django 5 uses 1,000,000
	maxBcrypt     = 14
	minKey        = 16 // bytes: shorter ones would be met by chance, an empty one by anything
	maxKey        = 128
	maxSalt       = 128
)

// scheme is a parsed hash: check says whether a password is its own. text is as it was typed or prepared.
type scheme struct {
	name  string
	check func(text string) bool
	// raw: made by another system, perhaps of the text as it was typed there.
	raw bool
}

// Readable says whether a hash can be checked here, with its name for people: "argon2id", "bcrypt", ….
// ErrHash otherwise. It does no work that the hash asks for.
func Readable(hash string) (string, error) {
	s, err := parse(hash)
	return s.name, err
}

// parse reads a hash of any form that is understood, and refuses what asks for too much.
func parse(h string) (scheme, error) {
	s, err := read(h)
	if err != nil {
		return scheme{}, fmt.Errorf("%w: %w", ErrHash, err)
	}
	return s, nil
}

var errForm = errors.New("unknown form of hash")

func read(h string) (scheme, error) {
	if len(h) > maxHash {
		return scheme{}, errors.New("the hash is too long")
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(h, "$"), "$")
	switch {
	case strings.HasPrefix(h, "$argon2"):
		return readArgon2(h)
	case name == "argon2": // Django
		return readArgon2("$" + rest)
	case strings.HasPrefix(h, "$2"):
		return readBcrypt(h, func(text string) string { return text })
	case name == "bcrypt": // Django
		return readBcrypt(rest, func(text string) string { return text })
	case name == "bcrypt_sha256": // Django: the password's SHA-256 in hexadecimal, so that nothing is cut
		return readBcrypt(rest, func(text string) string { d := sha256.Sum256([]byte(text)); return hex.EncodeToString(d[:]) })
	case strings.HasPrefix(h, "$pbkdf2"):
		return readPBKDF2(name, rest)
	case strings.HasPrefix(h, "pbkdf2_"):
		return readDjangoPBKDF2(name, rest)
	case strings.HasPrefix(h, "$scrypt$"):
		return readScrypt(rest)
	case name == "scrypt":
		return readDjangoScrypt(rest)
	case !strings.Contains(h, "$"):
		return readASPNET(h)
	}
	return scheme{}, errForm
}

// sized refuses keys and salts of sizes that no system uses.
func sized(salt, key []byte) error {
	if len(key) < minKey || len(key) > maxKey || len(salt) > maxSalt {
		return errors.New("the salt or the key has an impossible length")
	}
	return nil
}

func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// plain decodes the base64 of PHC strings, with what others make of it: padding, and passlib's dot for plus.
func plain(s string) ([]byte, error) {
	return b64.DecodeString(strings.ReplaceAll(strings.TrimRight(s, "="), ".", "+"))
}

// readArgon2: $argon2id$v=19$m=65536,t=3,p=4$salt$key (RFC 9106; argon2i too, argon2d is not for passwords).
func readArgon2(h string) (scheme, error) {
	parts := strings.Split(h, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return scheme{}, errForm
	}
	var m, t, p uint32
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) {
		return scheme{}, errForm
	}
	if p < 1 || p > 16 || m < 8*p || m > maxMemory || t < 1 || t > maxPasses || uint64(m)*uint64(t) > maxWork {
		return scheme{}, errors.New("argon2 asks for too much")
	}
	salt, err1 := plain(parts[4])
	key, err2 := plain(parts[5])
	if err := errors.Join(err1, err2); err != nil {
		return scheme{}, err
	}
	derive := map[string]func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte{"argon2id": argon2.IDKey, "argon2i": argon2.Key}[parts[1]]
	if derive == nil {
		return scheme{}, errForm
	}
	return scheme{name: parts[1], check: func(text string) bool {
		return same(derive([]byte(text), salt, t, m, uint8(p), uint32(len(key))), key)
	}}, sized(salt, key)
}

// readBcrypt: $2b$12$… by way of before. Its 72 bytes are its own limit: only what was made elsewhere has it.
func readBcrypt(h string, before func(string) string) (scheme, error) {
	if len(h) != 60 || !strings.HasPrefix(h, "$2a$") && !strings.HasPrefix(h, "$2b$") && !strings.HasPrefix(h, "$2y$") {
		return scheme{}, errForm
	}
	cost, err := bcrypt.Cost([]byte(h))
	if err != nil {
		return scheme{}, err
	}
	if cost > maxBcrypt {
		return scheme{}, errors.New("bcrypt asks for too much")
	}
	return scheme{name: "bcrypt", raw: true, check: func(text string) bool {
		return bcrypt.CompareHashAndPassword([]byte(h), []byte(before(text))) == nil
	}}, nil
}

var digests = map[string]func() hash.Hash{"": sha1.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// newPBKDF2 checks a password by PBKDF2 (RFC 8018 section 5.2).
func newPBKDF2(digest string, iterations int, salt, key []byte) (scheme, error) {
	h, known := digests[digest]
	if !known {
		return scheme{}, errForm
	}
	if iterations < 1 || iterations > maxIterations {
		return scheme{}, errors.New("PBKDF2 asks for too much or nothing")
	}
	return scheme{name: "pbkdf2", raw: true, check: func(text string) bool {
		got, err := pbkdf2.Key(h, text, salt, iterations, len(key))
		return err == nil && same(got, key)
	}}, sized(salt, key)
}

// readPBKDF2: $pbkdf2-sha256$29000$salt$key (passlib), $pbkdf2-sha256$i=29000,l=32$salt$key (PHC).
func readPBKDF2(name, rest string) (scheme, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return scheme{}, errForm
	}
	count, _, _ := strings.Cut(strings.TrimPrefix(parts[0], "i="), ",")
	n, err := strconv.Atoi(count)
	salt, err1 := plain(parts[1])
	key, err2 := plain(parts[2])
	if err := errors.Join(err, err1, err2); err != nil {
		return scheme{}, err
	}
	return newPBKDF2(strings.TrimPrefix(strings.TrimPrefix(name, "pbkdf2"), "-"), n, salt, key)
}

// readDjangoPBKDF2: pbkdf2_sha256$600000$salt$key; the salt is text.
func readDjangoPBKDF2(name, rest string) (scheme, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return scheme{}, errForm
	}
	n, err := strconv.Atoi(parts[0])
	key, err2 := base64.StdEncoding.DecodeString(parts[2])
	if err := errors.Join(err, err2); err != nil {
		return scheme{}, err
	}
	return newPBKDF2(strings.TrimPrefix(name, "pbkdf2_"), n, []byte(parts[1]), key)
}

// readASPNET: the base64 of ASP.NET Core Identity: version 2 (0x00, 16 bytes of salt, 32 of key) and
// version 3 (0x01, the digest, the iterations and the salt's length as 32 bits each, salt, key).
func readASPNET(h string) (scheme, error) {
	b, err := base64.StdEncoding.DecodeString(h)
	if err != nil || len(b) < 1 {
		return scheme{}, errForm
	}
	switch {
	case b[0] == 0 && len(b) == 49:
		return newPBKDF2("sha1", 1000, b[1:17], b[17:])
	case b[0] == 1 && len(b) >= 13+minKey:
		prf, n, salt := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:]), binary.BigEndian.Uint32(b[9:])
		if prf > 2 || n > math.MaxInt32 || salt > maxSalt || int(salt) > len(b)-13 {
			return scheme{}, errForm
		}
		return newPBKDF2([]string{"sha1", "sha256", "sha512"}[prf], int(n), b[13:13+salt], b[13+salt:])
	}
	return scheme{}, errForm
}

// newScrypt checks a password by scrypt (RFC 7914).
func newScrypt(n, r, p uint64, salt, key []byte) (scheme, error) {
	if n < 2 || n&(n-1) != 0 || r < 1 || p < 1 || n > 1<<24 || r > 64 || p > 16 || n*r/8 > maxMemory || n*r*p/8 > maxWork {
		return scheme{}, errors.New("scrypt asks for too much")
	}
	return scheme{name: "scrypt", raw: true, check: func(text string) bool {
		got, err := scrypt.Key([]byte(text), salt, int(n), int(r), int(p), len(key))
		return err == nil && same(got, key)
	}}, sized(salt, key)
}

// readScrypt: $scrypt$ln=16,r=8,p=1$salt$key (PHC, passlib).
func readScrypt(rest string) (scheme, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return scheme{}, errForm
	}
	var ln, r, p uint64
	if n, err := fmt.Sscanf(parts[0], "ln=%d,r=%d,p=%d", &ln, &r, &p); err != nil || n != 3 || ln > 24 {
		return scheme{}, errForm
	}
	salt, err1 := plain(parts[1])
	key, err2 := plain(parts[2])
	if err := errors.Join(err1, err2); err != nil {
		return scheme{}, err
	}
	return newScrypt(1<<ln, r, p, salt, key)
}

// readDjangoScrypt: scrypt$N$salt$r$p$key, the salt text.
func readDjangoScrypt(rest string) (scheme, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 5 {
		return scheme{}, errForm
	}
	n, err1 := strconv.ParseUint(parts[0], 10, 32)
	r, err2 := strconv.ParseUint(parts[2], 10, 32)
	p, err3 := strconv.ParseUint(parts[3], 10, 32)
	key, err4 := base64.StdEncoding.DecodeString(parts[4])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return scheme{}, err
	}
	return newScrypt(n, r, p, []byte(parts[1]), key)
}
