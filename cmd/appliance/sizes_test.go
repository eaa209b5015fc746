package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Limits on what a reader has to keep in mind at once.
const (
	maxMethods   = 25 // of one type
	maxInterface = 10 // methods that one interface declares
)

// small lists the trees of packages in which no type and no interface is larger than the
// limits.
var small = []string{"bridge", "provision", "cmd"}

// large lists the types that may have more methods, with the reason.
var large = map[string]string{
	"bridge/convert/internal/grammar.parser": "the grammar of Rocket.Chat's messages, with a method for each of its rules",
	"bridge/mxside/mxtest/hermetic.Server":   "a homeserver for tests, with a method for each request of the specification that it answers",
	"bridge/rocketchat.Client":               "Rocket.Chat's REST API, with a method for each endpoint",
	"bridge/rocketchat/rctest.Server":        "a Rocket.Chat for tests, with a method for each thing that people do or see there",
	"bridge/rocketchat/rctest.real":          "the same on a real server, asked as clients ask it",
	"bridge/rocketchat/rctest/sim.Engine":    "the simulator, with a method for each endpoint and each thing that people do",
	"bridge/rocketchat/rctest/sim.call":      "a request to the simulator, with a method for each thing that endpoints ask of one",
}

// A shape holds what was counted in a package.
type shape struct {
	methods    map[string]int // by type
	interfaces map[string]int // declared methods, by interface
	mixed      []string       // interfaces that declare methods and embed others
}

// measure counts the methods of the types and interfaces in a file.
func (s *shape) measure(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv != nil {
				s.methods[receiver(n.Recv.List[0].Type)]++
			}
			return false
		case *ast.TypeSpec:
			it, ok := n.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			embeds := 0
			for _, m := range it.Methods.List {
				if len(m.Names) == 0 {
					embeds++
				}
				s.interfaces[n.Name.Name] += len(m.Names)
			}
			if embeds > 0 && s.interfaces[n.Name.Name] > 0 {
				s.mixed = append(s.mixed, n.Name.Name)
			}
		}
		return true
	})
}

// receiver returns the type name of a receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// shapes returns the shape of each package in a tree of packages.
func shapes(t *testing.T, tree string) map[string]*shape {
	t.Helper()
	const root = "../.."
	found := map[string]*shape{}
	err := filepath.WalkDir(filepath.Join(root, tree), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		if found[pkg] == nil {
			found[pkg] = &shape{methods: map[string]int{}, interfaces: map[string]int{}}
		}
		found[pkg].measure(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Types and interfaces stay small: no type has more than maxMethods methods, no interface
// declares more than maxInterface, and an interface that embeds others, as the wiring needs,
// declares none of its own.
func TestTypesAndInterfacesStaySmall(t *testing.T) {
	needed := map[string]bool{} // of large
	for _, tree := range small {
		counted := 0
		for pkg, s := range shapes(t, tree) {
			for name, n := range s.methods {
				counted++
				needed[pkg+"."+name] = n > maxMethods
				if n > maxMethods && large[pkg+"."+name] == "" {
					t.Errorf("%s.%s has %d methods, more than %d", pkg, name, n, maxMethods)
				}
			}
			for name, n := range s.interfaces {
				if n > maxInterface {
					t.Errorf("%s.%s declares %d methods, more than %d", pkg, name, n, maxInterface)
				}
			}
			for _, name := range s.mixed {
				t.Errorf("%s.%s declares methods and embeds interfaces: do one of the two", pkg, name)
			}
		}
		if counted == 0 {
			t.Errorf("no methods were found in %s", tree)
		}
	}
	for name := range large {
		if !needed[name] {
			t.Errorf("%s is excused and has no more than %d methods: take it off the list", name, maxMethods)
		}
	}
}
