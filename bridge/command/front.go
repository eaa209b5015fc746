package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Front is the HTTP front end of Commands.
type Front struct {
	Commands *Commands
	target   *url.URL
	proxy    *httputil.ReverseProxy
	http     *http.Client
	callers  callers
}

// NewFront returns a front that passes requests on to the Rocket.Chat at base.
func NewFront(c *Commands, base string) (*Front, error) {
	target, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return &Front{Commands: c, target: target, http: &http.Client{Timeout: 30 * time.Second}, proxy: &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			if target.Scheme == "http" { // on the same host; elsewhere it has its own name
				pr.Out.Host = pr.In.Host
			}
			pr.Out.Header.Set(passedOn, "1")
			// Set by the web server; Rocket.Chat's rate limits use them.
			for _, h := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip"} {
				pr.Out.Header[h] = pr.In.Header[h]
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}, nil
}

// Routes adds the four endpoints that the web server hands over.
func (f *Front) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/commands.run", once(f.commandsRun))
	mux.HandleFunc("POST /api/v1/method.call/slashCommand", once(f.slashCommand))
	mux.HandleFunc("GET /api/v1/commands.list", once(f.list))
	mux.HandleFunc("GET /api/v1/commands.get", once(f.get))
}

const (
	maxBody = 128 << 10
	// runFor bounds a command: an invitation waits for another server.
	runFor = 55 * time.Second
)

// commandsRun is POST /api/v1/commands.run, which the web client has called since 8.6 and
// the mobile apps have always called.
func (f *Front) commandsRun(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Command string `json:"command"`
		Params  string `json:"params"`
		RoomID  string `json:"roomId"`
	}
	if !f.ours(w, r, &body, func() bool { return mine(body.Command) }) {
		return
	}
	if status, err := f.run(r, body.Command, body.Params, body.RoomID); err != nil {
		if !busy(w, err) {
			reply(w, status, map[string]any{"success": false, "error": words(err)})
		}
		return
	}
	reply(w, http.StatusOK, map[string]any{"result": nil, "success": true})
}

// slashCommand is POST /api/v1/method.call/slashCommand, which older web clients call:
// the same request in an envelope.
func (f *Front) slashCommand(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Message string `json:"message"`
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Params []struct {
			Cmd    string `json:"cmd"`
			Params string `json:"params"`
			Msg    struct {
				RoomID string `json:"rid"`
			} `json:"msg"`
		} `json:"params"`
	}
	isOurs := func() bool {
		return json.Unmarshal([]byte(body.Message), &call) == nil && len(call.Params) == 1 && mine(call.Params[0].Cmd)
	}
	if !f.ours(w, r, &body, isOurs) {
		return
	}
	p := call.Params[0]
	result := map[string]any{"msg": "result", "id": call.ID, "result": nil}
	if status, err := f.run(r, p.Cmd, p.Params, p.Msg.RoomID); err != nil {
		if busy(w, err) {
			return
		}
		if status == http.StatusUnauthorized {
			reply(w, status, map[string]any{"status": "error", "message": words(err)})
			return
		}
		delete(result, "result")
		result["error"] = map[string]any{"isClientSafe": true, "error": "error-not-allowed", "reason": words(err), "message": words(err) + " [error-not-allowed]", "errorType": "Meteor.Error"}
		inner, _ := json.Marshal(result) // maps of strings: cannot fail
		reply(w, http.StatusBadRequest, map[string]any{"message": string(inner), "success": false})
		return
	}
	inner, _ := json.Marshal(result)
	reply(w, http.StatusOK, map[string]any{"message": string(inner), "success": true})
}

// ours decodes a request into body and reports whether it is for the bridge. If not, it
// has already passed the request on or refused it.
func (f *Front) ours(w http.ResponseWriter, r *http.Request, body any, is func() bool) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"success": false, "error": "the request could not be read"})
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if json.Unmarshal(data, body) == nil && is() {
		return true
	}
	f.proxy.ServeHTTP(w, r)
	return false
}

// passedOn marks requests that the bridge has passed on: a web server that hands them
// back would create an endless loop.
const passedOn = "X-Appliance-Bridge"

func once(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(passedOn) != "" {
			reply(w, http.StatusLoopDetected, map[string]any{"success": false, "error": "the web server in front of Rocket.Chat sends the bridge's own requests back to it"})
			return
		}
		next(w, r)
	}
}

var errLogin = &model.SayError{Text: "You must be logged in to do this."}

// run identifies the caller and runs the command. The status belongs to the error.
func (f *Front) run(r *http.Request, name, params, room string) (status int, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), runFor)
	defer cancel()
	caller, address := callerOf(r, f.Commands.Client)
	if caller == nil {
		return http.StatusUnauthorized, errLogin
	}
	user, ok, err := f.callers.who(ctx, f.Commands.Client, caller, address)
	switch {
	case err != nil:
		return http.StatusBadGateway, err
	case !ok:
		return http.StatusUnauthorized, errLogin
	}
	err = f.Commands.run(ctx, request{caller: caller, user: user, name: strings.ToLower(name), params: params, room: room})
	return http.StatusBadRequest, err
}

// busy responds to a caller who has to wait, as Rocket.Chat's own limiter does, and
// reports whether it did.
func busy(w http.ResponseWriter, err error) bool {
	wait, ok := errors.AsType[*busyError](err)
	if e, refused := errors.AsType[*rocketchat.Error](err); refused && e.Status == http.StatusTooManyRequests {
		wait, ok = &busyError{e.RetryAfter}, true
	}
	if !ok {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(wait.seconds()))
	reply(w, http.StatusTooManyRequests, map[string]any{"success": false, "error": wait.Error() + " [error-too-many-requests]", "errorType": "error-too-many-requests"})
	return true
}

// words returns the part of an error that may be shown.
func words(err error) string {
	if se, ok := errors.AsType[*model.SayError](err); ok {
		return se.Text
	}
	return "the command could not be carried out"
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// listed has the commands as Rocket.Chat's clients list them.
var listed = []map[string]any{
	{"command": "bridge", "params": "invite @user:server | kick | status | whois | history | me | unbridge | rooms | queue | retry | help", "description": "Talk to people on Matrix in this room", "clientOnly": false, "providesPreview": false},
	{"command": "federation", "params": "dm @user:server | rooms server words | join #room:server | help", "description": "Talk to a person on Matrix, and find rooms there", "clientOnly": false, "providesPreview": false},
}

// list is GET /api/v1/commands.list: Rocket.Chat's own response with the bridge's commands at
// the end of its last page.
func (f *Front) list(w http.ResponseWriter, r *http.Request) {
	res, data, err := f.upstream(r) //nolint:bodyclose // upstream has read and closed it
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	var page map[string]json.RawMessage
	var commands []map[string]any
	var total, offset int
	if res.StatusCode != http.StatusOK || json.Unmarshal(data, &page) != nil || json.Unmarshal(page["commands"], &commands) != nil || json.Unmarshal(page["total"], &total) != nil {
		passOn(w, res, data)
		return
	}
	_ = json.Unmarshal(page["offset"], &offset)
	missing := absent(commands)
	if offset+len(commands) >= total {
		commands = append(commands, missing...)
	}
	page["commands"], _ = json.Marshal(commands) // came from JSON: cannot fail
	page["total"] = json.RawMessage(strconv.Itoa(total + len(missing)))
	if _, ok := page["count"]; ok {
		page["count"] = json.RawMessage(strconv.Itoa(len(commands)))
	}
	reply(w, http.StatusOK, page)
}

// absent returns the bridge's commands that a list lacks.
func absent(commands []map[string]any) []map[string]any {
	var out []map[string]any
	for _, c := range listed {
		have := false
		for _, o := range commands {
			have = have || o["command"] == c["command"]
		}
		if !have {
			out = append(out, maps.Clone(c))
		}
	}
	return out
}

// get is GET /api/v1/commands.get?command=.
func (f *Front) get(w http.ResponseWriter, r *http.Request) {
	for _, c := range listed {
		if r.URL.Query().Get("command") == c["command"] {
			reply(w, http.StatusOK, map[string]any{"command": c, "success": true})
			return
		}
	}
	f.proxy.ServeHTTP(w, r)
}

// upstream makes the same request to Rocket.Chat and reads the whole response.
func (f *Front) upstream(r *http.Request) (*http.Response, []byte, error) {
	u := *f.target
	u.Path, u.RawQuery = r.URL.Path, r.URL.RawQuery
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding") // so that the response is readable
	req.Header.Set(passedOn, "1")
	if f.target.Scheme == "http" {
		req.Host = r.Host
	}
	res, err := f.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return res, data, err
}

func passOn(w http.ResponseWriter, res *http.Response, data []byte) {
	maps.Copy(w.Header(), res.Header)
	w.Header().Del("Content-Length")
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(data)
}
