package templatestest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Check says everything that is wrong with a page's HTML.
func Check(t testing.TB, page []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	c := checker{t: t, ids: map[string]bool{}, labelled: map[string]bool{}}
	each(root, c.collect)
	each(root, c.check)
	c.whole()
}

// harmless says whether something that was typed became part of the page.
func harmless(t testing.TB, page []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	c := checker{t: t}
	each(root, c.inline)
	each(root, func(n *html.Node) {
		if n.Data == "script" && !strings.HasPrefix(attr(n, "src"), "/assets/") {
			t.Errorf("a foreign script: %s", outline(n))
		}
		if n.Data == "img" && attr(n, "alt") == "" && has(n, "onerror") {
			t.Errorf("an image that was typed: %s", outline(n))
		}
	})
}

func each(n *html.Node, do func(*html.Node)) {
	if n.Type == html.ElementNode {
		do(n)
	}
	for child := range n.ChildNodes() {
		each(child, do)
	}
}

type checker struct {
	t        testing.TB
	ids      map[string]bool
	labelled map[string]bool // ids that a label is for
	h1, main int
	title    string
	lang     string
	level    int // of the last heading
}

func (c *checker) collect(n *html.Node) {
	if id := attr(n, "id"); id != "" {
		if c.ids[id] {
			c.t.Errorf("the id %q stands twice", id)
		}
		c.ids[id] = true
	}
	switch n.Data {
	case "label":
		c.labelled[attr(n, "for")] = true
	case "h1":
		c.h1++
	case "main":
		c.main++
	case "title":
		if n.Parent.Data == "head" {
			c.title = text(n)
		}
	case "html":
		c.lang = attr(n, "lang")
	}
}

func (c *checker) check(n *html.Node) {
	c.inline(n)
	c.fit(n)
	c.named(n)
	c.references(n)
	c.headings(n)
	if n.Data == "form" && attr(n, "method") != "post" {
		c.t.Errorf("a form that is not posted: %s", outline(n))
	}
}

// inline refuses what the Content-Security-Policy would not run, and addresses that run.
func (c *checker) inline(n *html.Node) {
	if n.Data == "style" || n.Data == "script" && (attr(n, "src") == "" || n.FirstChild != nil) {
		c.t.Errorf("inline <%s>", n.Data)
	}
	for _, a := range n.Attr {
		value := strings.ToLower(strings.TrimSpace(a.Val))
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			c.t.Errorf("%s in <%s>", a.Key, n.Data)
		}
		if slices.Contains([]string{"href", "src", "action", "formaction", "srcset"}, a.Key) &&
			(strings.HasPrefix(value, "javascript:") || strings.HasPrefix(value, "data:")) {
			c.t.Errorf("%s=%q", a.Key, a.Val)
		}
	}
}

// fit refuses what the template engine puts in place of an address that is none.
func (c *checker) fit(n *html.Node) {
	for _, a := range n.Attr {
		if strings.Contains(a.Val, "ZgotmplZ") {
			c.t.Errorf("%s of <%s> was not fit to be shown", a.Key, n.Data)
		}
	}
}

// named wants a name for whatever can be pressed or filled in.
func (c *checker) named(n *html.Node) {
	switch n.Data {
	case "button", "a", "summary":
		if strings.TrimSpace(text(n)+attr(n, "aria-label")) == "" {
			c.t.Errorf("nothing names %s", outline(n))
		}
	case "input", "select", "textarea":
		if attr(n, "type") != "hidden" && !c.labelled[attr(n, "id")] && attr(n, "aria-label") == "" && n.Parent.Data != "label" {
			c.t.Errorf("nothing labels %s", outline(n))
		}
	case "img":
		if !has(n, "alt") {
			c.t.Errorf("no alt: %s", outline(n))
		}
	case "svg":
		if attr(n, "aria-hidden") != "true" && (attr(n, "role") != "img" || attr(n, "aria-label") == "") {
			c.t.Errorf("an icon that is read aloud: %s", outline(n))
		}
	case "ul", "dl":
		if n.FirstChild == nil {
			c.t.Error("an empty list")
		}
	}
}

func (c *checker) references(n *html.Node) {
	for _, name := range []string{"aria-describedby", "aria-labelledby", "aria-controls", "for"} {
		for id := range strings.FieldsSeq(attr(n, name)) {
			if !c.ids[id] {
				c.t.Errorf("%s=%q of <%s> is not on the page", name, id, n.Data)
			}
		}
	}
}

func (c *checker) headings(n *html.Node) {
	if len(n.Data) != 2 || n.Data[0] != 'h' || n.Data[1] < '1' || n.Data[1] > '6' {
		return
	}
	level := int(n.Data[1] - '0')
	if level > c.level+1 {
		c.t.Errorf("<h%d> follows <h%d>", level, c.level)
	}
	if strings.TrimSpace(text(n)) == "" {
		c.t.Errorf("an empty <h%d>", level)
	}
	c.level = level
}

func (c *checker) whole() {
	if c.h1 != 1 || c.main != 1 {
		c.t.Errorf("%d <h1> and %d <main>, want one of each", c.h1, c.main)
	}
	if c.lang == "" || strings.TrimSpace(c.title) == "" {
		c.t.Errorf("lang %q, title %q", c.lang, c.title)
	}
	if strings.ContainsAny(c.title, "<>\n") {
		c.t.Errorf("markup or a line break in the title %q", c.title)
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var all strings.Builder
	for child := range n.ChildNodes() {
		all.WriteString(text(child))
	}
	return all.String()
}

func outline(n *html.Node) string {
	var out bytes.Buffer
	if html.Render(&out, n) != nil {
		return n.Data
	}
	return out.String()[:min(out.Len(), 200)]
}
