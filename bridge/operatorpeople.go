package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/command"
	"appliance/bridge/console"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/store"
)

// consolePeople shows who is who on the two sides.
type consolePeople struct{ *service }

// person converts a stored person to one of the console.
func (c consolePeople) person(p store.Person) console.Person {
	out := console.Person{MXUser: string(p.MXUser), RCUser: string(p.RCUser), Username: p.Username, Name: p.Name, Puppet: p.Puppet}
	if live := c.current.Load().Live; p.Puppet {
		out.Denied = cmp.Or(live.Users.DeniedBy(out.MXUser), live.Servers.DeniedBy(p.MXUser.Homeserver()))
	}
	return out
}

// People implements console.People.
func (c consolePeople) People(ctx context.Context, ofMatrix bool, words, from string, limit int) ([]console.Person, string, error) {
	doubles, err := c.store.Doubles(ctx, doublesShown)
	if err != nil {
		return nil, "", err
	}
	linked := map[string]string{}
	for _, d := range doubles {
		linked[string(d.MXUser)], linked[string(d.RCUser)] = "@"+d.Username, string(d.MXUser)
	}
	list, next, err := c.store.PeopleAfter(ctx, ofMatrix, words, ids.MXUser(from), limit)
	if err == nil && words != "" && from == "" {
		var named []store.Person
		named, err = c.store.PeopleNamed(ctx, ofMatrix, words)
		list = append(named, slices.DeleteFunc(list, func(p store.Person) bool { return slices.Contains(named, p) })...)
	}
	out := make([]console.Person, len(list))
	for i, p := range list {
		out[i] = c.person(p)
		out[i].Linked = linked[out[i].MXUser]
		if !p.Puppet {
			out[i].Linked = linked[out[i].RCUser]
		}
	}
	return out, string(next), err
}

const (
	// doublesShown is for how many linked people, the newest, the list shows the link.
	doublesShown = 1000

	// itemsLookedAt bounds how many items a page searches for those of a person,
	// itemsRead how many that mention the person are read, and itemsListed how many are
	// listed.
	itemsLookedAt = 4000
	itemsRead     = 300
	itemsListed   = 100
)

// Person implements console.People.
func (c consolePeople) Person(ctx context.Context, mxUser string, from int64) (console.PersonView, error) {
	v, err := c.find(ctx, ids.MXUser(mxUser))
	if err != nil {
		return v, err
	}
	v.Server = ids.MXUser(v.MXUser).Homeserver()
	side, needle := "rc", []byte(v.RCUser)
	if v.Puppet {
		side, needle = "mx", []byte(v.MXUser)
	}
	items, next, err := c.store.ItemsHolding(ctx, side, needle, from, itemsLookedAt, itemsRead)
	v.Next = next
	for _, it := range items {
		e, err := event.Decode(it.Kind, it.Payload)
		if err != nil {
			continue // its author is unknown
		}
		if mx, rc := event.By(e); string(mx) != v.MXUser && string(rc) != v.RCUser {
			continue // it only mentions them
		}
		if v.More = len(v.Items) == itemsListed; v.More {
			break
		}
		v.Items = append(v.Items, console.PersonItem{ID: it.ID, Lane: it.Lane, Kind: it.Kind, LastError: it.Cause, Accepted: it.Accepted, Attempts: it.Attempts, Dead: it.Dead})
	}
	return v, err
}

// find returns a puppet or a ghost by its Matrix address.
func (c consolePeople) find(ctx context.Context, user ids.MXUser) (v console.PersonView, err error) {
	if p, ok, err := c.store.PuppetByMX(ctx, user); err != nil || ok {
		v.Person = c.person(store.Person{MXUser: p.MXUser, RCUser: p.RCUser, Username: p.Username, Name: p.Name, Puppet: true})
		if err != nil {
			return v, err
		}
		d, linked, err := c.store.DoubleByMX(ctx, user)
		if linked {
			v.Linked = "@" + d.Username
		}
		return v, err
	}
	g, ok, err := c.store.GhostByMX(ctx, user)
	if err == nil && !ok {
		err = fmt.Errorf("%.80q %w", user, console.ErrNoPerson)
	}
	v.Person = c.person(store.Person{MXUser: g.MXUser, RCUser: g.RCUser, Username: g.Username, Name: g.Name})
	if err != nil {
		return v, err
	}
	d, _, err := c.store.DoubleByRC(ctx, g.RCUser)
	v.Linked = string(d.MXUser)
	return v, err
}

// AskToLink implements console.People. The administrator stands in for neither side: the
// owner of the account gets the code, and has to send it from Matrix.
func (c consolePeople) AskToLink(ctx context.Context, mxUser, username string) error {
	puppet, ok, err := c.store.PuppetByMX(ctx, ids.MXUser(mxUser))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%.80q %w", mxUser, console.ErrNoPerson)
	}
	who, ok, err := c.rc.UserByName(ctx, username)
	if err != nil {
		return err
	}
	if !ok {
		return &console.RefusedError{Text: "there is no account of this name in Rocket.Chat"}
	}
	code, err := c.relay.Commands().LendTo(ctx, who, puppet.MXUser)
	if err != nil {
		return personRefusal(err)
	}
	return c.rc.Tell(ctx, who, fmt.Sprintf("An administrator asks whether %s on Matrix is you. %s\nIf that is not you, do nothing.", puppet.MXUser, command.HowToLink(puppet.MXUser, code)))
}

// Unlink implements console.People.
func (c consolePeople) Unlink(ctx context.Context, mxUser string) error {
	v, err := c.find(ctx, ids.MXUser(mxUser))
	if err != nil {
		return err
	}
	account := ids.RCUser(v.RCUser)
	if v.Puppet {
		d, ok, err := c.store.DoubleByMX(ctx, ids.MXUser(mxUser))
		if err != nil || !ok {
			return cmp.Or[error](err, &console.RefusedError{Text: "this person is not linked, or no longer is"})
		}
		account = d.RCUser
	}
	user, ok, err := c.relay.Commands().TakeBack(ctx, account, "at an administrator's request")
	if err != nil || !ok {
		return cmp.Or[error](err, &console.RefusedError{Text: "this person is not linked, or no longer is"})
	}
	who, ok, err := c.rc.UserByID(ctx, account)
	if err == nil && ok {
		err = c.rc.Tell(ctx, who, fmt.Sprintf("What %s writes on Matrix no longer appears under your name: an administrator has ended it.", user))
	}
	if err != nil {
		c.Log.Warn("a notice could not be sent to a user", "rc_user", account, "err", err)
	}
	return nil
}

// personRefusal shows an administrator what a person would have been told.
func personRefusal(err error) error {
	if say, ok := errors.AsType[*model.SayError](err); ok {
		return &console.RefusedError{Text: "not linked: " + say.Text}
	}
	return err
}

const (
	// countedFor is how long the number of people per server is cached, and maxServers
	// how many servers are distinguished.
	countedFor = 5 * time.Minute
	maxServers = 10_000
	countFor   = time.Minute
)

// consoleServers shows the Matrix servers.
type consoleServers struct {
	*service
	mu       sync.Mutex
	people   map[string]int64
	until    time.Time
	counting chan struct{} // closed when the current count ends; nil if there is none
}

// Servers implements console.Servers.
func (c *consoleServers) Servers(ctx context.Context, words string, limit int) ([]console.Server, int, error) {
	people, err := c.count(ctx)
	if err != nil {
		return nil, 0, err
	}
	all := map[string]console.Server{}
	for _, s := range c.traffic.All() {
		all[s.Name] = s
	}
	for name, n := range people {
		s := all[name]
		s.Name, s.People = name, n
		all[name] = s
	}
	list := make([]console.Server, 0, len(all))
	for name, s := range all {
		if strings.Contains(name, strings.ToLower(words)) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, console.ByTraffic)
	total := len(list)
	list = list[:min(limit, total)]
	live := c.current.Load().Live
	for i, s := range list {
		list[i].Denied = live.Servers.DeniedBy(s.Name)
	}
	return list, total, nil
}

// count returns how many people of each server have an account. Counting reads all of them,
// so an old count is used until the next one is ready; only the first one is waited for.
func (c *consoleServers) count(ctx context.Context) (map[string]int64, error) {
	c.mu.Lock()
	if c.counting == nil && time.Now().After(c.until) {
		c.counting = make(chan struct{})
		go c.countNow(context.WithoutCancel(ctx), c.counting)
	}
	people, counting := c.people, c.counting
	c.mu.Unlock()
	if people != nil {
		return people, nil
	}
	select {
	case <-counting:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.people, nil
}

func (c *consoleServers) countNow(ctx context.Context, ended chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	people, err := c.store.PuppetsByServer(ctx, maxServers)
	if err != nil {
		c.Log.Warn("the users of each server could not be counted", "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.people, c.until = people, time.Now().Add(countedFor)
	}
	c.counting = nil
	close(ended)
}
