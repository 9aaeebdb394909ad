package broker

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// scribe writes compact JWS of one type with one key (RFC 7515 section 7.1).
type scribe struct {
	with jose.Signer
	// What every token of this key and type begins with, as the library writes it, where the key is a P-256
	// key of this process: most of a login's signatures are of that kind, and the library spends a third as
	// much time around such a signature as the signature takes.
	head string
	key  *ecdsa.PrivateKey
}

func newScribe(with jose.Signer, private crypto.Signer) (*scribe, error) {
	p := &scribe{with: with}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return p, nil
	}
	sample, err := p.write(nil)
	if err != nil {
		return nil, err
	}
	head, _, _ := strings.Cut(sample, ".")
	p.head, p.key = head+".", key
	return p, nil
}

// write signs a body.
func (p *scribe) write(body []byte) (string, error) {
	if p.key != nil {
		return p.writeES256(body)
	}
	jws, err := p.with.Sign(body)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// A signature is R and S, each as 32 octets (RFC 7518 section 3.4).
const coordinate = 32

func (p *scribe) writeES256(body []byte) (string, error) {
	encoding := base64.RawURLEncoding
	out := make([]byte, 0, len(p.head)+encoding.EncodedLen(len(body))+1+encoding.EncodedLen(2*coordinate))
	out = encoding.AppendEncode(append(out, p.head...), body)
	digest := sha256.Sum256(out)
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [2 * coordinate]byte
	r.FillBytes(signature[:coordinate])
	s.FillBytes(signature[coordinate:])
	return string(encoding.AppendEncode(append(out, '.'), signature[:])), nil
}
