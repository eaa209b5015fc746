package convert

import "encoding/json"

// ParseReaction reads an m.reaction event: the event reacted to and the emoji.
// ok is false when it is not one that can be understood.
func ParseReaction(payload []byte) (target, key string, ok bool) {
	var e struct {
		Content struct {
			Relates struct {
				Type  string `json:"rel_type"`
				Event string `json:"event_id"`
				Key   string `json:"key"`
			} `json:"m.relates_to"`
		} `json:"content"`
	}
	if json.Unmarshal(payload, &e) != nil {
		return "", "", false
	}
	r := e.Content.Relates
	return r.Event, r.Key, r.Type == "m.annotation" && r.Event != "" && r.Key != ""
}

// ParseRedaction reads which event an m.room.redaction takes back: at the top in
// room versions up to 10, in the content from 11 on.
func ParseRedaction(payload []byte) (target string, ok bool) {
	var e struct {
		Redacts string `json:"redacts"`
		Content struct {
			Redacts string `json:"redacts"`
		} `json:"content"`
	}
	if json.Unmarshal(payload, &e) != nil {
		return "", false
	}
	if e.Content.Redacts != "" {
		return e.Content.Redacts, true
	}
	return e.Redacts, e.Redacts != ""
}
