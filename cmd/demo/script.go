package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A script is what one person has done in a room, in order: what the other side must
// show in the end.
type script struct {
	prefix string // of every text
	said   []said
	places map[int]int  // positions of messages by number, if they reached the bridge in another order
	moved  map[int]bool // messages that may be shown in any place; see arrivals.markMoved and followers
	deeds  deeds
}

// said is a message.
type said struct {
	id      string // on the side where it was written
	text    string // as it was last edited
	parent  int    // the number of the message that it answers in a thread, or -1
	root    bool   // it has answers
	reacted bool   // its writer has put a thumb up
	file    bool   // text is its name
	deleted bool
	unheard bool // the bridge's homeserver never received it
	either  bool // it may be shown with or without the reaction
	orphan  bool // no client was told of its parent: it may be shown as an answer to that, or to nothing
	// rewritten is another text that it may be shown with; "" if there is none.
	rewritten string
}

// deeds counts what was done.
type deeds struct{ messages, answers, files, edits, reactions, deletions, moves int }

func (n *deeds) add(o deeds) {
	n.messages += o.messages
	n.answers += o.answers
	n.files += o.files
	n.edits += o.edits
	n.reactions += o.reactions
	n.deletions += o.deletions
	n.moves += o.moves
}

func (n deeds) String() string {
	return fmt.Sprintf("%d messages, %d answers in threads, %d files, %d edits, %d reactions, %d deletions, %d joins and leaves",
		n.messages, n.answers, n.files, n.edits, n.reactions, n.deletions, n.moves)
}

// A writer does what people do in a room. Each action may be retried: one that was done
// already is no error.
type writer interface {
	// write sends text under an ID that the caller chooses, in answer to parent unless
	// that is "", and returns the ID of the message on that side.
	write(ctx context.Context, id, text, parent string) (string, error)
	file(ctx context.Context, id, name string) (string, error)
	edit(ctx context.Context, id, message, text string) error
	react(ctx context.Context, id, message string) error
	remove(ctx context.Context, id, message string) error
}

// act does one thing after the other until over ends, and retries each until it succeeds. It
// waits while the homeserver is far behind.
func act(ctx, over context.Context, behind *lag, s *script, w writer, r *rand.Rand, pause time.Duration) error {
	for {
		select {
		case <-over.Done():
			return ctx.Err()
		case <-time.After(pause/2 + time.Duration(r.Int64N(int64(pause)))):
		}
		behind.wait(over)
		if err := s.next(ctx, w, r); err != nil {
			return err
		}
	}
}

// next chooses what is done and does it.
func (s *script) next(ctx context.Context, w writer, r *rand.Rand) error {
	id := newID()
	try := func(do func() error) error { return insist(ctx, do) }
	old := s.choose(r)
	switch n := r.IntN(100); {
	case old < 0 || n < 54:
		return s.write(ctx, w, id, -1)
	case n < 60:
		return s.upload(ctx, w, id)
	case n < 70:
		return s.write(ctx, w, id, old)
	case n < 82:
		m := &s.said[old]
		if m.file {
			return nil
		}
		text := fmt.Sprintf("%s%d edit %d", s.prefix, old, s.deeds.edits)
		if err := try(func() error { return w.edit(ctx, id, m.id, text) }); err != nil {
			return err
		}
		m.text = text
		s.deeds.edits++
	case n < 93:
		if m := &s.said[old]; !m.reacted {
			if err := try(func() error { return w.react(ctx, id, m.id) }); err != nil {
				return err
			}
			m.reacted = true
			s.deeds.reactions++
		}
	default:
		if m := &s.said[old]; !m.root {
			if err := try(func() error { return w.remove(ctx, id, m.id) }); err != nil {
				return err
			}
			m.deleted = true
			s.deeds.deletions++
		}
	}
	return nil
}

// choose picks a message that is neither deleted nor an answer, or -1.
func (s *script) choose(r *rand.Rand) int {
	var l []int
	for i, m := range s.said {
		if !m.deleted && m.parent < 0 {
			l = append(l, i)
		}
	}
	if len(l) == 0 {
		return -1
	}
	return l[r.IntN(len(l))]
}

func (s *script) write(ctx context.Context, w writer, id string, parent int) error {
	m := said{text: s.prefix + strconv.Itoa(len(s.said)), parent: parent}
	root := ""
	if parent >= 0 {
		root = s.said[parent].id
	}
	err := insist(ctx, func() (err error) {
		m.id, err = w.write(ctx, id, m.text, root)
		return err
	})
	if err != nil {
		return err
	}
	s.said = append(s.said, m)
	if parent < 0 {
		s.deeds.messages++
		return nil
	}
	s.said[parent].root = true
	s.deeds.answers++
	return nil
}

// upload sends a file that is named by its number.
func (s *script) upload(ctx context.Context, w writer, id string) error {
	m := said{text: fmt.Sprintf("%s%d file.txt", s.prefix, len(s.said)), parent: -1, file: true}
	err := insist(ctx, func() (err error) {
		m.id, err = w.file(ctx, id, m.text)
		return err
	})
	if err != nil {
		return err
	}
	s.said = append(s.said, m)
	s.deeds.files++
	return nil
}

// insist tries until it succeeds or ctx ends.
func insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// chatWriter acts in a room of Rocket.Chat.
type chatWriter struct {
	*chatUser
	room string
}

func (w *chatWriter) write(ctx context.Context, id, text, parent string) (string, error) {
	m := map[string]string{"_id": id, "rid": w.room, "msg": text}
	if parent != "" {
		m["tmid"] = parent
	}
	return id, once(w.do(ctx, http.MethodPost, "chat.sendMessage", map[string]any{"message": m}, nil))
}

func (w *chatWriter) edit(ctx context.Context, _, message, text string) error {
	return w.do(ctx, http.MethodPost, "chat.update", map[string]string{"roomId": w.room, "msgId": message, "text": text}, nil)
}

func (w *chatWriter) react(ctx context.Context, _, message string) error {
	return w.do(ctx, http.MethodPost, "chat.react", map[string]any{"messageId": message, "emoji": thumb, "shouldReact": true}, nil)
}

func (w *chatWriter) remove(ctx context.Context, _, message string) error {
	err := w.do(ctx, http.MethodPost, "chat.delete", map[string]string{"roomId": w.room, "msgId": message}, nil)
	if err != nil && strings.Contains(err.Error(), "No message found") {
		return nil // the answer to the first attempt was lost
	}
	return err
}

// thumb is :thumbsup: in Rocket.Chat; on Matrix it is the character.
const thumb = ":thumbsup:"

// matrixWriter acts in a room of Matrix. The server recognizes a repeated request by its
// transaction ID.
type matrixWriter struct {
	*matrixUser
	room     string
	timeline *arrivals // of the user
	lag      *lag      // is told of what is sent
}

func (w *matrixWriter) put(ctx context.Context, what, id string, content any) (string, error) {
	var out struct {
		Event string `json:"event_id"`
	}
	err := w.do(ctx, http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(w.room)+"/"+what+"/"+id, content, &out)
	if err == nil {
		w.lag.send(out.Event, time.Now())
	}
	return out.Event, err
}

func (w *matrixWriter) write(ctx context.Context, id, text, parent string) (string, error) {
	content := map[string]any{"msgtype": "m.text", "body": text}
	if parent != "" {
		content["m.relates_to"] = map[string]any{"rel_type": "m.thread", "event_id": parent}
	}
	return w.put(ctx, "send/m.room.message", id, content)
}

func (w *matrixWriter) edit(ctx context.Context, id, message, text string) error {
	_, err := w.put(ctx, "send/m.room.message", id, map[string]any{
		"msgtype": "m.text", "body": "* " + text,
		"m.new_content": map[string]any{"msgtype": "m.text", "body": text},
		"m.relates_to":  map[string]any{"rel_type": "m.replace", "event_id": message},
	})
	return err
}

func (w *matrixWriter) react(ctx context.Context, id, message string) error {
	_, err := w.put(ctx, "send/m.reaction", id, map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": message, "key": "👍"}})
	return err
}

func (w *matrixWriter) remove(ctx context.Context, id, message string) error {
	_, err := w.put(ctx, "redact/"+url.PathEscape(message), id, map[string]any{})
	return err
}
