package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"appliance/provision/answers"
)

// Each setup of docs/proxy.md, behind another web server or with a server name whose website is
// elsewhere, has answers that the program accepts, and the examples for other servers follow from
// these answers. TestBehindNginx and TestBehindCaddy start real ones.
func TestTheWaysOfTheProxyManualFitTheirAnswers(t *testing.T) {
	data, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	var ways []answers.Answers // in the order of the document
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?s)```([a-z]*)\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
		if m[1] != "yaml" || strings.HasPrefix(m[2], "http:") {
			continue
		}
		a, err := answers.Parse("docs/proxy.md", []byte(m[2]))
		if err != nil {
			t.Fatalf("%v\n%s", err, m[2])
		}
		ways = append(ways, a)
	}
	if len(ways) != 4 {
		t.Fatalf("%d sets of answers, want those behind a web server, behind Cloudflare, and two of a website elsewhere", len(ways))
	}
	proxied, cloudflare, wellKnown, srv := ways[0], ways[1], ways[2], ways[3]

	upstream := proxied.Listen(proxied.HTTPPort)
	for what, snippet := range map[string]string{"nginx": blocks["nginx"][0], "Caddy": blocks["caddy"][0], "Traefik": blocks["yaml"][1]} {
		if !strings.Contains(snippet, upstream) || !strings.Contains(snippet, proxied.Domain) {
			t.Errorf("%s does not lead to %s for %s:\n%s", what, upstream, proxied.Domain, snippet)
		}
	}
	var traefik struct {
		HTTP struct {
			Routers  map[string]struct{ Rule, Service string }
			Services map[string]struct {
				LoadBalancer struct{ Servers []struct{ URL string } } `yaml:"loadBalancer"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(blocks["yaml"][1]), &traefik); err != nil {
		t.Fatal(err)
	}
	for name, r := range traefik.HTTP.Routers {
		if s := traefik.HTTP.Services[r.Service].LoadBalancer.Servers; r.Rule != "Host(`"+proxied.Domain+"`)" || len(s) != 1 || s[0].URL != "http://"+upstream {
			t.Errorf("the router %s of Traefik: %+v, %v", name, r, s)
		}
	}
	if cloudflare.TLS == answers.NoTLS || len(cloudflare.Trusted()) < 10 {
		t.Errorf("behind Cloudflare: %s, %v", cloudflare.TLS, cloudflare.Trusted())
	}

	if got := strings.Join(wellKnown.Hosts(), " "); got != wellKnown.Domain {
		t.Errorf("with the well-known elsewhere certificates of %s are needed", got)
	}
	if body := wellKnown.WellKnown(); blocks["json"][0] != body+"\n" || !strings.Contains(blocks["nginx"][1], "return 200 '"+body+"';") {
		t.Errorf("%s and %s, want %s", blocks["json"][0], blocks["nginx"][1], body)
	}
	host, port, _ := strings.Cut(srv.FederationAddress(), ":")
	if want := "_matrix-fed._tcp." + srv.ServerName + ". SRV 10 5 " + port + " " + host + ".\n"; blocks[""][0] != want {
		t.Errorf("the record is %s, want %s", blocks[""][0], want)
	}
	if got := strings.Join(srv.Hosts(), " "); got != srv.Domain+" "+srv.ServerName || srv.TLS != answers.Files {
		t.Errorf("with a record certificates of %s come from %s", got, srv.TLS)
	}
}
