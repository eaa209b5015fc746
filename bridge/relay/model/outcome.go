package model

import (
	"context"
	"errors"
	"time"

	"appliance/bridge/queue"
)

// maxPause is the longest pause between attempts while a side does not respond: people
// are waiting for the conversation to resume.
const maxPause = 15 * time.Second

// What a server keeps rejecting must not hold up its room.
const (
	// maxForbidden is how many attempts may fail because something is not allowed, or for a
	// reason that the bridge does not know, which takes half a minute. A server may say so for a
	// moment, before it knows of a change of members or of power levels.
	maxForbidden = 6
	// maxBroken is how many attempts may fail because the server fails over the request, which
	// takes nine minutes: it may be starting, or lack something that it depends on.
	maxBroken = 10
)

// Outcome maps an error of a side to one that the queue understands: a retry with
// backoff, a pause that does not count as a failure, or a dead letter, for which refused
// is the sentence shown to its sender.
func Outcome(item queue.Item, err error, refused string) error {
	if err == nil {
		return nil
	}
	if w, ok := errors.AsType[*WaitError](err); ok {
		return queue.Later(max(w.After, 200*time.Millisecond), err)
	}
	switch {
	case errors.Is(err, ErrSlow):
		return err // counts as a failure: the file may never arrive
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return queue.Unavailable(min(maxPause, queue.Backoff(min(item.Attempts, 10))), err)
	case errors.Is(err, ErrNoAccount):
		return queue.Permanent("your account in Rocket.Chat was deleted or deactivated by its administrator", err)
	case errors.Is(err, ErrTooMany):
		return queue.Permanent("too many new people from your server joined this Rocket.Chat today", err)
	case errors.Is(err, ErrBanned):
		return queue.Permanent("you are banned from the room on Matrix", err)
	case errors.Is(err, ErrNotAdmitted):
		return queue.Permanent("the room on Matrix does not let you in", err)
	case errors.Is(err, ErrOutsider):
		return queue.Permanent("the room is a direct message in Rocket.Chat, and you are not in it", err)
	case errors.Is(err, ErrPrevented):
		return queue.Permanent("an app in Rocket.Chat does not allow it", err)
	case errors.Is(err, ErrRefused), lasts(item, err):
		return queue.Permanent(refused, err)
	}
	return err
}

// lasts reports whether an item was rejected so often that another attempt is unlikely to help.
func lasts(item queue.Item, err error) bool {
	switch {
	case errors.Is(err, ErrForbidden), errors.Is(err, ErrUnclear):
		return item.Failures >= maxForbidden
	case errors.Is(err, ErrBroken):
		return item.Failures >= maxBroken
	}
	return false
}

// Ignore returns err, or nil if err is one of these.
func Ignore(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
