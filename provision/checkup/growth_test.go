package checkup_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"appliance/provision/answers"
	"appliance/provision/checkup"
	"appliance/provision/doctor"
	"appliance/provision/site"
)

// The doctor remembers between its visits how full the disk was.
func TestTheDoctorRemembersHowFullTheDiskWas(t *testing.T) {
	dir := t.TempDir()
	d := answers.NewDraft()
	d.Assign("domain=chat.example.test")
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("appliance.yaml", a.Marshal(""))
	write("data/postgres/base", make([]byte, 300_000))
	write("data/homeserver/media/x", make([]byte, 100_000))
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d).UTC() }
	old, _ := json.Marshal([]doctor.Sample{{At: ago(40 * 24 * time.Hour)}, {At: ago(5 * time.Hour), Used: 7}, {At: ago(-time.Hour)}})
	write(".growth.json", old)

	installed, err := site.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = installed.Close() }()
	var samples []doctor.Sample
	for range 2 { // the second visit is too soon for another sample
		checkup.Run(t.Context(), installed)
		data, err := os.ReadFile(filepath.Join(dir, ".growth.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &samples); err != nil {
			t.Fatal(err)
		}
		if len(samples) != 2 || samples[0].Used != 7 {
			t.Fatalf("remembered %s", data)
		}
	}
	now := samples[1]
	if db, media := now.Parts["databases"], now.Parts["media"]; now.Used < db || db < 300_000 || db > 400_000 || media < 100_000 || media > 200_000 {
		t.Errorf("measured %+v", now)
	}
}
