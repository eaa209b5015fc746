package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// homeserverPlaces are the files that may distinguish kinds of homeserver by name: each
// maps a kind to a value, and all other code uses the value.
var homeserverPlaces = []string{"bridge/config/config.go", "bridge/mxside/traits.go", "bridge/mxside/mxtest/kinds.go", "provision/homeserver/homeserver.go", "cmd/appliance/homeservers_test.go"}

// homeserverTrees are the trees in which no other file may do so.
var homeserverTrees = []string{"bridge", "cmd", "provision"}

// TestHomeserversAreValues fails if code depends on the name of a homeserver, in a comparison,
// as a case of a switch, or as the key of a table.
func TestHomeserversAreValues(t *testing.T) {
	const root = "../.."
	for _, tree := range homeserverTrees {
		err := filepath.WalkDir(filepath.Join(root, tree), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil || slices.Contains(homeserverPlaces, filepath.ToSlash(rel)) {
				return err
			}
			for _, at := range decidedByHomeserver(t, name, nil) {
				t.Errorf("%s: the name of a homeserver decides something: give its value a field instead (docs/homeservers.md)", at)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// decidedByHomeserver returns where a file distinguishes homeservers by name. source is the
// file's content, or nil to read it.
func decidedByHomeserver(t *testing.T, name string, source any) []token.Position {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []token.Position
	check := func(list ...ast.Expr) {
		for _, e := range list {
			if namesHomeserver(e) {
				found = append(found, files.Position(e.Pos()))
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				check(n.X, n.Y)
			}
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				if n.Tag != nil {
					check(c.(*ast.CaseClause).List...)
				}
			}
		case *ast.CompositeLit:
			if _, isMap := n.Type.(*ast.MapType); !isMap {
				break
			}
			for _, e := range n.Elts {
				pair, ok := e.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if _, text := pair.Key.(*ast.BasicLit); !text || !strings.HasSuffix(name, "_test.go") { // that may be the name of a case
					check(pair.Key)
				}
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"HasPrefix", "HasSuffix", "EqualFold"}, f.Sel.Name) {
				check(n.Args...)
			}
		}
		return true
	})
	return found
}

// namesHomeserver reports whether an expression is the name of a kind of homeserver.
func namesHomeserver(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return slices.Contains([]string{"dendrite", "synapse", "generic"}, text)
	case *ast.Ident:
		return slices.Contains([]string{"Dendrite", "Synapse", "Generic"}, e.Name)
	case *ast.SelectorExpr:
		return namesHomeserver(e.Sel)
	}
	return false
}

func TestADecisionByNameIsFound(t *testing.T) {
	const head = "package p\n\nfunc f(kind string) {\n\t"
	for text, want := range map[string]int{
		`if kind == "dendrite" {}`:                     1,
		`if mxtest.Synapse != kind {}`:                 1,
		`switch kind { case answers.Generic: }`:        1,
		`switch { case traits.Synapse: }`:              0,
		`_ = map[string]string{Dendrite: "", "x": ""}`: 1,
		`_ = strings.HasPrefix(kind, "synapse")`:       1,
		`if s.traits.HoldsBack {}`:                     0,
		`_ = New(mxtest.Synapse)`:                      0,
	} {
		if found := decidedByHomeserver(t, "p.go", head+text+"\n}\n"); len(found) != want {
			t.Errorf("%s: found at %v, want %d", text, found, want)
		}
	}
}
