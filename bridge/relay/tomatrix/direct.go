package tomatrix

import (
	"context"
	"errors"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
)

// directs opens the Matrix side of direct messages.
type directs struct {
	*base
	Store   directStore
	Directs *portal.Directs
}

// deliver opens a conversation for a direct room that was opened in Rocket.Chat with one
// or more people on Matrix.
func (h *directs) deliver(ctx context.Context, item queue.Item, d event.RCDirect) error {
	if p, ok, err := h.Store.PortalByRC(ctx, d.Room); err != nil || ok && !portal.BegunBy(p, d) {
		return err
	}
	locals, puppets, err := h.Directs.WhoIsIn(ctx, d.Room)
	if err != nil {
		return model.Outcome(item, model.Ignore(err, model.ErrNotFound, model.ErrForbidden), "")
	}
	if len(puppets) == 0 || len(locals) == 0 {
		return nil // among themselves
	}
	author := locals[0]
	for _, who := range locals {
		if who.ID == d.Author {
			author = who
		}
	}
	err = h.Directs.Begin(ctx, d, author, locals, puppets)
	if se, ok := errors.AsType[*model.SayError](err); ok {
		h.Notices.Sorry(ctx, author, se)
		return nil
	}
	return model.Outcome(item, err, "")
}
