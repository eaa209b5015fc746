package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"appliance/bridge/mustrun"
)

// A backup is sent to a real S3 server, older ones there are removed, the host is lost, and
// another host gets everything back with nothing but the keys.
func TestALostHostComesBackFromOffsite(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	storage := s3mem.New()
	if err := storage.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	old := "chat.example.test-20250101T000000Z.tar.zst.age"
	for _, name := range []string{old, "mine.txt"} {
		if _, err := storage.PutObject("backups", "night/"+name, nil, strings.NewReader("x"), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(gofakes3.New(storage).Server())
	defer srv.Close()
	w := newWorkplace(t)
	file := func(name, content string) string {
		name = filepath.Join(w.dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	keys, place := file("keys", "AKIA1\ns3cret\n"), "s3+http://"+strings.TrimPrefix(srv.URL, "http://")+"/backups/night"
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := w.command(args...).CombinedOutput()
		if (err != nil) != strings.HasPrefix(want, "error: ") || !strings.Contains(string(out), want) || strings.Contains(string(out), "s3cret") {
			t.Fatalf("%v: %v, want %q\n%s", args, err, want, out)
		}
		return string(out)
	}
	dir := filepath.Join(w.dir, "appliance")
	run("error: backup_offsite_key_file: is required with backup_offsite", "up", "--dir", dir, "--set", "domain=chat.example.test", "--set", "backup_offsite="+place)
	run("Rocket.Chat ", "up", "--dir", dir, "--set", "domain=chat.example.test", "--set", "tls=internal", "--set", "backup_offsite="+place, "--set", "backup_offsite_key_file="+keys, "--set", "backup_offsite_keep=1", "--patience", "0s")
	run("error: only encrypted backups leave this host", "backup", "--dir", dir, "--no-encryption")
	out := run("sent to "+place+" and read back\nremoved 1 older there\n", "backup", "--dir", dir, "--keep", "3")
	if !strings.Contains(out, "the only key is on this host") {
		t.Errorf("nothing is said about the key:\n%s", out)
	}
	key, err := os.ReadFile(filepath.Join(dir, "backup.key"))
	if err != nil {
		t.Fatal(err)
	}
	copied := file("copy", string(key))
	again := func() { // a backup is named after the second in which it was made
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, "backups")); err != nil {
			t.Fatal(err)
		}
	}
	again()
	if out := run("saved ", "backup", "--dir", dir, "--local"); strings.Contains(out, "sent to") {
		t.Errorf("it was sent:\n%s", out)
	}
	password, err := os.ReadFile(filepath.Join(dir, "secrets/admin_password"))
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Split(strings.TrimSpace(run("", "backup", "list", "--dir", dir)), "\n")
	if len(listed) != 1 || strings.Contains(listed[0], old) {
		t.Errorf("listed %q", listed)
	}

	// If the storage fails, the backup is still kept here, and the error says what to do.
	if _, err := storage.DeleteObject("backups", "night/mine.txt"); err != nil {
		t.Fatal(err)
	}
	file("keys", "one line\n")
	again()
	if out := run("error: "+keys+": it needs two lines", "backup", "--dir", dir, "--keep", "9"); !strings.Contains(out, "\nsaved ") && !strings.HasPrefix(out, "saved ") {
		t.Errorf("it does not say that it is saved here:\n%s", out)
	}
	file("keys", "AKIA1\ns3cret\n")

	run("", "uninstall", "--dir", dir, "--all", "--yes") // the host is lost
	elsewhere := filepath.Join(w.dir, "new/appliance")
	run("fetched ", "backup", "fetch", "--from", place, "--key-file", keys, "--output", filepath.Join(w.dir, "came"))
	run("error: the backup is encrypted: a key is needed to read it", "restore", filepath.Join(w.dir, "came"), "--dir", elsewhere)
	run("Rocket.Chat ", "restore", filepath.Join(w.dir, "came"), "--dir", elsewhere, "--identity", copied, "--patience", "0s")
	if back, err := os.ReadFile(filepath.Join(elsewhere, "secrets/admin_password")); err != nil || string(back) != string(password) {
		t.Errorf("another password came back: %v", err)
	}
}
