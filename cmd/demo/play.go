package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// cast are the people of the conversation.
type cast struct {
	alice *chatUser
	bob   *matrixUser
	rooms map[string]bool // the rooms bob was invited to before
}

const (
	bobPuppet = "bob_" + remoteName
	bobShown  = "Bob Builder (" + remoteName + ")"
	aliceMX   = "@alice:" + serverName
	patience  = 90 * time.Second
)

// enter signs everybody in, making their accounts as needed.
func (d *demo) enter(ctx context.Context, username, name string, roles []string) (*cast, *chatUser, error) {
	client := clientReading(d.path("ca.pem"))
	password, err := d.adminPassword()
	if err != nil {
		return nil, nil, err
	}
	admin, err := loginChat(ctx, client, chatURL, "admin", password)
	if err != nil {
		return nil, nil, fmt.Errorf("sign in as the administrator: %w", err)
	}
	alice, err := d.ensureUser(ctx, admin, username, name, roles)
	if err != nil {
		return nil, nil, fmt.Errorf("an account for %s: %w", username, err)
	}
	bob, err := d.bob(ctx, client)
	if err != nil {
		return nil, nil, err
	}
	c := &cast{alice: alice, bob: bob, rooms: map[string]bool{}}
	joined, invited, err := bob.sync(ctx)
	for room := range joined {
		c.rooms[room] = true
	}
	for room := range invited {
		c.rooms[room] = true
	}
	return c, admin, err
}

// bob signs in on the other server, where he gets an account as needed.
func (d *demo) bob(ctx context.Context, client *http.Client) (*matrixUser, error) {
	password, err := d.secret("bob_password", 0)
	if err != nil {
		return nil, err
	}
	bob, err := loginMatrix(ctx, client, "https://"+remoteHost, "bob", password)
	if err == nil {
		return bob, nil
	}
	if bob, err = d.person(ctx, client, "bob"); err != nil {
		return nil, err
	}
	return bob, bob.do(ctx, http.MethodPut, "/_matrix/client/v3/profile/"+url.PathEscape(bob.id)+"/displayname", map[string]string{"displayname": "Bob Builder"}, nil)
}

// person signs in on the other server, where they get an account as needed.
func (d *demo) person(ctx context.Context, client *http.Client, name string) (*matrixUser, error) {
	password, err := d.secret(name+"_password", 0)
	if err != nil {
		return nil, err
	}
	if m, err := loginMatrix(ctx, client, "https://"+remoteHost, name, password); err == nil {
		return m, nil
	}
	shared, err := d.secret("elsewhere/registration_secret", 0)
	if err != nil {
		return nil, err
	}
	if err := registerMatrix(ctx, "http://"+remoteHS+":8008", shared, name, password); err != nil {
		return nil, fmt.Errorf("an account for %s: %w", name, err)
	}
	return loginMatrix(ctx, client, "https://"+remoteHost, name, password)
}

// play is the conversation: a room, five messages each way, a direct message
// each way.
func (d *demo) play(ctx context.Context, s *summary, begin time.Time) error {
	c, admin, err := d.enter(ctx, "alice", "Alice Cooper", []string{"user"})
	if err != nil {
		return err
	}
	if err := c.alice.listen(ctx); err != nil {
		return err
	}
	defer func() { _ = c.alice.ws.CloseNow() }()
	stamp := time.Now().Format("150405")
	room, mxRoom, err := c.meet(ctx, "demo-"+stamp)
	if err != nil {
		return err
	}
	name := "#demo-" + stamp
	for i := range 5 {
		l, err := c.toChat(ctx, room, mxRoom, fmt.Sprintf("Hello Alice, this is message %d of %s", i+1, stamp))
		if err := s.add(name, c.bob.id, l, err); err != nil {
			return err
		}
		if i == 0 {
			s.Timings.FirstMessage = seconds(begin)
		}
		l, err = c.toMatrix(ctx, room, mxRoom, fmt.Sprintf("Hello Bob, this is answer %d of %s", i+1, stamp))
		if err := s.add(name, "alice", l, err); err != nil {
			return err
		}
	}
	if err := d.direct(ctx, c, s, stamp); err != nil {
		return err
	}
	s.Bridge, err = meter{d}.measure(ctx, admin)
	return err
}

// meet makes a room in Rocket.Chat and brings bob into it.
func (c *cast) meet(ctx context.Context, name string) (room, mxRoom string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if room, err = c.alice.createRoom(ctx, name); err != nil {
		return "", "", err
	}
	if err := c.alice.command(ctx, room, "bridge", "invite "+c.bob.id); err != nil {
		return "", "", fmt.Errorf("/bridge invite %s: %w", c.bob.id, err)
	}
	if mxRoom, err = c.bob.acceptInvitation(ctx, c.rooms); err != nil {
		return "", "", fmt.Errorf("the invitation: %w", err)
	}
	return room, mxRoom, c.alice.waitForMember(ctx, room, bobPuppet)
}

// warmUp sends messages until the other server shows one. A server that has just joined a
// room over federation can miss what is said at that moment; that is between the two
// servers, and the bridge cannot see it.
func (c *cast) warmUp(ctx context.Context, room, mxRoom string) error {
	for n := 1; n <= 10; n++ {
		text := fmt.Sprint("warming up ", n)
		if err := c.alice.say(ctx, room, newID(), text); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.bob.waitFor(wait, mxRoom, text)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s does not show what is said in %s", remoteName, mxRoom)
}

// direct sends a direct message each way. The room may exist from an earlier run.
func (d *demo) direct(ctx context.Context, c *cast, s *summary, stamp string) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	room, mxRoom, err := c.directRoom(wait, d)
	if err != nil {
		return fmt.Errorf("the direct message: %w", err)
	}
	l, err := c.toMatrix(ctx, room, mxRoom, "Just between us, "+stamp)
	if err := s.add("direct", "alice", l, err); err != nil {
		return err
	}
	l, err = c.toChat(ctx, room, mxRoom, "Between us it is, "+stamp)
	return s.add("direct", c.bob.id, l, err)
}

// directRoom opens the direct conversation, or finds it.
func (c *cast) directRoom(ctx context.Context, d *demo) (room, mxRoom string, err error) {
	rooms, err := c.alice.directRooms(ctx)
	if err != nil {
		return "", "", err
	}
	if old, err := os.ReadFile(d.path("direct_room")); err == nil {
		room, mxRoom, _ = strings.Cut(strings.TrimSpace(string(old)), " ")
		if rooms[room] && c.rooms[mxRoom] {
			return room, mxRoom, nil
		}
	}
	lobby, err := c.alice.createRoom(ctx, "lobby-"+strconv.FormatInt(time.Now().UnixMilli(), 36))
	if err != nil {
		return "", "", err
	}
	if err := c.alice.command(ctx, lobby, "federation", "dm "+c.bob.id); err != nil {
		return "", "", err
	}
	if mxRoom, err = c.bob.acceptInvitation(ctx, c.rooms); err != nil {
		return "", "", err
	}
	if rooms, err = c.alice.directRooms(ctx); err != nil {
		return "", "", err
	}
	for id := range rooms {
		room = id
	}
	if room == "" {
		return "", "", fmt.Errorf("alice has no direct room with bob")
	}
	return room, mxRoom, d.write("direct_room", []byte(room+" "+mxRoom+"\n"), 0o644)
}

// toMatrix sends a message from alice and waits until bob sees it.
func (c *cast) toMatrix(ctx context.Context, room, mxRoom, text string) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := c.alice.say(ctx, room, newID(), text); err != nil {
		return line{}, err
	}
	start := c.alice.began
	e, err := c.bob.waitFor(ctx, mxRoom, text)
	if err != nil {
		return line{}, fmt.Errorf("%q was not seen on Matrix: %w", text, err)
	}
	l := line{SentVia: "rocketchat", Body: text, DelayMS: milliseconds(time.Since(start))}
	l.SeenAs = e.Sender
	if name := c.bob.displayName(ctx, mxRoom, e.Sender); name != "" {
		l.SeenAs = name + " (" + e.Sender + ")"
	}
	if e.Sender != aliceMX {
		return l, fmt.Errorf("%q was sent by %s, want %s", text, e.Sender, aliceMX)
	}
	return l, nil
}

// toChat sends a message from bob and waits until alice sees it.
func (c *cast) toChat(ctx context.Context, room, mxRoom, text string) (line, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	if err := c.bob.send(ctx, mxRoom, newID(), text); err != nil {
		return line{}, err
	}
	m, err := c.alice.waitFor(ctx, room, text)
	if err != nil {
		return line{}, err
	}
	l := line{SentVia: "matrix", Body: text, DelayMS: milliseconds(time.Since(start)), SeenAs: m.User.Name + " (" + m.User.Username + ")"}
	if m.User.Username != bobPuppet || m.User.Name != bobShown {
		return l, fmt.Errorf("%q was sent by %s, want %s (%s)", text, l.SeenAs, bobShown, bobPuppet)
	}
	return l, nil
}

func (s *summary) add(room, from string, l line, err error) error {
	if err != nil {
		return err
	}
	l.N, l.Room, l.From = len(s.Transcript)+1, room, from
	s.Transcript = append(s.Transcript, l)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report prints the transcript and the figures.
func (d *demo) report(s summary) {
	d.say("\n==> the conversation, as the other side saw it")
	for _, l := range s.Transcript {
		d.say("%3d  %-12s %-10s -> %-36s %s  (%.0f ms)", l.N, l.Room, l.SentVia, l.SeenAs, l.Body, l.DelayMS)
	}
	d.say("\nset-up %.1f s, appliance up %.1f s, first message after %.1f s, appliance up on the unchanged host %.2f s",
		s.Timings.Setup, s.Timings.Up, s.Timings.FirstMessage, s.Timings.UpUnchanged)
	d.say("bridge: %.1f MB; Rocket.Chat to Matrix p50 %.1f ms, p99 %.1f ms; straight to the homeserver p50 %.1f ms, p99 %.1f ms",
		float64(s.Bridge.RSS)/1e6, s.Bridge.DelayP50, s.Bridge.DelayP99, s.Bridge.DirectP50, s.Bridge.DirectP99)
	d.say("\nIt is all still running. Rocket.Chat: %s (administrator %s, password in %s)", s.ChatURL, s.Admin.Username, s.Admin.PasswordFile)
	d.say("Everything learnt is in %s. Remove it all with: make demo-down", d.path("summary.json"))
}
