package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the registration API is defined with it
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"appliance/bridge/mxside"
)

func clientTrusting(roots []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64}}
}

// clientReading trusts the roots that a file has at the time of each connection: a storm
// that restarts the authority gives the demo a new root.
func clientReading(file string) *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		roots, err := os.ReadFile(file) //nolint:gosec // a path of the demo's own
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		return (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).DialContext(ctx, network, addr)
	}
	return &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{DialTLSContext: dial, MaxIdleConnsPerHost: 64}}
}

// fetch makes a GET request and returns the body of a 200.
func fetch(ctx context.Context, client *http.Client, u string) ([]byte, error) {
	return call(ctx, client, http.MethodGet, u, nil, nil)
}

// call makes a request with a JSON body and returns the body of a 200.
func call(ctx context.Context, client *http.Client, method, u string, header http.Header, body any) ([]byte, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, payload)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return answer(client, req)
}

// send makes a POST request with a body of any type and returns the body of a 200.
func send(ctx context.Context, client *http.Client, u string, header http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	return answer(client, req)
}

// answer returns the body of a 200.
func answer(client *http.Client, req *http.Request) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, res.Status, bytes.TrimSpace(data[:min(len(data), 300)]))
	}
	return data, err
}

// matrixUser is a user of a Matrix client, or one of our ghosts.
type matrixUser struct {
	id, base, token string
	as              string // the ghost to speak as, with an application service's token
	tokenFile       string // where the token is read each time, if it may be replaced
	client          *http.Client
	since           string
}

func (m *matrixUser) do(ctx context.Context, method, path string, body, out any) error {
	u := m.base + path
	if m.as != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		u += sep + "user_id=" + url.QueryEscape(m.as)
	}
	token := m.token
	if m.tokenFile != "" {
		data, err := os.ReadFile(m.tokenFile)
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(data))
	}
	data, err := call(ctx, m.client, method, u, http.Header{"Authorization": {"Bearer " + token}}, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// registerMatrix creates an account with the registration secret, at the internal address
// of the other server, as its operator would.
func registerMatrix(ctx context.Context, inside, shared, username, password string) error {
	client := &http.Client{Timeout: 30 * time.Second}
	data, err := fetch(ctx, client, inside+"/_synapse/admin/v1/register")
	if err != nil {
		return err
	}
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal(data, &nonce); err != nil {
		return err
	}
	mac := hmac.New(sha1.New, []byte(shared))
	_, _ = io.WriteString(mac, strings.Join([]string{nonce.Nonce, username, password, "notadmin"}, "\x00"))
	_, err = call(ctx, client, http.MethodPost, inside+"/_synapse/admin/v1/register", nil, map[string]any{
		"nonce": nonce.Nonce, "username": username, "password": password, "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	})
	return err
}

// loginMatrix signs in with a password.
func loginMatrix(ctx context.Context, client *http.Client, base, username, password string) (*matrixUser, error) {
	data, err := call(ctx, client, http.MethodPost, base+"/_matrix/client/v3/login", nil, map[string]any{
		"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": username}, "password": password,
	})
	if err != nil {
		return nil, err
	}
	var out struct {
		UserID string `json:"user_id"`
		Token  string `json:"access_token"`
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	return &matrixUser{id: out.UserID, base: base, token: out.Token, client: client}, nil
}

type mxEvent struct {
	ID       string `json:"event_id"`
	Type     string `json:"type"`
	Sender   string `json:"sender"`
	StateKey string `json:"state_key"`
	Content  struct {
		Body       string `json:"body"`
		Membership string `json:"membership"`
		URL        string `json:"url"`
		Name       string `json:"displayname"`
	} `json:"content"`
}

type syncRoom struct {
	Timeline struct {
		Events []mxEvent `json:"events"`
	} `json:"timeline"`
	InviteState struct {
		Events []mxEvent `json:"events"`
	} `json:"invite_state"`
}

// sync makes one long poll.
func (m *matrixUser) sync(ctx context.Context) (join, invite map[string]syncRoom, err error) {
	var out struct {
		NextBatch string `json:"next_batch"`
		Rooms     struct {
			Join   map[string]syncRoom `json:"join"`
			Invite map[string]syncRoom `json:"invite"`
		} `json:"rooms"`
	}
	path := "/_matrix/client/v3/sync?timeout=20000"
	if m.since == "" {
		path = "/_matrix/client/v3/sync?timeout=0"
	} else {
		path += "&since=" + url.QueryEscape(m.since)
	}
	if err := m.do(ctx, http.MethodGet, path, nil, &out); err != nil {
		return nil, nil, err
	}
	m.since = out.NextBatch
	return out.Rooms.Join, out.Rooms.Invite, nil
}

// acceptInvitation waits for an invitation to a room that is not in known, and joins.
func (m *matrixUser) acceptInvitation(ctx context.Context, known map[string]bool) (room string, err error) {
	for room == "" {
		_, invites, err := m.sync(ctx)
		if err != nil {
			return "", err
		}
		for id := range invites {
			if !known[id] {
				room = id
			}
		}
	}
	known[room] = true
	if err := m.do(ctx, http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(room), map[string]any{}, nil); err != nil {
		return "", err
	}
	for { // until the user's own server has the whole room
		joined, _, err := m.sync(ctx)
		if _, ok := joined[room]; ok || err != nil {
			return room, err
		}
	}
}

// send sends a text under a transaction ID.
func (m *matrixUser) send(ctx context.Context, room, txn, text string) error {
	return m.do(ctx, http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+txn, map[string]string{"msgtype": "m.text", "body": text}, nil)
}

// waitFor waits until a message with a text is in a room and returns it.
func (m *matrixUser) waitFor(ctx context.Context, room, text string) (mxEvent, error) {
	for {
		joined, _, err := m.sync(ctx)
		if err != nil {
			return mxEvent{}, err
		}
		for _, e := range joined[room].Timeline.Events {
			if e.Type == "m.room.message" && e.Content.Body == text {
				return e, nil
			}
		}
	}
}

// displayName returns a user's name in a room.
func (m *matrixUser) displayName(ctx context.Context, room, user string) string {
	var out struct {
		Name string `json:"displayname"`
	}
	_ = m.do(ctx, http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/state/m.room.member/"+url.PathEscape(user), nil, &out)
	return out.Name
}

// timeline returns the texts that a user wrote in a room, oldest first.
func (m *matrixUser) timeline(ctx context.Context, room, sender string) ([]string, error) {
	var all []string
	seen := map[string]bool{} // pages overlap, see mxside.Earlier
	for from := ""; ; {
		var out struct {
			Chunk []mxEvent `json:"chunk"`
			End   string    `json:"end"`
		}
		path := "/_matrix/client/v3/rooms/" + url.PathEscape(room) + "/messages?dir=b&limit=200"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		if err := m.do(ctx, http.MethodGet, path, nil, &out); err != nil {
			return nil, err
		}
		fresh := 0
		for _, e := range out.Chunk {
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			fresh++
			if e.Type == "m.room.message" && e.Sender == sender && e.Content.Body != "" { // redacted messages have none
				all = append(all, e.Content.Body)
			}
		}
		if out.End == "" || len(out.Chunk) == 0 {
			slices.Reverse(all)
			return all, nil
		}
		if from = mxside.Earlier(out.End); fresh == 0 {
			from = out.End
		}
	}
}

var errGone = errors.New("the connection ended")
