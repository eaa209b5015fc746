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
)

// services are what the fake Compose runs.
var services = []string{"bridge", "homeserver", "nginx", "postgres", "rocketchat"}

// fakeDocker stands in for the docker command. What it is told goes to
// docker/log; what the daemon below says is in files beside it, those of a Compose
// project in a directory of its name. A file docker/unhealthy names a service that
// will not come up, docker/dies one that does not the next time, docker/exited one
// of which a second container has exited. With docker/nodump a database cannot be read,
// and in the middle of a dump it waits for what docker/slowdump has, as a line of docker/log.
// It says its version only when docker/hold is gone.
func fakeDocker() {
	args := strings.Join(os.Args[1:], " ")
	dir := filepath.Dir(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
	name := os.Getenv("COMPOSE_PROJECT_NAME")
	project := filepath.Join(dir, "project", name)
	if strings.HasPrefix(args, "compose --progress") {
		note(dir, "log", "docker "+args)
	}
	switch {
	case args == "compose version --short":
		fakeHold(dir)
		fmt.Println("2.30.0")
	case strings.HasPrefix(args, "compose --progress json pull"):
		_ = os.Remove(filepath.Join(dir, "absent"))
	case strings.HasPrefix(args, "compose logs"):
		said, _ := os.ReadFile(filepath.Join(dir, "logs"))
		_, _ = os.Stdout.Write(said)
	case strings.HasPrefix(args, "compose config --hash"):
		for _, s := range composed(dir) {
			fmt.Println(s, "hash")
		}
	case strings.HasPrefix(args, "compose config --quiet"):
		if bad, err := os.ReadFile(filepath.Join(dir, "refuses")); err == nil {
			_, _ = os.Stderr.Write(bad)
			os.Exit(1)
		}
	case strings.HasPrefix(args, "compose config --images"):
		fmt.Println("postgres:17")
		if strings.Contains(os.Getenv("COMPOSE_PROFILES"), "synapse-admin") {
			fmt.Println(os.Getenv("SYNAPSE_ADMIN_IMAGE"))
		}
	case strings.HasPrefix(args, "exec -i postgres ") && strings.Contains(args, " pg_dump "):
		fakeSignal()
		if _, err := os.Stat(filepath.Join(dir, "nodump")); err == nil {
			fmt.Fprintln(os.Stderr, "could not read block 7: Input/output error")
			os.Exit(1)
		}
		fmt.Print("what postgres ")
		if slow, err := os.ReadFile(filepath.Join(dir, "slowdump")); err == nil {
			fakeWait(dir, strings.TrimSpace(string(slow)))
		}
		fmt.Print("holds")
	case strings.HasPrefix(args, "exec -i postgres pg_restore"):
		dump, _ := io.ReadAll(os.Stdin)
		note(dir, "loaded", strings.ReplaceAll(string(dump), " ", "\n"))
	case strings.HasPrefix(args, "exec -i postgres psql") && strings.Contains(args, "count(*)"):
		n, err := os.ReadFile(filepath.Join(dir, "tables"))
		if err != nil {
			n = []byte("42")
		}
		fmt.Println(strings.TrimSpace(string(n)))
	case strings.HasPrefix(args, "exec -i postgres sh"):
		password, _ := io.ReadAll(os.Stdin)
		fakePassword(dir, string(password))
	case strings.HasPrefix(args, "exec -i postgres psql"):
		query, _ := io.ReadAll(os.Stdin)
		if strings.HasPrefix(string(query), "ALTER ROLE") {
			fakePassword(dir, string(query))
			return
		}
		note(dir, "log", string(query))
		hashes, _ := os.ReadFile(filepath.Join(dir, "hashes"))
		_, _ = os.Stdout.Write(hashes)
	case strings.Contains(args, "--no-deps"):
		begin(project)
		note(project, "running", args[strings.LastIndex(args, " ")+1:])
	case strings.Contains(args, " up "):
		begin(project)
		if bad, err := os.ReadFile(filepath.Join(dir, "unhealthy")); err == nil {
			note(project, "running", strings.TrimSpace(string(bad)))
			fmt.Fprintf(os.Stderr, `{"error":true,"message":"container %s-%s-1 is unhealthy"}`+"\n", name, strings.TrimSpace(string(bad)))
			os.Exit(1)
		}
		dieAt(dir, "before up")
		if bad, err := os.ReadFile(filepath.Join(dir, "dies")); err == nil {
			_ = os.Remove(filepath.Join(dir, "dies"))
			fmt.Fprintf(os.Stderr, `{"error":true,"message":"container %s-%s-1 exited (1)"}`+"\n", name, strings.TrimSpace(string(bad)))
			os.Exit(1)
		}
		learn(dir)
		_ = os.Remove(filepath.Join(project, "running"))
		for _, s := range composed(dir) {
			note(project, "running", s)
			if len(lines(dir, "started-"+s)) == 0 {
				note(dir, "started-"+s, time.Now().Format(time.RFC3339Nano))
			}
		}
		dieAt(dir, "after up")
	case strings.HasPrefix(args, "exec -i mongo"):
		script, _ := io.ReadAll(os.Stdin)
		fakeMongo(dir, args, string(script))
	case strings.Contains(args, " down "):
		_ = os.RemoveAll(project)
		for _, s := range services {
			_ = os.Remove(filepath.Join(dir, "started-"+s))
		}
	}
}

// fakeWait waits until the log of docker says something, and fails when it does not.
func fakeWait(dir, line string) {
	for range 500 {
		if said, _ := os.ReadFile(filepath.Join(dir, "log")); strings.Contains(string(said), line+"\n") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "nobody says: "+line)
	os.Exit(1)
}

// fakeHold notes in docker/held that it was asked, and waits while there is a docker/hold.
func fakeHold(dir string) {
	for n := range 500 {
		if _, err := os.Stat(filepath.Join(dir, "hold")); err != nil {
			return
		}
		if n == 0 {
			note(dir, "held", "here")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fakeSignal waits for the line that a dump begins with, and ends the program when there
// is none.
func fakeSignal() {
	if line, _ := io.ReadAll(os.Stdin); len(line) == 0 {
		os.Exit(0)
	}
}

// composed are the services, with mongo if docker/mongo has what its health check says, and
// with those that docker/optional names and without those of docker/without.
func composed(dir string) []string {
	without := lines(dir, "without")
	all := slices.DeleteFunc(append(lines(dir, "optional"), services...), func(s string) bool { return slices.Contains(without, s) })
	if len(lines(dir, "mongo")) == 0 {
		return all
	}
	return append([]string{"mongo"}, all...)
}

// fakeMongo stands in for what is run in the container of MongoDB. Its version is in
// docker/image-mongo; with docker/noraise it does not change the format of its data.
func fakeMongo(dir, args, script string) {
	version := strings.Join(lines(dir, "image-mongo"), "")
	switch {
	case strings.Contains(args, "mongodump"):
		if script == "" {
			return // the signal did not come
		}
		fmt.Print("what mongo holds")
	case strings.Contains(args, "mongorestore"):
		note(dir, "loaded", "mongo")
	case strings.HasPrefix(script, "const given = "):
		fakeMongoPasswords(dir, script)
	case !strings.Contains(script, "setFeatureCompatibilityVersion"):
	default:
		if _, err := os.Stat(filepath.Join(dir, "noraise")); err == nil {
			fmt.Fprintln(os.Stderr, "MongoServerError: not primary")
			os.Exit(1)
		}
		note(dir, "log", "raise "+version)
		said := fmt.Sprintf(`{"version":"%s","featureCompatibilityVersion":"%s"}`, version, strings.Join(strings.Split(version, ".")[:2], "."))
		_ = os.WriteFile(filepath.Join(dir, "mongo"), []byte(said+"\n"), 0o600)
		fmt.Println(said)
	}
}

// fakeSystemctl stands in for systemctl, and notes what it is told in docker/systemctl.
// What it shows of a unit is in docker/unit-NAME.
func fakeSystemctl() {
	dir := filepath.Dir(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
	if os.Args[1] == "show" {
		shown, _ := os.ReadFile(filepath.Join(dir, "unit-"+os.Args[2]))
		_, _ = os.Stdout.Write(shown)
		return
	}
	note(dir, "systemctl", strings.Join(os.Args[1:], " "))
}

// begin notes where a Compose project is, unless containers of that name exist.
func begin(project string) {
	where, err := os.Getwd()
	if err == nil {
		err = os.MkdirAll(project, 0o700)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(lines(project, "where")) == 0 {
		note(project, "where", where)
	}
}

func note(dir, name, line string) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(f, line)
	_ = f.Close()
}

func lines(dir, name string) []string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.Fields(string(data))
}

// A daemon answers as Docker's would for what the fake command has done, and as
// the Rocket.Chat in its containers.
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

// noting writes down in docker/requests what a service is asked.
func (d *daemon) noting(service string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(d.dir, "requests", service+" "+r.Method+" "+r.URL.Path)
		answer(w, r)
	})
}

// bridge is as much of the bridge as its operator asks: the lanes of docker/lanes and
// the dead letters of docker/dead, one ID in a line. It notes in docker/log what
// becomes of them, and answers as a bridge of an earlier release without these files.
func (d *daemon) bridge(w http.ResponseWriter, r *http.Request) {
	if answer, err := os.ReadFile(filepath.Join(d.dir, "reload")); err == nil && r.URL.Path == "/reload" && r.Method == http.MethodPost {
		_, _ = w.Write(answer)
		return
	}
	if r.URL.Path == "/_matrix/app/v1/ping" {
		d.knowsBearer(w, r, strings.Join(lines(d.dir, "bridge-hs-token"), ""))
		return
	}
	if len(lines(d.dir, "lanes")) == 0 || !strings.HasPrefix(r.URL.Path, "/queue") && r.URL.Path != "/buried" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	dead := lines(d.dir, "dead")
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	letters := []any{}
	for _, id := range dead {
		letters = append(letters, map[string]any{"id": id, "lane": "rc:GENERAL", "kind": "message", "accepted": then, "gave_up": then, "buried": then, "attempts": 12, "cause": "M_FORBIDDEN"})
	}
	switch r.URL.Path {
	case "/queue":
		list := []any{}
		for _, lane := range lines(d.dir, "lanes") {
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
		note(d.dir, "log", did+" "+id)
	}
	_ = os.Remove(filepath.Join(d.dir, "dead"))
	for _, id := range dead {
		if !slices.Contains(done, id) {
			note(d.dir, "dead", id)
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
	case path == "/containers/json":
		reply(w, d.containers(r.URL.Query().Get("filters")))
	case strings.HasPrefix(path, "/containers/") && strings.HasSuffix(path, "/json"):
		id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
		state := map[string]any{"StartedAt": strings.Join(lines(d.dir, "started-"+id), "")}
		if said, err := os.ReadFile(filepath.Join(d.dir, id)); err == nil {
			state["Health"] = map[string]any{"Log": []any{map[string]any{"ExitCode": 0, "Output": string(said)}, map[string]any{"ExitCode": 1, "Output": "not primary yet"}}}
		}
		doc := map[string]any{"Id": id, "State": state}
		if id == "rocketchat" { // as it was started
			doc["Config"] = map[string]any{"Env": lines(d.dir, "rocketchat.env")}
		}
		reply(w, doc)
	case strings.HasSuffix(path, "/restart"):
		id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/restart")
		_ = os.Remove(filepath.Join(d.dir, "started-"+id))
		note(d.dir, "started-"+id, time.Now().Format(time.RFC3339Nano))
		note(d.dir, "log", "restart "+id)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/start"):
		note(d.dir, "log", "start "+strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/start"))
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/stop"):
		note(d.dir, "log", "stop "+strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/stop"))
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, "/logs"):
		_, _ = w.Write([]byte{1, 0, 0, 0, 0, 0, 0, 23})
		_, _ = io.WriteString(w, "it said why, at the end\n"[:23])
	case path == "/images/create":
		_, _ = io.Copy(io.Discard, r.Body)
		note(d.dir, "images", r.URL.Query().Get("repo"))
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
	return slices.Contains(lines(d.dir, "images"), name)
}

// absent reports whether docker/absent names an image by a part of its name.
func (d *daemon) absent(path string) bool {
	return strings.HasPrefix(path, "/images/") && slices.ContainsFunc(lines(d.dir, "absent"), func(part string) bool { return strings.Contains(path, part) })
}

func (d *daemon) containers(filters string) []any {
	out := []any{}
	bad := strings.Join(lines(d.dir, "unhealthy"), "")
	projects, _ := os.ReadDir(filepath.Join(d.dir, "project"))
	for _, p := range projects {
		if strings.Contains(filters, "com.docker.compose.project=") && !strings.Contains(filters, `"com.docker.compose.project=`+p.Name()+`"`) {
			continue
		}
		dir := filepath.Join(d.dir, "project", p.Name())
		for _, s := range lines(dir, "running") {
			status := "Up 1 minute (healthy)"
			if s == bad {
				status = "Up 1 minute (unhealthy)"
			}
			if slices.Contains(lines(d.dir, "exited"), s) { // a replica of it
				out = append(out, map[string]any{
					"Id": s + "-2", "Names": []string{"/" + p.Name() + "-" + s + "-2"}, "Image": s, "State": "exited", "Status": "Exited (137) 1 minute ago",
					"Labels": map[string]string{"com.docker.compose.project": p.Name(), "com.docker.compose.service": s},
				})
			}
			out = append(out, map[string]any{
				"Id": s, "Names": []string{"/" + p.Name() + "-" + s + "-1"}, "Image": s, "State": "running", "Status": status,
				"Labels": map[string]string{
					"com.docker.compose.project": p.Name(), "com.docker.compose.service": s, "com.docker.compose.config-hash": "hash",
					"com.docker.compose.project.working_dir": strings.Join(lines(dir, "where"), " "),
				},
				"NetworkSettings": map[string]any{"Networks": map[string]any{p.Name() + "_app": map[string]string{"IPAddress": d.address}}},
			})
		}
	}
	return out
}

// chat is as much of Rocket.Chat as an installation looks at. A password that is set
// is noted in docker/password as its digest, and signs in.
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
	case "/hook": // no part of Rocket.Chat: a webhook for alarms
		note(d.dir, "hook", in.Title+"\n"+in.Text)
	case "/api/v1/me":
		reply(w, map[string]any{"_id": "rcmxbridge0000001", "success": true})
	case "/api/v1/users.info":
		reply(w, map[string]any{"user": map[string]any{"_id": "a", "username": "admin", "roles": []string{"admin"}}, "success": true})
	case "/api/v1/users.update":
		_ = os.Remove(filepath.Join(d.dir, "password"))
		note(d.dir, "password", fmt.Sprintf("%x", sha256.Sum256([]byte(in.Data.Password))))
		reply(w, map[string]any{"success": true})
	case "/api/v1/login":
		if !slices.Contains(lines(d.dir, "password"), in.Password.Digest) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reply(w, map[string]any{"data": map[string]string{"userId": "a", "authToken": "t"}})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func reply(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }
