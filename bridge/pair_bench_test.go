package bridge_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// pairMessages is the number of messages that BenchmarkPair writes each way.
const pairMessages = 200

// BenchmarkPair puts the load of BenchmarkOther through two existing rooms, which some other
// bridge connects: one message at a time, each way. OTHER holds the addresses of the rooms,
// OTHER_ACCOUNTS names a file with an account on each side, OTHER_NAME is the bridge's name in
// the table, and OTHER_PID its process, if that is on this machine.
func BenchmarkPair(b *testing.B) {
	if os.Getenv("OTHER") == "" {
		b.Skip("OTHER is not set; make bench OTHER='...' sets it")
	}
	pid, err := strconv.Atoi(cmp.Or(os.Getenv("OTHER_PID"), "0"))
	if err != nil {
		b.Fatal(hinted("OTHER_PID is not a number", "type: pidof NAME"))
	}
	toMX, toRC, err := openPair(b, os.Getenv("OTHER"), os.Getenv("OTHER_ACCOUNTS"), pid)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(toMX.warmUp(b, "it", 0), toRC.warmUp(b, "it", 0)); err != nil {
		b.Log(err)
	}
	for direction, w := range map[string]way{"to-matrix": toMX, "to-rocketchat": toRC} {
		var o outcome
		w.load(b, 1, pairMessages, &o)
		b.Run(cmp.Or(os.Getenv("OTHER_NAME"), "other")+","+direction, o.report)
	}
}

// accounts is the file that OTHER_ACCOUNTS names: who writes and reads on each side.
type accounts struct {
	RocketChat struct {
		User     string
		Password string
		UserID   string `yaml:"user_id"`
		Token    string
	} `yaml:"rocketchat"`
	Matrix struct {
		URL      string
		User     string
		Password string
		Token    string
	}
}

// hinted returns an error that says what went wrong, and what to do.
func hinted(fact, hint string) error { return fmt.Errorf("error: %s\nhint: %s", fact, hint) }

// openPair signs in on both sides of a pair of rooms and listens there.
func openPair(tb testing.TB, addresses, file string, pid int) (toMX, toRC way, err error) {
	tb.Helper()
	ctx := tb.Context()
	base, name, there, err := readAddresses(addresses)
	if err != nil {
		return toMX, toRC, err
	}
	who, err := readAccounts(file)
	if err != nil {
		return toMX, toRC, err
	}
	onRC, token, err := who.onRocketChat(ctx, base)
	if err != nil {
		return toMX, toRC, err
	}
	rcRoom, err := findRoom(ctx, onRC, name)
	if err != nil {
		return toMX, toRC, err
	}
	onMX, err := who.onMatrix(ctx)
	if err != nil {
		return toMX, toRC, err
	}
	mxRoom, err := enterRoom(ctx, onMX, there)
	if err != nil {
		return toMX, toRC, err
	}
	toMX = way{ear: newEar(), pid: pid, say: postingAs(onRC, []string{rcRoom})}
	toRC = way{ear: newEar(), pid: pid, say: sendingAs(onMX, []string{mxRoom})}
	return toMX, toRC, errors.Join(toMX.ear.onMatrixHears(tb, onMX, []string{mxRoom}), toRC.ear.onRocketChatHears(tb, base, token, []string{rcRoom}))
}

const wellFormed = "type: make bench OTHER='https://chat.example.org/channel/general #general:example.org' OTHER_ACCOUNTS=accounts.yaml"

// readAddresses parses the two addresses: Rocket.Chat's own with the name of its room, and the
// alias or ID of the room on Matrix.
func readAddresses(addresses string) (base, name, there string, err error) {
	fields := strings.Fields(addresses)
	if len(fields) != 2 {
		return "", "", "", hinted(fmt.Sprintf("OTHER holds %d addresses and not two", len(fields)), wellFormed)
	}
	if !strings.ContainsAny(fields[1][:1], "#!") {
		return "", "", "", hinted("the second address of OTHER is no room of Matrix: "+fields[1], wellFormed)
	}
	for _, kind := range []string{"/channel/", "/group/"} {
		if base, name, ok := strings.Cut(fields[0], kind); ok && strings.HasPrefix(base, "http") && name != "" {
			if name, err := url.PathUnescape(strings.TrimSuffix(name, "/")); err == nil {
				return base, name, fields[1], nil
			}
		}
	}
	return "", "", "", hinted("the first address of OTHER is no channel of Rocket.Chat: "+fields[0], wellFormed)
}

// readAccounts reads the file, which must not be readable by others.
func readAccounts(file string) (who accounts, err error) {
	if file == "" {
		return who, hinted("OTHER_ACCOUNTS is not set: it names a file with an account on each side", "docs/performance.md shows such a file")
	}
	info, err := os.Stat(file)
	if err != nil {
		return who, hinted(err.Error(), "docs/performance.md shows such a file")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return who, hinted(fmt.Sprintf("%s holds secrets, and others may read it (%#o)", file, info.Mode().Perm()), "type: chmod 600 "+file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return who, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&who); err != nil {
		return who, hinted(fmt.Sprintf("%s cannot be read: %v", file, err), "docs/performance.md shows such a file")
	}
	rc, mx := who.RocketChat, who.Matrix
	if (rc.UserID == "" || rc.Token == "") && (rc.User == "" || rc.Password == "") {
		return who, hinted(file+" has no account of Rocket.Chat", "give rocketchat a user_id and a token, or a user and a password")
	}
	if mx.URL == "" || mx.Token == "" && (mx.User == "" || mx.Password == "") {
		return who, hinted(file+" has no account of Matrix", "give matrix a url, and a token or a user and a password")
	}
	return who, nil
}

// onRocketChat signs in to Rocket.Chat.
func (a accounts) onRocketChat(ctx context.Context, base string) (anybody, string, error) {
	id, token := a.RocketChat.UserID, a.RocketChat.Token
	if token == "" {
		var in struct {
			Data struct{ UserID, AuthToken string }
		}
		err := anybody{base: base}.call(ctx, http.MethodPost, "/api/v1/login", map[string]string{"user": a.RocketChat.User, "password": a.RocketChat.Password}, &in)
		if err != nil {
			return anybody{}, "", hinted("Rocket.Chat does not let "+a.RocketChat.User+" in: "+err.Error(), "check user and password; an account with a second factor needs a personal access token: set user_id and token")
		}
		id, token = in.Data.UserID, in.Data.AuthToken
	}
	return onRocketChat(base, id, token), token, nil
}

// onMatrix signs in to the homeserver.
func (a accounts) onMatrix(ctx context.Context) (anybody, error) {
	base, token := strings.TrimSuffix(a.Matrix.URL, "/"), a.Matrix.Token
	if token == "" {
		var in struct {
			Token string `json:"access_token"`
		}
		err := anybody{base: base}.call(ctx, http.MethodPost, "/_matrix/client/v3/login", map[string]any{
			"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": a.Matrix.User}, "password": a.Matrix.Password,
		}, &in)
		if err != nil {
			return anybody{}, hinted("the homeserver does not let "+a.Matrix.User+" in: "+err.Error(), "check url, user and password, or set a token")
		}
		token = in.Token
	}
	return onMatrix(base, token), nil
}

// findRoom returns the ID of a Rocket.Chat room.
func findRoom(ctx context.Context, who anybody, name string) (string, error) {
	var out struct {
		Room struct {
			ID string `json:"_id"`
		}
	}
	err := who.call(ctx, http.MethodGet, "/api/v1/rooms.info?roomName="+url.QueryEscape(name), nil, &out)
	if refused, ok := errors.AsType[*notOK](err); ok && refused.status == http.StatusUnauthorized {
		return "", hinted("Rocket.Chat does not take the token: "+err.Error(), "make one under My Account, Personal Access Tokens; user_id is shown with it")
	}
	if err != nil {
		return "", hinted("Rocket.Chat does not show the room "+name+": "+err.Error(), "check the address; invite the account into the room if that is private")
	}
	return out.Room.ID, nil
}

// enterRoom joins a Matrix room, if the account is not a member, and returns its ID.
func enterRoom(ctx context.Context, who anybody, address string) (string, error) {
	var out struct {
		ID string `json:"room_id"`
	}
	err := who.call(ctx, http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(address), map[string]any{}, &out)
	if refused, ok := errors.AsType[*notOK](err); ok && refused.status == http.StatusUnauthorized {
		return "", hinted("the homeserver does not take the token: "+err.Error(), "sign in again, and set the new token")
	}
	if err != nil {
		return "", hinted("the homeserver does not let the account into "+address+": "+err.Error(), "check the address; invite the account into the room")
	}
	return out.ID, nil
}
