package archive

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/site"
)

// TestOldBackupsGo: backups by upgrades and by people are limited separately. Files
// that others put there stay, and so does the backup that an upgrade in progress
// can roll back to.
func TestOldBackupsGo(t *testing.T) {
	dir := t.TempDir()
	s := &site.Site{Dir: dir, Answers: answers.Answers{ServerName: "example.test"}}
	here := func() []string {
		entries, err := os.ReadDir(filepath.Join(dir, site.BackupsDir))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if err := os.Mkdir(filepath.Join(dir, site.BackupsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"before-upgrade-example.test-20260101T000000Z.tar.zst", "before-upgrade-example.test-20260201T000000Z.tar.zst",
		"before-upgrade-example.test-20260301T000000Z.tar.zst", "before-upgrade-example.test-20260401T000000Z.tar.zst",
		"example.test-20250101T000000Z.tar.zst", "example.test-20250201T000000Z.tar.zst.age", "example.test-mine.tar.zst", "notes.txt",
	} {
		if err := os.WriteFile(filepath.Join(dir, site.BackupsDir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at, err := json.Marshal(ReturnPoint{Backup: filepath.Join(dir, site.BackupsDir, "before-upgrade-example.test-20260101T000000Z.tar.zst")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path(site.UpgradeFile), at, 0o600); err != nil {
		t.Fatal(err)
	}
	removed, err := Prune(s, BeforeUpgrade, 2)
	if err != nil || len(removed) != 1 || !strings.HasSuffix(removed[0], "20260201T000000Z.tar.zst") {
		t.Errorf("removed %v, %v", removed, err)
	}
	if removed, err = Prune(s, "", 1); err != nil || len(removed) != 1 || !strings.HasSuffix(removed[0], "/example.test-20250101T000000Z.tar.zst") {
		t.Errorf("removed %v, %v", removed, err)
	}
	if got := here(); len(got) != 6 || !slices.Contains(got, "example.test-mine.tar.zst") || !slices.Contains(got, "notes.txt") {
		t.Errorf("left: %v", got)
	}
}
