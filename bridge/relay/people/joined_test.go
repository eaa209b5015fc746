package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// doorkeeper lets nobody in, for a reason that tests choose.
type doorkeeper struct {
	membership string
	unread     error // of the room's state
}

func (d *doorkeeper) Admit(context.Context, ids.MXRoom, ids.MXUser, ids.MXUser) error {
	return fmt.Errorf("%w: 403 M_FORBIDDEN", model.ErrForbidden)
}

func (d *doorkeeper) Join(context.Context, ids.MXRoom, ids.MXUser, ids.MXUser) (bool, error) {
	return false, fmt.Errorf("%w: 403 M_FORBIDDEN", model.ErrForbidden)
}

func (d *doorkeeper) State(context.Context, ids.MXRoom, ids.MXUser, string, string) (json.RawMessage, bool, error) {
	content, err := json.Marshal(map[string]string{"membership": d.membership})
	return content, d.unread == nil, errors.Join(err, d.unread)
}

// A room's refusal is final if the user is banned there, and after a while if not. The refusal of
// a homeserver that cannot read the room never is.
func TestWhenARefusalToEnterIsFinal(t *testing.T) {
	unavailable := fmt.Errorf("the homeserver %w", model.ErrUnavailable)
	for name, tc := range map[string]struct {
		keeper       doorkeeper
		first, later error
	}{
		"banned":         {doorkeeper{membership: "ban"}, model.ErrBanned, model.ErrBanned},
		"not invited":    {doorkeeper{membership: "leave"}, model.ErrForbidden, model.ErrNotAdmitted},
		"never there":    {doorkeeper{unread: model.ErrNotFound}, model.ErrForbidden, model.ErrNotAdmitted},
		"reader is out":  {doorkeeper{unread: model.ErrForbidden}, model.ErrForbidden, model.ErrNotAdmitted},
		"cannot be read": {doorkeeper{membership: "ban", unread: unavailable}, model.ErrUnavailable, model.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &Joined{MX: &tc.keeper}
				p, ghost := model.Portal{MXRoom: "!r:home.org"}, ids.MXUser("@carol:home.org")
				err := j.Ensure(t.Context(), p, ghost)
				if !errors.Is(err, tc.first) || !errors.Is(tc.first, model.ErrNotAdmitted) && errors.Is(err, model.ErrNotAdmitted) {
					t.Errorf("at first: %v", err)
				}
				time.Sleep(keptOutAfter)
				if err := j.Ensure(t.Context(), p, ghost); !errors.Is(err, tc.later) || errors.Is(err, model.ErrRefused) != errors.Is(tc.later, model.ErrRefused) {
					t.Errorf("later: %v", err)
				}
			})
		})
	}
}
