package stack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/certs"
	"appliance/provision/render"
)

// snippet returns the first example in docs/proxy.md that is in the given language.
func snippet(t *testing.T, language string) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```"+language+"\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("docs/proxy.md has no snippet of %s", language)
	}
	return text
}

// proxied returns the answers of docs/proxy.md.
func proxied(t *testing.T) []string {
	var set []string
	for line := range strings.Lines(snippet(t, "yaml")) {
		set = append(set, strings.Replace(strings.TrimSpace(line), ": ", "=", 1))
	}
	return append(set, "domain="+doorHost)
}

// through requests a path through a web server in front, as a visitor who claims to
// come from elsewhere.
func through(t *testing.T, front, path string, header ...string) *http.Response {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, front)
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+doorHost+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	for until := time.Now().Add(20 * time.Second); ; <-time.After(50 * time.Millisecond) {
		res, err := client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			return res
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

// freePort returns a free port of this machine.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// checkFront checks that a visitor who comes through a web server in front is identified
// by their own address, whatever they claim, and that everything else arrives as it
// should.
func checkFront(t *testing.T, d *door, front string) {
	t.Helper()
	if res := through(t, front, "/api/info", "X-Forwarded-For", "203.0.113.66"); res.StatusCode != http.StatusOK {
		t.Fatalf("/api/info answers %d", res.StatusCode)
	}
	got := d.rocketchat.last.Load()
	if from := got.Header.Get("X-Forwarded-For"); from != "127.0.0.1" {
		t.Errorf("the visitor comes from %q, want the address that the web server in front saw", from)
	}
	if proto := got.Header.Get("X-Forwarded-Proto"); proto != "https" || got.Host != doorHost {
		t.Errorf("X-Forwarded-Proto %q, Host %q", proto, got.Host)
	}
	through(t, front, "/websocket", "Connection", "Upgrade", "Upgrade", "websocket")
	if up := d.rocketchat.last.Load().Header.Get("Upgrade"); up != "websocket" {
		t.Errorf("a websocket arrives with Upgrade %q", up)
	}
	const signed = "/_matrix/federation/v1/state/%21room%3Aexample.org"
	through(t, front, signed)
	if uri := d.homeserver.last.Load().RequestURI; uri != signed {
		t.Errorf("a signed path arrives as %s", uri)
	}
}

func TestBehindNginx(t *testing.T) {
	d := openDoor(t, proxied(t)...)
	live := t.TempDir()
	if err := certs.IssueInternal(live, doorHost); err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(certs.LivePath(live, doorHost))
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	put(t, filepath.Join(dir, "both.pem"), bundle)
	config := strings.NewReplacer("listen 443", "listen 127.0.0.1:"+port, "chat.example.org;", doorHost+";", "http://127.0.0.1:8080", "http://"+d.address,
		"/etc/letsencrypt/live/chat.example.org/fullchain.pem", "/front/both.pem", "/etc/letsencrypt/live/chat.example.org/privkey.pem", "/front/both.pem").Replace(snippet(t, "nginx"))
	put(t, filepath.Join(dir, "nginx.conf"), []byte("daemon off; pid /tmp/pid; events {} http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\n"+config+"}\n"))
	front := strings.TrimSpace(docker(t, "run", "--detach", "--network", "host", "--user", "101:101", "--tmpfs", "/tmp:mode=1777", "--volume", dir+":/front:ro",
		"--entrypoint", "nginx", render.Images()["NGINX_IMAGE"], "-e", "/dev/stderr", "-c", "/front/nginx.conf"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(docker(t, "logs", "--tail", "20", front))
		}
		docker(t, "rm", "--force", front)
	})
	checkFront(t, d, "127.0.0.1:"+port)
}

func TestBehindCaddy(t *testing.T) {
	program, err := exec.LookPath(filepath.Join(os.Getenv("APPLIANCE_CACHE"), "bin", "caddy"))
	if err != nil {
		program, err = exec.LookPath("../../.cache/bin/caddy")
	}
	if err != nil {
		mustrun.Skip(t, "there is no Caddy; compose/stage/setup.sh fetches it")
	}
	d := openDoor(t, proxied(t)...)
	dir, port := t.TempDir(), freePort(t)
	config := "{\n\tadmin off\n\tskip_install_trust\n\tlocal_certs\n\tauto_https disable_redirects\n}\n" +
		strings.NewReplacer("chat.example.org", "https://"+doorHost+":"+port, "127.0.0.1:8080", d.address).Replace(snippet(t, "caddy"))
	put(t, filepath.Join(dir, "Caddyfile"), []byte(config))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	checkFront(t, d, "127.0.0.1:"+port)
}

// Only a trusted proxy may say where a visitor comes from: a claim is ignored if there is
// none, or if the request comes from another address.
func TestAForgedAddressIsIgnored(t *testing.T) {
	for _, set := range [][]string{nil, {"trusted_proxies=192.0.2.1, 198.51.100.0/24"}} {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			d := openDoor(t, set...)
			d.attack(http.MethodGet, "/api/info", 0, "X-Forwarded-For: 203.0.113.66", "X-Real-IP: 203.0.113.66")
			got := d.rocketchat.last.Load()
			for _, name := range []string{"X-Forwarded-For", "X-Real-IP"} {
				if value := got.Header.Get(name); value == "" || strings.Contains(value, "203.0.113.66") {
					t.Errorf("%s is %q", name, value)
				}
			}
		})
	}
}
