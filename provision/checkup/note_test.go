package checkup_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"appliance/bridge/hoststatus"
	"appliance/provision/answers"
	"appliance/provision/checkup"
	"appliance/provision/render"
	"appliance/provision/site"
)

// The doctor's findings and the times of the last backup and drill are stored for the
// bridge's console, and nobody else can read them.
func TestTheConsoleIsToldOfTheHost(t *testing.T) {
	dir := t.TempDir()
	d := answers.NewDraft()
	d.Assign("domain=chat.example.test")
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "appliance.yaml"), a.Marshal(""), 0o600); err != nil {
		t.Fatal(err)
	}
	installed, err := site.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = installed.Close() }()
	name := filepath.Join(dir, "data/bridge", hoststatus.FileName)
	if checkup.Run(t.Context(), installed); exists(name) {
		t.Fatal("something is left where there is no bridge")
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	findings := checkup.Run(t.Context(), installed)
	read := func() *hoststatus.Status {
		t.Helper()
		st, err := hoststatus.Read(name)
		if err != nil || st == nil {
			t.Fatal(st, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		return st
	}
	st := read()
	if len(st.Findings) != len(findings) || len(st.Problems()) == 0 || time.Since(st.Examined) > time.Hour || !st.Backup.IsZero() || !st.Drill.IsZero() {
		t.Errorf("%+v", st)
	}
	if err := os.WriteFile(filepath.Join(dir, site.LastBackup), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(checkup.Saved(t.Context(), installed), checkup.Drilled(t.Context(), installed, errors.New("would not serve"))); err != nil {
		t.Fatal(err)
	}
	if st = read(); st.Backup.IsZero() || st.Drill.IsZero() || st.DrillProblem != "would not serve" || len(st.Findings) != len(findings) {
		t.Errorf("%+v", st)
	}

	// The changes of a pending upgrade are stored too, with what to know before it.
	if len(st.Updates) != 0 {
		t.Errorf("%+v", st.Updates)
	}
	env := "COMPOSE_PROFILES=mongo\n"
	for name, image := range render.Chosen(a, render.Images()) {
		if name == "ROCKETCHAT_IMAGE" {
			image = "rocketchat/rocket.chat:7.13.2"
		}
		env += name + "=" + image + "\n"
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, ".env"), []byte(env), 0o600), checkup.Saved(t.Context(), installed)); err != nil {
		t.Fatal(err)
	}
	want := hoststatus.Update{Service: "rocketchat", From: "rocketchat/rocket.chat:7.13.2", To: render.Images()["ROCKETCHAT_IMAGE"], Caution: "a new major version of Rocket.Chat: read its release notes; apps and phones may have to be updated"}
	if st = read(); len(st.Updates) != 1 || st.Updates[0] != want {
		t.Errorf("%+v", st.Updates)
	}

	// A newer release of the program is stored as long as the answers say where releases are.
	installed.Answers.Releases = "https://releases.example.org/latest"
	if err := checkup.Released(t.Context(), installed, "v1.2.3", "v1.3.0", true, nil); err != nil {
		t.Fatal(err)
	}
	if err := checkup.Saved(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	if r := read().Release; !r.Newer || r.Version != "v1.3.0" || r.Have != "v1.2.3" || r.From != installed.Answers.Releases || time.Since(r.Asked) > time.Hour {
		t.Errorf("%+v", r)
	}
	installed.Answers.Releases = ""
	if err := checkup.Saved(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	if r := read().Release; r != (hoststatus.Release{}) {
		t.Errorf("nobody is asked any more, and this is told: %+v", r)
	}

	// A symlink in its place is not followed: root writes where the bridge can write too.
	target := filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(target, []byte(`{"drill_problem":"secret"}`), 0o600), os.Remove(name), os.Symlink(target, name)); err != nil {
		t.Fatal(err)
	}
	if err := checkup.Saved(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(target); string(data) != `{"drill_problem":"secret"}` || read().DrillProblem != "" {
		t.Errorf("%s", data)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
