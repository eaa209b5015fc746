package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oneWay lists the packages whose files depend on each other in one direction only, and in
// which a type has all its methods in one file. Others are added once they qualify.
var oneWay = []string{
	"bridge/mxside", "bridge/queue", "bridge/relay/ephemeral", "bridge/relay/membership", "bridge/relay/model", "bridge/relay/notice", "bridge/relay/transfer",
}

// noCircles lists the packages in which a type may have methods in several files.
var noCircles = []string{
	"bridge/relay/people", "bridge/relay/portal", "bridge/relay/roomstate", "bridge/relay/tomatrix", "bridge/relay/torocketchat",
}

// A part is a file of a package: the names that it declares for the whole package, and
// those that it uses from other files.
type part struct {
	declares, uses map[string]bool
	methodsOf      map[string]bool // types that have methods here
}

// TestArrowsBetweenFilesRunOneWay: no two files of a package depend on each other, directly or
// through others, and a type has all its methods in the file that declares it.
func TestArrowsBetweenFilesRunOneWay(t *testing.T) {
	for _, pkg := range slices.Concat(oneWay, noCircles) {
		names, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pkg, err)
		}
		parts := map[string]part{}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				parts[filepath.Base(name)] = partOf(t, name, nil)
			}
		}
		for _, complaint := range circles(parts) {
			if slices.Contains(noCircles, pkg) && strings.Contains(complaint, " has methods of ") {
				continue
			}
			t.Errorf("%s: %s", pkg, complaint)
		}
	}
}

// partOf parses a file. source is its content, or nil to read the file.
func partOf(t *testing.T, name string, source any) part {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := part{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				p.methodsOf[receiver(d.Recv.List[0].Type)] = true
				continue
			}
			p.declares[d.Name.Name] = true
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					p.declares[s.Name.Name] = true
				case *ast.ValueSpec:
					for _, n := range s.Names {
						p.declares[n.Name] = true
					}
				}
			}
		}
	}
	for _, id := range file.Unresolved { // names that the file itself does not declare
		p.uses[id.Name] = true
	}
	return p
}

// circles returns what is wrong with the dependencies between some files.
func circles(parts map[string]part) []string {
	home := map[string]string{}
	for file, p := range parts {
		for name := range p.declares {
			home[name] = file
		}
	}
	var complaints []string
	arrows := map[string]map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(parts)) {
		arrows[file] = map[string]bool{}
		for name := range parts[file].uses {
			if to := home[name]; to != "" && to != file {
				arrows[file][to] = true
			}
		}
		for name := range parts[file].methodsOf {
			if home[name] != file {
				complaints = append(complaints, file+" has methods of "+name+", which "+home[name]+" declares")
			}
		}
	}
	for len(arrows) > 0 { // remove files without dependencies, until none is left or all are in circles
		free := ""
		for _, file := range slices.Sorted(maps.Keys(arrows)) {
			if len(arrows[file]) == 0 {
				free = file
				break
			}
		}
		if free == "" {
			break
		}
		delete(arrows, free)
		for _, to := range arrows {
			delete(to, free)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(arrows)) {
		complaints = append(complaints, file+" is in a circle, or needs one: "+strings.Join(slices.Sorted(maps.Keys(arrows[file])), ", "))
	}
	return complaints
}

func TestACircleOfFilesIsFound(t *testing.T) {
	read := func(texts map[string]string) map[string]part {
		parts := map[string]part{}
		for name, text := range texts {
			parts[name] = partOf(t, name, "package p\n"+text)
		}
		return parts
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  int
	}{
		"one way":   {map[string]string{"a.go": "type A struct{ b B }", "b.go": "type B struct{ n int }\nfunc (b B) m() {}"}, 0},
		"a circle":  {map[string]string{"a.go": "type A struct{ b *B }", "b.go": "type B struct{ c *C }", "c.go": "func f(A) {}\ntype C int"}, 3},
		"elsewhere": {map[string]string{"a.go": "type A struct{}", "b.go": "func (A) m() {}"}, 1},
	} {
		if got := circles(read(c.files)); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
}
