package fakeidp

import (
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// Style is how a provider looks and how it names what it says about people: in the way of one of the
// two most common products, without their names or marks.
type Style string

const (
	Okta  Style = "okta"  // a narrow centered card; attributes email, firstName, lastName, groups
	Entra Style = "entra" // square and left-aligned; attributes named by long URIs
)

// Look is a provider's look.
type Look struct {
	Style Style  // the zero value is Okta
	Brand string // "#rrggbb"; anything else means slate
}

// look is the style sheet: the brand first, then what both styles share.
func (p *Provider) look(w http.ResponseWriter, r *http.Request) {
	sheet, _ := pageFiles.ReadFile("pages/look.css")
	fill, text := brand(p.Look.Brand)
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Write([]byte(":root{--brand:" + fill + ";--on-brand:" + text + "}\n"))
	w.Write(sheet)
}

// mark is the icon in the browser's tab.
func (p *Provider) mark(w http.ResponseWriter, r *http.Request) {
	fill, _ := brand(p.Look.Brand)
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "max-age=300")
	io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="`+fill+`"/></svg>`)
}

// brand is a fill and the text color that can be read on it (WCAG 2.2, 1.4.3): one of white and black
// always has 4.5:1.
func brand(color string) (fill, text string) {
	rgb, err := strconv.ParseUint(strings.TrimPrefix(color, "#"), 16, 32)
	if err != nil || len(color) != 7 || color[0] != '#' {
		return "#3d4a5c", "#ffffff"
	}
	// Where white and black contrast equally, by the definition of relative luminance.
	if luminance(uint32(rgb)) > 0.179 {
		return color, "#000000"
	}
	return color, "#ffffff"
}

// luminance of 0xrrggbb as WCAG 2.2 defines it, 0 to 1.
func luminance(rgb uint32) float64 {
	linear := func(c uint32) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(rgb>>16) + 0.7152*linear(rgb>>8) + 0.0722*linear(rgb)
}
