package convert

import "encoding/json"

// CallTypes are the types of events that start calls: between two people
// (Client-Server API, "Voice over IP"), and in a room (MSC3401, MSC4143).
var CallTypes = []string{"m.call.invite", "m.call.member", "org.matrix.msc3401.call.member"}

// BeginsCall reports whether an event of one of these types comes from a user who
// starts or joins a call; users who leave one also send it, with nothing in it.
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
