package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/mxside"
)

// burst is a flood of messages each way with a fault in the middle.
type burst struct {
	messages int
	kill     string // service
	reload   bool
}

// bursts sends floods of messages.
type bursts struct{ *demo }

// burst checks that every message is on the other side exactly once and in
// order, whatever happens in between.
func (d bursts) burst(ctx context.Context, b burst) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c, _, err := d.enter(ctx, "meter", "Meter", []string{"user", "bot"}) // bot: no limit on requests
	if err != nil {
		return err
	}
	room, mxRoom, err := c.meet(ctx, "burst-"+strconv.FormatInt(time.Now().UnixMilli(), 36))
	if err != nil {
		return err
	}
	if err := c.warmUp(ctx, room, mxRoom); err != nil {
		return err
	}
	witness := &matrixWriter{matrixUser: inside(d.demo), room: mxRoom, timeline: &arrivals{at: map[string]int{}}}
	watching, rest := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { witness.timeline.watch(watching, *witness.matrixUser) })
	defer func() { rest(); watched.Wait() }()
	start := time.Now()
	var sent atomic.Int64
	var halfway sync.Once
	half := make(chan struct{})
	count := func() {
		if sent.Add(1) >= int64(b.messages) { // half of the total of both ways
			halfway.Do(func() { close(half) })
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return flood(gctx, 0, b.messages, count, func(id, text string) error { return once(c.alice.say(gctx, room, id, "r "+text)) })
	})
	g.Go(func() error {
		return flood(gctx, 0, b.messages, count, d.paced(gctx, c, room, func(id, text string) error { return c.bob.send(gctx, mxRoom, id, "m "+text) }))
	})
	g.Go(func() error {
		select {
		case <-half:
			return d.disturb(gctx, b)
		case <-gctx.Done():
			return gctx.Err()
		}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	taken := all(b.messages)
	if b.kill == "homeserver" {
		taken = func() (int, error) {
			inHome, err := witness.shown(ctx, "m ")
			return max(len(inHome), b.messages-b.messages/withheldPart), err
		}
	}
	inMX, inRC, err := c.settled(ctx, room, mxRoom, b.messages, taken)
	if err != nil {
		return err
	}
	inHome, err := witness.shown(ctx, "m ")
	if err != nil {
		return err
	}
	if err := errors.Join(inOrder("Matrix", "r ", inMX, b.messages), asTold(inRC, inHome, b.messages)); err != nil {
		return err
	}
	if n := b.messages - len(inHome); n > 0 {
		d.say("(%s, when it was back, showed %d of what bob said to no client; Rocket.Chat shows %d of %d)", d.homeserver, n, len(inRC), b.messages)
	}
	if told := textsOf(inHome); inOrder("", "m ", told, b.messages) != nil {
		d.say("(%s was told of what bob said in another order than his, or showed it so; Rocket.Chat has either)", d.homeserver)
	}
	what := "nothing disturbed"
	if b.kill != "" {
		what = "kill -9 of " + b.kill
	}
	if b.reload {
		what = "hot reloads"
	}
	d.say("burst of %d messages each way, %s: every message exactly once and in order on both sides, %.1f s", b.messages, what, seconds(start))
	return nil
}

// once ignores the refusal of a message that exists already: the answer to the first
// attempt was lost.
func once(err error) error {
	if err != nil && strings.Contains(err.Error(), "400 Bad Request") {
		return nil
	}
	return err
}

// flood sends n messages one after the other, numbered from first, and retries each until
// it succeeds.
func flood(ctx context.Context, first, n int, count func(), send func(id, text string) error) error {
	for i := range n {
		for id := newID(); ; {
			if err := send(id, strconv.Itoa(first+i)); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		count()
	}
	return nil
}

// paced wraps send for a user of the other server so that our homeserver can keep up:
// with one that loses the order of many events, it waits from time to time until
// Rocket.Chat shows what was sent before.
func (d *demo) paced(ctx context.Context, c *cast, room string, send func(id, text string) error) func(id, text string) error {
	traits, err := mxside.TraitsOf(d.homeserver)
	if err != nil || traits.FollowsAtMost == 0 {
		return send
	}
	pace := traits.FollowsAtMost / 2
	d.say("(%s loses the order when over %d messages of another server wait: bob waits after every %d)", d.homeserver, traits.FollowsAtMost, pace)
	sent := 0
	return func(id, text string) error {
		if err := send(id, text); err != nil {
			return err
		}
		if sent++; sent%pace == 0 {
			c.awaitShown(ctx, room, "m "+text)
		}
		return nil
	}
}

// awaitShown waits until Rocket.Chat shows what bob said, or ctx ends.
func (c *cast) awaitShown(ctx context.Context, room, text string) {
	for {
		if shown, err := c.alice.newest(ctx, room, bobPuppet); err == nil && shown == text {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// newest returns the last text that a user wrote in a room.
func (c *chatUser) newest(ctx context.Context, room, username string) (string, error) {
	for offset := 0; ; {
		page, err := c.page(ctx, room, offset)
		if err != nil || len(page) == 0 {
			return "", err
		}
		for _, m := range page {
			if m.Type == "" && m.User.Username == username {
				return m.Text, nil
			}
		}
		offset += len(page)
	}
}

// page returns some messages of a room, newest first.
func (c *chatUser) page(ctx context.Context, room string, offset int) ([]roomMessage, error) {
	var out struct {
		Messages []roomMessage `json:"messages"`
	}
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("groups.history?roomId=%s&count=100&offset=%d", room, offset), nil, &out)
	return out.Messages, err
}

func (d bursts) disturb(ctx context.Context, b burst) error {
	if b.kill != "" {
		pid, err := meter(d).pid(ctx, b.kill)
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill -9 of %s: %w", b.kill, err)
		}
	}
	if b.reload {
		return d.reloads(ctx)
	}
	return nil
}

// reloads edits bridge.yaml as an operator would: a live key, a file that is
// broken, and back.
func (d bursts) reloads(ctx context.Context) error {
	file := d.path("install/config/bridge/bridge.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Contains(good, []byte("log_level: info")) {
		return errors.New("bridge.yaml has no log_level: info to change")
	}
	for _, text := range [][]byte{
		bytes.Replace(good, []byte("log_level: info"), []byte("log_level: debug"), 1),
		append(bytes.Clone(good), "colour: red\n"...),
		bytes.Replace(good, []byte("log_level: info"), []byte("log_level: warn"), 1),
		good,
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil { // in place, as most editors do
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(700 * time.Millisecond):
		}
	}
	return nil
}

// A homeserver that was killed may reject what another one sends it afterwards, as
// Dendrite (0.15) does when it cannot work out the state of the room before an event
// ("create event has different roomID"). It shows such events to no client, nor to the
// bridge. withheldPart is the part of all messages that may be missing for that reason,
// and withheldAfter how long the homeserver has to show them.
const (
	withheldPart  = 10 // one in so many
	withheldAfter = time.Minute
)

// takenBackIn is how long the bridge has to redact the second copy of a message, which a
// Dendrite that was stopped while processing the message shows minutes later, or when it
// is restored: docs/reliability.md.
const takenBackIn = 30 * time.Second

// all is for a homeserver that accepts all of n messages.
func all(n int) func() (int, error) { return func() (int, error) { return n, nil } }

// settled waits until both sides have as many messages as were sent, or Rocket.Chat as
// many as our homeserver accepted, and a little longer, in which a duplicate would
// arrive. A duplicate on Matrix must be redacted.
func (c *cast) settled(ctx context.Context, room, mxRoom string, n int, taken func() (int, error)) (inMX, inRC []string, err error) {
	complete, begun := 0, time.Now()
	var doubled time.Time // since when Matrix has more than were sent
	for complete < 10 {
		// A server that queries one that was just killed may respond with an error.
		if inMX, err = c.bob.timeline(ctx, mxRoom, "@meter:"+serverName); err == nil {
			inMX = slices.DeleteFunc(inMX, func(text string) bool { return strings.HasPrefix(text, "warming up ") })
			inRC, err = c.alice.history(ctx, room, bobPuppet)
		}
		want := n
		if err == nil && len(inRC) < n && time.Since(begun) > withheldAfter {
			want, err = taken()
		}
		switch {
		case err != nil || len(inMX) < n || len(inRC) < want:
		case len(inMX) == n:
			complete++
			doubled = time.Time{}
		case doubled.IsZero():
			complete, doubled = 0, time.Now()
		case time.Since(doubled) > takenBackIn:
			return inMX, inRC, nil
		}
		select {
		case <-ctx.Done():
			return inMX, inRC, fmt.Errorf("%d of %d on Matrix, %d of %d in Rocket.Chat: %w", len(inMX), n, len(inRC), n, errors.Join(ctx.Err(), err))
		case <-time.After(500 * time.Millisecond):
		}
	}
	return inMX, inRC, nil
}

// history returns the texts that a user wrote in a room, oldest first.
func (c *chatUser) history(ctx context.Context, room, username string) ([]string, error) {
	var all []string
	for offset := 0; ; {
		page, err := c.page(ctx, room, offset)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			if m.Type == "" && m.User.Username == username {
				all = append([]string{m.Text}, all...)
			}
		}
		if offset += len(page); len(page) == 0 {
			return all, nil
		}
	}
}

// asTold checks that Rocket.Chat has those of bob's n messages that our homeserver showed, each
// once, in his order or in the order in which they were shown: one that was killed may receive
// the last ones first from the other server. Further messages that the bridge found are welcome.
func asTold(inRC []string, inHome []shown, n int) error {
	if len(inHome) < n-n/withheldPart {
		return fmt.Errorf("the homeserver has shown %d of %d messages", len(inHome), n)
	}
	s := &script{prefix: "m "}
	for i := range n {
		s.said = append(s.said, said{text: "m " + strconv.Itoa(i), parent: -1})
	}
	var got []shown
	for place, text := range inRC {
		if i, ok := number(text, "m "); ok {
			got = append(got, shown{id: strconv.Itoa(place), number: i, text: text})
		}
	}
	told := s.told(inHome)
	if v := told.judge(got, ""); !v.fine() {
		return fmt.Errorf("of %d messages the homeserver has shown %d and Rocket.Chat %d: %s", n, len(inHome), len(got), v.String())
	}
	return nil
}

func textsOf(list []shown) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.text)
	}
	return out
}

func inOrder(side, prefix string, got []string, n int) error {
	for i := range max(n, len(got)) {
		if i >= n || i >= len(got) || got[i] != prefix+strconv.Itoa(i) {
			return fmt.Errorf("%s has %d of %d messages; the first that is wrong is number %d: %q", side, len(got), n, i, got[max(0, min(i, len(got))-2):min(len(got), i+3)])
		}
	}
	return nil
}
