package sim

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// A conn is one DDP session (facts 7.1). Everything but the outgoing queue is
// guarded by the engine's lock.
type conn struct {
	e       *Engine
	ws      *websocket.Conn
	session string
	ip      string
	uid     string // "" until login
	token   string
	started bool      // "connect" was received
	heard   time.Time // when the client last sent anything
	subs    map[string]*subscription
	watched map[string]*subscription // stream-user-presence, by user id

	mu     sync.Mutex
	queue  [][]byte
	filled chan struct{}
	cancel context.CancelFunc
}

// pingEvery is how often a session is pinged.
const pingEvery = 15 * time.Second

func (e *Engine) serveWebsocket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	ws.SetReadLimit(16 << 20)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	c := &conn{e: e, ws: ws, session: newID(), ip: e.clientIP(r), subs: map[string]*subscription{},
		watched: map[string]*subscription{}, filled: make(chan struct{}, 1), cancel: cancel,
		heard: time.Now()}
	e.locked(func() {
		e.conns[c] = struct{}{}
		e.counts["websocket"]++
		c.reply(Doc{"server_id": "0"})
	})
	var wg sync.WaitGroup
	wg.Go(func() { c.write(ctx) })
	c.read(ctx)
	cancel()
	wg.Wait()
	e.locked(func() { e.forget(c) })
	ws.CloseNow()
}

// forget discards everything that belongs to a connection; the next one starts from nothing.
func (e *Engine) forget(c *conn) {
	delete(e.conns, c)
	for _, s := range c.subs {
		e.streams.remove(s)
	}
	for _, s := range c.watched {
		e.streams.remove(s)
	}
	if c.uid != "" {
		e.sessionStatus(c.uid)
	}
}

func (c *conn) read(ctx context.Context) {
	for {
		kind, b, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			continue
		}
		frame, err := decodeDoc(b, true)
		if err != nil {
			c.e.locked(func() { c.reply(Doc{"msg": "error", "reason": "Bad request"}) })
			continue
		}
		c.e.locked(func() { c.handle(frame) })
	}
}

// write sends queued frames, and a ping every pingEvery.
func (c *conn) write(ctx context.Context) {
	defer c.cancel()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.ws.CloseNow()
			return
		case <-tick.C:
			if c.silent() {
				c.ws.CloseNow()
				return
			}
			c.push([]byte(`{"msg":"ping"}`))
		case <-c.filled:
			if c.writeQueued(ctx) != nil {
				c.ws.CloseNow()
				return
			}
		}
	}
}

// silent reports whether a ping went unanswered (facts 7.1: about 15 s + 15 s).
func (c *conn) silent() (yes bool) {
	c.e.look(func() { yes = time.Since(c.heard) > 2*pingEvery })
	return yes
}

func (c *conn) writeQueued(ctx context.Context) error {
	c.mu.Lock()
	queue := c.queue
	c.queue = nil
	c.mu.Unlock()
	for _, b := range queue {
		if err := c.ws.Write(ctx, websocket.MessageText, b); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) push(b []byte) {
	c.e.record.event(c.e.rel.short(), b)
	c.mu.Lock()
	c.queue = append(c.queue, b)
	c.mu.Unlock()
	select {
	case c.filled <- struct{}{}:
	default:
	}
}

func (c *conn) send(d delivery) { c.push(d.frame) }

// drop cuts the connection; queued frames are lost.
func (c *conn) drop() { c.cancel() }

// reply queues a frame for this connection behind the changes being journaled.
func (c *conn) reply(d Doc) {
	c.e.pending = append(c.e.pending, delivery{conn: c, frame: ejson(d)})
}

// handle processes one frame from the client.
func (c *conn) handle(f Doc) {
	c.heard = time.Now()
	if m := f.str("msg"); !c.started && m != "connect" && m != "" {
		c.reply(Doc{"msg": "error", "reason": "Must connect first", "offendingMessage": f})
		return
	}
	switch f.str("msg") {
	case "connect":
		c.connect(f)
	case "ping":
		c.reply(Doc{"msg": "pong"}.with(f.only("id")))
	case "pong", "":
	case "method":
		c.method(f)
	case "sub":
		c.subscribe(f)
	case "unsub":
		c.unsubscribe(f.str("id"))
	default:
		c.reply(Doc{"msg": "error", "reason": "Bad request", "offendingMessage": f})
	}
}

func (c *conn) connect(f Doc) {
	if !slices.Contains([]string{"1", "pre2", "pre1"}, f.str("version")) {
		c.reply(Doc{"msg": "failed", "version": "1"})
		return
	}
	c.started = true
	c.reply(Doc{"msg": "connected", "session": c.session})
}

// method runs a method and answers updated, then result.
func (c *conn) method(f Doc) {
	id, name := f.str("id"), f.str("method")
	c.e.counts["method "+name]++
	params, _ := f["params"].([]any)
	m := &method{e: c.e, conn: c, user: c.e.user(c.uid), token: c.token, name: name, params: params}
	v, err := m.call()
	result := Doc{"msg": "result", "id": id}
	if err != nil {
		result["error"] = asFault(err).ddp()
	} else if v != nil {
		result["result"] = v
	}
	c.reply(Doc{"msg": "updated", "methods": []string{id}})
	c.reply(result)
}

// subscribe answers ready or nosub (facts 7.1, 7.2).
func (c *conn) subscribe(f Doc) {
	id, name := f.str("id"), f.str("name")
	params, _ := f["params"].([]any)
	c.e.counts["sub "+name]++
	if err := c.e.limitDDP(name, c.ip, c.uid, c.session); err != nil {
		c.nosub(id, err)
		return
	}
	if !isStream(name) { // publications such as userData, activeUsers, autoupdate hold nothing
		c.reply(Doc{"msg": "ready", "subs": []string{id}})
		return
	}
	event := ""
	if len(params) > 0 {
		event, _ = params[0].(string)
	}
	if name == "stream-user-presence" {
		c.watch(id, params)
		return
	}
	s := &subscription{conn: c, id: id, stream: name, event: event}
	if event == "" || !c.e.maySee(s) {
		c.nosub(id, meteorError("not-allowed", ""))
		return
	}
	c.e.streams.add(s)
	c.subs[id] = s
	if len(params) > 1 && usesCollection(params[1]) {
		c.reply(Doc{"msg": "added", "collection": name, "id": "id", "fields": Doc{"eventName": event}})
	}
	c.reply(Doc{"msg": "ready", "subs": []string{id}})
}

// usesCollection detects old clients: they keep events in a collection, and change
// only what was added before.
func usesCollection(option any) bool {
	on, _ := option.(bool)
	return on || asDoc(option).flag("useCollection")
}

func (c *conn) nosub(id string, err error) {
	d := Doc{"msg": "nosub", "id": id}
	if err != nil {
		d["error"] = asFault(err).ddp()
	}
	c.reply(d)
}

func (c *conn) unsubscribe(id string) {
	if s := c.subs[id]; s != nil {
		c.e.streams.remove(s)
		delete(c.subs, id)
	}
	c.nosub(id, nil)
}

// watch is stream-user-presence: one live subscription per connection; later ones
// only add and remove users, and end at once (facts 7.2).
func (c *conn) watch(id string, params []any) {
	if c.uid == "" {
		c.nosub(id, meteorError("not-allowed", ""))
		return
	}
	first := len(c.watched) == 0
	var change Doc
	if len(params) > 1 {
		change = asDoc(params[1])
	}
	for _, uid := range change.strs("added") {
		c.watchUser(id, uid)
	}
	for _, uid := range change.strs("removed") {
		if s := c.watched[uid]; s != nil {
			c.e.streams.remove(s)
			delete(c.watched, uid)
		}
	}
	if first {
		c.reply(Doc{"msg": "ready", "subs": []string{id}})
		return
	}
	c.nosub(id, nil)
}

func (c *conn) watchUser(id, uid string) {
	if c.watched[uid] == nil {
		s := &subscription{conn: c, id: id, stream: "stream-user-presence", event: uid}
		c.watched[uid] = s
		c.e.streams.add(s)
	}
	if u := c.e.user(uid); u != nil {
		c.e.pending = append(c.e.pending, delivery{conn: c, frame: changedFrame("stream-user-presence", uid,
			[]any{[]any{u.str("username"), statusNumber[u.str("status")], u.str("statusText")}})})
	}
}

// DropConnections cuts every websocket.
func (e *Engine) DropConnections() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		c.drop()
	}
}

// dropUser logs a user out everywhere.
func (e *Engine) dropUser(uid string) {
	for c := range e.conns {
		if c.uid == uid {
			e.emit("stream-notify-user", uid+"/force_logout", "")
			c.drop()
		}
	}
}

// methodCall is POST method.call/:m: a DDP method over REST. Request and response
// are EJSON strings (facts 7.4).
func methodCall(c *call) (any, error) {
	frame, err := decodeDoc([]byte(c.body.str("message")), true)
	if err != nil {
		return nil, textError("Invalid method call message")
	}
	params, _ := frame["params"].([]any)
	m := &method{e: c.e, user: c.user, token: c.token, ip: c.ip, name: frame.str("method"), params: params}
	c.e.counts["method "+m.name]++
	result := Doc{"msg": "result", "id": frame["id"]}
	v, err := m.call()
	if err != nil {
		result["error"] = asFault(err).ddp()
		if c.e.rel.failedCallIsOK {
			return Doc{"message": string(ejson(result))}, nil
		}
		return nil, &fault{status: http.StatusBadRequest, body: Doc{"message": string(ejson(result)), "success": false}}
	}
	if v != nil {
		result["result"] = v
	}
	return Doc{"message": string(ejson(result))}, nil
}
