package mxside

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// directory is where people find rooms: lists of public rooms, and aliases.
type directory struct {
	*client
	rooms *rooms
}

// PublicRooms implements relay.Matrix: POST /publicRooms.
func (d *directory) PublicRooms(ctx context.Context, server, words string, limit int) ([]model.PublicRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := d.as(d.bot())
	query := map[string]string{}
	if server != "" && server != d.names.Server {
		query["server"] = server
	}
	body := map[string]any{"limit": limit}
	if words != "" {
		body["filter"] = map[string]string{"generic_search_term": words}
	}
	var out struct {
		Chunk []struct {
			Room    ids.MXRoom `json:"room_id"`
			Alias   string     `json:"canonical_alias"`
			Name    string     `json:"name"`
			Topic   string     `json:"topic"`
			Members int        `json:"num_joined_members"`
		} `json:"chunk"`
	}
	_, err := c.MakeRequest(ctx, http.MethodPost, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "publicRooms"}, query), body, &out)
	if err != nil {
		return nil, side(err)
	}
	var rooms []model.PublicRoom
	for _, r := range out.Chunk {
		rooms = append(rooms, model.PublicRoom{Room: r.Room, Alias: r.Alias, Name: r.Name, Topic: r.Topic, Members: r.Members})
	}
	return rooms[:min(len(rooms), limit)], nil
}

// Publish implements relay.Matrix: PUT /directory/room/{alias}, the room's
// m.room.canonical_alias and m.room.join_rules, and PUT /directory/list/room/{room}.
func (d *directory) Publish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var got []string
	for _, alias := range aliases {
		ok, err := d.takeAlias(ctx, room, alias)
		if err != nil {
			return nil, err
		}
		if ok {
			got = append(got, alias)
		}
	}
	if len(got) == 0 {
		return nil, fmt.Errorf("%w: every alias of the room belongs to another one", model.ErrRefused)
	}
	canonical := map[string]any{"alias": got[0], "alt_aliases": append([]string{}, got[1:]...)}
	if err := d.rooms.SetState(ctx, room, as, "m.room.canonical_alias", "", canonical); err != nil {
		return nil, err
	}
	if err := d.rooms.SetState(ctx, room, as, "m.room.join_rules", "", map[string]string{"join_rule": "public"}); err != nil {
		return nil, err
	}
	err := d.setListed(ctx, room, as, "public")
	if errors.Is(err, model.ErrForbidden) {
		d.log.Warn("the homeserver does not let the bridge list a channel; it can be joined by its alias only", "mx_room", room, "err", err,
			"hint", "Synapse: allow the bridge's user in room_list_publication_rules of homeserver.yaml")
		err = nil
	}
	return got, err
}

// takeAlias makes an alias point to a room. ok is false if it belongs to another room.
func (d *directory) takeAlias(ctx context.Context, room ids.MXRoom, alias string) (ok bool, err error) {
	c := d.as(d.bot())
	address := c.BuildClientURL("v3", "directory", "room", alias)
	var now struct {
		Room ids.MXRoom `json:"room_id"`
	}
	_, err = c.MakeRequest(ctx, http.MethodPut, address, map[string]any{"room_id": room}, nil)
	if err == nil {
		return true, nil
	}
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && he.Response != nil && he.Response.StatusCode == http.StatusConflict {
		_, err = c.MakeRequest(ctx, http.MethodGet, address, nil, &now)
		return err == nil && now.Room == room, side(err)
	}
	if err = side(err); errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrForbidden) {
		d.log.Warn("the homeserver refuses an alias to the bridge; its registration needs namespaces.aliases", "alias", alias, "err", err,
			"hint", "run: appliance up; with a homeserver of your own: appliance attach")
		return false, nil
	}
	return false, err
}

// setListed adds a room to the homeserver's public list, or removes it.
func (d *directory) setListed(ctx context.Context, room ids.MXRoom, as ids.MXUser, visibility string) error {
	c := d.as(as)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "directory", "list", "room", room), map[string]string{"visibility": visibility}, nil)
	return side(err)
}

// Unpublish implements relay.Matrix.
func (d *directory) Unpublish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := d.as(d.bot())
	for _, alias := range aliases {
		_, err := c.MakeRequest(ctx, http.MethodDelete, c.BuildClientURL("v3", "directory", "room", alias), nil, nil)
		if err = side(err); err != nil && !errors.Is(err, model.ErrNotFound) {
			return err
		}
	}
	if err := d.rooms.SetState(ctx, room, as, "m.room.canonical_alias", "", map[string]any{}); err != nil {
		return err
	}
	if err := d.rooms.SetState(ctx, room, as, "m.room.join_rules", "", map[string]string{"join_rule": "invite"}); err != nil {
		return err
	}
	return d.setListed(ctx, room, as, "private")
}
