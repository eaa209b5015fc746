package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/cli"
)

// tree reads all files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryCommandHasAManualPage(t *testing.T) {
	made := make([]map[string]string, 2)
	for n := range made {
		dir := t.TempDir()
		if out, err := command(t, "", "files", dir, "v1.2.3", "1700000000"); err != nil || out != "" {
			t.Fatalf("%q, %v", out, err)
		}
		made[n] = tree(t, dir)
	}
	pages := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.HasParent() && !cmd.IsAvailableCommand() {
			return // hidden, with everything below it
		}
		pages++
		page := made[0][manDir+"/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"]
		if !strings.Contains(page, `"Nov 2023" "appliance v1.2.3" "Appliance"`) || !strings.Contains(page, "SYNOPSIS") {
			t.Errorf("%s has the page\n%s", cmd.CommandPath(), page)
		}
		for _, c := range cmd.Commands() {
			check(c)
		}
	}
	check(cli.Tree())
	if pages < 30 {
		t.Errorf("only %d commands were found", pages)
	}
	for name, text := range made[0] {
		if made[1][name] != text {
			t.Errorf("%s is another one every time", name)
		}
	}
	for name, says := range map[string]string{
		bashDir + "/appliance": "complete -o default", zshDir + "/_appliance": "#compdef appliance", fishDir + "/appliance.fish": "complete -c appliance",
		unitDir + "/appliance.service": "WantedBy=multi-user.target", unitDir + "/appliance-backup.timer": "OnCalendar=", unitDir + "/appliance-drill.timer": "OnCalendar=", unitDir + "/appliance-doctor.timer": "[Timer]",
		unitDir + "/appliance-backup.service": "ExecStart=/usr/bin/appliance --dir /opt/appliance backup ",
	} {
		if text := made[0][name]; !strings.Contains(text, says) || strings.Contains(text, "service remove") {
			t.Errorf("%s lacks %q:\n%s", name, says, text)
		}
	}
}

// The modules of a program are read from the program itself: here from this test binary.
func TestTheBillOfMaterialsNamesEveryModule(t *testing.T) {
	one, err := command(t, "", "sbom", "/proc/self/exe", "v1.2.3", "1700000000")
	if err != nil {
		t.Fatal(err)
	}
	if two, err := command(t, "", "sbom", "/proc/self/exe", "v1.2.3", "1700000000"); err != nil || one != two {
		t.Errorf("it is another one every time: %v", err)
	}
	var bom struct {
		BomFormat    string
		SerialNumber string
		Metadata     struct {
			Timestamp string
			Component struct {
				Name, Version string
				Hashes        []struct{ Content string }
			}
		}
		Components []struct{ Purl string }
	}
	if err := json.Unmarshal([]byte(one), &bom); err != nil {
		t.Fatal(err)
	}
	if m := bom.Metadata; bom.BomFormat != "CycloneDX" || m.Timestamp != "2023-11-14T22:13:20Z" || m.Component.Version != "v1.2.3" || len(m.Component.Hashes) != 1 || len(m.Component.Hashes[0].Content) != 64 {
		t.Errorf("%+v", m)
	}
	if len(bom.SerialNumber) != len("urn:uuid:00000000-0000-8000-8000-000000000000") {
		t.Errorf("serial number %s", bom.SerialNumber)
	}
	for _, module := range []string{"pkg:golang/std@1.", "pkg:golang/aead.dev/minisign@v", "pkg:golang/github.com/spf13/cobra@v"} {
		if !strings.Contains(one, `"purl": "`+module) {
			t.Errorf("it lacks %s", module)
		}
	}
}
