package archtest

import "go/ast"

// oneDoor keeps the proof of admission in one hand (security.md S6): the minter takes a
// broker.Admission, so nobody but the broker may make one, and there nobody but admit.go.
func (s *source) oneDoor() {
	for _, f := range s.files {
		if f.room == "broker" {
			s.insideBroker(f)
			continue
		}
		name := f.called(Module + "broker")
		if name == "" {
			continue
		}
		is := func(e ast.Expr) bool {
			sel, ok := e.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Admission" {
				return false
			}
			x, ok := sel.X.(*ast.Ident)
			return ok && x.Name == name
		}
		s.made(f, is, func(ast.Node) bool { return true })
	}
}

// insideBroker lets every file say "no admission" by an empty one, and admit.go alone say more. The same
// holds for the admissions of apps that act for themselves.
func (s *source) insideBroker(f file) {
	if f.test || f.path == "broker/admit.go" {
		return
	}
	is := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && (id.Name == "Admission" || id.Name == "appAdmission")
	}
	s.made(f, is, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		return ok && len(lit.Elts) > 0
	})
}

// made reports each place where a value of the type comes into being, or the type gets another name
// under which it could.
func (s *source) made(f file, is func(ast.Expr) bool, counts func(ast.Node) bool) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		var t ast.Expr
		switch n := n.(type) {
		case *ast.CompositeLit:
			t = n.Type
		case *ast.ValueSpec:
			t = n.Type
		case *ast.TypeSpec:
			t = n.Type
		case *ast.CallExpr:
			if len(n.Args) == 1 && (is(n.Fun) || isNew(n.Fun)) {
				t = n.Args[0]
				if is(n.Fun) {
					t = n.Fun
				}
			}
		}
		if t != nil && is(t) && counts(n) {
			s.report(f, n.Pos(), "door", "a broker.Admission comes from Admit alone (security.md S6)")
		}
		return true
	})
}

func isNew(fun ast.Expr) bool {
	id, ok := fun.(*ast.Ident)
	return ok && id.Name == "new"
}
