package rcside

import (
	"errors"
	"fmt"
	"testing"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// What Rocket.Chat says about a request decides whether its room waits: it waits for a server
// that lacks its database, and not for a message that the server will never take.
func TestWhatRocketChatSaysDecidesWhetherARoomWaits(t *testing.T) {
	for _, tc := range []struct {
		status     int
		code, text string
		want       error
	}{
		{400, "error-app-prevented-sending", "A Rocket.Chat App prevented the message sending. [error-app-prevented-sending]", model.ErrPrevented},
		{400, "error-app-prevented", "Not in this room [error-app-prevented]", model.ErrPrevented},
		{400, "error-something-new", "Something new [error-something-new]", model.ErrUnclear},
		{400, "error-message-editing-blocked", "Message editing is blocked [error-message-editing-blocked]", model.ErrRefused},
		{400, "error-not-allowed", "Not allowed [error-not-allowed]", model.ErrForbidden},
		{400, "", "Cannot read properties of undefined (reading 'name')", model.ErrBroken},
		{200, "500", "Internal server error", model.ErrBroken},
		{400, "ufs: cannot upload file", "cannot upload file [ufs: cannot upload file]", model.ErrBroken},
		{400, "", "connect ECONNREFUSED 172.18.0.2:27017", model.ErrUnavailable},
		{400, "", "Server selection timed out after 30000 ms", model.ErrUnavailable},
		{400, "", "not primary and secondaryOk=false - consider using db.getMongo().setSecondaryOk()", model.ErrUnavailable},
		{400, "", "connection 3 to 172.18.0.2:27017 closed (MongoNetworkError)", model.ErrUnavailable},
		{502, "", "", model.ErrUnavailable},
		{400, "too-many-requests", "Please slow down", nil}, // to wait does not count
	} {
		err := side(fmt.Errorf("send: %w", &rocketchat.Error{Method: "POST", Path: "chat.sendMessage", Status: tc.status, Code: tc.code, Text: tc.text}))
		if _, wait := errors.AsType[*model.WaitError](err); tc.want == nil && !wait || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%d %q %q: %v, want %v", tc.status, tc.code, tc.text, err, tc.want)
		}
		if again := side(err); again.Error() != err.Error() {
			t.Errorf("translated twice, %v is %v", err, again)
		}
	}
}
