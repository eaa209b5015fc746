package relay

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// kinds returns the values of the constants whose names begin with Kind.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "model/kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Kind") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no plain text", spec.Names[0].Name)
		}
		value, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		found[spec.Names[0].Name] = value
		return true
	})
	return found
}

// Every kind of item has a handler, and every handler has a kind: an item without one
// would become a dead letter while the bridge runs.
func TestEveryKindHasAHandler(t *testing.T) {
	all, known := kinds(t), map[string]bool{}
	if len(all) < 20 {
		t.Fatalf("found %d kinds only", len(all))
	}
	table := new(Relay).wire().handlers
	for name, kind := range all {
		if table[kind] == nil {
			t.Errorf("%s (%q) has no handler", name, kind)
		}
		known[kind] = true
	}
	for kind := range table {
		if !known[kind] {
			t.Errorf("the handler of %q has no constant in model/kinds.go", kind)
		}
	}
}
