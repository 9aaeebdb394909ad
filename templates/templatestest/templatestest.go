// Package templatestest is the contract of every page: it renders in every language and in every
// state, nothing that somebody typed becomes markup, it carries no inline script or style, everything
// in it has a name for people who cannot see it, and how it looks in HTML is written down in a golden
// file. A room that has pages calls Run with one example of each state of each page:
//
//	func TestPages(t *testing.T) { templatestest.Run(t, Pages()) }
//
// `go test -update` rewrites the golden files below testdata/golden.
package templatestest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/templates"
	"github.com/vestibule-id/vestibule/themes"
)

var update = flag.Bool("update", false, "rewrite the golden files of pages")

// Kit is what it takes to render pages in a test.
type Kit struct {
	Assets   *templates.Assets
	Renderer *templates.Renderer
}

// New prepares a kit.
func New(t testing.TB) Kit {
	t.Helper()
	assets, err := templates.NewAssets()
	if err != nil {
		t.Fatal(err)
	}
	renderer, err := templates.New(assets)
	if err != nil {
		t.Fatal(err)
	}
	return Kit{assets, renderer}
}

// Look dresses pages in a shipped theme; org "" is the platform's look.
func (k Kit) Look(t testing.TB, theme, org, lang string) templates.Look {
	t.Helper()
	if org == "" {
		return templates.Look{Lang: lang}
	}
	own, err := themes.ShippedTheme(theme)
	if err != nil {
		t.Fatal(err)
	}
	outfit, err := k.Assets.Publish(theme, own)
	if err != nil {
		t.Fatal(err)
	}
	return outfit.Look(org, "Treasury Hub", lang)
}

// Run holds every page to the contract.
func Run(t *testing.T, pages []templates.Page) {
	kit := New(t)
	seen := map[string]int{}
	for _, page := range pages {
		name := page.Template()
		seen[name]++
		if seen[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, seen[name])
		}
		t.Run(name, func(t *testing.T) { kit.hold(t, name, page) })
	}
}

func (k Kit) hold(t *testing.T, name string, page templates.Page) {
	for _, lang := range templates.Languages() {
		html := k.render(t, k.Look(t, "acme-bank", "Acme Bank", lang), page)
		Check(t, html)
		golden(t, name+"."+lang+".html", html)
		for _, look := range k.looks(t, lang) {
			Check(t, k.render(t, look, page))
			for _, state := range states(page) {
				k.render(t, look, state)
			}
			look.Org, look.Tagline, look.Intro, look.Help, look.Terms = attack, attack, attack, attack, attack
			harmless(t, k.render(t, look, attacked(page)))
		}
	}
}

// looks are those that lay a page out differently.
func (k Kit) looks(t *testing.T, lang string) []templates.Look {
	bare := k.Look(t, "vestibule", "", lang)
	split := k.Look(t, "mexbanco", "MexBanco", lang)
	plain := k.Look(t, "harbor", "Harbor Supplies", lang)
	dark := k.Look(t, "techcorp", "TechCorp", lang)
	dark.Scheme, dark.HideName = "dark", true
	return []templates.Look{bare, split, plain, dark}
}

func (k Kit) render(t *testing.T, look templates.Look, page templates.Page) []byte {
	t.Helper()
	html, err := k.Renderer.Render(look, page)
	if err != nil {
		t.Fatalf("%T: %v", page, err)
	}
	return html
}

// states are the page with nothing set and the page with everything set: both must render, whatever
// else a handler does.
func states(page templates.Page) []templates.Page {
	zero := reflect.New(reflect.TypeOf(page)).Elem()
	full := reflect.New(reflect.TypeOf(page)).Elem()
	fill(full, "x")
	return []templates.Page{zero.Interface().(templates.Page), full.Interface().(templates.Page)}
}

// attacked is the page with an attack in every string.
func attacked(page templates.Page) templates.Page {
	v := reflect.New(reflect.TypeOf(page)).Elem()
	fill(v, attack)
	return v.Interface().(templates.Page)
}

const attack = `javascript:alert(1)//"><script>alert(1)</script><img src=x onerror=alert(1)>`

func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillField(v.Field(i), v.Type().Field(i).Name, text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 8, 8))
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(400)
	}
}

func fillField(v reflect.Value, name, text string) {
	switch {
	case name == "Logo", name == "LogoDark":
		v.SetString("/" + text)
	default:
		fill(v, text)
	}
}

var hashes = regexp.MustCompile(`\.[a-z2-7]{10}\.(css|js|svg)"`)

func golden(t *testing.T, name string, html []byte) {
	t.Helper()
	html = hashes.ReplaceAll(html, []byte(`.HASH.$1"`))
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, html, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: `make golden` writes it; read it before you commit it", err)
	}
	if !bytes.Equal(html, want) {
		t.Errorf("%s is not what is rendered now; `make golden` rewrites it, read the difference.\n%s", file, difference(want, html))
	}
}

// difference is the first line that is not the same.
func difference(want, got []byte) string {
	wants, gots := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i, line := range gots {
		if i >= len(wants) || line != wants[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, line, strings.Join(wants[min(i, len(wants)-1):min(i+1, len(wants))], ""))
		}
	}
	return fmt.Sprintf("%d lines are missing at the end", len(wants)-len(gots))
}
