package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat/rctest"
	"appliance/cmd/appliance/internal/cli"
	"appliance/cmd/internal/manual"
	"appliance/provision/external/mongotest"
	"appliance/provision/render"
	"appliance/provision/selfupdate"
)

// Every command that a document shows in a code block is executed: here, on an installation whose
// Docker only takes notes, except those in manual.NeedsContainers, most of which the demo executes
// (bin/demo check and bin/demo life). Documents are followed from top to bottom.
func TestEveryCommandOfTheManualIsExecuted(t *testing.T) {
	t.Parallel()
	mustrun.Exhaustive(t)
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root can give files to the users of containers")
	}
	files, err := manual.Documents("../..")
	if err != nil {
		t.Fatal(err)
	}
	f := newFollower(t)
	executed, elsewhere := 0, map[string]bool{}
	for _, file := range files {
		f.text = read(t, file)
		commands := manual.Commands(f.text)
		if len(commands) > 0 {
			f.installed()
		}
		for _, line := range commands {
			if manual.NeedsContainers[line] != "" {
				elsewhere[line] = true
				continue
			}
			executed++
			if err := f.follow(line); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), line, err)
			}
		}
	}
	for line := range manual.NeedsContainers {
		if !elsewhere[line] {
			t.Errorf("no document shows %q any more", line)
		}
	}
	t.Logf("%d commands executed, %d more are left to what has containers", executed, len(elsewhere))
	if executed < 70 {
		t.Errorf("only %d commands were executed", executed)
	}
}

// A follower types what a document says, on a host of its own.
type follower struct {
	*workplace
	text    string // of the document
	install string // the installation
	place   *strings.Replacer
}

// newFollower returns a follower with the services that the manual's names stand for: storage,
// a homeserver, a Rocket.Chat and a release.
func newFollower(t *testing.T) *follower {
	w := newWorkplace(t)
	f := &follower{workplace: w, install: filepath.Join(w.dir, "opt/appliance")}
	storage := s3mem.New()
	for _, bucket := range []string{"my-bucket", "rocketchat-files"} {
		if err := storage.CreateBucket(bucket); err != nil {
			t.Fatal(err)
		}
	}
	s3 := f.reachable(gofakes3.New(storage).Server().ServeHTTP)
	chat := f.workspace()
	homeserver := f.reachable(func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]any{"versions": []string{"v1.11"}}) })
	releases := f.publish()
	f.env = append(f.env, "APPLIANCE_DIR="+f.install, "APPLIANCE_DOMAIN=chat.example.test", "APPLIANCE_TLS=internal")
	f.place = strings.NewReplacer(
		"s3://s3.eu-central-1.amazonaws.com", "s3+"+s3, "s3://s3.example.org", "s3+"+s3,
		"https://releases.example.org/appliance", releases,
		"https://matrix.example.org", homeserver, "https://chat.example.org", chat,
		"=/etc/", "="+w.dir+"/etc/", " /root/", " "+w.dir+"/root/", " /mnt/", " "+w.dir+"/mnt/",
		" FILE", " "+w.dir+"/newest-backup", " ITEM", " one", "'", "")
	for name, text := range map[string]string{
		"etc/appliance-s3": "AKIA1\ns3cret\n", "etc/appliance-uploads": "AKIA1\ns3cret\n", "keys": "AKIA1\ns3cret\n", "etc/appliance-sftp": "a key", "etc/appliance-smtp": "s3cret\n", "etc/appliance-registration": "dG9rZW4=\n", "etc/appliance-ntfy": "https://ntfy.example.org/ops\n",
		"units/there": "", "docker/lanes": "rc:GENERAL\n", "docker/dead": "one\ntwo\n", "mnt/other/there": "", "root/there": "",
		"docker/reload": `{"outcome":"reloaded"}`,
	} {
		f.write(name, text)
	}
	return f
}

func (f *follower) write(name, text string) {
	f.t.Helper()
	name = filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// publish serves a signed release under any version and returns its URL. The follower trusts it.
func (f *follower) publish() string {
	program := []byte("#!/bin/sh\necho '{\"version\":\"v2\"}'\n")
	sums := fmt.Sprintf("%x  %s\n", sha256.Sum256(program), selfupdate.Name())
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	signature, err := selfupdate.Sign(key, []byte(sums), "v2.0.0", time.Unix(0, 0))
	if err != nil {
		f.t.Fatal(err)
	}
	content := map[string][]byte{"SHA256SUMS": []byte(sums), "SHA256SUMS.minisig": signature, selfupdate.Name(): program}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(content[filepath.Base(r.URL.Path)]) }))
	f.t.Cleanup(srv.Close)
	f.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	f.env = append(f.env, "SSL_CERT_FILE="+filepath.Join(f.dir, "ca.pem"), "TEST_RELEASE_KEY="+key.Public().(minisign.PublicKey).String())
	return srv.URL
}

// workspace starts a Rocket.Chat that was there before, with the account of docs/external.md.
func (f *follower) workspace() string {
	const token = "a-token-of-the-operator"
	type object = map[string]any
	hash := sha256.Sum256([]byte(token))
	user, err := json.Marshal(object{
		"_id": "aobEdbYhXfu5hkeqG", "username": "matrix-bridge", "name": "Matrix bridge", "type": "bot", "active": true, "roles": []string{"admin", "bot"},
		"services": object{"resume": object{"loginTokens": []object{{
			"type": "personalAccessToken", "name": "bridge", "createdAt": "2026-01-01T00:00:00.000Z", "lastTokenPart": "rator",
			"hashedToken": base64.StdEncoding.EncodeToString(hash[:]), "bypassTwoFactor": true,
		}}}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	chat := &rctest.Server{Polite: true, Env: map[string]string{"INITIAL_USER": string(user)}}
	for _, s := range render.NeededSettings {
		chat.Env["OVERWRITE_SETTING_"+s[0]] = s[1]
	}
	chat.Start(f.t)
	f.write("root/rocketchat_token", token+"\n")
	f.write("root/create_tokens_secret", rctest.CreateTokenSecret+"\n")
	at, err := url.Parse(chat.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.reachable(httputil.NewSingleHostReverseProxy(at).ServeHTTP)
}

// reachable serves on an address of this host that a container could reach, and returns the URL.
func (f *follower) reachable(serve http.HandlerFunc) string {
	at, err := mongotest.Address()
	if err != nil {
		f.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(serve)
	_ = srv.Listener.Close()
	if srv.Listener, err = (&net.ListenConfig{}).Listen(f.t.Context(), "tcp", net.JoinHostPort(at, "0")); err != nil {
		f.t.Fatal(err)
	}
	srv.Start()
	f.t.Cleanup(srv.Close)
	return srv.URL
}

// run executes the program.
func (f *follower) run(args ...string) error {
	cmd := f.command(args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// installed creates a new installation and a backup of it.
func (f *follower) installed() {
	f.t.Helper()
	f.lost()
	if err := f.run("up", "--patience", "0s"); err != nil {
		f.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "newest-backup")); err != nil {
		f.t.Fatal(err)
	}
	if err := f.run("backup", "--output", filepath.Join(f.dir, "newest-backup")); err != nil {
		f.t.Fatal(err)
	}
}

// lost removes the installation, except for copies of its key.
func (f *follower) lost() {
	f.t.Helper()
	if key, err := os.ReadFile(filepath.Join(f.install, "backup.key")); err == nil {
		f.write("backup.key", string(key))
		f.write("root/backup.key", string(key))
	}
	if _, err := os.Stat(filepath.Join(f.install, "appliance.yaml")); err == nil {
		_ = f.run("uninstall", "--all", "--yes") // an error shows below
	}
	if err := os.RemoveAll(f.install); err != nil {
		f.t.Fatal(err)
	}
}

// follow types a line: with the names of this host, "yes" to every question, and after suppose
// has made true what the document presupposes.
func (f *follower) follow(line string) error {
	if err := f.suppose(line); err != nil {
		return err
	}
	args := strings.Fields(f.place.Replace(line))[1:]
	cmd, _, err := cli.Tree().Find(args)
	if err != nil {
		return err
	}
	for flag, value := range map[string]string{"yes": "", "patience": "=0s", "unit-dir": "=" + filepath.Join(f.dir, "units")} {
		if cmd.Flags().Lookup(flag) != nil && !strings.Contains(line, "--"+flag) {
			args = append(args, "--"+flag+value)
		}
	}
	err = f.run(args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 4 && cmd.Name() == "doctor" {
		return nil // there are no services, which it reports
	}
	return err
}

// suppose makes true what a document takes for granted before a command.
func (f *follower) suppose(line string) error {
	switch {
	case strings.HasPrefix(line, "appliance restore"), strings.Contains(line, "=external"):
		f.lost()
	case strings.Contains(line, "--answers answers.yaml"):
		f.lost()
		f.write("answers.yaml", f.answers())
	case strings.HasPrefix(line, "appliance backup list --from"):
		_, set, _ := strings.Cut(f.text, "    appliance config set backup_offsite=s3:")
		set, _, _ = strings.Cut(set, "\n")
		return errors.Join(f.follow("appliance config set backup_offsite=s3:"+set), f.follow("appliance backup"))
	case line == "appliance status":
		f.installed() // in the README the chapter before has external servers
	case line == "appliance backup drill":
		return f.follow("appliance backup")
	case strings.HasPrefix(line, "appliance queue"):
		f.write("docker/dead", "one\ntwo\n")
		return f.run("up", "--patience", "0s")
	case line == "appliance upgrade --rollback":
		f.write("opt/appliance/.upgrade", fmt.Sprintf("{\"backup\":%q}", filepath.Join(f.dir, "newest-backup")))
	}
	return nil
}

// answers returns the answers that the document shows.
func (f *follower) answers() string {
	_, rest, _ := strings.Cut(f.text, "domain: ")
	var out strings.Builder
	for line := range strings.Lines("domain: " + rest) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "`") {
			break
		}
		out.WriteString(f.place.Replace(line) + "\n")
	}
	return out.String()
}
