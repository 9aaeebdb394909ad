package templates

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/vestibule-id/vestibule/internal/fault"
)

//go:embed layout part login logout device mfa fault
var pageFiles embed.FS

var (
	ErrPage   = fault.New(fault.Internal, "templates.unknown_page", "This page does not exist in this version.")
	ErrRender = fault.New(fault.Internal, "templates.render", "This page could not be shown.")
)

// Renderer turns pages into HTML. It is made once and used by everybody.
type Renderer struct {
	assets *Assets
	// pages holds every page in every language, parsed: by language, then by name.
	pages map[string]map[string]*template.Template
	// buffers saves growing one for every page.
	buffers sync.Pool
}

// view is what the layout is given: whose page, and the page.
type view struct {
	Look Look
	Page Page
}

// New parses every page in every language.
func New(assets *Assets) (*Renderer, error) {
	r := &Renderer{assets: assets, pages: map[string]map[string]*template.Template{}}
	r.buffers.New = func() any { return new(bytes.Buffer) }
	for _, lang := range Languages() {
		pages, err := parsePages(catalogueOf(lang), assets)
		if err != nil {
			return nil, err
		}
		r.pages[lang] = pages
	}
	return r, nil
}

func parsePages(words catalogue, assets *Assets) (map[string]*template.Template, error) {
	base, err := template.New("page").Funcs(funcs(words, assets)).Option("missingkey=error").
		ParseFS(pageFiles, "layout/page.html", "part/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, file := range pageNames() {
		own, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if _, err := own.ParseFS(pageFiles, file); err != nil {
			return nil, err
		}
		if err := fold(own, constants(words, assets)); err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(file, ".html")] = own.Lookup("page.html")
	}
	return pages, nil
}

// pageNames are the files of pages: those in folders that are neither layout nor part.
func pageNames() []string {
	// The pattern is well-formed.
	files, _ := fs.Glob(pageFiles, "*/*.html")
	names := files[:0]
	for _, file := range files {
		if dir := path.Dir(file); dir != "layout" && dir != "part" {
			names = append(names, file)
		}
	}
	return names
}

// Render draws a page in the language of its look.
func (r *Renderer) Render(look Look, page Page) ([]byte, error) {
	if r.pages[look.Lang] == nil {
		look.Lang = "en"
	}
	t, ok := r.pages[look.Lang][page.Template()]
	if !ok {
		return nil, ErrPage.Because(page.Template())
	}
	look = r.complete(look)
	out := r.buffers.Get().(*bytes.Buffer)
	defer r.buffers.Put(out)
	out.Reset()
	if err := t.Execute(out, view{look, page}); err != nil {
		return nil, ErrRender.With(err)
	}
	return bytes.Clone(out.Bytes()), nil
}

// complete puts the platform's own look where the organization has none.
func (r *Renderer) complete(look Look) Look {
	if look.Logo == "" {
		look.Logo, look.LogoDark, look.HideName = r.assets.names["vestibule.svg"], "", false
	}
	if look.Layout == "" {
		look.Layout = "card"
	}
	if look.Background == "" {
		look.Background = "tint"
	}
	return look
}
