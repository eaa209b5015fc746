package relay

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

const (
	auditEvery = 6 * time.Hour
	auditPage  = 200
	// auditGap is between two accounts: the audit is never in a hurry.
	auditGap = 50 * time.Millisecond
	// maxDoubtful bounds how many doubtful accounts are kept and reported.
	maxDoubtful = 100
)

// audit is what the last look at all puppets found.
type audit struct {
	mu       sync.Mutex
	doubtful []ids.MXUser
}

// DoubtfulPuppets returns the Matrix users whose puppet is an account that lacks
// PuppetRole, at most 100. The bridge may have taken over an account that belongs to
// a person: earlier releases recognised their own work by the nickname, which anybody
// can set.
func (r *Relay) DoubtfulPuppets() []ids.MXUser {
	r.audit.mu.Lock()
	defer r.audit.mu.Unlock()
	return slices.Clone(r.audit.doubtful)
}

// auditPuppets looks at the accounts of all puppets now and then until ctx ends.
func (r *Relay) auditPuppets(ctx context.Context) error {
	every, gap := auditEvery, auditGap
	if r.ReconcileEvery > 0 {
		every, gap = r.ReconcileEvery, 0
	}
	for {
		if err := r.auditOnce(ctx, gap); err != nil && ctx.Err() == nil {
			r.Log.Warn("the accounts of Matrix users could not be checked", "err", err)
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

func (r *Relay) auditOnce(ctx context.Context, gap time.Duration) error {
	var doubtful []ids.MXUser
	for after := ids.MXUser(""); ; {
		users, err := r.Store.PuppetsAfter(ctx, after, auditPage)
		if err != nil {
			return err
		}
		for _, user := range users {
			after = user
			made, err := r.madeByUs(ctx, user)
			if err == nil {
				err = r.addServer(ctx, user)
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
	r.audit.mu.Lock()
	old := r.audit.doubtful
	r.audit.doubtful = doubtful
	r.audit.mu.Unlock()
	for _, user := range doubtful {
		if !slices.Contains(old, user) {
			r.Log.Error("the account of a Matrix user was not created by the bridge", "mx_user", user)
		}
	}
	return nil
}

// madeByUs reports whether the account of a puppet has the role that only the bridge
// and administrators give. An account that is gone is nobody's.
func (r *Relay) madeByUs(ctx context.Context, user ids.MXUser) (bool, error) {
	puppet, ok, err := r.Store.PuppetByMX(ctx, user)
	if err != nil || !ok {
		return true, err
	}
	is, ok, err := r.RC.Profile(ctx, puppet.RCUser)
	if err != nil || !ok {
		return true, err
	}
	return slices.Contains(is.Roles, PuppetRole), nil
}

// addServer has a puppet renamed whose name lacks the server, as earlier releases named
// them.
func (r *Relay) addServer(ctx context.Context, user ids.MXUser) error {
	puppet, ok, err := r.Store.PuppetByMX(ctx, user)
	if err != nil || !ok || strings.HasSuffix(puppet.Name, " ("+user.Homeserver()+")") {
		return err
	}
	return r.Accept(ctx, []queue.Item{MXPersonItem(user, "lacks its server")}, nil)
}

// pause waits, and returns false when ctx ended.
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
