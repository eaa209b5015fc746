package rctest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// A frame is a DDP frame with the fields that one call needs.
type frame struct {
	Msg     string          `json:"msg,omitempty"`
	ID      string          `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  []any           `json:"params,omitempty"`
	Version string          `json:"version,omitempty"`
	Support []string        `json:"support,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// callMethod calls one method over a websocket of its own, as a newly opened client does.
func (r rest) callMethod(ctx context.Context, by Person, method string, params ...any) (err error) {
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.url, "http")+"/websocket", nil) //nolint:bodyclose // Dial has closed it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ws.Close(websocket.StatusNormalClosure, "")) }()
	ws.SetReadLimit(1 << 20)
	for _, step := range []struct {
		say  frame
		hear string
	}{
		{frame{Msg: "connect", Version: "1", Support: []string{"1"}}, "connected"},
		{frame{Msg: "method", ID: "1", Method: "login", Params: []any{map[string]any{"resume": by.Token}}}, "result"},
		{frame{Msg: "method", ID: "2", Method: method, Params: params}, "result"},
	} {
		if err := wsjson.Write(ctx, ws, step.say); err != nil {
			return err
		}
		if err := hear(ctx, ws, step.hear, step.say.ID); err != nil {
			return fmt.Errorf("%s %s as %s: %w", step.say.Msg, step.say.Method, by.Username, err)
		}
	}
	return nil
}

// hear reads until the reply arrives.
func hear(ctx context.Context, ws *websocket.Conn, msg, id string) error {
	for {
		var f frame
		if err := wsjson.Read(ctx, ws, &f); err != nil {
			return err
		}
		switch {
		case f.Msg == "ping":
			if err := wsjson.Write(ctx, ws, frame{Msg: "pong", ID: f.ID}); err != nil {
				return err
			}
		case f.Msg == msg && f.ID == id && f.Error != nil:
			return fmt.Errorf("the server answers %s", f.Error)
		case f.Msg == msg && f.ID == id:
			return nil
		}
	}
}
