package themes

import (
	"encoding/json"
	"os"
	"testing"
)

func TestDeriveReproducesTheVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Brand       string
		Light, Dark map[string]string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 13 {
		t.Fatalf("%d vectors, want 13", len(vectors))
	}
	for _, v := range vectors {
		brand, err := ParseColor(v.Brand)
		if err != nil {
			t.Fatal(err)
		}
		light, dark := Derive(brand)
		compare(t, v.Brand+" light", light, v.Light)
		compare(t, v.Brand+" dark", dark, v.Dark)
	}
}

func compare(t *testing.T, name string, got Palette, want map[string]string) {
	t.Helper()
	named := got.named()
	if len(want) != len(named) {
		t.Errorf("%s: %d colors, want %d", name, len(named), len(want))
	}
	for _, n := range named {
		if n.color.String() != want[n.name] {
			t.Errorf("%s %s: %s, want %s", name, n.name, n.color, want[n.name])
		}
	}
}

// The 5,832 colors of an 18 × 18 × 18 grid: whatever an organization picks can be read.
func TestEveryColorOfTheGridCanBeRead(t *testing.T) {
	colors := 0
	for r := 0; r < 256; r += 15 {
		for g := 0; g < 256; g += 15 {
			for b := 0; b < 256; b += 15 {
				colors++
				readableTheme(t, Color{uint8(r), uint8(g), uint8(b)})
			}
		}
	}
	if colors != 5832 {
		t.Fatalf("the grid has %d colors, want 5832", colors)
	}
}

func readableTheme(t *testing.T, brand Color) {
	light, dark := Derive(brand)
	atLeast := func(what string, a, b Color, want float64) {
		if got := Contrast(a, b); got < want {
			t.Errorf("brand %s: %s reaches %.2f:1 (%s on %s), want %.2f", brand, what, got, a, b, want)
		}
	}
	for _, p := range []Palette{light, dark} {
		atLeast("text on the brand color", p.OnBrand, p.Brand, 4.5)
		atLeast("text on the hovered brand color", p.OnBrand, p.BrandHover, 5.275)
	}
	for _, on := range []Color{white, lightPage, light.BrandTint} {
		atLeast("light link text", light.BrandText, on, 4.6)
	}
	for _, on := range []Color{darkSurface, darkRaised, dark.BrandTint} {
		atLeast("dark link text", dark.BrandText, on, 5.5)
	}
	atLeast("the light edge", light.BrandEdge, white, 3)
	atLeast("the dark button", dark.Brand, darkSurface, 3)
	atLeast("the dark button on a menu", dark.Brand, darkRaised, 3)
}

func TestHoverNeverLosesContrast(t *testing.T) {
	for r := 0; r < 256; r += 51 {
		for g := 0; g < 256; g += 51 {
			for b := 0; b < 256; b += 51 {
				light, dark := Derive(Color{uint8(r), uint8(g), uint8(b)})
				for _, p := range []Palette{light, dark} {
					// Where the fill is as light or dark as colors get, hovering leaves it as it is.
					if Contrast(p.OnBrand, p.BrandHover) < Contrast(p.OnBrand, p.Brand)-0.01 {
						t.Errorf("%s: contrast falls on hover from %s to %s", p.Brand, p.Brand, p.BrandHover)
					}
				}
			}
		}
	}
}
