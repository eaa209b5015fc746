package console

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/hoststatus"
)

// counting is a bridge with one administrator that counts the requests made to it.
type counting struct {
	Sessions
	Queue
	asked atomic.Int64 // of the database
	made  atomic.Int64 // pages of the queue
	rooms atomic.Int64
	roles atomic.Int64 // of Rocket.Chat
	mu    sync.Mutex
	list  map[string]Session

	history History
}

func (c *counting) State(context.Context) (State, error) {
	c.asked.Add(1)
	// The host's status is read from its file each time.
	return State{Enabled: true, Rooms: c.rooms.Load(), Host: &hoststatus.Status{Alarms: []string{"mail"}}}, nil
}

func (c *counting) Dead(_ context.Context, f DeadFilter, _ int) (DeadPage, error) {
	c.made.Add(1)
	return DeadPage{Letters: []DeadLetter{{ID: "$one", Lane: "mx:!room:example.org", Kind: "mx.message"}}, Fitting: 1, Total: 1, Kinds: []string{cmp.Or(f.Kind, "mx.message")}}, nil
}

func (c *counting) Lanes(context.Context, int) ([]Lane, error) { return nil, nil }

func (c *counting) Find(_ context.Context, key string) (Session, bool, error) {
	c.asked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.list[key]
	return s, ok, nil
}

func (c *counting) All(context.Context) (out []Session, err error) {
	c.asked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.list {
		out = append(out, s)
	}
	return out, nil
}

func (c *counting) Seen(context.Context, string, time.Time) error { return nil }

func (c *counting) Asked(_ context.Context, key string, at time.Time) error {
	c.asked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.list[key]
	s.Asked = at
	c.list[key] = s
	return nil
}

// admins is a Rocket.Chat in which everybody is an administrator.
type admins struct {
	Accounts
	*counting
}

func (a admins) Account(_ context.Context, id string) (Account, bool, error) {
	a.roles.Add(1)
	return Account{ID: id, Username: id, Admin: true}, true, nil
}

func (c *counting) end(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.list, key)
}

// opened is a console with open pages.
type opened struct {
	*counting
	t      *testing.T
	server *httptest.Server
	ended  atomic.Int64
	pages  sync.WaitGroup
	stop   context.CancelFunc
}

const often = 40 * time.Millisecond

// open opens pages, each as a different administrator, and waits until each is shown.
func open(t *testing.T, n int, rolesFor time.Duration) *opened {
	t.Helper()
	c := &counting{list: map[string]Session{}}
	con, err := New(Options{Accounts: admins{counting: c}, Sessions: c, Bridge: c, Queue: c, History: &c.history, Tail: &Tail{}, Log: slog.New(slog.DiscardHandler), RolesFor: rolesFor, LookEvery: often})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	con.Routes(mux)
	o := &opened{counting: c, t: t, server: httptest.NewServer(mux)}
	t.Cleanup(o.server.Close)
	ctx, stop := context.WithCancel(t.Context())
	o.stop = func() { stop(); o.pages.Wait() }
	t.Cleanup(o.stop)
	for i := range n {
		cookie := "cookie" + string(rune('a'+i))
		c.list[keyOf(cookie)] = Session{Key: keyOf(cookie), UserID: cookie, Username: cookie, Began: time.Now(), Seen: time.Now(), Asked: time.Now()}
	}
	for i := range n {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, o.server.URL+Path+"events", nil)
		req.Header.Set("Cookie", cookieName+"=cookie"+string(rune('a'+i)))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		o.pages.Go(func() {
			defer o.ended.Add(1)
			defer func() { _ = res.Body.Close() }()
			var b [512]byte
			for {
				if _, err := res.Body.Read(b[:]); err != nil {
					return
				}
			}
		})
	}
	return o
}

// during returns how often the database was queried within d.
func (o *opened) during(d time.Duration) int64 {
	before := o.asked.Load()
	<-time.After(d)
	return o.asked.Load() - before
}

// Open pages share one look: ten cause as many database queries as one, and without open
// pages there are none.
func TestOpenPagesShareOneLook(t *testing.T) {
	const looks = 25
	for _, n := range []int{1, 10} {
		o := open(t, n, time.Hour)
		// A look queries the state and the sessions.
		if asked := o.during(looks * often); asked == 0 || asked > 2*looks*13/10 {
			t.Errorf("%d open pages: the database was asked %d times in the time of %d looks", n, asked, looks)
		}
		o.stop()
		<-time.After(3 * often)
		if asked := o.during(5 * often); asked != 0 {
			t.Errorf("nobody looks any more, and the database was asked %d times", asked)
		}
	}
}

// The roles of viewers are confirmed, once each time. When a viewer is signed out elsewhere,
// their page ends while the others stay.
func TestAnOpenPageEndsWithItsSession(t *testing.T) {
	o := open(t, 3, 4*often)
	if o.during(20 * often); o.roles.Load() < 6 || o.roles.Load() > 3*6 {
		t.Errorf("Rocket.Chat was asked %d times for three roles in the time of five confirmations", o.roles.Load())
	}
	o.end(keyOf("cookieb"))
	for deadline := time.Now().Add(10 * time.Second); o.ended.Load() == 0; <-time.After(often) {
		if time.Now().After(deadline) {
			t.Fatal("the page of a session that has ended stays")
		}
	}
	if o.during(5 * often); o.ended.Load() != 1 {
		t.Errorf("%d pages ended, want 1", o.ended.Load())
	}
}

// Ten open pages take less than 10 MB.
func TestTenOpenPagesAreSmall(t *testing.T) {
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	o := open(t, 10, 4*often)
	o.during(10 * often)
	if after := memory(); after > before && after-before > 10<<20 {
		t.Errorf("ten open pages take %d bytes", after-before)
	}
}

// ask requests a page as one of the administrators; with open it does so as an open page.
func (o *opened) ask(ctx context.Context, who, page string, open bool) *http.Response {
	o.t.Helper()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, o.server.URL+Path+page, nil)
	req.Header.Set("Cookie", cookieName+"="+who)
	if open {
		req.Header.Set("HX-Request", "true")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	return res
}

func (o *opened) read(who, page string, open bool) string {
	o.t.Helper()
	res := o.ask(o.t.Context(), who, page, open)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		o.t.Fatal(res.Status, err)
	}
	return string(text)
}

// A page that ten administrators have open is rendered once for all of them after each look,
// with each one's own token in their forms and nothing else that is personal. Opening a page
// renders a current one for that person alone.
func TestAnOpenPageIsMadeOnceForAll(t *testing.T) {
	o := open(t, 10, time.Hour)
	all := func() {
		for i := range 10 {
			who := "cookie" + string(rune('a'+i))
			text := o.read(who, "queue", true)
			if strings.Count(text, `name="token" value="`+tokenOf(who)+`"`) != 2 || strings.Count(text, `name="token"`) != 2 || strings.Contains(text, "cookie") {
				t.Errorf("%s reads %s", who, text)
			}
		}
	}
	all()
	if n := o.made.Load(); n > 3 { // the look may have been refreshed meanwhile
		t.Errorf("the page was made %d times for ten who look", n)
	}
	before := o.made.Load()
	for range 5 {
		if text := o.read("cookiea", "queue", false); !strings.Contains(text, tokenOf("cookiea")) || !strings.Contains(text, "cookiea</span>") {
			t.Error(text)
		}
	}
	if n := o.made.Load() - before; n != 5 {
		t.Errorf("%d of 5 pages were made for who has opened them", n)
	}
	// Another filter is another page.
	if text := o.read("cookiea", "queue?kind=mx.reaction", true); !strings.Contains(text, "mx.reaction") {
		t.Error(text)
	}
	<-time.After(3 * often)
	before = o.made.Load()
	if all(); o.made.Load() == before {
		t.Error("a page from before the last look is shown")
	}
}

// changed counts the change events that a page receives.
func (o *opened) changed(page string) *atomic.Int64 {
	o.t.Helper()
	n := &atomic.Int64{}
	ctx, stop := context.WithCancel(o.t.Context())
	res := o.ask(ctx, "cookiea", "events?of="+page, true)
	lines, seen := bufio.NewScanner(res.Body), make(chan struct{}, 1)
	o.pages.Go(func() {
		defer func() { _ = res.Body.Close() }()
		for lines.Scan() {
			switch {
			case lines.Text() == "event: changed":
				n.Add(1)
			case strings.HasPrefix(lines.Text(), ": still"):
				select {
				case seen <- struct{}{}:
				default:
				}
			}
		}
	})
	o.t.Cleanup(stop)
	<-seen
	return n
}

// A page is notified only of changes to what it shows: a delivery concerns the overview, and a
// newly connected room concerns every page. While nothing happens no page is notified, except
// to update ages, once a minute.
func TestAPageIsToldOfWhatItShows(t *testing.T) {
	o := open(t, 1, time.Hour)
	pages := map[string]*atomic.Int64{}
	for _, page := range []string{"overview", "servers", "queue", "rooms", "people"} {
		pages[page] = o.changed(page)
	}
	o.during(15 * often)
	for page, n := range pages {
		if n.Swap(0) > 1 {
			t.Errorf("nothing has happened, and the page %s was told so", page)
		}
	}
	told := func(what string, concerned ...string) {
		t.Helper()
		for _, page := range concerned {
			for deadline := time.Now().Add(10 * time.Second); pages[page].Load() == 0; <-time.After(often) {
				if time.Now().After(deadline) {
					t.Fatalf("%s, and the page %s is not told", what, page)
				}
			}
		}
	}
	for range 5 {
		o.history.Delivered(ToMatrix, time.Now(), time.Second)
		told("something was delivered", "overview", "servers")
		for _, page := range []string{"overview", "servers"} {
			pages[page].Store(0)
		}
	}
	if n := pages["queue"].Load(); n > 1 {
		t.Errorf("the page of the queue was told %d times of deliveries", n)
	}
	for _, n := range pages {
		n.Store(0)
	}
	o.rooms.Add(1)
	told("a room was connected", "overview", "servers", "queue", "rooms", "people")
}
