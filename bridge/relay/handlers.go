package relay

import (
	"appliance/bridge/relay/model"
)

// handlers returns what delivers each kind of item.
func (r *Relay) handlers() map[string]model.Handler {
	return map[string]model.Handler{
		model.KindRCMessage: r.messageToMatrix,
		model.KindRCMember:  model.WithoutReceipts(r.memberToMatrix),
		model.KindRCRoster:  model.WithoutReceipts(r.rosterToMatrix),
		model.KindRCEdit:    r.editToMatrix,
		model.KindRCRoom:    model.WithoutReceipts(r.roomToMatrix),
		model.KindRCPin:     model.WithoutReceipts(r.pinToMatrix),
		model.KindRCSecret:  model.WithoutReceipts(r.secretToMatrix),
		model.KindRCDirect:  model.WithoutReceipts(r.newDirect),
		model.KindRCInvite:  model.WithoutReceipts(r.inviteNow),
		model.KindRCFiles:   r.lateFilesToMatrix,
		model.KindRCDelete:  model.WithoutReceipts(r.deleteOnMatrix),
		model.KindRCReact:   model.WithoutReceipts(r.reactionsToMatrix),
		model.KindRCPerson:  model.WithoutReceipts(r.personToMatrix),

		model.KindMXMessage: r.messageToRocketChat,
		model.KindMXFile:    r.lateFileToRocketChat,
		model.KindMXRoom:    model.WithoutReceipts(r.roomToRocketChat),
		model.KindMXSecret:  model.WithoutReceipts(r.encryptedToRocketChat),
		model.KindMXCall:    r.callToRocketChat,
		model.KindMXPoll:    r.pollToRocketChat,
		model.KindMXReact:   model.WithoutReceipts(r.reactionToRocketChat),
		model.KindMXRedact:  model.WithoutReceipts(r.redactionToRocketChat),
		model.KindMXPerson:  model.WithoutReceipts(r.personToRocketChat),
		model.KindMXMember:  model.WithoutReceipts(r.memberToRocketChat),
		model.KindMXInvite:  model.WithoutReceipts(r.acceptInvitation),
		model.KindMXDecline: model.WithoutReceipts(r.declineNow),
		model.KindMXRoster:  model.WithoutReceipts(r.rosterToRocketChat),
	}
}
