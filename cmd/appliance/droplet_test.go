package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"appliance/provision/answers"
)

// userData is the cloud-init user data of docs/droplet.md.
type userData struct {
	Files []struct {
		Path, Permissions, Content string
	} `yaml:"write_files"`
	Run [][]string `yaml:"runcmd"`
	all string
}

func readUserData() (u userData, err error) {
	text, err := os.ReadFile("../../docs/droplet.md")
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	doc, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.HasPrefix(doc, "#cloud-config\n") {
		return u, errors.New("docs/droplet.md has no user data")
	}
	u.all = doc
	return u, yaml.Unmarshal([]byte(doc), &u)
}

// droplet writes the files of the user data to a story's directory, unchanged except
// for the paths of the files and of the installation.
func droplet(work string) error {
	u, err := readUserData()
	if err != nil {
		return err
	}
	place := strings.NewReplacer("/root/", work+"/droplet/", "appliance up ", "appliance up --dir "+work+"/appliance ", "--patience 5m", "--patience 0s")
	errs := []error{os.Mkdir(filepath.Join(work, "droplet"), 0o755)}
	for _, f := range u.Files {
		errs = append(errs, os.WriteFile(filepath.Join(work, "droplet", path.Base(f.Path)), []byte(place.Replace(f.Content)), 0o600))
	}
	return errors.Join(errs...)
}

// TestTheUserDataOfADroplet: the answers are valid, the shell can parse the scripts,
// what is run exists, and cloud-init accepts the whole document.
func TestTheUserDataOfADroplet(t *testing.T) {
	u, err := readUserData()
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, f := range u.Files {
		written[f.Path] = f.Content
	}
	if _, err := answers.Parse("answers.yaml", []byte(written["/root/answers.yaml"])); err != nil {
		t.Error(err)
	}
	first := "/usr/local/sbin/appliance-first-boot"
	for name, script := range map[string]string{first: written[first], "runcmd": u.Run[0][2]} {
		cmd := exec.CommandContext(t.Context(), "sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); script == "" || err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	if last := u.Run[len(u.Run)-1]; !slices.Contains(last, first) || !strings.Contains(fmt.Sprint(last), "RestartPreventExitStatus=2 3") {
		t.Errorf("what is run last is %v", last)
	}
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Skip("cloud-init is not installed; the rest is good")
	}
	file := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(file, []byte(u.all), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cloud-init", "schema", "--config-file", file).CombinedOutput(); err != nil {
		t.Errorf("cloud-init does not accept it: %v\n%s", err, out)
	}
}

// TestTheDropletInTenLines: the user data in the README has valid answers and valid commands.
func TestTheDropletInTenLines(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "../../README.md"), "```yaml\n")
	doc, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.HasPrefix(doc, "#cloud-config\n") || strings.Count(doc, "\n") > 10 {
		t.Fatalf("that is no user data of ten lines:\n%s", doc)
	}
	var u struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(doc), &u); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.Parse("answers.yaml", []byte(u.Files[0].Content)); err != nil {
		t.Error(err)
	}
	up := u.Run[len(u.Run)-1]
	if err := understood(up, true); err != nil || !strings.Contains(up, u.Files[0].Path) {
		t.Errorf("%s: %v", up, err)
	}
}
