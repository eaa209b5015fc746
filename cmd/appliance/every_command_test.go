package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"appliance/bridge/mustrun"
)

// untilStopped are the commands that do not end by themselves.
var untilStopped = []string{"certs serve", "bridge", "service run"}

// given lists the arguments of the commands that need some. WORK stands for the workplace.
var given = map[string][]string{
	"alarm test":       nil,
	"backup drill":     {"WORK/saved"},
	"backup fetch":     {"--from", "s3+http://127.0.0.1:1/b", "--key-file", "WORK/keys"},
	"backup list":      {"--from", "s3+http://127.0.0.1:1/b", "--key-file", "WORK/keys"},
	"backup verify":    {"WORK/saved"},
	"bundle create":    {"WORK/made/bundle.tar"},
	"bundle load":      {"WORK/saved"},
	"config edit":      {"--yes", "--patience", "0s"},
	"config get":       {"domain"},
	"config set":       {"email=ops@example.test", "--patience", "0s"},
	"down":             {"--purge", "--yes"},
	"federation allow": {"a.example.test"}, "federation deny": {"b.example.test"},
	"init":                    {"--set", "domain=chat.example.test", "--output", "WORK/made/answers.yaml"},
	"logs":                    {"bridge"},
	"queue drop":              {"--all", "--yes"},
	"queue retry":             {"--all"},
	"render kubernetes":       {"--out", "WORK/made/kubernetes"},
	"render swarm":            {"--out", "WORK/made/swarm"},
	"restore":                 {"WORK/saved"},
	"secrets rotate":          {"create-token", "--yes"},
	"self-update":             {"https://127.0.0.1:1/release"},
	"service install":         {"--unit-dir", "WORK/units"},
	"service remove":          {"--unit-dir", "WORK/units"},
	"service status":          {"--unit-dir", "WORK/units"},
	"support bundle":          {"--output", "WORK/made/support.tar.gz"},
	"uninstall":               {"--all", "--yes"},
	"up":                      {"--set", "email=team@example.test", "--patience", "0s"},
	"upgrade":                 {"--yes"},
	"bridge migrate-database": {"sqlite:WORK/made/bridge.db"},
}

// everyLeaf returns the commands that do something, with their arguments. Those that take the
// installation away come last.
func everyLeaf(t *testing.T, w *workplace) [][]string {
	t.Helper()
	var leaves, last [][]string
	everyCommand(t, func(c *cobra.Command) {
		words := strings.Fields(c.CommandPath())[1:]
		path := strings.Join(words, " ")
		switch {
		case c.HasAvailableSubCommands() && path != "backup", !c.Runnable(), words[0] == "completion", words[0] == "help", slices.Contains(untilStopped, path):
			return
		}
		for _, arg := range given[path] {
			words = append(words, strings.ReplaceAll(arg, "WORK", w.dir))
		}
		if path == "down" || path == "uninstall" {
			last = append(last, words)
			return
		}
		leaves = append(leaves, words)
	})
	if leaves = append(leaves, last...); len(leaves) < 40 {
		t.Fatalf("only %d commands were found", len(leaves))
	}
	return leaves
}

// shell runs a script of the test in the workplace.
func (w *workplace) shell(script string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "sh", "-euc", script)
	cmd.Dir, cmd.Env = w.dir, w.env
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

// If two installations have the same name, as earlier releases could give it, no command on the
// second one touches the containers of the first one, or sends requests to them.
func TestNoCommandTouchesAnotherInstallation(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers; make test runs as root and demands this")
	}
	w := newWorkplace(t)
	up := "appliance --dir old/chat up --patience 0s"
	w.shell(up + ` --set domain=old.example.test --set tls=internal
		appliance --dir old/chat down
		sed -i '/"project"/d' old/chat/manifest.json
		sed -i s/COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME=chat/ old/chat/.env
		` + up + ` --overwrite --set federation_private_networks=true
		appliance --dir old/chat backup --output saved --no-encryption
		mkdir made third; printf 'a\nb\n' >keys; chmod 600 keys; cp -a old/chat third/chat
		printf 'one\n' >docker/dead; printf 'rc:GENERAL\n' >docker/lanes; echo '{"changed":[]}' >docker/reload
		rm -f docker/log docker/requests`)
	state := func() string {
		running, err := os.ReadFile(filepath.Join(w.dir, "docker/project/chat/running"))
		requests, _ := os.ReadFile(filepath.Join(w.dir, "docker/requests"))
		log, _ := os.ReadFile(filepath.Join(w.dir, "docker/log"))
		return fmt.Sprintf("%s%v\ndone: %s\nasked: %s", running, err, log, requests)
	}
	refused, before := 0, state()
	w.env = append(w.env, "EDITOR=true")
	for _, words := range everyLeaf(t, w) {
		if words[0] == "backup" && len(words) > 1 && words[1] == "drill" {
			continue // it works beside what runs, under a unique name
		}
		_, said := finished(t, w.command(append([]string{"--dir", "third/chat"}, words...)...))
		if after := state(); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s\nit said\n%s", strings.Join(words, " "), before, after, said)
			before = after
		}
		if strings.Contains(said, "containers of the name chat belong to the installation in "+w.dir+"/old/chat") {
			refused++
		}
	}
	if refused < 18 {
		t.Errorf("only %d commands say whose containers these are", refused)
	}
}

// With --json every command prints only JSON, on both streams, whether it succeeds or not.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	w := installed(t)
	w.shell(`appliance --dir appliance backup --output saved --no-encryption
		mkdir made units; printf 'a\nb\n' >keys; chmod 600 keys
		printf 'one\n' >docker/dead; printf 'rc:GENERAL\n' >docker/lanes; echo '{"changed":[]}' >docker/reload; echo 'bridge-1  | hello' >docker/logs`)
	w.env = append(w.env, "EDITOR=true")
	silent := []string{}
	for _, words := range everyLeaf(t, w) {
		cmd := w.command(append([]string{"--dir", "appliance", "--json"}, words...)...)
		var out, said strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &said
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		for stream, text := range map[string]string{"stdout": out.String(), "stderr": said.String()} {
			if err := documentsOf(text); err != nil {
				t.Errorf("%s: %s: %v in\n%s", strings.Join(words, " "), stream, err, text)
			}
		}
		if cmd.ProcessState.Success() && out.Len() == 0 || !cmd.ProcessState.Success() && out.Len()+said.Len() == 0 {
			silent = append(silent, strings.Join(words, " "))
		}
	}
	if len(silent) > 0 {
		t.Errorf("these say nothing: %q", silent)
	}
}

// documentsOf returns why a text is not a sequence of JSON documents.
func documentsOf(text string) error {
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var doc any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
