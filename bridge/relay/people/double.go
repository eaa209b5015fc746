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
	// claimFor is how long a code is valid, and claimTries how many wrong codes a Matrix
	// user may send before all pending claims for that user are dropped.
	claimFor   = 10 * time.Minute
	claimTries = 5
	// codeLength is in characters of base 32: 80 bits.
	codeLength = 16
	// claimsPerDay is how many codes one account may request per day.
	claimsPerDay = 20
	// insideFor is how long an account's presence in a room is cached.
	insideFor = 20 * time.Second
	maxInside = 10000
)

// Doubles manages the Rocket.Chat accounts that people on Matrix have themselves. The
// bridge writes with one only after its owner has requested it there and the Matrix user
// has confirmed it. It stops when either of them says so, or when the account is
// deactivated or becomes an administrator's: whoever runs the Matrix user's server could
// speak for it. Its methods are safe for concurrent use.
type Doubles struct {
	Store     doubleStore
	RC        doubleRocketChat
	Joined    *Joined
	Admission *Admission
	Log       *slog.Logger
	Now       func() time.Time

	budgets budgets
	mu      sync.Mutex
	inside  map[string]time.Time // expiry, by account and room
}

// Ask records that a person in Rocket.Chat wants to be a Matrix user's double, and
// returns the code with which that user confirms it. It replaces an earlier request of
// the person. Errors that the person can act on are a *model.SayError.
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

// Code extracts the code from a Matrix message that consists of nothing but a link command.
func Code(text string) (code string, ok bool) {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	code = strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(rest), "-", ""))
	ok = strings.EqualFold(word, "!link") && len(code) == codeLength && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
	return code, ok
}

// digest returns the hash that is stored for a code.
func digest(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// ErrCode is the response to every invalid code, whatever the reason.
var ErrCode = model.Say("this code is not valid: a code works once, within ten minutes, for the Matrix user it was created for")

// Confirm makes an account the double of the Matrix user who sends the code that the
// account's owner requested. Errors that the user can act on are a *model.SayError.
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
	ds.Log.Info("a Matrix user now writes through a linked account", "mx_user", user, "rc_user", d.RCUser)
	return d, nil
}

// End undoes Confirm. Messages already written stay as they are.
func (ds *Doubles) End(ctx context.Context, d model.Double, why string) error {
	if err := ds.Store.DropDouble(ctx, d); err != nil {
		return err
	}
	ds.Log.Info("a Matrix user no longer writes through a linked account", "mx_user", d.MXUser, "rc_user", d.RCUser, "reason", why)
	ds.closeAccount(ctx, d)
	return nil
}

// Forget withdraws a person's request that has not been confirmed yet.
func (ds *Doubles) Forget(ctx context.Context, who ids.RCUser) error {
	return ds.Store.DropClaim(ctx, who)
}

// closeAccount revokes the token. A token that is not revoked expires by itself, and with the account.
func (ds *Doubles) closeAccount(ctx context.Context, d model.Double) {
	if err := ds.RC.CloseAccount(ctx, d); err != nil {
		ds.Log.Warn("the session of a linked account could not be closed", "rc_user", d.RCUser, "err", err)
	}
}

func (ds *Doubles) now() time.Time {
	if ds.Now == nil {
		return time.Now()
	}
	return ds.Now()
}

// mayLend checks whether an account may become or remain a double.
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
		return model.Say("an administrator's account cannot be linked: whoever runs the Matrix user's server could act with its authority")
	}
	return nil
}

// Author returns the account that writes for a Matrix user in a room: the double, if
// there is one that is in the room or may be added, or else the puppet. A direct room
// keeps its original members, so it is the puppet there. The double is added only once:
// one that has left the room, or was removed from it, is not brought back.
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

// comeIn reports whether a double is in a room, and adds it the first time.
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
			ds.Log.Warn("a member will appear on Matrix later", "rc_user", d.RCUser, "err", err)
		}
	}
	ds.noteInside(key)
	return true, nil
}

// Outside records that a double may no longer be in a room.
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
