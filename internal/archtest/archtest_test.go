package archtest

import (
	"go/ast"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/vestibule-id/vestibule/templates"
)

// module is the source of this very module.
func module(t *testing.T) fs.FS {
	t.Helper()
	const root = "../.."
	if _, err := os.Stat(root + "/go.mod"); err != nil {
		t.Fatal(err)
	}
	return os.DirFS(root)
}

func TestTheHouseKeepsItsRules(t *testing.T) {
	found, err := Check(module(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// A fault that reaches a person is drawn as a page with words of its own (house.md section 6).
func TestEveryFaultHasWordsForItsPage(t *testing.T) {
	codes, err := Codes(module(t))
	if err != nil || len(codes) < 20 {
		t.Fatalf("%d codes, %v", len(codes), err)
	}
	for _, code := range codes {
		if !templates.HasFault(code) {
			t.Errorf("%s has no words in the catalogue of templates (fault.%s.title, .cause and .remedy)", code, code)
		}
	}
}

// The table itself: a row lets its room import only what stands on a floor below.
func TestNoRowCrossesAFloor(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rooms {
		if seen[r.name] || r.why == "" {
			t.Errorf("%s stands twice or has no reason", r.name)
		}
		seen[r.name] = true
		for _, other := range r.may {
			target, known := rowOf(other)
			if !known {
				t.Errorf("%s may import %s, which has no row", r.name, other)
			}
			within := r.name == "store/*" && other == "store" // the folder below implements part of it
			if target.floor >= r.floor && !within && other != r.name {
				t.Errorf("%s on floor %d may import %s on floor %d", r.name, r.floor, other, target.floor)
			}
		}
		if r.upTo > 0 && r.upTo >= r.floor && r.name != "cmd/*" {
			t.Errorf("%s on floor %d may import floor %d", r.name, r.floor, r.upTo)
		}
	}
}

// rules that no room of the product may get around, whatever its row says one day.
func TestWhatTheRowsMustNeverAllow(t *testing.T) {
	for _, r := range rooms {
		if r.name == "cmd/*" || isKit(r.name) {
			continue
		}
		if r.allows("store") && r.name != "store/*" && r.name != "store" {
			t.Errorf("%s may import store", r.name)
		}
		if r.allows("internal/demo") {
			t.Errorf("%s may import the demonstration", r.name)
		}
	}
	for _, never := range [][2]string{
		{"flows", "broker"}, {"broker/upstream", "flows"}, {"broker/upstream", "broker"}, {"policy", "directory"}, {"mfa", "flows"},
		{"directory", "broker/upstream"}, {"templates", "policy"}, {"broker/upstream/oidc", "broker/upstream/saml"}, {"portal", "internal/outbound"},
		{"api/client", "directory"}, {"audit", "directory"}, {"internal/web", "directory"}, {"internal/browsertest", "broker"},
	} {
		row, known := rowOf(never[0])
		if !known || row.allows(never[1]) {
			t.Errorf("%s may import %s", never[0], never[1])
		}
	}
}

const comment = "// Package %s is here so that a newcomer finds a whole paragraph about what it does and why.\n"

// Each rule is broken once here, and must be seen; nothing else may be.
func TestEveryRuleIsSeenBroken(t *testing.T) {
	imports := func(paths ...string) string {
		var b strings.Builder
		for _, p := range paths {
			b.WriteString("import _ \"" + p + "\"\n")
		}
		return b.String()
	}
	ours := func(p string) string { return Module + p }
	cases := []struct {
		name, file, body, rule string // rule "" means nothing is wrong
		line                   int
	}{
		{"an upward import", "directory/a.go", imports(ours("flows")), "import", 3},
		{"a sideways import", "broker/upstream/oidc/a.go", imports(ours("broker/upstream/saml")), "import", 3},
		{"the store from a room", "broker/a.go", imports(ours("store")), "import", 3},
		{"the broker from flows", "flows/a.go", imports(ours("internal/fault"), ours("broker")), "import", 4},
		{"a test kit in the product", "broker/a.go", imports(ours("broker/upstream/upstreamtest")), "import", 3},
		{"the fake provider in the product", "broker/a.go", imports(ours("internal/fakeidp")), "import", 3},
		{"the fake provider in a command", "cmd/vestibule/main.go", imports(ours("internal/fakeidp"), ours("store"), ours("internal/demo")), "", 0},
		{"the kits in the benchmark", "bench/main.go", imports(ours("internal/fakeidp"), ours("internal/pgtest"), ours("internal/redistest")), "", 0},
		{"the product in the benchmark", "bench/main.go", imports(ours("broker")), "import", 3},
		{"the demonstration in a room", "manifest/a.go", imports(ours("internal/demo")), "import", 3},
		{"the dialer in the portal", "portal/a.go", imports(ours("internal/outbound")), "import", 3},
		{"anything in a test", "policy/a_test.go", imports(ours("store"), ours("internal/fakeidp")), "", 0},
		{"a room without a row", "internal/gadget/a.go", "", "room", 2},
		{"a room too deep", "broker/upstream/oidc/jwks/a.go", "", "room", 2},
		{"what the row allows", "flows/a.go", imports(ours("broker/upstream"), ours("policy"), ours("internal/fault"), "net/http"), "", 0},
		{"init", "policy/a.go", "func init() {}", "init", 3},
		{"init in a test", "policy/a_test.go", "func init() {}", "init", 3},
		{"a method called init", "policy/a.go", "type t int\nfunc (t) init() {}", "", 0},
		{"the clock", "policy/a.go", "import \"time\"\nvar x = time.Now()", "ambient", 4},
		{"the clock by value", "policy/a.go", "import \"time\"\nvar x = time.Now", "ambient", 4},
		{"the clock in disguise", "policy/a.go", "import clock \"time\"\nfunc f(t clock.Time) any { return clock.Since(t) }", "ambient", 4},
		{"the clock in a command", "cmd/vestibule/main.go", "import \"time\"\nvar x = time.Now()", "", 0},
		{"the clock in a test", "policy/a_test.go", "import \"time\"\nvar x = time.Now()", "", 0},
		{"the clock in a kit", "internal/browsertest/a.go", "import \"time\"\nvar x = time.Now()", "", 0},
		{"the clock in the fake provider", "internal/fakeidp/a.go", "import \"time\"\nvar x = time.Now()", "ambient", 4},
		{"the clock in the demonstration", "internal/demo/a.go", "import \"time\"\nvar x = time.Now()", "ambient", 4},
		{"a context from nowhere", "store/a.go", "import \"context\"\nvar x = context.Background()", "ambient", 4},
		{"a context to do", "store/a.go", "import \"context\"\nvar x = context.TODO()", "ambient", 4},
		{"the environment", "store/a.go", "import \"os\"\nvar x = os.Getenv(\"A\")", "ambient", 4},
		{"an unguarded request", "broker/a.go", "import \"net/http\"\nvar x = http.DefaultClient", "ambient", 4},
		{"a duration", "policy/a.go", "import \"time\"\nvar x = time.Hour", "", 0},
		{"an empty word", "internal/util/a.go", "", "name", 2},
		{"a promise", "policy/a.go", "// TODO: later", "undone", 3},
		{"a test that leaves", "policy/a_test.go", "import \"testing\"\nfunc TestA(t *testing.T) { t.Skip() }", "undone", 4},
		{"a test that leaves when short", "policy/a_test.go", "import \"testing\"\nvar x = testing.Short()", "undone", 4},
		{"two faults of one code", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nvar a = fault.New(1, \"policy.x\", \"It is so and so.\")\n" +
			"var b = fault.New(1, \"policy.x\", \"It is so and so.\")", "fault", 5},
		{"a fault of another room", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nvar a = fault.New(1, \"flows.x\", \"It is so and so.\")", "fault", 4},
		{"a fault made on the way", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nfunc f() any { return fault.New(1, \"policy.x\", \"It is so and so.\") }", "fault", 4},
		{"a fault that is put together", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nvar s = \"x\"\nvar a = fault.New(1, \"policy.\"+s, \"It is so and so.\")", "fault", 5},
		{"a fault that says nothing", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nvar a = fault.New(1, \"policy.x\", \"bad request\")", "fault", 4},
		{"a good fault", "policy/a.go", "import \"" + ours("internal/fault") + "\"\nvar a = fault.New(1, \"policy.x\", \"It is so and so.\")", "", 0},
		{"an admission from outside", "portal/a.go", "import \"" + ours("broker") + "\"\nvar a = broker.Admission{}", "door", 4},
		{"an admission by var", "portal/a.go", "import \"" + ours("broker") + "\"\nvar a broker.Admission", "door", 4},
		{"an admission by new", "portal/a.go", "import \"" + ours("broker") + "\"\nvar a = new(broker.Admission)", "door", 4},
		{"an admission under another name", "cmd/vestibule/a.go", "import b \"" + ours("broker") + "\"\ntype a = b.Admission", "door", 4},
		{"an admission in somebody's test", "api/a_test.go", "import \"" + ours("broker") + "\"\nvar a = &broker.Admission{}", "door", 4},
		{"an admission beside the door", "broker/mint.go", "type Admission struct{ org string }\nvar a = Admission{org: \"x\"}", "door", 4},
		{"an app's admission beside the door", "broker/mint.go", "type appAdmission struct{ org string }\nvar a = appAdmission{org: \"x\"}", "door", 4},
		{"an admission at the door", "broker/admit.go", "type Admission struct{ org string }\nvar a = Admission{org: \"x\"}", "", 0},
		{"no admission", "broker/mint.go", "type Admission struct{ org string }\nfunc f() Admission { return Admission{} }", "", 0},
		{"an admission that is handed on", "portal/a.go", "import \"" + ours("broker") + "\"\nfunc f(a broker.Admission) {}", "", 0},
	}
	for _, c := range cases {
		room := c.file[strings.LastIndex(c.file[:strings.LastIndex(c.file, "/")], "/")+1 : strings.LastIndex(c.file, "/")]
		name, doc := room, strings.ReplaceAll(comment, "%s", room)
		if strings.HasPrefix(c.file, "cmd/") {
			name, doc = "main", strings.Replace(doc, "Package", "Command", 1)
		}
		found, err := Check(fstest.MapFS{c.file: {Data: []byte(doc + "package " + name + "\n" + c.body + "\n")}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.rule == "name" { // such a package has no row either
			found = slices.DeleteFunc(found, func(v Violation) bool { return v.Rule == "room" })
		}
		switch {
		case c.rule == "" && len(found) > 0:
			t.Errorf("%s: %v", c.name, found)
		case c.rule != "" && (len(found) != 1 || found[0].Rule != c.rule || found[0].Line != c.line || found[0].File != c.file):
			t.Errorf("%s: want %s:%d: %s, found %v", c.name, c.file, c.line, c.rule, found)
		}
	}
}

// security.md S6: the rule of the one door speaks of a type that is there, and whose fields nobody
// outside the broker can fill.
func TestS6AnAdmissionCannotBeFilledFromOutside(t *testing.T) {
	s, err := read(module(t))
	if err != nil {
		t.Fatal(err)
	}
	var found *ast.StructType
	for _, f := range s.files {
		if f.path != "broker/admit.go" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "Admission" {
				found, _ = spec.Type.(*ast.StructType)
			}
			return true
		})
	}
	if found == nil {
		t.Fatal("broker/admit.go declares no struct Admission: the rule of door.go guards nothing")
	}
	for _, field := range found.Fields.List {
		if len(field.Names) == 0 {
			t.Error("an Admission embeds something, whose fields others may fill")
		}
		for _, name := range field.Names {
			if name.IsExported() {
				t.Errorf("the field %s of Admission can be filled by anybody", name.Name)
			}
		}
	}
}

func TestBrowserTestsAreBuiltWithoutWhereQuick(t *testing.T) {
	body := "package flows\nimport _ \"" + Module + "internal/browsertest\"\n"
	for _, c := range []struct {
		head string
		want int
	}{{"", 1}, {"//go:build !quick\n\n", 0}, {"//go:build linux && !quick\n\n", 0}, {"//go:build linux\n\n", 1}, {"//go:build quick\n\n", 1}} {
		found, err := Check(fstest.MapFS{"flows/a_test.go": {Data: []byte(c.head + body)}})
		if err != nil || len(found) != c.want || c.want > 0 && found[0].Rule != "quick" {
			t.Errorf("%q: %v, %v", c.head, found, err)
		}
	}
}

func TestAPackageCommentIsMissedOnce(t *testing.T) {
	found, err := Check(fstest.MapFS{
		"policy/a.go":      {Data: []byte("package policy\n")},
		"policy/b.go":      {Data: []byte("// Package policy does things.\npackage policy\n")},
		"policy/a_test.go": {Data: []byte("package policy\n")},
		"audit/a_test.go":  {Data: []byte("package audit\n")}, // only tests: nothing to explain
	})
	if err != nil || len(found) != 1 || found[0].Rule != "comment" {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestWhatIsNotOursIsNotRead(t *testing.T) {
	bad := &fstest.MapFile{Data: []byte("package util\nfunc init() {}\n")}
	found, err := Check(fstest.MapFS{
		"policy/testdata/a.go": bad, "examples/app/a.go": bad, "examples/app/go.mod": {Data: []byte("module app")},
		"node_modules/x/a.go": bad, ".cache/a.go": bad,
	})
	if err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
}
