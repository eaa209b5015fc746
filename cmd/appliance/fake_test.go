package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"appliance/cmd/appliance/internal/fakehost"
)

// A daemon answers as Docker's daemon would after what the fake command has done, and
// as the Rocket.Chat in its containers.
type daemon struct{ dir, address string }

func (d *daemon) socket() string { return filepath.Join(d.dir, "sock") }

func (d *daemon) start() (stop func(), err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	api, err := net.Listen("unix", d.socket())
	if err != nil {
		return nil, err
	}
	rocketchat, err := net.Listen("tcp", d.address+":3000")
	if err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(api, http.HandlerFunc(d.api)) }()
	bridge, err := net.Listen("tcp", d.address+":29328")
	if err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(rocketchat, d.noting("rocketchat", d.chat)) }()
	homeserver, err := net.Listen("tcp", d.address+":8008")
	if err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(homeserver, d.noting("homeserver", d.homeserver)) }()
	go func() { _ = http.Serve(bridge, d.noting("bridge", d.bridge)) }()
	return func() { _ = api.Close(); _ = rocketchat.Close(); _ = bridge.Close(); _ = homeserver.Close() }, nil
}

// noting records the requests to a service in docker/requests.
func (d *daemon) noting(service string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fakehost.Note(d.dir, "requests", service+" "+r.Method+" "+r.URL.Path)
		answer(w, r)
	})
}

// bridge is the part of the bridge that its operator uses: the lanes of docker/lanes and
// the dead letters of docker/dead, one ID per line. It records in docker/log what becomes
// of them. Without these files it answers as a bridge of an earlier release does.
func (d *daemon) bridge(w http.ResponseWriter, r *http.Request) {
	if answer, err := os.ReadFile(filepath.Join(d.dir, "reload")); err == nil && r.URL.Path == "/reload" && r.Method == http.MethodPost {
		_, _ = w.Write(answer)
		return
	}
	if r.URL.Path == "/_matrix/app/v1/ping" {
		d.knowsBearer(w, r, strings.Join(fakehost.Lines(d.dir, "bridge-hs-token"), ""))
		return
	}
	if len(fakehost.Lines(d.dir, "lanes")) == 0 || !strings.HasPrefix(r.URL.Path, "/queue") && r.URL.Path != "/buried" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	dead := fakehost.Lines(d.dir, "dead")
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	letters := []any{}
	for _, id := range dead {
		letters = append(letters, map[string]any{"id": id, "lane": "rc:GENERAL", "kind": "message", "accepted": then, "gave_up": then, "buried": then, "attempts": 12, "cause": "M_FORBIDDEN"})
	}
	switch r.URL.Path {
	case "/queue":
		list := []any{}
		for _, lane := range fakehost.Lines(d.dir, "lanes") {
			if lane != "none" {
				list = append(list, map[string]any{"lane": lane, "waiting": 3, "oldest": then, "first": "m1", "kind": "message", "attempts": 2, "last_error": "502"})
			}
		}
		reply(w, map[string]any{"waiting": 3 * len(list), "dead_letters": len(dead), "lanes": list})
	case "/queue/dead", "/buried":
		reply(w, letters)
	case "/queue/dead/retry":
		d.choose(w, r, "retried", dead)
	case "/queue/dead/drop":
		d.choose(w, r, "dropped", dead)
	}
}

func (d *daemon) choose(w http.ResponseWriter, r *http.Request, did string, dead []string) {
	var in struct {
		IDs []string
		All bool
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.All == (len(in.IDs) > 0) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if in.All {
		in.IDs = dead
	}
	done, unknown := []string{}, []string{}
	for _, id := range in.IDs {
		if !slices.Contains(dead, id) {
			unknown = append(unknown, id)
			continue
		}
		done = append(done, id)
		fakehost.Note(d.dir, "log", did+" "+id)
	}
	_ = os.Remove(filepath.Join(d.dir, "dead"))
	for _, id := range dead {
		if !slices.Contains(done, id) {
			fakehost.Note(d.dir, "dead", id)
		}
	}
	reply(w, map[string]any{did: done, "unknown": unknown})
}

var apiVersion = regexp.MustCompile(`^/v1\.\d+`)

func (d *daemon) api(w http.ResponseWriter, r *http.Request) {
	path := apiVersion.ReplaceAllString(r.URL.Path, "")
	w.Header().Set("Api-Version", "1.47")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "/_ping":
	case path == "/version":
		reply(w, map[string]string{"Version": "27.5.1", "ApiVersion": "1.47"})
	case path == "/info":
		reply(w, map[string]string{"DockerRootDir": "/"})
	case path == "/networks":
		reply(w, []any{})
	case path == "/containers/json":
		reply(w, d.containers(r.URL.Query().Get("filters")))
	case strings.HasPrefix(path, "/containers/") && strings.HasSuffix(path, "/json"):
		id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
		state := map[string]any{"StartedAt": strings.Join(fakehost.Lines(d.dir, "started-"+id), "")}
		if said, err := os.ReadFile(filepath.Join(d.dir, id)); err == nil {
			state["Health"] = map[string]any{"Log": []any{map[string]any{"ExitCode": 0, "Output": string(said)}, map[string]any{"ExitCode": 1, "Output": "not primary yet"}}}
		}
		doc := map[string]any{"Id": id, "State": state}
		if id == "rocketchat" { // as it was started
			doc["Config"] = map[string]any{"Env": fakehost.Lines(d.dir, "rocketchat.env")}
		}
		reply(w, doc)
	case strings.HasSuffix(path, "/restart"):
		id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/restart")
		_ = os.Remove(filepath.Join(d.dir, "started-"+id))
		fakehost.Note(d.dir, "started-"+id, time.Now().Format(time.RFC3339Nano))
		fakehost.Note(d.dir, "log", "restart "+id)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/start"):
		fakehost.Note(d.dir, "log", "start "+strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/start"))
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/stop"):
		fakehost.Note(d.dir, "log", "stop "+strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/stop"))
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/logs"):
		_, _ = w.Write([]byte{1, 0, 0, 0, 0, 0, 0, 23})
		_, _ = io.WriteString(w, "it said why, at the end\n"[:23])
	case path == "/images/create":
		_, _ = io.Copy(io.Discard, r.Body)
		fakehost.Note(d.dir, "images", r.URL.Query().Get("repo"))
	case path == "/images/json":
		reply(w, []any{})
	case strings.HasPrefix(path, "/images/appliance-program") && !d.has(path), d.absent(path):
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]string{"message": "no such image"})
	default:
		reply(w, map[string]string{"Id": "x"})
	}
}

func (d *daemon) has(path string) bool {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/images/"), "/json")
	return slices.Contains(fakehost.Lines(d.dir, "images"), name)
}

// absent reports whether docker/absent contains a part of an image's name.
func (d *daemon) absent(path string) bool {
	return strings.HasPrefix(path, "/images/") && slices.ContainsFunc(fakehost.Lines(d.dir, "absent"), func(part string) bool { return strings.Contains(path, part) })
}

func (d *daemon) containers(filters string) []any {
	out := []any{}
	bad := strings.Join(fakehost.Lines(d.dir, "unhealthy"), "")
	projects, _ := os.ReadDir(filepath.Join(d.dir, "project"))
	for _, p := range projects {
		if strings.Contains(filters, "com.docker.compose.project=") && !strings.Contains(filters, `"com.docker.compose.project=`+p.Name()+`"`) {
			continue
		}
		dir := filepath.Join(d.dir, "project", p.Name())
		for _, s := range fakehost.Lines(dir, "running") {
			status := "Up 1 minute (healthy)"
			if s == bad {
				status = "Up 1 minute (unhealthy)"
			}
			if slices.Contains(fakehost.Lines(d.dir, "exited"), s) { // a replica of it
				out = append(out, map[string]any{
					"Id": s + "-2", "Names": []string{"/" + p.Name() + "-" + s + "-2"}, "Image": s, "State": "exited", "Status": "Exited (137) 1 minute ago",
					"Labels": map[string]string{"com.docker.compose.project": p.Name(), "com.docker.compose.service": s},
				})
			}
			out = append(out, map[string]any{
				"Id": s, "Names": []string{"/" + p.Name() + "-" + s + "-1"}, "Image": s, "State": "running", "Status": status,
				"Labels": map[string]string{
					"com.docker.compose.project": p.Name(), "com.docker.compose.service": s, "com.docker.compose.config-hash": "hash",
					"com.docker.compose.project.working_dir": strings.Join(fakehost.Lines(dir, "where"), " "),
				},
				"NetworkSettings": map[string]any{"Networks": map[string]any{p.Name() + "_app": map[string]string{"IPAddress": d.address}}},
			})
		}
	}
	return out
}

// chat is the part of Rocket.Chat that an installation uses. The digest of a new password
// is recorded in docker/password, and the password then signs in.
func (d *daemon) chat(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Data     struct{ Password string }
		Password struct{ Digest string }

		Title, Text string // of an alarm
	}
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in)
	var all map[string]any
	_ = json.Unmarshal(body, &all)
	if d.account(w, r, all) {
		return
	}
	switch r.URL.Path {
	case "/hook": // not part of Rocket.Chat: a webhook for alarms
		fakehost.Note(d.dir, "hook", in.Title+"\n"+in.Text)
	case "/api/v1/me":
		reply(w, map[string]any{"_id": "rcmxbridge0000001", "success": true})
	case "/api/v1/users.info":
		reply(w, map[string]any{"user": map[string]any{"_id": "a", "username": "admin", "roles": []string{"admin"}}, "success": true})
	case "/api/v1/users.update":
		_ = os.Remove(filepath.Join(d.dir, "password"))
		fakehost.Note(d.dir, "password", fmt.Sprintf("%x", sha256.Sum256([]byte(in.Data.Password))))
		reply(w, map[string]any{"success": true})
	case "/api/v1/login":
		if !slices.Contains(fakehost.Lines(d.dir, "password"), in.Password.Digest) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reply(w, map[string]any{"data": map[string]string{"userId": "a", "authToken": "t"}})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func reply(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }
