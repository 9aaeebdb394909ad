package themes

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file rewrites SVG from an allow-list: what is not named here is not in the result, with all that
// it holds. Styles, scripts, links, embedded documents and animations are not named (S35).

const (
	svgNamespace = "http://www.w3.org/2000/svg"
	maxSVGDepth  = 32
)

var svgElements = []string{
	"svg", "g", "defs", "title", "desc",
	"path", "rect", "circle", "ellipse", "line", "polyline", "polygon",
	"linearGradient", "radialGradient", "stop", "clipPath",
}

// What an attribute's value may look like. References reach inside the document only.
var (
	svgNumbers   = regexp.MustCompile(`^[0-9eE+\-.,%\s]{1,200}$`)
	svgPath      = regexp.MustCompile(`^[MmLlHhVvCcSsQqTtAaZz0-9eE+\-.,\s]*$`)
	svgTransform = regexp.MustCompile(`^((matrix|translate|scale|rotate|skewX|skewY)\([0-9eE+\-.,\s]*\)[\s,]*){0,16}$`)
	svgPaint     = regexp.MustCompile(`^(#[0-9A-Fa-f]{3,8}|[A-Za-z]{3,24}|rgba?\([0-9.,%\s]{1,40}\)|url\(#[A-Za-z_][\w-]{0,63}\))$`)
	svgReference = regexp.MustCompile(`^(none|url\(#[A-Za-z_][\w-]{0,63}\))$`)
	svgID        = regexp.MustCompile(`^[A-Za-z_][\w-]{0,63}$`)
	svgWord      = regexp.MustCompile(`^[A-Za-z-]{1,24}$`)
	svgAlign     = regexp.MustCompile(`^(none|x(Min|Mid|Max)Y(Min|Mid|Max))( (meet|slice))?$`)
)

var svgAttributes = attributes(map[*regexp.Regexp]string{
	svgNumbers: "x y x1 y1 x2 y2 cx cy r rx ry fx fy fr width height points offset opacity " +
		"fill-opacity stroke-opacity stop-opacity stroke-width stroke-miterlimit stroke-dasharray stroke-dashoffset",
	svgPath:      "d",
	svgTransform: "transform gradientTransform",
	svgPaint:     "fill stroke stop-color color",
	svgReference: "clip-path",
	svgID:        "id",
	svgWord: "fill-rule clip-rule stroke-linecap stroke-linejoin gradientUnits clipPathUnits " +
		"spreadMethod vector-effect shape-rendering",
	svgAlign: "preserveAspectRatio",
})

func attributes(forms map[*regexp.Regexp]string) map[string]*regexp.Regexp {
	byName := map[string]*regexp.Regexp{}
	for form, names := range forms {
		for name := range strings.FieldsSeq(names) {
			byName[name] = form
		}
	}
	return byName
}

func cleanSVG(raw []byte) ([]byte, error) {
	w := svgWriter{in: xml.NewDecoder(bytes.NewReader(raw))}
	root, err := w.root()
	if err != nil {
		return nil, err
	}
	if err := w.rewriteRoot(root); err != nil {
		return nil, err
	}
	if w.out.Len() > maxLogo {
		return nil, ErrLogoSize
	}
	return w.out.Bytes(), nil
}

type svgWriter struct {
	in  *xml.Decoder
	out bytes.Buffer
}

// root passes over the XML declaration, comments and a DOCTYPE. What a DOCTYPE declares does not exist
// afterwards: the decoder refuses an entity that XML itself does not know.
func (w *svgWriter) root() (xml.StartElement, error) {
	for {
		token, err := w.in.Token()
		if err != nil {
			return xml.StartElement{}, ErrLogoFormat.With(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if start.Name != (xml.Name{Space: svgNamespace, Local: "svg"}) {
				return start, ErrLogoFormat.Because("the root is not svg")
			}
			return start, nil
		}
	}
}

func (w *svgWriter) rewriteRoot(root xml.StartElement) error {
	box, err := viewBox(root)
	if err != nil {
		return err
	}
	w.out.WriteString(`<svg xmlns="` + svgNamespace + `" viewBox="` + box + `"`)
	size := func(a xml.Attr) bool {
		return slices.Contains([]string{"x", "y", "width", "height"}, a.Name.Local)
	}
	w.attributes(slices.DeleteFunc(root.Attr, size))
	w.out.WriteByte('>')
	if err := w.children("svg", 1); err != nil {
		return err
	}
	return w.atEnd()
}

// atEnd refuses a second document behind the first: one file is one picture.
func (w *svgWriter) atEnd() error {
	for {
		token, err := w.in.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ErrLogoFormat.With(err)
		}
		if _, ok := token.(xml.StartElement); ok {
			return ErrLogoFormat.Because("a second root")
		}
	}
}

// viewBox is the picture's own, or made of its width and height.
func viewBox(root xml.StartElement) (string, error) {
	box := strings.Fields(strings.ReplaceAll(attribute(root, "viewBox"), ",", " "))
	if len(box) == 0 {
		box = []string{"0", "0", pixels(attribute(root, "width")), pixels(attribute(root, "height"))}
	}
	if len(box) != 4 {
		return "", ErrLogoFormat.Because("viewBox")
	}
	var n [4]float64
	for i, s := range box {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || v != v || v > 1e6 || v < -1e6 {
			return "", ErrLogoShape
		}
		n[i] = v
		box[i] = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strings.Join(box, " "), shape(n[2], n[3])
}

func pixels(s string) string { return strings.TrimSuffix(strings.TrimSpace(s), "px") }

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// children copies what is allowed up to the end of the element name, and passes over the rest.
func (w *svgWriter) children(name string, depth int) error {
	if depth > maxSVGDepth {
		return ErrLogoFormat.Because("nested too deeply")
	}
	for {
		token, err := w.in.Token()
		if err != nil {
			return ErrLogoFormat.With(err)
		}
		switch t := token.(type) {
		case xml.EndElement:
			w.out.WriteString("</" + name + ">")
			return nil
		case xml.CharData:
			w.text(name, t)
		case xml.StartElement:
			if err := w.element(t, depth); err != nil {
				return err
			}
		}
	}
}

func (w *svgWriter) element(e xml.StartElement, depth int) error {
	name := e.Name.Local
	if e.Name.Space != svgNamespace || !slices.Contains(svgElements, name) {
		if err := w.in.Skip(); err != nil {
			return ErrLogoFormat.With(err)
		}
		return nil
	}
	w.out.WriteString("<" + name)
	w.attributes(e.Attr)
	w.out.WriteByte('>')
	return w.children(name, depth+1)
}

// text is kept where it describes the picture; anywhere else it would not be drawn.
func (w *svgWriter) text(inside string, text xml.CharData) {
	if inside == "title" || inside == "desc" {
		w.escaped(string(text))
	}
}

func (w *svgWriter) attributes(all []xml.Attr) {
	written := map[string]bool{} // a name that stands twice would make the result no XML
	for _, a := range all {
		form, known := svgAttributes[a.Name.Local]
		if a.Name.Space != "" || !known || written[a.Name.Local] || !form.MatchString(a.Value) {
			continue
		}
		written[a.Name.Local] = true
		w.out.WriteString(" " + a.Name.Local + `="`)
		w.escaped(a.Value)
		w.out.WriteByte('"')
	}
}

func (w *svgWriter) escaped(s string) {
	// EscapeText fails only when its writer does, and a buffer does not.
	_ = xml.EscapeText(&w.out, []byte(s))
}
