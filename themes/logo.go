package themes

import (
	"bytes"
	"image"
	"image/png"

	"github.com/vestibule-id/vestibule/internal/fault"
)

var (
	ErrLogoSize   = fault.New(fault.Invalid, "themes.logo_size", "A logo has at most 64 KB, and a PNG at most a million pixels.")
	ErrLogoShape  = fault.New(fault.Invalid, "themes.logo_shape", "A logo is at most four times as wide as high, or as high as wide.")
	ErrLogoFormat = fault.New(fault.Invalid, "themes.logo_format", "A logo is an SVG or PNG file. This one could not be read as either.")
)

const (
	maxLogo       = 64 << 10
	maxLogoPixels = 1 << 20
	maxLogoRatio  = 4
)

var pngSignature = []byte("\x89PNG\r\n\x1a\n")

// CleanLogo reads an uploaded logo and writes it anew, so that nothing remains but the picture (S35).
// The extension it returns ("svg", "png") comes from the content; what the upload was called does not
// matter.
func CleanLogo(raw []byte) (clean []byte, extension string, err error) {
	if len(raw) > maxLogo {
		return nil, "", ErrLogoSize
	}
	if bytes.HasPrefix(raw, pngSignature) {
		clean, err = cleanPNG(raw)
		return clean, "png", err
	}
	clean, err = cleanSVG(raw)
	return clean, "svg", err
}

// cleanPNG looks at the size the header claims before it decodes a single pixel.
func cleanPNG(raw []byte) ([]byte, error) {
	head, err := png.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, ErrLogoFormat.With(err)
	}
	if head.Width > maxLogoPixels/head.Height {
		return nil, ErrLogoSize
	}
	if err := shape(float64(head.Width), float64(head.Height)); err != nil {
		return nil, err
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, ErrLogoFormat.With(err)
	}
	return encodePNG(picture)
}

func encodePNG(picture image.Image) ([]byte, error) {
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, picture); err != nil {
		return nil, ErrLogoFormat.With(err)
	}
	if out.Len() > maxLogo {
		return nil, ErrLogoSize
	}
	return out.Bytes(), nil
}

func shape(width, height float64) error {
	if !(width > 0 && height > 0) || width > maxLogoRatio*height || height > maxLogoRatio*width {
		return ErrLogoShape
	}
	return nil
}
