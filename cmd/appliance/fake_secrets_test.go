package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// The servers of an installation know secrets of their own, in files beside docker/log, and
// change them only as real ones do: databases when they are told to, the others when they
// start. So what is on disk and what they know can differ.

// learn has the servers read their secrets as they start, in an installation in the
// present directory. Databases keep the passwords that they began with.
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
	if m := regexp.MustCompile(`"hashedToken":"([^"]+)","lastTokenPart":"([^"]+)"`).FindSubmatch(env); m != nil && len(lines(dir, "tokens")) == 0 {
		note(dir, "tokens", fmt.Sprintf("bridge|%s|%s", m[2], m[1]))
	}
	if first != nil {
		note(dir, "password", fmt.Sprintf("%x", sha256.Sum256(first[1])))
	}
}

// restart notes a new start of the services whose label in .env is another than before, as
// Compose recreates them.
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

// dieAt kills the program that has started this one, as a power cut would, if docker/kills
// names what is being done. Only once.
func dieAt(dir, what string) {
	if at, err := os.ReadFile(filepath.Join(dir, "kills")); err == nil && strings.TrimSpace(string(at)) == what {
		_ = os.Remove(filepath.Join(dir, "kills"))
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		os.Exit(1)
	}
}

// fakePassword is PostgreSQL when the password of its role is changed, and when a client
// signs in over the network.
func fakePassword(dir, said string) {
	const name = "postgres-password"
	if verifier, ok := strings.CutPrefix(said, "ALTER ROLE CURRENT_USER PASSWORD '"); ok {
		dieAt(dir, "before ALTER ROLE")
		note(dir, "log", "ALTER ROLE")
		_ = os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimSuffix(strings.TrimSpace(verifier), "';")), 0o600)
		dieAt(dir, "after ALTER ROLE")
		return
	}
	if kept := strings.Join(lines(dir, name), ""); !opens(kept, strings.TrimSpace(said)) {
		fmt.Fprintln(os.Stderr, `psql: error: connection to server at "10.0.0.2", port 5432 failed: FATAL:  password authentication failed for user "homeserver"`)
		os.Exit(2)
	}
}

// opens compares a password with what PostgreSQL keeps of it: RFC 5803.
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

// fakeMongoPasswords is MongoDB when it runs the script that changes passwords.
func fakeMongoPasswords(dir, script string) {
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
		return password != "" && slices.Equal(lines(dir, "mongo-"+user), []string{password})
	}
	if given.Change {
		if !knows("root", given.Root.Now) && !knows("root", given.Root.Was) {
			fmt.Fprintln(os.Stderr, "Error: neither the new nor the old password of root signs in")
			os.Exit(1)
		}
		for user, p := range given.Users {
			note(dir, "log", "updateUser "+user)
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

// knowsBearer answers a request with the right token, and refuses others, unless
// docker/everyone is there.
func (d *daemon) knowsBearer(w http.ResponseWriter, r *http.Request, token string) {
	if len(lines(d.dir, "everyone")) > 0 {
		reply(w, map[string]any{})
		return
	}
	if token == "" || r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply(w, map[string]any{})
}

// homeserver knows the bridge by the registration that it has read when it started.
func (d *daemon) homeserver(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/_matrix/client/v3/account/whoami" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	data, _ := os.ReadFile(filepath.Join(d.dir, "registration"))
	token := ""
	if m := regexp.MustCompile(`(?m)^as_token: "?([^"\n]+)"?$`).FindSubmatch(data); m != nil {
		token = string(m[1])
	}
	d.knowsBearer(w, r, token)
}

// account is Rocket.Chat where the bridge's account and its tokens are concerned; it reports
// whether it has answered. Tokens are in docker/tokens, with their names, ends and digests.
func (d *daemon) account(w http.ResponseWriter, r *http.Request, body map[string]any) bool {
	known := lines(d.dir, "tokens")
	sum := sha256.Sum256([]byte(r.Header.Get("X-Auth-Token")))
	digest := base64.StdEncoding.EncodeToString(sum[:])
	ours := slices.ContainsFunc(known, func(t string) bool { return strings.HasSuffix(t, "|"+digest) })
	if len(known) > 0 && !ours && r.URL.Path == "/api/v1/me" {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	name := strings.ReplaceAll(fmt.Sprint(body["tokenName"]), " ", "_")
	switch r.URL.Path {
	case "/api/info":
		reply(w, map[string]any{"version": "8.6", "success": true})
	case "/api/v1/users.createToken":
		env, _ := os.ReadFile(filepath.Join(d.dir, "rocketchat.env"))
		if !strings.Contains(string(env), fmt.Sprintf("CREATE_TOKENS_FOR_USERS_SECRET=%s\n", body["secret"])) {
			w.WriteHeader(http.StatusBadRequest)
			reply(w, map[string]any{"success": false, "errorType": "error-not-authorized"})
			return true
		}
		sum := sha256.Sum256([]byte("session"))
		note(d.dir, "tokens", "session|ession|"+base64.StdEncoding.EncodeToString(sum[:]))
		reply(w, map[string]any{"success": true, "data": map[string]string{"userId": "rcmxbridge0000001", "authToken": "session"}})
	case "/api/v1/logout":
		reply(w, map[string]any{"status": "success"})
	case "/api/v1/users.generatePersonalAccessToken":
		if !ours {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		token := fmt.Sprintf("made%039d", len(lines(d.dir, "made")))
		note(d.dir, "made", token)
		sum := sha256.Sum256([]byte(token))
		note(d.dir, "tokens", fmt.Sprintf("%s|%s|%s", name, token[len(token)-6:], base64.StdEncoding.EncodeToString(sum[:])))
		reply(w, map[string]any{"success": true, "token": token})
	case "/api/v1/users.getPersonalAccessTokens":
		list := []any{}
		for _, t := range known {
			parts := strings.Split(t, "|")
			list = append(list, map[string]string{"name": parts[0], "lastTokenPart": parts[1]})
		}
		reply(w, map[string]any{"success": true, "tokens": list})
	case "/api/v1/users.removePersonalAccessToken":
		_ = os.Remove(filepath.Join(d.dir, "tokens"))
		for _, t := range known {
			if !strings.HasPrefix(t, name+"|") {
				note(d.dir, "tokens", t)
			}
		}
		reply(w, map[string]any{"success": true})
	default:
		return false
	}
	return true
}
