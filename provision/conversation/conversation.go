// Package conversation has people on Rocket.Chat and on Matrix talk to each other while
// tests break the cluster in between, and checks whether all of it arrives.
package conversation

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
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside"
)

// A Person talks to a server as a client does.
type Person struct {
	Base   string
	HTTP   *http.Client
	Header http.Header
}

// Do sends a request, and decodes the response unless out is nil.
func (p *Person) Do(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.Base+path, payload)
	if err != nil {
		return err
	}
	for key, value := range p.Header {
		req.Header[key] = value
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := p.HTTP.Do(req)
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

// Through directs every connection of a client to one address.
func Through(c *http.Client, address string) *http.Client {
	transport, _ := c.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
	return c
}

// RegisterAt creates an account on a homeserver, as its operator does, and signs in.
func RegisterAt(ctx context.Context, p *Person, shared, name string) error {
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	if err := p.Do(ctx, http.MethodGet, "/_synapse/admin/v1/register", nil, &nonce); err != nil {
		return err
	}
	mac := hmac.New(sha1.New, []byte(shared))
	_, _ = io.WriteString(mac, strings.Join([]string{nonce.Nonce, name, "a long password", "notadmin"}, "\x00"))
	var out struct {
		Token string `json:"access_token"`
	}
	err := p.Do(ctx, http.MethodPost, "/_synapse/admin/v1/register", map[string]any{
		"nonce": nonce.Nonce, "username": name, "password": "a long password", "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &out)
	p.Header = http.Header{"Authorization": {"Bearer " + out.Token}}
	return err
}

// SignIn signs in to Rocket.Chat.
func SignIn(ctx context.Context, p *Person, name, password string) error {
	var out struct {
		Data struct{ UserID, AuthToken string } `json:"data"`
	}
	err := p.Do(ctx, http.MethodPost, "/api/v1/login", map[string]string{"username": name, "password": password}, &out)
	p.Header = http.Header{"X-User-Id": {out.Data.UserID}, "X-Auth-Token": {out.Data.AuthToken}}
	return err
}

// A Conversation is the messages that alice on Rocket.Chat and bob on Matrix send each
// other, about six a second each, and when the other one saw them.
type Conversation struct {
	T          *testing.T
	Alice, Bob *Person
	Room, MX   string // where they talk, on Rocket.Chat and on Matrix
	Began      time.Time
	Inquest    func(before time.Time) // reports where missing texts are

	mu   sync.Mutex
	sent map[string]time.Time
	seen map[string]time.Time
	deep atomic.Int64 // how often a look had to go further back than window
}

// New returns a conversation that has not begun.
func New(t *testing.T) *Conversation {
	return &Conversation{T: t, Began: time.Now(), sent: map[string]time.Time{}, seen: map[string]time.Time{}}
}

// Begin starts the conversation. end waits until all of it has arrived, and fails the
// test unless each text is there exactly once and in order.
func (c *Conversation) Begin() (end func()) {
	ctx, stop := context.WithCancel(c.T.Context())
	watching, blind := context.WithCancel(c.T.Context())
	c.T.Cleanup(func() { stop(); blind() })
	var all, eyes sync.WaitGroup
	all.Go(func() { c.speak(ctx, "alice", c.fromAlice) })
	all.Go(func() { c.speak(ctx, "bob", c.fromBob) })
	eyes.Go(func() { c.watch(watching, "bob", c.inChat) })
	eyes.Go(func() { c.watch(watching, "alice", c.onMatrix) })
	return func() {
		stop()
		all.Wait()
		c.arrived(time.Now(), 2*time.Minute, "all has arrived")
		blind()
		eyes.Wait()
		c.faultless(c.T.Context(), "alice", c.onMatrix(everything))
		c.faultless(c.T.Context(), "bob", c.inChat(everything))
	}
}

// everything is more texts than a conversation has.
const everything = 100000

const pace = 150 * time.Millisecond

// Say writes to the log of the test, with the time since the beginning.
func (c *Conversation) Say(format string, args ...any) {
	c.T.Logf("%6.1f s  %s", time.Since(c.Began).Seconds(), fmt.Sprintf(format, args...))
}

// speak sends numbered texts until ctx ends; a failed one is sent again with the same ID.
// A text counts as sent once the server has accepted it: before that it cannot arrive.
func (c *Conversation) speak(ctx context.Context, who string, send func(ctx context.Context, id, text string) error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		text := fmt.Sprintf("%s %05d", who, n)
		began, tries := time.Now(), 1
		for ; ; tries++ {
			err := send(context.WithoutCancel(ctx), fmt.Sprintf("text%s%09d", who, n), text)
			if err == nil {
				break
			}
			if tries == 1 {
				c.Say("    %s cannot send: %v", who, err)
			}
			<-tick.C
		}
		c.mu.Lock()
		c.sent[text] = time.Now()
		c.mu.Unlock()
		if took := time.Since(began); tries > 1 || took > 5*time.Second {
			c.Say("    %s needed %d tries and %.1f s until the own server took %q", who, tries, took.Seconds(), text)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// watch checks five times a second which texts of one side have reached the other. Each
// check goes back as far as the previous one had seen, however long that took.
func (c *Conversation) watch(ctx context.Context, who string, look func(int) func(context.Context) ([]string, error)) {
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

// window is how many texts a check reads unless it has fallen further behind.
const window = 100

// see records texts of one side that have arrived, oldest first, and reports whether the
// oldest of them was known already.
func (c *Conversation) see(who string, texts []string) (known bool) {
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

func (c *Conversation) fromAlice(ctx context.Context, id, text string) error {
	return c.Alice.Do(ctx, http.MethodPost, "/api/v1/chat.sendMessage", map[string]any{"message": map[string]string{"_id": id, "rid": c.Room, "msg": text}}, nil)
}

func (c *Conversation) fromBob(ctx context.Context, id, text string) error {
	return c.Bob.Do(ctx, http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(c.MX)+"/send/m.room.message/"+id, map[string]string{"msgtype": "m.text", "body": text}, nil)
}

// inChat reads the newest texts in Rocket.Chat, oldest first.
func (c *Conversation) inChat(count int) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var out struct {
			Messages []struct{ Msg string }
		}
		err := c.Alice.Do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/groups.history?roomId=%s&count=%d", c.Room, count), nil, &out)
		var texts []string
		for _, m := range out.Messages {
			texts = append(texts, m.Msg)
		}
		slices.Reverse(texts)
		return texts, err
	}
}

// onMatrix reads the newest texts on Matrix, oldest first.
func (c *Conversation) onMatrix(count int) func(context.Context) ([]string, error) {
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
			if err := c.Bob.Do(ctx, http.MethodGet, fmt.Sprintf("/_matrix/client/v3/rooms/%s/messages?dir=b&limit=%d&from=%s", url.PathEscape(c.MX), min(count, 100), url.QueryEscape(from)), nil, &out); err != nil {
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

// waiting counts the texts sent before a time that have not been seen.
func (c *Conversation) waiting(before time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.sent {
		if at.Before(before) && c.seen[text].IsZero() {
			n++
		}
	}
	return n
}

// longest is how long the slowest text sent since a time took to arrive.
func (c *Conversation) longest(who string, since time.Time) (slowest time.Duration, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.sent {
		if strings.HasPrefix(text, who) && at.After(since) && !c.seen[text].IsZero() {
			slowest, count = max(slowest, c.seen[text].Sub(at)), count+1
		}
	}
	return slowest, count
}

// faultless fails the test unless every text of one side has reached the other exactly once, and in order.
func (c *Conversation) faultless(ctx context.Context, who string, look func(context.Context) ([]string, error)) {
	c.T.Helper()
	texts, err := look(ctx)
	if err != nil {
		c.T.Fatal(err)
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
			c.T.Fatalf("text %d of %s is %q, and %q is number %d of %d (0 for none): one is lost, twice there or out of order; about there: %q",
				i+1, who, text, want, slices.Index(texts, want)+1, len(texts), texts[max(0, i-3):min(len(texts), i+6)])
		}
	}
	if len(texts) != total {
		c.T.Errorf("%d of %d texts of %s are there", len(texts), total, who)
	}
	c.Say("%s: %d texts sent, %d arrived, each once and in order", who, total, len(texts))
}

// missing returns the texts sent before a time and not seen, in order.
func (c *Conversation) missing(before time.Time) (texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for text, at := range c.sent {
		if at.Before(before) && c.seen[text].IsZero() {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// arrived waits until every text sent before a time has been seen. If one is missing, it
// reports where the text is before it fails the test.
func (c *Conversation) arrived(before time.Time, patience time.Duration, what string) {
	c.T.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for c.waiting(before) > 0 {
		select {
		case <-tick.C:
		case <-end:
			c.Inquest(before)
			c.T.Fatalf("not after %v: %s: %d are missing", patience, what, c.waiting(before))
		case <-c.T.Context().Done():
			c.T.Fatal(c.T.Context().Err())
		}
	}
}

// Phase runs do while people talk, waits for what was said meanwhile, and logs how long
// that took. takeover is how long the slowest message may take to arrive.
func (c *Conversation) Phase(what string, takeover time.Duration, do func()) {
	c.T.Helper()
	c.Say("--- %s", what)
	began := time.Now()
	do()
	for range 20 { // about three seconds of talk after it
		tick := time.NewTimer(pace)
		<-tick.C
	}
	end := time.Now()
	c.arrived(end, 2*time.Minute, "what was said while "+what+" arrives")
	alice, a := c.longest("alice", began)
	bob, b := c.longest("bob", began)
	c.Say("    %.1f s; Rocket.Chat to Matrix %d messages, the slowest %.1f s; Matrix to Rocket.Chat %d, the slowest %.1f s", end.Sub(began).Seconds(), a, alice.Seconds(), b, bob.Seconds())
	if n := c.deep.Swap(0); n > 0 {
		c.Say("    %d times more than %d texts were new at once", n, window)
	}
	if slowest := max(alice, bob); slowest > takeover {
		c.T.Errorf("%s: a message took %v", what, slowest)
	}
}

// Where logs which texts sent before a time did not arrive, and which server they are on.
func (c *Conversation) Where(ctx context.Context, before time.Time) {
	missing := c.missing(before)
	c.Say("missing: %d, at first %q", len(missing), missing[:min(len(missing), 10)])
	for name, look := range map[string]func(context.Context) ([]string, error){"Rocket.Chat": c.inChat(everything), "Matrix": c.onMatrix(everything)} {
		texts, err := look(ctx)
		var there []string
		for _, text := range missing {
			if slices.Contains(texts, text) {
				there = append(there, text)
			}
		}
		c.Say("    %s has %d texts (%v), and of the missing ones %d, at first %q", name, len(texts), err, len(there), there[:min(len(there), 10)])
	}
	load, _ := os.ReadFile("/proc/loadavg")
	c.Say("    the load of this machine: %s", strings.TrimSpace(string(load)))
}
