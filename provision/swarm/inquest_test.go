package swarm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/secret"
)

// arrived waits until every text that was sent before a time was seen. When one was not, it
// says where the text is before it fails the test.
func (s *story) arrived(before time.Time, patience time.Duration, what string) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for s.waiting(before) > 0 {
		select {
		case <-tick.C:
		case <-end:
			s.inquest(before)
			s.t.Fatalf("not after %v: %s: %d are missing; %s", patience, what, s.waiting(before), s.services())
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		}
	}
}

// missing are the texts that were sent before a time and not seen, in their order.
func (c *conversation) missing(before time.Time) (texts []string) {
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

// inquest looks where the missing texts are: on the servers, and in the bridges and their
// database.
func (s *story) inquest(before time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 2*time.Minute)
	defer cancel()
	missing := s.missing(before)
	s.say("missing: %d, at first %q", len(missing), missing[:min(len(missing), 10)])
	for name, look := range map[string]func(context.Context) ([]string, error){"Rocket.Chat": s.inChat(100000), "Matrix": s.onMatrix(100000)} {
		texts, err := look(ctx)
		var there []string
		for _, text := range missing {
			if slices.Contains(texts, text) {
				there = append(there, text)
			}
		}
		s.say("    %s has %d texts (%v), and of the missing ones %d, at first %q", name, len(texts), err, len(there), there[:min(len(there), 10)])
	}
	load, _ := os.ReadFile("/proc/loadavg")
	s.say("    the load of this machine: %s; the tasks:\n%s", strings.TrimSpace(string(load)), s.why())
	for _, n := range s.c.nodes[1:] {
		for _, task := range n.tasks(stackName + "_bridge") {
			for _, page := range []string{"/status", "/queue", "/queue/dead"} {
				var out json.RawMessage
				err := s.ask(ctx, n, task, page, &out)
				s.say("    the bridge %s on %s says to %s: %.1500s %v", task, n.name, page, out, err)
			}
			s.say("    its log: %s", s.warnings(ctx, n, task))
		}
	}
	first := s.c.nodes[0]
	for _, query := range []string{
		"SELECT count(*) AS items FROM items",
		"SELECT seq, id, lane, kind, attempts, failures, cause, buried FROM items ORDER BY seq LIMIT 20",
		"SELECT lane, waiting, due, held, owner, fence FROM lanes WHERE waiting > 0 OR held > 0 LIMIT 20",
		"SELECT * FROM cursors LIMIT 20",
		"SELECT * FROM roles",
		"SELECT item, rc_message, mx_event FROM links ORDER BY item DESC LIMIT 5",
	} {
		out, err := first.docker(ctx, "exec", first.task(stackName+"_postgres"), "psql", "-U", "homeserver", "-d", "homeserver", "-c", "SET search_path TO bridge; "+query)
		s.say("    %s\n%.3000s %v", query, out, err)
	}
}

// ask asks a bridge on a node for one of its pages.
func (s *story) ask(ctx context.Context, n *node, task, page string, out any) error {
	token, err := os.ReadFile(filepath.Join(s.out, "secrets/bridge/rocketchat_token"))
	if err != nil {
		return err
	}
	bearer := config.OperatorToken(secret.New(strings.TrimSpace(string(token)))).Reveal()
	p := &person{base: "http://127.0.0.1:29328", http: client(n.inside(task)), header: http.Header{"Authorization": {"Bearer " + bearer}}}
	return p.do(ctx, http.MethodGet, page, nil, out)
}

// warnings are the last lines of a bridge's log that are not about success.
func (s *story) warnings(ctx context.Context, n *node, task string) string {
	out, err := s.c.command(ctx, "sh", "-c", fmt.Sprintf("docker -H unix://%s logs --tail 3000 %s 2>&1 | grep -v 'level=\\(INFO\\|DEBUG\\)' | tail -n 30", filepath.Join(n.dir, "docker.sock"), task))
	if err != nil {
		return err.Error()
	}
	return out
}
