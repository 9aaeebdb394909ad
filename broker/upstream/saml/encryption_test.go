package saml

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

func ourKey(i int) samltest.Key {
	p := ourSecret().Encryption[i]
	return must(samltest.ParseKey(p.Key, p.Certificate))
}

func TestEncryptedAssertions(t *testing.T) {
	for name, e := range map[string]samltest.Encryption{
		"the usual":       {},
		"AES-128":         {Data: samltest.AES128GCM},
		"OAEP SHA-256":    {Digest: samltest.DigestSHA256},
		"OAEP 1.1":        {Transport: samltest.OAEP11},
		"OAEP 1.1 SHA256": {Transport: samltest.OAEP11, Digest: samltest.DigestSHA256, MGF: samltest.MGF1SHA256},
		"key beside":      {KeyBeside: true},
	} {
		for key := range 2 {
			for _, signResponse := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, our key %d, response signed %v", name, key, signResponse), func(t *testing.T) {
					w := newWorld(t)
					w.cfg.RequireEncrypted = true
					r := w.good()
					r.SignResponse, r.SignAssertion = signResponse, !signResponse
					r.EncryptTo, r.Encryption = ourKey(key).Cert, e
					got, report, err := w.arrive(r)
					accepted(t, got, report, err)
				})
			}
		}
	}
}

// XML Encryption section 4.4: what is encrypted may use the namespaces of the place where it stands.
func TestAnEncryptedAssertionInheritsNamespaces(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SignResponse, r.SignAssertion = true, false
	r.Edit = func(root *etree.Element) {
		a := find(root, "Assertion")
		a.RemoveAttr("xmlns:saml")
		plain := must(samltest.Bytes(a))
		root.RemoveChild(a)
		root.AddChild(must(samltest.Encryption{}.EncryptBytes(plain, ourKey(0).Cert)))
	}
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
}

// A prefix that nothing signed uses could have been bound anew by anybody.
func TestAnEncryptedAssertionInheritsOnlyWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SignResponse, r.SignAssertion = true, false
	r.Edit = func(root *etree.Element) {
		root.CreateAttr("xmlns:idle", nsAssertion)
		a := find(root, "Assertion")
		a.Space = "idle"
		plain := must(samltest.Bytes(a))
		root.RemoveChild(a)
		root.AddChild(must(samltest.Encryption{}.EncryptBytes(plain, ourKey(0).Cert)))
	}
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrDecrypt)
}

func TestWhatWasEncryptedMustBeAnAssertion(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SignResponse, r.SignAssertion = true, false
	r.Edit = func(root *etree.Element) {
		root.RemoveChild(find(root, "Assertion"))
		root.AddChild(must(samltest.Encryption{}.EncryptBytes([]byte(`<x ID="_x" Version="2.0"/>`), ourKey(0).Cert)))
	}
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrDecrypt)
}

func TestRefusedEncryption(t *testing.T) {
	for name, c := range map[string]struct {
		e    samltest.Encryption
		want error
	}{
		"CBC":         {samltest.Encryption{Data: samltest.AES256CBC}, ErrEncAlg},
		"CBC 128":     {samltest.Encryption{Data: samltest.AES128CBC}, ErrEncAlg},
		"RSA-1_5":     {samltest.Encryption{Transport: samltest.RSA15}, ErrEncAlg},
		"unknown MGF": {samltest.Encryption{Transport: samltest.OAEP11, MGF: "urn:x"}, ErrEncAlg},
	} {
		w := newWorld(t)
		r := w.good()
		r.EncryptTo, r.Encryption = ourKey(0).Cert, c.e
		got, _, err := w.arrive(r)
		t.Log(name)
		refused(t, got, err, c.want)
	}
}

func TestRSA15IsNeverAccepted(t *testing.T) {
	w := newWorld(t)
	w.cfg.AllowCBC = true
	r := w.good()
	r.EncryptTo, r.Encryption = ourKey(0).Cert, samltest.Encryption{Transport: samltest.RSA15, Data: samltest.AES128CBC}
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrEncAlg)
}

func TestCBCByOptIn(t *testing.T) {
	for _, alg := range []string{samltest.AES128CBC, samltest.AES256CBC} {
		w := newWorld(t)
		w.cfg.AllowCBC = true
		r := w.good()
		r.EncryptTo, r.Encryption = ourKey(0).Cert, samltest.Encryption{Data: alg}
		got, report, err := w.arrive(r)
		accepted(t, got, report, err)
	}
}

// A signature is wanted around or inside what was encrypted: everybody has our public key.
func TestAnEncryptedAssertionMustBeSigned(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SignAssertion, r.EncryptTo = false, ourKey(0).Cert
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrUnsigned)

	w = newWorld(t)
	r = w.good()
	r.Signature.Key, r.EncryptTo = strangerRSA(), ourKey(0).Cert
	got, _, err = w.arrive(r)
	refused(t, got, err, ErrBadCert)
}

// With CBC every failure answers alike, down to the report: a difference would be a padding oracle.
func TestAllDecryptionFailuresAreAlike(t *testing.T) {
	flip := func(tag string, at int) func(*etree.Element) {
		return func(root *etree.Element) {
			data := find(root, "EncryptedData")
			var v *etree.Element
			if tag == "key" {
				v = find(find(data, "EncryptedKey"), "CipherValue")
			} else {
				v = find(data.SelectElement("xenc:CipherData"), "CipherValue")
			}
			b := must(base64.StdEncoding.DecodeString(v.Text()))
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 0x80
			v.SetText(base64.StdEncoding.EncodeToString(b))
		}
	}
	var first string
	for name, edit := range map[string]func(*samltest.Response){
		"key":            func(r *samltest.Response) { r.Tamper = flip("key", 7) },
		"start":          func(r *samltest.Response) { r.Tamper = flip("data", 20) },
		"middle":         func(r *samltest.Response) { r.Tamper = flip("data", 1500) },
		"padding":        func(r *samltest.Response) { r.Tamper = flip("data", -17) },
		"foreign key":    func(r *samltest.Response) { r.EncryptTo = idpRSA().Cert },
		"unsigned":       func(r *samltest.Response) { r.SignAssertion = false },
		"by a stranger":  func(r *samltest.Response) { r.Signature.Key = strangerRSA() },
		"by SHA-1":       func(r *samltest.Response) { r.Signature.Algorithm = samltest.RSASHA1 },
		"not even XML":   func(r *samltest.Response) { r.Edit = encryptedText("hello") },
		"not assertion":  func(r *samltest.Response) { r.Edit = encryptedText("<x/>") },
		"with a DOCTYPE": func(r *samltest.Response) { r.Edit = encryptedText("<!DOCTYPE x><x/>") },
	} {
		w := newWorld(t)
		w.conn.ID = "con_same"
		w.cfg.AllowCBC = true
		r := w.good()
		r.EncryptTo, r.Encryption = ourKey(0).Cert, samltest.Encryption{Data: samltest.AES128CBC}
		edit(&r)
		got, report, err := w.arrive(r)
		refused(t, got, err, ErrDecrypt)
		seen := must(json.Marshal(report))
		if first == "" {
			first = string(seen)
		}
		if string(seen) != first {
			t.Errorf("%s tells more: %s\n%s", name, seen, first)
		}
	}
}

func encryptedText(s string) func(*etree.Element) {
	return func(root *etree.Element) {
		root.RemoveChild(find(root, "EncryptedAssertion"))
		e := must(samltest.Encryption{Data: samltest.AES128CBC}.EncryptBytes([]byte(s), ourKey(0).Cert))
		root.AddChild(e)
	}
}

func TestEncryptionIsRequiredWhereTheConnectionSaysSo(t *testing.T) {
	w := newWorld(t)
	w.cfg.RequireEncrypted = true
	got, _, err := w.arrive(w.good())
	refused(t, got, err, ErrNotEncrypted)
}

func TestWithoutKeysNothingIsDecrypted(t *testing.T) {
	w := newWorld(t)
	w.conn.Secret = nil
	r := w.good()
	r.EncryptTo = ourKey(0).Cert
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrDecrypt)
}

// An evil twin: the assertion inside an encrypted one brings another one, or an ID that is in use.
func TestLimitsHoldOverWhatWasEncrypted(t *testing.T) {
	for name, edit := range map[string]func(a *etree.Element){
		"an assertion in the assertion": func(a *etree.Element) { a.AddChild(a.Copy()) },
		"a used ID":                     func(a *etree.Element) { a.CreateElement("saml:Advice").CreateAttr("ID", "_response") },
		"encrypted again": func(a *etree.Element) {
			a.AddChild(must(samltest.Encryption{}.EncryptBytes([]byte("<x/>"), ourKey(0).Cert)))
		},
	} {
		w := newWorld(t)
		r := w.good()
		r.ID, r.EncryptTo, r.EditAssertion = "_response", ourKey(0).Cert, edit
		got, _, err := w.arrive(r)
		if err == nil || got.Email != "" || !errors.Is(err, ErrDecrypt) && !errors.Is(err, upstream.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
