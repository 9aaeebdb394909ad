package templates

import (
	"fmt"
	"html/template"
	"strings"
	"text/template/parse"
)

// This file renders once, when pages are parsed, what is the same in every page: sentences with nothing
// to fill in, icons and the addresses of assets. A page then costs what changes in it.

// constant computes a call of a template function whose arguments are all literal.
type constant func(args []string) (string, error)

// constants are the functions whose result may stand in the page as it is, in an attribute too.
func constants(words catalogue, assets *Assets) map[string]constant {
	return map[string]constant{
		"t": func(args []string) (string, error) {
			text, err := words.t(args[0], args[1:]...)
			return string(text), err
		},
		"icon": func(args []string) (string, error) {
			drawn, err := icon(args[0], args[1:]...)
			return string(drawn), err
		},
		"asset": func(args []string) (string, error) { return assets.URL(args[0]) },
	}
}

// fold replaces constant calls in every template of the page by their results.
func fold(page *template.Template, known map[string]constant) error {
	for _, part := range page.Templates() {
		if part.Tree == nil {
			continue
		}
		if err := foldList(part.Tree.Root, known); err != nil {
			return fmt.Errorf("%s: %w", part.Name(), err)
		}
	}
	return nil
}

func foldList(list *parse.ListNode, known map[string]constant) error {
	if list == nil {
		return nil
	}
	for i, node := range list.Nodes {
		var err error
		switch n := node.(type) {
		case *parse.ActionNode:
			list.Nodes[i], err = foldAction(n, known)
		case *parse.IfNode:
			err = foldBranch(&n.BranchNode, known)
		case *parse.RangeNode:
			err = foldBranch(&n.BranchNode, known)
		case *parse.WithNode:
			err = foldBranch(&n.BranchNode, known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func foldBranch(branch *parse.BranchNode, known map[string]constant) error {
	if err := foldList(branch.List, known); err != nil {
		return err
	}
	return foldList(branch.ElseList, known)
}

func foldAction(action *parse.ActionNode, known map[string]constant) (parse.Node, error) {
	name, args, ok := literalCall(action.Pipe)
	if !ok || known[name] == nil {
		return action, nil
	}
	text, err := known[name](args)
	if err != nil {
		return nil, err
	}
	if name == "t" && strings.Contains(text, "<") {
		return action, nil // markup: the engine knows whether it stands in an attribute
	}
	return &parse.TextNode{NodeType: parse.NodeText, Pos: action.Pos, Text: []byte(text)}, nil
}

// literalCall says whether a pipeline is one call of a function with at least one argument, all literal.
func literalCall(pipe *parse.PipeNode) (name string, args []string, ok bool) {
	if len(pipe.Decl) > 0 || len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) < 2 {
		return "", nil, false
	}
	function, ok := pipe.Cmds[0].Args[0].(*parse.IdentifierNode)
	if !ok {
		return "", nil, false
	}
	for _, arg := range pipe.Cmds[0].Args[1:] {
		text, ok := arg.(*parse.StringNode)
		if !ok {
			return "", nil, false
		}
		args = append(args, text.Text)
	}
	return function.Ident, args, true
}
