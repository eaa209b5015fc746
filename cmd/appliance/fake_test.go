package main

import (
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
)

// services are what the fake Compose runs.
var services = []string{"bridge", "homeserver", "nginx", "postgres", "rocketchat"}

// fakeDocker stands in for the docker command. What it is told goes to
// docker/log; what the daemon below says is in files beside it. A file
// docker/unhealthy names a service that will not come up.
func fakeDocker() {
	args := strings.Join(os.Args[1:], " ")
	dir := filepath.Dir(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
	if strings.HasPrefix(args, "compose --progress") {
		note(dir, "log", "docker "+args)
	}
	switch {
	case args == "compose version --short":
		fmt.Println("2.30.0")
	case strings.HasPrefix(args, "compose logs"):
		said, _ := os.ReadFile(filepath.Join(dir, "logs"))
		_, _ = os.Stdout.Write(said)
	case strings.HasPrefix(args, "compose config --hash"):
		for _, s := range services {
			fmt.Println(s, "hash")
		}
	case strings.HasPrefix(args, "compose config --images"):
		fmt.Println("postgres:17")
	case strings.HasPrefix(args, "exec -i postgres pg_dump"):
		fmt.Print("what postgres holds")
	case strings.HasPrefix(args, "exec -i postgres pg_restore"):
		dump, _ := io.ReadAll(os.Stdin)
		note(dir, "loaded", strings.ReplaceAll(string(dump), " ", "\n"))
	case strings.Contains(args, "--no-deps"):
		note(dir, "running", args[strings.LastIndex(args, " ")+1:])
	case strings.Contains(args, " up "):
		if bad, err := os.ReadFile(filepath.Join(dir, "unhealthy")); err == nil {
			note(dir, "running", strings.TrimSpace(string(bad)))
			fmt.Fprintf(os.Stderr, `{"error":true,"message":"container appliance-%s-1 is unhealthy"}`+"\n", strings.TrimSpace(string(bad)))
			os.Exit(1)
		}
		_ = os.Remove(filepath.Join(dir, "running"))
		for _, s := range services {
			note(dir, "running", s)
		}
	case strings.Contains(args, " down "):
		_ = os.Remove(filepath.Join(dir, "running"))
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
	go func() { _ = http.Serve(rocketchat, http.HandlerFunc(chat)) }()
	return func() { _ = api.Close(); _ = rocketchat.Close() }, nil
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
		reply(w, d.containers())
	case strings.HasSuffix(path, "/logs"):
		_, _ = w.Write([]byte{1, 0, 0, 0, 0, 0, 0, 23})
		_, _ = io.WriteString(w, "it said why, at the end\n"[:23])
	case path == "/images/create":
		_, _ = io.Copy(io.Discard, r.Body)
		note(d.dir, "images", r.URL.Query().Get("repo"))
	case path == "/images/json":
		reply(w, []any{})
	case strings.HasPrefix(path, "/images/appliance-program") && !d.has(path):
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

func (d *daemon) containers() []any {
	out := []any{}
	bad := strings.Join(lines(d.dir, "unhealthy"), "")
	for _, s := range lines(d.dir, "running") {
		status := "Up 1 minute (healthy)"
		if s == bad {
			status = "Up 1 minute (unhealthy)"
		}
		out = append(out, map[string]any{
			"Id": s, "Names": []string{"/appliance-" + s + "-1"}, "Image": s, "State": "running", "Status": status,
			"Labels": map[string]string{
				"com.docker.compose.project": "appliance", "com.docker.compose.service": s, "com.docker.compose.config-hash": "hash",
			},
			"NetworkSettings": map[string]any{"Networks": map[string]any{"appliance_app": map[string]string{"IPAddress": d.address}}},
		})
	}
	return out
}

// chat is as much of Rocket.Chat as an installation looks at.
func chat(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/v1/me":
		reply(w, map[string]any{"_id": "rcmxbridge0000001", "success": true})
	case "/api/v1/users.info":
		reply(w, map[string]any{"user": map[string]any{"_id": "a", "username": "admin", "roles": []string{"admin"}}, "success": true})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func reply(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) }
