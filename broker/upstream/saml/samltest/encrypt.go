package samltest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	"github.com/beevik/etree"
)

// Algorithms that Encryption knows.
const (
	AES128GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm"
	AES256GCM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
	AES128CBC = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
	AES256CBC = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"

	OAEPMGF1P = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
	OAEP11    = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
	RSA15     = "http://www.w3.org/2001/04/xmlenc#rsa-1_5"

	MGF1SHA1   = "http://www.w3.org/2009/xmlenc11#mgf1sha1"
	MGF1SHA256 = "http://www.w3.org/2009/xmlenc11#mgf1sha256"
)

// Encryption says how to encrypt. Its zero value is AES-256-GCM under RSA-OAEP with SHA-1 and MGF1
// SHA-1, which is what every product understands.
type Encryption struct {
	Data      string // AES256GCM when empty
	Transport string // OAEPMGF1P when empty
	Digest    string // the OAEP digest; SHA-1, and not written, when empty
	MGF       string // xmlenc 1.1 only; SHA-1, and not written, when empty
	// KeyBeside puts EncryptedKey next to EncryptedData with a RetrievalMethod, as some products do.
	KeyBeside bool
}

// Encrypt gives an EncryptedAssertion.
func (c Encryption) Encrypt(assertion *etree.Element, to *x509.Certificate) (*etree.Element, error) {
	plain, err := Bytes(assertion)
	if err != nil {
		return nil, err
	}
	return c.EncryptBytes(plain, to)
}

// EncryptBytes gives an EncryptedAssertion of anything.
func (c Encryption) EncryptBytes(plain []byte, to *x509.Certificate) (*etree.Element, error) {
	if c.Data == "" {
		c.Data = AES256GCM
	}
	if c.Transport == "" {
		c.Transport = OAEPMGF1P
	}
	key, body, err := c.seal(plain)
	if err != nil {
		return nil, err
	}
	wrapped, err := c.wrap(key, to)
	if err != nil {
		return nil, err
	}
	return c.document(body, wrapped), nil
}

func (c Encryption) seal(plain []byte) (key, body []byte, err error) {
	key = make([]byte, map[string]int{AES128GCM: 16, AES128CBC: 16, AES256GCM: 32, AES256CBC: 32}[c.Data])
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("samltest: unknown cipher %s", c.Data)
	}
	if c.Data == AES128GCM || c.Data == AES256GCM {
		g, err := cipher.NewGCM(block)
		if err != nil {
			return nil, nil, err
		}
		nonce := make([]byte, 12)
		rand.Read(nonce)
		return key, g.Seal(nonce, nonce, plain, nil), nil
	}
	n := 16 - len(plain)%16
	padded := append(append(bytes.Clone(plain), make([]byte, n-1)...), byte(n))
	out := make([]byte, 16+len(padded))
	rand.Read(out[:16])
	cipher.NewCBCEncrypter(block, out[:16]).CryptBlocks(out[16:], padded)
	return key, out, nil
}

func (c Encryption) wrap(key []byte, to *x509.Certificate) ([]byte, error) {
	pub, ok := to.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("samltest: cannot encrypt to %T", to.PublicKey)
	}
	if c.Transport == RSA15 {
		return rsa.EncryptPKCS1v15(rand.Reader, pub, key)
	}
	o := rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	if c.Digest == DigestSHA256 {
		o.Hash = crypto.SHA256
	}
	if c.MGF == MGF1SHA256 {
		o.MGFHash = crypto.SHA256
	}
	return rsa.EncryptOAEPWithOptions(rand.Reader, pub, key, &o)
}

func (c Encryption) document(body, wrapped []byte) *etree.Element {
	out := etree.NewElement("saml:EncryptedAssertion")
	out.CreateAttr("xmlns:saml", NSAssertion)
	data := out.CreateElement("xenc:EncryptedData")
	data.CreateAttr("xmlns:xenc", NSEnc)
	data.CreateAttr("Type", NSEnc+"Element")
	data.CreateElement("xenc:EncryptionMethod").CreateAttr("Algorithm", c.Data)
	info := data.CreateElement("ds:KeyInfo")
	info.CreateAttr("xmlns:ds", NSDsig)
	holder := info
	if c.KeyBeside {
		m := info.CreateElement("ds:RetrievalMethod")
		m.CreateAttr("Type", NSEnc+"EncryptedKey")
		m.CreateAttr("URI", "#key1")
		holder = out
	}
	ek := holder.CreateElement("xenc:EncryptedKey")
	ek.CreateAttr("xmlns:xenc", NSEnc)
	if c.KeyBeside {
		ek.CreateAttr("Id", "key1")
	}
	method := ek.CreateElement("xenc:EncryptionMethod")
	method.CreateAttr("Algorithm", c.Transport)
	if c.Digest != "" {
		d := method.CreateElement("ds:DigestMethod")
		d.CreateAttr("xmlns:ds", NSDsig)
		d.CreateAttr("Algorithm", c.Digest)
	}
	if c.MGF != "" {
		m := method.CreateElement("xenc11:MGF")
		m.CreateAttr("xmlns:xenc11", NSEnc11)
		m.CreateAttr("Algorithm", c.MGF)
	}
	child(ek.CreateElement("xenc:CipherData"), "xenc:CipherValue", base64.StdEncoding.EncodeToString(wrapped))
	child(data.CreateElement("xenc:CipherData"), "xenc:CipherValue", base64.StdEncoding.EncodeToString(body))
	return out
}
