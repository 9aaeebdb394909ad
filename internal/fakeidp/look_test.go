package fakeidp

import (
	"strconv"
	"testing"
)

func TestTextOnTheBrandCanBeRead(t *testing.T) {
	for rgb := uint32(0); rgb <= 0xffffff; rgb += 0x010305 {
		text := strconv.FormatUint(uint64(rgb)|1<<24, 16)[1:]
		fill, on := brand("#" + text)
		if fill != "#"+text {
			t.Fatalf("#%s became %s", text, fill)
		}
		other := map[string]float64{"#000000": 0, "#ffffff": 1}[on]
		a, b := luminance(rgb), other
		if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
			t.Errorf("%s on %s has a contrast of %.2f", on, fill, ratio)
		}
	}
}

func TestABrandIsAColorAndNothingElse(t *testing.T) {
	for _, color := range []string{"", "red", "#fff", "#12345g", "123456", "#1234567", "#12345;", "#000}*{"} {
		if fill, on := brand(color); fill != "#3d4a5c" || on != "#ffffff" {
			t.Errorf("brand(%q) = %s, %s", color, fill, on)
		}
	}
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{"Ada Lovelace": "AL", "": "", "zoë": "Z", "Ángel de la Cruz": "ÁD", "  a  ": "A"} {
		if got := initials(name); got != want {
			t.Errorf("initials(%q) = %q, want %q", name, got, want)
		}
	}
}
