package relay

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

// Channels that the operator has chosen are found and joined from Matrix by alias:
// #name:server where the homeserver is the bridge's alone and the name is free, and
// #rocketchat_name:server always. They are connected when they are chosen, or when
// somebody asks for the alias of one that has come since.

const (
	// aliasPrefix begins the aliases that nobody else can have.
	aliasPrefix = "rocketchat_"
	// publishEvery is between two looks for channels that were made, renamed or
	// closed.
	publishEvery = 10 * time.Minute
	// maxPublished bounds how many channels are shown.
	maxPublished = 500
	// publishedCursor holds what is shown: JSON of published by Matrix room.
	publishedCursor = "published"
)

// published is what is kept of a channel that Matrix is shown.
type published struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

// MatrixPublic is the part of Matrix about rooms that anybody may find.
type MatrixPublic interface {
	// Publish lets anybody find a room, by those aliases that are free and in the
	// homeserver's list, and join it. It returns the aliases that it has got.
	Publish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) ([]string, error)
	// Unpublish takes that back. Who is in the room stays.
	Unpublish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) error
}

// RocketChatPublic is the part of RocketChat about public channels.
type RocketChatPublic interface {
	// Channels hands over the public channels until each wants no more.
	Channels(ctx context.Context, each func(RCRoomInfo) (more bool)) error
	// Channel returns a public channel by its name.
	Channel(ctx context.Context, name string) (info RCRoomInfo, ok bool, err error)
}

// runPublic keeps what Matrix is shown as the operator has chosen, until ctx ends.
func (r *Relay) runPublic(ctx context.Context) error {
	for {
		if err := r.alone("published", func() error { return r.publishAll(ctx) }); err != nil && ctx.Err() == nil {
			r.Log.Warn("the public channels could not be shown on Matrix as they are; the bridge tries again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.chosen:
		case <-time.After(publishEvery):
		}
	}
}

// choose makes runPublic look at what the operator has chosen now.
func (r *Relay) choose() {
	select {
	case r.chosen <- struct{}{}:
	default: // it will
	}
}

// publishAll shows every channel that is chosen, and none that is not.
func (r *Relay) publishAll(ctx context.Context) error {
	shown, err := r.shown(ctx)
	if err != nil {
		return err
	}
	wanted := map[ids.RCRoom]RCRoomInfo{}
	if len(r.Live().PublicChannels) > 0 {
		err := r.RC.Channels(ctx, func(info RCRoomInfo) bool {
			if r.isChosen(info) {
				wanted[info.ID] = info
			}
			return len(wanted) < maxPublished
		})
		if err != nil {
			return err
		}
	}
	var errs []error
	for _, room := range slices.Sorted(maps.Keys(shown)) {
		p, ok, err := r.Store.PortalByMX(ctx, room)
		if _, still := wanted[p.RCRoom]; err != nil || ok && still && wanted[p.RCRoom].Slug == shown[room].Name {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, r.unpublish(ctx, room, p, shown))
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		errs = append(errs, r.publish(ctx, wanted[id], shown))
	}
	return errors.Join(errs...)
}

// isChosen reports whether the operator lets Matrix find a channel.
func (r *Relay) isChosen(info RCRoomInfo) bool {
	if info.Type != rocketchat.Channel || info.Encrypted || info.Archived || strings.ContainsAny(info.Slug, ": #\t\n") || info.Slug == "" {
		return false
	}
	return slices.ContainsFunc(r.Live().PublicChannels, func(glob string) bool {
		ok, _ := path.Match(glob, info.Slug)
		return ok
	})
}

func (r *Relay) shown(ctx context.Context) (map[ids.MXRoom]published, error) {
	text, err := r.Store.Cursor(ctx, publishedCursor)
	shown := map[ids.MXRoom]published{}
	_ = json.Unmarshal([]byte(text), &shown) // "" at first
	return shown, err
}

func (r *Relay) keepShown(ctx context.Context, shown map[ids.MXRoom]published) error {
	text, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	return r.Store.MoveCursor(ctx, publishedCursor, string(text))
}

// publish connects a channel with Matrix, if it is not yet, and shows it there.
func (r *Relay) publish(ctx context.Context, info RCRoomInfo, shown map[ids.MXRoom]published) error {
	var p Portal
	err := r.alone("room "+string(info.ID), func() (err error) {
		p, err = r.bridgeRoom(ctx, info.ID, nil, nil)
		return err
	})
	if err != nil {
		return err
	}
	if _, done := shown[p.MXRoom]; done {
		return nil
	}
	// A server that joins while others do may not get over it: first those who are
	// here already.
	if err := r.settle(ctx, RCLane(p.RCRoom)); err != nil {
		return err
	}
	aliases := []string{"#" + aliasPrefix + info.Slug + ":" + r.Names.Server}
	if r.Names.Prefix == "" { // nobody else has names here
		aliases = []string{"#" + info.Slug + ":" + r.Names.Server, aliases[0]}
	}
	got, err := r.MX.Publish(ctx, p.MXRoom, r.reader(p), aliases)
	if err != nil {
		return err
	}
	shown[p.MXRoom] = published{Name: info.Slug, Aliases: got}
	r.Log.Info("a channel can be found from Matrix", "rc_room", info.ID, "mx_room", p.MXRoom, "aliases", len(got))
	return r.keepShown(ctx, shown)
}

func (r *Relay) unpublish(ctx context.Context, room ids.MXRoom, p Portal, shown map[ids.MXRoom]published) error {
	err := r.MX.Unpublish(ctx, room, r.reader(p), shown[room].Aliases)
	if ignore(err, ErrForbidden, ErrNotFound) != nil {
		return err
	}
	delete(shown, room)
	r.Log.Info("a channel can no longer be found from Matrix", "mx_room", room)
	return r.keepShown(ctx, shown)
}

// Alias reports whether an alias of ours leads to a room, and connects the channel
// that it names when the operator has chosen it: homeservers ask when somebody looks
// for an alias that they do not know.
func (r *Relay) Alias(ctx context.Context, alias string) (bool, error) {
	name, server, ok := strings.Cut(strings.TrimPrefix(alias, "#"), ":")
	if !ok || server != r.Names.Server || len(r.Live().PublicChannels) == 0 {
		return false, nil
	}
	name = strings.TrimPrefix(name, aliasPrefix)
	info, ok, err := r.RC.Channel(ctx, name)
	if err != nil || !ok || !r.isChosen(info) {
		return false, err
	}
	found := false
	err = r.alone("published", func() error {
		shown, err := r.shown(ctx)
		if err != nil || len(shown) >= maxPublished {
			return err
		}
		if err := r.publish(ctx, info, shown); err != nil {
			return err
		}
		for _, s := range shown {
			found = found || slices.Contains(s.Aliases, alias)
		}
		return nil
	})
	return found, err
}
