// Package ddp is a client for Rocket.Chat's realtime API: DDP version 1 over a
// websocket at /websocket. One Conn is one session of one user; it signs in,
// subscribes and passes every event to one function, in order of arrival. It does
// not reconnect, because nothing is replayed after a reconnect: a caller that dials
// again must catch up over REST.
package ddp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"appliance/bridge/secret"
)

const maxFrame = 16 << 20 // a message with attachments is a few kilobytes

// times holds the timing of a session.
type times struct{ dial, ping, silent time.Duration }

// The server gives up after about 30 s of silence.
var usual = times{dial: 30 * time.Second, ping: 15 * time.Second, silent: 45 * time.Second}

// An Event is one frame of a stream subscription.
type Event struct {
	Stream string            // "stream-room-messages"
	Name   string            // the event name: a room ID, "<rid>/deleteMessage", ...
	Args   []json.RawMessage // as the stream documents them
}

// A Conn is a live session. Methods are safe for concurrent use.
type Conn struct {
	ws     *websocket.Conn
	handle func(Event)
	ctx    context.Context // ends with the connection; its cause says why
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when its goroutines have ended
	times  times

	mu      sync.Mutex
	nextID  int
	waiting map[string]chan frame
	// subscribed maps events to the IDs of their subscriptions.
	subscribed map[string]string
}

// frame is any DDP message, in either direction.
type frame struct {
	Msg        string            `json:"msg,omitempty"`
	ID         string            `json:"id,omitempty"`
	Version    string            `json:"version,omitempty"`
	Support    []string          `json:"support,omitempty"`
	Session    string            `json:"session,omitempty"`
	Method     string            `json:"method,omitempty"`
	Name       string            `json:"name,omitempty"`
	Params     []any             `json:"params,omitempty"`
	Result     json.RawMessage   `json:"result,omitempty"`
	Error      json.RawMessage   `json:"error,omitempty"`
	Subs       []string          `json:"subs,omitempty"`
	Collection string            `json:"collection,omitempty"`
	Fields     *streamFields     `json:"fields,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Methods    []json.RawMessage `json:"methods,omitempty"`
}

type streamFields struct {
	EventName string            `json:"eventName"`
	Args      []json.RawMessage `json:"args"`
}

// longestWait caps the wait that the server asks for.
const longestWait = 2 * time.Minute

// ErrUnauthorized is wrapped by Dial when the server refuses the token.
var ErrUnauthorized = errors.New("the token was refused")

// Dial connects to the server at base ("http://rocketchat:3000") and signs in.
// handle is called for every event, one at a time; nothing else is read while it
// runs, so it must neither wait for a reply on the same Conn nor Close it.
func Dial(ctx context.Context, base string, token secret.String, handle func(Event)) (*Conn, error) {
	return dial(ctx, base, token, handle, usual)
}

func dial(ctx context.Context, base string, token secret.String, handle func(Event), times times) (*Conn, error) {
	u := strings.Replace(strings.TrimSuffix(base, "/"), "http", "ws", 1) + "/websocket"
	ctx, stop := context.WithTimeout(ctx, times.dial)
	defer stop()
	ws, res, err := websocket.Dial(ctx, u, nil) //nolint:bodyclose // the library closes it
	_ = res
	if err != nil {
		return nil, fmt.Errorf("ddp: %w", err)
	}
	ws.SetReadLimit(maxFrame)
	c := &Conn{ws: ws, handle: handle, done: make(chan struct{}), times: times, waiting: map[string]chan frame{}}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	connected := c.expect("connected")
	var running sync.WaitGroup
	running.Go(c.read)
	running.Go(c.keepAlive)
	go func() {
		running.Wait()
		close(c.done)
	}()
	if err := c.signIn(ctx, connected, token); err != nil {
		_ = c.fail(err)
		<-c.done
		return nil, err
	}
	return c, nil
}

func (c *Conn) signIn(ctx context.Context, connected chan frame, token secret.String) error {
	if err := c.send(ctx, frame{Msg: "connect", Version: "1", Support: []string{"1"}}); err != nil {
		return err
	}
	switch f, err := c.await(ctx, "connected", connected); {
	case err != nil:
		return err
	case f.Msg == "failed":
		return fmt.Errorf("ddp: the server wants version %q of the protocol", f.Version)
	}
	_, err := c.Call(ctx, "login", map[string]string{"resume": token.Reveal()})
	if me, ok := errors.AsType[*MethodError](err); ok && (me.Code == "401" || me.Code == "403") {
		return fmt.Errorf("%w: %s", ErrUnauthorized, me.Reason)
	}
	return err
}

// Subscribe starts a subscription to an event of a stream and waits until it is
// live: events that occur after Subscribe has returned are delivered.
func (c *Conn) Subscribe(ctx context.Context, stream, event string) error {
	id, reply := c.register("s")
	err := c.send(ctx, frame{Msg: "sub", ID: id, Name: stream, Params: []any{event, map[string]any{"useCollection": false, "args": []any{}}}})
	if err != nil {
		c.forget(id)
		return err
	}
	f, err := c.await(ctx, id, reply)
	if err != nil {
		return err
	}
	if f.Msg == "nosub" {
		return fmt.Errorf("ddp: subscribe to %s %s: %w", stream, event, methodError(f.Error))
	}
	c.remember(event, id)
	return nil
}

// Call runs a method and returns its result.
func (c *Conn) Call(ctx context.Context, method string, params ...any) (json.RawMessage, error) {
	if params == nil {
		params = []any{}
	}
	id, reply := c.register("m")
	if err := c.send(ctx, frame{Msg: "method", ID: id, Method: method, Params: params}); err != nil {
		c.forget(id)
		return nil, err
	}
	f, err := c.await(ctx, id, reply)
	if err != nil {
		return nil, err
	}
	if len(f.Error) > 0 && string(f.Error) != "null" {
		return nil, fmt.Errorf("ddp: %s: %w", method, methodError(f.Error))
	}
	return f.Result, nil
}

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended.
func (c *Conn) Err() error { return context.Cause(c.ctx) }

// Close ends the session.
func (c *Conn) Close() {
	_ = c.fail(errors.New("closed"))
	<-c.done
}

// A MethodError is a refusal by the server.
type MethodError struct {
	Code   string // "403", "not-allowed", "too-many-requests"
	Reason string
	Wait   time.Duration // for "too-many-requests": how long to wait, at most a minute or two
}

func (e *MethodError) Error() string { return e.Code + " " + e.Reason }

// Private

func methodError(raw json.RawMessage) error {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Reason  string          `json:"reason"`
		Message string          `json:"message"`
		Details struct {
			TimeToReset float64 `json:"timeToReset"` // milliseconds
		} `json:"details"`
	}
	_ = json.Unmarshal(raw, &e)
	if e.Reason == "" {
		e.Reason = e.Message
	}
	me := &MethodError{Code: strings.Trim(string(e.Error), `"`), Reason: e.Reason}
	if me.Code == "too-many-requests" {
		me.Wait = max(time.Second, min(time.Duration(e.Details.TimeToReset)*time.Millisecond, longestWait))
	}
	return me
}

func (c *Conn) register(kind string) (string, chan frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	id := kind + strconv.Itoa(c.nextID)
	reply := make(chan frame, 1)
	c.waiting[id] = reply
	return id, reply
}

func (c *Conn) expect(msg string) chan frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := make(chan frame, 1)
	c.waiting[msg] = reply
	return reply
}

func (c *Conn) resolve(id string, f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reply, ok := c.waiting[id]; ok {
		delete(c.waiting, id)
		reply <- f
	}
}

// await waits for the reply to a frame. It forgets the request if ctx ends first.
func (c *Conn) await(ctx context.Context, id string, reply chan frame) (frame, error) {
	select {
	case f := <-reply:
		return f, nil
	case <-ctx.Done():
		c.forget(id)
		return frame{}, fmt.Errorf("ddp: %w", ctx.Err())
	case <-c.ctx.Done():
	}
	select {
	case f := <-reply: // arrived just before the end
		return f, nil
	default:
		return frame{}, context.Cause(c.ctx)
	}
}

func (c *Conn) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// send writes a frame, unless ctx has ended. A context that ends during a write
// ends the connection, so the write uses a context of the session.
func (c *Conn) send(ctx context.Context, f frame) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ddp: %w", err)
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("ddp: %w", err)
	}
	writing, stop := context.WithTimeout(c.ctx, c.times.silent)
	defer stop()
	if err := c.ws.Write(writing, websocket.MessageText, data); err != nil {
		return fmt.Errorf("ddp: %w", err)
	}
	return nil
}

// fail ends the connection with err as its cause and returns err.
func (c *Conn) fail(err error) error {
	c.cancel(err)
	_ = c.ws.CloseNow()
	return err
}

func (c *Conn) read() {
	for {
		ctx, stop := context.WithTimeout(c.ctx, c.times.silent)
		_, data, err := c.ws.Read(ctx)
		stop()
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && c.ctx.Err() == nil {
				err = errors.New("the server is silent")
			}
			_ = c.fail(fmt.Errorf("ddp: %w", err))
			return
		}
		var f frame
		if json.Unmarshal(data, &f) == nil {
			c.dispatch(f)
		}
	}
}

func (c *Conn) dispatch(f frame) {
	switch f.Msg {
	case "connected", "failed":
		c.resolve("connected", f)
	case "ping":
		_ = c.send(c.ctx, frame{Msg: "pong", ID: f.ID})
	case "result", "nosub":
		c.resolve(f.ID, f)
	case "ready":
		for _, id := range f.Subs {
			c.resolve(id, f)
		}
	case "changed":
		if f.Fields != nil && strings.HasPrefix(f.Collection, "stream-") {
			c.handle(Event{Stream: f.Collection, Name: f.Fields.EventName, Args: f.Fields.Args})
		}
	}
}

// keepAlive pings, so that the read timeout detects a dead peer.
func (c *Conn) keepAlive() {
	tick := time.NewTicker(c.times.ping)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			if err := c.send(c.ctx, frame{Msg: "ping"}); err != nil {
				return
			}
		}
	}
}
