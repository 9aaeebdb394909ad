package templates

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/themes"
)

func newRenderer(t testing.TB) *Renderer {
	t.Helper()
	r, err := New(newAssets(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type noPage struct{}

func (noPage) Template() string { return "login/nowhere" }

type brokenPage struct{}

func (brokenPage) Template() string { return "login/identify" }

func TestAPageThatCannotBeShownIsOurFault(t *testing.T) {
	r := newRenderer(t)
	if _, err := r.Render(Look{}, noPage{}); !errors.Is(err, ErrPage) {
		t.Error(err)
	}
	if html, err := r.Render(Look{}, brokenPage{}); !errors.Is(err, ErrRender) || html != nil {
		t.Error("half a page", err)
	}
}

func TestPagesDoNotShareABuffer(t *testing.T) {
	r := newRenderer(t)
	first, err := r.Render(Look{Org: "Acme"}, OverPage{})
	if err != nil {
		t.Fatal(err)
	}
	kept := string(first)
	if _, err := r.Render(Look{Org: "Other"}, LogoutDonePage{}); err != nil {
		t.Fatal(err)
	}
	if string(first) != kept {
		t.Error("a later page overwrote an earlier one")
	}
}

func TestAnUnknownLanguageIsEnglish(t *testing.T) {
	html, err := newRenderer(t).Render(Look{Lang: "xx"}, IdentifyPage{})
	if err != nil || !bytes.Contains(html, []byte(`<html lang="en"`)) {
		t.Error(err)
	}
}

// S31: an unknown domain and one without single sign-on are one page, which says nothing of either.
func TestS31TheUnknownAndTheUnconnectedReadTheSame(t *testing.T) {
	fields := reflect.TypeFor[NoCompanyPage]()
	allowed := map[string]bool{"Action": true, "Step": true, "Value": true, "App": true}
	for i := range fields.NumField() {
		if !allowed[fields.Field(i).Name] {
			t.Errorf("NoCompanyPage.%s could tell the two apart", fields.Field(i).Name)
		}
	}
}

func TestS36APageCarriesNoPolicyOfItsOwn(t *testing.T) {
	html, err := newRenderer(t).Render(Look{Org: "Acme"}, LeavingPage{
		URL: "https://idp.example/sso", Host: "x; script-src *", Provider: "x", Fields: []FormField{{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(html, []byte("http-equiv")) || bytes.Contains(html, []byte("form-action")) {
		t.Error("a policy stands in the page")
	}
}

func TestS36APageNeverLeadsToAScript(t *testing.T) {
	r := newRenderer(t)
	for _, url := range []string{"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", " javascript:alert(1)"} {
		for _, page := range []Page{LeavingPage{URL: url}, LeavingPage{URL: url, Fields: []FormField{{"a", "b"}}},
			FaultPage{RetryURL: url, BackURL: url, Contact: url}, OverPage{AppURL: url}} {
			html, err := r.Render(Look{Help: url, Privacy: url}, page)
			if err != nil {
				t.Fatal(err)
			}
			if regexp.MustCompile(`(?i)(href|action)="\s*(javascript|data|vbscript):`).Match(html) {
				t.Errorf("%T leads to %s", page, url)
			}
		}
	}
}

func TestALogoIsNeverFetchedFromElsewhere(t *testing.T) {
	r := newRenderer(t)
	for _, logo := range []string{"https://evil.example/x.svg", "//evil.example/x.svg", "data:image/svg+xml,x"} {
		if _, err := r.Render(Look{Org: "Acme", Logo: logo}, IdentifyPage{}); !errors.Is(err, ErrPicture) {
			t.Errorf("%s: %v", logo, err)
		}
	}
}

func TestEveryIconIsUsed(t *testing.T) {
	var all bytes.Buffer
	for _, dir := range []string{"layout", "part", "login", "logout", "mfa", "fault"} {
		entries, err := pageFiles.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			raw, _ := pageFiles.ReadFile(dir + "/" + e.Name())
			all.Write(raw)
		}
	}
	for name := range icons {
		if !strings.Contains(all.String(), `icon "`+name+`"`) && !strings.HasPrefix(name, "mfa-") { // one for each method
			t.Errorf("nothing shows the icon %s", name)
		}
	}
	if n := len(funcs(catalogue{}, newAssets(t))); n > 10 {
		t.Errorf("%d template functions; ten are the limit", n)
	}
}

// The sign-in page with all it loads, over the wire (ui contract, section 2).
func TestTheSignInPageIsLight(t *testing.T) {
	a := newAssets(t)
	r, err := New(a)
	if err != nil {
		t.Fatal(err)
	}
	outfit, err := a.Publish("org_1", shippedTheme(t, "mexbanco"))
	if err != nil {
		t.Fatal(err)
	}
	html, err := r.Render(outfit.Look("MexBanco", "Treasury Hub", "es"), IdentifyPage{App: "Treasury Hub", HandleAllowed: true})
	if err != nil {
		t.Fatal(err)
	}
	total := zipped(t, html)
	loaded := regexp.MustCompile(`(?:href|src|srcset)="(/(?:assets|theme)/[^"]+)"`).FindAllSubmatch(html, -1)
	seen := map[string]bool{}
	for _, l := range loaded {
		if path := string(l[1]); !seen[path] {
			seen[path] = true
			total += get(a, path, "Accept-Encoding", "gzip").Body.Len()
		}
	}
	total += get(a, address(t, a, "art/arches.svg"), "Accept-Encoding", "gzip").Body.Len()
	if len(seen) < 5 {
		t.Errorf("only %d files were found in the page", len(seen))
	}
	if total > 30<<10 {
		t.Errorf("%d bytes, want at most 30 KB", total)
	}
	t.Logf("%d bytes in %d files", total, len(seen)+2)
}

func zipped(t *testing.T, content []byte) int {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}

func BenchmarkRender(b *testing.B) {
	r := newRenderer(b)
	look := Look{Org: "Acme", Lang: "en", Theme: "/theme/a.css"}
	page := IdentifyPage{Action: "/login/x", Step: "identify", App: "Treasury Hub"}
	for b.Loop() {
		html, err := r.Render(look, page)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Discard.Write(html)
	}
}

func shippedTheme(t testing.TB, name string) themes.Theme {
	t.Helper()
	theme, err := themes.ShippedTheme(name)
	if err != nil {
		t.Fatal(err)
	}
	return theme
}

// BenchmarkStart is what pages and assets add to a cold start.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if _, err := New(newAssets(b)); err != nil {
			b.Fatal(err)
		}
	}
}
