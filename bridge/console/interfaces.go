package console

import (
	"context"
	"errors"
	"strings"
	"time"

	"appliance/bridge/hoststatus"
	"appliance/bridge/secret"
)

// An Account is an account in Rocket.Chat.
type Account struct {
	ID, Username string
	Admin        bool // has the role admin, and is active
}

// Errors of Accounts.SignIn.
var (
	// ErrWrong: Rocket.Chat does not take this name with this password.
	ErrWrong = errors.New("wrong name or password")
	// ErrCode: the account has a second factor, whose code is missing.
	ErrCode = errors.New("the code of the second factor is needed")
	// ErrWrongCode: the code is wrong, or too old.
	ErrWrongCode = errors.New("wrong code")
	// ErrBlocked: Rocket.Chat takes no more attempts for a while.
	ErrBlocked = errors.New("too many attempts")
)

// Accounts asks Rocket.Chat whose account signs in.
type Accounts interface {
	// SignIn has Rocket.Chat verify a password, and ends the session there at once. Errors
	// wrap one of the above where the visitor can do something about them.
	SignIn(ctx context.Context, username string, password secret.String, code, address string) (Account, error)
	// Account returns an account as it is now; ok is false when it is gone.
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
	ConfigError       string    // why the newest bridge.yaml is not in force; "" when it is
	Configured        time.Time // when a change of bridge.yaml was put in force; zero when none was since the start
	Processes         int
	// Host is what the operator's program has found, HostProblem why that cannot be
	// read. HostMissing says that there is nothing yet, although there could be.
	Host        *hoststatus.Status
	HostProblem string
	HostMissing bool
}

// A Part is something that the bridge needs, and why it is not ready; "" when it is.
type Part struct{ Name, Why string }

// A Backlog is what is waiting in one direction, and what was given up.
type Backlog struct {
	Waiting, Dead int64
	Oldest        time.Time // zero when nothing waits
}

// Indexes of the two directions.
const (
	ToMatrix = iota
	ToRocketChat
)

// Bridge says how the bridge is.
type Bridge interface {
	State(ctx context.Context) (State, error)
}

// A Lane is a room in one direction, in which items wait.
type Lane struct {
	Lane, Kind, LastError string
	Waiting               int64
	Attempts              int
	Oldest, Due           time.Time
}

// A DeadLetter is an item that was given up, without what it says.
type DeadLetter struct {
	ID, Lane, Kind, Reason, Cause string
	Accepted, GaveUp              time.Time
	Attempts                      int
}

// A DeadFilter says which dead letters are meant: those that come from one side, "rc" or
// "mx", that have a reason and a kind, and whose lane holds a text. "" is any.
type DeadFilter struct{ Direction, Reason, Kind, Lane string }

// Fits reports whether a dead letter is meant.
func (f DeadFilter) Fits(d DeadLetter) bool {
	return (f.Direction == "" || strings.HasPrefix(d.Lane, f.Direction+":")) && (f.Reason == "" || d.Reason == f.Reason) &&
		(f.Kind == "" || d.Kind == f.Kind) && (f.Lane == "" || strings.Contains(d.Lane, f.Lane))
}

// A DeadPage is some of the dead letters, how many fit the filter and how many there are,
// and the reasons and kinds that they have.
type DeadPage struct {
	Letters        []DeadLetter
	Fitting, Total int
	Reasons, Kinds []string
}

// Queue shows what is waiting and what was given up, and changes the latter.
type Queue interface {
	Lanes(ctx context.Context, limit int) ([]Lane, error)
	DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error)
	// Dead returns the oldest dead letters that a filter fits, at most limit of them.
	Dead(ctx context.Context, f DeadFilter, limit int) (DeadPage, error)
	// Retry and Drop return how many of the items were dead letters still.
	Retry(ctx context.Context, ids []string) (int, error)
	Drop(ctx context.Context, ids []string) (int, error)
}
