package archtest

import (
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var dotted = regexp.MustCompile(`^[a-z]+(\.[a-z0-9_]+)+$`)

// declaration is one fault.New of the source.
type declaration struct {
	code, public string
	file         file
	call         *ast.CallExpr
}

// terminal are the rooms whose own faults are printed by a command and never drawn as a page. What goes
// wrong with Redis while people are served is wrapped in a fault of brief.
var terminal = []string{"cmd/vestibule", "manifest", "internal/demo", "internal/fakeidp", "store/redis"}

// Codes are the codes of all faults that the module declares and a page may show: each needs a page's
// words.
func Codes(module fs.FS) ([]string, error) {
	s, err := read(module)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range s.declarations() {
		if !slices.Contains(terminal, d.file.room) {
			out = append(out, d.code)
		}
	}
	return out, nil
}

// declarations finds every fault.New. What is no plain string there is reported as it is found.
func (s *source) declarations() []declaration {
	var out []declaration
	for _, f := range s.files {
		if f.test {
			continue
		}
		name := f.called(Module + "internal/fault")
		inside := f.room == "internal/fault"
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 || !makesFault(call.Fun, name, inside) {
				return true
			}
			code, ok := literal(call.Args[1])
			public, ok2 := literal(call.Args[2])
			if !ok || !ok2 {
				s.report(f, call.Pos(), "fault", "a fault's code and sentence are plain strings, so that people can search for them")
				return true
			}
			out = append(out, declaration{code, public, f, call})
			return true
		})
	}
	return out
}

func makesFault(fun ast.Expr, imported string, inside bool) bool {
	if id, ok := fun.(*ast.Ident); ok {
		return inside && id.Name == "New"
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok || imported == "" || sel.Sel.Name != "New" {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == imported
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// faultsOnce holds faults to house.md section 7, rule 1.
func (s *source) faultsOnce() {
	first := map[string]declaration{}
	for _, d := range s.declarations() {
		if before, twice := first[d.code]; twice {
			s.report(d.file, d.call.Pos(), "fault", "%s is declared in %s already; return that one, or find a code of its own", d.code, before.file.path)
		}
		first[d.code] = d
		if !declared(d.file, d.call) {
			s.report(d.file, d.call.Pos(), "fault", "%s is made inside a function; declare it once as a variable of the package and use With", d.code)
		}
		if d.file.room != "internal/fault" && (!dotted.MatchString(d.code) || !strings.HasPrefix(d.code, path.Base(d.file.room)+".")) {
			s.report(d.file, d.call.Pos(), "fault", "the code %q does not begin with %q, so nobody knows where to look", d.code, path.Base(d.file.room)+".")
		}
		if !sentence(d.public) {
			s.report(d.file, d.call.Pos(), "fault", "%q is no sentence to show to people", d.public)
		}
	}
}

func sentence(text string) bool {
	return len(text) > 10 && strings.ToUpper(text[:1]) == text[:1] && strings.HasSuffix(text, ".")
}
