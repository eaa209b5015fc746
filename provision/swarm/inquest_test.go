package swarm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/provision/conversation"
)

// inquest looks for the missing texts on the servers, and in the bridges and their database.
func (s *story) inquest(before time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.T.Context()), 2*time.Minute)
	defer cancel()
	s.Where(ctx, before)
	s.Say("    the tasks: %s\n%s", s.services(), s.why())
	for _, n := range s.c.nodes[1:] {
		for _, task := range n.tasks(stackName + "_bridge") {
			for _, page := range []string{"/status", "/queue", "/queue/dead"} {
				var out json.RawMessage
				err := s.ask(ctx, n, task, page, &out)
				s.Say("    the bridge %s on %s says to %s: %.1500s %v", task, n.name, page, out, err)
			}
			s.Say("    its log: %s", s.warnings(ctx, n, task))
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
		s.Say("    %s\n%.3000s %v", query, out, err)
	}
}

// ask requests one of the pages of a bridge on a node.
func (s *story) ask(ctx context.Context, n *node, task, page string, out any) error {
	token, err := os.ReadFile(filepath.Join(s.out, "secrets/bridge/rocketchat_token"))
	if err != nil {
		return err
	}
	bearer := config.OperatorToken(secret.New(strings.TrimSpace(string(token)))).Reveal()
	p := &conversation.Person{Base: "http://127.0.0.1:29328", HTTP: conversation.Client(n.inside(task)), Header: http.Header{"Authorization": {"Bearer " + bearer}}}
	return p.Do(ctx, http.MethodGet, page, nil, out)
}

// warnings returns the last lines of a bridge's log above level INFO.
func (s *story) warnings(ctx context.Context, n *node, task string) string {
	out, err := s.c.command(ctx, "sh", "-c", fmt.Sprintf("docker -H unix://%s logs --tail 3000 %s 2>&1 | grep -v 'level=\\(INFO\\|DEBUG\\)' | tail -n 30", filepath.Join(n.dir, "docker.sock"), task))
	if err != nil {
		return err.Error()
	}
	return out
}
