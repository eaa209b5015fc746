package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared returns what a Go file declares: functions and types by name, methods as
// Type.Method.
func declared(t *testing.T, name string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				found[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
				continue
			}
			found[d.Name.Name] = true
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					found[s.Name.Name] = true
				}
			}
		}
	}
	return found
}

// The files, folders, and functions in files (as `file.go` `Name`) that docs/architecture.md
// names all exist.
func TestLayersOfTheDocumentExist(t *testing.T) {
	const root = "../../"
	text, err := os.ReadFile(root + "docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	folders := regexp.MustCompile("`([a-z]+(?:/[a-z]+)+/)`")
	files := regexp.MustCompile("`((?:bridge|provision|cmd)/[\\w/]+\\.go)`(?:\\s+`([A-Za-z.]+)`)?")
	for _, m := range folders.FindAllStringSubmatch(string(text), -1) {
		if info, err := os.Stat(root + m[1]); err != nil || !info.IsDir() {
			t.Errorf("there is no folder %s", m[1])
		}
	}
	functions := 0
	for _, m := range files.FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(root + m[1]); err != nil {
			t.Errorf("there is no file %s", m[1])
			continue
		}
		if m[2] == "" {
			continue
		}
		functions++
		if !declared(t, root+m[1])[m[2]] {
			t.Errorf("%s does not declare %s", m[1], m[2])
		}
	}
	if functions < 25 {
		t.Errorf("only %d functions were found in the document", functions)
	}
}

// What docs/architecture.md says about the length of its two walks is true: from Relay.Deliver
// on, how many files each passes through, how often it returns to a file that it has left,
// and how many names the relay has for what is delivered.
func TestTheWalksAreShort(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`first walk passes through (\d+) files and the second through (\d+); neither comes back[^.]*\. [^.]* has (\d+) names: ([^.]*)\.`).FindStringSubmatch(string(text))
	if said == nil {
		t.Fatal("the document does not say how long the walks are")
	}
	file := regexp.MustCompile("`((?:bridge|provision|cmd)/[\\w/]+\\.go)`")
	for i, title := range []string{"A message from Rocket.Chat to Matrix", "An event from Matrix to Rocket.Chat"} {
		_, walk, _ := strings.Cut(string(text), "## "+title+"\n")
		_, walk, found := strings.Cut(walk, "\n5. ")
		walk, _, _ = strings.Cut(walk, "\nFrom `Relay.Deliver`")
		walk, _, _ = strings.Cut(walk, "\n## ")
		if !found || !strings.HasPrefix(walk, "`bridge/relay/relay.go` `Relay.Deliver`") {
			t.Fatalf("%s: step 5 is not Relay.Deliver", title)
		}
		left := map[string]bool{}
		last := ""
		for _, m := range file.FindAllStringSubmatch(walk, -1) {
			if m[1] != last && left[m[1]] {
				t.Errorf("%s: it comes back to %s", title, m[1])
			}
			left[m[1]], last = true, m[1]
		}
		if got := strconv.Itoa(len(left)); got != said[1+i] {
			t.Errorf("%s: %s files, and the document says %s", title, got, said[1+i])
		}
	}
	names := namesOf(t, "../../bridge/relay")
	if got := strconv.Itoa(len(names)); got != said[3] {
		t.Errorf("what travels has %s names, and the document says %s: %q", got, said[3], names)
	}
	for _, name := range names {
		if !strings.Contains(said[4], "`"+name+"`") {
			t.Errorf("the document does not name %q", name)
		}
	}
}

// travels matches the types of what is delivered, as the relay passes it on.
var travels = regexp.MustCompile(`^(queue\.Item|rocketchat\.Message|convert\.Event|event\.(RC|MX)\w+)$`)

// namesOf returns the names of the parameters of such types in a tree of packages.
func namesOf(t *testing.T, tree string) []string {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(tree, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			f, ok := n.(*ast.FuncType)
			if !ok {
				return true
			}
			for _, p := range f.Params.List {
				of, ok := p.Type.(*ast.SelectorExpr)
				if !ok {
					continue
				}
				pkg, ok := of.X.(*ast.Ident)
				if !ok || !travels.MatchString(pkg.Name+"."+of.Sel.Name) {
					continue
				}
				for _, n := range p.Names {
					if n.Name != "_" {
						found[n.Name] = true
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

// The picture in docs/architecture.md shows every package of the relay.
func TestLayersOfTheRelayAreInThePicture(t *testing.T) {
	const root = "../../"
	text, err := os.ReadFile(root + "docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, picture, _ := strings.Cut(string(text), "```")
	picture, _, _ = strings.Cut(picture, "```")
	entries, err := os.ReadDir(root + "bridge/relay")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(picture, e.Name()) {
			t.Errorf("the picture lacks %s", e.Name())
		}
	}
}
