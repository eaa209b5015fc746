package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	// claimFor is how long a code can be used, and claimTries how many wrong ones a Matrix
	// user may send before all that wait for this user are gone.
	claimFor   = 10 * time.Minute
	claimTries = 5
	// codeLength is in characters of base 32: 80 bits.
	codeLength = 16
	// claimsPerDay is how often one account may ask for a code.
	claimsPerDay = 20
	// insideFor is how long it is believed that an account is in a room.
	insideFor = 20 * time.Second
	maxInside = 10000
)

// Doubles are the accounts of Rocket.Chat that people of Matrix have themselves. The bridge
// writes with one only after its owner has asked for it there and the Matrix user has
// confirmed it, and stops when either says so, or when the account is deactivated or becomes
// an administrator's: whoever runs the Matrix user's server could speak for it. Its methods
// are safe for concurrent use.
type Doubles struct {
	Store     doubleStore
	RC        doubleRocketChat
	Joined    *Joined
	Admission *Admission
	Log       *slog.Logger
	Now       func() time.Time

	budgets budgets
	mu      sync.Mutex
	inside  map[string]time.Time // until when, by account and room
}

// Ask notes that a person in Rocket.Chat wants to be a Matrix user's double, and returns
// the code with which that user confirms it. An earlier wish of the person is gone then.
// Errors are a *model.SayError where the person can do something about them.
func (ds *Doubles) Ask(ctx context.Context, who model.RCPerson, user ids.MXUser) (code string, err error) {
	if err := ds.Admission.MayTalk(user); err != nil {
		return "", err
	}
	if err := ds.mayLend(ctx, who.ID); err != nil {
		return "", err
	}
	if d, ok, err := ds.Store.DoubleByRC(ctx, who.ID); err != nil {
		return "", err
	} else if ok {
		return "", model.Say("%s writes with your account already; /bridge me off ends that", d.MXUser)
	}
	if !ds.budgets.spend(day, budget{"claim " + string(who.ID), claimsPerDay}) {
		return "", model.Say("you have asked for too many codes today")
	}
	code = rand.Text()[:codeLength]
	err = ds.Store.PutClaim(ctx, model.Claim{RCUser: who.ID, Username: who.Username, MXUser: user, Digest: digest(code), Expires: ds.now().Add(claimFor)})
	var groups []string
	for g := range slices.Chunk([]byte(code), 4) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, "-"), err
}

// Code returns the code in a message of Matrix that has nothing else to say.
func Code(text string) (code string, ok bool) {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	code = strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(rest), "-", ""))
	ok = strings.EqualFold(word, "!link") && len(code) == codeLength && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
	return code, ok
}

// digest is what is kept of a code.
func digest(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// ErrCode is the answer to every code that does not fit, whatever the reason.
var ErrCode = model.Say("this code is not valid: codes can be used once, for ten minutes, by the Matrix user for whom they were made")

// Confirm makes the account whose owner has asked for it the double of a Matrix user, who
// sends the code. Errors are a *model.SayError where the user can do something about them.
func (ds *Doubles) Confirm(ctx context.Context, user ids.MXUser, code string) (model.Double, error) {
	if d, ok, err := ds.Store.DoubleByMX(ctx, user); err != nil {
		return d, err
	} else if ok {
		return d, model.Say("you write with the account @%s already; !unlink ends that", d.Username)
	}
	c, ok, err := ds.Store.ClaimOf(ctx, user, digest(code), ds.now(), claimTries)
	if err != nil {
		return model.Double{}, err
	}
	if !ok {
		return model.Double{}, ErrCode
	}
	if err := ds.mayLend(ctx, c.RCUser); err != nil {
		return model.Double{}, err
	}
	d := model.Double{MXUser: user, RCUser: c.RCUser, Username: c.Username, Since: ds.now()}
	if d.Token, err = ds.RC.OpenAccount(ctx, c.RCUser); err != nil {
		return d, fmt.Errorf("open the account of %s: %w", user, err)
	}
	stored, err := ds.Store.PutDouble(ctx, d, c)
	if err == nil && !stored {
		err = ErrCode
	}
	if err != nil {
		ds.closeAccount(ctx, d)
		return d, err
	}
	ds.Log.Info("a Matrix user writes with the account of a person now", "mx_user", user, "rc_user", d.RCUser)
	return d, nil
}

// End ends what Confirm began. What was written stays as it is.
func (ds *Doubles) End(ctx context.Context, d model.Double, why string) error {
	if err := ds.Store.DropDouble(ctx, d); err != nil {
		return err
	}
	ds.Log.Info("a Matrix user no longer writes with the account of a person", "mx_user", d.MXUser, "rc_user", d.RCUser, "reason", why)
	ds.closeAccount(ctx, d)
	return nil
}

// Forget takes back what a person has asked for and nobody has confirmed yet.
func (ds *Doubles) Forget(ctx context.Context, who ids.RCUser) error {
	return ds.Store.DropClaim(ctx, who)
}

// closeAccount gives the token back. One that stays ends by itself, and with the account.
func (ds *Doubles) closeAccount(ctx context.Context, d model.Double) {
	if err := ds.RC.CloseAccount(ctx, d); err != nil {
		ds.Log.Warn("the session with the account of a person could not be closed", "rc_user", d.RCUser, "err", err)
	}
}

func (ds *Doubles) now() time.Time {
	if ds.Now == nil {
		return time.Now()
	}
	return ds.Now()
}

// mayLend says whether an account may become a double, or stay one.
func (ds *Doubles) mayLend(ctx context.Context, user ids.RCUser) error {
	is, ok, err := ds.RC.Profile(ctx, user)
	_, puppet, perr := ds.Store.PuppetByRC(ctx, user)
	switch {
	case err != nil || perr != nil:
		return errors.Join(err, perr)
	case !ok || !is.Active:
		return model.Say("the account in Rocket.Chat is gone or deactivated")
	case puppet || ds.RC.IsBridge(user) || slices.Contains(is.Roles, model.PuppetRole) || slices.Contains(is.Roles, "app"):
		return model.Say("this account belongs to a program, and not to a person")
	case slices.Contains(is.Roles, "admin"):
		return model.Say("an administrator's account cannot be linked: whoever runs the server of the Matrix user could speak with its authority")
	}
	return nil
}

// Author returns what writes for a Matrix user in a room: the double, where there is one that
// is in the room or may be let in, or otherwise the puppet. A direct room has the people it
// began with, so there it is the puppet. The double is let in once: whoever has left the
// room, or was removed from it, is not brought back.
func (ds *Doubles) Author(ctx context.Context, p model.Portal, puppet model.Puppet) (model.Puppet, error) {
	if p.IsDirect() || puppet.Own {
		return puppet, nil
	}
	d, ok, err := ds.Store.DoubleByMX(ctx, puppet.MXUser)
	if err != nil || !ok {
		return puppet, err
	}
	if err := ds.mayLend(ctx, d.RCUser); err != nil {
		if say, ok := errors.AsType[*model.SayError](err); ok {
			return puppet, ds.End(ctx, d, say.Text)
		}
		return puppet, err
	}
	in, err := ds.comeIn(ctx, p, d)
	if _, wait := errors.AsType[*model.WaitError](err); wait || errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNotFound) {
		return puppet, nil
	}
	if err != nil || !in {
		return puppet, err
	}
	return d.Puppet(), nil
}

// comeIn reports whether a double is in a room, and lets it in the first time.
func (ds *Doubles) comeIn(ctx context.Context, p model.Portal, d model.Double) (bool, error) {
	key := string(d.RCUser) + " " + string(p.RCRoom)
	if ds.isInside(key) {
		return true, nil
	}
	cursor := "double " + key
	before, err := ds.Store.Cursor(ctx, cursor)
	if err != nil {
		return false, err
	}
	in, err := ds.RC.IsIn(ctx, d.Puppet(), p.RCRoom)
	if err != nil || !in && before != "" {
		return false, err
	}
	if !in {
		if err := ds.RC.Add(ctx, p, d.RCUser); err != nil {
			return false, err
		}
	}
	if before == "" {
		if err := ds.Store.MoveCursor(ctx, cursor, "in"); err != nil {
			return false, err
		}
	}
	if !in {
		is, ok, err := ds.RC.Profile(ctx, d.RCUser)
		if err == nil && ok {
			err = ds.Joined.BringIn(ctx, p, is.RCPerson)
		}
		if err != nil {
			ds.Log.Warn("a member shows on Matrix later", "rc_user", d.RCUser, "err", err)
		}
	}
	ds.noteInside(key)
	return true, nil
}

// Outside notes that a double may not be in a room any more.
func (ds *Doubles) Outside(p model.Portal, user ids.RCUser) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.inside, string(user)+" "+string(p.RCRoom))
}

func (ds *Doubles) isInside(key string) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.now().Before(ds.inside[key])
}

func (ds *Doubles) noteInside(key string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.inside == nil || len(ds.inside) >= maxInside {
		ds.inside = map[string]time.Time{}
	}
	ds.inside[key] = ds.now().Add(insideFor)
}
