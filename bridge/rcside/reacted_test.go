package rcside_test

import (
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat/rctest"
)

// A reaction that is removed before the reaction itself was delivered is removed on
// Matrix, too: only what was accepted shows that there is one.
func TestAReactionThatIsTakenBackAtOnce(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	room := string(b.group("plans"))
	b.start()
	id := b.rc.Say(room, "alice", "nice?")
	reactions := func() (n int) {
		for item := range b.items {
			if strings.HasPrefix(item, "rc:"+id+":react:") {
				n++
			}
		}
		return n
	}
	b.waitForAll("the message", 10*time.Second, []string{"rc:" + id})
	b.rc.React(id, "alice", "smile")
	b.waitFor("the reaction", 10*time.Second, func() bool { return reactions() == 1 })
	b.rc.Unreact(id, "alice", "smile")
	b.waitFor("the end of the reaction", 10*time.Second, func() bool { return reactions() == 2 })
}
