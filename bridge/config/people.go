package config

import (
	"path"
	"slices"
	"strings"
)

// People are lists of globs over Matrix addresses, such as "@*:example.org". A
// person is allowed when the address matches Allow and does not match Deny.
type People struct {
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`
}

// Allowed reports whether people may talk with a Matrix user.
func (p People) Allowed(user string) bool {
	user = personKey(user)
	match := func(glob string) bool { ok, _ := path.Match(personKey(glob), user); return ok }
	return slices.ContainsFunc(p.Allow, match) && !slices.ContainsFunc(p.Deny, match)
}

// Permissions are lists of Rocket.Chat roles, of the workspace or of the room, of
// which one is needed. "*" is everybody. Rocket.Chat's own permissions apply too.
type Permissions struct {
	Invite []string `yaml:"invite"` // invite a person on Matrix to a room
	Bridge []string `yaml:"bridge"` // connect a room with Matrix in the first place
	Direct []string `yaml:"direct"` // open a direct message
	Join   []string `yaml:"join"`   // list and join public rooms
}

// Holds reports whether one of a person's roles is in a list.
func Holds(list []string, roles ...string) bool {
	return slices.Contains(list, "*") || slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(list, r) })
}

// Flood limits how much comes from Matrix. 0 is no limit.
type Flood struct {
	// Messages and reactions a minute.
	PerPerson int `yaml:"per_person"`
	PerServer int `yaml:"per_server"`
	// Invitations of Rocket.Chat users a day, each of which makes a room.
	InvitationsPerPerson int `yaml:"invitations_per_person"`
	InvitationsPerServer int `yaml:"invitations_per_server"`
	// AccountsPerServer is how many people of one server get an account in
	// Rocket.Chat a day. Each account is a seat.
	AccountsPerServer int `yaml:"accounts_per_server"`
}

func (c Config) validatePeople(bad func(key, reason string, args ...any)) {
	for key, list := range map[string][]string{"users.allow": c.Users.Allow, "users.deny": c.Users.Deny} {
		for _, g := range list {
			if _, err := path.Match(g, "x"); err != nil || g == "" || strings.ContainsAny(g, " ") || (g != "*" && !strings.HasPrefix(g, "@")) {
				bad(key, "%q is not a pattern for a Matrix address such as @*:example.org", g)
			}
		}
	}
	for key, n := range map[string]int{"flood.per_person": c.Flood.PerPerson, "flood.per_server": c.Flood.PerServer} {
		if n < 0 {
			bad(key, "must be a number of messages a minute, or 0 for no limit (got %d)", n)
		}
	}
	for key, n := range map[string]int{
		"flood.invitations_per_person": c.Flood.InvitationsPerPerson, "flood.invitations_per_server": c.Flood.InvitationsPerServer,
		"flood.accounts_per_server": c.Flood.AccountsPerServer,
	} {
		if n < 0 {
			bad(key, "must be a number a day, or 0 for no limit (got %d)", n)
		}
	}
}
