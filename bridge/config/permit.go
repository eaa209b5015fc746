package config

import (
	"path"
	"slices"
	"strings"
)

// Permit returns the lists after a pattern was allowed or denied: allowing also removes
// the denial, and the other way round.
func (s Servers) Permit(pattern string, allow bool) Servers {
	s.Allow, s.Deny = permit(s.Allow, s.Deny, pattern, allow)
	return s
}

// Permit is Servers.Permit for people.
func (p People) Permit(pattern string, allow bool) People {
	p.Allow, p.Deny = permit(p.Allow, p.Deny, pattern, allow)
	return p
}

func permit(allowed, denied []string, pattern string, allow bool) (nowAllowed, nowDenied []string) {
	same := func(glob string) bool { return strings.EqualFold(glob, pattern) }
	add := func(list []string) []string {
		if slices.ContainsFunc(list, same) {
			return list
		}
		return append(slices.Clone(list), pattern)
	}
	if !allow {
		return slices.DeleteFunc(slices.Clone(allowed), same), add(denied)
	}
	if !slices.Contains(allowed, "*") {
		allowed = add(allowed)
	}
	return allowed, slices.DeleteFunc(slices.Clone(denied), same)
}

// DeniedBy returns what denies a server: a pattern in Deny, or servers.allow if no
// pattern there allows it; "" if it is allowed.
func (s Servers) DeniedBy(server string) string {
	return deniedBy(s.Allowed(server), s.Deny, strings.ToLower(server), "servers.allow")
}

// DeniedBy is Servers.DeniedBy for a person.
func (p People) DeniedBy(user string) string {
	return deniedBy(p.Allowed(user), p.Deny, personKey(user), "users.allow")
}

func deniedBy(allowed bool, deny []string, name, otherwise string) string {
	if allowed {
		return ""
	}
	for _, glob := range deny {
		if ok, _ := path.Match(personKey(glob), name); ok {
			return glob
		}
	}
	return otherwise
}

// personKey returns an address, or a pattern of addresses, in the form used for
// comparison: "*" matches everything, including slashes.
func personKey(text string) string { return strings.ReplaceAll(strings.ToLower(text), "/", "_") }
