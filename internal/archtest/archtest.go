// Package archtest holds the house to its rules: who may import whom, and the habits that a machine can
// notice. Check reads the source of the whole module and reports every violation with its file, line
// and rule; the test of this package fails for each.
//
// The table of rooms stands in rooms.go. A new package adds its row, with its reason, in the same
// commit: a row may grow, a floor may not be crossed. What is here is what the manual's page about the
// house says; when the two disagree, one of them is a bug.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the prefix of our import paths.
const Module = "github.com/vestibule-id/vestibule/"

// Violation is one place where the source breaks a rule.
type Violation struct {
	File string
	Line int
	Rule string // short, so that equal violations are seen to be equal
	Text string // what is wrong and what to do
}

func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.File, v.Line, v.Rule, v.Text)
}

// file is one Go file of the module.
type file struct {
	path string // from the module's root
	room string // the folder
	test bool   // name ends in _test.go
	ast  *ast.File
	set  *token.FileSet
}

// source is all that was read, and what was found wrong.
type source struct {
	files []file
	found []Violation
}

// Check reads a module's source and says what breaks the rules, in the order of files and lines.
func Check(module fs.FS) ([]Violation, error) {
	s, err := read(module)
	if err != nil {
		return nil, err
	}
	for _, check := range checks {
		check(s)
	}
	slices.SortFunc(s.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return s.found, nil
}

// checks is the table of rules.
var checks = []func(*source){
	(*source).imports,
	(*source).packageComments,
	(*source).packageNames,
	(*source).noInit,
	(*source).noAmbientWorld,
	(*source).nothingLeftUndone,
	(*source).browsersAreLeftOut,
	(*source).faultsOnce,
	(*source).oneDoor,
}

func read(module fs.FS) (*source, error) {
	s, set := &source{}, token.NewFileSet()
	err := fs.WalkDir(module, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return foreign(module, name, d)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.files = append(s.files, file{path: name, room: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: parsed, set: set})
		return nil
	})
	return s, err
}

// foreign leaves out what is not this module's source.
func foreign(module fs.FS, name string, d fs.DirEntry) error {
	if name == "." {
		return nil
	}
	base := d.Name()
	if base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(module, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (s *source) report(f file, at token.Pos, rule, format string, args ...any) {
	s.found = append(s.found, Violation{f.path, f.set.Position(at).Line, rule, fmt.Sprintf(format, args...)})
}

// free says whether a file may touch the world: commands and whatever only tests use.
func (f file) free() bool {
	return f.test || f.room == "cmd" || strings.HasPrefix(f.room, "cmd/") || f.room == "bench" || isKit(f.room)
}

// isKit says whether a room is a test kit: exported contracts and tools of tests.
func isKit(room string) bool { return strings.HasSuffix(room, "test") }

// called is the name under which a file knows an import; "" when it does not import it.
func (f file) called(importPath string) string {
	for _, spec := range f.ast.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == importPath {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path.Base(importPath)
		}
	}
	return ""
}

// uses calls found for each use of an import's names in the file, whatever the import is called there.
func (f file) uses(importPath string, found func(sel *ast.SelectorExpr)) {
	name := f.called(importPath)
	if name == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
				found(sel)
			}
		}
		return true
	})
}
