package doctor_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/plan"
)

// An installation is one that is well until a test makes it ill.
type installation struct {
	doctor.Patient
	door     map[string]string // path -> body; what is not here answers 404
	services map[string]plan.Service
}

func healthy(t *testing.T) *installation {
	t.Helper()
	const inside = "127.78.0.1"
	i := &installation{
		door: map[string]string{
			"/api/info":                      `{"version":"8.6","success":true}`,
			"/_matrix/federation/v1/version": `{"server":{"name":"Dendrite","version":"0.15.2"}}`,
		},
		services: map[string]plan.Service{},
	}
	for _, name := range []string{"bridge", "homeserver", "nginx", "postgres", "rocketchat"} {
		i.services[name] = plan.Service{Name: name, State: "running", Health: "healthy", Address: inside}
	}
	d := answers.NewDraft()
	for _, set := range []string{"domain=chat.example.test", "server_name=example.test", "tls=internal", "mongo_url=mongodb://db/x"} {
		d.Assign(set)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	i.Patient = doctor.Patient{
		Answers: a, CertsDir: t.TempDir(), Address: "127.0.0.1", Now: time.Now,
		Services: func(context.Context) (map[string]plan.Service, error) { return i.services, nil },
	}
	i.openDoor(t)
	ln, err := net.Listen("tcp", inside+":29328")
	if err != nil {
		t.Fatal(err)
	}
	bridge := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })}
	go func() { _ = bridge.Serve(ln) }()
	t.Cleanup(func() { _ = bridge.Close() })
	return i
}

// openDoor serves the front door with the certificates that are on disk.
func (i *installation) openDoor(t *testing.T) {
	t.Helper()
	for _, host := range i.Answers.Hosts() {
		if err := certs.IssueInternal(i.CertsDir, host); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := i.door[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, body)
	}))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	for _, host := range i.Answers.Hosts() {
		name := certs.LivePath(i.CertsDir, host)
		pair, err := tls.LoadX509KeyPair(name, name)
		if err != nil {
			t.Fatal(err)
		}
		srv.TLS.Certificates = append(srv.TLS.Certificates, pair)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr, _ := srv.Listener.Addr().(*net.TCPAddr)
	i.Answers.HTTPSPort = addr.Port
	i.door["/.well-known/matrix/server"] = fmt.Sprintf(`{"m.server":"chat.example.test:%d"}`, addr.Port)
}

func TestAHealthyInstallation(t *testing.T) {
	for _, f := range doctor.Run(t.Context(), healthy(t).Patient) {
		if f.Severity != finding.OK {
			t.Errorf("%+v", f)
		}
	}
}

func TestIllnesses(t *testing.T) {
	for name, c := range map[string]struct {
		ail   func(*testing.T, *installation)
		check string
		want  string
	}{
		"a dead service": {func(_ *testing.T, i *installation) {
			i.services["homeserver"] = plan.Service{Name: "homeserver", State: "exited", Status: "Exited (1) 2 minutes ago"}
		}, "services", "fail 1 of 5 services are not healthy"},
		"a service that is not there": {func(_ *testing.T, i *installation) { delete(i.services, "postgres") }, "services", "fail 1 of 5 services are not healthy"},
		"no certificate":              {func(_ *testing.T, i *installation) { i.CertsDir += "/none" }, "certificate", "fail chat.example.test has no certificate"},
		"an old certificate": {func(_ *testing.T, i *installation) {
			i.Now = func() time.Time { return time.Now().Add(400 * 24 * time.Hour) }
		}, "certificate", "fail the certificate of chat.example.test expired 3 days ago"},
		"a certificate that should have been renewed": {func(_ *testing.T, i *installation) {
			i.Now = func() time.Time { return time.Now().Add(350 * 24 * time.Hour) }
		}, "certificate-server-name", "warn the certificate of example.test expires in 46 days"},
		"a renewed certificate that is not shown": {func(t *testing.T, i *installation) {
			if err := certs.IssueInternal(i.CertsDir, "chat.example.test"); err != nil {
				t.Fatal(err)
			}
		}, "certificate", "warn chat.example.test shows another certificate than the one on disk"},
		"no Rocket.Chat":       {func(_ *testing.T, i *installation) { delete(i.door, "/api/info") }, "rocketchat", "fail Rocket.Chat does not answer at "},
		"no well-known":        {func(_ *testing.T, i *installation) { delete(i.door, "/.well-known/matrix/server") }, "well-known", "fail other servers cannot find example.test"},
		"another well-known":   {func(_ *testing.T, i *installation) { i.door["/.well-known/matrix/server"] = `{"m.server":"x:1"}` }, "well-known", "fail example.test points to x:1"},
		"no federation":        {func(_ *testing.T, i *installation) { delete(i.door, "/_matrix/federation/v1/version") }, "federation", "fail the homeserver does not answer other servers"},
		"an open door":         {func(_ *testing.T, i *installation) { i.door["/metrics"] = "x" }, "closed-doors", "fail 1 paths are open that should be closed"},
		"a bridge that is off": {func(_ *testing.T, i *installation) { delete(i.services, "bridge") }, "bridge", "fail the bridge is not running"},
	} {
		t.Run(name, func(t *testing.T) {
			i := healthy(t)
			c.ail(t, i)
			for _, f := range doctor.Run(t.Context(), i.Patient) {
				if f.Severity > finding.OK && (f.Why == "" || f.Fix == "") {
					t.Errorf("no why or no fix: %+v", f)
				}
				if f.Check == c.check && !strings.HasPrefix(f.Severity.String()+" "+f.Summary, c.want) {
					t.Errorf("got  %s %s\nwant %s", f.Severity, f.Summary, c.want)
				}
			}
		})
	}
}
