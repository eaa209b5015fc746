// Package mxtest runs real Matrix homeservers for tests: Dendrite on loopback,
// on PostgreSQL as in production, with TLS between servers, so that federation
// is real too. The binary is named by APPLIANCE_DENDRITE and the database server
// by APPLIANCE_TEST_POSTGRES; `make test` provides both. Nothing is imitated.
package mxtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the registration API is defined with it
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dendrite is a homeserver. Its fields are set by Start.
type Dendrite struct {
	Name string // server name: "localhost:41234"; other test servers reach it there
	URL  string // client-server API

	tb       testing.TB
	dir      string
	database string
	ports    [2]int
	cmd      *exec.Cmd
	ended    chan struct{}
}

const sharedSecret = "only-for-tests"

// Skip skips a test whose needs are not met, unless APPLIANCE_MUST_RUN names it.
func Skip(tb testing.TB, why string) {
	tb.Helper()
	if slices.ContainsFunc(strings.Split(os.Getenv("APPLIANCE_MUST_RUN"), ","), func(n string) bool {
		return n != "" && strings.HasPrefix(tb.Name(), n)
	}) {
		tb.Fatalf("must run here, but: %s", why)
	}
	tb.Skip(why)
}

// New prepares a homeserver. registration is the content of an application
// service's registration file, "" for none; use Name in it before Start.
func New(tb testing.TB) *Dendrite {
	tb.Helper()
	if os.Getenv("APPLIANCE_DENDRITE") == "" || os.Getenv("APPLIANCE_TEST_POSTGRES") == "" {
		Skip(tb, "APPLIANCE_DENDRITE and APPLIANCE_TEST_POSTGRES are not set; make test sets them and runs this")
	}
	d := &Dendrite{tb: tb, database: database(tb), dir: tb.TempDir(), ports: [2]int{FreePort(tb), FreePort(tb)}}
	d.Name = "localhost:" + strconv.Itoa(d.ports[1])
	d.URL = "http://localhost:" + strconv.Itoa(d.ports[0])
	return d
}

// Start writes the configuration, starts the server and waits until it answers.
// Configured with a registration it serves that application service.
func (d *Dendrite) Start(registration string) *Dendrite {
	d.tb.Helper()
	d.write("matrix_key.pem", signingKey())
	cert, key := certificate(d.tb)
	d.write("tls.crt", cert)
	d.write("tls.key", key)
	files := "[]"
	if registration != "" {
		d.write("registration.yaml", registration)
		files = "[registration.yaml]"
	}
	d.write("dendrite.yaml", strings.NewReplacer("NAME", d.Name, "SECRET", sharedSecret, "FILES", files, "DATABASE", d.database).Replace(configuration))
	d.tb.Cleanup(func() {
		d.Kill()
		if text, _ := os.ReadFile(filepath.Join(d.dir, "log")); d.tb.Failed() {
			d.tb.Logf("the end of the log of %s:\n%s", d.Name, text[max(0, len(text)-5000):])
		}
	})
	d.Launch()
	return d
}

// Launch starts the server again after Kill, with all it had stored.
func (d *Dendrite) Launch() {
	d.tb.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.tb.Fatal(err)
	}
	cmd := exec.Command(os.Getenv("APPLIANCE_DENDRITE"), //nolint:gosec,noctx // it ends with Kill
		"--config", "dendrite.yaml", "--tls-cert", "tls.crt", "--tls-key", "tls.key",
		"--http-bind-address", "127.0.0.1:"+strconv.Itoa(d.ports[0]), "--https-bind-address", "127.0.0.1:"+strconv.Itoa(d.ports[1]))
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		d.tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); _ = log.Close(); close(ended) }()
	d.cmd, d.ended = cmd, ended
	WaitFor(d.tb, "Dendrite to answer", func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			d.tb.Fatalf("dendrite ended:\n%s", text[max(0, len(text)-4000):])
		default:
		}
		res, err := http.Get(d.URL + "/_matrix/client/versions")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Kill ends the server as a power cut would.
func (d *Dendrite) Kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		<-d.ended
		d.cmd = nil
	}
}

func (d *Dendrite) write(name, text string) {
	d.tb.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.tb.Fatal(err)
	}
}

const configuration = `version: 2
global:
  server_name: NAME
  private_key: matrix_key.pem
  key_validity_period: 168h0m0s
  database: {connection_string: "DATABASE", max_open_conns: 15, max_idle_conns: 5, conn_max_lifetime: -1}
  cache: {max_size_estimated: 64mb, max_age: 1h}
  trusted_third_party_id_servers: []
  presence: {enable_inbound: false, enable_outbound: false}
  report_stats: {enabled: false}
  jetstream: {storage_path: ./jetstream}
app_service_api: {config_files: FILES}
client_api:
  registration_disabled: true
  guests_disabled: true
  registration_shared_secret: SECRET
  rate_limiting: {enabled: false}
federation_api:
  send_max_retries: 16
  key_perspectives: []
  disable_tls_validation: true
  deny_networks: []
  allow_networks: ["0.0.0.0/0", "::/0"]
media_api: {base_path: ./media, max_file_size_bytes: 4194304}
room_server: {default_room_version: "10"}
sync_api: {search: {enabled: false}}
user_api: {account_bcrypt_cost: 4}
logging: [{type: std, level: warn}]
`

// database makes a database of its own and returns how to reach it.
func database(tb testing.TB) string {
	tb.Helper()
	server, err := url.Parse(os.Getenv("APPLIANCE_TEST_POSTGRES"))
	if err != nil {
		tb.Fatal(err)
	}
	name := "dendrite_" + strings.ToLower(rand.Text())
	run := func(ctx context.Context, statement string) error {
		conn, err := pgx.Connect(ctx, server.String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, statement)
		return err
	}
	if err := run(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = run(context.WithoutCancel(tb.Context()), "DROP DATABASE "+name+" WITH (FORCE)") })
	own := *server
	own.Path = "/" + name
	return own.String()
}

func signingKey() string {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed)
	return string(pem.EncodeToMemory(&pem.Block{Type: "MATRIX PRIVATE KEY", Headers: map[string]string{"Key-ID": "ed25519:test1"}, Bytes: seed}))
}

func certificate(tb testing.TB) (cert, key string) {
	tb.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &priv.PublicKey, priv)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// FreePort returns a port of loopback that nobody listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}

// WaitFor looks until ok, and fails the test after a minute.
func WaitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 200*time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited a minute for %s", what)
		}
		<-time.After(wait)
	}
}

// Person is somebody with a Matrix client.
type Person struct {
	ID    string
	Token string
	on    *Dendrite
}

// Register makes an account (POST /_synapse/admin/v1/register, which Dendrite
// has too) with a display name.
func (d *Dendrite) Register(username, displayName string) *Person {
	d.tb.Helper()
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	anon := &Person{on: d}
	anon.Must("GET", "/_synapse/admin/v1/register", nil, &nonce)
	const password = "a-long-password"
	mac := hmac.New(sha1.New, []byte(sharedSecret))
	_, _ = io.WriteString(mac, strings.Join([]string{nonce.Nonce, username, password, "notadmin"}, "\x00"))
	var out struct {
		UserID      string `json:"user_id"`
		AccessToken string `json:"access_token"`
	}
	anon.Must("POST", "/_synapse/admin/v1/register", map[string]any{
		"nonce": nonce.Nonce, "username": username, "password": password, "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &out)
	p := &Person{ID: out.UserID, Token: out.AccessToken, on: d}
	p.Must("PUT", "/_matrix/client/v3/profile/"+url.PathEscape(p.ID)+"/displayname", map[string]string{"displayname": displayName}, nil)
	return p
}

// Call makes a request and returns the status.
func (p *Person) Call(ctx context.Context, method, path string, body, out any) (int, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.on.URL+path, payload)
	if err != nil {
		return 0, err
	}
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return res.StatusCode, fmt.Errorf("%s %s: %d %s, %w", method, path, res.StatusCode, data, errOr(err))
	}
	if out != nil {
		err = json.Unmarshal(data, out)
	}
	return res.StatusCode, err
}

func errOr(err error) error {
	if err == nil {
		return fmt.Errorf("refused")
	}
	return err
}

// Must is Call that may not fail.
func (p *Person) Must(method, path string, body, out any) {
	p.on.tb.Helper()
	if _, err := p.Call(context.Background(), method, path, body, out); err != nil {
		p.on.tb.Fatal(err)
	}
}

// CreateRoom makes a room with some others invited.
func (p *Person) CreateRoom(name string, direct bool, invite ...string) string {
	p.on.tb.Helper()
	req := map[string]any{"preset": "private_chat", "invite": invite, "is_direct": direct}
	if direct {
		req["preset"] = "trusted_private_chat"
	}
	if name != "" {
		req["name"] = name
	}
	var out struct {
		RoomID string `json:"room_id"`
	}
	p.Must("POST", "/_matrix/client/v3/createRoom", req, &out)
	return out.RoomID
}

// AcceptInvitation waits for an invitation and joins. It returns the room and
// who invited.
func (p *Person) AcceptInvitation() (room, inviter string) {
	p.on.tb.Helper()
	WaitFor(p.on.tb, "an invitation of "+p.ID, func() bool {
		var ans struct {
			Rooms struct {
				Invite map[string]struct {
					InviteState struct {
						Events []Event `json:"events"`
					} `json:"invite_state"`
				} `json:"invite"`
			} `json:"rooms"`
		}
		p.Must("GET", "/_matrix/client/v3/sync?timeout=0", nil, &ans)
		for id, r := range ans.Rooms.Invite {
			room = id
			for _, e := range r.InviteState.Events {
				if e.Type == "m.room.member" && e.StateKey == p.ID {
					inviter = e.Sender
				}
			}
			return true
		}
		return false
	})
	p.Must("POST", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/join", map[string]any{}, nil)
	return room, inviter
}

// Send sends a text.
func (p *Person) Send(room, text string) string {
	p.on.tb.Helper()
	id, err := p.TrySend(context.Background(), room, text, strconv.FormatInt(time.Now().UnixNano(), 36))
	if err != nil {
		p.on.tb.Fatal(err)
	}
	return id
}

// TrySend sends a text under a transaction ID of the caller's choice.
func (p *Person) TrySend(ctx context.Context, room, text, txn string) (string, error) {
	var out struct {
		EventID string `json:"event_id"`
	}
	_, err := p.Call(ctx, "PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+txn, map[string]string{"msgtype": "m.text", "body": text}, &out)
	return out.EventID, err
}

// Event is an event as a client sees it.
type Event struct {
	ID       string `json:"event_id"`
	Type     string `json:"type"`
	Sender   string `json:"sender"`
	StateKey string `json:"state_key"`
	Content  struct {
		MsgType     string `json:"msgtype"`
		Body        string `json:"body"`
		Membership  string `json:"membership"`
		DisplayName string `json:"displayname"`
	} `json:"content"`
}

// Timeline returns the messages of a room, oldest first.
func (p *Person) Timeline(room string) []Event {
	p.on.tb.Helper()
	var all []Event
	from := ""
	for {
		var out struct {
			Chunk []Event `json:"chunk"`
			End   string  `json:"end"`
		}
		path := "/_matrix/client/v3/rooms/" + url.PathEscape(room) + "/messages?dir=b&limit=500"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		p.Must("GET", path, nil, &out)
		for _, e := range out.Chunk {
			if e.Type == "m.room.message" {
				all = append(all, e)
			}
		}
		if out.End == "" || len(out.Chunk) == 0 {
			break
		}
		from = out.End
	}
	slices.Reverse(all)
	return all
}

// Members returns the membership of everybody who has one.
func (p *Person) Members(room string) map[string]string {
	p.on.tb.Helper()
	var out struct {
		Chunk []Event `json:"chunk"`
	}
	p.Must("GET", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/members", nil, &out)
	members := map[string]string{}
	for _, e := range out.Chunk {
		members[e.StateKey] = e.Content.Membership
	}
	return members
}

// DisplayName returns somebody's profile name as this person's server sees it.
func (p *Person) DisplayName(user string) string {
	var out struct {
		DisplayName string `json:"displayname"`
	}
	_, _ = p.Call(context.Background(), "GET", "/_matrix/client/v3/profile/"+url.PathEscape(user), nil, &out)
	return out.DisplayName
}

// SendEvent sends an event of any type and returns its ID.
func (p *Person) SendEvent(room, kind string, content map[string]any) string {
	p.on.tb.Helper()
	var out struct {
		EventID string `json:"event_id"`
	}
	txn := strings.ToLower(rand.Text())
	p.Must("PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/"+kind+"/"+txn, content, &out)
	return out.EventID
}

// Redact takes an event back.
func (p *Person) Redact(room, event string) {
	p.on.tb.Helper()
	p.Must("PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/redact/"+url.PathEscape(event)+"/"+strings.ToLower(rand.Text()), map[string]any{}, nil)
}

// Events returns everything in a room's timeline as it was sent, oldest first.
func (p *Person) Events(room string) []map[string]any {
	p.on.tb.Helper()
	var out struct {
		Chunk []map[string]any `json:"chunk"`
	}
	p.Must("GET", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/messages?dir=b&limit=500", nil, &out)
	slices.Reverse(out.Chunk)
	return out.Chunk
}
