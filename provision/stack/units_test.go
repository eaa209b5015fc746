package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/provision/answers"
	"appliance/provision/render"
)

func units(t *testing.T, dir string, keep int, set ...string) map[string][]byte {
	t.Helper()
	d := answers.NewDraft()
	for _, s := range append([]string{"domain=chat.example.test"}, set...) {
		d.Assign(s)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(dir), "100% my appliance")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // it is executed
		t.Fatal(err)
	}
	files, err := render.Units{Answers: a, Prefix: "appliance", Dir: dir, Program: program, Docker: program, Keep: keep, Drill: keep > 0, Recipients: filepath.Join(dir, "to whom")}.Files()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// systemd itself accepts the units, even in a directory whose name is hard to quote.
func TestSystemdAcceptsTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		mustrun.Skip(t, "no systemd-analyze on this machine")
	}
	home := filepath.Join(t.TempDir(), `my 100%h "chat" $HOME`)
	unitDir := t.TempDir()
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // as an installation has it
		t.Fatal(err)
	}
	u := Units{Dir: unitDir, Prefix: "appliance"}
	if _, err := u.Install(t.Context(), units(t, home, 7, "tls=internal")); err != nil {
		t.Fatal(err)
	}
	names := u.Names()
	if len(names) != 9 {
		t.Fatalf("units %v", names)
	}
	for _, name := range names {
		cmd := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", filepath.Join(unitDir, name))
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), filepath.Join(unitDir, name)) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for name, line := range map[string]string{
		"appliance-backup.timer": "OnCalendar=", "appliance-certs.timer": "OnCalendar=", "appliance-drill.timer": "OnCalendar=",
	} {
		data, _ := os.ReadFile(filepath.Join(unitDir, name))
		_, when, ok := strings.Cut(string(data), line)
		when, _, _ = strings.Cut(when, "\n")
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "calendar", when).CombinedOutput(); err != nil || !ok {
			t.Errorf("%s: %q: %s", name, when, out)
		}
	}
}

// fakeSystemctl provides a systemctl that works on a directory instead of the host, and logs its use.
func fakeSystemctl(t *testing.T) (root string, told func() []string) {
	t.Helper()
	bin, root := t.TempDir(), t.TempDir()
	log := filepath.Join(bin, "log")
	script := "#!/bin/sh\nshift\necho \"$@\" >>" + log + "\n"
	if found, err := exec.LookPath("systemctl"); err == nil {
		script += "for a; do shift; [ \"$a\" = --now ] || set -- \"$@\" \"$a\"; done\n" +
			"case $1 in enable|disable) exec " + found + " --quiet --root=" + root + " \"$@\";; esac\n"
	}
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755); err != nil { //nolint:gosec // it is executed
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return root, func() []string {
		data, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

func TestUnitsComeAndGo(t *testing.T) {
	root, told := fakeSystemctl(t)
	u := Units{Dir: filepath.Join(root, UnitDir), Prefix: "appliance", Live: true}
	if err := os.MkdirAll(u.Dir, 0o755); err != nil { //nolint:gosec // as systemd has it
		t.Fatal(err)
	}
	foreign := filepath.Join(u.Dir, "appliance-at-other.service")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	install := func(keep int, set ...string) bool {
		t.Helper()
		changed, err := u.Install(t.Context(), units(t, root, keep, set...))
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	wants := func() (names []string) {
		found, _ := filepath.Glob(filepath.Join(u.Dir, "*.wants", "*"))
		for _, f := range found {
			names = append(names, filepath.Base(f))
		}
		slices.Sort(names)
		return names
	}
	expect := func(what string, want []string, got ...string) {
		t.Helper()
		if !slices.Equal(want, got) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	if !install(7, "tls=internal") {
		t.Error("nothing changed at first")
	}
	expect("told", []string{"daemon-reload", "enable --now appliance-backup.timer appliance-certs.timer appliance-doctor.timer appliance-drill.timer appliance.service"}, told()...)
	if _, err := exec.LookPath("/usr/bin/systemctl"); err == nil {
		expect("enabled", []string{"appliance-backup.timer", "appliance-certs.timer", "appliance-doctor.timer", "appliance-drill.timer", "appliance.service"}, wants()...)
	}
	if install(7, "tls=internal") {
		t.Error("the same again changed something")
	}
	told()

	// Without backups, and with a service that renews certificates, their timers are removed.
	if !install(0) {
		t.Error("nothing changed")
	}
	expect("told", []string{"disable --now appliance-backup.timer", "disable --now appliance-certs.timer", "disable --now appliance-drill.timer", "daemon-reload", "daemon-reload", "enable --now appliance-doctor.timer appliance.service"}, told()...)
	expect("left", []string{"appliance-doctor.service", "appliance-doctor.timer", "appliance.service"}, u.Names()...)

	removed, err := u.Remove(t.Context())
	if err != nil || len(removed) != 3 || len(u.Names()) > 0 || len(wants()) > 0 {
		t.Errorf("removed %v, %v; left %v, %v", removed, err, u.Names(), wants())
	}
	expect("told", []string{"disable --now appliance-doctor.timer", "disable appliance.service", "daemon-reload"}, told()...)
	if _, err := os.Stat(foreign); err != nil {
		t.Error("the unit of another installation is gone")
	}
	if removed, err := u.Remove(t.Context()); err != nil || len(removed) > 0 {
		t.Errorf("again: %v, %v", removed, err)
	}
}
