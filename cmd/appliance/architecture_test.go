package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
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

// docs/architecture.md names files, folders, and functions in files, as `file.go` `Name`.
// All of them exist.
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
