package swarm_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside"
)

// A person speaks to a server as a client does.
type person struct {
	base   string
	http   *http.Client
	header http.Header
}

func (p *person) do(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, payload)
	if err != nil {
		return err
	}
	for key, value := range p.header {
		req.Header[key] = value
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, res.Status, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// through sends every connection of a client to one address.
func through(c *http.Client, address string) *http.Client {
	transport, _ := c.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
	return c
}

// registerAt makes an account on a homeserver, as its operator does, and signs in.
func registerAt(ctx context.Context, p *person, shared, name string) error {
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	if err := p.do(ctx, http.MethodGet, "/_synapse/admin/v1/register", nil, &nonce); err != nil {
		return err
	}
	mac := hmac.New(sha1.New, []byte(shared))
	_, _ = io.WriteString(mac, strings.Join([]string{nonce.Nonce, name, "a long password", "notadmin"}, "\x00"))
	var out struct {
		Token string `json:"access_token"`
	}
	err := p.do(ctx, http.MethodPost, "/_synapse/admin/v1/register", map[string]any{
		"nonce": nonce.Nonce, "username": name, "password": "a long password", "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &out)
	p.header = http.Header{"Authorization": {"Bearer " + out.Token}}
	return err
}

// signIn signs in to Rocket.Chat.
func signIn(ctx context.Context, p *person, name, password string) error {
	var out struct {
		Data struct{ UserID, AuthToken string } `json:"data"`
	}
	err := p.do(ctx, http.MethodPost, "/api/v1/login", map[string]string{"username": name, "password": password}, &out)
	p.header = http.Header{"X-User-Id": {out.Data.UserID}, "X-Auth-Token": {out.Data.AuthToken}}
	return err
}

// A conversation is what alice of Rocket.Chat and bob of Matrix say to each other, about
// six times a second each, and when the other one saw it.
type conversation struct {
	t          *testing.T
	alice, bob *person
	room, mx   string
	began      time.Time

	mu   sync.Mutex
	sent map[string]time.Time
	seen map[string]time.Time
	deep atomic.Int64 // how often a look had to go further back than window
}

const pace = 150 * time.Millisecond

func (c *conversation) say(format string, args ...any) {
	c.t.Logf("%6.1f s  %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// speak sends numbered texts until ctx ends; one that fails is sent again under its ID. A
// text counts as sent when the server has taken it: what did not get that far cannot arrive.
func (c *conversation) speak(ctx context.Context, who string, send func(ctx context.Context, id, text string) error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		text := fmt.Sprintf("%s %05d", who, n)
		began, tries := time.Now(), 1
		for ; ; tries++ {
			err := send(context.WithoutCancel(ctx), fmt.Sprintf("swarm%s%09d", who, n), text)
			if err == nil {
				break
			}
			if tries == 1 {
				c.say("    %s cannot send: %v", who, err)
			}
			<-tick.C
		}
		c.mu.Lock()
		c.sent[text] = time.Now()
		c.mu.Unlock()
		if took := time.Since(began); tries > 1 || took > 5*time.Second {
			c.say("    %s needed %d tries and %.1f s until the own server took %q", who, tries, took.Seconds(), text)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// watch looks five times a second which texts of one side are on the other one. A look goes
// as far back as the one before it has seen, however long that one took.
func (c *conversation) watch(ctx context.Context, who string, look func(int) func(context.Context) ([]string, error)) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for count := window; ctx.Err() == nil; count *= 4 {
			texts, err := look(count)(ctx)
			if err != nil || c.see(who, texts) || len(texts) < count {
				break
			}
			c.deep.Add(1)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// window is how many texts the watch looks at when it has fallen behind by no more.
const window = 100

// see notes texts of one side that are there, oldest first, and reports whether the oldest of
// them was known.
func (c *conversation) see(who string, texts []string) (known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := true
	for _, text := range texts {
		if !strings.HasPrefix(text, who+" ") {
			continue
		}
		if first {
			known, first = !c.seen[text].IsZero(), false
		}
		if c.seen[text].IsZero() {
			c.seen[text] = time.Now()
		}
	}
	return known
}

func (c *conversation) fromAlice(ctx context.Context, id, text string) error {
	return c.alice.do(ctx, http.MethodPost, "/api/v1/chat.sendMessage", map[string]any{"message": map[string]string{"_id": id, "rid": c.room, "msg": text}}, nil)
}

func (c *conversation) fromBob(ctx context.Context, id, text string) error {
	return c.bob.do(ctx, http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(c.mx)+"/send/m.room.message/"+id, map[string]string{"msgtype": "m.text", "body": text}, nil)
}

// inChat are the newest texts in Rocket.Chat, oldest first.
func (c *conversation) inChat(count int) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var out struct {
			Messages []struct{ Msg string }
		}
		err := c.alice.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/groups.history?roomId=%s&count=%d", c.room, count), nil, &out)
		var texts []string
		for _, m := range out.Messages {
			texts = append(texts, m.Msg)
		}
		slices.Reverse(texts)
		return texts, err
	}
}

// onMatrix are the newest texts on Matrix, oldest first.
func (c *conversation) onMatrix(count int) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var texts []string
		seen := map[string]bool{} // pages overlap, see mxside.Earlier
		for from := ""; len(texts) < count; {
			var out struct {
				Chunk []struct {
					ID      string `json:"event_id"`
					Content struct{ Body string }
				}
				End string
			}
			if err := c.bob.do(ctx, http.MethodGet, fmt.Sprintf("/_matrix/client/v3/rooms/%s/messages?dir=b&limit=%d&from=%s", url.PathEscape(c.mx), min(count, 100), url.QueryEscape(from)), nil, &out); err != nil {
				return nil, err
			}
			fresh := 0
			for _, e := range out.Chunk {
				if !seen[e.ID] {
					seen[e.ID] = true
					fresh++
					texts = append(texts, e.Content.Body)
				}
			}
			if out.End == "" || len(out.Chunk) == 0 {
				break
			}
			if from = mxside.Earlier(out.End); fresh == 0 {
				from = out.End
			}
		}
		slices.Reverse(texts)
		return texts, nil
	}
}

// waiting is how many of the texts that were sent before a time have not been seen.
func (c *conversation) waiting(before time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.sent {
		if at.Before(before) && c.seen[text].IsZero() {
			n++
		}
	}
	return n
}

// longest is how long the slowest text that was sent since a time was on its way.
func (c *conversation) longest(who string, since time.Time) (slowest time.Duration, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.sent {
		if strings.HasPrefix(text, who) && at.After(since) && !c.seen[text].IsZero() {
			slowest, count = max(slowest, c.seen[text].Sub(at)), count+1
		}
	}
	return slowest, count
}

// faultless fails the test unless every text of one side is on the other one once, and in order.
func (c *conversation) faultless(ctx context.Context, who string, look func(context.Context) ([]string, error)) {
	c.t.Helper()
	texts, err := look(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return !strings.HasPrefix(text, who+" ") })
	c.mu.Lock()
	total := 0
	for text := range c.sent {
		if strings.HasPrefix(text, who+" ") {
			total++
		}
	}
	c.mu.Unlock()
	for i, text := range texts {
		if want := fmt.Sprintf("%s %05d", who, i+1); text != want {
			c.t.Fatalf("text %d of %s is %q, and %q is number %d of %d (0 for none): one is lost, twice there or out of order; about there: %q",
				i+1, who, text, want, slices.Index(texts, want)+1, len(texts), texts[max(0, i-3):min(len(texts), i+6)])
		}
	}
	if len(texts) != total {
		c.t.Errorf("%d of %d texts of %s are there", len(texts), total, who)
	}
	c.say("%s: %d texts sent, %d arrived, each once and in order", who, total, len(texts))
}
