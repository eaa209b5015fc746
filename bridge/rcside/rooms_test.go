package rcside_test

import (
	"io"
	"net/http"
	"testing"

	"appliance/bridge/rocketchat/rctest"
)

// An archived room is recognized as archived, even where rooms.info says nothing
// else: 7.x and some of 8.x.
func TestAnArchivedRoomIsKnownToBeArchived(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v1/rooms.info" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"success": false, "error": "The channel, plans, is archived [error-room-archived]", "errorType": "error-room-archived"}`)
		return true
	}})
	room := b.group("plans")
	if err := b.rc.Engine().Archive(string(room), "alice", true); err != nil {
		t.Fatal(err)
	}
	b.start()
	info, ok, err := b.side.Room(t.Context(), room)
	if err != nil || !ok || !info.Archived || info.ID != room || info.Slug != "plans" {
		t.Errorf("%+v, %v, %v", info, ok, err)
	}
}
