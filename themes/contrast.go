package themes

import (
	"fmt"
	"math"
)

// This file computes an organization's 14 colors from the one it chose, so that text on them can
// always be read. Björn Ottosson's OKLCH; testdata/vectors.json pins every digit, and the branding
// editor computes the same in the browser.

// Color is an opaque sRGB color.
type Color struct{ R, G, B uint8 }

// Palette is what one scheme (light or dark) paints with.
type Palette struct {
	Brand      Color // fill of the primary button
	BrandHover Color
	OnBrand    Color // text on Brand
	BrandEdge  Color // outline of a fill, so that a pale button still has an edge
	BrandText  Color // links, focus, icons
	BrandTint  Color
	BrandLine  Color
}

// What the derived colors must be readable on: the surfaces of tokens.css.
var (
	white       = Color{0xff, 0xff, 0xff}
	black       = Color{}
	ink         = Color{0x12, 0x15, 0x1c}
	lightPage   = Color{0xf6, 0xf7, 0xf9}
	darkSurface = Color{0x16, 0x19, 0x20}
	darkRaised  = Color{0x1d, 0x21, 0x2a}
)

// Derive gives the light and the dark palette of a brand color.
func Derive(brand Color) (light, dark Palette) { return deriveLight(brand), deriveDark(brand) }

func deriveLight(brand Color) Palette {
	own := brand.oklch()
	p := Palette{Brand: brand, OnBrand: textOn(brand)}
	p.BrandTint = oklch{0.966, math.Min(own.c*0.2, 0.022), own.h}.color()
	p.BrandLine = oklch{0.87, math.Min(own.c*0.45, 0.06), own.h}.color()
	p.BrandHover = hover(p.Brand, p.OnBrand)
	p.BrandEdge = reach(brand, 3, -1, white)
	p.BrandText = reach(brand, 4.6, -1, white, lightPage, p.BrandTint)
	return p
}

func deriveDark(brand Color) Palette {
	own := brand.oklch()
	p := Palette{Brand: reach(brand, 3, +1, darkSurface, darkRaised)}
	p.OnBrand = textOn(p.Brand)
	p.BrandTint = oklch{0.27, math.Min(own.c*0.45, 0.06), own.h}.color()
	p.BrandLine = oklch{0.4, math.Min(own.c*0.6, 0.09), own.h}.color()
	p.BrandHover = hover(p.Brand, p.OnBrand)
	p.BrandEdge = p.Brand
	p.BrandText = reach(brand, 5.5, +1, darkSurface, darkRaised, p.BrandTint)
	return p
}

// hover moves away from the text's lightness, so that contrast never falls under the pointer.
func hover(fill, text Color) Color {
	o := fill.oklch()
	if text == white {
		o.l -= 0.05
	} else {
		o.l += 0.04
	}
	return o.color()
}

// textOn is white if it can be read, else the product's ink, else black: one of them always can.
func textOn(fill Color) Color {
	for _, text := range []Color{white, ink} {
		if Contrast(text, fill) >= 4.5 {
			return text
		}
	}
	return black
}

// reach walks lightness in steps of 0.01 until c has the ratio against every color in on.
func reach(c Color, ratio, direction float64, on ...Color) Color {
	if readable(c, ratio, on) {
		return c
	}
	from := c.oklch()
	for i := 1; i <= 100; i++ {
		next := oklch{from.l + direction*0.01*float64(i), from.c, from.h}.color()
		if readable(next, ratio, on) {
			return next
		}
	}
	if direction < 0 {
		return black
	}
	return white
}

func readable(c Color, ratio float64, on []Color) bool {
	for _, o := range on {
		if Contrast(c, o) < ratio {
			return false
		}
	}
	return true
}

// Contrast is the ratio of WCAG 2.2 (definition "contrast ratio"): 1 to 21.
func Contrast(a, b Color) float64 {
	x, y := a.luminance(), b.luminance()
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

func (c Color) luminance() float64 {
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

// String is the color as CSS and theme.json write it.
func (c Color) String() string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func linear(v uint8) float64 {
	x := float64(v) / 255
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

func encoded(x float64) uint8 {
	x = math.Min(1, math.Max(0, x))
	if x <= 0.0031308 {
		x *= 12.92
	} else {
		x = 1.055*math.Pow(x, 1/2.4) - 0.055
	}
	return uint8(math.Floor(255*x + 0.5))
}

// oklch is a color as lightness, chroma and hue.
type oklch struct{ l, c, h float64 }

func (c Color) oklch() oklch {
	r, g, b := linear(c.R), linear(c.G), linear(c.B)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	A := 1.9779984951*l - 2.428592205*m + 0.4505937099*s
	B := 0.0259040371*l + 0.7827717662*m - 0.808675766*s
	return oklch{
		l: 0.2104542553*l + 0.793617785*m - 0.0040720468*s,
		c: math.Hypot(A, B),
		h: math.Atan2(B, A),
	}
}

// color takes chroma away in steps of 0.004 until the color exists in sRGB, then rounds to 8 bits.
func (o oklch) color() Color {
	o.l = math.Min(1, math.Max(0, o.l))
	for c := o.c; ; c -= 0.004 {
		r, g, b := oklch{o.l, math.Max(0, c), o.h}.linear()
		if c <= 0 || inGamut(r) && inGamut(g) && inGamut(b) {
			return Color{encoded(r), encoded(g), encoded(b)}
		}
	}
}

func inGamut(v float64) bool { return v >= -0.0005 && v <= 1.0005 }

func (o oklch) linear() (r, g, b float64) {
	A, B := o.c*math.Cos(o.h), o.c*math.Sin(o.h)
	l := cube(o.l + 0.3963377774*A + 0.2158037573*B)
	m := cube(o.l - 0.1055613458*A - 0.0638541728*B)
	s := cube(o.l - 0.0894841775*A - 1.291485548*B)
	return 4.0767416621*l - 3.3077115913*m + 0.2309699292*s,
		-1.2684380046*l + 2.6097574011*m - 0.3413193965*s,
		-0.0041960863*l - 0.7034186147*m + 1.707614701*s
}

func cube(x float64) float64 { return x * x * x }
