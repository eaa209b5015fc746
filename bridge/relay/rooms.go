package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

const (
	directRoom = rocketchat.Direct
)

func say(format string, args ...any) error { return &SayError{Text: fmt.Sprintf(format, args...)} }

// begin returns the cursors of a portal that starts now: what was written
// before stays where it is.
func begin(p Portal) map[string]string {
	return map[string]string{RCCursor(p.RCRoom): strconv.FormatInt(p.Created.UnixMilli(), 10)}
}

// Invite makes the caller's room a conversation with a Matrix user: it bridges
// the room if that has not happened yet and invites the user on the caller's
// behalf. Errors are a *SayError where the caller can do something about them.
func (r *Relay) Invite(ctx context.Context, caller Caller, target ids.MXUser) error {
	if err := r.mayTalk(target); err != nil {
		return err
	}
	var p Portal
	err := r.alone("room "+string(caller.Room), func() error {
		var err error
		p, err = r.bridgeRoom(ctx, caller.Room, &caller.RCPerson, nil)
		return err
	})
	if err != nil {
		return err
	}
	g, err := r.ghost(ctx, caller.RCPerson)
	if err != nil {
		return err
	}
	if err := r.ensureJoined(ctx, p, g.MXUser); err != nil {
		return err
	}
	// While the past of the room is still being carried, the invitation waits
	// behind it: a server that joins in the middle does not see all of it.
	waiting, err := r.Store.Waiting(ctx, RCLane(p.RCRoom))
	if err != nil {
		return err
	}
	if waiting >= manyWaiting {
		return r.inviteLater(ctx, caller, p, target)
	}
	return r.invite(ctx, p, g.MXUser, target)
}

// manyWaiting is how many items in a lane say that a past is being carried.
const manyWaiting = 3

// mayTalk says whether the operator lets people talk to a Matrix user.
func (r *Relay) mayTalk(target ids.MXUser) error {
	switch {
	case r.Names.Owns(target):
		return say("%s is somebody of this Rocket.Chat; invite them with /invite", target)
	case !r.Live().Users.Allowed(string(target)):
		return say("the administrator does not allow conversations with %s", target)
	case !r.Live().Servers.Allowed(target.Homeserver()):
		return say("the administrator does not allow conversations with %s", target.Homeserver())
	}
	return nil
}

// bridgeRoom returns the portal of a room, made as needed. A new one begins with the
// items that first returns, where there is one. caller is who asked for it, nil for the
// operator.
func (r *Relay) bridgeRoom(ctx context.Context, room ids.RCRoom, caller *RCPerson, first func(RCRoomInfo) ([]queue.Item, error)) (Portal, error) {
	p, ok, err := r.Store.PortalByRC(ctx, room)
	if err != nil || ok {
		return p, err
	}
	info, ok, err := r.RC.Room(ctx, room)
	switch {
	case err != nil:
		return Portal{}, err
	case !ok:
		return Portal{}, say("the bridge cannot see this room; add the user matrix-bridge to it and try again")
	case info.Encrypted:
		return Portal{}, say("this room is encrypted, and the bridge cannot read it")
	case info.Type == directRoom:
		return Portal{}, say("a direct message cannot take another person in; use /federation dm")
	}
	p = Portal{RCRoom: info.ID, RCType: info.Type, Created: time.Now().UTC()}
	powers, err := r.startPowers(ctx, p)
	if err != nil {
		return Portal{}, err
	}
	var guests []ids.MXUser
	if caller != nil {
		g, err := r.ghost(ctx, *caller)
		if err != nil {
			return Portal{}, err
		}
		powers[g.MXUser] = max(powers[g.MXUser], powerOf[Moderator]) // who bridges a room invites and looks after it
		guests = []ids.MXUser{g.MXUser}
	}
	p.MXRoom, err = r.MX.CreateRoom(ctx, MXRoomSpec{
		Creator: r.Names.BotUser(), RCRoom: info.ID, Title: info.Title, Topic: info.Topic, Site: r.Site,
		Invite: guests, Powers: powers, Write: writeLevel(info),
		Past: info.Type == rocketchat.Channel || first != nil,
	})
	if err != nil {
		return Portal{}, fmt.Errorf("make a Matrix room: %w", err)
	}
	roster := queue.Item{ID: "roster " + string(p.MXRoom), Lane: RCLane(p.RCRoom), Kind: KindRCRoster, Payload: []byte(p.RCRoom)}
	items := []queue.Item{roster}
	if first != nil {
		more, err := first(info)
		if err != nil {
			return Portal{}, err
		}
		items = append(items, more...)
	}
	if err := r.start(ctx, p, items...); err != nil {
		return Portal{}, err
	}
	return p, r.Store.MoveCursor(ctx, tightened(p), "1") // it was made as it should be
}

// start stores a portal and lets it live.
func (r *Relay) start(ctx context.Context, p Portal, items ...queue.Item) error {
	if err := r.Store.PutPortal(ctx, p, items, begin(p)); err != nil {
		return err
	}
	r.Log.Info("a room is bridged", "rc_room", p.RCRoom, "mx_room", p.MXRoom, "type", p.RCType)
	r.RC.Watch(p)
	r.MX.Follow(p.MXReader)
	r.Wake()
	return nil
}

// invite asks a Matrix user into a portal's room. One who is there is no error.
func (r *Relay) invite(ctx context.Context, p Portal, as, target ids.MXUser) error {
	err := r.MX.Invite(ctx, p.MXRoom, as, target)
	if errors.Is(err, ErrForbidden) && as != r.reader(p) {
		// Members without power may invite where the operator lets them.
		err = r.MX.Invite(ctx, p.MXRoom, r.reader(p), target)
	}
	switch {
	case errors.Is(err, ErrForbidden):
		members, merr := r.MX.Members(ctx, p.MXRoom, r.reader(p))
		if merr != nil {
			return merr
		}
		for _, m := range members {
			if m.User == target && (m.Membership == "join" || m.Membership == "invite") {
				return nil
			}
		}
		return say("%s cannot be invited: the room or their server does not allow it", target)
	case errors.Is(err, ErrUnavailable):
		return say("the server %s does not answer, so %s could not be invited; check the address or try again later", target.Homeserver(), target)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused):
		return say("%s could not be invited: %s does not know them or refused", target, target.Homeserver())
	}
	return err
}

// Direct opens a direct conversation of the caller with a Matrix user.
func (r *Relay) Direct(ctx context.Context, caller RCPerson, target ids.MXUser) error {
	if err := r.mayTalk(target); err != nil {
		return err
	}
	return r.alone("direct "+string(caller.ID)+" "+string(target), func() error { return r.direct(ctx, caller, target) })
}

func (r *Relay) direct(ctx context.Context, caller RCPerson, target ids.MXUser) error {
	g, err := r.ghost(ctx, caller)
	if err != nil {
		return err
	}
	// The account comes into being only once the invitation is out: an address
	// that was mistyped leaves nothing behind.
	if puppet, ok, err := r.Store.PuppetByMX(ctx, target); err != nil {
		return err
	} else if ok {
		room, err := r.RC.Direct(ctx, puppet, caller)
		if err != nil {
			return err
		}
		if p, ok, err := r.Store.PortalByRC(ctx, room); err != nil {
			return err
		} else if ok {
			return r.invite(ctx, p, g.MXUser, target)
		}
	}
	room, err := r.MX.CreateRoom(ctx, MXRoomSpec{Creator: g.MXUser, Site: r.Site, Direct: true})
	if err != nil {
		return fmt.Errorf("make a Matrix room: %w", err)
	}
	p := Portal{MXRoom: room, RCType: directRoom, RCReader: target, MXReader: g.MXUser, Created: time.Now().UTC()}
	if err := r.invite(ctx, p, g.MXUser, target); err != nil {
		if lerr := r.MX.Leave(ctx, room, g.MXUser); lerr != nil {
			r.Log.Warn("an unused Matrix room could not be left", "mx_room", room, "err", lerr)
		}
		return err
	}
	puppet, err := r.puppet(ctx, target, "")
	if err != nil {
		return err
	}
	if p.RCRoom, err = r.RC.Direct(ctx, puppet, caller); err != nil {
		return err
	}
	r.joined.Store(string(p.MXRoom)+" "+string(g.MXUser), struct{}{})
	return r.start(ctx, p)
}

// acceptInvitation lets a ghost join a Matrix room that its user was invited to,
// and makes the Rocket.Chat side of it.
func (r *Relay) acceptInvitation(ctx context.Context, item queue.Item) error {
	inv, err := ParseInvitation(item.Payload)
	if err != nil {
		return queue.Permanent("it could not be read", err)
	}
	switch {
	case r.Names.Owns(inv.Inviter):
		return nil // our own doing: who invites also lets the ghost join
	case item.Attempts == 0 && r.alreadyIn(ctx, inv):
		return nil // a hint and the homeserver told of the same invitation
	case !r.allowed(inv.Inviter):
		return r.decline(ctx, item, inv, notAllowed)
	case !r.admitInvitation(item, inv):
		return r.decline(ctx, item, inv, tooManyInvites)
	}
	who, ok, err := r.Person(ctx, inv.Ghost)
	if err != nil {
		return outcome(item, err, "")
	}
	if !ok {
		return outcome(item, ignore(r.MX.Leave(ctx, inv.Room, inv.Ghost), ErrForbidden, ErrNotFound), "")
	}
	if may, err := r.mayLetIn(ctx, inv); err != nil || !may {
		if err == nil {
			return r.decline(ctx, item, inv, mayNotInvite)
		}
		return outcome(item, err, "")
	}
	if err := r.MX.Join(ctx, inv.Room, inv.Ghost, ""); err != nil {
		return outcome(item, err, "")
	}
	r.joined.Store(string(inv.Room)+" "+string(inv.Ghost), struct{}{})
	inv.Insists = item.Attempts >= notYetTries
	if err := r.enter(ctx, inv, who); err != nil {
		if errors.Is(err, errNotYet) {
			return queue.Later(time.Second, err)
		}
		if _, refused := errors.AsType[*roomError](err); refused {
			r.Log.Info("a room was left again", "mx_room", inv.Room, "why", err)
			return nil
		}
		return outcome(item, err, "Rocket.Chat refused it")
	}
	return outcome(item, r.lookForEncryption(ctx, inv), "")
}

// alreadyIn reports whether a ghost has accepted an invitation to a room that is a
// portal. What it may be told once more is no new invitation.
func (r *Relay) alreadyIn(ctx context.Context, inv Invitation) bool {
	if _, in := r.joined.Load(string(inv.Room) + " " + string(inv.Ghost)); !in {
		return false
	}
	_, ok, err := r.Store.PortalByMX(ctx, inv.Room)
	return ok && err == nil
}

// mayLetIn reports whether the operator lets the person who invites bring people of
// Rocket.Chat into the room. A room that is no portal yet is one of Matrix.
func (r *Relay) mayLetIn(ctx context.Context, inv Invitation) (bool, error) {
	p, ok, err := r.Store.PortalByMX(ctx, inv.Room)
	if err != nil || !ok || p.RCType == directRoom {
		return err == nil, err
	}
	list := r.Live().Permissions.Invite
	puppet, ok, err := r.Store.PuppetByMX(ctx, inv.Inviter)
	if err != nil || !ok {
		return err == nil && config.Holds(list), err
	}
	return r.holds(ctx, list, puppet.RCUser, p)
}

// lookForEncryption says so when a room that a ghost has just joined is one that
// the bridge cannot read.
func (r *Relay) lookForEncryption(ctx context.Context, inv Invitation) error {
	_, encrypted, err := r.MX.State(ctx, inv.Room, inv.Ghost, stateEncryption, "")
	if err != nil || !encrypted {
		return ignore(err, ErrForbidden)
	}
	p, ok, err := r.Store.PortalByMX(ctx, inv.Room)
	if err != nil || !ok {
		return err
	}
	return r.encrypted(ctx, p)
}

// enter brings a user into the Rocket.Chat side of a room whose ghost has just
// joined.
func (r *Relay) enter(ctx context.Context, inv Invitation, who RCPerson) error {
	return r.alone("begin "+string(inv.Room), func() error { return r.enterAlone(ctx, inv, who) })
}

// enterAlone is enter while no other portal begins in the room or moves there.
func (r *Relay) enterAlone(ctx context.Context, inv Invitation, who RCPerson) error {
	p, ok, err := r.Store.PortalByMX(ctx, inv.Room)
	if err != nil {
		return err
	}
	if ok {
		if p, err = r.widen(ctx, p, who.Username); err != nil || p.RCType == directRoom {
			return err
		}
		return r.RC.Add(ctx, p, who.ID)
	}
	if moved, err := r.fits(ctx, inv, who); err != nil || moved {
		return err
	}
	p = Portal{MXRoom: inv.Room, MXReader: inv.Ghost, Created: time.Now().UTC()}
	if inv.Direct {
		title, many, err := r.firstCompany(ctx, inv.Room, inv.Ghost)
		if err != nil {
			return err
		}
		if inv.Direct = !many; many {
			inv.Name = cmp.Or(inv.Name, title)
		}
	}
	if inv.Direct {
		puppet, err := r.puppet(ctx, inv.Inviter, r.nameIn(ctx, inv.Room, inv.Ghost, inv.Inviter))
		if err != nil {
			return err
		}
		p.RCType, p.RCReader = directRoom, inv.Inviter
		if p.RCRoom, err = r.RC.Direct(ctx, puppet, who); err != nil {
			return err
		}
		return r.start(ctx, p)
	}
	info, err := r.RC.CreateGroup(ctx, convert.Name(inv.Name, "matrix-"+who.Username), who, r.isFree(ctx))
	if err != nil {
		return err
	}
	p.RCRoom, p.RCType = info.ID, info.Type
	roster := queue.Item{ID: "roster " + string(p.MXRoom), Lane: MXLane(p.MXRoom), Kind: KindMXRoster, Payload: []byte(p.MXRoom)}
	return r.start(ctx, p, roster)
}

// notYetTries is how often a room that says so is looked at, a second apart.
const notYetTries = 12

// errNotYet: a room says that it replaces a portal's, which does not say so yet.
var errNotYet = errors.New("the room that it replaces does not say so yet")

// A roomError says why a room that was joined cannot be bridged, and was left again.
type roomError struct{ reason string }

func (e *roomError) Error() string { return e.reason }

// fits looks what a room is that a ghost has just joined. It leaves one that cannot
// be bridged, with a sentence, and lets a portal go on in one that replaces its room.
func (r *Relay) fits(ctx context.Context, inv Invitation, who RCPerson) (moved bool, err error) {
	created, err := r.MX.Creation(ctx, inv.Room, inv.Ghost)
	if err != nil {
		return false, err
	}
	if created.Type == spaceType {
		return false, r.leaveRoom(ctx, inv, "This is a space, a list of rooms, and Rocket.Chat has no such thing: please invite to the rooms in it, one by one.")
	}
	p, replaces, sure, err := r.replaces(ctx, created, inv.Room)
	switch {
	case err != nil:
		return false, err
	case replaces:
		if err := r.move(ctx, p, inv.Room, inv.Ghost, inv.Server()); err != nil || p.RCType == directRoom {
			return true, err
		}
		return true, r.RC.Add(ctx, p, who.ID)
	case !sure && !inv.Insists:
		return false, errNotYet
	}
	twice, err := r.bridgedElsewhere(ctx, inv.Room, inv.Ghost)
	if err == nil && twice {
		err = r.leaveRoom(ctx, inv, "Another bridge connects this room with this Rocket.Chat already.")
	}
	return false, err
}

// spaceType is the type of rooms that are lists of rooms.
const spaceType = "m.space"

// leaveRoom lets a ghost leave a room that cannot be bridged, with a reason. The
// error is a *roomError then.
func (r *Relay) leaveRoom(ctx context.Context, inv Invitation, reason string) error {
	r.forgetJoined(inv.Room, inv.Ghost)
	if err := ignore(r.MX.Refuse(ctx, inv.Room, inv.Ghost, reason), ErrForbidden, ErrNotFound); err != nil {
		return err
	}
	return &roomError{reason}
}

// nameIn returns somebody's display name in a room, "" when it cannot be had.
func (r *Relay) nameIn(ctx context.Context, room ids.MXRoom, reader, user ids.MXUser) string {
	members, err := r.MX.Members(ctx, room, reader)
	if err != nil {
		return ""
	}
	for _, m := range members {
		if m.User == user {
			return m.Name
		}
	}
	return ""
}

func ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
