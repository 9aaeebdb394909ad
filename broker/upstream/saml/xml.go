package saml

// The strict reader. A document that passes it has one meaning: every name is in a declared namespace,
// nothing is defined twice, and the names that decide something stand in the namespaces they belong to.

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsDsig      = "http://www.w3.org/2000/09/xmldsig#"
	nsEnc       = "http://www.w3.org/2001/04/xmlenc#"
	nsEnc11     = "http://www.w3.org/2009/xmlenc11#"
	nsXML       = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS     = "http://www.w3.org/2000/xmlns/"
)

// A person in 2,000 groups needs 4,000 elements when the provider writes one attribute for each.
const (
	maxBytes      = 1 << 20 // as it comes, in base64
	maxDepth      = 32
	maxElements   = 10_000
	maxAttributes = 20_000
	maxOwn        = 32 // attributes of one element
	maxTokens     = 40_000
)

// home says where a name that decides something belongs. Libraries that read by local name in any
// namespace have been led to read an attacker's element; here such a document is not read at all.
var home = map[string]string{
	"Response": nsProtocol, "Status": nsProtocol, "StatusCode": nsProtocol,
	"Assertion": nsAssertion, "EncryptedAssertion": nsAssertion, "EncryptedID": nsAssertion, "Issuer": nsAssertion,
	"Subject": nsAssertion, "NameID": nsAssertion, "SubjectConfirmation": nsAssertion, "SubjectConfirmationData": nsAssertion,
	"Conditions": nsAssertion, "AudienceRestriction": nsAssertion, "Audience": nsAssertion,
	"AuthnStatement": nsAssertion, "AttributeStatement": nsAssertion, "AttributeValue": nsAssertion,
	"Signature": nsDsig, "SignedInfo": nsDsig, "SignatureValue": nsDsig, "SignatureMethod": nsDsig,
	"CanonicalizationMethod": nsDsig, "Reference": nsDsig, "Transform": nsDsig, "DigestValue": nsDsig,
	"X509Certificate": nsDsig,
	"EncryptedData":   nsEnc, "EncryptedKey": nsEnc, "CipherValue": nsEnc,
}

// caps on what is worked on by cryptography, in one document with what was decrypted in it.
var caps = map[string]int{
	"Response": 1, "Assertion": 1, "EncryptedAssertion": 1, "EncryptedData": 1, "EncryptedKey": 2,
	"Signature": 2, "Reference": 2, "Transform": 4, "X509Certificate": 8,
}

var (
	errTooBig     = errors.New("the document is too big")
	errNotUTF8    = errors.New("the document is not UTF-8")
	errDoctype    = errors.New("a document type or processing instruction")
	errOutside    = errors.New("something outside the one root element")
	errDuplicate  = errors.New("a name or ID used twice")
	errUndeclared = errors.New("a namespace prefix that is not declared")
	errNamespace  = errors.New("a namespace that cannot be declared so")
	errName       = errors.New("a malformed name")
	errStrange    = errors.New("an element in a namespace it does not belong to")
	errPlace      = errors.New("an element in a place where it does not belong")
)

type binding struct{ prefix, uri string }

// reader builds the tree. One reader reads a response and what is decrypted in it, so that limits and
// IDs hold over both.
type reader struct {
	elements, attributes, tokens int
	seen                         map[string]int
	ids                          map[string]bool
	scope                        []binding
	marks                        []int // len(scope) before each open element
}

func newReader() *reader {
	return &reader{seen: map[string]int{}, ids: map[string]bool{}}
}

// read parses a document of its own.
func (r *reader) read(b []byte) (*etree.Element, error) {
	r.scope = append(r.scope[:0], binding{"", ""}, binding{"xml", nsXML})
	return r.parse(b, 0)
}

// readInto parses what stood encrypted in parent, with the namespaces that are declared there
// (XML Encryption section 4.4) and used on the way there: a declaration that nothing uses is not
// signed, and anybody could have changed it.
func (r *reader) readInto(parent *etree.Element, b []byte) (*etree.Element, error) {
	r.scope = append(r.scope[:0], binding{"", ""}, binding{"xml", nsXML})
	for _, d := range inherited(parent, true) {
		if used(prefixOf(d), parent) {
			r.scope = append(r.scope, binding{prefixOf(d), d.Value})
		}
	}
	root, err := r.parse(b, 1)
	if err != nil {
		return nil, err
	}
	parent.AddChild(root)
	return root, nil
}

func (r *reader) parse(b []byte, depth int) (*etree.Element, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(b) {
		return nil, errNotUTF8
	}
	r.marks = r.marks[:0]
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errNotUTF8 }
	var root, open *etree.Element
	for {
		at := d.InputOffset()
		tok, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.tokens++; r.tokens > maxTokens {
			return nil, errTooBig
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if open == nil && root != nil {
				return nil, errOutside
			}
			e, err := r.start(t, open, depth)
			if err != nil {
				return nil, err
			}
			if root == nil {
				root = e
			}
			open = e
		case xml.EndElement:
			if open == nil || t.Name.Space != open.Space || t.Name.Local != open.Tag {
				return nil, errName
			}
			r.end()
			open = open.Parent()
		case xml.CharData:
			if err := text(t, open); err != nil {
				return nil, err
			}
		case xml.Comment:
			// Exclusive canonicalization drops comments, so they are not signed; dropped here, the
			// text on both sides of one is one text, as it was to the signer.
		case xml.ProcInst:
			if at != 0 || t.Target != "xml" {
				return nil, errDoctype
			}
		default:
			return nil, errDoctype
		}
	}
	if root == nil || open != nil {
		return nil, errOutside
	}
	return root, nil
}

func text(t xml.CharData, open *etree.Element) error {
	if open != nil {
		open.CreateText(string(t))
		return nil
	}
	if len(bytes.TrimLeft(t, " \t\r\n")) > 0 {
		return errOutside
	}
	return nil
}

func (r *reader) end() {
	last := len(r.marks) - 1
	r.scope = r.scope[:r.marks[last]]
	r.marks = r.marks[:last]
}

func (r *reader) start(t xml.StartElement, parent *etree.Element, depth int) (*etree.Element, error) {
	r.elements++
	r.attributes += len(t.Attr)
	if r.elements > maxElements || r.attributes > maxAttributes || len(t.Attr) > maxOwn || len(r.marks)+depth >= maxDepth {
		return nil, errTooBig
	}
	r.marks = append(r.marks, len(r.scope))
	if err := r.declare(t.Attr); err != nil {
		return nil, err
	}
	uri, ok := lookup(r.scope, t.Name.Space)
	if !ok {
		return nil, errUndeclared
	}
	if badName(t.Name) {
		return nil, errName
	}
	if err := r.admit(t.Name.Local, uri, parent); err != nil {
		return nil, err
	}
	e := &etree.Element{Space: t.Name.Space, Tag: t.Name.Local}
	if err := r.attach(e, t.Attr); err != nil {
		return nil, err
	}
	if parent != nil {
		parent.AddChild(e)
	}
	return e, nil
}

// admit says whether an element of that name may stand there.
func (r *reader) admit(name, uri string, parent *etree.Element) error {
	if want, ok := home[name]; ok && want != uri {
		return errStrange
	}
	limit, ok := caps[name]
	if !ok {
		return nil
	}
	if r.seen[name]++; r.seen[name] > limit {
		return fmt.Errorf("more than %d of %s", limit, name)
	}
	if name == "Signature" && (parent == nil || parent.Tag != "Response" && parent.Tag != "Assertion") {
		return errPlace
	}
	return nil
}

func (r *reader) declare(attrs []xml.Attr) error {
	for _, a := range attrs {
		prefix, declares := declared(a.Name.Space, a.Name.Local)
		if !declares {
			continue
		}
		if prefix == "xmlns" || a.Value == nsXMLNS || (prefix == "xml") != (a.Value == nsXML) {
			return errNamespace
		}
		// Namespaces in XML 1.0 section 5: only the default may be taken back.
		if prefix != "" && a.Value == "" {
			return errNamespace
		}
		r.scope = append(r.scope, binding{prefix, a.Value})
	}
	return nil
}

func (r *reader) attach(e *etree.Element, attrs []xml.Attr) error {
	e.Attr = make([]etree.Attr, 0, len(attrs))
	for i, a := range attrs {
		if err := r.attribute(a, attrs[:i]); err != nil {
			return err
		}
		e.Attr = append(e.Attr, etree.Attr{Space: a.Name.Space, Key: a.Name.Local, Value: a.Value})
	}
	return nil
}

func (r *reader) attribute(a xml.Attr, before []xml.Attr) error {
	if badName(a.Name) {
		return errName
	}
	uri, ok := r.attributeSpace(a.Name.Space)
	if !ok {
		return errUndeclared
	}
	for _, b := range before {
		if b.Name.Local != a.Name.Local {
			continue
		}
		if other, _ := r.attributeSpace(b.Name.Space); other == uri {
			return errDuplicate
		}
	}
	if strings.EqualFold(a.Name.Local, "id") {
		if r.ids[a.Value] {
			return errDuplicate
		}
		r.ids[a.Value] = true
	}
	return nil
}

// An attribute without prefix is in no namespace, whatever the default is.
func (r *reader) attributeSpace(prefix string) (string, bool) {
	switch prefix {
	case "":
		return "", true
	case "xmlns":
		return nsXMLNS, true
	default:
		return lookup(r.scope, prefix)
	}
}

func badName(n xml.Name) bool {
	return n.Local == "" || strings.Contains(n.Local, ":") || strings.Contains(n.Space, ":")
}

// declared says which prefix an attribute declares; the default namespace's is "".
func declared(space, local string) (prefix string, ok bool) {
	if space == "xmlns" {
		return local, true
	}
	return "", space == "" && local == "xmlns"
}

func prefixOf(a etree.Attr) string { p, _ := declared(a.Space, a.Key); return p }

// inherited lists the namespace declarations in scope at e, the nearest of each prefix; with own, those
// of e itself too.
func inherited(e *etree.Element, own bool) []etree.Attr {
	var out []etree.Attr
	seen := map[string]bool{}
	for p := e; p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			prefix, ok := declared(a.Space, a.Key)
			if !ok || seen[prefix] {
				continue
			}
			seen[prefix] = true
			if p != e || own {
				out = append(out, a)
			}
		}
	}
	return out
}

// used says whether e or an element around it visibly uses a prefix.
func used(prefix string, e *etree.Element) bool {
	for ; e != nil; e = e.Parent() {
		if e.Space == prefix {
			return true
		}
	}
	return false
}

// is says whether e has that name.
func is(e *etree.Element, ns, name string) bool {
	return e.Tag == name && e.NamespaceURI() == ns
}

// all lists the children of that name.
func all(e *etree.Element, ns, name string) []*etree.Element {
	var out []*etree.Element
	for _, t := range e.Child {
		if c, ok := t.(*etree.Element); ok && is(c, ns, name) {
			out = append(out, c)
		}
	}
	return out
}

// only gives the one child of that name, and nil when there are none or several.
func only(e *etree.Element, ns, name string) *etree.Element {
	if e == nil {
		return nil
	}
	if found := all(e, ns, name); len(found) == 1 {
		return found[0]
	}
	return nil
}

// attr is the value of an attribute without namespace.
func attr(e *etree.Element, name string) string {
	if e == nil {
		return ""
	}
	for i := range e.Attr {
		if e.Attr[i].Space == "" && e.Attr[i].Key == name {
			return e.Attr[i].Value
		}
	}
	return ""
}

// plain is all the text of an element that holds nothing else; "" where it holds elements.
func plain(e *etree.Element) string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	for _, t := range e.Child {
		c, ok := t.(*etree.CharData)
		if !ok {
			return ""
		}
		b.WriteString(c.Data)
	}
	return b.String()
}
