package model

import (
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat"
)

func Say(format string, args ...any) error { return &SayError{Text: fmt.Sprintf(format, args...)} }

func PersonOf(u rocketchat.UserRef) RCPerson {
	return RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}
