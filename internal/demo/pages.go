package demo

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/themes"
)

//go:embed pages
var pageFiles embed.FS

// ErrPage: a page of this world could not be drawn.
var ErrPage = fault.New(fault.Internal, "demo.page", "This page could not be shown.")

// pages draws this world's own pages. They are not the product's, so they stand here and speak English
// only; they wear its stylesheet, and one of their own.
type pages struct {
	all   *template.Template
	sheet []byte
	path  string
}

// sheetPath is below which the world's own stylesheet is served, on every site of it.
const sheetPath = "/demo.css"

func newPages(w *World) (*pages, error) {
	p := &pages{}
	css, err := pageFiles.ReadFile("pages/demo.css")
	if err != nil {
		return nil, err
	}
	p.sheet = css
	for _, c := range cast() {
		rule, err := brandRule(c.handle)
		if err != nil {
			return nil, err
		}
		p.sheet = append(p.sheet, rule...)
	}
	p.path = sheetPath + "?" + themes.Hash(p.sheet)
	funcs := template.FuncMap{"asset": w.Assets.URL, "icon": icon, "sheet": func() string { return p.path }}
	p.all, err = template.New("").Funcs(funcs).Option("missingkey=error").ParseFS(pageFiles, "pages/*.html")
	return p, err
}

// brandRule is a company's colors for what has its class, on a page that is not the company's.
func brandRule(handle string) ([]byte, error) {
	theme, err := themes.ShippedTheme(handle)
	if err != nil {
		return nil, err
	}
	rule, err := themes.CSS(theme)
	return bytes.Replace(rule, []byte(":root"), []byte(".brand-"+handle), 1), err
}

// ServeHTTP serves the stylesheet.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(p.sheet) // a browser that went away is no concern of ours
}

// frame is what every page shows around its content.
type frame struct {
	Title string
	Sheet string // colors of whose site it is; "" for the house's
	// Home is where the strip leads back to; "" on the first page itself, which has Reset instead.
	Home string
	Page any
}

func (p *pages) show(w http.ResponseWriter, status int, name string, f frame) error {
	var b bytes.Buffer
	if err := p.all.ExecuteTemplate(&b, name, f); err != nil {
		return ErrPage.With(err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// icons are drawn on a 24 grid, as the product's are.
var icons = map[string]string{
	"go":    "m9 6 6 6-6 6",
	"back":  "m15 6-6 6 6 6",
	"check": "m5 12.5 4.5 4.5L19 7.5",
	"cross": "M6.5 6.5l11 11M17.5 6.5l-11 11",
	"key":   "M14.5 4a5.5 5.5 0 1 0-4.9 8L4 17.6V20h3v-2h2v-2h2l1.6-1.6A5.5 5.5 0 0 0 14.500 4zM16 8v.01",
	"bolt":  "M13 3 5 13.500h6L10 21l9-11h-6.500z",
	"info":  "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 8v.01",
	"door":  "M13.5 3.5H6a1 1 0 0 0-1 1v15a1 1 0 0 0 1 1h7.5M10 12h10.5M17 8.5l3.500 3.500-3.500 3.500",
	"swap":  "M4 8h14M14.500 4.500 18 8l-3.500 3.500M20 16H6M9.500 12.500 6 16l3.500 3.500",
	"code":  "m8.500 7-5 5 5 5M15.500 7l5 5-5 5",
	"mail":  "M4 5.5h16a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1zM3.5 7l8.5 6 8.5-6",
	"phone": "M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM12 17.5v.01",
	"reset": "M4.500 12a7.500 7.500 0 1 0 2.400-5.500M4.500 4.500v4h4",
}

func icon(name string, size ...string) (template.HTML, error) {
	path, ok := icons[name]
	if !ok {
		return "", ErrPage.Because("no icon " + name)
	}
	class := strings.TrimSpace("ic " + strings.Join(size, " "))
	return template.HTML(`<svg class="` + class + `" viewBox="0 0 24 24" aria-hidden="true"><path d="` + path + `"/></svg>`), nil
}
