package themes

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrUnknown  = fault.New(fault.NotFound, "themes.unknown", "There is no such theme.")
	ErrDocument = fault.New(fault.Invalid, "themes.document", "The theme is not a JSON object of theme settings.")
)

// A shipped theme is a folder with theme.json and logo.svg, and logo-dark.svg if it has one.
//
//go:embed */theme.json */logo.svg */logo-dark.svg
var shipped embed.FS

// Shipped lists the names of the themes that come with the product, in order.
func Shipped() []string {
	// The pattern is well-formed, and reading what is embedded cannot fail.
	files, _ := fs.Glob(shipped, "*/theme.json")
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = path.Dir(f)
	}
	return names
}

// ShippedTheme gives a theme that comes with the product.
func ShippedTheme(name string) (Theme, error) {
	raw, err := shipped.ReadFile(name + "/theme.json")
	if err != nil {
		return Theme{}, ErrUnknown.Because(name)
	}
	return Parse(raw)
}

// Parse reads theme.json. A setting that does not exist is refused: it may be a misspelt one.
func Parse(raw []byte) (Theme, error) {
	var t Theme
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	if err := in.Decode(&t); err != nil {
		return Theme{}, ErrDocument.With(err)
	}
	return t, t.Validate()
}

// ShippedLogos gives the logos that come with the product by asset name: the logo of acme-bank is
// "acme-bank.svg", its form for dark pages "acme-bank-dark.svg". They pass CleanLogo like any upload.
func ShippedLogos() (map[string][]byte, error) {
	logos := map[string][]byte{}
	for _, name := range Shipped() {
		for _, form := range []string{"", "-dark"} {
			raw, err := shipped.ReadFile(name + "/logo" + form + ".svg")
			if err != nil {
				continue // not every theme needs a dark form; a test sees that named ones exist
			}
			clean, _, err := CleanLogo(raw)
			if err != nil {
				return nil, fmt.Errorf("logo of %s: %w", name, err)
			}
			logos[name+form+".svg"] = clean
		}
	}
	return logos, nil
}
