package portal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// Describe returns a text about a room's Matrix side.
func (cmd *Commands) Describe(ctx context.Context, room ids.RCRoom) (string, error) {
	p, err := cmd.portalOf(ctx, room)
	if err != nil {
		return "", err
	}
	members, err := cmd.MX.Members(ctx, p.MXRoom, p.Reader(cmd.Names))
	if err != nil {
		return "", err
	}
	count := map[string]int{}
	var invited []string
	for _, m := range members {
		switch {
		case cmd.Names.Owns(m.User):
		case m.Membership == "join":
			count[m.User.Homeserver()]++
		case m.Membership == "invite":
			invited = append(invited, string(m.User))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "This room has been connected with the Matrix room %s since %s.", p.MXRoom, p.Created.Format("2 January 2006 15:04 MST"))
	servers := make([]string, 0, len(count))
	for s, n := range count {
		servers = append(servers, fmt.Sprintf("%s (%d)", s, n))
	}
	slices.Sort(servers)
	if len(servers) > 0 {
		fmt.Fprintf(&b, "\nPeople from Matrix by server: %s.", strings.Join(servers, ", "))
	} else {
		b.WriteString("\nNobody from Matrix is here now.")
	}
	if len(invited) > 0 {
		fmt.Fprintf(&b, "\nInvited, but not here yet: %s.", strings.Join(invited, ", "))
	}
	if !cmd.Live().Enabled {
		b.WriteString("\nThe administrator has paused the bridge: messages are kept and delivered later.")
	}
	return b.String(), nil
}

// Whois returns a text about who a person is on the other side. name is a username
// or a Matrix address.
func (cmd *Commands) Whois(ctx context.Context, name string) (string, error) {
	name = strings.TrimSpace(name)
	if mx, err := ids.ParseUser(name); err == nil && strings.Contains(name, ":") {
		if who, ok, err := cmd.People.Person(ctx, mx); err != nil || ok {
			return fmt.Sprintf("%s is %s (@%s) of this Rocket.Chat.", mx, who.Display(), who.Username), err
		}
		puppet, ok, err := cmd.Store.PuppetByMX(ctx, mx)
		if err != nil || ok {
			return cmd.asDouble(ctx, mx, fmt.Sprintf("%s is @%s here, and is called %s.", mx, puppet.Username, puppet.Name), err)
		}
		return "", model.Say("%s is not in any room here", mx)
	}
	name = strings.TrimPrefix(name, "@")
	if puppet, ok, err := cmd.Store.PuppetByUsername(ctx, name); err != nil || ok {
		return fmt.Sprintf("@%s is %s on Matrix.", puppet.Username, puppet.MXUser), err
	}
	who, ok, err := cmd.RC.UserByName(ctx, name)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", model.Say("there is nobody called %s", name)
	}
	g, ok, err := cmd.Store.GhostByRC(ctx, who.ID)
	if err == nil && !ok {
		mx, fits := cmd.Names.Ghost(who.Username, 0)
		if !fits {
			return "", model.Say("the name of %s does not fit into a Matrix address", name)
		}
		g.MXUser = mx
	}
	return fmt.Sprintf("@%s is %s for everybody on Matrix.", who.Username, g.MXUser), err
}

// asDouble extends a text about a Matrix user with the user's own account, if the user writes with one.
func (cmd *Commands) asDouble(ctx context.Context, mx ids.MXUser, said string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	d, ok, err := cmd.Store.DoubleByMX(ctx, mx)
	if err == nil && ok {
		said += fmt.Sprintf(" In rooms they write as @%s, their linked account.", d.Username)
	}
	return said, err
}
