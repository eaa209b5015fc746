package mxside

import (
	"context"
	"net/http"
	"strings"
	"time"

	"maunium.net/go/mautrix"
)

// pingEvery is how often Synapse is asked whether it is there and reaches the
// bridge.
const pingEvery = 15 * time.Second

// ping makes Synapse send a request back to the bridge: POST
// /appservice/{id}/ping (Client-Server API, since v1.7). It proves both ways, and
// Synapse then sends at once what it held back while the bridge did not answer;
// otherwise that may take it minutes. Synapse has no /sync for the bridge's own
// user and needs none: its transactions bring everything, in order.
func (s *Side) ping(ctx context.Context) error {
	if _, err := s.pingOnce(ctx); err != nil {
		return err
	}
	if !s.Connected() {
		s.held.want()
	}
	s.sync.answered()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pingEvery):
		return nil
	}
}

// pingOnce asks Synapse to ping the bridge and, if it holds anything back, to send
// that now. Synapse (1.157) fails at the latter, after the ping has come through,
// while it is already doing so: then busy is true.
func (s *Side) pingOnce(ctx context.Context) (busy bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(s.Names.BotUser())
	_, err = c.MakeRequest(ctx, http.MethodPost, c.BuildURL(mautrix.ClientURLPath{"v1", "appservice", s.ID, "ping"}), map[string]string{}, nil)
	if err != nil && (strings.Contains(err.Error(), "AlreadyCancelled") || strings.Contains(err.Error(), "AlreadyCalled")) {
		return true, nil
	}
	return false, side(err)
}
