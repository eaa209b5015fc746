// Package transfer holds what both directions need to transfer files and pictures: limits,
// content types, and how often a file is tried before it follows its message later.
package transfer

import (
	"errors"

	"appliance/bridge/relay/model"
)

// Attempts is how often a message is tried before its file has to follow later, so that
// later messages no longer wait.
const Attempts = 4

// LatePart is the part number of the first file that followed its message later.
const LatePart = 100

// Late returns the ID of the item for files that follow later.
func Late(name string) string { return name + ":files" }

// Refused reports whether an error is final, so that no retry will carry the file.
func Refused(err error) bool {
	return errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden)
}
