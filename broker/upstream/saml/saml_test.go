package saml

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
	"github.com/vestibule-id/vestibule/internal/fault"
)

func TestAGoodAnswerSignsIn(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.SessionNotOnOrAfter = noon.Add(8 * time.Hour)
	r.AuthnInstant = noon.Add(10 * time.Second)
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	want := upstream.Assertion{
		Email: "ada@acme.example", Name: "Ada Lovelace", Given: "Ada", Family: "Lovelace",
		AuthTime: noon.Add(10 * time.Second), ACR: samltest.PasswordClass, SID: "_session1", Until: noon.Add(8 * time.Hour),
	}
	want.Key.Connection, want.Key.Issuer, want.Key.Subject = w.conn.ID, idp, "ada@acme.example"
	got.Claims = nil
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, c := range report {
		if !c.OK {
			t.Errorf("%s failed: %+v", c.Name, c)
		}
	}
	for _, name := range []string{"signature", "audience", "recipient", "destination", "issuer", "clock", "replay"} {
		if _, found, _, _ := check(report, name); !found {
			t.Errorf("the report lacks %s", name)
		}
	}
}

// Ways of signing that providers use and that must work.
func TestWaysOfSigning(t *testing.T) {
	for name, edit := range map[string]func(*samltest.Response){
		"assertion":    func(r *samltest.Response) {},
		"response":     func(r *samltest.Response) { r.SignResponse, r.SignAssertion = true, false },
		"both":         func(r *samltest.Response) { r.SignResponse = true },
		"no KeyInfo":   func(r *samltest.Response) { r.Signature.KeyInfo = samltest.WithoutKeyInfo },
		"KeyName":      func(r *samltest.Response) { r.Signature.KeyInfo = samltest.WithKeyName },
		"KeyValue":     func(r *samltest.Response) { r.Signature.KeyInfo = samltest.WithKeyValue },
		"the next key": func(r *samltest.Response) { r.Signature.Key = idpNext() },
		"next, no KeyInfo": func(r *samltest.Response) {
			r.Signature = samltest.Signature{Key: idpNext(), KeyInfo: samltest.WithoutKeyInfo}
		},
		"ECDSA": func(r *samltest.Response) { r.Signature.Key = idpEC() },
		"ECDSA, no KeyInfo": func(r *samltest.Response) {
			r.Signature = samltest.Signature{Key: idpEC(), KeyInfo: samltest.WithoutKeyInfo}
		},
		"RSA-PSS":        func(r *samltest.Response) { r.Signature.Algorithm = samltest.PSSSHA256 },
		"RSA-SHA384":     func(r *samltest.Response) { r.Signature.Algorithm = samltest.RSASHA384 },
		"RSA-SHA512":     func(r *samltest.Response) { r.Signature.Algorithm = samltest.RSASHA512 },
		"SHA-512 digest": func(r *samltest.Response) { r.Signature.Digest = samltest.DigestSHA512 },
		"prefix list": func(r *samltest.Response) {
			r.Signature.Prefixes = "xs"
			r.EditAssertion = func(a *etree.Element) {
				a.CreateAttr("xmlns:xs", "http://www.w3.org/2001/XMLSchema")
				a.CreateAttr("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
				find(a, "AttributeValue").CreateAttr("xsi:type", "xs:string")
			}
		},
		"comments and white space": func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { e.CreateComment("hello"); e.CreateText("\n  ") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.good()
			edit(&r)
			got, report, err := w.arrive(r)
			accepted(t, got, report, err)
		})
	}
}

// Capabilities row 18: what is refused about signatures, each with its own code.
func TestRefusedSignatures(t *testing.T) {
	stranger := strangerRSA()
	known := idpRSA()
	for name, c := range map[string]struct {
		edit func(*samltest.Response)
		want error
	}{
		"none":        {func(r *samltest.Response) { r.SignAssertion = false }, ErrUnsigned},
		"unknown key": {func(r *samltest.Response) { r.Signature.Key = stranger }, ErrBadCert},
		"unknown, no KeyInfo": {func(r *samltest.Response) {
			r.Signature = samltest.Signature{Key: stranger, KeyInfo: samltest.WithoutKeyInfo}
		}, ErrBadCert},
		"unknown, claims ours": {func(r *samltest.Response) { r.Signature.Key, r.Signature.Claimed = stranger, &known }, ErrBadSignature},
		"unknown KeyValue": {func(r *samltest.Response) {
			r.Signature = samltest.Signature{Key: stranger, KeyInfo: samltest.WithKeyValue}
		}, ErrBadCert},
		"SHA-1":        {func(r *samltest.Response) { r.Signature.Algorithm = samltest.RSASHA1 }, ErrSigAlg},
		"SHA-1 digest": {func(r *samltest.Response) { r.Signature.Digest = samltest.DigestSHA1 }, ErrDigestAlg},
		"HMAC with the certificate": {func(r *samltest.Response) {
			r.Signature.Algorithm, r.Signature.HMACKey = samltest.HMACSHA256, known.Cert.Raw
		}, ErrSigAlg},
		"ECDSA in ASN.1": {func(r *samltest.Response) { r.Signature = samltest.Signature{Key: idpEC(), DER: true} }, ErrBadSignature},
		"RSA named ECDSA": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { find(i, "SignatureMethod").Attr[0].Value = samltest.ECDSASHA256 }
		}, ErrBadSignature},
		"ECDSA named RSA": {func(r *samltest.Response) {
			r.Signature = samltest.Signature{Key: idpEC(), EditInfo: func(i *etree.Element) { find(i, "SignatureMethod").Attr[0].Value = samltest.RSASHA256 }}
		}, ErrBadSignature},
		"ECDSA with a byte more": {func(r *samltest.Response) {
			r.Signature.Key = idpEC()
			r.Tamper = func(e *etree.Element) {
				v := find(e, "SignatureValue")
				v.SetText(base64.StdEncoding.EncodeToString(append(must(base64.StdEncoding.DecodeString(v.Text())), 0)))
			}
		}, ErrBadSignature},
		"an algorithm with parameters": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { find(i, "SignatureMethod").CreateElement("ds:HMACOutputLength") }
		}, ErrSigAlg},
		"a transform with parameters": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { find(i, "Transform").CreateElement("ds:XPath") }
		}, ErrSignedOther},
		"an element without ID": {func(r *samltest.Response) {
			r.EditAssertion = func(a *etree.Element) { a.RemoveAttr("ID") }
		}, ErrSignedOther},
		"changed content": {func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { find(e, "NameID").SetText("eve@acme.example") }
		}, ErrBadSignature},
		"changed digest": {func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { find(e, "DigestValue").SetText("AAAA") }
		}, ErrBadSignature},
		"signature of nothing": {func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { find(e, "SignatureValue").SetText("") }
		}, ErrBadSignature},
		"two references": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { i.AddChild(find(i, "Reference").Copy()) }
		}, ErrSignedOther},
		"no reference": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { i.RemoveChild(find(i, "Reference")) }
		}, ErrSignedOther},
		"reference to the whole document": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) { find(i, "Reference").CreateAttr("URI", "") }
		}, ErrSignedOther},
		"XPath transform": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) {
				find(i, "Transform").CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
			}
		}, ErrSignedOther},
		"inclusive canonicalization": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) {
				find(i, "CanonicalizationMethod").CreateAttr("Algorithm", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")
			}
		}, ErrSignedOther},
		"canonicalization with comments": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) {
				find(i, "CanonicalizationMethod").CreateAttr("Algorithm", samltest.ExcC14N+"WithComments")
			}
		}, ErrSignedOther},
		"one transform only": {func(r *samltest.Response) {
			r.Signature.EditInfo = func(i *etree.Element) {
				ts := find(i, "Transforms")
				ts.RemoveChildAt(len(ts.Child) - 1)
			}
		}, ErrSignedOther},
		"an object": {func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { find(e, "Signature").CreateElement("ds:Object") }
		}, ErrSignedOther},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.good()
			c.edit(&r)
			got, _, err := w.arrive(r)
			refused(t, got, err, c.want)
		})
	}
}

func TestPolicyDecidesAlgorithms(t *testing.T) {
	w := newWorld(t)
	w.allowed = []string{"ES256"}
	got, report, err := w.arrive(w.good())
	refused(t, got, err, ErrSigAlg)
	if _, _, g, want := check(report, "signature_algorithm"); g != "rsa-sha256" || want != "ES256" {
		t.Errorf("got %q, expected %q", g, want)
	}
	r := w.good()
	r.Signature.Key = idpEC()
	got, report, err = w.arrive(r)
	accepted(t, got, report, err)
}

// SHA-1 is refused whatever policy lists (protocols.md section 5).
func TestSHA1IsRefusedWhateverPolicySays(t *testing.T) {
	w := newWorld(t)
	w.allowed = []string{"RS1", "RS256", "rsa-sha1"}
	r := w.good()
	r.Signature.Algorithm = samltest.RSASHA1
	got, _, err := w.arrive(r)
	refused(t, got, err, ErrSigAlg)
	if !strings.Contains(fault.Of(err).Public, "RSA-SHA256") {
		t.Error("the sentence does not name the setting to change")
	}
}

func TestAnUnknownCertificateIsShownByItsFingerprint(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.Signature.Key = strangerRSA()
	_, report, _ := w.arrive(r)
	_, _, got, expected := check(report, "certificate")
	if got != brief(fingerprint(strangerRSA().Cert.Raw)) || !strings.HasPrefix(expected, brief(fingerprint(idpRSA().Cert.Raw))) {
		t.Errorf("got %q, expected %q", got, expected)
	}
}

// Every check of protocols.md section 5 over what the assertion says.
func TestRefusedContent(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*samltest.Response)
		want error
	}{
		"wrong audience":                  {func(r *samltest.Response) { r.Audience = "https://other.example" }, ErrBadAudience},
		"audience with a slash":           {func(r *samltest.Response) { r.Audience += "/" }, ErrBadAudience},
		"no audience":                     {func(r *samltest.Response) { r.Audience = "" }, ErrBadAudience},
		"no conditions":                   {editAssertion(func(a *etree.Element) { a.RemoveChild(find(a, "Conditions")) }), ErrBadAudience},
		"conditions twice":                {editAssertion(func(a *etree.Element) { a.AddChild(find(a, "Conditions").Copy()) }), ErrBadAudience},
		"a second restriction":            {editAssertion(secondAudience), ErrBadAudience},
		"unknown condition":               {editAssertion(func(a *etree.Element) { find(a, "Conditions").CreateElement("saml:Condition") }), ErrCondition},
		"wrong recipient":                 {func(r *samltest.Response) { r.Recipient = "https://evil.example/acs" }, ErrBadRecipient},
		"no recipient":                    {func(r *samltest.Response) { r.Recipient = "" }, ErrBadRecipient},
		"wrong destination":               {func(r *samltest.Response) { r.Destination = "https://evil.example/acs" }, ErrBadDestination},
		"signed, no destination":          {func(r *samltest.Response) { r.Destination, r.SignResponse = "", true }, ErrBadDestination},
		"wrong issuer":                    {func(r *samltest.Response) { r.Issuer = "https://other.example" }, ErrBadIssuer},
		"wrong issuer, assertion":         {editAssertion(func(a *etree.Element) { find(a, "Issuer").SetText("https://other.example") }), ErrBadIssuer},
		"no issuer, assertion":            {editAssertion(func(a *etree.Element) { a.RemoveChild(find(a, "Issuer")) }), ErrBadIssuer},
		"two issuers":                     {editAssertion(func(a *etree.Element) { a.AddChild(find(a, "Issuer").Copy()) }), ErrBadIssuer},
		"issuer of another kind":          {editAssertion(func(a *etree.Element) { find(a, "Issuer").CreateAttr("Format", samltest.EmailFormat) }), ErrBadIssuer},
		"issuer in another case":          {func(r *samltest.Response) { r.Issuer = strings.ToUpper(idp) }, ErrBadIssuer},
		"foreign InResponseTo":            {func(r *samltest.Response) { r.InResponseTo = "_other" }, ErrInResponseTo},
		"unsolicited":                     {func(r *samltest.Response) { r.InResponseTo = "" }, ErrUnsolicited},
		"unsolicited confirmation":        {editAssertion(func(a *etree.Element) { find(a, "SubjectConfirmationData").RemoveAttr("InResponseTo") }), ErrInResponseTo},
		"foreign confirmation":            {editAssertion(func(a *etree.Element) { find(a, "SubjectConfirmationData").CreateAttr("InResponseTo", "_x") }), ErrInResponseTo},
		"foreign response, own assertion": {func(r *samltest.Response) { r.Tamper = func(e *etree.Element) { e.CreateAttr("InResponseTo", "_x") } }, ErrInResponseTo},
		"future response, own assertion": {func(r *samltest.Response) {
			r.Tamper = func(e *etree.Element) { e.CreateAttr("IssueInstant", "2026-03-04T13:00:00Z") }
		}, ErrNotYet},
		"a very long ID":         {func(r *samltest.Response) { r.AssertionID = "_" + strings.Repeat("a", maxID) }, upstream.ErrMalformed},
		"expired":                {func(r *samltest.Response) { r.NotOnOrAfter = noon.Add(-3 * time.Minute) }, ErrExpired},
		"expired conditions":     {editAssertion(func(a *etree.Element) { find(a, "Conditions").CreateAttr("NotOnOrAfter", "2026-03-04T11:00:00Z") }), ErrExpired},
		"no end of confirmation": {editAssertion(func(a *etree.Element) { find(a, "SubjectConfirmationData").RemoveAttr("NotOnOrAfter") }), upstream.ErrMalformed},
		"confirmation not before": {editAssertion(func(a *etree.Element) {
			find(a, "SubjectConfirmationData").CreateAttr("NotBefore", "2026-03-04T11:00:00Z")
		}), ErrConfirmation},
		"not yet":              {func(r *samltest.Response) { r.NotBefore = noon.Add(5 * time.Minute) }, ErrNotYet},
		"issued in the future": {func(r *samltest.Response) { r.IssueInstant = noon.Add(5 * time.Minute) }, ErrNotYet},
		"authn in the future":  {func(r *samltest.Response) { r.AuthnInstant = noon.Add(5 * time.Minute) }, ErrNotYet},
		"session over":         {func(r *samltest.Response) { r.SessionNotOnOrAfter = noon.Add(-4 * time.Minute) }, ErrExpired},
		"no time":              {editAssertion(func(a *etree.Element) { a.CreateAttr("IssueInstant", "noon") }), upstream.ErrMalformed},
		"no bearer": {editAssertion(func(a *etree.Element) {
			find(a, "SubjectConfirmation").CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")
		}), ErrConfirmation},
		"no confirmation":         {editAssertion(func(a *etree.Element) { s := find(a, "Subject"); s.RemoveChild(find(s, "SubjectConfirmation")) }), ErrConfirmation},
		"no statement":            {editAssertion(func(a *etree.Element) { a.RemoveChild(find(a, "AuthnStatement")) }), ErrNoStatement},
		"no subject":              {editAssertion(func(a *etree.Element) { a.RemoveChild(find(a, "Subject")) }), ErrNoSubject},
		"two subjects":            {editAssertion(func(a *etree.Element) { a.AddChild(find(a, "Subject").Copy()) }), ErrNoSubject},
		"no name":                 {func(r *samltest.Response) { r.NameID.Value = "" }, ErrNoSubject},
		"two names":               {editAssertion(func(a *etree.Element) { find(a, "Subject").AddChild(find(a, "NameID").Copy()) }), ErrNoSubject},
		"name in white space":     {func(r *samltest.Response) { r.NameID.Value = " ada" }, ErrNoSubject},
		"name that lost a letter": {func(r *samltest.Response) { r.NameID.Value = "ad\ufffd" }, ErrNoSubject},
		"name with a line break":  {func(r *samltest.Response) { r.NameID.Value = "ad\na" }, ErrNoSubject},
		"name with an element":    {editAssertion(func(a *etree.Element) { find(a, "NameID").CreateElement("saml:x") }), ErrNoSubject},
		"transient name":          {func(r *samltest.Response) { r.NameID.Format = samltest.TransientFormat }, ErrTransient},
		"version 1.1":             {editAssertion(func(a *etree.Element) { a.CreateAttr("Version", "1.1") }), upstream.ErrMalformed},
		"no ID": {func(r *samltest.Response) {
			r.SignResponse, r.SignAssertion = true, false
			editAssertion(func(a *etree.Element) { a.RemoveAttr("ID") })(r)
		}, upstream.ErrMalformed},
		"response version": {func(r *samltest.Response) { r.Edit = func(e *etree.Element) { e.CreateAttr("Version", "1.1") } }, upstream.ErrMalformed},
		"no status":        {func(r *samltest.Response) { r.Edit = func(e *etree.Element) { e.RemoveChild(find(e, "Status")) } }, upstream.ErrMalformed},
		"no assertion":     {func(r *samltest.Response) { r.Edit = func(e *etree.Element) { e.RemoveChild(find(e, "Assertion")) } }, upstream.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.good()
			c.edit(&r)
			got, _, err := w.arrive(r)
			refused(t, got, err, c.want)
			if len(w.spent) > 0 {
				t.Error("a refused answer was spent")
			}
		})
	}
}

func editAssertion(f func(*etree.Element)) func(*samltest.Response) {
	return func(r *samltest.Response) { r.EditAssertion = f }
}

func secondAudience(a *etree.Element) {
	find(a, "Conditions").CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText("https://other.example")
}

func TestWhatMayBeInAnAnswer(t *testing.T) {
	for name, edit := range map[string]func(*samltest.Response){
		"our audience among others": editAssertion(func(a *etree.Element) {
			find(a, "AudienceRestriction").CreateElement("saml:Audience").SetText("https://other.example")
		}),
		"a confirmation that is not for us": editAssertion(func(a *etree.Element) {
			c := find(a, "SubjectConfirmation").Copy()
			find(c, "SubjectConfirmationData").CreateAttr("Recipient", "https://other.example")
			find(a, "Subject").InsertChildAt(0, c)
		}),
		"one time use and proxies": editAssertion(func(a *etree.Element) {
			find(a, "Conditions").CreateElement("saml:OneTimeUse")
			find(a, "Conditions").CreateElement("saml:ProxyRestriction")
		}),
		"a clock two minutes ahead": func(r *samltest.Response) {
			r.IssueInstant, r.NotBefore, r.AuthnInstant = noon.Add(3*time.Minute), noon.Add(3*time.Minute), noon.Add(3*time.Minute)
		},
		"a clock two minutes behind": func(r *samltest.Response) { r.NotOnOrAfter = noon.Add(-time.Minute) },
		"no destination, unsigned":   func(r *samltest.Response) { r.Destination = "" },
		"no response issuer":         func(r *samltest.Response) { r.Edit = func(e *etree.Element) { e.RemoveChild(find(e, "Issuer")) } },
		"times without a zone":       editAssertion(func(a *etree.Element) { a.CreateAttr("IssueInstant", "2026-03-04T12:00:30") }),
		"a name in an attribute": editAssertion(func(a *etree.Element) {
			v := find(a, "AttributeStatement").CreateElement("saml:Attribute")
			v.CreateAttr("Name", "urn:oid:1.3.6.1.4.1.5923.1.1.1.10")
			v.CreateElement("saml:AttributeValue").AddChild(find(a, "NameID").Copy())
		}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.good()
			edit(&r)
			got, report, err := w.arrive(r)
			accepted(t, got, report, err)
		})
	}
}

func TestEachAssertionIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	doc := must(w.good().XML())
	got, report, err := w.bring(doc)
	accepted(t, got, report, err)
	got, _, err = w.bring(doc)
	refused(t, got, err, upstream.ErrReplay)
	for key, until := range w.spent {
		if !strings.HasPrefix(key, "assertion _") || !until.Equal(noon.Add(30*time.Second+5*time.Minute+defaultSkew)) {
			t.Errorf("spent %s until %s", key, until)
		}
	}
}

func TestAProviderCannotMakeUsRememberForACentury(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.NotOnOrAfter = noon.AddDate(100, 0, 0)
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	for _, until := range w.spent {
		if until.After(noon.Add(25 * time.Hour)) {
			t.Errorf("until %s", until)
		}
	}
}

// Capabilities row 12: the skew is the connection's, and what was measured is told.
func TestTheMeasuredSkewIsReported(t *testing.T) {
	for _, c := range []struct {
		off  time.Duration
		skew time.Duration
		want error
		got  string
	}{
		{10 * time.Minute, 0, ErrNotYet, "ahead by 10m0s"},
		{-10 * time.Minute, 0, ErrExpired, "behind by at least 9m0s"},
		{2 * time.Minute, time.Minute, ErrNotYet, "ahead by 2m0s"},
		{4 * time.Minute, 5 * time.Minute, nil, "ahead by 4m0s"},
		{0, 0, nil, "in step"},
	} {
		w := newWorld(t)
		w.conn.Skew = c.skew
		at := w.now.Add(c.off)
		r := samltest.Good(idpRSA(), idp, w.entityID(), w.acs(), "_"+w.attempt.Nonce, "ada@acme.example", at)
		_, report, err := w.arrive(r)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.off, err, c.want)
		}
		if _, _, got, _ := check(report, "clock"); got != c.got {
			t.Errorf("%s: clock %q, want %q", c.off, got, c.got)
		}
	}
}

func TestTheSkewOfAConnectionIsBounded(t *testing.T) {
	w := newWorld(t)
	w.cfg.Certificates = []string{idpRSA().CertPEM()}
	p := w.open().(*provider)
	p.connection.Skew = time.Hour // a row that was written past Check
	if p.skew() != maxSkew {
		t.Errorf("skew %s", p.skew())
	}
}

func TestStatusesHaveTheirOwnCodes(t *testing.T) {
	for _, c := range []struct{ top, second, code string }{
		{"Requester", "", "saml.status_requester"},
		{"Responder", "", "saml.status_responder"},
		{"Requester", "InvalidNameIDPolicy", "saml.status_invalid_name_id_policy"},
		{"Responder", "NoAuthnContext", "saml.status_no_authn_context"},
		{"Responder", "RequestDenied", "saml.status_request_denied"},
		{"Responder", "AuthnFailed", "saml.status_authn_failed"},
		{"Responder", "SomethingNew", "saml.status_responder"},
		{"Strange", "", "saml.status_other"},
	} {
		w := newWorld(t)
		r := w.good()
		r.Status, r.StatusMessage = statusPrefix+c.top, "<script>secret internals</script>"
		if c.second != "" {
			r.SubStatus = statusPrefix + c.second
		}
		got, report, err := w.arrive(r)
		if fault.Of(err).Code != c.code || got.Email != "" {
			t.Errorf("%s %s: %v", c.top, c.second, err)
		}
		if strings.Contains(fmt.Sprint(report), "internals") {
			t.Error("the provider's own words are in the report")
		}
	}
}

// A person may take ten minutes at the provider (protocols.md section 5), but a login ends.
func TestSlowPeople(t *testing.T) {
	w := newWorld(t)
	w.now = noon.Add(15 * time.Minute)
	r := samltest.Good(idpRSA(), idp, w.entityID(), w.acs(), "_"+w.attempt.Nonce, "ada@acme.example", w.now)
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)

	w.now = w.attempt.Until.Add(time.Second)
	r = samltest.Good(idpRSA(), idp, w.entityID(), w.acs(), "_"+w.attempt.Nonce, "ada@acme.example", w.now)
	got, _, err = w.arrive(r)
	refused(t, got, err, ErrLoginOver)
}

func TestForceAuthnAndMaxAgeAreHeld(t *testing.T) {
	hour := time.Hour
	for name, c := range map[string]struct {
		force  bool
		maxAge *time.Duration
		authn  time.Time
		want   error
	}{
		"forced, old session":   {true, nil, noon.Add(-time.Hour), ErrNotFresh},
		"forced, fresh":         {true, nil, noon.Add(time.Second), nil},
		"an hour, two ago":      {false, &hour, noon.Add(-2 * time.Hour), ErrNotFresh},
		"an hour, half ago":     {false, &hour, noon.Add(-30 * time.Minute), nil},
		"not asked, yesterday":  {false, nil, noon.Add(-24 * time.Hour), nil},
		"the earliest one rule": {true, nil, noon.Add(-4 * time.Minute), ErrNotFresh},
	} {
		w := newWorld(t)
		w.attempt.Force, w.attempt.MaxAge = c.force, c.maxAge
		r := w.good()
		r.AuthnInstant = c.authn
		_, _, err := w.arrive(r)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestTwoThousandGroups(t *testing.T) {
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("cn=group %d of a large company,ou=groups,dc=acme,dc=example", i)
	}
	w := newWorld(t)
	r := w.good()
	r.SignResponse = true
	r.Attributes = append(r.Attributes, samltest.Attribute{Name: "groups", Values: many})
	got, report, err := w.arrive(r)
	accepted(t, got, report, err)
	if !slices.Equal(got.Groups, many) {
		t.Errorf("%d groups came", len(got.Groups))
	}
	if len(got.Claims["groups"]) != maxClaimValues {
		t.Errorf("%d values in claims", len(got.Claims["groups"]))
	}

	// Some products write one attribute for each.
	w = newWorld(t)
	r = w.good()
	for _, g := range many {
		r.Attributes = append(r.Attributes, samltest.Attribute{Name: "groups", Values: []string{g}})
	}
	got, report, err = w.arrive(r)
	accepted(t, got, report, err)
	if len(got.Groups) != len(many) {
		t.Errorf("%d groups came one by one", len(got.Groups))
	}
}

func TestOneConnectionCannotTakeAllTheTime(t *testing.T) {
	w := newWorld(t)
	p := w.open().(*provider)
	for range atOnce {
		if err := p.turns.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	in := upstream.Arrival{Method: "POST", Values: samltest.Form(must(w.good().XML()), w.attempt.ID)}
	if _, _, err := p.Arrive(ctx, w.attempt, in); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	for range waiting {
		p.turns.queue <- struct{}{}
	}
	if _, _, err := p.Arrive(t.Context(), w.attempt, in); !errors.Is(err, ErrBusy) {
		t.Errorf("a full queue: %v", err)
	}
	for range waiting {
		<-p.turns.queue
	}
	for range atOnce {
		p.turns.leave()
	}
	got, report, err := p.Arrive(t.Context(), w.attempt, in)
	accepted(t, got, report, err)
}

func TestAPanicIsARefusal(t *testing.T) {
	w := newWorld(t)
	p := w.open().(*provider)
	p.env.Spend = nil // calling it panics
	in := upstream.Arrival{Method: "POST", Values: samltest.Form(must(w.good().XML()), w.attempt.ID)}
	got, report, err := p.Arrive(t.Context(), w.attempt, in)
	refused(t, got, err, upstream.ErrMalformed)
	if len(report) == 0 {
		t.Error("the report is lost")
	}
	if len(p.turns.seats) != 0 || len(p.turns.queue) != 0 {
		t.Error("the seat is not given back")
	}
}

func TestArrivalsThatAreNone(t *testing.T) {
	w := newWorld(t)
	doc := must(w.good().XML())
	form := func(edit func(v map[string][]string)) upstream.Arrival {
		v := samltest.Form(doc, w.attempt.ID)
		edit(v)
		return upstream.Arrival{Method: "POST", Values: v}
	}
	for name, c := range map[string]struct {
		in   upstream.Arrival
		want error
	}{
		"GET":                {upstream.Arrival{Method: "GET", Values: samltest.Form(doc, w.attempt.ID)}, upstream.ErrMalformed},
		"artifact":           {form(func(v map[string][]string) { v["SAMLart"] = []string{"AAQ="} }), upstream.ErrMalformed},
		"two responses":      {form(func(v map[string][]string) { v["SAMLResponse"] = append(v["SAMLResponse"], v["SAMLResponse"][0]) }), upstream.ErrMalformed},
		"two relay states":   {form(func(v map[string][]string) { v["RelayState"] = append(v["RelayState"], "x") }), upstream.ErrMalformed},
		"no response":        {form(func(v map[string][]string) { delete(v, "SAMLResponse") }), upstream.ErrMalformed},
		"not base64":         {form(func(v map[string][]string) { v["SAMLResponse"] = []string{"%%%"} }), upstream.ErrMalformed},
		"too long":           {form(func(v map[string][]string) { v["SAMLResponse"] = []string{strings.Repeat("A", maxBytes+4)} }), upstream.ErrMalformed},
		"other relay state":  {form(func(v map[string][]string) { v["RelayState"] = []string{"other"} }), ErrInResponseTo},
		"no relay state":     {form(func(v map[string][]string) { delete(v, "RelayState") }), ErrInResponseTo},
		"nothing whatsoever": {upstream.Arrival{Method: "POST"}, upstream.ErrMalformed},
	} {
		got, _, err := w.open().Arrive(t.Context(), w.attempt, c.in)
		if !errors.Is(err, c.want) || got.Email != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := w.open().Arrive(t.Context(), upstream.Attempt{}, form(func(map[string][]string) {})); !errors.Is(err, ErrUnsolicited) {
		t.Errorf("without an attempt: %v", err)
	}
}
