package event

import "appliance/bridge/ids"

// By returns the user who caused an event: a Matrix user or a Rocket.Chat user. Both
// are "" if nobody did.
func By(e Event) (mx ids.MXUser, rc ids.RCUser) {
	switch e := e.(type) {
	case interface{ sender() ids.MXUser }:
		return e.sender(), ""
	case MXInvited:
		return e.Inviter, ""
	case MXPerson:
		return e.User, ""
	case RCWritten:
		return "", ids.RCUser(e.Message.User.ID)
	case RCEdited:
		return "", ids.RCUser(e.Message.User.ID)
	case RCFilesLate:
		return "", ids.RCUser(e.Message.User.ID)
	case RCUnreadable:
		return "", ids.RCUser(e.Message.User.ID)
	case RCRoom:
		return "", ids.RCUser(e.Message.User.ID)
	case RCMember:
		return "", ids.RCUser(e.By.ID)
	case RCPerson:
		return "", e.User
	case RCInvite:
		return "", e.Caller.ID
	case RCDirect:
		return "", e.Author
	}
	return "", ""
}

func (h MXHead) sender() ids.MXUser { return h.Sender }
