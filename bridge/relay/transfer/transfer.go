// Package transfer is what both directions need to carry files and pictures: their limits,
// their content type, and how often a file is tried before it follows its message later.
package transfer

import (
	"errors"

	"appliance/bridge/relay/model"
)

// Attempts is how often a message is tried before its file has to follow
// later: what was written after it waits no longer.
const Attempts = 4

// LatePart is the first part of a message that is a file which followed later.
const LatePart = 100

// Late names the item of files that follow later.
func Late(name string) string { return name + ":files" }

// Refused reports whether no repetition will carry a file.
func Refused(err error) bool {
	return errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden)
}
