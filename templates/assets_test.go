package templates

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/themes"
)

func newAssets(t testing.TB) *Assets {
	t.Helper()
	a, err := NewAssets()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func address(t testing.TB, a *Assets, name string) string {
	t.Helper()
	url, err := a.URL(name)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func get(a *Assets, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func TestAnAssetMayBeKeptForEver(t *testing.T) {
	a := newAssets(t)
	css := address(t, a, "auth.css")
	if !regexp.MustCompile(`^/assets/auth\.[a-z2-7]{10}\.css$`).MatchString(css) {
		t.Error(css)
	}
	w := get(a, css, "Accept-Encoding", "br, gzip")
	h := w.Header()
	for name, want := range map[string]string{
		"Cache-Control":          "public, max-age=31536000, immutable",
		"Vary":                   "Accept-Encoding",
		"Content-Encoding":       "gzip",
		"Content-Type":           "text/css; charset=utf-8",
		"X-Content-Type-Options": "nosniff",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	unzipped, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := io.ReadAll(unzipped)
	plain := get(a, css)
	if !bytes.Equal(content, plain.Body.Bytes()) || plain.Header().Get("Content-Encoding") != "" {
		t.Error("zipped and plain differ")
	}
	if plain.Header().Get("ETag") == h.Get("ETag") {
		t.Error("two representations have one ETag (RFC 9110 section 8.8.3)")
	}
	if again := get(a, css, "Accept-Encoding", "gzip", "If-None-Match", h.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Error("what the browser has is sent again", again.Code)
	}
}

func TestOnlyWhatABrowserAcceptsIsZipped(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip": true, "GZIP": true, "br;q=1, gzip;q=0.5": true, "deflate , gzip": true, "gzip; q=1.0": true,
		"": false, "br": false, "gzip;q=0": false, "gzip; q=0.000": false, "xgzip": false, "identity": false,
	} {
		if accepts(header, "gzip") != want {
			t.Errorf("%q: %v", header, !want)
		}
	}
}

func TestAnUnknownHashIsNotFound(t *testing.T) {
	a := newAssets(t)
	css := address(t, a, "auth.css")
	for _, path := range []string{
		"/assets/auth.aaaaaaaaaa.css", "/assets/auth.css", "/assets/", "/theme/", "/assets/../tokens.css",
		"/theme/acme-bank.aaaaaaaaaa.svg", "/assets/tokens.css", strings.ToUpper(css), css + "/", strings.Replace(css, "/assets/", "/theme/", 1),
	} {
		w := get(a, path)
		if w.Code != http.StatusNotFound || strings.Contains(w.Header().Get("Cache-Control"), "public") {
			t.Errorf("%s: %d, %s", path, w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestAssetsAreOnlyRead(t *testing.T) {
	a := newAssets(t)
	css := address(t, a, "auth.css")
	for method, want := range map[string]int{"POST": 405, "PUT": 405, "DELETE": 405, "HEAD": 200} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(method, css, nil))
		if w.Code != want || w.Body.Len() > 0 {
			t.Errorf("%s: %d with %d bytes, want %d", method, w.Code, w.Body.Len(), want)
		}
	}
}

func TestAStylesheetNamesWhatIsServed(t *testing.T) {
	a := newAssets(t)
	css := get(a, address(t, a, "auth.css")).Body.String()
	named := regexp.MustCompile(`url\(([^)]+)\)`).FindAllStringSubmatch(css, -1)
	if len(named) == 0 {
		t.Fatal("the stylesheet names no picture")
	}
	for _, n := range named {
		if w := get(a, n[1]); w.Code != http.StatusOK {
			t.Errorf("%s: %d", n[1], w.Code)
		}
	}
	if strings.Contains(css, "data:") || strings.Contains(css, "@import") || strings.Contains(css, "http") {
		t.Error("the stylesheet loads something from elsewhere")
	}
}

func TestS35APictureOpenedByItselfMayDoNothing(t *testing.T) {
	a := newAssets(t)
	logos, err := themes.ShippedLogos()
	if err != nil {
		t.Fatal(err)
	}
	for name := range logos {
		w := get(a, address(t, a, name))
		if w.Code != http.StatusOK || w.Header().Get("Content-Security-Policy") != "default-src 'none'; sandbox" ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}

func TestAStylesheetIsFoundAgainAfterARestart(t *testing.T) {
	const org = "org_06a4m2k0q1v6d3t8r5e7p9h2bc"
	theme := themes.Theme{Brand: "#c4f042"}
	before := newAssets(t)
	outfit, err := before.Publish(org, theme)
	if err != nil {
		t.Fatal(err)
	}
	sheet := outfit.Look("Acme", "", "en").Theme
	if w := get(before, sheet); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "--org-brand:#c4f042") {
		t.Fatal(w.Code, w.Body)
	}
	after := newAssets(t)
	if w := get(after, sheet); w.Code != http.StatusNotFound {
		t.Error("found without a theme", w.Code)
	}
	asked := 0
	after.Theme = func(_ context.Context, name string) (themes.Theme, error) {
		asked++
		if name != org {
			return themes.Theme{}, themes.ErrUnknown
		}
		return theme, nil
	}
	if w := get(after, sheet); w.Code != http.StatusOK || asked != 1 {
		t.Error("not found again", w.Code, asked)
	}
	if get(after, sheet); asked != 1 {
		t.Error("asked twice")
	}
	theme.Brand = "#000000" // the look was changed meanwhile: an old address never gets new content
	fresh := newAssets(t)
	fresh.Theme = after.Theme
	if w := get(fresh, sheet); w.Code != http.StatusNotFound {
		t.Error("an old address got new content", w.Code)
	}
	for _, path := range []string{"/theme/other.aaaaaaaaaa.css", "/theme/../x.aaaaaaaaaa.css", "/theme/acme-bank.aaaaaaaaaa.svg"} {
		if w := get(after, path); w.Code != http.StatusNotFound {
			t.Error(path, w.Code)
		}
	}
}

func TestPublishRefusesWhatIsNoThemeAndNoName(t *testing.T) {
	a := newAssets(t)
	if _, err := a.Publish("org_1", themes.Theme{Brand: "red"}); !errors.Is(err, themes.ErrColor) {
		t.Error(err)
	}
	for _, name := range []string{"", "../x", "A b", "a.b", strings.Repeat("a", 65)} {
		if _, err := a.Publish(name, themes.Theme{}); !errors.Is(err, ErrThemeName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOrganizationsStylesheetsTakeBoundedMemory(t *testing.T) {
	a := newAssets(t)
	f := newFile(".css", []byte(":root{}"))
	for i := range maxSheets + 50 {
		name := strconv.Itoa(i)
		a.keepSheet(sheetKey{name: name}, "/theme/"+name, f)
	}
	if len(a.sheets) != maxSheets || len(a.worn) != maxSheets {
		t.Error(len(a.sheets), len(a.worn))
	}
}

func TestALookIsTheThemeInWords(t *testing.T) {
	a := newAssets(t)
	theme, err := themes.ShippedTheme("mexbanco")
	if err != nil {
		t.Fatal(err)
	}
	theme.Intro = map[string]string{"es-MX": "{application} de {organization}"}
	outfit, err := a.Publish("org_1", theme)
	if err != nil {
		t.Fatal(err)
	}
	look := outfit.Look("MexBanco", "Pagos", "es")
	if look.Tagline != "Tu tesorería, siempre abierta." || look.Intro != "Pagos de MexBanco" || look.Layout != "split" || outfit.Locale() != "es" {
		t.Errorf("%+v", look)
	}
	if look.Logo != address(t, a, "mexbanco.svg") || look.LogoDark != address(t, a, "mexbanco-dark.svg") {
		t.Errorf("%+v", look)
	}
	if english := outfit.Look("MexBanco", "Pagos", "en"); english.Intro != "" || english.Tagline != "Your treasury, always open." {
		t.Errorf("%+v", english)
	}
}

func BenchmarkPublishAgain(b *testing.B) {
	a := newAssets(b)
	theme := themes.Theme{Brand: "#c4f042"}
	for b.Loop() {
		if _, err := a.Publish("org_1", theme); err != nil {
			b.Fatal(err)
		}
	}
}
