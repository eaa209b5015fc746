package ddp

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzFrame: a frame from the server is an event of a stream, an awaited reply, or
// nothing.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{"eventName":"r","args":[{"_id":"a"}]}}`,
		`{"msg":"result","id":"1","error":{"error":"x"}}`, `{"msg":"ready","subs":["1","1"]}`, `{"msg":"nosub","id":"1"}`, `{"msg":"connected","session":7}`,
		`{"msg":"changed","collection":"stream-x","fields":null}`, `{"msg":["changed"]}`, `{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var fr frame
		if json.Unmarshal(data, &fr) != nil || fr.Msg == "ping" { // a ping is answered over the connection
			return
		}
		var events []Event
		c := &Conn{handle: func(e Event) { events = append(events, e) }, waiting: map[string]chan frame{}, subscribed: map[string]string{}}
		_, answer := c.register("method")
		connected := c.expect("connected")
		c.dispatch(fr)
		for _, e := range events {
			if fr.Msg != "changed" || !strings.HasPrefix(e.Stream, "stream-") {
				t.Errorf("%q is the event %+v", data, e)
			}
		}
		if len(answer)+len(connected) > 2 {
			t.Errorf("%q was an answer more than once", data)
		}
	})
}
