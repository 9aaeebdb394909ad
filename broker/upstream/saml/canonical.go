package saml

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// canonical writes e as Exclusive XML Canonicalization 1.0 without comments has it, leaving out the
// child skip. The tree stays as it is, so what was verified is what is read. prefixes is the
// InclusiveNamespaces PrefixList.
func canonical(e, skip *etree.Element, prefixes string) ([]byte, error) {
	c := canonicalizer{inclusive: strings.Fields(prefixes), skip: skip}
	c.scope = append(c.scope, binding{"", ""}, binding{"xml", nsXML})
	for _, d := range inherited(e, false) {
		c.scope = append(c.scope, binding{prefixOf(d), d.Value})
	}
	c.out.Grow(4096)
	err := c.element(e)
	return c.out.Bytes(), err
}

type canonicalizer struct {
	out       bytes.Buffer
	scope     []binding // what is declared in the document, innermost last
	rendered  []binding // what is declared in the output
	inclusive []string
	skip      *etree.Element
}

func (c *canonicalizer) element(e *etree.Element) error {
	scope, rendered := len(c.scope), len(c.rendered)
	for _, a := range e.Attr {
		if prefix, ok := declared(a.Space, a.Key); ok {
			c.scope = append(c.scope, binding{prefix, a.Value})
		}
	}
	c.out.WriteByte('<')
	c.name(e.Space, e.Tag)
	if err := c.namespaces(e); err != nil {
		return err
	}
	c.attributes(e)
	c.out.WriteByte('>')
	for _, t := range e.Child {
		if err := c.child(t); err != nil {
			return err
		}
	}
	c.out.WriteString("</")
	c.name(e.Space, e.Tag)
	c.out.WriteByte('>')
	c.scope, c.rendered = c.scope[:scope], c.rendered[:rendered]
	return nil
}

func (c *canonicalizer) child(t etree.Token) error {
	switch t := t.(type) {
	case *etree.Element:
		if t == c.skip {
			return nil
		}
		return c.element(t)
	case *etree.CharData:
		textEscapes.WriteString(&c.out, t.Data)
	}
	return nil
}

func (c *canonicalizer) name(prefix, local string) {
	if prefix != "" {
		c.out.WriteString(prefix)
		c.out.WriteByte(':')
	}
	c.out.WriteString(local)
}

// namespaces writes the declarations that e visibly uses, or that the list names, and that no output
// ancestor has made (section 3).
func (c *canonicalizer) namespaces(e *etree.Element) error {
	start := len(c.rendered)
	if err := c.declare(e.Space, true); err != nil {
		return err
	}
	for _, a := range e.Attr {
		if a.Space == "" || a.Space == "xmlns" {
			continue
		}
		if err := c.declare(a.Space, true); err != nil {
			return err
		}
	}
	for _, p := range c.inclusive {
		if p == "#default" {
			p = ""
		}
		if err := c.declare(p, false); err != nil {
			return err
		}
	}
	fresh := c.rendered[start:]
	if len(fresh) > 1 {
		slices.SortFunc(fresh, func(a, b binding) int { return cmp.Compare(a.prefix, b.prefix) })
	}
	for _, b := range fresh {
		if b.prefix == "" {
			c.out.WriteString(" xmlns")
		} else {
			c.out.WriteString(" xmlns:")
			c.out.WriteString(b.prefix)
		}
		c.value(b.uri)
	}
	return nil
}

func (c *canonicalizer) declare(prefix string, must bool) error {
	if prefix == "xml" {
		return nil
	}
	uri, ok := lookup(c.scope, prefix)
	if !ok {
		if must {
			return errUndeclared
		}
		return nil
	}
	have, already := lookup(c.rendered, prefix)
	// An empty default is written only where it takes back another (section 3, point 3).
	if already && have == uri || !already && uri == "" {
		return nil
	}
	c.rendered = append(c.rendered, binding{prefix, uri})
	return nil
}

// attributes are sorted by namespace, then by name (Canonical XML 1.0 section 2.2).
func (c *canonicalizer) attributes(e *etree.Element) {
	type located struct {
		uri  string
		attr *etree.Attr
	}
	var list [8]located
	sorted := list[:0]
	for i := range e.Attr {
		a := &e.Attr[i]
		if _, ok := declared(a.Space, a.Key); ok {
			continue
		}
		l := located{attr: a}
		if a.Space != "" {
			l.uri, _ = lookup(c.scope, a.Space) // namespaces has seen that it is there
		}
		sorted = append(sorted, l)
	}
	slices.SortFunc(sorted, func(a, b located) int {
		return cmp.Or(cmp.Compare(a.uri, b.uri), cmp.Compare(a.attr.Key, b.attr.Key))
	})
	for _, l := range sorted {
		c.out.WriteByte(' ')
		c.name(l.attr.Space, l.attr.Key)
		c.value(l.attr.Value)
	}
}

func (c *canonicalizer) value(v string) {
	c.out.WriteString(`="`)
	attributeEscapes.WriteString(&c.out, v)
	c.out.WriteByte('"')
}

func lookup(list []binding, prefix string) (string, bool) {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].prefix == prefix {
			return list[i].uri, true
		}
	}
	return "", false
}
