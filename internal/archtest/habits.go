package archtest

// This file holds the habits of house.md section 8 that a machine can notice.

import (
	"go/ast"
	"go/build/constraint"
	"go/token"
	"path"
	"slices"
	"strings"
)

// shortest is the length of a package comment that a newcomer can act on: a name alone is shorter.
const shortest = 80

func (s *source) packageComments() {
	said := map[string]bool{}
	first := map[string]file{}
	for _, f := range s.files {
		if f.test {
			continue
		}
		if _, ok := first[f.room]; !ok {
			first[f.room] = f
		}
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command " + path.Base(f.room) + " "
		}
		if doc := f.ast.Doc.Text(); strings.HasPrefix(doc, want) && len(doc) >= shortest {
			said[f.room] = true
		}
	}
	for room, f := range first {
		if !said[room] {
			s.report(f, f.ast.Package, "comment", "%s has no package comment that says what it is for, its main idea, and what it refuses to know", room)
		}
	}
}

// empty are words that name a drawer and not what is in it.
var empty = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared", "lib", "core", "types", "models", "model",
	"manager", "service", "services", "impl", "data", "info", "dto", "pkg", "interfaces", "constants"}

func (s *source) packageNames() {
	for _, f := range s.files {
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		for _, word := range []string{name, path.Base(f.room)} {
			if slices.Contains(empty, word) || strings.Contains(word, "_") {
				s.report(f, f.ast.Name.Pos(), "name", "%q says nothing; name the package after what it provides", word)
				break
			}
		}
	}
}

func (s *source) noInit() {
	for _, f := range s.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				s.report(f, fn.Pos(), "init", "nobody sees who calls it, and when; write a table and read it where it is needed")
			}
		}
	}
}

// ambient is what a package may not reach for: it comes in through fields and arguments.
var ambient = map[string][]string{
	"time":     {"Now", "Since", "Until"},
	"context":  {"Background", "TODO"},
	"os":       {"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
	"net/http": {"ProxyFromEnvironment", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "DefaultServeMux"},
	"net":      {"Dial", "DialTimeout"},
}

func (s *source) noAmbientWorld() {
	for _, f := range s.files {
		if f.free() {
			continue
		}
		for pkg, names := range ambient {
			f.uses(pkg, func(sel *ast.SelectorExpr) {
				if slices.Contains(names, sel.Sel.Name) {
					s.report(f, sel.Pos(), "ambient", "%s.%s is for cmd and tests; take it through a field or an argument", path.Base(pkg), sel.Sel.Name)
				}
			})
		}
	}
}

// nothingLeftUndone finds tests that leave themselves out and promises to come back.
func (s *source) nothingLeftUndone() {
	for _, f := range s.files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if text := strings.TrimLeft(c.Text, "/* \t"); strings.HasPrefix(text, "TODO") || strings.HasPrefix(text, "FIXME") || strings.HasPrefix(text, "XXX") {
					s.report(f, c.Pos(), "undone", "finish it, or open an issue and say here what is true today")
				}
			}
		}
		if !f.test && !isKit(f.room) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow", "Short"}, sel.Sel.Name) && skips(sel) {
				s.report(f, sel.Pos(), "undone", "a test that leaves itself out has proved nothing; let it fail and say what is missing")
			}
			return true
		})
	}
}

// skips says whether a Skip belongs to a test: t, b, f, tb or testing itself.
func skips(sel *ast.SelectorExpr) bool {
	x, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb", "testing"}, x.Name)
}

// browsersAreLeftOut holds the files that drive a browser to the promise of make quick: it builds
// without them, so that no test has to skip itself.
func (s *source) browsersAreLeftOut() {
	const kit = "internal/browsertest"
	for _, f := range s.files {
		if f.room == kit || f.called(Module+kit) == "" || !f.builtWith("quick") {
			continue
		}
		s.report(f, f.ast.Package, "quick", "this file drives a browser, so it begins with //go:build !quick")
	}
}

// builtWith says whether a file is built where a tag is set.
func (f file) builtWith(tag string) bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if c.Pos() < f.ast.Package && constraint.IsGoBuild(c.Text) {
				expr, err := constraint.Parse(c.Text)
				return err == nil && expr.Eval(func(t string) bool { return t == tag || t == "linux" || t == "unix" })
			}
		}
	}
	return true
}

// declared is a call that stands in a variable of the package, where it runs once.
func declared(f file, call *ast.CallExpr) bool {
	for _, d := range f.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && g.Pos() <= call.Pos() && call.End() <= g.End() {
			return true
		}
	}
	return false
}
