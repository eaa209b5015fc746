package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counting is a bridge with one administrator, which counts what is asked of it.
type counting struct {
	Sessions
	asked atomic.Int64 // of the database
	roles atomic.Int64 // of Rocket.Chat
	mu    sync.Mutex
	list  map[string]Session
}

func (c *counting) State(context.Context) (State, error) {
	c.asked.Add(1)
	return State{Enabled: true}, nil
}

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

// admins is Rocket.Chat, in which everybody is an administrator.
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

// open opens pages, each of another administrator, and waits until each is shown.
func open(t *testing.T, n int, rolesFor time.Duration) *opened {
	t.Helper()
	c := &counting{list: map[string]Session{}}
	con, err := New(Options{Accounts: admins{counting: c}, Sessions: c, Bridge: c, History: &History{}, Tail: &Tail{}, Log: slog.New(slog.DiscardHandler), RolesFor: rolesFor, LookEvery: often})
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

// during returns how often the database was asked in a time.
func (o *opened) during(d time.Duration) int64 {
	before := o.asked.Load()
	<-time.After(d)
	return o.asked.Load() - before
}

// Open pages share one look: the database is asked for ten as often as for one, and not at
// all when nobody looks.
func TestOpenPagesShareOneLook(t *testing.T) {
	const looks = 25
	for _, n := range []int{1, 10} {
		o := open(t, n, time.Hour)
		// A look asks for the state and for the sessions.
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

// The roles of those who look are confirmed, once each time, and who is signed out elsewhere
// sees the page end while the others stay.
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
