// Package fakehost is what the tests of the appliance run in place of docker and systemctl.
// These are programs: the appliance starts them hundreds of times, and a small one starts in a
// tenth of the time that the test program would take. The record of their calls and the output
// that they are to give are in files of a directory, beside the socket that DOCKER_HOST names;
// the daemon behind the socket is in the tests. It is not part of the appliance.
package fakehost

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Services are what the fake Compose runs.
var Services = []string{"bridge", "homeserver", "nginx", "postgres", "rocketchat"}

// Docker stands in for the docker command. It records its calls in docker/log; what the
// daemon behind the socket reports is in files beside it, with those of a Compose project
// in a directory of its name. A file docker/unhealthy names a service that will not come
// up, docker/dies one that will not the next time, docker/exited one of which a second
// container has exited. With docker/nodump a database cannot be read, and in the middle
// of a dump it waits until docker/log has the line in docker/slowdump. It prints its
// version only once docker/hold is gone.
func Docker() {
	args := strings.Join(os.Args[1:], " ")
	dir := filepath.Dir(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
	name := os.Getenv("COMPOSE_PROJECT_NAME")
	project := filepath.Join(dir, "project", name)
	if strings.HasPrefix(args, "compose --progress") {
		Note(dir, "log", "docker "+args)
	}
	switch {
	case args == "compose version --short":
		hold(dir)
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
	case strings.HasPrefix(args, "exec -i postgres "):
		postgres(dir, args)
	case strings.Contains(args, "--no-deps"):
		begin(project)
		Note(project, "running", args[strings.LastIndex(args, " ")+1:])
	case strings.Contains(args, " up "):
		up(dir, project, name)
	case strings.HasPrefix(args, "exec -i mongo"):
		script, _ := io.ReadAll(os.Stdin)
		mongo(dir, args, string(script))
	case strings.Contains(args, " down "):
		_ = os.RemoveAll(project)
		for _, s := range Services {
			_ = os.Remove(filepath.Join(dir, "started-"+s))
		}
	}
}

// postgres stands in for what is run in the container of PostgreSQL.
func postgres(dir, args string) {
	switch {
	case strings.Contains(args, " pg_dump "):
		signal()
		if _, err := os.Stat(filepath.Join(dir, "nodump")); err == nil {
			fmt.Fprintln(os.Stderr, "could not read block 7: Input/output error")
			os.Exit(1)
		}
		fmt.Print("what postgres ")
		if slow, err := os.ReadFile(filepath.Join(dir, "slowdump")); err == nil {
			wait(dir, strings.TrimSpace(string(slow)))
		}
		fmt.Print("holds")
	case strings.HasPrefix(args, "exec -i postgres pg_restore"):
		dump, _ := io.ReadAll(os.Stdin)
		Note(dir, "loaded", strings.ReplaceAll(string(dump), " ", "\n"))
	case strings.HasPrefix(args, "exec -i postgres psql") && strings.Contains(args, "count(*)"):
		n, err := os.ReadFile(filepath.Join(dir, "tables"))
		if err != nil {
			n = []byte("42")
		}
		fmt.Println(strings.TrimSpace(string(n)))
	case strings.HasPrefix(args, "exec -i postgres sh"):
		password, _ := io.ReadAll(os.Stdin)
		signIn(dir, string(password))
	case strings.HasPrefix(args, "exec -i postgres psql"):
		query, _ := io.ReadAll(os.Stdin)
		if strings.HasPrefix(string(query), "ALTER ROLE") {
			signIn(dir, string(query))
			return
		}
		Note(dir, "log", string(query))
		hashes, _ := os.ReadFile(filepath.Join(dir, "hashes"))
		_, _ = os.Stdout.Write(hashes)
	}
}

// up starts the services of a project.
func up(dir, project, name string) {
	begin(project)
	if bad, err := os.ReadFile(filepath.Join(dir, "unhealthy")); err == nil {
		Note(project, "running", strings.TrimSpace(string(bad)))
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
		Note(project, "running", s)
		if len(Lines(dir, "started-"+s)) == 0 {
			Note(dir, "started-"+s, time.Now().Format(time.RFC3339Nano))
		}
	}
	dieAt(dir, "after up")
}

// wait waits until docker/log has a line, and fails if it never does.
func wait(dir, line string) {
	for range 500 {
		if said, _ := os.ReadFile(filepath.Join(dir, "log")); strings.Contains(string(said), line+"\n") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "nobody says: "+line)
	os.Exit(1)
}

// hold waits while docker/hold exists, and records in docker/held that it does.
func hold(dir string) {
	for n := range 500 {
		if _, err := os.Stat(filepath.Join(dir, "hold")); err != nil {
			return
		}
		if n == 0 {
			Note(dir, "held", "here")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// signal waits for the line that a dump begins with, and ends the program if there is none.
func signal() {
	if line, _ := io.ReadAll(os.Stdin); len(line) == 0 {
		os.Exit(0)
	}
}

// composed returns the Services, with mongo if docker/mongo has the output of its health
// check, plus those that docker/optional names and minus those in docker/without.
func composed(dir string) []string {
	without := Lines(dir, "without")
	all := slices.DeleteFunc(append(Lines(dir, "optional"), Services...), func(s string) bool { return slices.Contains(without, s) })
	if len(Lines(dir, "mongo")) == 0 {
		return all
	}
	return append([]string{"mongo"}, all...)
}

// mongo stands in for what is run in the container of MongoDB. Its version is in
// docker/image-mongo; with docker/noraise it does not change the format of its data.
func mongo(dir, args, script string) {
	version := strings.Join(Lines(dir, "image-mongo"), "")
	switch {
	case strings.Contains(args, "mongodump"):
		if script == "" {
			return // the signal did not come
		}
		fmt.Print("what mongo holds")
	case strings.Contains(args, "mongorestore"):
		Note(dir, "loaded", "mongo")
	case strings.HasPrefix(script, "const given = "):
		mongoPasswords(dir, script)
	case !strings.Contains(script, "setFeatureCompatibilityVersion"):
	default:
		if _, err := os.Stat(filepath.Join(dir, "noraise")); err == nil {
			fmt.Fprintln(os.Stderr, "MongoServerError: not primary")
			os.Exit(1)
		}
		Note(dir, "log", "raise "+version)
		said := fmt.Sprintf(`{"version":"%s","featureCompatibilityVersion":"%s"}`, version, strings.Join(strings.Split(version, ".")[:2], "."))
		_ = os.WriteFile(filepath.Join(dir, "mongo"), []byte(said+"\n"), 0o600)
		fmt.Println(said)
	}
}

// Systemctl stands in for systemctl, and records its calls in docker/systemctl. What it
// shows for a unit is in docker/unit-NAME.
func Systemctl() {
	dir := filepath.Dir(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"))
	if os.Args[1] == "show" {
		shown, _ := os.ReadFile(filepath.Join(dir, "unit-"+os.Args[2]))
		_, _ = os.Stdout.Write(shown)
		return
	}
	Note(dir, "systemctl", strings.Join(os.Args[1:], " "))
}

// begin records where a Compose project is, unless containers of that name exist.
func begin(project string) {
	where, err := os.Getwd()
	if err == nil {
		err = os.MkdirAll(project, 0o700)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(Lines(project, "where")) == 0 {
		Note(project, "where", where)
	}
}

// Note appends a line to a file.
func Note(dir, name, line string) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(f, line)
	_ = f.Close()
}

// Lines returns the words of a file, one per line.
func Lines(dir, name string) []string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.Fields(string(data))
}
