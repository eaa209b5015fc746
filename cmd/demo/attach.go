package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	ownRegistration = "elsewhere/homeserver/rocketchat-registration.yaml"
	ownChatName     = project + "-chat"
	ownChatURL      = "http://" + ownChat + ":3000"
	ownUserID       = "ownersbridge00001"
)

// attaching shows an installation beside existing servers.
type attaching struct{ *demo }

// attach installs beside existing servers: it uses the other Matrix server and a
// Rocket.Chat beside it, checks that up says what to add to them, and that messages are
// delivered once that is done. It removes what it created.
func (d attaching) attach(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if _, simulated, err := d.images(); err != nil || !simulated {
		return errors.Join(err, errors.New("this step needs the simulator in place of the external Rocket.Chat"))
	}
	if err := world(d).elsewhere(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.detach(context.WithoutCancel(ctx))) }()
	if err := d.ownChat(ctx); err != nil {
		return err
	}
	if err := d.writeAttached(); err != nil {
		return err
	}
	run := func(args ...string) (string, error) {
		return d.command(ctx, d.program, append(args, "--dir", d.path("attached"))...)
	}
	if out, err := run("up", "--answers", d.path("own/answers.yaml"), "--set", "homeserver_url=http://"+ownChat+":3000"); exitCode(err) != 5 || !strings.Contains(err.Error(), "no homeserver answers") {
		return fmt.Errorf("a wrong address was not refused: %w\n%s", err, out)
	}
	out, err := run("up", "--answers", d.path("own/answers.yaml"), "--yes", "--patience", "0s")
	if err != nil {
		return err
	}
	for _, want := range []string{"the homeserver does not know the registration", "app_service_api:", "CREATE_TOKENS_FOR_USERS=true", ownBridge + ":29328/hint/invite"} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	d.say("installed with an external homeserver and Rocket.Chat; up says what to add to them")
	var settings []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "OVERWRITE_SETTING_") {
			settings = append(settings, line)
		}
	}
	if err := errors.Join(d.register(ctx), d.ownChat(ctx, settings...)); err != nil {
		return err
	}
	if err := d.content(ctx, run); err != nil {
		return err
	}
	if err := d.talkAttached(ctx); err != nil {
		return err
	}
	saved := d.path("own/saved")
	if _, err := run("backup", "--output", saved); err != nil {
		return err
	}
	verified, err := run("backup", "verify", saved)
	if err != nil {
		return err
	}
	d.say("%s", strings.TrimSpace(verified))
	return nil
}

// writeAttached writes the answers of the attached installation and what joins it to
// the demo's network.
func (d attaching) writeAttached() error {
	answers := fmt.Sprintf(`systemd: false
domain: %s
tls: internal
http_port: 8081
https_port: 8444
homeserver: external
homeserver_url: http://%s:8008
homeserver_kind: dendrite
server_name: %s
rocketchat: external
rocketchat_url: %s
rocketchat_user_id: %s
rocketchat_token_file: %s
rocketchat_create_token_secret_file: %s
bridge_url: http://%s:29328
`, attached, remoteHS, remoteName, ownChatURL, ownUserID, d.path("own/token"), d.path("own/create_secret"), ownBridge)
	override := fmt.Sprintf("services:\n  bridge:\n    networks:\n      app: {}\n      internet: {ipv4_address: %s}\nnetworks:\n  internet: {external: true, name: %s}\n", ownBridge, network)
	return errors.Join(d.write("own/answers.yaml", []byte(answers), 0o600), os.MkdirAll(d.path("attached"), 0o755), //nolint:gosec // as up makes it
		d.write("attached/compose.override.yaml", []byte(override), 0o644))
}

func exitCode(err error) int {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0
	}
	return exit.ExitCode()
}

// ownChat starts a Rocket.Chat with an account for the bridge and settings in its
// environment.
func (d attaching) ownChat(ctx context.Context, settings ...string) error {
	if err := os.MkdirAll(d.path("own"), 0o700); err != nil {
		return err
	}
	token, err := d.secret("own/token", 0)
	if err != nil {
		return err
	}
	create, err := d.secret("own/create_secret", 0)
	if err != nil {
		return err
	}
	password, err := d.secret("own/admin_password", 0)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	type object = map[string]any
	account, err := json.Marshal(object{
		"_id": ownUserID, "username": "matrix-bridge", "name": "Matrix bridge", "type": "bot", "active": true, "roles": []string{"bot", "admin"},
		"services": object{"resume": object{"loginTokens": []object{{
			"type": "personalAccessToken", "name": "bridge", "createdAt": "2026-01-01T00:00:00.000Z", "bypassTwoFactor": true,
			"lastTokenPart": token[len(token)-6:], "hashedToken": base64.StdEncoding.EncodeToString(sum[:]),
		}}}},
	})
	if err != nil {
		return err
	}
	env := fmt.Sprintf("PORT=3000\nROOT_URL=%s\nADMIN_USERNAME=admin\nADMIN_PASS=%s\nADMIN_EMAIL=admin@elsewhere.test\nINITIAL_USER=%s\nCREATE_TOKENS_FOR_USERS=true\nCREATE_TOKENS_FOR_USERS_SECRET=%s\n", ownChatURL, password, account, create)
	env += strings.Join(settings, "\n") + "\n"
	if err := d.write("own/chat.env", []byte(env), 0o600); err != nil {
		return err
	}
	_, _ = d.command(ctx, "docker", "rm", "-f", ownChatName) // of an interrupted run
	_, err = d.command(ctx, "docker", "run", "-d", "--name", ownChatName, "--network", network, "--ip", ownChat, "--env-file", d.path("own/chat.env"), versions()["ROCKETCHAT_IMAGE"])
	return err
}

// register does on the other server what the appliance says to do.
func (d attaching) register(ctx context.Context) error {
	data, err := os.ReadFile(d.path("attached/config/homeserver/rocketchat-registration.yaml"))
	if err != nil {
		return err
	}
	if err := errors.Join(d.write(ownRegistration, data, 0o600), os.Chown(d.path(ownRegistration), 10500, 10500)); err != nil {
		return err
	}
	return d.restartRemote(ctx)
}

// restartRemote restarts the other server with its current configuration.
func (d attaching) restartRemote(ctx context.Context) error {
	if err := world(d).writeElsewhere(); err != nil {
		return err
	}
	if err := world(d).composeElsewhere(ctx, "restart", "remote-homeserver"); err != nil {
		return err
	}
	return world(d).composeElsewhere(ctx, "up", "-d", "--wait", "remote-homeserver")
}

// content waits until the doctor finds nothing wrong.
func (d attaching) content(ctx context.Context, run func(...string) (string, error)) error {
	for until := time.Now().Add(time.Minute); ; {
		out, err := run("doctor")
		if err == nil {
			d.say("after that the doctor finds nothing wrong")
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("the doctor finds problems: %w\n%s", err, out)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// talkAttached has a user of that Rocket.Chat invite a user of that
// homeserver, and both say something.
func (d attaching) talkAttached(ctx context.Context) error {
	password, err := d.secret("own/admin_password", 0)
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	own, err := os.ReadFile(d.path("attached/data/certs/internal/ca.pem"))
	if err != nil {
		return err
	}
	client := clientTrusting(append(roots, own...))
	carol, err := loginChat(ctx, client, ownChatURL, "admin", password)
	if err != nil {
		return err
	}
	bob, err := d.bob(ctx, client)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	joined, invited, err := bob.sync(ctx)
	for room := range joined {
		known[room] = true
	}
	for room := range invited {
		known[room] = true
	}
	if err != nil {
		return err
	}
	room, err := carol.createRoom(ctx, fmt.Sprintf("attached-%x", time.Now().UnixMilli()))
	if err != nil {
		return err
	}
	// As the owner's web server passes it on.
	header := http.Header{"X-User-Id": {carol.id}, "X-Auth-Token": {carol.token}}
	if _, err := call(ctx, client, http.MethodPost, "https://"+attached+":8444/api/v1/commands.run", header,
		map[string]string{"command": "bridge", "params": "invite " + bob.id, "roomId": room}); err != nil {
		return err
	}
	mxRoom, err := bob.acceptInvitation(ctx, known)
	if err != nil {
		return err
	}
	if err := carol.exchange(ctx, bob, room, mxRoom); err != nil {
		return err
	}
	d.say("three messages each way between them, as %s and bob", "@rc_admin:"+remoteName)
	return nil
}

// exchange sends three messages each way between a room and its Matrix room.
func (c *chatUser) exchange(ctx context.Context, bob *matrixUser, room, mxRoom string) error {
	for n := range 3 {
		said := fmt.Sprint("Hello Bob, this is ", n+1)
		if err := c.say(ctx, room, newID(), said); err != nil {
			return err
		}
		e, err := bob.waitFor(ctx, mxRoom, said)
		if err != nil {
			return err
		}
		if e.Sender != "@rc_admin:"+remoteName {
			return fmt.Errorf("%q was sent by %s", said, e.Sender)
		}
		answer := fmt.Sprint("Hello, this is ", n+1)
		if err := bob.send(ctx, mxRoom, newID(), answer); err != nil {
			return err
		}
		if err := c.awaitText(ctx, room, answer); err != nil {
			return err
		}
	}
	return nil
}

// awaitText waits until a text is the newest in a room.
func (c *chatUser) awaitText(ctx context.Context, room, text string) error {
	for {
		if page, err := c.page(ctx, room, 0); err == nil && len(page) > 0 && page[0].Text == text {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%q was not seen in Rocket.Chat: %w", text, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// detach removes what attach created.
func (d attaching) detach(ctx context.Context) error {
	var errs []error
	if _, err := os.Stat(d.path("attached/appliance.yaml")); err == nil {
		_, err := d.command(ctx, d.program, "down", "--dir", d.path("attached"), "--purge", "--yes")
		errs = append(errs, err)
	}
	if _, err := os.Stat(d.path("own")); err == nil {
		_, err := d.command(ctx, "docker", "rm", "-f", ownChatName)
		errs = append(errs, err)
	}
	if _, err := os.Stat(d.path(ownRegistration)); err == nil {
		errs = append(errs, os.Remove(d.path(ownRegistration)), d.restartRemote(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(d.path("attached")), os.RemoveAll(d.path("own")))...)
}
