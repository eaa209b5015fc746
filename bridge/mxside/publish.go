package mxside

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay"
)

// Publish implements relay.Matrix: PUT /directory/room/{alias}, the room's
// m.room.canonical_alias and m.room.join_rules, and PUT /directory/list/room/{room}.
func (s *Side) Publish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var got []string
	for _, alias := range aliases {
		ok, err := s.takeAlias(ctx, room, alias)
		if err != nil {
			return nil, err
		}
		if ok {
			got = append(got, alias)
		}
	}
	if len(got) == 0 {
		return nil, fmt.Errorf("%w: every alias of the room belongs to another one", relay.ErrRefused)
	}
	canonical := map[string]any{"alias": got[0], "alt_aliases": append([]string{}, got[1:]...)}
	if err := s.SetState(ctx, room, as, "m.room.canonical_alias", "", canonical); err != nil {
		return nil, err
	}
	if err := s.SetState(ctx, room, as, "m.room.join_rules", "", map[string]string{"join_rule": "public"}); err != nil {
		return nil, err
	}
	err := s.setListed(ctx, room, as, "public")
	if errors.Is(err, relay.ErrForbidden) {
		s.Log.Warn("the homeserver does not let the bridge put a channel into its list; it can be joined by its alias only", "mx_room", room, "err", err,
			"hint", "Synapse: allow the bridge's user in room_list_publication_rules of homeserver.yaml")
		err = nil
	}
	return got, err
}

// takeAlias makes an alias lead to a room. ok is false when it leads to another one.
func (s *Side) takeAlias(ctx context.Context, room ids.MXRoom, alias string) (ok bool, err error) {
	c := s.as(s.Names.BotUser())
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
	if err = side(err); errors.Is(err, relay.ErrRefused) || errors.Is(err, relay.ErrForbidden) {
		s.Log.Warn("the homeserver gives the bridge no alias; its registration needs namespaces.aliases", "alias", alias, "err", err,
			"hint", "run: appliance up; with a homeserver of your own: appliance attach")
		return false, nil
	}
	return false, err
}

// setListed puts a room into the homeserver's list, or takes it off.
func (s *Side) setListed(ctx context.Context, room ids.MXRoom, as ids.MXUser, visibility string) error {
	c := s.as(as)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "directory", "list", "room", room), map[string]string{"visibility": visibility}, nil)
	return side(err)
}

// Unpublish implements relay.Matrix.
func (s *Side) Unpublish(ctx context.Context, room ids.MXRoom, as ids.MXUser, aliases []string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(s.Names.BotUser())
	for _, alias := range aliases {
		_, err := c.MakeRequest(ctx, http.MethodDelete, c.BuildClientURL("v3", "directory", "room", alias), nil, nil)
		if err = side(err); err != nil && !errors.Is(err, relay.ErrNotFound) {
			return err
		}
	}
	if err := s.SetState(ctx, room, as, "m.room.canonical_alias", "", map[string]any{}); err != nil {
		return err
	}
	if err := s.SetState(ctx, room, as, "m.room.join_rules", "", map[string]string{"join_rule": "invite"}); err != nil {
		return err
	}
	return s.setListed(ctx, room, as, "private")
}

// room answers whether one of our aliases leads to a room: GET /rooms/{alias}.
func (s *Side) room(w http.ResponseWriter, r *http.Request) {
	ok, err := s.Alias(r.Context(), r.PathValue("alias"))
	switch {
	case err != nil:
		s.Log.Warn("an alias could not be looked up", "alias", r.PathValue("alias"), "err", err)
		answer(w, http.StatusServiceUnavailable, "M_UNKNOWN", "Rocket.Chat does not answer")
	case !ok:
		notFound(w, r)
	default:
		answer(w, http.StatusOK, "", "")
	}
}
