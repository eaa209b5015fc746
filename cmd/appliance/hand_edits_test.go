package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/cmd/appliance/internal/fakehost"
	"appliance/provision/certs/acmetest"
	"appliance/provision/plan"
)

// An edited is an installation in which every rendered file can be edited.
type edited struct {
	*workplace
	files map[string][]byte // the rendered files, as they were written
}

// newEdited is an installation with this homeserver, the bridge, a certificate service that
// trusts an authority of its own, and Prometheus.
func newEdited(t *testing.T, homeserver string) *edited {
	t.Helper()
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	w, authority := newWorkplace(t), acmetest.New(t)
	w.env = append(w.env, "APPLIANCE_MONGO_URL=", "APPLIANCE_HTTP_PORT="+strconv.Itoa(authority.HTTPPort))
	w.write("docker/mongo", `{"version":"8.0.12","featureCompatibilityVersion":"8.0"}`+"\n")
	w.write("docker/optional", "certs\nprometheus\n")
	w.does(0, "up", "--set", "domain=chat.example.test", "--set", "acme_directory="+authority.Directory, "--set", "acme_ca_file="+authority.CAFile,
		"--set", "homeserver="+homeserver, "--set", "monitoring=true")
	e := &edited{w, map[string][]byte{}}
	var m plan.Manifest
	if err := json.Unmarshal(e.read("manifest.json"), &m); err != nil {
		t.Fatal(err)
	}
	for name := range m.Files {
		e.files[name] = e.read(name)
	}
	return e
}

// does runs a command on the installation, checks its exit status and returns its output.
func (w *workplace) does(want int, args ...string) string {
	w.t.Helper()
	if args[0] == "up" {
		args = append(args, "--patience", "0s")
	}
	status, said := finished(w.t, w.command(append([]string{"--dir", "appliance"}, args...)...))
	if status != want {
		w.t.Fatalf("%s: exit status %d, want %d\n%s", strings.Join(args, " "), status, want, said)
	}
	return said
}

func (e *edited) read(name string) []byte {
	e.t.Helper()
	data, err := os.ReadFile(filepath.Join(e.dir, "appliance", name))
	if err != nil {
		e.t.Fatal(err)
	}
	return data
}

// edit changes every rendered file in a way that the program which reads it would notice, except
// appliance.yaml, which operators are invited to edit. It returns the names.
func (e *edited) edit() []string {
	for name, data := range e.files {
		switch name {
		case plan.AnswersFile:
			continue
		case plan.BridgeFile:
			data = bytes.Replace(data, []byte("http://rocketchat:3000"), []byte("http://rocketchat:3001"), 1)
		default:
			data = append(slices.Clone(data), "\n# mine\n"...)
		}
		e.write(filepath.Join("appliance", name), string(data))
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(e.files)), func(name string) bool { return name == plan.AnswersFile })
}

func (e *edited) changes(names []string) (out []string) {
	for _, name := range names {
		if !bytes.Equal(e.read(name), e.files[name]) {
			out = append(out, name)
		}
	}
	return out
}

// Whichever rendered file is edited by hand, up and its dry run name it, say how to keep and
// how to discard the edit, and change nothing. The doctor names it, and the services that do
// not run it. Either way, what runs in the end is what is on disk.
func TestAHandEditOfEveryFileIsNoticed(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	for _, homeserver := range []string{"dendrite", "synapse"} {
		t.Run(homeserver, func(t *testing.T) {
			e := newEdited(t, homeserver)
			for _, dir := range []string{"compose.yaml", ".env", "rocketchat.env", "config/nginx/", "config/homeserver/", "config/bridge/bridge.yaml", "config/certs/", "config/ca/", "config/mongo/", "config/prometheus/"} {
				if !slices.ContainsFunc(slices.Collect(maps.Keys(e.files)), func(name string) bool { return strings.HasPrefix(name, dir) }) {
					t.Errorf("no %s is among the files", dir)
				}
			}
			names := e.edit()
			_ = os.Remove(filepath.Join(e.dir, "docker/log"))
			for _, args := range [][]string{{"up"}, {"up", "--dry-run"}} {
				said := e.does(5, args...)
				for _, name := range names {
					if !strings.Contains(said, "error: "+filepath.Join(e.dir, "appliance", name)+" was edited by hand: ") {
						t.Errorf("%s does not name %s:\n%s", strings.Join(args, " "), name, said)
					}
				}
				if !strings.Contains(said, "up --accept-edits; or discard it with: appliance --dir "+e.dir+"/appliance up --overwrite\n") {
					t.Errorf("no way on:\n%s", said)
				}
			}
			if changed := e.changes(names); len(changed) != len(names) || len(fakehost.Lines(filepath.Join(e.dir, "docker"), "log")) > 0 {
				t.Errorf("up has changed something: of %v only %v", names, changed)
			}
			said := e.does(4, "doctor")
			for _, name := range names {
				if !strings.Contains(strings.SplitN(said[strings.Index(said, "warn  files"):], "\n", 2)[0], name) {
					t.Errorf("the doctor does not name %s:\n%s", name, said)
				}
			}
			if !strings.Contains(said, "fail  loaded             bridge, certs, homeserver, nginx and prometheus were started before") {
				t.Errorf("the doctor does not say what does not run them:\n%s", said)
			}

			e.does(0, "up", "--overwrite")
			if changed := e.changes(names); len(changed) > 0 {
				t.Errorf("not put back: %v", changed)
			}
			e.settled()
			e.edit()
			e.does(0, "up", "--accept-edits")
			if changed := e.changes(names); len(changed) != len(names) {
				t.Errorf("of %v only %v were kept", names, changed)
			}
			e.settled()
		})
	}
}

// settled fails the test unless what is on disk is what runs.
func (e *edited) settled() {
	e.t.Helper()
	if said := e.does(0, "up"); !strings.Contains(said, "nothing to do\n") {
		e.t.Errorf("%s", said)
	}
	said := e.does(4, "doctor")
	for _, check := range []string{"files", "loaded", "secrets", "sign-in", "answers"} {
		if !strings.Contains(said, "ok    "+check+" ") {
			e.t.Errorf("%s is not well:\n%s", check, said)
		}
	}
}

// Whichever rendered files and secrets are missing, the doctor names each of them. up restores the
// files, and what is then on disk is what runs.
func TestEveryFileThatIsGoneIsMissed(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	e := newEdited(t, "dendrite")
	dir := filepath.Join(e.dir, "appliance")
	kept, err := filepath.Glob(filepath.Join(dir, "secrets/*_*"))
	more, _ := filepath.Glob(filepath.Join(dir, "secrets/bridge/*_*"))
	if kept = append(kept, more...); err != nil || len(kept) != 13 {
		t.Fatalf("the secrets are %v, %v", kept, err)
	}
	was := map[string][]byte{}
	for _, file := range kept {
		name, _ := filepath.Rel(dir, file)
		was[name] = e.read(name)
	}
	gone := slices.Concat(slices.Collect(maps.Keys(e.files)), slices.Collect(maps.Keys(was)))
	gone = slices.DeleteFunc(gone, func(name string) bool { return name == plan.AnswersFile }) // without it nothing is installed
	for _, name := range gone {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var missing string
	for line := range strings.Lines(e.does(4, "doctor")) {
		if strings.HasPrefix(line, "fail  files ") || strings.HasPrefix(line, "fail  secrets ") {
			missing += line
		}
	}
	for _, name := range gone {
		if !strings.Contains(missing, name) {
			t.Errorf("the doctor does not miss %s:\n%s", name, missing)
		}
	}
	for name, data := range was {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.does(0, "up")
	if changed := e.changes(slices.Collect(maps.Keys(e.files))); len(changed) > 0 {
		t.Errorf("these came back otherwise: %v", changed)
	}
	e.settled()
}

// A secret that is edited by hand does not reach any configuration. The hint leads back: to the
// former key by which other servers know this one, and to new values of all other secrets.
func TestAHandEditOfEverySecretIsNoticed(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	e := newEdited(t, "dendrite")
	list, err := filepath.Glob(filepath.Join(e.dir, "appliance/secrets/*"))
	more, _ := filepath.Glob(filepath.Join(e.dir, "appliance/secrets/bridge/*"))
	if err != nil {
		t.Fatal(err)
	}
	former := map[string][]byte{}
	for _, file := range append(list, more...) {
		name, _ := filepath.Rel(filepath.Join(e.dir, "appliance"), file)
		if info, err := os.Stat(file); err != nil || info.IsDir() || strings.HasPrefix(info.Name(), ".") || name == "secrets/admin_password" {
			continue // the last belongs to people, who change it in Rocket.Chat
		}
		former[name] = e.read(name)
		e.write(filepath.Join("appliance", name), "another-value-of-the-same-kind")
	}
	if len(former) != 12 {
		t.Fatalf("the secrets are %v", slices.Sorted(maps.Keys(former)))
	}
	_ = os.Remove(filepath.Join(e.dir, "docker/log"))
	rotate := []string{"secrets", "rotate", "--yes"}
	for _, args := range [][]string{{"up"}, {"up", "--dry-run"}, {"up", "--overwrite"}} {
		said := e.does(5, args...)
		for name := range former {
			if !strings.Contains(said, "error: "+filepath.Join(e.dir, "appliance", name)+" was edited by hand: ") {
				t.Errorf("%s does not name %s:\n%s", strings.Join(args, " "), name, said)
			}
		}
		if args[len(args)-1] == "up" {
			for _, rest := range strings.Split(said, " secrets rotate ")[1:] {
				if all := rest[:strings.Index(rest, ";")]; !slices.Equal(rotate[3:], strings.Fields(all)) {
					rotate = append(rotate, strings.Fields(all)...)
				}
			}
		}
	}
	if changed := e.changes(slices.Collect(maps.Keys(e.files))); len(changed) > 0 || len(fakehost.Lines(filepath.Join(e.dir, "docker"), "log")) > 0 {
		t.Errorf("up has changed %v", changed)
	}
	said := e.does(4, "doctor")
	for name := range former {
		if !strings.Contains(strings.SplitN(said[strings.Index(said, "warn  secrets"):], "\n", 2)[0], name) {
			t.Errorf("the doctor does not name %s:\n%s", name, said)
		}
	}
	if len(rotate) != 3+10 {
		t.Fatalf("the hints say: %v", rotate)
	}
	for _, name := range []string{"secrets/matrix_key.pem", "secrets/mongo_root_password"} {
		e.write(filepath.Join("appliance", name), string(former[name]))
	}
	e.write("appliance/secrets/form_secret", "")
	if said := e.does(5, "up"); !strings.Contains(said, "error: secret "+e.dir+"/appliance/secrets/form_secret is empty: ") || !strings.Contains(said, "rm '"+e.dir+"/appliance/secrets/form_secret' && appliance --dir "+e.dir+"/appliance up\n") {
		t.Errorf("an empty one:\n%s", said)
	}
	e.write("appliance/secrets/form_secret", "another")
	e.does(0, append(rotate, "mongo-root-password")...)
	if !bytes.Equal(e.read("secrets/matrix_key.pem"), former["secrets/matrix_key.pem"]) {
		t.Error("the key by which other servers know this one is another")
	}
	e.settled()
}

// If a file that the program keeps for itself is damaged by hand, nothing is lost or mistaken for
// another installation, and each command that needs the file says how to go on.
func TestADamagedNoteOfTheProgram(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	e := newEdited(t, "dendrite")
	dir := filepath.Join(e.dir, "appliance")
	for _, c := range []struct{ file, command, says, hint string }{
		{"manifest.json", "up", "manifest.json cannot be used: ", "rm " + dir + "/manifest.json && appliance --dir " + dir + " up --accept-edits"},
		{"images.lock", "up", "images.lock: ", "rm " + dir + "/images.lock && appliance --dir " + dir + " up"},
		{"versions.env", "up", "versions.env: \"\" is not the name of an image", "appliance --dir " + dir + " version --json"},
		{"secrets/.rotation.json", "up", ".rotation.json cannot be used: ", "rm '" + dir + "/secrets/.rotation.json' && appliance --dir " + dir + " doctor"},
		{"backup.key", "backup", "backup.key holds no private key of age", "mv " + dir + "/backup.key " + dir + "/backup.key.damaged && appliance --dir " + dir + " backup"},
	} {
		t.Run(c.file, func(t *testing.T) {
			good, err := os.ReadFile(filepath.Join(dir, c.file))
			e.write(filepath.Join("appliance", c.file), "{ nonsense\n= x\n")
			if status, said := finished(t, e.command("--dir", dir, c.command)); status == 0 || !strings.Contains(said, c.says) || !strings.Contains(said, c.hint+"\n") {
				t.Errorf("%d\n%s", status, said)
			}
			if said := e.does(0, "status"); !strings.Contains(said, "rocketchat    Up 1 minute (healthy)") {
				t.Errorf("the installation is mistaken for another one:\n%s", said)
			}
			if err != nil {
				err = os.Remove(filepath.Join(dir, c.file))
			}
			if err != nil {
				t.Fatal(err)
			}
			if good != nil {
				e.write(filepath.Join("appliance", c.file), string(good))
			}
		})
	}

	// Other files are only a memory, and no command needs them.
	for _, file := range []string{"secrets/.known.json", ".loaded.json", ".growth.json", ".chores.json", ".alarm.json"} {
		e.write(filepath.Join("appliance", file), "{ nonsense\n= x\n")
	}
	e.does(0, "up")

	// Do what the first hint says.
	e.write("appliance/manifest.json", "{")
	if said := e.does(4, "doctor"); !strings.Contains(said, "fail  files              cannot tell which files were edited by hand\n") {
		t.Errorf("the doctor:\n%s", said)
	}
	if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	e.does(0, "up", "--accept-edits")
	e.settled()
}
