// Package hermetic is a Matrix homeserver for tests that needs nothing installed. It
// speaks the Client-Server and the Application Service API over real HTTP on loopback;
// its state is in memory. The servers of one test share a Universe, which stands in
// for federation: an event that one server accepts reaches the others a moment later.
//
// It behaves like Dendrite 0.15 or like Synapse 1.157 where those two differ, as far
// as the bridge can tell; Traits names each difference. It leaves out signatures,
// state resolution (a room has one order of events for all servers), end-to-end
// encryption, knocking, spaces, search and account data. Where a real server behaves
// differently, this one is wrong.
package hermetic

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Traits are the differences between kinds of homeserver.
type Traits struct {
	// Synapse: if false, the server behaves like Dendrite in everything without a field
	// of its own: error texts, pagination tokens, and permissions that exist only there.
	Synapse bool
	// PushesRedactions, PushesEphemeral and PushesRemoteInvites: the application service
	// gets them. Dendrite (0.15) pushes neither redactions nor ephemeral events, nor
	// invitations from another server to a room that it is not in.
	PushesRedactions, PushesEphemeral, PushesRemoteInvites bool
	// GrowsTransactions: a transaction that was refused is resent under the same ID
	// with more events in it, as Dendrite does (against the specification). Otherwise
	// each transaction has a number and fixed content, as in Synapse.
	GrowsTransactions bool
	// HoldsBack: a numbered transaction that was in flight when the server stopped is
	// resent only after the next failure, as Synapse does. Otherwise it is resent at once.
	HoldsBack bool
	// Pings: POST /appservice/{id}/ping exists (Client-Server API, since v1.7).
	Pings bool
	// HidesRedactions: redactions by another kind of server in rooms of version 11 and
	// later are shown to nobody until a user reads at the beginning of the room. Dendrite
	// (0.15) looks for their target at the place where earlier versions had it.
	HidesRedactions bool
	// LeaksAnswers: a connection to the application service whose response has a body
	// is neither reused nor closed (Dendrite 0.15).
	LeaksAnswers bool
	// ForgetsTransactions: the IDs of clients' transactions are lost when the server
	// stops. Dendrite keeps them in memory, Synapse in its database.
	ForgetsTransactions bool
	// SharesTransactions: users of the application service share the IDs of their
	// transactions in a room, because they share the token (Dendrite 0.15).
	SharesTransactions bool
}

// Dendrite returns the traits of Dendrite 0.15.
func Dendrite() Traits {
	return Traits{GrowsTransactions: true, HidesRedactions: true, LeaksAnswers: true, ForgetsTransactions: true, SharesTransactions: true}
}

// Synapse returns the traits of Synapse 1.157.
func Synapse() Traits {
	return Traits{Synapse: true, PushesRedactions: true, PushesEphemeral: true, PushesRemoteInvites: true, HoldsBack: true, Pings: true}
}

// Generic returns the traits of a server that follows the specification. Where that
// leaves a choice, it behaves like Synapse.
func Generic() Traits {
	t := Synapse()
	t.HoldsBack = false
	return t
}

// Options describe a server.
type Options struct {
	Name    string // server name
	Address string // to listen on: host:port
	Traits  Traits
	// RoomVersion is the version of new rooms; "" is the default of the kind.
	RoomVersion string
	UploadLimit int64  // bytes
	Secret      string // for registration with a shared secret
	// Delay is how long an event takes to reach another server; 0 adds no delay.
	Delay time.Duration
	// Rude is the seed of a server in a bad mood: it refuses requests of the application
	// service with 429 and a moment to wait, drops the connection after doing what was
	// requested, forgets transaction IDs now and then, and repeats transactions that
	// were accepted. 0 is a polite one.
	Rude uint64
}

// A Universe is a group of servers that know each other. Its lock guards everything in it.
type Universe struct {
	mu      sync.Mutex
	servers []*Server
	rooms   map[string]*room
	aliases map[string]*room
	changed chan struct{} // closed and replaced when something happens
}

// NewUniverse returns an empty universe.
func NewUniverse() *Universe {
	return &Universe{rooms: map[string]*room{}, aliases: map[string]*room{}, changed: make(chan struct{})}
}

// Server is a homeserver. Methods are safe for concurrent use.
type Server struct {
	Options
	u     *Universe
	index int // in u.servers
	mux   *http.ServeMux
	rude  *mood

	// What follows is guarded by the universe's lock.
	users     map[string]*user  // by user ID
	tokens    map[string]*user  // by access token
	sent      map[string]string // event IDs, by transaction
	media     map[string]file
	inbox     []delivery // events of other servers
	wake      chan struct{}
	clock     int64 // position in the stream that /sync shows
	services  []*service
	running   *running
	directory map[string]bool // public rooms, by room ID
	skips     int             // how many messages of other servers to skip
	skipped   map[*event]bool // see SkipNext

	connections atomic.Int64
}

// Configure sets what is known only after the server was created. The server must not be running.
func (s *Server) Configure(roomVersion string, rude uint64) {
	s.RoomVersion, s.Rude, s.rude = roomVersion, rude, newMood(rude)
}

// running holds what lives from Launch to Stop.
type running struct {
	cancel context.CancelFunc
	http   *http.Server
	client *http.Client
	work   sync.WaitGroup
	leaks  []func() // connections to the application service that are left open
}

// NewServer adds a server that is not running yet.
func (u *Universe) NewServer(o Options) *Server {
	s := &Server{
		Options: o, u: u, users: map[string]*user{}, tokens: map[string]*user{}, sent: map[string]string{}, media: map[string]file{},
		wake: make(chan struct{}, 1), directory: map[string]bool{}, rude: newMood(o.Rude),
	}
	s.mux = s.routes()
	u.mu.Lock()
	defer u.mu.Unlock()
	s.index = len(u.servers)
	u.servers = append(u.servers, s)
	return s
}

// Launch starts the server, with everything that was there when it stopped.
func (s *Server) Launch() error {
	var lc net.ListenConfig
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		cancel()
		return err
	}
	r := &running{cancel: cancel, client: s.outgoing()}
	r.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState:   s.count,
	}
	s.u.mu.Lock()
	s.running = r
	if s.Traits.ForgetsTransactions {
		s.sent = map[string]string{}
	}
	for _, v := range s.services {
		v.launch(ctx, r)
	}
	s.u.mu.Unlock()
	r.work.Go(func() { _ = r.http.Serve(ln) })
	r.work.Go(func() { s.receive(ctx) })
	return nil
}

// Stop ends the server as a power cut would: anything in progress is broken off.
func (s *Server) Stop() {
	s.u.mu.Lock()
	r := s.running
	s.running = nil
	s.u.mu.Unlock()
	if r == nil {
		return
	}
	r.cancel()
	_ = r.http.Close()
	r.work.Wait()
	for _, end := range r.leaks {
		end()
	}
	r.client.CloseIdleConnections()
}

// Connections counts the open connections to the server, and from it to the
// application service.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// count is an http.Server's ConnState.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// outgoing returns a client whose connections are counted.
func (s *Server) outgoing() *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{
		ResponseHeaderTimeout: 30 * time.Second, // as long as Dendrite waits for a transaction
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			s.connections.Add(1)
			return &counted{Conn: c, done: sync.OnceFunc(func() { s.connections.Add(-1) })}, nil
		},
	}}
}

// counted is a connection that reports when it is closed.
type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	c.done()
	return c.Conn.Close()
}

// happened wakes all waiting goroutines because something changed. The lock is held.
func (u *Universe) happened() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// server returns the server of a name, or nil if there is none. The lock is held.
func (u *Universe) server(name string) *Server {
	for _, s := range u.servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// reach returns the server of a name, or the error that a homeserver reports if it
// cannot be reached. Only loopback addresses are actually dialled. The lock is not held.
func (u *Universe) reach(ctx context.Context, name string) (*Server, error) {
	u.mu.Lock()
	s := u.server(name)
	up := s != nil && s.running != nil
	u.mu.Unlock()
	switch {
	case up:
		return s, nil
	case !loopback(name):
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", name)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", name)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return nil, fmt.Errorf("%s: EOF", name)
}

// loopback reports whether a server's name is an address of this host with a port.
func loopback(name string) bool {
	host, _, err := net.SplitHostPort(name)
	return err == nil && (host == "localhost" || host == "127.0.0.1")
}

// serverOf returns the server's name in a user ID or an alias.
func serverOf(id string) string {
	_, name, _ := strings.Cut(id, ":")
	return name
}

// opaque returns an ID like those of room versions since 4: the hash of something.
func opaque() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
