package console

import (
	"context"
	"errors"
	"strings"
	"time"

	"appliance/bridge/hoststatus"
	"appliance/bridge/secret"
)

// An Account is a Rocket.Chat account.
type Account struct {
	ID, Username string
	Admin        bool // has the role admin and is active
}

// Errors of Accounts.SignIn.
var (
	// ErrWrong: Rocket.Chat does not accept this name with this password.
	ErrWrong = errors.New("wrong name or password")
	// ErrCode: the account has a second factor, and its code is missing.
	ErrCode = errors.New("the code of the second factor is needed")
	// ErrWrongCode: the code is wrong or has expired.
	ErrWrongCode = errors.New("wrong code")
	// ErrBlocked: Rocket.Chat accepts no more attempts for a while.
	ErrBlocked = errors.New("too many attempts")
)

// Accounts asks Rocket.Chat whose account is signing in.
type Accounts interface {
	// SignIn has Rocket.Chat verify a password, and ends the session there at once.
	// Errors wrap one of the above if the visitor can do something about them.
	SignIn(ctx context.Context, username string, password secret.String, code, address string) (Account, error)
	// Account returns the current state of an account; ok is false if it no longer exists.
	Account(ctx context.Context, id string) (a Account, ok bool, err error)
}

// A State is what the overview shows.
type State struct {
	Version           string
	RocketChatVersion string
	Enabled           bool
	Parts             []Part // what the bridge needs
	Waiting           [2]Backlog
	Rooms             int64
	Ghosts, Puppets   int64
	ConfigError       string    // why the newest bridge.yaml is not in force, or ""
	Configured        time.Time // when a bridge.yaml change last took effect; zero if none since the start
	Processes         int
	// Host is what the operator's program has found, HostProblem why that cannot be read.
	// HostMissing means that there is no file yet, although there could be one.
	Host        *hoststatus.Status
	HostProblem string
	HostMissing bool
}

// A Part is something that the bridge needs, and why it is not ready, "" if it is.
type Part struct{ Name, Why string }

// A Backlog is the number of waiting items and of dead letters in one direction.
type Backlog struct {
	Waiting, Dead int64
	Oldest        time.Time // zero when nothing waits
}

// Indexes of the two directions.
const (
	ToMatrix = iota
	ToRocketChat
)

// Bridge reports the state of the bridge.
type Bridge interface {
	State(ctx context.Context) (State, error)
}

// A Lane is one direction of a room, with waiting items.
type Lane struct {
	Lane, Kind, LastError string
	Waiting               int64
	Attempts              int
	Oldest, Due           time.Time
}

// A DeadLetter is an item that was given up, without its content.
type DeadLetter struct {
	ID, Lane, Kind, Reason, Cause string
	Accepted, GaveUp              time.Time
	Attempts                      int
}

// A DeadFilter selects dead letters: those from one side, "rc" or "mx", with a reason and
// a kind, and with a text in the name of their lane. "" matches any.
type DeadFilter struct{ Direction, Reason, Kind, Lane string }

// Fits reports whether a dead letter is selected.
func (f DeadFilter) Fits(d DeadLetter) bool {
	return (f.Direction == "" || strings.HasPrefix(d.Lane, f.Direction+":")) && (f.Reason == "" || d.Reason == f.Reason) &&
		(f.Kind == "" || d.Kind == f.Kind) && (f.Lane == "" || strings.Contains(d.Lane, f.Lane))
}

// A DeadPage lists some of the dead letters, with how many match the filter, how many
// there are, and which reasons and kinds they have.
type DeadPage struct {
	Letters        []DeadLetter
	Fitting, Total int
	Reasons, Kinds []string
}

// Queue shows waiting items and dead letters, and changes the latter.
type Queue interface {
	Lanes(ctx context.Context, limit int) ([]Lane, error)
	DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error)
	// Dead returns the oldest dead letters that match a filter, at most limit of them.
	Dead(ctx context.Context, f DeadFilter, limit int) (DeadPage, error)
	// Retry and Drop return how many of the items were still dead letters.
	Retry(ctx context.Context, ids []string) (int, error)
	Drop(ctx context.Context, ids []string) (int, error)
}
