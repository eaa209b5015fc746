// Package official compares the simulator of Rocket.Chat with what Rocket.Chat itself
// publishes on npm: the validators of requests, the types of responses and events,
// and the clients. The packages are pinned in package-lock.json and never part of
// this project: compose/stage/setup.sh installs them into its cache.
package official

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/rocketchat/rctest/sim"
)

// packages returns the directory in which setup.sh has installed the packages, and requires Node.
func packages(t *testing.T) (modules string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		mustrun.Skip(t, "Node is not installed: make test installs it")
	}
	cache := os.Getenv("APPLIANCE_CACHE")
	if cache == "" {
		cache = "../../../../.cache"
	}
	modules, err := filepath.Abs(filepath.Join(cache, "official", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@rocket.chat", "rest-typings")); err != nil {
		mustrun.Skip(t, "the packages are not installed: make test installs them")
	}
	return modules
}

// recorded returns the file in which the suites have recorded their requests.
func recorded(t *testing.T) string {
	t.Helper()
	file := os.Getenv("APPLIANCE_RECORDED")
	if info, err := os.Stat(file); file == "" || err != nil || info.Size() == 0 {
		mustrun.Skip(t, "the suites have recorded nothing: make test lets them, see APPLIANCE_RECORD in docs/testing.md")
	}
	return file
}

// script runs one of the scripts beside the packages and returns its output.
func script(t *testing.T, env []string, args ...string) (said string, failed error) {
	t.Helper()
	modules, dir := packages(t), t.TempDir()
	scripts, err := filepath.Glob("*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	// Node before 22 has its WebSocket behind a flag.
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"--experimental-websocket", "--import", "./resolve.mjs"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out, noise bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &noise
	if failed = cmd.Run(); failed != nil && out.Len() == 0 {
		t.Fatalf("%s: %v\n%s", args[0], failed, noise.String())
	}
	return out.String(), failed
}

// TestValidators validates each request that the suites make.
func TestValidators(t *testing.T) {
	file := recorded(t)
	b, err := json.Marshal(sim.Forms())
	if err != nil {
		t.Fatal(err)
	}
	forms := filepath.Join(t.TempDir(), "forms.json")
	if err := os.WriteFile(forms, b, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := script(t, nil, "judge.mjs", file, forms)
	t.Log(said)
	if err != nil {
		t.Error(err)
	}
}

// TestTypes checks each response and event that the simulator has sent to the suites. What the
// compiler rejects but a genuine server does all the same is listed with a reason.
func TestTypes(t *testing.T) {
	file := recorded(t)
	said, _ := script(t, nil, "types.mjs", file)
	lines := strings.Split(strings.TrimSpace(said), "\n")
	t.Log(lines[len(lines)-1])
	if !strings.HasPrefix(lines[len(lines)-1], "types: ") {
		t.Fatalf("the compiler has not come to the end: %s", said)
	}
	patterns := listed(t)
	for _, line := range lines[:len(lines)-2] {
		known := false
		for p := range patterns {
			if p.MatchString(line) {
				known, patterns[p] = true, true
			}
		}
		if !known {
			t.Errorf("not listed: %s", line)
		}
	}
	for p, met := range patterns {
		if !met {
			t.Errorf("types.txt lists what is no longer so: %s", p)
		}
	}
}

// listed returns the patterns of types.txt. Each names an endpoint or a stream.
func listed(t *testing.T) map[*regexp.Regexp]bool {
	t.Helper()
	b, err := os.ReadFile("types.txt")
	if err != nil {
		t.Fatal(err)
	}
	patterns := map[*regexp.Regexp]bool{}
	for line := range strings.Lines(string(b)) {
		pattern, reason, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		where, what, _ := strings.Cut(pattern, ": ")
		if !ok || reason == "" || strings.Contains(where, "*") || strings.HasPrefix(what, "*") || what == "" {
			t.Errorf("types.txt: %q does not say where, what and why", line)
			continue
		}
		patterns[regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*"))] = false
	}
	return patterns
}

// TestClients runs the published clients, unmodified.
func TestClients(t *testing.T) {
	packages(t)
	env := map[string]string{"OVERWRITE_SETTING_API_Enable_Rate_Limiter": "false", "OVERWRITE_SETTING_VideoConf_Default_Provider": "jitsi"}
	for _, scope := range []string{"Connection", "User"} {
		env["OVERWRITE_SETTING_DDP_Rate_Limit_"+scope+"_By_Method_Enabled"] = "false"
	}
	s := &rctest.Server{Polite: true, Env: env}
	s.Start(t)
	said, err := script(t, []string{"ROCKETCHAT_URL=" + s.URL, "ROCKETCHAT_USER=" + rctest.AdminName, "ROCKETCHAT_PASSWORD=" + rctest.AdminPassword}, "clients.mjs")
	t.Log(said)
	if err != nil {
		t.Error(err)
	}
}
