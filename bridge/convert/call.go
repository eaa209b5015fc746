package convert

import "encoding/json"

// CallTypes are the types of events with which calls begin: of two people
// (Client-Server API, "Voice over IP"), and of a room (MSC3401, MSC4143).
var CallTypes = []string{"m.call.invite", "m.call.member", "org.matrix.msc3401.call.member"}

// BeginsCall reports whether an event of one of these types is of a user who
// begins a call or joins one; those who leave send one too, with nothing in it.
func (e Event) BeginsCall() bool {
	content := e.content
	if e.Type == "m.call.invite" {
		return content.str("call_id") != ""
	}
	var memberships, calls []json.RawMessage
	_ = json.Unmarshal(content["memberships"], &memberships)
	_ = json.Unmarshal(content["m.calls"], &calls)
	return content.str("application") == "m.call" || len(memberships) > 0 || len(calls) > 0
}
