package broker

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
)

// An authorization code is 256 random bits, a dot, and a sealed label that says what the code was issued
// for. Only the whole of it is worth anything, and the label decides nothing: what a code stands for is
// found by a hash of it and of all that its redemption must show, so one wrong value finds nothing at all.
// The label is how operators and developers learn which value it was, and of which login, without anything
// more being kept for each code.

// codeLabel is what a code says of itself.
type codeLabel struct {
	at        time.Time
	trace     string // of the login; eight characters
	client    string
	redirect  string
	challenge string // "" without PKCE
}

// readLabel is a label as it is read: of the values there are hashes, enough to tell them from others.
type readLabel struct {
	at                          time.Time
	trace                       string
	client, redirect, challenge [labelHash]byte // challenge is zero without PKCE
}

const (
	labelHash  = 8
	labelTrace = 8
	labelLen   = 8 + labelTrace + 3*labelHash
)

var errLabel = errors.New("a trace code has eight characters")

// newCode makes a code with its label.
func (b *Broker) newCode(l codeLabel) (string, error) {
	if len(l.trace) != labelTrace {
		return "", errLabel
	}
	secret := directory.NewSecret()
	aead, err := b.labelCipher(secret)
	if err != nil {
		return "", err
	}
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, labelLen), uint64(l.at.UnixMicro()))
	plain = append(plain, l.trace...)
	for _, value := range []string{l.client, l.redirect, l.challenge} {
		h := labelled(value)
		plain = append(plain, h[:]...)
	}
	sealed := aead.Seal(nil, make([]byte, aead.NonceSize()), plain, nil)
	return secret + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// labelCipher seals one label: its key is that code's alone, so that no nonce can come twice.
func (b *Broker) labelCipher(secret string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, b.Subjects.key, []byte(secret), "label of a code", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// labelled is a value's mark in a label; "" has the zero mark.
func labelled(value string) (h [labelHash]byte) {
	if value != "" {
		sum := sha256.Sum256([]byte(value))
		copy(h[:], sum[:])
	}
	return h
}

// labelOf reads the label of a code that we issued.
func (b *Broker) labelOf(code string) (l readLabel, ok bool) {
	secret, rest, _ := strings.Cut(code, ".")
	sealed, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(secret) != secretLen || len(sealed) > 2*labelLen {
		return l, false
	}
	aead, err := b.labelCipher(secret)
	if err != nil {
		return l, false
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
	if err != nil || len(plain) != labelLen {
		return l, false
	}
	l.at = time.UnixMicro(int64(binary.BigEndian.Uint64(plain)))
	l.trace = string(plain[8 : 8+labelTrace])
	for i, h := range []*[labelHash]byte{&l.client, &l.redirect, &l.challenge} {
		copy(h[:], plain[8+labelTrace+i*labelHash:])
	}
	return l, true
}

// unredeemed is why a code gives nothing, with the trace of its login: err, and where it does not say how
// the redemption differs, what the label tells.
func (b *Broker) unredeemed(app App, in redemption, err error) error {
	if _, refused := errors.AsType[*oauthError](err); !refused {
		return err
	}
	l, ours := b.labelOf(in.code)
	mine := ours && l.client == labelled(app.ClientID)
	if _, said := errors.AsType[*differing](err); !said {
		switch {
		case !ours:
			err = differs(err, "the code is none that was issued here")
		case !mine:
			err = differs(err, "the code was issued to another client")
		default:
			err = differs(err, l.differs(app, in, b.Now()))
		}
	}
	if !mine {
		return err // no story of ours goes into another client's trace
	}
	return changeDiffering(err, func(d *differing) { d.trace = l.trace })
}

// differs says which value of a redemption is not the one that its code was issued for.
func (l readLabel) differs(app App, in redemption, now time.Time) string {
	switch {
	case l.redirect != labelled(in.redirect):
		i := slices.IndexFunc(app.RedirectURIs, func(r string) bool { return labelled(r) == l.redirect })
		if i < 0 || in.redirect == "" {
			return "the redirect_uri is not the one of the authorization request, sent was " + shownURI(in.redirect)
		}
		return "the redirect_uri of the authorization request was " + compared(app.RedirectURIs[i], in.redirect)
	case l.challenge != labelled(in.challenge) && l.challenge == labelled(""):
		return "a code_verifier was sent, and the authorization request had no code_challenge"
	case l.challenge != labelled(in.challenge) && in.challenge == "":
		return "no code_verifier was sent, and the authorization request had a code_challenge of method S256"
	case l.challenge != labelled(in.challenge):
		return "the S256 hash of the code_verifier is not the code_challenge of the authorization request"
	case now.Sub(l.at) > codeLife:
		return fmt.Sprintf("the code was issued %d seconds ago, and lives %d", int(now.Sub(l.at).Seconds()), int(codeLife.Seconds()))
	}
	return "the code was redeemed before, or was forgotten by a restart"
}
