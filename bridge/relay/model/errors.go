package model

import (
	"errors"
	"fmt"
	"time"
)

// Errors that the sides wrap, so that the relay can decide without knowing a
// protocol. Any other error is retried with backoff.
var (
	// ErrUnavailable: the network did not respond, or responded that it cannot serve the
	// request now. It says nothing about the event itself.
	ErrUnavailable = errors.New("is not available")
	// ErrForbidden: the user may not do that, often because of a membership
	// that has ended.
	ErrForbidden = errors.New("is not allowed")
	// ErrNotFound: the thing does not exist.
	ErrNotFound = errors.New("does not exist")
	// ErrRefused: the network will never accept this.
	ErrRefused = errors.New("was refused")
	// ErrUnclear: the network rejects this, for a reason that the bridge does not know. It may
	// accept it later.
	ErrUnclear = errors.New("was rejected")
	// ErrBroken: the network fails over this; everything else it serves.
	ErrBroken = errors.New("could not be processed")
	// ErrPrevented: an app of the Rocket.Chat workspace does not allow it. It is an ErrRefused too.
	ErrPrevented = fmt.Errorf("prevented by an app: it %w", ErrRefused)
	// ErrTooLarge: the file is larger than allowed. It is an ErrRefused too.
	ErrTooLarge = fmt.Errorf("the file is too large and %w", ErrRefused)
	// ErrSlow: a file does not arrive although the homeserver responds. The file's own
	// server does not send it.
	ErrSlow = errors.New("the file does not arrive")
	// ErrNoAccount: the account of a puppet was deleted or deactivated. It is an
	// ErrRefused too.
	ErrNoAccount = fmt.Errorf("the account is gone or deactivated: it %w", ErrRefused)
	// ErrTooMany: a limit set by the operator is reached. It is an ErrRefused too.
	ErrTooMany = fmt.Errorf("the limit is reached: it %w", ErrRefused)
	// ErrNotAdmitted: a Matrix room does not let one of our users in. It is an ErrRefused too.
	ErrNotAdmitted = fmt.Errorf("not admitted to the room: it %w", ErrRefused)
	// ErrBanned: one of our users is banned from a Matrix room. It is an ErrNotAdmitted too.
	ErrBanned = fmt.Errorf("banned and %w", ErrNotAdmitted)
	// ErrOutsider: a person who is not in a direct room tries to write there. It is
	// an ErrRefused too.
	ErrOutsider = fmt.Errorf("the person is not in the direct room: it %w", ErrRefused)
)

// A WaitError is a response that says when to retry.
type WaitError struct {
	After time.Duration
	Err   error
}

func (e *WaitError) Error() string { return e.Err.Error() }

func (e *WaitError) Unwrap() error { return e.Err }

// A SayError is a refusal whose text is meant for the person who asked: a
// sentence without a full stop, with nothing internal in it.
type SayError struct{ Text string }

func (e *SayError) Error() string { return e.Text }

// Say returns a SayError with a formatted text.
func Say(format string, args ...any) error { return &SayError{Text: fmt.Sprintf(format, args...)} }
