package fakehost

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// The servers of an installation keep secrets of their own, in files beside docker/log,
// and change them only as real servers do: databases on command, the others when they
// start. So the secrets on disk and those that the servers know can differ.

// learn makes the servers read their secrets on start, in an installation in the current
// directory. Databases keep the passwords that they began with.
func learn(dir string) {
	env, _ := os.ReadFile("rocketchat.env")
	first := regexp.MustCompile(`(?m)^ADMIN_PASS=(.+)$`).FindSubmatch(env)
	if first != nil { // there are no databases yet
		for _, name := range []string{"postgres-password", "mongo-root", "mongo-rocketchat", "tokens", "password"} {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	keep := func(name, from string) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			take(dir, name, from)
		}
	}
	keep("postgres-password", "secrets/postgres_password")
	keep("mongo-root", "secrets/mongo_root_password")
	keep("mongo-rocketchat", "secrets/mongo_password")
	restart(dir)
	take(dir, "rocketchat.env", "rocketchat.env")
	take(dir, "registration", "config/homeserver/rocketchat-registration.yaml")
	take(dir, "homeserver.yaml", "config/homeserver/dendrite.yaml")
	take(dir, "bridge-hs-token", "secrets/bridge/hs_token")
	if m := regexp.MustCompile(`"hashedToken":"([^"]+)","lastTokenPart":"([^"]+)"`).FindSubmatch(env); m != nil && len(Lines(dir, "tokens")) == 0 {
		Note(dir, "tokens", fmt.Sprintf("bridge|%s|%s", m[2], m[1]))
	}
	if first != nil {
		Note(dir, "password", fmt.Sprintf("%x", sha256.Sum256(first[1])))
	}
}

// restart records a new start of the Services whose label in .env has changed, as Compose
// recreates them.
func restart(dir string) {
	was, _ := os.ReadFile(filepath.Join(dir, "env"))
	will, _ := os.ReadFile(".env")
	for service, label := range map[string]string{"nginx": "NGINX_CONFIG", "homeserver": "HOMESERVER_CONFIG", "bridge": "BRIDGE_CONFIG"} {
		line := regexp.MustCompile(`(?m)^` + label + `=.*$`)
		if len(was) > 0 && line.FindString(string(was)) != line.FindString(string(will)) {
			_ = os.Remove(filepath.Join(dir, "started-"+service))
		}
	}
	take(dir, "env", ".env")
}

func take(dir, name, from string) {
	if data, err := os.ReadFile(from); err == nil {
		_ = os.WriteFile(filepath.Join(dir, name), data, 0o600)
	}
}

// dieAt kills the program that started this one, as a power cut would, if docker/kills
// names the current operation. It does so only once.
func dieAt(dir, what string) {
	if at, err := os.ReadFile(filepath.Join(dir, "kills")); err == nil && strings.TrimSpace(string(at)) == what {
		_ = os.Remove(filepath.Join(dir, "kills"))
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		os.Exit(1)
	}
}

// signIn stands in for PostgreSQL when the password of its role is changed, and when a
// client signs in over the network.
func signIn(dir, said string) {
	const name = "postgres-password"
	if verifier, ok := strings.CutPrefix(said, "ALTER ROLE CURRENT_USER PASSWORD '"); ok {
		dieAt(dir, "before ALTER ROLE")
		Note(dir, "log", "ALTER ROLE")
		_ = os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimSuffix(strings.TrimSpace(verifier), "';")), 0o600)
		dieAt(dir, "after ALTER ROLE")
		return
	}
	if kept := strings.Join(Lines(dir, name), ""); !opens(kept, strings.TrimSpace(said)) {
		fmt.Fprintln(os.Stderr, `psql: error: connection to server at "10.0.0.2", port 5432 failed: FATAL:  password authentication failed for user "homeserver"`)
		os.Exit(2)
	}
}

// opens checks a password against the verifier that PostgreSQL keeps of it: RFC 5803.
func opens(kept, password string) bool {
	rest, ok := strings.CutPrefix(kept, "SCRAM-SHA-256$4096:")
	if !ok {
		return kept == password
	}
	salt64, keys, _ := strings.Cut(rest, "$")
	salt, _ := base64.StdEncoding.DecodeString(salt64)
	salted, _ := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	h := hmac.New(sha256.New, salted)
	h.Write([]byte("Client Key"))
	stored := sha256.Sum256(h.Sum(nil))
	return strings.HasPrefix(keys, base64.StdEncoding.EncodeToString(stored[:])+":")
}

// mongoPasswords stands in for MongoDB when it runs the script that changes passwords.
func mongoPasswords(dir, script string) {
	type passwords struct{ Now, Was string }
	var given struct {
		Change bool
		Root   passwords
		Users  map[string]passwords
	}
	line, _, _ := strings.Cut(strings.TrimPrefix(script, "const given = "), ";\n")
	if err := json.Unmarshal([]byte(line), &given); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	knows := func(user, password string) bool {
		return password != "" && slices.Equal(Lines(dir, "mongo-"+user), []string{password})
	}
	if given.Change {
		if !knows("root", given.Root.Now) && !knows("root", given.Root.Was) {
			fmt.Fprintln(os.Stderr, "Error: neither the new nor the old password of root signs in")
			os.Exit(1)
		}
		for user, p := range given.Users {
			Note(dir, "log", "updateUser "+user)
			_ = os.WriteFile(filepath.Join(dir, "mongo-"+user), []byte(p.Now), 0o600)
		}
		dieAt(dir, "after updateUser")
	}
	said := map[string]map[string]bool{}
	for user, p := range given.Users {
		said[user] = map[string]bool{"now": knows(user, p.Now), "was": knows(user, p.Was)}
	}
	out, _ := json.Marshal(said)
	fmt.Println(string(out))
}
