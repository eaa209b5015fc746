package torocketchat

import (
	"context"
	"errors"
	"strings"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
)

// linking carries out a Matrix user's command about an account in Rocket.Chat:
// "!link CODE" or, if one is linked, "!unlink". Such a message is not relayed. done is
// false for every other message.
func (h *messages) linking(ctx context.Context, item queue.Item, p model.Portal, in event.MXWritten) (done bool, err error) {
	c := in.Event.Content
	if c.Replaces != "" || c.MsgType != "m.text" {
		return false, nil
	}
	if strings.EqualFold(strings.TrimSpace(c.Body), "!unlink") {
		d, ok, err := h.base.Store.DoubleByMX(ctx, in.Sender)
		if err != nil || !ok {
			return false, err
		}
		return true, h.unlink(ctx, p, in.ID, d)
	}
	code, ok := people.Code(c.Body)
	if !ok {
		return false, nil
	}
	d, err := h.Doubles.Confirm(ctx, in.Sender, code)
	if say, ok := errors.AsType[*model.SayError](err); ok {
		if item.Attempts > 0 && d.RCUser != "" { // an earlier attempt has done it
			return true, nil
		}
		h.Log.Warn("a code was refused", "mx_user", in.Sender, "reason", say.Text)
		h.reply(ctx, p, in.ID, "Sorry: "+say.Text+".")
		return true, nil
	}
	if err != nil {
		return true, model.Outcome(item, err, "")
	}
	h.reply(ctx, p, in.ID, "From now on what you write in rooms of this Rocket.Chat appears there as @"+d.Username+". Direct messages stay as they are. !unlink ends it.")
	h.Notices.Person(ctx, model.RCPerson{ID: d.RCUser, Username: d.Username},
		"From now on what "+string(d.MXUser)+" writes on Matrix appears here under your name, in the rooms that both accounts are in. Whoever controls that address speaks for you there. /bridge me off ends it.")
	return true, nil
}

// unlink ends the link at the request of the Matrix user.
func (h *messages) unlink(ctx context.Context, p model.Portal, event ids.MXEvent, d model.Double) error {
	if err := h.Doubles.End(ctx, d, "at the Matrix user's request"); err != nil {
		return err
	}
	h.reply(ctx, p, event, "What you write no longer appears as @"+d.Username+" in Rocket.Chat.")
	h.Notices.Person(ctx, model.RCPerson{ID: d.RCUser, Username: d.Username}, "What "+string(d.MXUser)+" writes on Matrix no longer appears under your name: they have ended it.")
	return nil
}

// reply answers a Matrix message in its room, once.
func (h *messages) reply(ctx context.Context, p model.Portal, to ids.MXEvent, text string) {
	h.Notices.OnMatrix(ctx, p, "about "+string(to), text)
}
