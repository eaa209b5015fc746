package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// onThisMachine returns a stack on the Docker of this machine.
func onThisMachine(t *testing.T) *Stack {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "appliance-test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, dockerErr, composeErr := s.Engine().Versions(t.Context()); dockerErr != nil || composeErr != nil {
		mustrun.Skip(t, "no Docker or no Compose on this machine")
	}
	return s
}

func rendered(t *testing.T, set ...string) render.Files {
	t.Helper()
	d := answers.NewDraft()
	d.Assign("domain=chat.example.test")
	for _, s := range set {
		d.Assign(s)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	values, _, err := secrets.Prepare(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	values[secrets.ASToken] = secret.New("a")
	files, err := render.Tree(render.Input{Answers: a, Secrets: values, Project: "appliance-test", Image: repository + ":none", Host: render.Host{MemoryMB: 4000}})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNginxAcceptsItsConfiguration(t *testing.T) {
	s := onThisMachine(t)
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	for _, set := range [][]string{nil, {"server_name=example.test", "tls=internal"}} {
		files := rendered(t, set...)
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx reads it as another user
			t.Fatal(err)
		}
		for name, f := range files {
			if below, ok := strings.CutPrefix(name, "config/nginx/"); ok {
				if err := os.WriteFile(filepath.Join(dir, below), f.Data, 0o644); err != nil { //nolint:gosec // as above
					t.Fatal(err)
				}
			}
		}
		out, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", "--user", "101:101", "--read-only", "--tmpfs", "/tmp",
			"--cap-drop", "ALL", "-v", dir+":/etc/appliance-nginx:ro", "--entrypoint", "nginx", image, "-t", "-e", "/dev/stderr", "-c", "/etc/appliance-nginx/nginx.conf").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "test is successful") {
			t.Errorf("%v: %v\n%s", set, err, out)
		}
	}
}

func TestComposeItselfReadsWhatIsRenderedAndSeesTheOverride(t *testing.T) {
	s := onThisMachine(t)
	files := rendered(t)
	if err := s.Tree().MakeDirs(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Tree().Write(files, []string{"compose.yaml", ".env", "rocketchat.env"}); err != nil {
		t.Fatal(err)
	}
	before := s.Compose().hashes(t.Context())
	if len(before) != 7 || before["mongo"] == "" || before["certs"] == "" {
		t.Fatalf("hashes %v", before)
	}
	override := render.Files{"compose.override.yaml": {Mode: 0o600, Data: []byte("services: {nginx: {image: nginx:mine}}\n")}}
	if err := s.Tree().Write(override, []string{"compose.override.yaml"}); err != nil {
		t.Fatal(err)
	}
	after := s.Compose().hashes(t.Context())
	if after["nginx"] == before["nginx"] || after["bridge"] != before["bridge"] {
		t.Error("an override of nginx must change nginx and nothing else")
	}
	if images := s.Compose().lines(t.Context(), "config", "--images"); !slices.Contains(images, "nginx:mine") {
		t.Errorf("images %v", images)
	}
}

func TestAnImageIsMadeOfAProgram(t *testing.T) {
	s := onThisMachine(t)
	// A program that needs no libraries: the Go tool would do, but the smallest is
	// an ELF header alone.
	name := filepath.Join(t.TempDir(), "program")
	head := append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00\x01\x00\x00\x00"), make([]byte, 40)...)
	head[52], head[54], head[58] = 64, 56, 64
	head = append(head, []byte(t.Name()+s.Dir)...)
	if err := os.WriteFile(name, head, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	p, err := OpenProgram(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Images().Build(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exec.CommandContext(t.Context(), "docker", "image", "rm", p.Image()).Run() }()
	st, err := s.Observe(t.Context(), plan.Wanted{Image: p.Image()}, []string{"no-such-image:1"})
	if err != nil || !st.Images[p.Image()] || st.Images["no-such-image:1"] {
		t.Errorf("%v, %v", st.Images, err)
	}
}
