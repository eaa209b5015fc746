package sim

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
)

// A recorder records requests and responses, one JSON document per line and one of
// each form, for Rocket.Chat's own packages to judge afterwards. Several processes
// may write to one file.
type recorder struct {
	mu   sync.Mutex
	file *os.File
	seen map[string]bool
}

// openRecorder appends to path; with an empty path the recorder is nil and records nothing.
func openRecorder(path string) (*recorder, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &recorder{file: f, seen: map[string]bool{}}, nil
}

func (r *recorder) close() {
	if r != nil {
		r.file.Close()
	}
}

// exchange records a REST request and its response. Files and pages are left out.
func (r *recorder) exchange(version string, c *call, a answer) {
	if r == nil || c.ep == nil {
		return
	}
	var said any
	if json.Unmarshal(a.raw, &said) != nil {
		return
	}
	query := map[string]any{}
	for k, v := range c.q {
		if name, list := strings.CutSuffix(k, "[]"); list {
			query[name] = v
			continue
		}
		query[k] = v[0]
	}
	r.write(map[string]any{"version": version, "method": c.ep.method, "endpoint": c.ep.path, "query": query, "body": c.body,
		"multipart": c.file != nil, "status": a.status, "answer": said})
}

// event records what was sent over a websocket.
func (r *recorder) event(version string, frame []byte) {
	if r == nil {
		return
	}
	var said map[string]any
	if json.Unmarshal(frame, &said) == nil && said["msg"] == "changed" {
		r.write(map[string]any{"version": version, "stream": said["collection"], "fields": said["fields"]})
	}
}

func (r *recorder) write(line map[string]any) {
	b := restJSON(line)
	var plain any
	if json.Unmarshal(b, &plain) != nil {
		return
	}
	form := formOf("", plain)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[form] {
		return
	}
	r.seen[form] = true
	r.file.Write(append(b, '\n'))
}

// literal lists the fields whose values, not only their types, are part of a form.
var literal = []string{"version", "method", "endpoint", "stream", "status", "t", "type", "erasure"}

// formOf describes a value without the parts that differ each time.
func formOf(key string, v any) string {
	switch x := v.(type) {
	case map[string]any:
		var l []string
		for _, k := range sortedKeys(x) {
			name := k
			if strings.HasPrefix(k, ":") {
				name = ":"
			}
			l = append(l, name+"="+formOf(k, x[k]))
		}
		return "{" + strings.Join(l, " ") + "}"
	case []any:
		set := map[string]bool{}
		for _, y := range x {
			set[formOf("", y)] = true
		}
		return "[" + strings.Join(sortedKeys(set), " ") + "]"
	case string:
		switch {
		case slices.Contains(literal, key):
			return x
		case key == "eventName":
			if _, kind, ok := strings.Cut(x, "/"); ok {
				return kind
			}
			return "room or kind"
		case x == "":
			return "empty"
		}
		return "text"
	case float64:
		return "number"
	case bool:
		return "flag"
	}
	return "null"
}
