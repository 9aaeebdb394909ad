package fakeidp

import "math"

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
