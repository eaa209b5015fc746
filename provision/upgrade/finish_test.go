package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/site"
)

type silent struct{}

func (silent) Step(plan.Step, plan.StepState, string) {}
func (silent) Progress(string, string, int64, int64)  {}

// upgraded returns an installation with an upgrade in progress, with a Docker in which only
// MongoDB runs and a docker command that runs says and logs what it was told.
func upgraded(t *testing.T, says string) (u *Upgrade, told func() string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	log := filepath.Join(bin, "log")
	script := "#!/bin/sh\nls -A " + dir + " | grep -q '^.upgrade$' && echo in progress >>" + log + "\necho \"$1 $2 $3\" >>" + log + "\ncat >>" + log + "\n" + says + "\n"
	if err := errors.Join(os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o700), os.WriteFile(filepath.Join(dir, site.UpgradeFile), []byte("{}"), 0o600)); err != nil { //nolint:gosec // it is executed
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "sock"))
	if err != nil {
		t.Fatal(err)
	}
	docker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		if !strings.HasSuffix(r.URL.Path, "/containers/json") {
			_, _ = io.WriteString(w, "[]")
			return
		}
		_ = json.NewEncoder(w).Encode([]any{map[string]any{"Id": "m1", "State": "running", "Status": "Up 1 minute (healthy)", "Labels": map[string]string{"com.docker.compose.service": "mongo"}}})
	})}
	go func() { _ = docker.Serve(ln) }()
	t.Cleanup(func() { _ = docker.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+ln.Addr().String())
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s, err := site.New(dir, answers.NewDraft().Answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &Upgrade{site: s}, func() string { data, _ := os.ReadFile(log); return string(data) }
}

// MongoDB's format is raised only after the new versions have proved themselves and the upgrade
// can no longer be rolled back.
func TestAnUpgradeEndsWithMongoDBsFormat(t *testing.T) {
	u, told := upgraded(t, `echo '{"version":"8.2.1","featureCompatibilityVersion":"8.2"}'`)
	if err := u.end(context.WithoutCancel(t.Context()), silent{}); err != nil {
		t.Fatal(err)
	}
	if said := told(); !strings.Contains(said, "exec -i m1\n") || !strings.Contains(said, "setFeatureCompatibilityVersion: series, confirm: true") || strings.Contains(said, "in progress") {
		t.Errorf("Docker was told %q", said)
	}
}

// If raising the format fails, the upgrade has still succeeded and is not rolled back.
func TestAnUpgradeIsNotRolledBackForMongoDBsFormat(t *testing.T) {
	for says, want := range map[string]string{
		"echo MongoServerError: not primary >&2; exit 1":                 "not primary",
		`echo '{"version":"8.2.1","featureCompatibilityVersion":"8.0"}'`: "did not change",
	} {
		u, _ := upgraded(t, says)
		err := u.end(t.Context(), silent{})
		unfinished, ok := errors.AsType[*UnfinishedError](err)
		if !ok || !strings.Contains(err.Error(), want) || unfinished.Hint() != "try again with: appliance upgrade --finish" {
			t.Errorf("said %v", err)
		}
		if _, err := os.Stat(u.site.Path(site.UpgradeFile)); err == nil {
			t.Error("the upgrade is still in progress")
		}
	}
}
