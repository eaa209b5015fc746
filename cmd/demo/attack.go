package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// attack plays attackers at the front door: anonymous ones first, then one with an
// account on each side.
func (d inspection) attack(ctx context.Context) error {
	before, err := d.lives(ctx)
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	s := stranger{roots: x509.NewCertPool()}
	s.roots.AppendCertsFromPEM(roots)
	err = errors.Join(
		d.held("20 bodies of 92 MB for the federation", s.largeBodies(ctx)),
		d.held("a flood of invites that nobody has signed", s.invites(ctx)),
		d.held("40 commands with guessed tokens", s.guesses(ctx)),
	)
	after, lifeErr := d.lives(ctx)
	if lifeErr == nil && after != before {
		lifeErr = fmt.Errorf("services have ended under attack:\n%sbefore:\n%s", after, before)
	}
	return errors.Join(err, d.held("all of that together: no service has ended", lifeErr), d.insiders(ctx))
}

// held reports an attack that failed.
func (d inspection) held(what string, err error) error {
	if err != nil {
		return fmt.Errorf("attack: %s: %w", what, err)
	}
	d.say("held  %s", what)
	return nil
}

// lives returns since when each container of the installation has been running.
func (d inspection) lives(ctx context.Context) (string, error) {
	ids, err := d.containers(ctx)
	if err != nil {
		return "", err
	}
	return d.command(ctx, "docker", append([]string{"inspect", "--format", "{{.Name}} {{.State.StartedAt}} {{.RestartCount}} {{.State.OOMKilled}}"}, ids...)...)
}

// containers returns the IDs of the installation's containers.
func (d inspection) containers(ctx context.Context) ([]string, error) {
	out, err := d.command(ctx, "docker", "ps", "-q", "--filter", "label=com.docker.compose.project.working_dir="+d.install())
	ids := strings.Fields(out)
	slices.Sort(ids)
	if err == nil && len(ids) == 0 {
		err = errors.New("no container of the installation runs")
	}
	return ids, err
}

// A stranger has no account anywhere.
type stranger struct{ roots *x509.CertPool }

// send makes a request whose body is head and filling more bytes, whatever the response
// meanwhile, and returns the status.
func (s stranger) send(ctx context.Context, method, path string, header []string, head string, filling int) (int, error) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: s.roots, ServerName: chatHost}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(chatHost, "443"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + chatHost, "Connection: close", "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(head)+filling)}, header...)
		_, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+head)
		part := bytes.Repeat([]byte("x"), 64<<10)
		for rest := filling; rest > 0 && err == nil; rest -= len(part) {
			_, err = conn.Write(part[:min(rest, len(part))])
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	return res.StatusCode, nil
}

// several sends a request several times at once; want are the acceptable statuses.
func (s stranger) several(ctx context.Context, times int, want []int, send func(n int) (int, error)) error {
	errs := make([]error, times)
	var wg sync.WaitGroup
	for n := range times {
		wg.Go(func() {
			status, err := send(n)
			if err == nil && !slices.Contains(want, status) {
				err = fmt.Errorf("status %d, want one of %v", status, want)
			}
			errs[n] = err
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), ctx.Err())
}

func (s stranger) largeBodies(ctx context.Context) error {
	const path, large = "/_matrix/federation/v1/send/x", 92 << 20
	send := func(int) (int, error) { return s.send(ctx, http.MethodPost, path, nil, "", large) }
	return errors.Join(s.several(ctx, 1, []int{413}, send), s.several(ctx, 20, []int{413, 429}, send))
}

func (s stranger) invites(ctx context.Context) error {
	invite := func(name string, filling int) func(int) (int, error) {
		head := `{"room_version":"10","event":{"type":"m.room.member","room_id":"!r:evil.test","sender":"@m:evil.test","content":{"membership":"invite"},"state_key":"@` + name
		return func(n int) (int, error) {
			return s.send(ctx, http.MethodPut, fmt.Sprintf("/_matrix/federation/v2/invite/!r:evil.test/$e%d", n), nil, head, filling)
		}
	}
	return errors.Join(s.several(ctx, 30, []int{413, 429}, invite("huge", 1<<20)), s.several(ctx, 200, []int{400, 401, 403, 429}, invite("long", 90_000)))
}

func (s stranger) guesses(ctx context.Context) error {
	return s.several(ctx, 40, []int{401, 429}, func(n int) (int, error) {
		return s.send(ctx, http.MethodPost, "/api/v1/commands.run", []string{fmt.Sprint("X-User-Id: nobody", n), "X-Auth-Token: guessed"}, `{"command":"bridge","params":"help","roomId":"GENERAL"}`, 0)
	})
}

// insiders plays attackers with accounts. The commands of alice work although strangers
// have just guessed at them.
func (d inspection) insiders(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c, admin, err := d.enter(ctx, "alice", "Alice Cooper", []string{"user"})
	if err != nil {
		return err
	}
	if err := c.alice.listen(ctx); err != nil {
		return err
	}
	defer func() { _ = c.alice.ws.CloseNow() }()
	stamp := time.Now().Format("150405")
	mallory, err := d.ensureUser(ctx, admin, "mallory"+stamp, "Mallory", []string{"user"})
	if err != nil {
		return err
	}
	room, mxRoom, err := c.meet(ctx, "held-"+stamp)
	if err != nil {
		return err
	}
	return errors.Join(
		d.held("a private group is opened to others by a member without power", d.powerless(ctx, c, mxRoom)),
		d.held("a file of a room that one is not in; a file that is sent arrives on the other server, and no stranger gets it", d.foreignFile(ctx, c, mallory, room, mxRoom)),
		d.held("the account of a Matrix user is taken over before it exists", d.takeOver(ctx, c, mallory, "zoe"+stamp)),
	)
}

// powerless has bob, who has no power, invite others into a private group.
func (d inspection) powerless(ctx context.Context, c *cast, mxRoom string) error {
	for _, target := range []string{"@admin:" + serverName, "@mallory:" + remoteName} {
		err := c.bob.do(ctx, http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(mxRoom)+"/invite", map[string]string{"user_id": target}, nil)
		if err == nil || !strings.Contains(err.Error(), "403") {
			return fmt.Errorf("bob invites %s: %w", target, cmpError(err))
		}
	}
	return nil
}

// cmpError returns the error of what should have failed.
func cmpError(err error) error {
	if err == nil {
		return errors.New("it was done")
	}
	return err
}

// foreignFile has mallory refer to a file of a room that she is not in. Then alice sends
// one, which must be all that reaches the other server.
func (d inspection) foreignFile(ctx context.Context, c *cast, mallory *chatUser, room, mxRoom string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	secrets, err := c.alice.createRoom(ctx, "secrets-"+newID())
	if err != nil {
		return err
	}
	carol, err := d.person(ctx, c.bob.client, "carol"+newID())
	if err != nil {
		return err
	}
	if err := c.alice.command(ctx, secrets, "bridge", "invite "+carol.id); err != nil { // then the bridge is in this room, too
		return fmt.Errorf("/bridge invite %s: %w", carol.id, err)
	}
	stolen, err := c.alice.upload(ctx, secrets, "salaries.txt", []byte("alice 100, bob 90"))
	if err != nil {
		return err
	}
	if err := c.alice.do(ctx, http.MethodPost, "groups.invite", map[string]string{"roomId": room, "userId": mallory.id}, nil); err != nil {
		return err
	}
	link := "/file-upload/" + stolen + "/salaries.txt"
	err = mallory.do(ctx, http.MethodPost, "chat.postMessage", map[string]any{"roomId": room, "text": "look at this", "attachments": []map[string]any{
		{"title": "salaries.txt", "title_link": link, "title_link_download": true, "type": "file"}, {"image_url": link, "image_type": "image/png"},
	}}, nil)
	if err != nil {
		return fmt.Errorf("mallory names the file: %w", err)
	}
	honest := []byte("for everybody in this room")
	if _, err := c.alice.upload(ctx, room, "honest.txt", honest); err != nil {
		return err
	}
	for {
		joined, _, err := c.bob.sync(ctx)
		if err != nil {
			return fmt.Errorf("bob waits for the file: %w", err)
		}
		for _, e := range joined[mxRoom].Timeline.Events {
			if e.Content.URL == "" {
				continue
			}
			data, err := c.bob.download(ctx, e.Content.URL)
			switch {
			case err != nil:
				return fmt.Errorf("the other server does not get %s: %w", e.Content.Body, err)
			case !bytes.Equal(data, honest):
				return fmt.Errorf("bob reads %q: %.60q", e.Content.Body, data)
			}
			return closedMedia(ctx, c.bob.client, e.Content.URL)
		}
	}
}

// closedMedia requests a file of the homeserver at the front door, as a stranger: nobody
// gets media without a name and without a signature.
func closedMedia(ctx context.Context, client *http.Client, uri string) error {
	file := strings.TrimPrefix(uri, "mxc://")
	_, id, _ := strings.Cut(file, "/")
	for path, want := range map[string][]int{
		"/_matrix/media/v3/download/" + file:                           {http.StatusNotFound},
		"/_matrix/media/v3/download/" + file + "/honest.txt":           {http.StatusNotFound},
		"/_matrix/media/r0/download/" + file:                           {http.StatusNotFound},
		"/_matrix/media/v1/download/" + file:                           {http.StatusNotFound},
		"/_matrix/media/v3/thumbnail/" + file + "?width=96&height=96":  {http.StatusNotFound},
		"/_matrix/client/v1/media/download/" + file:                    {http.StatusForbidden, http.StatusNotFound},
		"/_matrix/federation/v1/media/download/" + url.PathEscape(id):  {http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden},
		"/_matrix/federation/v1/media/thumbnail/" + url.PathEscape(id): {http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden},
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, chatURL+path, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("a stranger asks for %s: %w", path, err)
		}
		_ = res.Body.Close()
		if !slices.Contains(want, res.StatusCode) {
			return fmt.Errorf("a stranger asks for %s, which exists: status %d, want one of %v", path, res.StatusCode, want)
		}
	}
	return nil
}

// upload sends a file to a room and returns its ID.
func (c *chatUser) upload(ctx context.Context, room, name string, data []byte) (string, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/v1/rooms.media/"+room, &body)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-User-Id", c.id)
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("Content-Type", w.FormDataContentType())
	res, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		File struct {
			ID string `json:"_id"`
		} `json:"file"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&out); err != nil || out.File.ID == "" {
		return "", fmt.Errorf("upload of %s: %s, %w", name, res.Status, cmpError(err))
	}
	return out.File.ID, c.do(ctx, http.MethodPost, "rooms.mediaConfirm/"+room+"/"+out.File.ID, map[string]string{"msg": ""}, nil)
}

// download gets a file from the user's own server, which fetches it from its origin.
func (m *matrixUser) download(ctx context.Context, uri string) ([]byte, error) {
	return call(ctx, m.client, http.MethodGet, m.base+"/_matrix/client/v1/media/download/"+strings.TrimPrefix(uri, "mxc://"), http.Header{"Authorization": {"Bearer " + m.token}}, nil)
}

// takeOver gives mallory the name and the nickname that the account of a Matrix user will
// have, and has that user write to alice.
func (d inspection) takeOver(ctx context.Context, c *cast, mallory *chatUser, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	mx := "@" + name + ":" + remoteName
	err := mallory.do(ctx, http.MethodPost, "users.updateOwnBasicInfo", map[string]any{"data": map[string]string{"username": name + "_" + remoteName, "nickname": mx}}, nil)
	if err != nil {
		return fmt.Errorf("mallory changes her name: %w", err)
	}
	victim, err := d.person(ctx, c.bob.client, name)
	if err != nil {
		return err
	}
	lobby, err := c.alice.createRoom(ctx, "lobby-"+newID())
	if err != nil {
		return err
	}
	if err := c.alice.command(ctx, lobby, "federation", "dm "+mx); err != nil {
		return fmt.Errorf("/federation dm %s: %w", mx, err)
	}
	mxRoom, err := victim.acceptInvitation(ctx, map[string]bool{})
	if err != nil {
		return err
	}
	const text = "for alice alone"
	if err := victim.send(ctx, mxRoom, newID(), text+" "+name); err != nil {
		return err
	}
	m, err := c.alice.waitFor(ctx, "", text+" "+name)
	if err != nil {
		return err
	}
	if m.User.ID == mallory.id {
		return fmt.Errorf("what %s writes comes from mallory's account", mx)
	}
	var rooms struct {
		Update []struct {
			RID string `json:"rid"`
		} `json:"update"`
	}
	if err := mallory.do(ctx, http.MethodGet, "subscriptions.get", nil, &rooms); err != nil {
		return err
	}
	for _, r := range rooms.Update {
		if r.RID == m.RoomID {
			return fmt.Errorf("mallory is in the direct room of alice and %s", mx)
		}
	}
	if err := mallory.do(ctx, http.MethodGet, "im.messages?roomId="+m.RoomID, nil, nil); err == nil {
		return fmt.Errorf("mallory reads what %s writes to alice", mx)
	}
	return nil
}
