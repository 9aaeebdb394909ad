// Package webauthntest is an authenticator in software with the browser around it: it answers the options
// that a page gives to its script, rightly, and wrongly in every way that it is told to.
package webauthntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
)

// Device keeps credentials of ES256.
type Device struct {
	// Origin is what its browser says the page is at.
	Origin string
	// RPID is the relying party that it answers for; "" is whichever asks.
	RPID string
	// Verifies: it recognizes its user and says so.
	Verifies bool
	// Synced credentials live elsewhere too.
	Synced bool
	// Counts: its signature counter rises with every answer; otherwise it stays at nothing.
	Counts bool
	// Cross says that the page was in a frame of another site's.
	Cross bool
	// Challenge, when it is not "", is answered instead of the one that was asked.
	Challenge string
	// Handle, when it is not nil, is named as the user's.
	Handle []byte

	t     *testing.T
	creds []*credential
}

type credential struct {
	id, user []byte
	rp       string
	key      *ecdsa.PrivateKey
	count    uint32
}

// New gives a device that recognizes its user, in a browser at an origin.
func New(t *testing.T, origin string) *Device {
	return &Device{t: t, Origin: origin, Verifies: true, Counts: true}
}

// Clone is the same device once more, as it is now.
func (d *Device) Clone() *Device {
	c := *d
	c.creds = nil
	for _, one := range d.creds {
		twin := *one
		c.creds = append(c.creds, &twin)
	}
	return &c
}

// UserHandles are those of the device's credentials, the oldest first.
func (d *Device) UserHandles() (out [][]byte) {
	for _, c := range d.creds {
		out = append(out, c.user)
	}
	return out
}

// options are the members of both kinds of options that a device looks at.
type options struct {
	Challenge string `json:"challenge"`
	RPID      string `json:"rpId"`
	RP        struct {
		ID string `json:"id"`
	} `json:"rp"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Allow   []struct{ ID string } `json:"allowCredentials"`
	Exclude []struct{ ID string } `json:"excludeCredentials"`
}

func (d *Device) read(text string) options {
	d.t.Helper()
	var o options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		d.t.Fatalf("no options: %v: %.80s", err, text)
	}
	return o
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d *Device) client(kind, challenge string) []byte {
	if d.Challenge != "" {
		challenge = d.Challenge
	}
	data := map[string]any{"type": kind, "challenge": challenge, "origin": d.Origin, "crossOrigin": d.Cross}
	if d.Cross {
		data["topOrigin"] = "https://elsewhere.example"
	}
	b, _ := json.Marshal(data) // strings and a truth
	return b
}

// Flags of authenticator data (Web Authentication section 6.1).
const (
	present  = 1 << 0
	verified = 1 << 2
	eligible = 1 << 3
	backedUp = 1 << 4
	attested = 1 << 6
)

func (d *Device) data(rp string, flags byte, count uint32) []byte {
	if d.RPID != "" {
		rp = d.RPID
	}
	if d.Verifies {
		flags |= verified
	}
	if d.Synced {
		flags |= eligible | backedUp
	}
	h := sha256.Sum256([]byte(rp))
	return binary.BigEndian.AppendUint32(append(h[:], flags|present), count)
}

// Excluded says whether a device that holds one of the credentials named would refuse to make another.
func (d *Device) Excluded(text string) bool {
	for _, e := range d.read(text).Exclude {
		for _, c := range d.creds {
			if e.ID == b64(c.id) {
				return true
			}
		}
	}
	return false
}

// Create makes a credential, and gives what the page posts as "credential".
func (d *Device) Create(text string) string {
	d.t.Helper()
	o := d.read(text)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	user, err := base64.RawURLEncoding.DecodeString(o.User.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	c := &credential{id: make([]byte, 32), user: user, rp: o.RP.ID, key: key}
	_, _ = rand.Read(c.id)
	d.creds = append(d.creds, c)
	point, err := key.PublicKey.Bytes()
	if err != nil {
		d.t.Fatal(err)
	}
	data := d.data(o.RP.ID, attested, c.count)
	data = append(data, make([]byte, 16)...) // no AAGUID
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(c.id))), c.id...)
	// A COSE key of ES256 (RFC 9053 section 7.1.1): kty 2, alg -7, crv 1, x, y.
	data = append(data, 0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20)
	data = append(data, point[1:33]...)
	data = append(append(data, 0x22, 0x58, 0x20), point[33:]...)
	// {"fmt": "none", "attStmt": {}, "authData": data} as CBOR.
	object := append([]byte{0xa3, 0x63}, "fmt"...)
	object = append(append(object, 0x64), "none"...)
	object = append(append(object, 0x67), "attStmt"...)
	object = append(append(object, 0xa0, 0x68), "authData"...)
	object = append(binary.BigEndian.AppendUint16(append(object, 0x59), uint16(len(data))), data...)
	return d.post(c, map[string]any{
		"clientDataJSON": b64(d.client("webauthn.create", o.Challenge)), "attestationObject": b64(object), "transports": []string{"internal", "hybrid"},
	})
}

// Get answers with the newest credential that fits; "" when none does.
func (d *Device) Get(text string) string {
	d.t.Helper()
	o := d.read(text)
	var c *credential
	for _, one := range d.creds {
		fits := len(o.Allow) == 0
		for _, a := range o.Allow {
			fits = fits || a.ID == b64(one.id)
		}
		if fits && one.rp == o.RPID {
			c = one
		}
	}
	if c == nil {
		return ""
	}
	return d.sign(text, c)
}

// Any answers with the newest credential, whether it fits or not.
func (d *Device) Any(text string) string {
	d.t.Helper()
	return d.sign(text, d.creds[len(d.creds)-1])
}

// sign answers with one credential.
func (d *Device) sign(text string, c *credential) string {
	d.t.Helper()
	o := d.read(text)
	if d.Counts {
		c.count++
	}
	data, client := d.data(o.RPID, 0, c.count), d.client("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, c.key, digest[:])
	if err != nil {
		d.t.Fatal(err)
	}
	user := c.user
	if d.Handle != nil {
		user = d.Handle
	}
	return d.post(c, map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": b64(user),
	})
}

func (d *Device) post(c *credential, response map[string]any) string {
	b, err := json.Marshal(map[string]any{"id": b64(c.id), "rawId": b64(c.id), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}
