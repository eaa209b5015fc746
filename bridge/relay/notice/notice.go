// Package notice sends notices of the bridge to people: to a Matrix room, to a Rocket.Chat
// room, or to one person. A notice is sent once and nothing waits for it.
package notice

import (
	"context"
	"log/slog"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Notices sends notices of the bridge to people on either side.
type Notices struct {
	Store Store
	RC    RocketChat
	MX    Matrix
	Log   *slog.Logger
	Names ids.Namespace
}

// OnMatrix sends a notice of the bridge to a Matrix room, once for each value of about.
func (n *Notices) OnMatrix(ctx context.Context, p model.Portal, about, text string) {
	reader := p.Reader(n.Names)
	if err := n.MX.Notice(ctx, p.MXRoom, reader, ids.Transaction(reader, about, 0), text); err != nil {
		n.Log.Warn("a notice could not be sent to Matrix", "mx_room", p.MXRoom, "err", err)
	}
}

// InRocketChat sends a notice to a room: as the bridge account, or, in a
// direct room, as the puppet through which it is read.
func (n *Notices) InRocketChat(ctx context.Context, p model.Portal, text string) error {
	if p.RCReader == "" {
		return n.RC.Say(ctx, p.RCRoom, text)
	}
	puppet, ok, err := n.Store.PuppetByMX(ctx, p.RCReader)
	if err != nil || !ok {
		return err
	}
	id := ids.MessageFor(p.MXRoom, ids.MXEvent("said "+text), 0)
	return n.RC.Send(ctx, puppet, p.RCRoom, id, "", "_"+text+"_")
}

// OnBoth sends a notice to both sides of a portal.
func (n *Notices) OnBoth(ctx context.Context, p model.Portal, about, text string) {
	n.OnMatrix(ctx, p, about+" "+string(p.MXRoom), text)
	if err := n.InRocketChat(ctx, p, text); err != nil {
		n.Log.Warn("a notice could not be sent to Rocket.Chat", "rc_room", p.RCRoom, "err", err)
	}
}

// Author sends a notice to the author of a message in Rocket.Chat, once.
func (n *Notices) Author(ctx context.Context, m rocketchat.Message, text string) {
	n.Person(ctx, model.PersonOf(m.User), text)
}

// Person sends a person in Rocket.Chat a direct message, once.
func (n *Notices) Person(ctx context.Context, who model.RCPerson, text string) {
	if err := n.RC.Tell(ctx, who, text); err != nil {
		n.Log.Warn("a notice could not be sent to a user", "rc_user", who.ID, "err", err)
	}
}

// Sorry tells a person in Rocket.Chat why a request of theirs was not carried out.
func (n *Notices) Sorry(ctx context.Context, who model.RCPerson, why *model.SayError) {
	n.Person(ctx, who, "Sorry: "+why.Text+".")
}

// Encrypted announces, once per portal, that the bridge cannot read its Matrix room.
func (n *Notices) Encrypted(ctx context.Context, p model.Portal) error {
	known, err := n.Store.Known(ctx, []string{"encrypted " + string(p.MXRoom)})
	if err != nil || len(known) > 0 {
		return err
	}
	n.OnBoth(ctx, p, "encrypted", "This room is encrypted on Matrix, and the bridge to Rocket.Chat cannot read encrypted messages: what is written on Matrix does not arrive in Rocket.Chat. Please continue in a room without encryption.")
	return n.Store.MarkKnown(ctx, "encrypted "+string(p.MXRoom))
}
