package saml

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// evil copies an element, without its signature, about somebody else and under another ID.
func evil(e *etree.Element) *etree.Element {
	c := e.Copy()
	for _, s := range c.SelectElements("ds:Signature") {
		c.RemoveChild(s)
	}
	c.CreateAttr("ID", "_evil")
	if n := find(c, "NameID"); n != nil {
		n.SetText("ceo@acme.example")
	}
	return c
}

func object(sig, in *etree.Element) {
	sig.CreateElement("ds:Object").AddChild(in)
}

// Signature wrapping: the eight moves of Somorovsky et al., "On Breaking SAML" (2012), and some more.
// Each keeps a signature that is valid over an element that is still there.
func TestSignatureWrapping(t *testing.T) {
	for name, c := range map[string]struct {
		signResponse bool
		wrap         func(*samltest.Response, *etree.Element) *etree.Element // gives the new root
	}{
		"1: signed response inside the signature of an evil one": {true, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			e := evil(root)
			sig := root.SelectElement("ds:Signature")
			root.RemoveChild(sig)
			sig.AddChild(root)
			e.InsertChildAt(1, sig)
			return e
		}},
		"2: detached signature beside": {true, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			e := evil(root)
			sig := root.SelectElement("ds:Signature")
			root.RemoveChild(sig)
			e.InsertChildAt(1, sig)
			e.InsertChildAt(1, root)
			return e
		}},
		"3: evil assertion before the signed one": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			root.InsertChildAt(a.Index(), evil(a))
			return root
		}},
		"4: signed assertion inside the evil one": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			root.RemoveChild(a)
			e.AddChild(a)
			root.AddChild(e)
			return root
		}},
		"5: evil assertion takes the signature, the signed one at the end": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			sig := a.SelectElement("ds:Signature")
			root.RemoveChild(a)
			a.RemoveChild(sig)
			e.InsertChildAt(1, sig)
			root.AddChild(e)
			root.AddChild(a)
			return root
		}},
		"6: signed assertion inside the evil one's signature": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			sig := a.SelectElement("ds:Signature")
			root.RemoveChild(a)
			a.RemoveChild(sig)
			sig.AddChild(a)
			e.InsertChildAt(1, sig)
			root.AddChild(e)
			return root
		}},
		"7: evil assertion in extensions": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			x := etree.NewElement("samlp:Extensions")
			x.AddChild(evil(find(root, "Assertion")))
			root.InsertChildAt(1, x)
			return root
		}},
		"8: signed assertion in an object": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			sig := a.SelectElement("ds:Signature")
			root.RemoveChild(a)
			a.RemoveChild(sig)
			object(sig, a)
			e.InsertChildAt(1, sig)
			root.AddChild(e)
			return root
		}},
		"the same ID twice": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			e.CreateAttr("ID", a.SelectAttrValue("ID", ""))
			root.InsertChildAt(a.Index(), e)
			return root
		}},
		"the evil one has the signature, and the same ID under another name": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			sig := a.SelectElement("ds:Signature")
			a.RemoveChild(sig)
			e.CreateAttr("ID", a.SelectAttrValue("ID", ""))
			e.InsertChildAt(1, sig)
			a.Tag = "Kept"
			root.InsertChildAt(a.Index(), e)
			return root
		}},
		"signed assertion moved into advice": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			e := evil(a)
			root.RemoveChild(a)
			e.CreateElement("saml:Advice").AddChild(a)
			root.AddChild(e)
			return root
		}},
		"signature of the response moved to the assertion": {true, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			sig := root.SelectElement("ds:Signature")
			root.RemoveChild(sig)
			a := find(root, "Assertion")
			a.InsertChildAt(1, sig)
			find(a, "NameID").SetText("ceo@acme.example")
			return root
		}},
		"evil assertion in another namespace": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			e := evil(find(root, "Assertion"))
			e.CreateAttr("xmlns:saml", "urn:evil")
			root.AddChild(e)
			return root
		}},
		"evil encrypted assertion beside": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			to := must(samltest.ParseKey(ourSecret().Encryption[0].Key, ourSecret().Encryption[0].Certificate))
			root.AddChild(must(samltest.Encryption{}.Encrypt(evil(find(root, "Assertion")), to.Cert)))
			return root
		}},
		"two signatures": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			a := find(root, "Assertion")
			a.InsertChildAt(1, a.SelectElement("ds:Signature").Copy())
			return root
		}},
		"response signature kept, assertion changed": {true, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			find(root, "NameID").SetText("ceo@acme.example")
			return root
		}},
		"a stranger signs the response around a good assertion": {false, func(_ *samltest.Response, root *etree.Element) *etree.Element {
			if err := (samltest.Signature{Key: strangerRSA()}).Sign(root); err != nil {
				panic(err)
			}
			return root
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.good()
			r.SignResponse, r.SignAssertion = c.signResponse, !c.signResponse
			if got, report, err := w.arrive(r); err != nil {
				accepted(t, got, report, err)
			}
			r.AssertionID = "_fresh"
			doc := etree.NewDocument()
			if err := doc.ReadFromBytes(must(r.XML())); err != nil {
				t.Fatal(err)
			}
			root := c.wrap(&r, doc.Root())
			got, _, err := w.bring(must(samltest.Bytes(root)))
			if err == nil || got.Email != "" || got.Key.Subject != "" {
				t.Fatalf("accepted %+v", got)
			}
			t.Log(err)
		})
	}
}

// A comment splits the text of a name for readers that take the first piece only (CVE-2017-11427).
func TestACommentDoesNotShortenAName(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.NameID.Value = "ceo@acme.example.evil.example"
	doc := bytes.Replace(must(r.XML()), []byte("ceo@acme.example.evil.example</saml:NameID>"), []byte("ceo@acme.example<!-- -->.evil.example</saml:NameID>"), 1)
	got, report, err := w.bring(doc)
	accepted(t, got, report, err)
	if got.Key.Subject != "ceo@acme.example.evil.example" {
		t.Errorf("the subject is %q", got.Key.Subject)
	}
}

// What the strict reader refuses before any cryptography.
func TestRefusedDocuments(t *testing.T) {
	w := newWorld(t)
	good := string(must(w.good().XML()))
	insert := func(s string) string { return strings.Replace(good, "<samlp:Status>", s+"<samlp:Status>", 1) }
	for name, doc := range map[string]string{
		"empty":                    "",
		"text":                     "hello",
		"unfinished":               good[:len(good)-20],
		"DOCTYPE":                  "<!DOCTYPE x>" + good,
		"billion laughs":           `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>` + good,
		"external entity":          `<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + insert("<x>&a;</x>"),
		"undefined entity":         insert("<x>&a;</x>"),
		"processing instruction":   insert(`<?php hello?>`),
		"another root after":       good + "<x/>",
		"instruction first":        "<?php hello?>" + good,
		"second declaration":       `<?xml version="1.0"?><?xml version="1.0"?>` + good,
		"UTF-16 declared":          `<?xml version="1.0" encoding="UTF-16"?>` + good,
		"ISO-8859-1 declared":      `<?xml version="1.0" encoding="ISO-8859-1"?>` + good,
		"UTF-16":                   "\xff\xfe<\x00a\x00/\x00>\x00",
		"not UTF-8":                insert("<x>\xc3\x28</x>"),
		"NUL":                      insert("<x>\x00</x>"),
		"two roots":                good + good,
		"text after":               good + "x",
		"text before":              "x" + good,
		"CDATA after":              good + "<![CDATA[x]]>",
		"duplicate attribute":      strings.Replace(good, `Version="2.0"`, `Version="2.0" Version="2.0"`, 1),
		"duplicate by namespace":   insert(`<x xmlns:a="urn:x" xmlns:b="urn:x" a:y="1" b:y="2"/>`),
		"duplicate ID":             insert(`<x ID="_1"/><y ID="_1"/>`),
		"duplicate Id":             insert(`<x Id="_1"/><y id="_1"/>`),
		"undeclared prefix":        insert(`<nope:x/>`),
		"undeclared attribute":     insert(`<x nope:y="1"/>`),
		"prefix taken back":        insert(`<x xmlns:samlp=""/>`),
		"xmlns declared":           insert(`<x xmlns:xmlns="urn:x"/>`),
		"xml rebound":              insert(`<x xmlns:xml="urn:x"/>`),
		"xml namespace by another": insert(`<x xmlns:a="` + nsXML + `"/>`),
		"xmlns namespace":          insert(`<x xmlns:a="` + nsXMLNS + `"/>`),
		"two colons":               insert(`<a:b:c/>`),
		"leading colon":            insert(`<:c/>`),
		"trailing colon":           insert(`<samlp:/>`),
		"attribute of two colons":  insert(`<x a:b:c="1"/>`),
		"attribute, leading colon": insert(`<x :y="1"/>`),
		"attribute, ending colon":  insert(`<x samlp:="1"/>`),
		"crossed tags":             insert(`<x><y></x></y>`),
		"other prefix closes":      strings.Replace(good, "</samlp:Response>", "</saml:Response>", 1),
		"unquoted attribute":       insert(`<x y=1/>`),
		"bare ampersand":           insert(`<x>a & b</x>`),
		"deep":                     insert(strings.Repeat("<x>", 40) + strings.Repeat("</x>", 40)),
		"wide":                     insert(strings.Repeat("<x/>", maxElements)),
		"100,000 elements":         insert(strings.Repeat("<x/>", 100_000)),
		"many attributes":          insert("<x" + manyAttributes(40) + "/>"),
		"very many attributes":     insert(strings.Repeat("<x"+manyAttributes(30)+"/>", 800)),
		"many comments":            insert(strings.Repeat("<!---->", maxTokens)),
		"huge":                     insert("<x>" + strings.Repeat("A", maxBytes) + "</x>"),
		"many certificates":        insert(strings.Repeat(`<X509Certificate xmlns="`+nsDsig+`"/>`, 9)),
		"a signature elsewhere":    insert(`<x><Signature xmlns="` + nsDsig + `"/></x>`),
		"root of another name":     strings.ReplaceAll(good, "samlp:Response", "samlp:LogoutResponse"),
		"root without ID":          regexp.MustCompile(`^(<samlp:Response[^>]*?) ID="[^"]*"`).ReplaceAllString(good, "$1"),
		"another root":             `<samlp:LogoutResponse xmlns:samlp="` + nsProtocol + `"/>`,
		"response, no namespace":   `<Response Version="2.0" ID="_x"/>`,
		"response, SAML 1":         `<Response xmlns="urn:oasis:names:tc:SAML:1.0:protocol" Version="2.0" ID="_x"/>`,
		"nested response":          insert(`<samlp:Response/>`),
		"two encrypted assertions": insert(strings.Repeat(`<EncryptedAssertion xmlns="`+nsAssertion+`"/>`, 2)),
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := w.bring([]byte(doc))
			refused(t, got, err, upstream.ErrMalformed)
		})
	}
	got, report, err := w.bring([]byte("\xef\xbb\xbf" + `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + good + "\n<!-- end -->"))
	accepted(t, got, report, err)
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d="1"`, i)
	}
	return b.String()
}

// The names that decide something count in their own namespace only (the library reads by local name).
func TestNamesInForeignNamespaces(t *testing.T) {
	for name := range home {
		w := newWorld(t)
		r := w.good()
		r.EditAssertion = func(a *etree.Element) {
			e := a.CreateElement("evil:" + name)
			e.CreateAttr("xmlns:evil", "urn:evil")
		}
		got, _, err := w.arrive(r)
		refused(t, got, err, upstream.ErrMalformed)
	}
}

func TestS23ReportsHoldNoRawText(t *testing.T) {
	w := newWorld(t)
	r := w.good()
	r.Audience = "x\u202e\x1b" + strings.Repeat("é", 4000)
	_, report, err := w.arrive(r)
	if !errors.Is(err, upstream.ErrMalformed) && !errors.Is(err, ErrBadAudience) {
		t.Fatal(err)
	}
	r.Audience = "x\u202e\u0085" + strings.Repeat("é", 4000)
	_, report, err = w.arrive(r)
	if !errors.Is(err, ErrBadAudience) {
		t.Fatal(err)
	}
	_, _, got, _ := check(report, "audience")
	if upstream.Shown(got) != got || strings.ContainsAny(got, "\u202e\u0085\x1b") {
		t.Errorf("shown %q", got)
	}
	for _, c := range report {
		if strings.Contains(c.Got+c.Expected, w.attempt.Nonce) || strings.Contains(c.Got+c.Expected, "ada@") {
			t.Errorf("%s shows a secret or a person: %+v", c.Name, c)
		}
	}
}
