package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Room is a portal.
type Room struct {
	RCRoom, MXRoom string
	Title          string // in Rocket.Chat; "" if not known, or for a direct message
	Type           string // "channel", "private room" or "direct message"
	With           string // for a direct message: the other person on Matrix, if stored
	Created        time.Time
	Lanes          [2]RoomLane // ToMatrix and ToRocketChat
}

// A RoomLane is one direction of a room.
type RoomLane struct {
	Name string // of the lane in the queue
	Backlog
	LastError string // of the first waiting item, or else of the newest dead letter
}

// A RoomPage is one page of the list of rooms.
type RoomPage struct {
	List  []Room
	Next  string // where the list continues; "" at its end
	Total int64  // all rooms, including those that do not match
}

// A RoomView is everything about one room.
type RoomView struct {
	Room
	MXName      string   // its name on Matrix; "" if it has none or that is not known
	About       []string // descriptions of it on Matrix, in sentences
	Here, There Members  // in Rocket.Chat and on Matrix
	Unknown     string   // why the members are not known; "" if they are
}

// Members are the people in a room.
type Members struct {
	Total int
	List  []Member // only the first ones
}

// A Member is a person in a room.
type Member struct {
	Name, Address string
	Membership    string // on Matrix: "join", "invite"
	Ours          bool   // a ghost on Matrix, or a puppet in Rocket.Chat
	Bridge        bool   // the bridge's own user
}

// ErrNoRoom is wrapped when a room is not connected, or no longer so.
var ErrNoRoom = errors.New("is not connected with Matrix")

// A RefusedError explains why an administrator's request cannot be carried out.
type RefusedError struct {
	Text  string // the end of a sentence, without a full stop
	Saved bool   // the change is stored all the same, but not in force
}

func (e *RefusedError) Error() string { return e.Text }

// Rooms shows the portals and carries out administrators' requests. Errors are a
// *RefusedError if an administrator can do something about them.
type Rooms interface {
	// Rooms returns the portals whose names or identifiers contain words, newest first,
	// starting at from and at most limit.
	Rooms(ctx context.Context, words, from string, limit int) (RoomPage, error)
	// Room returns one portal.
	Room(ctx context.Context, rcRoom string) (RoomView, error)
	// Reconcile compares the members of a room on both sides, and returns how many
	// differences it has corrected.
	Reconcile(ctx context.Context, rcRoom string) (int, error)
	// Connect connects a room, given by its name or identifier, with a new one on Matrix,
	// and backfills its last messages there. n is how many items are being backfilled.
	Connect(ctx context.Context, room string, last int) (rcRoom string, n int, err error)
	// Link connects a room, given by its name or identifier, with an existing one on
	// Matrix, given by its alias or identifier.
	Link(ctx context.Context, room, matrix string) (rcRoom string, err error)
	// Disconnect ends a portal on behalf of an administrator.
	Disconnect(ctx context.Context, rcRoom, by string) error
}

// MaxPast is how many past messages of a room can be backfilled.
const MaxPast = 10_000

// roomsOnPage is how many rooms a page lists.
const roomsOnPage = 50

// maxWords bounds the length of a search text, in characters.
const maxWords = 200

// roomPages serves the list of rooms, the page of each, and the actions on them.
type roomPages struct {
	*views
	rooms Rooms
}

func (p *roomPages) routes(r routes) {
	r.page("rooms", p.list)
	r.page("room", p.one)
	r.post("rooms/reconcile", p.reconcile)
	r.post("rooms/connect", p.connect)
	r.post("rooms/link", p.link)
	r.post("rooms/disconnect", p.disconnect)
}

// roomsView is the rooms page.
type roomsView struct {
	Words   string
	Later   bool // it is not the first page
	MaxPast int
	RoomPage
}

func (p *roomPages) list(w http.ResponseWriter, r *http.Request, s session) {
	q := r.URL.Query()
	v := roomsView{Words: cut(strings.TrimSpace(q.Get("q")), maxWords), Later: q.Get("from") != "", MaxPast: MaxPast}
	var err error
	if v.RoomPage, err = p.rooms.Rooms(r.Context(), v.Words, q.Get("from"), roomsOnPage); err != nil {
		p.failed(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "rooms.html", page{Title: "Rooms", Here: "rooms", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// one serves the page of one portal.
func (p *roomPages) one(w http.ResponseWriter, r *http.Request, s session) {
	v, err := p.rooms.Room(r.Context(), r.URL.Query().Get("id"))
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "room.html", page{Title: "Room", Here: "rooms", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// done redirects to the page of a room, which shows what was done.
func done(w http.ResponseWriter, r *http.Request, room, what string, n int) {
	back := url.Values{"id": {room}, "done": {what}, "n": {strconv.Itoa(n)}}.Encode()
	http.Redirect(w, r, Path+"room?"+back, http.StatusSeeOther) //nolint:gosec // it leads to this console, whatever the query is
}

// noticeOfRooms describes the result of a change to a room.
func noticeOfRooms(what string, n int) string {
	switch what {
	case "disconnect":
		return "The room is no longer connected with Matrix. What was said stays on both sides."
	case "reconcile":
		if n == 0 {
			return "The members were compared; nothing had to be corrected."
		}
		return counted(n, "difference between the members was corrected.", "differences between the members were corrected.")
	case "connect":
		return "The room is connected with Matrix, and " + strconv.Itoa(n) + " of its messages and reactions are being carried there."
	case "link":
		return "The two rooms are connected. The people of each are joining the other; what was said before stays where it is."
	}
	return noticeOfLists(what)
}

func (p *roomPages) reconcile(w http.ResponseWriter, r *http.Request, s session) {
	room := r.PostForm.Get("room")
	n, err := p.rooms.Reconcile(r.Context(), room)
	p.log.Info("the members of a room were compared in the console", "user", s.userID, "rc_room", room, "corrected", n, "err", err)
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	done(w, r, room, "reconcile", n)
}

// connect connects a room and backfills its past.
func (p *roomPages) connect(w http.ResponseWriter, r *http.Request, s session) {
	room := strings.TrimSpace(r.PostForm.Get("room"))
	last, err := strconv.Atoi(strings.TrimSpace(r.PostForm.Get("last")))
	if err != nil || last < 1 || last > MaxPast || room == "" {
		p.problem(w, s, http.StatusBadRequest, "Nothing was changed. A room is needed, and a number of messages from 1 to "+strconv.Itoa(MaxPast)+".")
		return
	}
	id, n, err := p.rooms.Connect(r.Context(), room, last)
	p.log.Info("a room was connected in the console", "user", s.userID, "rc_room", id, "asked", last, "items", n, "err", err)
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	done(w, r, id, "connect", n)
}

// link connects two rooms. The form requires a tick, because people in one room will see
// messages of the other.
func (p *roomPages) link(w http.ResponseWriter, r *http.Request, s session) {
	room, matrix := strings.TrimSpace(r.PostForm.Get("room")), strings.TrimSpace(r.PostForm.Get("matrix"))
	if r.PostForm.Get("sure") != "yes" || room == "" || matrix == "" {
		p.problem(w, s, http.StatusBadRequest, "Nothing was changed. Name both rooms, and tick the box beside the button: whoever is in one room reads what is said in the other.")
		return
	}
	id, err := p.rooms.Link(r.Context(), room, matrix)
	p.log.Info("two rooms were linked in the console", "user", s.userID, "rc_room", id, "matrix", cut(matrix, 255), "err", err)
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	done(w, r, id, "link", 1)
}

// disconnect ends a portal. The form requires a tick, because this cannot be undone.
func (p *roomPages) disconnect(w http.ResponseWriter, r *http.Request, s session) {
	room := r.PostForm.Get("room")
	if r.PostForm.Get("sure") != "yes" {
		p.problem(w, s, http.StatusBadRequest, "Nothing was changed. Tick the box beside the button: people from Matrix leave the room, and that cannot be undone.")
		return
	}
	err := p.rooms.Disconnect(r.Context(), room, s.username)
	if errors.Is(err, ErrNoRoom) {
		p.refused(w, r, s, err)
		return
	}
	p.log.Info("a room was disconnected in the console", "user", s.userID, "rc_room", room, "err", err)
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	http.Redirect(w, r, Path+"rooms?done=disconnect&n=1", http.StatusSeeOther)
}
