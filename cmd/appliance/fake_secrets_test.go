package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"appliance/cmd/appliance/internal/fakehost"
)

// knowsBearer accepts a request with the right token, and refuses others unless
// docker/everyone exists.
func (d *daemon) knowsBearer(w http.ResponseWriter, r *http.Request, token string) {
	if len(fakehost.Lines(d.dir, "everyone")) > 0 {
		reply(w, map[string]any{})
		return
	}
	if token == "" || r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply(w, map[string]any{})
}

// homeserver recognises the bridge by the registration that it read when it started.
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

// account is the part of Rocket.Chat for the bridge's account and its tokens; it reports whether
// it has answered. Tokens are in docker/tokens, with their names, ends and digests.
func (d *daemon) account(w http.ResponseWriter, r *http.Request, body map[string]any) bool {
	known := fakehost.Lines(d.dir, "tokens")
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
		fakehost.Note(d.dir, "tokens", "session|ession|"+base64.StdEncoding.EncodeToString(sum[:]))
		reply(w, map[string]any{"success": true, "data": map[string]string{"userId": "rcmxbridge0000001", "authToken": "session"}})
	case "/api/v1/logout":
		reply(w, map[string]any{"status": "success"})
	case "/api/v1/users.generatePersonalAccessToken":
		if !ours {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		token := fmt.Sprintf("made%039d", len(fakehost.Lines(d.dir, "made")))
		fakehost.Note(d.dir, "made", token)
		sum := sha256.Sum256([]byte(token))
		fakehost.Note(d.dir, "tokens", fmt.Sprintf("%s|%s|%s", name, token[len(token)-6:], base64.StdEncoding.EncodeToString(sum[:])))
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
				fakehost.Note(d.dir, "tokens", t)
			}
		}
		reply(w, map[string]any{"success": true})
	default:
		return false
	}
	return true
}
