package store

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// reactionTable has the reactions that exist on both sides.
type reactionTable struct{ *database }

const reactionColumns = `SELECT rc_message, emoji, rc_user, mx_event, mx_room, mx_sender FROM reactions`

func scanReaction(row scanner) (r model.Reaction, err error) {
	err = row.Scan(&r.Message, &r.Emoji, &r.User, &r.Event, &r.MXRoom, &r.MXSender)
	return r, err
}

// Reactions implements relay.Store.
func (s *reactionTable) Reactions(ctx context.Context, message ids.RCMessage) ([]model.Reaction, error) {
	rows, err := s.query(ctx, reactionColumns+` WHERE rc_message = $1`, message)
	if err != nil {
		return nil, err
	}
	return all(rows, scanReaction)
}

// ReactionByEvent implements relay.Store.
func (s *reactionTable) ReactionByEvent(ctx context.Context, event ids.MXEvent) (model.Reaction, bool, error) {
	return found(scanReaction(s.queryRow(ctx, reactionColumns+` WHERE mx_event = $1`, event)))
}

// PutReaction implements relay.Store.
func (s *reactionTable) PutReaction(ctx context.Context, r model.Reaction) error {
	_, err := s.exec(ctx, `INSERT INTO reactions (rc_message, emoji, rc_user, mx_event, mx_room, mx_sender) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (rc_message, emoji, rc_user) DO UPDATE SET mx_event = excluded.mx_event, mx_sender = excluded.mx_sender`,
		r.Message, r.Emoji, r.User, r.Event, r.MXRoom, r.MXSender)
	return err
}

// DropReaction implements relay.Store.
func (s *reactionTable) DropReaction(ctx context.Context, r model.Reaction) error {
	_, err := s.exec(ctx, `DELETE FROM reactions WHERE rc_message = $1 AND emoji = $2 AND rc_user = $3`, r.Message, r.Emoji, r.User)
	return err
}
