package mxside

import (
	"context"
	"net/http"
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
	if err := s.pingOnce(ctx); err != nil {
		return err
	}
	if !s.Connected() {
		s.stir(ctx)
	}
	s.sync.answered()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pingEvery):
		return nil
	}
}

func (s *Side) pingOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(s.Names.BotUser())
	_, err := c.MakeRequest(ctx, http.MethodPost, c.BuildURL(mautrix.ClientURLPath{"v1", "appservice", s.ID, "ping"}), map[string]string{}, nil)
	return side(err)
}

// stir makes Synapse send what it had under way when it stopped. It keeps such a
// transaction, but sends it again only after another one has failed: therefore an
// event that no client shows makes a transaction, the first one after an absence
// is refused (see transaction), and a ping makes Synapse try again at once, oldest
// first.
func (s *Side) stir(ctx context.Context) {
	portals, err := s.Store.Portals(ctx)
	if err != nil {
		s.Log.Warn("the portals could not be read", "err", err)
		return
	}
	for i, p := range portals {
		as := p.MXReader
		if as == "" {
			as = s.Names.BotUser()
		}
		if err = s.Mend(ctx, p.MXRoom, as); err == nil || i == stirTries || ctx.Err() != nil {
			break
		}
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("what Synapse had under way when it stopped may come late", "err", err)
	}
}

// stirTries is in how many rooms an event is tried: any one will do.
const stirTries = 5

// refused makes Synapse try again at once.
func (s *Side) refused() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	time.Sleep(refusedFor)
	if err := s.pingOnce(ctx); err != nil {
		s.Log.Warn("Synapse could not be asked to go on", "err", err) // it does so by itself, later
	}
}

// refusedFor is how long Synapse takes to note that a transaction was refused.
const refusedFor = 200 * time.Millisecond
