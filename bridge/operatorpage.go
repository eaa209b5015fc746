package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"appliance/bridge/command"
	"appliance/bridge/console"
	"appliance/bridge/hoststatus"
	"appliance/bridge/metrics"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// openConsole creates the operator's page.
func (s *service) openConsole(client *rocketchat.Client) (err error) {
	s.console, err = console.New(console.Options{
		Accounts: consoleAccounts{client}, Bridge: consoleBridge{s}, Queue: consoleQueue{s},
		Rooms: &consoleRooms{service: s, client: client}, People: consolePeople{s}, Servers: &consoleServers{service: s}, Lists: consoleLists{s},
		Sessions: consoleSessions{s}, Settings: consoleSettings{s}, Tail: &s.tail,
		History: &s.history, Log: s.Log.With("part", "console"), RolesFor: s.Often,
	})
	return err
}

// delivered records a delivery for the metrics, the plots and the pace.
func (s *service) delivered(kind string, waited, took time.Duration) {
	s.carried.Add(1)
	s.metrics.Delivered(kind, waited, took)
	direction := console.ToMatrix
	if metrics.DirectionOf(kind) == metrics.ToRocketChat {
		direction = console.ToRocketChat
	}
	s.history.Delivered(direction, time.Now(), waited+took)
}

// consoleAccounts asks Rocket.Chat who signs in to the console.
type consoleAccounts struct{ client *rocketchat.Client }

// logoutFor bounds how long ending a session may take.
const logoutFor = 10 * time.Second

// SignIn implements console.Accounts.
func (a consoleAccounts) SignIn(ctx context.Context, username string, password secret.String, code, address string) (console.Account, error) {
	stranger := a.client.As("", secret.String{}).From(address)
	user, err := stranger.LoginWithCode(ctx, username, password, code)
	if err != nil {
		return console.Account{}, signInError(err)
	}
	me, err := user.Me(ctx)
	// The session there is no longer needed; end it even if the visitor has gone.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutFor)
	defer cancel()
	if outErr := user.Logout(end); err == nil {
		err = outErr
	}
	return accountOf(me), err
}

// signInError translates a refusal of Rocket.Chat into an error of the console.
func signInError(err error) error {
	switch {
	case rocketchat.Says(err, "totp-required"):
		return fmt.Errorf("%w: %w", console.ErrCode, err)
	case rocketchat.Says(err, "totp-invalid", "totp-max-attempts"):
		return fmt.Errorf("%w: %w", console.ErrWrongCode, err)
	case rocketchat.Says(err, "error-login-blocked-for-ip", "error-login-blocked-for-user"), rocketchat.Status(err) == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", console.ErrBlocked, err)
	case rocketchat.Status(err) == http.StatusUnauthorized, rocketchat.Status(err) == http.StatusBadRequest, rocketchat.Status(err) == http.StatusForbidden:
		return fmt.Errorf("%w: %w", console.ErrWrong, err)
	}
	return err
}

// Account implements console.Accounts.
func (a consoleAccounts) Account(ctx context.Context, id string) (console.Account, bool, error) {
	u, ok, err := a.client.UserByID(ctx, id)
	return accountOf(u), ok, err
}

func accountOf(u rocketchat.User) console.Account {
	return console.Account{ID: u.ID, Username: u.Username, Admin: u.Active && u.HasRole("admin")}
}

// consoleBridge reports the state of the bridge.
type consoleBridge struct{ *service }

// State implements console.Bridge.
func (b consoleBridge) State(ctx context.Context) (console.State, error) {
	c, err := b.store.Census(ctx)
	if err != nil {
		return console.State{}, err
	}
	st := console.State{
		Version: b.Version, RocketChatVersion: b.rc.Version(), Enabled: b.current.Load().Enabled, Rooms: c.Portals, Ghosts: c.Ghosts, Puppets: c.Puppets,
		Waiting: [2]console.Backlog{console.Backlog(c.ToMatrix), console.Backlog(c.ToRocketChat)}, Processes: b.store.Replicas(),
	}
	for _, p := range b.parts(ctx) {
		name := map[string]string{"database": "Database", "rocketchat": "Rocket.Chat", "matrix": "Matrix"}[p.name]
		st.Parts = append(st.Parts, console.Part{Name: cmp.Or(name, p.name), Why: p.why})
	}
	if why := b.refused.Load(); why != nil {
		st.ConfigError = *why
	}
	st.Configured = b.reloads.when()
	if b.HostFile == "" {
		return st, nil
	}
	if st.Host, err = hoststatus.Read(b.HostFile); err != nil {
		st.HostProblem = err.Error()
	}
	st.HostMissing = st.Host == nil && err == nil
	return st, nil
}

// consoleQueue shows the queue.
type consoleQueue struct{ *service }

// Lanes implements console.Queue.
func (q consoleQueue) Lanes(ctx context.Context, limit int) ([]console.Lane, error) {
	list, err := q.store.Lanes(ctx, limit)
	out := make([]console.Lane, len(list))
	for i, l := range list {
		out[i] = console.Lane{Lane: l.Lane, Kind: l.Kind, LastError: l.Cause, Waiting: l.Waiting, Attempts: l.Attempts, Oldest: l.Oldest, Due: l.Due}
	}
	return out, err
}

// DeadLetters implements console.Queue.
func (q consoleQueue) DeadLetters(ctx context.Context, limit int) ([]console.DeadLetter, error) {
	list, err := q.store.DeadLetters(ctx, limit)
	out := make([]console.DeadLetter, len(list))
	for i, d := range list {
		out[i] = letterOf(d)
	}
	return out, err
}

func letterOf(d store.DeadLetter) console.DeadLetter {
	return console.DeadLetter{
		ID: d.ID, Lane: d.Lane, Kind: d.Kind, Reason: model.Reason(d.Cause), Cause: d.Cause,
		Accepted: d.Accepted, GaveUp: d.GaveUp, Attempts: d.Attempts,
	}
}

// Dead implements console.Queue.
func (q consoleQueue) Dead(ctx context.Context, f console.DeadFilter, limit int) (page console.DeadPage, err error) {
	groups, err := q.store.DeadGroups(ctx, f.Lane)
	if err != nil {
		return page, err
	}
	for _, g := range groups {
		page.Total += g.Count
		page.Reasons, page.Kinds = append(page.Reasons, model.Reason(g.Cause)), append(page.Kinds, g.Kind)
		one := f
		one.Lane = ""
		if one.Fits(console.DeadLetter{Lane: g.Side + ":", Reason: model.Reason(g.Cause), Kind: g.Kind}) {
			page.Fitting += g.Fitting
		}
	}
	for _, list := range []*[]string{&page.Reasons, &page.Kinds} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if page.Fitting == 0 {
		return page, nil
	}
	err = q.store.DeadLettersWhere(ctx, f.Kind, f.Lane, func(d store.DeadLetter) bool {
		if letter := letterOf(d); f.Fits(letter) {
			page.Letters = append(page.Letters, letter)
		}
		return len(page.Letters) < min(limit, page.Fitting)
	})
	return page, err
}

// Retry implements console.Queue.
func (q consoleQueue) Retry(ctx context.Context, chosen []string) (int, error) {
	defer q.relay.Wake()
	return each(ctx, chosen, q.store.Revive)
}

// Drop implements console.Queue.
func (q consoleQueue) Drop(ctx context.Context, chosen []string) (int, error) {
	return each(ctx, chosen, q.store.Drop)
}

// each applies do to dead letters, and skips those that no longer are dead letters.
func each(ctx context.Context, chosen []string, do func(context.Context, string) error) (n int, err error) {
	for _, id := range chosen {
		switch err := do(ctx, id); {
		case err == nil:
			n++
		case !errors.Is(err, store.ErrNotDead):
			return n, err
		}
	}
	return n, nil
}

// chatOperator provides the console's functions to administrators' slash commands.
type chatOperator struct{ *service }

// State implements command.Operator.
func (o chatOperator) State(ctx context.Context) (string, error) {
	st, err := consoleBridge(o).State(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	ready := true
	for _, p := range st.Parts {
		if p.Why != "" {
			ready = false
			fmt.Fprintf(&b, "%s: %s\n", p.Name, p.Why)
		}
	}
	switch {
	case !st.Enabled:
		b.WriteString("The bridge is paused: messages are stored, and carried when it is enabled again.\n")
	case ready:
		b.WriteString("Everything is connected.\n")
	}
	if st.ConfigError != "" {
		fmt.Fprintf(&b, "The newest bridge.yaml is not in force: %s\n", st.ConfigError)
	}
	b.WriteString(backlog(st.Waiting))
	return b.String(), nil
}

// backlog describes the waiting items and dead letters of both directions.
func backlog(of [2]console.Backlog) string {
	mx, rc := of[console.ToMatrix], of[console.ToRocketChat]
	return fmt.Sprintf("Waiting: %d to Matrix, %d to Rocket.Chat. Given up: %d to Matrix, %d to Rocket.Chat.", mx.Waiting, rc.Waiting, mx.Dead, rc.Dead)
}

// toldRooms bounds how many rooms a message lists.
const toldRooms = 10

// Rooms implements command.Operator.
func (o chatOperator) Rooms(ctx context.Context, words string) (string, error) {
	portals, err := o.store.PortalsBefore(ctx, words, store.PortalKey{}, toldRooms)
	if err != nil {
		return "", err
	}
	total, err := o.store.CountPortals(ctx)
	if err != nil {
		return "", err
	}
	rooms, err := (&consoleRooms{service: o.service}).describe(ctx, portals)
	var b strings.Builder
	fmt.Fprintf(&b, "Connected rooms: %d. These are the newest", total)
	if words != "" {
		b.WriteString(" that fit")
	}
	b.WriteString(":")
	for _, r := range rooms {
		fmt.Fprintf(&b, "\n`%s` %s, %s, on Matrix `%s`. %s", r.RCRoom, command.Plain(cmp.Or(r.Title, "without a name")), r.Type, r.MXRoom,
			backlog([2]console.Backlog{r.Lanes[console.ToMatrix].Backlog, r.Lanes[console.ToRocketChat].Backlog}))
		for _, lane := range r.Lanes {
			if lane.LastError != "" {
				fmt.Fprintf(&b, " Last error: %s.", command.Plain(lane.LastError))
			}
		}
	}
	if len(rooms) == 0 {
		b.WriteString(" none.")
	}
	return b.String(), err
}

// toldLetters bounds how many dead letters a message lists.
const toldLetters = 10

// Queue implements command.Operator.
func (o chatOperator) Queue(ctx context.Context) (string, error) {
	c, err := o.store.Census(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(backlog([2]console.Backlog{console.Backlog(c.ToMatrix), console.Backlog(c.ToRocketChat)}))
	letters, err := o.store.DeadLetters(ctx, toldLetters)
	for _, d := range letters {
		fmt.Fprintf(&b, "\n`%s` %s, %s, in `%s` since %s", d.ID, d.Kind, model.Reason(d.Cause), d.Lane, d.GaveUp.Format("2006-01-02 15:04 MST"))
	}
	if len(letters) > 0 {
		b.WriteString("\n/bridge retry with one of these items, or /bridge retry all, tries again.")
	}
	return b.String(), err
}

// Retry implements command.Operator.
func (o chatOperator) Retry(ctx context.Context, chosen []string) (int, error) {
	if len(chosen) == 0 {
		letters, err := o.store.DeadLetters(ctx, maxAll)
		if err != nil {
			return 0, err
		}
		for _, d := range letters {
			chosen = append(chosen, d.ID)
		}
	}
	return consoleQueue(o).Retry(ctx, chosen)
}
