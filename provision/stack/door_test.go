package stack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/mustrun"
	"appliance/provision/certs"
	"appliance/provision/render"
)

const doorHost = "chat.example.test"

// A door is the web server of the stack with its rendered configuration, in front of
// servers of this test.
type door struct {
	t                              *testing.T
	container, address             string
	plain                          bool // without TLS
	rocketchat, homeserver, bridge *behind
	prometheus                     *behind
}

// behind is a server behind the door. It reads request bodies to the end.
type behind struct {
	requests, bytes atomic.Int64
	begun           chan struct{} // has a value once a body begins to arrive
	last            atomic.Pointer[http.Request]
}

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.last.Store(r)
	b.requests.Add(1)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		b.bytes.Add(int64(n))
		if n > 0 {
			select {
			case b.begun <- struct{}{}:
			default:
			}
		}
		if err != nil {
			break
		}
	}
	fmt.Fprintln(w, "behind the door:", r.URL.Path)
}

// openDoor starts the web server with the limits that compose.yaml gives it.
func openDoor(t *testing.T, set ...string) *door {
	t.Helper()
	s := onThisMachine(t)
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	host := hostOfContainers(t)
	d := &door{t: t, plain: slices.Contains(set, "tls=none")}
	files := rendered(t, append([]string{"domain=" + doorHost}, set...)...)
	var names []string
	for name, at := range map[string]**behind{"rocketchat:3000": &d.rocketchat, "homeserver:8008": &d.homeserver, "bridge:29328": &d.bridge, "prometheus:9090": &d.prometheus} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			mustrun.Skip(t, "containers do not reach this machine: "+err.Error())
		}
		*at = &behind{begun: make(chan struct{}, 1)}
		server := &http.Server{Handler: *at, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		names = append(names, name, l.Addr().String())
	}
	config, live := t.TempDir(), t.TempDir()
	for name, f := range files {
		if below, ok := strings.CutPrefix(name, "config/nginx/"); ok {
			put(t, filepath.Join(config, below), []byte(strings.NewReplacer(names...).Replace(string(f.Data))))
		}
	}
	if err := certs.IssueInternal(live, doorHost); err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(certs.LivePath(live, doorHost))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(live, doorHost+".pem"), bundle)
	d.run(image, config, live, files)
	return d
}

// hostOfContainers returns the address at which containers reach this machine.
func hostOfContainers(t *testing.T) string {
	t.Helper()
	said := docker(t, "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
	_, subnet, err := net.ParseCIDR(strings.TrimSpace(said))
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && subnet.Contains(ip.IP) {
			return ip.IP.String()
		}
	}
	mustrun.Skip(t, "this machine has no address in Docker's network "+subnet.String())
	return ""
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	err := os.Chmod(filepath.Dir(name), 0o755) //nolint:gosec // nginx reads it as another user
	if err == nil {
		err = os.WriteFile(name, data, 0o644) //nolint:gosec // as above
	}
	if err != nil {
		t.Fatal(err)
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (d *door) run(image, config, live string, files render.Files) {
	d.t.Helper()
	var compose struct {
		Services map[string]struct{ Tmpfs []string }
	}
	if err := yaml.Unmarshal(files["compose.yaml"].Data, &compose); err != nil {
		d.t.Fatal(err)
	}
	memory := ""
	for line := range strings.Lines(string(files[".env"].Data)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "NGINX_MEMORY="); ok {
			memory = value
		}
	}
	d.container = strings.TrimSpace(docker(d.t, "run", "--detach", "--user", "101:101", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true",
		"--memory", memory, "--memory-swap", memory, "--tmpfs", compose.Services["nginx"].Tmpfs[0], "--publish", "127.0.0.1::"+d.port(), "--publish", "127.0.0.1::9464", "--publish", "127.0.0.1::9090",
		"--volume", config+":/etc/appliance-nginx:ro", "--volume", live+":/certs/live:ro",
		"--entrypoint", "nginx", image, "-e", "/dev/stderr", "-c", "/etc/appliance-nginx/nginx.conf"))
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Log(docker(d.t, "logs", "--tail", "30", d.container))
		}
		docker(d.t, "rm", "--force", d.container)
	})
	d.address, _, _ = strings.Cut(docker(d.t, "port", d.container, d.port()+"/tcp"), "\n")
	until := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if conn, err := d.knock(); err == nil {
			_ = conn.Close()
			return
		} else if time.Now().After(until) {
			d.t.Fatalf("the door does not open: %v\n%s", err, docker(d.t, "logs", d.container))
		}
	}
}

// port returns the port that visitors, or a web server in front, connect to.
func (d *door) port() string {
	if d.plain {
		return "80"
	}
	return "443"
}

// knock opens a connection, with TLS unless the door is plain.
func (d *door) knock() (net.Conn, error) {
	if !d.plain {
		return d.dial(&tls.Config{})
	}
	res, err := http.Get("http://" + d.address) //nolint:noctx // the client's own
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	return net.Dial("tcp", d.address) //nolint:noctx // as above
}

func (d *door) dial(c *tls.Config) (*tls.Conn, error) {
	c.ServerName, c.InsecureSkipVerify = doorHost, true
	return tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", d.address, c)
}

// attack sends a request with a body of the given size, even if a response arrives
// meanwhile, and returns the response. A negative size sends that many bytes in chunks.
func (d *door) attack(method, path string, size int, header ...string) *http.Response {
	conn, err := d.dial(&tls.Config{})
	if err != nil {
		d.t.Error(err)
		return &http.Response{Body: http.NoBody}
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		header = append([]string{method + " " + path + " HTTP/1.1", "Host: " + doorHost, "Connection: close"}, header...)
		body := "Content-Length: " + fmt.Sprint(size)
		if size < 0 {
			body = "Transfer-Encoding: chunked"
		}
		_, _ = io.WriteString(conn, strings.Join(append(header, body), "\r\n")+"\r\n\r\n")
		part := bytes.Repeat([]byte("x"), 64<<10)
		for rest := max(size, -size); rest > 0; {
			n := min(rest, len(part))
			rest -= n
			var err error
			if size < 0 {
				_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", n, part[:n])
			} else {
				_, err = conn.Write(part[:n])
			}
			if err != nil {
				return
			}
		}
		if size < 0 {
			_, _ = io.WriteString(conn, "0\r\n\r\n")
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		d.t.Errorf("%s %s with %d bytes: %v", method, path, size, err)
		return &http.Response{Body: http.NoBody}
	}
	said, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(said))
	return res
}

// settled repeats attack until the request is judged by its size. nginx counts a refused large
// body until it has read the rest of it, and answers 429 meanwhile.
func (d *door) settled(method, path string, size int) (res *http.Response) {
	for until := time.Now().Add(time.Minute); ; {
		if res = d.attack(method, path, size); res.StatusCode != http.StatusTooManyRequests || time.Now().After(until) {
			return res
		}
	}
}

// several runs n attacks at once and counts the responses by status.
func (d *door) several(n int, attack func() *http.Response) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range n {
		wg.Go(func() {
			res := attack()
			mu.Lock()
			defer mu.Unlock()
			got[res.StatusCode]++
		})
	}
	wg.Wait()
	return got
}

// limited checks that no more of n requests came through than 20 at once and 5 a
// second, and that the rest were refused as too many.
func (d *door) limited(what string, n int, got map[int]int, began time.Time) {
	d.t.Helper()
	most := 22 + int(5*time.Since(began).Seconds())
	if ok := got[http.StatusOK]; ok < 10 || ok > most || got[http.StatusTooManyRequests] != n-ok || ok == n {
		d.t.Errorf("of %d %s at once at most %d may come through: %v", n, what, most, got)
	}
}

// open checks that no process of the web server was killed and that it answers.
func (d *door) open() {
	d.t.Helper()
	if res := d.attack(http.MethodGet, "/api/info", 0); res.StatusCode != http.StatusOK {
		d.t.Errorf("afterwards /api/info answers %d", res.StatusCode)
	}
	if state := docker(d.t, "inspect", "--format", "{{.State.Running}} {{.State.OOMKilled}}", d.container); strings.TrimSpace(state) != "true false" {
		d.t.Errorf("running and killed for its memory: %s", state)
	}
	if said := docker(d.t, "logs", d.container); strings.Contains(said, "exited on signal") {
		d.t.Errorf("a process of the web server was killed:\n%s", said)
	}
}

// TestTheFrontDoor attacks the web server that every installation exposes to the internet.
func TestTheFrontDoor(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, d *door)
		set  []string
	}{
		{"a body that no transaction has", doorLargeBodies, nil},
		{"invites that nobody has signed", doorInvites, nil},
		{"media without a name", doorMedia, nil},
		{"a client of Matrix", doorClients, nil},
		{"a client of Matrix where the names of people are free", doorClients, []string{"namespace=prefixed"}},
		{"long words in the log", doorLog, nil},
		{"commands in a hurry", doorCommands, nil},
		{"an upload goes straight through", doorUploads, nil},
		{"a choice of addresses", doorAddress, nil},
		{"a way to the numbers, and passwords in a hurry", doorConsole, nil},
		{"old ciphers and a plain first visit", doorTLS, nil},
		{"a request that never ends", doorSlow, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, openDoor(t, c.set...))
		})
	}
}

func doorLargeBodies(t *testing.T, d *door) {
	const large = 92 << 20
	const send = "/_matrix/federation/v1/send/x"
	for _, size := range []int{large, -large} {
		if res := d.settled(http.MethodPost, send, size); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("POST %s with %d bytes: %d", send, size, res.StatusCode)
		}
		got := d.several(20, func() *http.Response { return d.attack(http.MethodPost, send, size) })
		if got[http.StatusRequestEntityTooLarge]+got[http.StatusTooManyRequests] != 20 {
			t.Errorf("20 of them at once: %v", got)
		}
	}
	if n := d.homeserver.bytes.Load(); n > 0 {
		t.Errorf("%d bytes of them came to the homeserver", n)
	}
	for path, size := range map[string]int{"/_matrix/federation/v1/query_auth/!r:x/$e": 2 << 20, "/_matrix/key/v2/query": 2 << 20, "/api/v1/login": 11 << 20, "/api/v1/commands.run": 1 << 20, "/.well-known/matrix/server": 1 << 20} {
		if res := d.settled(http.MethodPost, path, size); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("POST %s with %d bytes: %d", path, size, res.StatusCode)
		}
	}
	if res := d.settled(http.MethodPut, send, 9<<20); res.StatusCode != http.StatusOK || d.homeserver.bytes.Load() != 9<<20 {
		t.Errorf("a large transaction: %d, and %d bytes came through", res.StatusCode, d.homeserver.bytes.Load())
	}
	d.open()
}

func doorInvites(t *testing.T, d *door) {
	const invite = "/_matrix/federation/v2/invite/!r:evil.test/$e"
	if res := d.attack(http.MethodPut, invite, 1<<20); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an invite of 1 MB: %d", res.StatusCode)
	}
	if n := d.bridge.bytes.Load() + d.homeserver.bytes.Load(); n > 0 {
		t.Errorf("%d bytes of it came through", n)
	}
	const size = 100_000
	began := time.Now()
	got := d.several(150, func() *http.Response { return d.attack(http.MethodPut, invite, size) })
	d.limited("invites", 150, got, began)
	if n := d.bridge.requests.Load(); n == 0 || int(n) > got[http.StatusOK] {
		t.Errorf("%d hints came to the bridge, %v", n, got)
	}
	if r := d.bridge.last.Load(); r == nil {
		t.Error("no hint came to the bridge")
	} else if r.URL.Path != "/hint/invite" || r.Header.Get("X-Original-Uri") != invite || r.ContentLength != size {
		t.Errorf("the hint is %s with %d bytes for %q", r.URL, r.ContentLength, r.Header.Get("X-Original-Uri"))
	}
	d.open()
}

func doorMedia(t *testing.T, d *door) {
	for _, path := range []string{
		"/_matrix/media/v3/download/example.test/x", "/_matrix/media/v3/thumbnail/example.test/x", "/_matrix/media/r0/download/example.test/x",
		"/_matrix/media/v1/create", "/_matrix/media/v3/config", "/_matrix/media//v3/download/x/y", "/_matrix/federation/../media/v3/download/x/y",
	} {
		if res := d.attack(http.MethodGet, path, 0); res.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, res.StatusCode)
		}
	}
	if n := d.homeserver.requests.Load(); n > 0 {
		t.Errorf("%d of them came to the homeserver", n)
	}
	if res := d.attack(http.MethodGet, "/_matrix/federation/v1/media/download/x", 0); res.StatusCode != http.StatusOK || d.homeserver.requests.Load() != 1 {
		t.Errorf("media for a server that shows who it is: %d", res.StatusCode)
	}
}

// doorClients tries to reach sign-up and sign-in at the homeserver.
func doorClients(t *testing.T, d *door) {
	for _, path := range []string{
		"/_matrix/client/versions", "/_matrix/client/v3/register", "/_matrix/client/v3/login", "/_matrix/client/r0/login", "/_matrix/client/v3/sync",
		"/_matrix/client", "//_matrix/client/v3/login", "/_matrix/federation/../client/v3/login", "/_matrix/%63lient/v3/login",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if res := d.attack(method, path, 0); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d", method, path, res.StatusCode)
			}
		}
	}
	if n := d.homeserver.requests.Load(); n > 0 {
		t.Errorf("%d of them came to the homeserver", n)
	}
}

func doorLog(t *testing.T, d *door) {
	long := strings.Repeat("y", 7000)
	d.attack(http.MethodGet, "/"+long, 0)
	d.attack(http.MethodGet, "/_matrix/federation/v1/send/"+long, 0, "User-Agent: "+long)
	d.attack(strings.Repeat("Y", 3000), "/", 0)
	d.attack(http.MethodPut, "/_matrix/federation/v2/invite/"+long+"/e", 1<<20)
	d.open()
	for line := range strings.Lines(docker(t, "logs", d.container)) {
		if len(line) > 2100 { // nginx itself truncates its complaints
			t.Errorf("a line of %d bytes: %.80s...", len(line), line)
		} else if len(line) > 450 && !strings.Contains(line, "[error]") && !strings.Contains(line, "[warn]") {
			t.Errorf("a line of %d bytes about a request: %.80s...", len(line), line)
		}
	}
}

func doorCommands(t *testing.T, d *door) {
	began := time.Now()
	got := d.several(200, func() *http.Response {
		res := d.attack(http.MethodPost, "/api/v1/commands.run", 100, "Content-Type: application/json")
		if res.StatusCode != http.StatusTooManyRequests {
			return res
		}
		var said struct {
			Success   bool   `json:"success"`
			ErrorType string `json:"errorType"`
		}
		if err := json.NewDecoder(res.Body).Decode(&said); err != nil || said.ErrorType != "error-too-many-requests" || res.Header.Get("Retry-After") == "" {
			t.Errorf("refused with %v and %+v, Retry-After %q", err, said, res.Header.Get("Retry-After"))
		}
		return res
	})
	d.limited("commands", 200, got, began)
	if n := d.bridge.requests.Load(); int(n) != got[http.StatusOK] {
		t.Errorf("%d came to the bridge, %v", n, got)
	}
}

// doorUploads sends the first half of a file and waits until it has come through, which
// it would not if uploads were buffered on the way.
func doorUploads(t *testing.T, d *door) {
	conn, err := d.dial(&tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	half := bytes.Repeat([]byte("x"), 50<<20)
	fmt.Fprintf(conn, "POST /api/v1/rooms.media/r HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", doorHost, 2*len(half))
	if _, err := conn.Write(half); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.rocketchat.begun:
	case <-time.After(20 * time.Second):
		t.Fatal("the first half of a file has not come through")
	}
	if _, err := conn.Write(half); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK || d.rocketchat.bytes.Load() != int64(2*len(half)) {
		t.Errorf("%v, %v, and %d bytes came through", res, err, d.rocketchat.bytes.Load())
	}
	d.open()
}

func doorAddress(t *testing.T, d *door) {
	d.attack(http.MethodGet, "/api/info", 0, "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1")
	d.attack(http.MethodPost, "/api/v1/commands.run", 2, "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1")
	for name, r := range map[string]*http.Request{"Rocket.Chat": d.rocketchat.last.Load(), "the bridge": d.bridge.last.Load()} {
		if r == nil {
			t.Fatalf("nothing came to %s", name)
		}
		for _, h := range []string{"X-Forwarded-For", "X-Real-Ip"} {
			if got := r.Header.Values(h); len(got) != 1 || net.ParseIP(got[0]) == nil || got[0] == "192.0.2.1" {
				t.Errorf("%s sees %s: %q", name, h, got)
			}
		}
	}
}

// doorConsole tries to reach what the bridge shows inside, other than the operator's page.
func doorConsole(t *testing.T, d *door) {
	for _, path := range []string{"/metrics", "/_appliance/../metrics", "/_appliance/%2e%2e/metrics", "/_appliance/..%2fstatus", "//_appliance/../queue", "/readyz", "/status"} {
		_ = d.attack(http.MethodGet, path, 0).Body.Close()
		if r := d.bridge.last.Load(); r != nil && !strings.HasPrefix(r.URL.Path, "/_appliance/") {
			t.Errorf("%s came to the bridge as %s", path, r.URL.Path)
		}
	}
	d.attack(http.MethodGet, "/_appliance/queue", 0, "X-Real-IP: 192.0.2.1")
	r := d.bridge.last.Load()
	if r == nil || r.URL.Path != "/_appliance/queue" || r.Host != doorHost || net.ParseIP(r.Header.Get("X-Real-Ip")) == nil || r.Header.Get("X-Real-Ip") == "192.0.2.1" {
		t.Fatalf("the page is asked for with %+v", r)
	}
	if res := d.attack(http.MethodPost, "/_appliance/sign-in", 1<<20); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of 1 MB: %d", res.StatusCode)
	}
	if got := d.several(200, func() *http.Response { return d.attack(http.MethodPost, "/_appliance/sign-in", 100) }); got[http.StatusTooManyRequests] < 50 {
		t.Errorf("200 attempts at once: %v", got)
	}
}

func doorTLS(t *testing.T, d *door) {
	for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256} {
		conn, err := d.dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		if err == nil {
			_ = conn.Close()
			t.Errorf("the door takes %s", tls.CipherSuiteName(suite))
		}
	}
	conn, err := d.dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	if err != nil {
		t.Fatalf("TLS 1.2 as it should be: %v", err)
	}
	_ = conn.Close()
	for _, path := range []string{"/.well-known/matrix/server", "/.well-known/matrix/client", "/.well-known/matrix/else", "/_matrix/client/versions", "/api/info"} {
		if res := d.attack(http.MethodGet, path, 0); !strings.HasPrefix(res.Header.Get("Strict-Transport-Security"), "max-age=") {
			t.Errorf("%s: Strict-Transport-Security is %q", path, res.Header.Get("Strict-Transport-Security"))
		}
	}
}

func doorSlow(t *testing.T, d *door) {
	conn, err := d.dial(&tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /api/info HTTP/1.1\r\n")
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(40 * time.Second))
	for tick := time.NewTicker(time.Second); ; <-tick.C {
		if _, err := io.WriteString(conn, "X-Slow: 1\r\n"); err != nil {
			return
		}
		if time.Since(began) > 35*time.Second {
			t.Fatal("a request of one header a second is still waited for after 35 s")
		}
	}
}
