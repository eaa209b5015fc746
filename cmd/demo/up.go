package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"appliance/compose"
)

// summary is .demo/summary.json. Scripts read it, so keys stay.
type summary struct {
	ChatURL    string `json:"chat_url"`
	ServerName string `json:"server_name"`
	CAFile     string `json:"ca_file"`
	Dir        string `json:"dir"`
	Admin      struct {
		Username     string `json:"username"`
		PasswordFile string `json:"password_file"`
	} `json:"admin"`
	Remote struct {
		ServerName   string `json:"server_name"`
		UserID       string `json:"user_id"`
		PasswordFile string `json:"password_file"`
		ClientURL    string `json:"client_url"`
	} `json:"remote"`
	Transcript []line `json:"transcript"`
	Timings    struct {
		Setup        float64 `json:"setup_s"`
		Up           float64 `json:"up_s"`
		FirstMessage float64 `json:"first_message_s"`
		UpUnchanged  float64 `json:"up_unchanged_s"`
	} `json:"timings"`
	Bridge figures           `json:"bridge"`
	Images map[string]string `json:"images"`
}

// line is one message of the conversation.
type line struct {
	N       int     `json:"n"`
	Room    string  `json:"room"`
	From    string  `json:"from"`
	SentVia string  `json:"sent_via"`
	SeenAs  string  `json:"seen_as"`
	Body    string  `json:"body"`
	DelayMS float64 `json:"delay_ms"`
}

// figures are what the bridge costs. delay is the time from Rocket.Chat's response to the
// sender until the homeserver shows the event; direct is the same for an event sent to
// the homeserver itself.
type figures struct {
	RSS       int64   `json:"rss_bytes"`
	DelayP50  float64 `json:"delay_p50_ms"`
	DelayP99  float64 `json:"delay_p99_ms"`
	DirectP50 float64 `json:"direct_p50_ms"`
	DirectP99 float64 `json:"direct_p99_ms"`
}

// up builds the world, installs, talks and reports.
func (d *demo) up(ctx context.Context, started int64) error {
	begin := time.Now()
	if started > 0 {
		begin = time.Unix(started, 0)
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // containers read it
		return err
	}
	images, simulated, err := d.images()
	if err != nil {
		return err
	}
	if err := (world{d}).clear(ctx); err != nil {
		return err
	}
	d.say("==> building the world around the installation: a certificate authority, and %s", remoteName)
	if err := (world{d}).elsewhere(ctx); err != nil {
		return err
	}
	s := summary{ChatURL: chatURL, ServerName: serverName, CAFile: d.path("ca.pem"), Dir: d.install(), Images: images}
	s.Admin.Username, s.Admin.PasswordFile = "admin", d.adminPasswordFile()
	s.Remote.ServerName, s.Remote.UserID = remoteName, "@bob:"+remoteName
	s.Remote.PasswordFile, s.Remote.ClientURL = d.path("bob_password"), "https://"+remoteHost
	s.Timings.Setup = seconds(begin)

	if simulated {
		d.say("==> no image registry answers: the simulator stands in for Rocket.Chat and MongoDB")
	}
	d.say("==> appliance up --dir %s --answers %s --yes", d.install(), d.path("answers.yaml"))
	if err := d.writeAnswers(simulated); err != nil {
		return err
	}
	start := time.Now()
	if err := d.appliance(ctx, true); err != nil {
		return err
	}
	s.Timings.Up = seconds(start)
	if err := d.play(ctx, &s, begin); err != nil {
		return err
	}
	start = time.Now()
	if err := d.appliance(ctx, false); err != nil {
		return err
	}
	s.Timings.UpUnchanged = seconds(start)
	if err := d.write("summary.json", toJSON(s), 0o644); err != nil {
		return err
	}
	d.report(s)
	return nil
}

// clear removes the containers of a demo here whose files were deleted. Docker restarts
// them, and creates directories in place of the files that they mount.
func (d world) clear(ctx context.Context) error {
	if _, err := os.Stat(d.path("answers.yaml")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	left, err := d.containersOf(ctx, d.path("elsewhere"))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		if _, err := d.command(ctx, "docker", append([]string{"rm", "-f"}, left...)...); err != nil {
			return err
		}
	}
	return errors.Join(d.destroy(ctx), os.RemoveAll(d.path("elsewhere")))
}

// appliance runs `appliance up`. Output that is not shown becomes part of the error.
func (d *demo) appliance(ctx context.Context, show bool) error {
	cmd := exec.CommandContext(ctx, d.program, "up", "--dir", d.install(), "--answers", d.path("answers.yaml"), "--yes") //nolint:gosec // our own program
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if show {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("appliance up: %w\n%s", err, out.String())
	}
	return nil
}

// writeAnswers writes what an operator decides, and the operator's own additions
// to the Compose file: they join the installation to the demo's world.
func (d *demo) writeAnswers(simulated bool) error {
	answers := fmt.Sprintf("domain: %s\nserver_name: %s\nacme_directory: %s\nacme_ca_file: %s\nfederation_private_networks: true\nsystemd: false\nhomeserver: %s\n",
		chatHost, serverName, directory(), d.path("ca.pem"), d.homeserver)
	if d.replicas > 1 {
		answers += fmt.Sprintf("bridge_database: bundled\nbridge_replicas: %d\n", d.replicas)
	}
	data := ""
	if simulated {
		answers += "mongo_url: mongodb://" + standIn + "/rocketchat?replicaSet=rs0\n"
		data = "\n  rocketchat:\n    volumes: [\"./data/rocketsim:/data\"]"
		if err := os.MkdirAll(d.path("install/data"), 0o755); err != nil { //nolint:gosec // containers read it
			return err
		}
		if err := ownedDir(d.path("install/data/rocketsim"), 65533); err != nil {
			return err
		}
	}
	override := fmt.Sprintf(`# Joins the installation to the demo's world.
services:
  nginx:
    networks:
      internet: {ipv4_address: %s, aliases: [%s, %s]}
  homeserver:
    networks:
      internet: {ipv4_address: %s}
  certs:
    networks: [internet]
    extra_hosts: ["%s:%s"]%s
networks:
  internet: {external: true, name: %s}
`, front, chatHost, serverName, homeserverIP, acmeHost, gateway, data, network)
	return errors.Join(d.write("answers.yaml", []byte(answers), 0o600), d.write("install/compose.override.yaml", []byte(override), 0o644))
}

// images reads how the images came here, and whether Rocket.Chat is simulated.
func (d *demo) images() (map[string]string, bool, error) {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(d.dir), ".cache/images.json"))
	if err != nil {
		return nil, false, fmt.Errorf("the images are not prepared (make images): %w", err)
	}
	images := map[string]string{}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, false, err
	}
	for l := range strings.Lines(string(compose.Versions)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), "ROCKETCHAT_IMAGE="); ok {
			return images, images[name] != "pulled", nil
		}
	}
	return nil, false, errors.New("versions.env names no ROCKETCHAT_IMAGE")
}

// down removes everything the demo made.
func (d *demo) down(ctx context.Context) error {
	var errs []error
	_ = syscall.Unmount(d.path("install/data/bridge"), syscall.MNT_DETACH) // the small disk of a storm that was interrupted
	if _, err := os.Stat(d.path("install/appliance.yaml")); err != nil {
		errs = append(errs, d.destroy(ctx)) // left by an interrupted demo
	} else {
		_, err := d.command(ctx, d.program, "down", "--dir", d.install(), "--purge", "--yes")
		errs = append(errs, err)
	}
	errs = append(errs, attaching{d}.detach(ctx), upgrades{d}.underive(ctx))
	if _, err := os.Stat(d.path("elsewhere/compose.yaml")); err == nil {
		errs = append(errs, world{d}.composeElsewhere(ctx, "down", "--volumes", "--remove-orphans"))
	}
	errs = append(errs, world{d}.hosts(false))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(d.dir)
}

func seconds(since time.Time) float64 { return float64(time.Since(since).Milliseconds()) / 1000 }
