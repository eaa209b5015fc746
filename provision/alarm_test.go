package provision_test

import (
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/provision/answers"
	"appliance/provision/checkup"
	"appliance/provision/finding"
	"appliance/provision/site"
)

// The administrator gets one message when a problem is found, and one when it is over.
func TestTheAlarmReachesTheAdministratorOnce(t *testing.T) {
	rc := owner(t, "bot", "admin")
	a := answers.NewDraft().Answers
	a.AdminUsername = rc.Admin().Username
	room := rc.CreateDirect("matrix-bridge", a.AdminUsername)
	dir := t.TempDir()
	a.Domain, a.BridgeURL, a.TLS = "bridge.example.test", "http://bridge.example.test:1", answers.Internal
	a.RocketChat, a.RocketChatURL, a.RocketChatUserID = answers.External, outward(t, rc.URL), ownUserID
	a.RocketChatTokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(a.RocketChatTokenFile, []byte(ownToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Normalize().Save(site.AnswersPath(dir), ""); err != nil {
		t.Fatal(err)
	}
	installed, err := site.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = installed.Close() }()

	good := finding.Finding{Check: "services", Summary: "all is well"}
	bad := func(days string) finding.Finding {
		f := finding.Warning("the certificate expires in "+days+" days", "the authority said no", "open port 80")
		f.Check = "certificate"
		return f
	}
	visit := func(want bool, findings ...finding.Finding) {
		t.Helper()
		if sent, err := checkup.Alarm(t.Context(), installed, findings); err != nil || sent != want {
			t.Fatalf("sent %v, want %v: %v", sent, want, err)
		}
	}
	visit(false, good)
	visit(true, good, bad("9"))
	visit(false, good, bad("8")) // no news
	if err := os.Rename(a.RocketChatTokenFile, a.RocketChatTokenFile+".away"); err != nil {
		t.Fatal(err)
	}
	if sent, err := checkup.Alarm(t.Context(), installed, []finding.Finding{good}); err == nil || sent {
		t.Fatal("told without a token")
	}
	if err := os.Rename(a.RocketChatTokenFile+".away", a.RocketChatTokenFile); err != nil {
		t.Fatal(err)
	}
	visit(true, good) // a message that could not be sent is sent later
	visit(false, good)

	var got []string
	for _, m := range rc.Said(room) {
		got = append(got, m.Text)
	}
	if len(got) != 2 || !strings.Contains(got[0], "the certificate expires in 9 days") || !strings.Contains(got[0], "open port 80") || !strings.Contains(got[1], "nothing wrong any more") {
		t.Errorf("the administrator got %q", got)
	}
}

// outward returns the URL of a proxy to the server at address, which listens on a
// non-loopback address of this host.
func outward(t *testing.T, address string) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.To4() == nil {
			continue
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(n.IP.String(), "0"))
		if err != nil {
			continue
		}
		srv := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
		_ = srv.Listener.Close()
		srv.Listener = ln
		srv.Start()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	mustrun.Skip(t, "this host has no other address")
	return ""
}
