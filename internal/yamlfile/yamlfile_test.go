package yamlfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vestibule-id/vestibule/internal/yamlfile"
)

const limit = 1 << 20

func parse(text string) ([]yamlfile.Value, error) {
	return yamlfile.Parse("f.yaml", strings.NewReader(text), limit)
}

func bomb() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 20 {
		text += fmt.Sprintf("a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i)
	}
	return text
}

// What a stranger would write to make a reader of YAML work for hours, or fall over.
func TestHostileFilesAreRefusedInWords(t *testing.T) {
	for name, tc := range map[string]struct{ text, says string }{
		"a bomb of aliases":  {bomb(), "f.yaml:1:5: Anchors (&name) and aliases (*name) are not read."},
		"brackets":           {strings.Repeat("[", 1<<19), "deep in each other at most"},
		"maps in maps":       {strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000), "deep in each other at most"},
		"lists on one line":  {strings.Repeat("- ", 1<<18), "deep in each other at most"},
		"maps by indenting":  {indented(60), "deep in each other at most"},
		"too large":          {strings.Repeat("# comment\n", limit/9), "The file is larger than 1024 KiB"},
		"NUL":                {"a: \x00", "NUL character"},
		"not text":           {"a: \xff\xfe", "not UTF-8"},
		"a merge":            {"a: {b: 1}\nc:\n  <<: {d: 1}", "Merge keys (<<) are not read."},
		"a tag":              {"a: !!binary aGVsbG8=", "Tags (!!binary) are not read."},
		"a tag of its own":   {"a: !python/object:os.system x", "are not read. Write the plain value."},
		"half a document":    {"a: [1, 2", "f.yaml:1: This is not YAML"},
		"an escaped quote":   {"a: \"\\q\"", "This is not YAML"},
		"a directive":        {"%YAML 9.9\n---\na: 1", "This is not YAML"},
		"an unknown alias":   {"a: *b", "This is not YAML"},
		"a control sequence": {"a: \x1b[2J", "This is not YAML"},
	} {
		_, err := parse(tc.text)
		if _, ok := errors.AsType[yamlfile.Problems](err); !ok || !strings.Contains(err.Error(), tc.says) {
			said := fmt.Sprint(err)
			t.Errorf("%s: it says %.300s", name, said)
		}
	}
}

func indented(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s a:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

func TestValuesAreWhatTheyLookLike(t *testing.T) {
	docs, err := parse("day: 1990-01-02\nnumber: 007\nno: NO\nyes: on\nnothing:\ntext: 'a: b'\nlist: [a, b]\n---\n---\nsecond: true\n")
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d, %v", len(docs), err)
	}
	r := &yamlfile.Reader{}
	got := map[string]string{}
	r.Each(docs[0], func(key string, _, v yamlfile.Value) {
		switch key {
		case "nothing":
			got[key] = fmt.Sprint(v.Null())
		default:
			got[key] = strings.Join(r.Texts(v), "+")
		}
	})
	want := map[string]string{"day": "1990-01-02", "number": "007", "no": "NO", "yes": "on", "nothing": "true", "text": "a: b", "list": "a+b"}
	if fmt.Sprint(got) != fmt.Sprint(want) || r.Err() != nil {
		t.Errorf("%v, %v", got, r.Err())
	}
}

func TestTheNearestNameIsTheOneThatWasMeant(t *testing.T) {
	known := []string{"issuer", "listen", "database", "trusted_proxies", "session.lifetime", "session.idle"}
	for word, want := range map[string]string{
		"isuer": "issuer", "isseur": "issuer", "Issuer": "issuer", "listne": "listen", "databse": "database", "trusted_proxy": "trusted_proxies",
		"session.lifetme": "session.lifetime", "colour": "", "": "", "x": "", strings.Repeat("x", 1<<20): "",
	} {
		if got := yamlfile.Nearest(word, known); got != want {
			t.Errorf("%.20q means %q, not %q", word, got, want)
		}
	}
}

// What somebody wrote is shown cut short and without what would rule a terminal.
func TestWhatWasWrittenIsQuoted(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[2J": `"a?[2J"`, "a\nb": `"a?b"`, strings.Repeat("é", 70): `"` + strings.Repeat("é", 60) + `…"`, "\u202eabc": `"?abc"`} {
		if got := yamlfile.Quote(in); got != want {
			t.Errorf("%q is shown as %s", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: 1", "a: [b, {c: d}]", bomb(), "- - - x", "? a\n: b", "a: |\n  text\n", "\"\\u0041\": >-\n x\n", "--- x\n--- y", indented(10), "{a: b, c: [d]}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := parse(text)
		if err != nil {
			return
		}
		for _, v := range docs {
			r := &yamlfile.Reader{}
			walk(r, v, 0)
		}
	})
}

// walk takes a value apart in every way; what was parsed must bear it.
func walk(r *yamlfile.Reader, v yamlfile.Value, depth int) {
	if depth > yamlfile.MaxDepth+1 {
		panic("deeper than allowed")
	}
	_ = v.At()
	r.Bool(v)
	r.Int(v)
	r.Text(v)
	r.Plain(v)
	switch {
	case v.IsMap():
		r.Each(v, func(_ string, _, value yamlfile.Value) { walk(r, value, depth+1) })
	case v.IsList():
		for _, item := range r.Items(v) {
			walk(r, item, depth+1)
		}
	}
}
