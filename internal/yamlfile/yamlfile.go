// Package yamlfile reads YAML that people wrote by hand, so that whatever is wrong with it can be said
// with file, line and column, the path of the key, what was expected, and the nearest name that is known.
//
// Parse gives the documents of a file as Values, which know where they stand; a Reader takes Values
// apart and gathers every problem instead of stopping at the first. It reads a plain part of YAML on
// purpose: no anchors and aliases (a few lines of them unfold to gigabytes), no tags, no merge keys, a
// bounded size and depth. It knows no setting and no noun.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxDepth is how deep maps and lists may lie in each other.
const MaxDepth = 32

// Value is a place in a file: a scalar, a list or a map. The zero Value stands nowhere.
type Value struct {
	File string
	Path string // "organizations[2].domains[0].name"; "" is the document
	node *yaml.Node
}

// Place is where a value stands. It may be kept for as long as somebody could want to know: a Value holds
// the whole file that it stands in.
type Place struct {
	File         string
	Path         string
	line, column int32 // 0 where there is none
}

// Place is where the value stands.
func (v Value) Place() Place {
	p := Place{File: v.File, Path: v.Path}
	if v.node != nil {
		p.line, p.column = int32(v.node.Line), int32(v.node.Column)
	}
	return p
}

// At is where the value stands, for people and editors: "realm.yaml:12:5".
func (v Value) At() string { return v.Place().At() }

// At is the place for people and editors: "realm.yaml:12:5".
func (p Place) At() string {
	if p.line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.line, p.column)
}

func (v Value) problem(text string) Problem { return v.Place().problem(text) }
func (p Place) problem(text string) Problem { return Problem{At: p.At(), Path: p.Path, Text: text} }

// Placed is what problems are said of: a Value or its Place.
type Placed interface{ problem(text string) Problem }

// Line is the value's line in its file, from 1.
func (v Value) Line() int { return v.node.Line }

// Problem is one thing that is wrong with a file.
type Problem struct {
	At   string // "realm.yaml:12:5"
	Path string // of the value, may be ""
	Text string // what is wrong and what was expected
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.At + ": " + p.Text
	}
	return p.At + ": " + p.Path + ": " + p.Text
}

// Problems are all that is wrong, in the order of reading.
type Problems []Problem

// shown is how many problems are worth reading at once.
const shown = 25

func (p Problems) Error() string {
	var b strings.Builder
	for i, one := range p {
		if i == shown {
			fmt.Fprintf(&b, "\nand %d more", len(p)-shown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.String())
	}
	return b.String()
}

// Parse reads the documents of a file. Empty documents are left out. name is what the file is called in
// problems; max is how many bytes it may have. The error is Problems, or what reading r answered.
func Parse(name string, r io.Reader, max int64) ([]Value, error) {
	raw, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, err
	}
	problem := func(at, text string) error { return Problems{{At: at, Text: text}} }
	switch {
	case int64(len(raw)) > max:
		return nil, problem(name, fmt.Sprintf("The file is larger than %d KiB, which is more than is read. Split it into several files.", max>>10))
	case !utf8.Valid(raw):
		return nil, problem(name, "The file is not UTF-8 text.")
	case bytes.IndexByte(raw, 0) >= 0:
		return nil, problem(name, "The file holds a NUL character; it is not a text file.")
	case nested(raw):
		return nil, problem(name, fmt.Sprintf("Maps and lists may lie %d deep in each other at most.", MaxDepth))
	}
	var docs []Value
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var node yaml.Node
		err := decode(d, &node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			at, text := spoken(name, err)
			return nil, problem(at, text)
		}
		if node.Kind != yaml.DocumentNode || len(node.Content) == 0 || nothing(node.Content[0]) {
			continue
		}
		v := Value{File: name, node: node.Content[0]}
		if problems := plain(v, v.node, 0); len(problems) > 0 {
			return nil, problems
		}
		docs = append(docs, v)
	}
}

// decode keeps a bug of the parser, which strangers' files would find, from ending the program.
func decode(d *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return d.Decode(into)
}

// nested says whether brackets alone already lie deeper than is allowed, before the parser, whose time
// grows with the square of the depth, sees them. Brackets in texts count too, but close again.
func nested(raw []byte) bool {
	depth, run := 0, 0
	for _, c := range raw {
		switch c {
		case '[', '{':
			depth++
			if run++; run > 8*MaxDepth {
				return true
			}
		case ']', '}':
			depth, run = max(0, depth-1), 0
		case '\n':
			// Block lists on one line ("- - - -") nest as well.
			run = 0
		case '-', '?':
			if run++; run > 64*MaxDepth {
				return true
			}
		case ' ', '\t':
		default:
			run = 0
		}
		if depth > 64*MaxDepth {
			return true
		}
	}
	return false
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// spoken gives the parser's error a place and a sentence.
func spoken(name string, err error) (at, text string) {
	said := err.Error()
	at = name
	if m := yamlLine.FindStringSubmatch(said); m != nil {
		said = strings.TrimPrefix(said, m[0])
		if m[1] != "" {
			at += ":" + m[1]
		}
	}
	return at, "This is not YAML: " + strings.Join(strings.Fields(said), " ") + "."
}

func nothing(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plain finds what is YAML and is not read here.
func plain(doc Value, n *yaml.Node, depth int) Problems {
	here := Value{File: doc.File, node: n}
	say := func(text string) Problems { return Problems{{At: here.At(), Text: text}} }
	switch {
	case depth > MaxDepth:
		return say(fmt.Sprintf("Maps and lists may lie %d deep in each other at most.", MaxDepth))
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return say("Anchors (&name) and aliases (*name) are not read. Write the value out.")
	case n.Style&yaml.TaggedStyle != 0:
		return say("Tags (" + n.Tag + ") are not read. Write the plain value.")
	case n.Tag == "!!merge":
		return say("Merge keys (<<) are not read. Write the keys out.")
	}
	for _, c := range n.Content {
		if problems := plain(doc, c, depth+1); len(problems) > 0 {
			return problems
		}
	}
	return nil
}
