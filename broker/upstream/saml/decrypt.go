package saml

// XML Encryption, as little of it as is safe: AES-GCM under RSA-OAEP, and AES-CBC where an
// administrator asked for it.

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // OAEP's default mask and digest; no signature is checked with it
	"errors"

	"github.com/beevik/etree"
)

const (
	algOAEP   = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
	algOAEP11 = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
)

type contentCipher struct {
	key int
	gcm bool
}

var contentCiphers = map[string]contentCipher{
	"http://www.w3.org/2009/xmlenc11#aes128-gcm":  {16, true},
	"http://www.w3.org/2009/xmlenc11#aes256-gcm":  {32, true},
	"http://www.w3.org/2001/04/xmlenc#aes128-cbc": {16, false},
	"http://www.w3.org/2001/04/xmlenc#aes256-cbc": {32, false},
}

// RSA-OAEP does not lean on its digest's collision resistance, so SHA-1 is sound here (RFC 8017
// appendix B.1), and it is what most products send.
var oaepDigests = map[string]crypto.Hash{
	"":                                       crypto.SHA1,
	"http://www.w3.org/2000/09/xmldsig#sha1": crypto.SHA1,
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

var oaepMasks = map[string]crypto.Hash{
	"": crypto.SHA1,
	"http://www.w3.org/2009/xmlenc11#mgf1sha1":   crypto.SHA1,
	"http://www.w3.org/2009/xmlenc11#mgf1sha256": crypto.SHA256,
	"http://www.w3.org/2009/xmlenc11#mgf1sha384": crypto.SHA384,
	"http://www.w3.org/2009/xmlenc11#mgf1sha512": crypto.SHA512,
}

var errCipherText = errors.New("cipher text")

// sealed is an encrypted assertion whose form is known, before any cryptography.
type sealed struct {
	cipher contentCipher
	body   []byte
	keys   []sealedKey
}

type sealedKey struct {
	options rsa.OAEPOptions
	value   []byte
}

// unseal reads the form. What it refuses stands in the clear, so saying why helps no attacker.
func unseal(e *etree.Element, allowCBC bool, n *notes) (sealed, error) {
	var s sealed
	data := only(e, nsEnc, "EncryptedData")
	if data == nil {
		return s, ErrDecrypt.Because("no EncryptedData")
	}
	alg := attr(only(data, nsEnc, "EncryptionMethod"), "Algorithm")
	c, known := contentCiphers[alg]
	if !known || !c.gcm && !allowCBC {
		n.add("encryption_algorithm", false, short(alg), "aes128-gcm or aes256-gcm")
		return s, ErrEncAlg.Because(alg)
	}
	s.cipher = c
	var err error
	if s.body, err = cipherValue(data); err != nil {
		return s, ErrDecrypt.With(err)
	}
	info := orNone(only(data, nsDsig, "KeyInfo"))
	for _, k := range append(all(info, nsEnc, "EncryptedKey"), all(e, nsEnc, "EncryptedKey")...) {
		sk, err := unsealKey(k, n)
		if err != nil {
			return s, err
		}
		s.keys = append(s.keys, sk)
	}
	if len(s.keys) == 0 {
		return s, ErrDecrypt.Because("no EncryptedKey")
	}
	n.add("encryption_algorithm", true, short(alg), "")
	return s, nil
}

func unsealKey(k *etree.Element, n *notes) (sealedKey, error) {
	var sk sealedKey
	m := only(k, nsEnc, "EncryptionMethod")
	alg := attr(m, "Algorithm")
	digest, okDigest := oaepDigests[attr(only(m, nsDsig, "DigestMethod"), "Algorithm")]
	mask, okMask := oaepMasks[attr(only(m, nsEnc11, "MGF"), "Algorithm")]
	if alg == algOAEP {
		mask, okMask = crypto.SHA1, true // XML Encryption 1.1 section 5.5.2
	}
	if alg != algOAEP && alg != algOAEP11 || !okDigest || !okMask {
		n.add("encryption_algorithm", false, short(alg), "rsa-oaep-mgf1p or rsa-oaep")
		return sk, ErrEncAlg.Because(alg)
	}
	sk.options = rsa.OAEPOptions{Hash: digest, MGFHash: mask}
	if p := only(m, nsEnc, "OAEPparams"); p != nil {
		label, err := unbase64(plain(p))
		if err != nil {
			return sk, ErrDecrypt.With(err)
		}
		sk.options.Label = label
	}
	var err error
	if sk.value, err = cipherValue(k); err != nil {
		return sk, ErrDecrypt.With(err)
	}
	return sk, nil
}

func cipherValue(e *etree.Element) ([]byte, error) {
	return unbase64(plain(only(only(e, nsEnc, "CipherData"), nsEnc, "CipherValue")))
}

// open tries each of our keys. GCM proves itself, so the first key that fits ends the search; with CBC
// all keys are always tried, and a random one when none fits, so that failures take the same time.
func (s sealed) open(keys []*rsa.PrivateKey) ([]byte, error) {
	content := make([]byte, s.cipher.key)
	rand.Read(content)
	for _, k := range keys {
		for _, sk := range s.keys {
			got, err := k.Decrypt(nil, sk.value, &sk.options)
			if err != nil || len(got) != s.cipher.key {
				continue
			}
			content = got
			if !s.cipher.gcm {
				continue
			}
			if plain, err := s.content(got); err == nil {
				return plain, nil
			}
		}
	}
	return s.content(content)
}

func (s sealed) content(key []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if s.cipher.gcm {
		return openGCM(block, s.body)
	}
	return openCBC(block, s.body)
}

func openGCM(block cipher.Block, body []byte) ([]byte, error) {
	g, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(body) < g.NonceSize()+g.Overhead() {
		return nil, errCipherText
	}
	return g.Open(nil, body[:g.NonceSize()], body[g.NonceSize():], nil)
}

func openCBC(block cipher.Block, body []byte) ([]byte, error) {
	n := block.BlockSize()
	if len(body) < 2*n || len(body)%n != 0 {
		return nil, errCipherText
	}
	out := make([]byte, len(body)-n)
	cipher.NewCBCDecrypter(block, body[:n]).CryptBlocks(out, body[n:])
	pad := int(out[len(out)-1]) // XML Encryption section 5.2: only the last byte counts
	if pad < 1 || pad > n {
		return nil, errCipherText
	}
	return out[:len(out)-pad], nil
}
