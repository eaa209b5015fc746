package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/mustrun"
)

// TestMain runs rocketsim instead of the tests if BE_ROCKETSIM is set.
func TestMain(m *testing.M) {
	if os.Getenv("BE_ROCKETSIM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A program is a running rocketsim.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	log  bytes.Buffer
	done chan struct{}
}

var listening = regexp.MustCompile(`listen=\S*:(\d+)`)

// start starts rocketsim and waits until it listens.
func start(t testing.TB, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "BE_ROCKETSIM=1", "PORT=0", "ADMIN_PASS=pw", "MONGO_URL=mongodb://nowhere"), env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(io.TeeReader(stderr, &p.log))
	for lines.Scan() {
		if g := listening.FindStringSubmatch(lines.Text()); g != nil {
			p.url = "http://127.0.0.1:" + g[1]
			go func() {
				defer close(p.done)
				io.Copy(io.Discard, stderr)
			}()
			return p
		}
	}
	t.Fatalf("rocketsim did not start: %s", p.log.String())
	return nil
}

// kill sends SIGKILL and waits for the end.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		<-p.done
		p.cmd.Wait()
	}
}

// A login holds the credentials of a caller.
type login struct{ UserID, AuthToken string }

func (p *program) call(who login, method, path string, body, answer any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.url+"/api/v1/"+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", who.AuthToken)
	req.Header.Set("X-User-Id", who.UserID)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	return json.Unmarshal(b, answer)
}

// signIn signs the administrator in and returns the id of a room for the test.
func (p *program) signIn(room string) (who login, rid string) {
	p.t.Helper()
	var in struct{ Data login }
	var channel struct {
		Channel struct {
			ID string `json:"_id"`
		}
	}
	if err := p.call(login{}, "POST", "login", map[string]string{"username": "admin", "password": "pw"}, &in); err != nil {
		p.t.Fatal(err)
	}
	if err := p.call(in.Data, "POST", "channels.create", map[string]string{"name": room}, &channel); err != nil {
		p.t.Fatal(err)
	}
	return in.Data, channel.Channel.ID
}

func TestItSaysThatItIsNotRocketChat(t *testing.T) {
	p := start(t, nil)
	if !strings.Contains(p.log.String(), "A SIMULATOR, AND NOT ROCKET.CHAT") {
		t.Errorf("the log begins with %q", p.log.String())
	}
}

// Only the administrator can read the settings of file storage, as on a real Rocket.Chat.
func TestTheKeysOfStorageAreNotPublic(t *testing.T) {
	p := start(t, []string{"OVERWRITE_SETTING_FileUpload_Storage_Type=AmazonS3", "OVERWRITE_SETTING_FileUpload_S3_ForcePathStyle=true", "OVERWRITE_SETTING_FileUpload_S3_AWSSecretAccessKey=s3cret-key"})
	who, _ := p.signIn("dev")
	for id, want := range map[string]any{"FileUpload_Storage_Type": "AmazonS3", "FileUpload_S3_ForcePathStyle": true, "FileUpload_S3_AWSSecretAccessKey": "s3cret-key", "FileUpload_S3_Region": ""} {
		var got struct{ Value any }
		if err := p.call(who, "GET", "settings/"+id, nil, &got); err != nil || got.Value != want {
			t.Errorf("%s is %v, want %v; %v", id, got.Value, want, err)
		}
	}
	var public struct {
		Settings []struct {
			ID string `json:"_id"`
		}
	}
	if err := p.call(who, "GET", "settings.public?count=0", nil, &public); err != nil || len(public.Settings) < 10 {
		t.Fatalf("%d settings are public; %v", len(public.Settings), err)
	}
	for _, s := range public.Settings {
		if strings.HasPrefix(s.ID, "FileUpload_S3_") {
			t.Errorf("%s is public", s.ID)
		}
	}
}

// send sends messages until the program dies and returns those that were acknowledged.
func (p *program) send(who login, rid, prefix string, enough chan<- struct{}) (answered []string) {
	for i := 0; ; i++ {
		text := fmt.Sprintf("%s %d", prefix, i)
		var got struct{ Message struct{ Msg string } }
		body := map[string]any{"message": map[string]any{"rid": rid, "msg": text}}
		if p.call(who, "POST", "chat.sendMessage", body, &got) != nil {
			return answered
		}
		answered = append(answered, got.Message.Msg)
		select {
		case enough <- struct{}{}:
		default:
		}
	}
}

func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "journal")
	p := start(t, nil, "--data", data)
	who, rid := p.signIn("dev")
	const rounds, senders = 4, 4
	var answered []string
	for round := range rounds {
		got := make([][]string, senders)
		enough := make(chan struct{}, 20*(round+1))
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() { got[i] = p.send(who, rid, fmt.Sprint(round, i), enough) })
		}
		for range cap(enough) { // killed in the middle of the work
			<-enough
		}
		p.kill()
		wg.Wait()
		answered = append(answered, slices.Concat(got...)...)
		p = start(t, nil, "--data", data)
	}
	missing(t, p.texts(who, rid), answered)
}

// texts returns what a room holds.
func (p *program) texts(who login, rid string) map[string]int {
	p.t.Helper()
	var sync struct {
		Result struct{ Updated []struct{ Msg string } }
	}
	if err := p.call(who, "GET", "chat.syncMessages?lastUpdate=2020-01-01T00:00:00.000Z&roomId="+rid, nil, &sync); err != nil {
		p.t.Fatal(err)
	}
	held := map[string]int{}
	for _, m := range sync.Result.Updated {
		held[m.Msg]++
	}
	return held
}

func missing(t *testing.T, held map[string]int, answered []string) {
	t.Helper()
	for _, text := range answered {
		if held[text] != 1 {
			t.Errorf("%q was answered and is there %d times", text, held[text])
		}
	}
	t.Logf("%d messages were answered", len(answered))
}

// TestOfficialClients runs Rocket.Chat's own JavaScript clients, as npm has them.
func TestOfficialClients(t *testing.T) {
	dir := installClients(t)
	p := start(t, nil)
	_, rid := p.signIn("dev")
	for _, client := range []string{"ddp-client", "sdk"} {
		t.Run(client, func(t *testing.T) {
			// Node before 22 has its WebSocket behind a flag.
			cmd := exec.CommandContext(t.Context(), "node", "--experimental-websocket", "check.js", client)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "ROCKETCHAT_URL="+p.url, "ROCKETCHAT_USER=admin", "ROCKETCHAT_PASSWORD=pw",
				"CHECK_ROOM=dev", "CHECK_RID="+rid, "CHECK_OTHER=rocket.cat")
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("ok "+client)) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// installClients copies the check and installs what it needs beside it.
func installClients(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			mustrun.Skip(t, tool+" is not installed")
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/jsclient")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		mustrun.Skip(t, fmt.Sprintf("npm ci: %v\n%s", err, out))
	}
	return dir
}

func TestTheVersionIsAParameter(t *testing.T) {
	p := start(t, nil, "--version", "7.2")
	who, _ := p.signIn("here")
	req, err := http.NewRequest(http.MethodGet, p.url+"/api/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", who.AuthToken)
	req.Header.Set("X-User-Id", who.UserID)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var info struct{ Version string }
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil || info.Version != "7.2.0" {
		t.Errorf("/api/info says %q, %v; want 7.2.0", info.Version, err)
	}
	if err := run(t.Context(), []string{"--version", "6.5"}, os.Stderr); err == nil || !strings.Contains(err.Error(), "7.2, 8.3, 8.6") {
		t.Errorf("a version that cannot be simulated: %v", err)
	}
}
