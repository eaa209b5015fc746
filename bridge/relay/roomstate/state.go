// Package roomstate reads and sets the state of a Matrix room: its name, topic and
// picture (state.go), its pins (pins.go), and its power levels (powers.go).
package roomstate

import (
	"context"
	"encoding/json"
	"errors"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/transfer"
)

// State reads and sets the state of a Matrix room: its name, picture, pins and power levels.
type State struct {
	Store    Store
	RC       RocketChat
	MX       Matrix
	Joined   *people.Joined
	Names    ids.Namespace
	Pictures *people.Pictures
	People   *people.People
}

// Set sends a state event as the user who made the change, or, if that user may not, as
// the reader of the portal.
func (s *State) Set(ctx context.Context, p model.Portal, as ids.MXUser, kind string, content any) error {
	err := s.Joined.Ensure(ctx, p, as)
	if err == nil {
		err = s.MX.SetState(ctx, p.MXRoom, as, kind, "", content)
	}
	if errors.Is(err, model.ErrForbidden) && as != p.Reader(s.Names) {
		err = s.MX.SetState(ctx, p.MXRoom, p.Reader(s.Names), kind, "", content)
	}
	return err
}

// SetText sets a state event that holds a single text, unless it already holds that text.
func (s *State) SetText(ctx context.Context, p model.Portal, as ids.MXUser, kind, key, text string) error {
	now, _, err := s.MX.State(ctx, p.MXRoom, p.Reader(s.Names), kind, "")
	if err != nil || convert.StateText(now, key) == text {
		return err
	}
	return s.Set(ctx, p, as, kind, map[string]string{key: text})
}

// SetPicture gives a Matrix room the picture of the Rocket.Chat room.
func (s *State) SetPicture(ctx context.Context, p model.Portal, as ids.MXUser, info model.RCRoomInfo) error {
	fetch := func() ([]byte, error) { return s.RC.RoomAvatar(ctx, p.RCRoom, transfer.MaxAvatar) }
	return s.Pictures.Copy(ctx, as, "avatar "+string(p.MXRoom), info.Avatar, fetch, func(mxc string) error {
		return s.Set(ctx, p, as, model.StateAvatar, map[string]string{"url": mxc})
	})
}

// Title returns the name of a Matrix room.
func (s *State) Title(ctx context.Context, room ids.MXRoom, reader ids.MXUser, otherwise string) (string, error) {
	content, ok, err := s.MX.State(ctx, room, reader, model.StateName, "")
	if err != nil || !ok {
		return otherwise, model.Ignore(err, model.ErrNotFound, model.ErrForbidden)
	}
	var c struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(content, &c) // content of another type has no name
	return convert.Name(c.Name, otherwise), nil
}

// Label returns what to call a room in a sentence.
func Label(info model.RCRoomInfo) string {
	if info.Title == "" {
		return "the room"
	}
	return "“" + convert.Name(info.Title, "the room") + "”"
}
