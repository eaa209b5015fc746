package roomstate

import (
	"context"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Power levels needed to write.
const (
	writeAll    = 0
	writeSome   = 50  // in a read-only room: people with a role
	writeNobody = 100 // in an archived room
)

// Powers returns the power levels in a room.
func (s *State) Powers(ctx context.Context, p model.Portal) (convert.Powers, error) {
	content, _, err := s.MX.State(ctx, p.MXRoom, p.Reader(s.Names), model.StatePowers, "")
	if err != nil {
		return convert.Powers{}, err
	}
	return s.WithCreators(ctx, p, convert.ParsePowers(content))
}

// WithCreators adds the users with unlimited power.
func (s *State) WithCreators(ctx context.Context, p model.Portal, powers convert.Powers) (convert.Powers, error) {
	created, err := s.MX.Creation(ctx, p.MXRoom, p.Reader(s.Names))
	if err != nil {
		return powers, err
	}
	powers.Creators = map[string]bool{}
	for _, user := range created.Creators {
		powers.Creators[string(user)] = true
	}
	return powers, nil
}

// StartPowers returns the initial power levels of a new Matrix room.
func (s *State) StartPowers(ctx context.Context, p model.Portal) (map[ids.MXUser]int, error) {
	roles, err := s.RC.Roles(ctx, p)
	if err != nil {
		return nil, err
	}
	powers := map[ids.MXUser]int{}
	for user, role := range roles {
		if role == model.Member || s.RC.IsBridge(user) {
			continue
		}
		who, ok, err := s.RC.UserByID(ctx, user)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if mx, _, ok := s.People.AddressOf(ctx, who); ok {
			powers[mx] = model.PowerOf[role]
		}
	}
	return powers, nil
}

// SetWriters makes a Matrix room read-only, archived, or neither.
func (s *State) SetWriters(ctx context.Context, p model.Portal, as ids.MXUser, info model.RCRoomInfo) error {
	powers, err := s.Powers(ctx, p)
	if err != nil {
		return err
	}
	need := WriteLevel(info)
	if powers.Events == need {
		return nil
	}
	return s.Set(ctx, p, as, model.StatePowers, powers.WithEvents(need))
}

// WriteLevel returns the power level needed to write in a room.
func WriteLevel(info model.RCRoomInfo) int {
	switch {
	case info.Archived:
		return writeNobody
	case info.ReadOnly:
		return writeSome
	}
	return writeAll
}
