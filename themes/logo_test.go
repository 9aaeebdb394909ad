package themes

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
)

const picture = `<path d="M1 1h8v8z" fill="#c4f042"/>`

func svg(inside string) []byte {
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 40 40">` + inside + `</svg>`)
}

// Whatever an SVG brings besides a picture is gone, and the picture is still there.
func TestS35NothingRemainsOfAnSVGButThePicture(t *testing.T) {
	attacks := map[string]string{
		"script":            `<script>alert(1)</script>`,
		"script cdata":      `<script><![CDATA[alert(1)]]></script>`,
		"prefixed script":   `<s:script xmlns:s="http://www.w3.org/2000/svg">alert(1)</s:script>`,
		"html script":       `<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>`,
		"style element":     `<style>*{background:url(//evil.example)}</style>`,
		"style attribute":   `<rect style="fill:url(//evil.example)" width="1" height="1"/>`,
		"event":             `<rect onload="alert(1)" width="1" height="1"/>`,
		"event on group":    `<g onclick="alert(1)"><rect width="1" height="1"/></g>`,
		"link":              `<a href="javascript:alert(1)"><rect width="9" height="9"/></a>`,
		"use":               `<use href="//evil.example/x.svg#a"/>`,
		"xlink":             `<use xlink:href="#a"/><linearGradient id="g" xlink:href="//evil.example#g"/>`,
		"image":             `<image href="//evil.example/pixel.png" width="1" height="1"/>`,
		"foreign object":    `<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><form action="//evil.example"/></body></foreignObject>`,
		"animation":         `<animate attributeName="href" to="javascript:alert(1)"/><set attributeName="onload" to="alert(1)"/>`,
		"filter":            `<filter id="f"><feImage href="//evil.example"/></filter>`,
		"paint from abroad": `<rect fill="url(//evil.example/x.svg#a)" width="1" height="1"/>`,
		"clip from abroad":  `<rect clip-path="url(https://evil.example/x.svg#a)" width="1" height="1"/>`,
		"css in paint":      `<rect fill="red;background:url(//evil.example)" width="1" height="1"/>`,
		"text":              `<text>Your password has expired, call evil.example</text>`,
		"comment":           `<!-- evil.example --><!--><script>alert(1)</script>-->`,
		"instruction":       `<?xml-stylesheet href="//evil.example/x.css"?>`,
		"handler":           `<handler xmlns:ev="http://www.w3.org/2001/xml-events" ev:event="load">alert(1)</handler>`,
		"iframe":            `<iframe xmlns="http://www.w3.org/1999/xhtml" src="//evil.example"/>`,
		"meta in desc":      `<desc><meta xmlns="http://www.w3.org/1999/xhtml" http-equiv="refresh" content="0;//evil.example"/></desc>`,
		"base":              `<g xml:base="//evil.example/"><rect width="1" height="1"/></g>`,
	}
	for name, attack := range attacks {
		clean, extension, err := CleanLogo(svg(attack + picture))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if extension != "svg" || !bytes.Contains(clean, []byte(`d="M1 1h8v8z"`)) {
			t.Errorf("%s: the picture is lost: %s", name, clean)
		}
		onlyAllowed(t, name, clean)
	}
}

// onlyAllowed reads the result the way a browser would, and knows nothing of how it was written.
func onlyAllowed(t *testing.T, name string, clean []byte) {
	t.Helper()
	for _, word := range []string{"evil.example", "alert", "script", "style", "href", "onload", "onclick", "<!", "<?", "url(h", "url(/"} {
		if bytes.Contains(bytes.ToLower(clean), []byte(word)) {
			t.Errorf("%s: %q remains in %s", name, word, clean)
		}
	}
	in := xml.NewDecoder(bytes.NewReader(clean))
	for token, err := in.Token(); err == nil; token, err = in.Token() {
		start, ok := token.(xml.StartElement)
		if ok && start.Name.Space != "http://www.w3.org/2000/svg" {
			t.Errorf("%s: foreign element %v remains", name, start.Name)
		}
	}
}

func TestS35SomeFilesAreNoLogo(t *testing.T) {
	deep := strings.Repeat("<g>", 40) + strings.Repeat("</g>", 40)
	for name, tc := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":              {nil, ErrLogoFormat},
		"html":               {[]byte("<!doctype html><html><script>1</script></html>"), ErrLogoFormat},
		"gif":                {[]byte("GIF89a\x01\x00\x01\x00"), ErrLogoFormat},
		"svg without space":  {[]byte(`<svg viewBox="0 0 4 4"/>`), ErrLogoFormat},
		"entities":           {[]byte(`<!DOCTYPE svg [<!ENTITY x "lol">]>` + string(svg(`<title>&x;</title>`))), ErrLogoFormat},
		"external entity":    {[]byte(`<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + string(svg(`<title>&x;</title>`))), ErrLogoFormat},
		"entity in an attr":  {[]byte(`<!DOCTYPE svg [<!ENTITY x "a">]>` + string(svg(`<rect id="&x;"/>`))), ErrLogoFormat},
		"two documents":      {append(svg(picture), svg("<script>1</script>")...), ErrLogoFormat},
		"cut off":            {svg(picture)[:80], ErrLogoFormat},
		"other encoding":     {append([]byte(`<?xml version="1.0" encoding="UTF-7"?>`), svg(picture)...), ErrLogoFormat},
		"too deep":           {svg(deep), ErrLogoFormat},
		"too large":          {svg(strings.Repeat(" ", 64<<10)), ErrLogoSize},
		"a strip":            {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 41 10"/>`), ErrLogoShape},
		"a tower":            {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="10px" height="41px"/>`), ErrLogoShape},
		"no size":            {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), ErrLogoShape},
		"no number":          {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 NaN NaN"/>`), ErrLogoShape},
		"zero":               {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 0 0"/>`), ErrLogoShape},
		"png: cut off":       {pngOf(t, 8, 8)[:40], ErrLogoFormat},
		"png: a strip":       {pngOf(t, 50, 10), ErrLogoShape},
		"png: many pixels":   {pngOf(t, 1100, 1000), ErrLogoSize},
		"png: lying header":  {pngClaiming(t, 30000, 30000), ErrLogoSize},
		"png: lying, nearly": {pngClaiming(t, 900, 900), ErrLogoFormat},
	} {
		clean, _, err := CleanLogo(tc.raw)
		if !errors.Is(err, tc.want) || len(clean) != 0 {
			t.Errorf("%s: %v and %d bytes, want %v", name, err, len(clean), tc.want)
		}
	}
}

func TestAnEscapedAttackStaysText(t *testing.T) {
	clean, _, err := CleanLogo(svg(`<title>&lt;script&gt;1&lt;/script&gt;</title>` + picture))
	if err != nil || bytes.Contains(clean, []byte("<script")) {
		t.Fatalf("%s, %v", clean, err)
	}
}

// An SVG as drawing programs write it keeps its look.
func TestAnOrdinarySVGKeepsItsLook(t *testing.T) {
	drawn := `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="80" height="40" fill="none">
 <defs><linearGradient id="a" x1="0" x2="1" gradientUnits="objectBoundingBox"><stop offset="0%" stop-color="#123456"/><stop offset="1" stop-color="gold" stop-opacity=".5"/></linearGradient></defs>
 <g transform="translate(2,2) rotate(45 20 20)" stroke-linecap="round"><rect x="7" y="7" width="26" height="26" rx="4" fill="url(#a)"/></g>
</svg>`
	want := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 40" fill="none"><defs><linearGradient id="a" x1="0" x2="1" gradientUnits="objectBoundingBox"><stop offset="0%" stop-color="#123456"></stop><stop offset="1" stop-color="gold" stop-opacity=".5"></stop></linearGradient></defs><g transform="translate(2,2) rotate(45 20 20)" stroke-linecap="round"><rect x="7" y="7" width="26" height="26" rx="4" fill="url(#a)"></rect></g></svg>`
	clean, _, err := CleanLogo([]byte(drawn))
	if err != nil || string(clean) != want {
		t.Errorf("%v\n got %s\nwant %s", err, clean, want)
	}
	again, _, err := CleanLogo(clean)
	if err != nil || !bytes.Equal(again, clean) {
		t.Errorf("cleaning twice changes it: %v\n%s", err, again)
	}
}

func TestAnAttributeIsWrittenOnce(t *testing.T) {
	clean, _, err := CleanLogo(svg(`<rect fill="red" fill="blue" width="1"/>`))
	if err != nil || !bytes.Contains(clean, []byte(`<rect fill="red" width="1">`)) {
		t.Errorf("%s, %v", clean, err)
	}
}

func TestS35APNGIsDrawnAnew(t *testing.T) {
	raw := append(pngOf(t, 40, 30), []byte("<script>alert(1)</script>")...)
	clean, extension, err := CleanLogo(raw)
	if err != nil || extension != "png" {
		t.Fatal(extension, err)
	}
	if bytes.Contains(clean, []byte("script")) {
		t.Error("what was behind the picture is still there")
	}
	again, err := png.Decode(bytes.NewReader(clean))
	if err != nil || again.Bounds().Dx() != 40 || again.Bounds().Dy() != 30 {
		t.Error("the picture is lost", err)
	}
}

func TestS35APictureThatGrowsWhenDrawnAnewIsTooLarge(t *testing.T) {
	noise := image.NewNRGBA(image.Rect(0, 0, 200, 200))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(random.Uint32())
	}
	if _, err := encodePNG(noise); !errors.Is(err, ErrLogoSize) {
		t.Errorf("%v, want %v", err, ErrLogoSize)
	}
}

func pngOf(t *testing.T, width, height int) []byte {
	t.Helper()
	m := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White})
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pngClaiming is a small file whose header says that it is huge.
func pngClaiming(t *testing.T, width, height uint32) []byte {
	t.Helper()
	raw := pngOf(t, 8, 8)
	header := raw[12 : 12+4+13]
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	binary.BigEndian.PutUint32(raw[29:], crc32.ChecksumIEEE(header))
	return raw
}

func FuzzCleanLogo(f *testing.F) {
	f.Add(svg(picture))
	f.Add(svg(`<style>a</style><g transform="rotate(4)">` + picture + `</g>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		clean, extension, err := CleanLogo(raw)
		if err != nil || extension != "svg" {
			return
		}
		again, _, err := CleanLogo(clean)
		if err != nil || !bytes.Equal(again, clean) {
			t.Fatalf("not stable: %q became %q (%v)", clean, again, err)
		}
	})
}
