package templates

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEverySentenceExistsInEveryLanguage(t *testing.T) {
	all := catalogues()
	if len(all) < 2 {
		t.Fatal("one language only")
	}
	for lang, words := range all {
		for key, s := range words {
			if strings.TrimSpace(s.plain) == "" || s.plain != strings.TrimSpace(s.plain) {
				t.Errorf("%s: %s is %q", lang, key, s.plain)
			}
			for other, theirs := range all {
				twin, ok := theirs[key]
				if !ok {
					t.Errorf("%s: %s is missing", other, key)
				} else if !slices.Equal(placeholdersOf(s.plain), placeholdersOf(twin.plain)) {
					t.Errorf("%s: %s and %s fill in different things", key, lang, other)
				}
			}
		}
	}
}

var placeholder = regexp.MustCompile(`\{\w*\}`)

func placeholdersOf(text string) []string {
	found := placeholder.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// usedInPages finds t "key" in every page.
var usedInPages = regexp.MustCompile(`\bt "([^"]+)"`)

// usedByCode are the sentences that Go code asks for by a key it puts together.
var usedByCode = []string{"mail.", "sms.", "name.", "fault.detail.", "consent.claim", "consent.scope.", "mfa.method.", "login.profile.", "mfa.sent."}

func TestNoSentenceIsUnused(t *testing.T) {
	used := usedKeys(t)
	codes := declaredCodes(t)
	for key := range catalogueOf("en") {
		family := strings.TrimPrefix(key, "fault.")
		switch {
		case used[key]:
		case slices.ContainsFunc(usedByCode, func(prefix string) bool { return strings.HasPrefix(key, prefix) }):
		case family != key && hasPart(key) && someCodeReads(codes, family[:strings.LastIndex(family, ".")]):
		default:
			t.Errorf("nothing shows %s", key)
		}
	}
}

func hasPart(key string) bool {
	return strings.HasSuffix(key, ".title") || strings.HasSuffix(key, ".cause") || strings.HasSuffix(key, ".remedy")
}

func someCodeReads(codes map[string]string, family string) bool {
	for code := range codes {
		if code == family || strings.HasPrefix(code, family+".") || strings.HasPrefix(code, family+"_") {
			return true
		}
	}
	return false
}

func usedKeys(t *testing.T) map[string]bool {
	used := map[string]bool{}
	err := fs.WalkDir(pageFiles, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := pageFiles.ReadFile(path)
		for _, found := range usedInPages.FindAllSubmatch(raw, -1) {
			used[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eachCall(t, "Say", func(_ string, call *ast.CallExpr) {
		if len(call.Args) > 1 {
			used[literal(call.Args[1])] = true
		}
	})
	return used
}

// A person who meets a fault reads words, in every room of the house.
func TestEveryFaultHasWords(t *testing.T) {
	codes := declaredCodes(t)
	if len(codes) < 50 {
		t.Fatalf("only %d faults found: this test looks in the wrong place", len(codes))
	}
	for code, where := range codes {
		if !HasFault(code) {
			t.Errorf("%s: %s has no words; add fault.%s.title, .cause and .remedy to templates/catalogue", where, code, code)
		}
		for _, lang := range Languages() {
			page := FaultOf(lang, code, Names{})
			if page.Title == "" || page.Cause == "" || page.Remedy == "" || strings.ContainsAny(page.Title+page.Cause+page.Remedy, "{}*") {
				t.Errorf("%s in %s: %+v", code, lang, page)
			}
		}
	}
}

// aloneWithTheirFaults are rooms whose faults are read in a terminal or on pages of their own.
var aloneWithTheirFaults = []string{"../cmd/", "../internal/fakeidp/", "../internal/demo/", "../manifest/"}

// declaredCodes are the codes of all faults that may meet a page, with the file that declares them.
func declaredCodes(t *testing.T) map[string]string {
	codes := map[string]string{"internal": "internal/fault"} // of errors that nobody declared
	eachCall(t, "New", func(file string, call *ast.CallExpr) {
		if slices.ContainsFunc(aloneWithTheirFaults, func(room string) bool { return strings.HasPrefix(file, room) }) {
			return
		}
		if fun, ok := call.Fun.(*ast.SelectorExpr); ok && len(call.Args) == 3 && fmt.Sprint(fun.X) == "fault" {
			codes[literal(call.Args[1])] = file
		}
	})
	delete(codes, "")
	return codes
}

func eachCall(t *testing.T, name string, do func(file string, call *ast.CallExpr)) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && calls(call, name) {
				do(path, call)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func calls(call *ast.CallExpr, name string) bool {
	switch fun := call.Fun.(type) {
	case *ast.SelectorExpr:
		return fun.Sel.Name == name
	case *ast.Ident:
		return fun.Name == name
	}
	return false
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return ""
}

func TestAFaultOfNobodyIsOurs(t *testing.T) {
	ours := FaultOf("en", "internal", Names{})
	if got := FaultOf("en", "nobody.declared_this", Names{}); got.Title != ours.Title || got.Cause != ours.Cause {
		t.Errorf("%+v", got)
	}
	if HasFault("nobody.declared_this") || HasFault("") || !HasFault("saml.bad_cert") {
		t.Error("HasFault")
	}
}

func TestAFaultNamesWhomItConcerns(t *testing.T) {
	page := FaultOf("en", "saml.bad_cert", Names{Provider: "Okta", Org: "Acme Bank", App: "Payments"})
	if !strings.HasPrefix(page.Cause, "Okta said who you are") || !strings.Contains(page.Remedy, "Acme Bank") || page.Title != "Sign-in didn’t finish" {
		t.Errorf("%+v", page)
	}
	if bare := FaultOf("es", "upstream.unreachable", Names{}); bare.Title != "El servicio de acceso de tu organización no responde" {
		t.Errorf("%+v", bare)
	}
}

// American spelling, no exclamation marks, no "please", no "oops" (ui contract, section 8).
func TestTheWordsAreOurs(t *testing.T) {
	unwanted := regexp.MustCompile(`(?i)!|\bplease\b|\boops\b|\bsorry\b|\bMFA\b|organis|colour|\blog ?in\b|\bcancelled\b|invalid|'`)
	for key, s := range catalogueOf("en") {
		if found := unwanted.FindString(s.plain); found != "" {
			t.Errorf("%s says %q: %s", key, found, s.plain)
		}
	}
	// General words stand in for names: at the start of a sentence they would begin with a small letter.
	for lang, words := range catalogues() {
		for key, s := range words {
			if strings.Contains(s.plain, ". {") || strings.Contains(s.plain, "? {") {
				t.Errorf("%s in %s: a name begins a sentence: %s", key, lang, s.plain)
			}
		}
	}
}

func TestASentenceIsFilledWithTextNotMarkup(t *testing.T) {
	words := catalogue{"k": newSentence("A **{2}** & <b> {1} {3}x")}
	got, err := words.t("k", "<i>", "b*b", "{1}")
	if err != nil || got != "A <strong>b*b</strong> &amp; &lt;b&gt; &lt;i&gt; {1}x" {
		t.Error(got, err)
	}
	if _, err := words.t("k", "a"); !errors.Is(err, ErrText) {
		t.Error("too few arguments:", err)
	}
	if _, err := words.t("unknown"); !errors.Is(err, ErrText) {
		t.Error("unknown key:", err)
	}
}

func TestSayIsPlainText(t *testing.T) {
	if got := Say("en", "back_to", "R&D <App>"); got != "Back to R&D <App>" {
		t.Error(got)
	}
	if Say("xx", "continue") != "Continue" || Say("es", "continue") != "Continuar" || Say("en", "no.such") != "no.such" {
		t.Error("Say")
	}
}

func TestLanguageIsWhatSomebodyCanRead(t *testing.T) {
	for _, tc := range []struct {
		wishes []string
		want   string
	}{
		{nil, "en"},
		{[]string{"", "", "es-MX,es;q=0.9,en;q=0.8"}, "es"},
		{[]string{"", "es", "en-US,en;q=0.9"}, "es"},
		{[]string{"en", "es", "es"}, "en"},
		{[]string{"fr-CA es", "", "en"}, "es"},
		{[]string{"fr", "", "en;q=0.2, es;q=0.7"}, "es"},
		{[]string{"en;q=0,es"}, "es"},
		{[]string{"de, fr, *"}, "en"},
		{[]string{"ES-419"}, "es"},
		{[]string{";q=1,es;q=x,\"><script>"}, "en"},
	} {
		if got := Language(tc.wishes...); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.wishes, got, tc.want)
		}
	}
}
