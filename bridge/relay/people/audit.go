package people

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

const (
	auditEvery = 6 * time.Hour
	auditPage  = 200
	// auditGap is the pause between two accounts: the audit is never urgent.
	auditGap = 50 * time.Millisecond
	// maxDoubtful bounds how many doubtful accounts are kept and reported.
	maxDoubtful = 100
)

// Audit periodically checks the accounts of all puppets. Its methods are safe
// for concurrent use.
type Audit struct {
	Store    auditStore
	RC       auditRocketChat
	mu       sync.Mutex
	doubtful []ids.MXUser
	Every    time.Duration // between two rounds; 0 means the default
	Log      *slog.Logger
	Accept   model.Accept
}

// Doubtful returns the Matrix users whose puppet account lacks PuppetRole, at most 100.
// The bridge may have taken over an account that belongs to a person: earlier releases
// recognised their own accounts by the nickname, which anybody can set.
func (a *Audit) Doubtful() []ids.MXUser {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.doubtful)
}

// Run periodically checks the accounts of all puppets until ctx ends.
func (a *Audit) Run(ctx context.Context) error {
	every, gap := auditEvery, auditGap
	if a.Every > 0 {
		every, gap = a.Every, 0
	}
	for {
		if err := a.once(ctx, gap); err != nil && ctx.Err() == nil {
			a.Log.Warn("the accounts of Matrix users could not be checked", "err", err)
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

func (a *Audit) once(ctx context.Context, gap time.Duration) error {
	var doubtful []ids.MXUser
	for after := ids.MXUser(""); ; {
		users, err := a.Store.PuppetsAfter(ctx, after, auditPage)
		if err != nil {
			return err
		}
		for _, user := range users {
			after = user
			made, err := a.madeByUs(ctx, user)
			if err == nil {
				err = a.addServer(ctx, user)
			}
			if err != nil {
				return err
			}
			if !made && len(doubtful) < maxDoubtful {
				doubtful = append(doubtful, user)
			}
			if !pause(ctx, gap) {
				return ctx.Err()
			}
		}
		if len(users) < auditPage {
			break
		}
	}
	a.mu.Lock()
	old := a.doubtful
	a.doubtful = doubtful
	a.mu.Unlock()
	for _, user := range doubtful {
		if !slices.Contains(old, user) {
			a.Log.Error("the account of a Matrix user was not created by the bridge", "mx_user", user)
		}
	}
	return nil
}

// madeByUs reports whether the account of a puppet has the role that only the bridge and
// administrators assign. It also returns true for an account that is gone.
func (a *Audit) madeByUs(ctx context.Context, user ids.MXUser) (bool, error) {
	puppet, ok, err := a.Store.PuppetByMX(ctx, user)
	if err != nil || !ok {
		return true, err
	}
	is, ok, err := a.RC.Profile(ctx, puppet.RCUser)
	if err != nil || !ok {
		return true, err
	}
	return slices.Contains(is.Roles, model.PuppetRole), nil
}

// addServer queues a rename for a puppet whose name lacks the server, as
// in earlier releases.
func (a *Audit) addServer(ctx context.Context, user ids.MXUser) error {
	puppet, ok, err := a.Store.PuppetByMX(ctx, user)
	if err != nil || !ok || strings.HasSuffix(puppet.Name, " ("+user.Homeserver()+")") {
		return err
	}
	return a.Accept(ctx, []queue.Item{model.MXPersonItem(user, "lacks its server")}, nil)
}

// pause waits for d, and returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
