package provision_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/bridge"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// TestAttached uses the files rendered for external servers with a real homeserver
// and a Rocket.Chat: the homeserver at first does not know the bridge, then knows
// it, then reaches it, and people talk.
func TestAttached(t *testing.T) {
	for _, kind := range []string{mxtest.Dendrite, mxtest.Synapse, mxtest.Generic} {
		t.Run(kind, func(t *testing.T) {
			rc, hs, port := owner(t, "bot", "admin"), mxtest.New(t, kind), mxtest.FreePort(t)
			hs.Start("")
			dir := t.TempDir()
			a := answers.NewDraft().Answers
			a.Domain, a.ServerName = "bridge.example.test", hs.Name
			a.Homeserver, a.HomeserverURL, a.HomeserverKind = answers.External, hs.URL, kind
			a.RocketChat, a.RocketChatURL, a.RocketChatUserID = answers.External, rc.URL, ownUserID
			a.RocketChatTokenFile, a.BridgeURL = filepath.Join(dir, "rocketchat_token"), fmt.Sprintf("http://127.0.0.1:%d", port)
			a = a.Normalize()
			files := rendered(t, a, dir, port)
			servers := attach.Of(a)
			if version, err := servers.RocketChat.Reach(t.Context()); err != nil || version == "" {
				t.Fatalf("Rocket.Chat %q: %v", version, err)
			}
			known := servers.Homeserver
			known.ID, known.Bot, known.Token = "rocketchat", "rocket.cat", secret.New("as-token-of-the-test")
			if err := known.Reach(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := known.Known(t.Context()); err == nil || !strings.Contains(err.Error(), "does not know the registration") {
				t.Fatalf("without the registration: %v", err)
			}
			hs.Kill()
			hs.Start(string(files[render.Registration].Data))
			asked, err := known.Known(t.Context())
			if mxtest.SoftwareOf(kind).Pings && (err == nil || !strings.Contains(err.Error(), "does not reach the bridge")) || !mxtest.SoftwareOf(kind).Pings && err != nil {
				t.Fatalf("with the registration, before the bridge runs: %v, %v", asked, err)
			}
			runBridge(t, filepath.Join(dir, "bridge.yaml"), a.BridgeURL)
			if asked, err = known.Known(t.Context()); err != nil || asked != mxtest.SoftwareOf(kind).Pings {
				t.Fatalf("with a bridge: asked %v, %v", asked, err)
			}
			talk(t, rc, hs, a.BridgeURL)
		})
	}
}

// rendered writes the files that the bridge reads to dir, and makes them refer to
// dir instead of the paths inside its container.
func rendered(t *testing.T, a answers.Answers, dir string, port int) render.Files {
	t.Helper()
	set := secrets.Set{}
	for name, value := range map[secrets.Name]string{
		secrets.ASToken: "as-token-of-the-test", secrets.HSToken: "hs-token-of-the-test",
		secrets.RocketChatToken: ownToken, secrets.CreateTokenSecret: rctest.CreateTokenSecret,
	} {
		set[name] = secret.New(value)
	}
	files, err := render.Tree(render.Input{Answers: a, Secrets: set, Project: "appliance", Image: "appliance-program:x", Host: render.Host{MemoryMB: 2000}})
	if err != nil {
		t.Fatal(err)
	}
	place := strings.NewReplacer("/run/secrets/bridge/", dir+"/", "/etc/appliance/", dir+"/", "sqlite:/data/", "sqlite:"+dir+"/", ":29328", fmt.Sprintf("127.0.0.1:%d", port))
	for name, text := range map[string]string{
		"bridge.yaml": place.Replace(string(files["config/bridge/bridge.yaml"].Data)), "as_token": "as-token-of-the-test", "hs_token": "hs-token-of-the-test",
		"rocketchat_token":               string(files["config/bridge/rocketchat_token"].Data),
		"rocketchat_create_token_secret": string(files["config/bridge/rocketchat_create_token_secret"].Data),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func runBridge(t *testing.T, file, url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- bridge.Run(ctx, bridge.Options{ConfigFile: file, Version: "test", Log: slog.New(slog.NewTextHandler(&log, nil))})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil || t.Failed() {
			t.Errorf("the bridge ended with %v; its log:\n%s", err, log.String())
		}
	})
	mxtest.WaitFor(t, "the bridge to be ready", func() bool {
		res, err := http.Get(url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// talk invites a user of the homeserver with a command that arrives as the owner's
// web server would forward it, and sends a message in each direction.
func talk(t *testing.T, rc *rctest.Server, hs *mxtest.Server, url string) {
	t.Helper()
	alice := rc.CreateUser("alice", "user")
	room := rc.CreateRoom("p", "plans", "alice")
	bob := hs.Register("bob", "Bob Builder")
	command := func(params string, header http.Header) (int, string) {
		body, _ := json.Marshal(map[string]string{"command": "bridge", "params": params, "roomId": room})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v1/commands.run", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-User-Id", alice.ID)
		req.Header.Set("X-Auth-Token", alice.Token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	if status, text := command("help", http.Header{"X-Appliance-Bridge": {"1"}}); status != http.StatusLoopDetected {
		t.Errorf("what the bridge has passed on itself: %d %s", status, text)
	}
	if status, text := command("invite "+bob.ID, http.Header{}); status != http.StatusOK {
		t.Fatalf("/bridge invite: %d %s", status, text)
	}
	mxRoom, inviter := bob.AcceptInvitation()
	if want := "@rc_alice:" + hs.Name; inviter != want {
		t.Errorf("%s invited, want %s", inviter, want)
	}
	bob.Send(mxRoom, "from Matrix")
	mxtest.WaitFor(t, "the message in Rocket.Chat", func() bool {
		return slices.ContainsFunc(rc.Said(room), func(m rctest.Message) bool { return m.Text == "from Matrix" })
	})
	rc.Say(room, "alice", "from Rocket.Chat")
	mxtest.WaitFor(t, "the message on Matrix", func() bool {
		return slices.ContainsFunc(bob.Timeline(mxRoom), func(e mxtest.Event) bool { return e.Content.Body == "from Rocket.Chat" && e.Sender == inviter })
	})
}
