package themes

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
)

// CSS is the one rule of the organization's stylesheet, written from parsed values: no text that
// somebody typed reaches it (S34). What the theme does not set is Default's.
func CSS(t Theme) ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	t = Effective(t)
	brand, err := ParseColor(t.Brand)
	if err != nil {
		return nil, err
	}
	accent, err := ParseColor(t.Accent)
	if err != nil {
		return nil, err
	}
	light, dark := Derive(brand)
	var css bytes.Buffer
	css.WriteString(":root{")
	light.write(&css, "")
	dark.write(&css, "-dark")
	fmt.Fprintf(&css, "--org-accent:%s;--org-radius:%dpx}\n", accent, *t.Radius)
	return css.Bytes(), nil
}

type namedColor struct {
	name  string
	color Color
}

// named lists the palette under the names of tokens.css.
func (p Palette) named() []namedColor {
	return []namedColor{
		{"brand", p.Brand}, {"brand-hover", p.BrandHover}, {"on-brand", p.OnBrand},
		{"brand-edge", p.BrandEdge}, {"brand-text", p.BrandText},
		{"brand-tint", p.BrandTint}, {"brand-line", p.BrandLine},
	}
}

func (p Palette) write(css *bytes.Buffer, suffix string) {
	for _, n := range p.named() {
		fmt.Fprintf(css, "--org-%s%s:%s;", n.name, suffix, n.color)
	}
}

// Hash names content: the first ten characters of its SHA-256 in lower-case base32.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hashEncoding.EncodeToString(sum[:])[:10]
}

var hashEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Address is where content is served under name: "/theme/acme-bank.k3m9x2p7qa.css".
func Address(name string, content []byte, extension string) string {
	return "/theme/" + name + "." + Hash(content) + "." + extension
}
