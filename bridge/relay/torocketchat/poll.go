package torocketchat

import (
	"context"
	"slices"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// polls shows polls as text.
type polls struct {
	*base
	MX pollMatrix
}

// deliver shows a poll that began or ended on Matrix, as
// text.
func (h *polls) deliver(ctx context.Context, item queue.Item, e event.MXPoll) ([]queue.Receipt, error) {
	p, ok, err := h.portalOf(ctx, e.Room)
	if err != nil || !ok {
		return nil, err
	}
	if err := h.Admission.Admit(item, e.Sender); err != nil {
		return nil, err
	}
	text, err := h.text(ctx, p, e)
	if err != nil || text == "" {
		return nil, model.Outcome(item, err, "")
	}
	puppet, err := h.author(ctx, p, e.Sender)
	if err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused to create an account for you")
	}
	id := ids.MessageFor(p.MXRoom, e.ID, 0)
	if err := h.say(ctx, p, puppet, id, "", text); err != nil {
		return nil, model.Outcome(item, err, "Rocket.Chat refused it")
	}
	return []queue.Receipt{{RCRoom: string(p.RCRoom), RCMessage: string(id), MXRoom: string(e.Room), MXEvent: string(e.ID), MXSender: string(e.Sender)}}, nil
}

// text returns the question with its answers or, for a poll that has ended, the answers
// with their votes. It is empty when there is nothing to show.
func (h *polls) text(ctx context.Context, p model.Portal, e event.MXPoll) (string, error) {
	switch {
	case e.Poll != nil:
		return e.Poll.Text(), nil
	case e.Ends == "":
		return "", nil
	}
	start, err := h.MX.Event(ctx, p.MXRoom, p.Reader(h.Names), e.Ends)
	if err != nil {
		return "", model.Ignore(err, model.ErrNotFound, model.ErrForbidden)
	}
	begun, err := convert.ParseEvent(start)
	poll, ok := begun.Poll()
	if err != nil || !ok {
		return "", nil // what cannot be read is not a poll
	}
	related, err := h.MX.Referring(ctx, p.MXRoom, p.Reader(h.Names), e.Ends, "m.reference")
	if err != nil {
		return "", err
	}
	var votes []convert.Vote
	for _, raw := range slices.Backward(related) { // newest first; of two votes at the same time, the later counts
		if v, ok := convert.ParseVote(raw); ok && v.Time <= e.Time {
			votes = append(votes, v)
		}
	}
	text := poll.Result(poll.Count(votes))
	message, err := h.messageOf(ctx, p, e.Ends)
	if err == nil && message != "" {
		text = convert.Quote(h.permalink(p, message), text)
	}
	return text, err
}
