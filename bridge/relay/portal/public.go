package portal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

const (
	// publishEvery is the interval between two checks for channels that were created,
	// renamed or closed.
	publishEvery = 10 * time.Minute
	// maxPublished bounds how many channels are published.
	maxPublished = 500
	// publishedCursor holds the published channels: JSON of published by Matrix room.
	publishedCursor = "published"
)

// PublicChannels publishes on Matrix the public channels that the operator has chosen.
// People find and join them there by alias: always by #rocketchat_name:server, which nobody
// else can have, and by #name:server if the homeserver is the bridge's alone and the name
// is free. They are connected when they are chosen, or when a homeserver requests the alias
// of one that was created since. Its methods are safe for concurrent use.
type PublicChannels struct {
	Store   publicStore
	RC      publicRocketChat
	MX      publicMatrix
	Names   ids.Namespace
	Live    func() config.Live
	Log     *slog.Logger
	Locks   *model.Locks
	Portals *Portals

	chosen chan struct{} // has an element when the operator's choice may have changed
}

// NewPublicChannels completes a PublicChannels whose exported fields are set.
func NewPublicChannels(c *PublicChannels) *PublicChannels {
	c.chosen = make(chan struct{}, 1)
	return c
}

// Run publishes the channels that the operator has chosen, and no others, until ctx ends.
func (c *PublicChannels) Run(ctx context.Context) error {
	for {
		if err := c.Locks.Do("published", func() error { return c.publishAll(ctx) }); err != nil && ctx.Err() == nil {
			c.Log.Warn("the public channels could not be published; the bridge tries again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.chosen:
		case <-time.After(publishEvery):
		}
	}
}

// Look makes Run check the operator's choice now.
func (c *PublicChannels) Look() {
	select {
	case c.chosen <- struct{}{}:
	default: // a check is pending
	}
}

// publishAll publishes every channel that is chosen, and unpublishes all others.
func (c *PublicChannels) publishAll(ctx context.Context) error {
	shown, err := c.shown(ctx)
	if err != nil {
		return err
	}
	wanted := map[ids.RCRoom]model.RCRoomInfo{}
	if len(c.Live().PublicChannels) > 0 {
		err := c.RC.Channels(ctx, func(info model.RCRoomInfo) bool {
			if c.isChosen(info) {
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
		p, ok, err := c.Store.PortalByMX(ctx, room)
		if _, still := wanted[p.RCRoom]; err != nil || ok && still && wanted[p.RCRoom].Slug == shown[room].Name {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, c.unpublish(ctx, room, p, shown))
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		errs = append(errs, c.publish(ctx, wanted[id], shown))
	}
	return errors.Join(errs...)
}

// isChosen reports whether the operator lets Matrix find a channel.
func (c *PublicChannels) isChosen(info model.RCRoomInfo) bool {
	if info.Type != rocketchat.Channel || info.Encrypted || info.Archived || strings.ContainsAny(info.Slug, ": #\t\n") || info.Slug == "" {
		return false
	}
	return slices.ContainsFunc(c.Live().PublicChannels, func(glob string) bool {
		ok, _ := path.Match(glob, info.Slug)
		return ok
	})
}

func (c *PublicChannels) shown(ctx context.Context) (map[ids.MXRoom]published, error) {
	text, err := c.Store.Cursor(ctx, publishedCursor)
	shown := map[ids.MXRoom]published{}
	_ = json.Unmarshal([]byte(text), &shown) // "" at first
	return shown, err
}

func (c *PublicChannels) keepShown(ctx context.Context, shown map[ids.MXRoom]published) error {
	text, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	return c.Store.MoveCursor(ctx, publishedCursor, string(text))
}

// publish connects a channel with Matrix if needed, and makes it public there.
func (c *PublicChannels) publish(ctx context.Context, info model.RCRoomInfo, shown map[ids.MXRoom]published) error {
	var p model.Portal
	err := c.Locks.Do("room "+string(info.ID), func() (err error) {
		p, err = c.Portals.Open(ctx, info.ID, nil, nil)
		return err
	})
	if err != nil {
		return err
	}
	if _, done := shown[p.MXRoom]; done {
		return nil
	}
	// A server that joins while others do may never recover, so the ghosts that
	// are joining go first.
	if err := c.Portals.settle(ctx, model.RCLane(p.RCRoom)); err != nil {
		return err
	}
	aliases := []string{"#" + c.Names.AliasPrefix() + info.Slug + ":" + c.Names.Server}
	if c.Names.Prefix == "" { // the homeserver is the bridge's alone
		aliases = []string{"#" + info.Slug + ":" + c.Names.Server, aliases[0]}
	}
	got, err := c.MX.Publish(ctx, p.MXRoom, p.Reader(c.Names), aliases)
	if err != nil {
		return err
	}
	shown[p.MXRoom] = published{Name: info.Slug, Aliases: got}
	c.Log.Info("a channel was published on Matrix", "rc_room", info.ID, "mx_room", p.MXRoom, "aliases", len(got))
	return c.keepShown(ctx, shown)
}

func (c *PublicChannels) unpublish(ctx context.Context, room ids.MXRoom, p model.Portal, shown map[ids.MXRoom]published) error {
	err := c.MX.Unpublish(ctx, room, p.Reader(c.Names), shown[room].Aliases)
	if model.Ignore(err, model.ErrForbidden, model.ErrNotFound) != nil {
		return err
	}
	delete(shown, room)
	c.Log.Info("a channel is no longer published on Matrix", "mx_room", room)
	return c.keepShown(ctx, shown)
}

// Alias reports whether one of our aliases points to a room, and connects the channel
// that it names if the operator has chosen it: homeservers query an unknown alias when a
// person looks it up.
func (c *PublicChannels) Alias(ctx context.Context, alias string) (bool, error) {
	name, server, ok := strings.Cut(strings.TrimPrefix(alias, "#"), ":")
	if !ok || server != c.Names.Server || len(c.Live().PublicChannels) == 0 {
		return false, nil
	}
	name = strings.TrimPrefix(name, c.Names.AliasPrefix())
	info, ok, err := c.RC.Channel(ctx, name)
	if err != nil || !ok || !c.isChosen(info) {
		return false, err
	}
	found := false
	err = c.Locks.Do("published", func() error {
		shown, err := c.shown(ctx)
		if err != nil || len(shown) >= maxPublished {
			return err
		}
		if err := c.publish(ctx, info, shown); err != nil {
			return err
		}
		for _, s := range shown {
			found = found || slices.Contains(s.Aliases, alias)
		}
		return nil
	})
	return found, err
}

// published is what is stored of a published channel.
type published struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}
