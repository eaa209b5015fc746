package mxside_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"appliance/bridge/config"
)

// shows is a homeserver that shows events, newest first, after what it is sent.
type shows struct{ events string }

func (s shows) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, txn, ok := strings.Cut(r.URL.Path, "/send/org.appliance.checkpoint/"); ok {
		_, _ = io.WriteString(w, `{"event_id":"$probe-`+txn[:1]+`"}`)
		return
	}
	_, _ = io.WriteString(w, `{"chunk":[`+s.events+`]}`)
}

// A Dendrite that was killed when it had accepted a reaction accepts it once more, and
// then shows two of them: the bridge checks before it sends a reaction again.
func TestAReactionThatArrivedIsFound(t *testing.T) {
	const (
		thumb  = `{"type":"m.reaction","event_id":"$thumb","sender":"@alice:home","room_id":"!r:home","origin_server_ts":1,"content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$said","key":"👍"}}}`
		others = `{"type":"m.reaction","event_id":"$others","sender":"@bob:there","room_id":"!r:home","origin_server_ts":1,"content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$said","key":"👍"}}}`
	)
	probes := make([]string, 0, 40) // the probe's mark begins with any letter or digit of base 32
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" {
		probes = append(probes, `{"type":"org.appliance.checkpoint","event_id":"$probe-`+string(c)+`","sender":"@bot:home","room_id":"!r:home","content":{}}`)
	}
	for name, c := range map[string]struct {
		events, key string
		want        bool
	}{
		"it is there":                 {thumb, "👍", true},
		"only another person reacted": {others, "👍", false},
		"only in another way":         {thumb, "🎉", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sideOn(t, config.Dendrite, shows{strings.Join(append(probes, c.events), ",")})
			event, ok, err := s.FindReaction(t.Context(), "!r:home", "@bot:home", "@alice:home", "$said", c.key)
			if err != nil || ok != c.want || ok && event != "$thumb" {
				t.Errorf("found %q, %t, %v", event, ok, err)
			}
		})
	}
}
