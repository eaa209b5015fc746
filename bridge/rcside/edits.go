package rcside

import (
	"fmt"
	"hash/fnv"

	"appliance/bridge/rocketchat"
)

// editID is the item ID for a version of a message. The time alone does not
// distinguish two edits in one millisecond; the text alone does not distinguish an
// edit back to an earlier version from a repeat.
func editID(m rocketchat.Message) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Text)) // never fails
	for _, a := range m.Attachments {
		_, _ = h.Write([]byte("\x00" + a.Description))
	}
	return fmt.Sprintf("%s:edit:%d:%x", baseID(m), m.EditedAt.UnixMilli(), h.Sum64())
}
