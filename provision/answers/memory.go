package answers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// LeastMemory maps each service whose memory can be limited to the least it can work with, in MB.
var LeastMemory = map[string]int{"nginx": 128, "rocketchat": 1024, "mongo": 640, "homeserver": 384, "postgres": 256, "bridge": 128}

// mostMemory is more than any host has, in MB.
const mostMemory = 1 << 24

// ParseMemoryLimits reads the answer memory_limits: MB by service.
func ParseMemoryLimits(s string) (map[string]int, error) {
	out := map[string]int{}
	for one := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		least, known := LeastMemory[name]
		if !known {
			return nil, fmt.Errorf("must be services and MB, such as homeserver=1024,rocketchat=2048; the services are %s", strings.Join(slices.Sorted(maps.Keys(LeastMemory)), ", "))
		}
		mb, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || mb < least || mb > mostMemory {
			return nil, fmt.Errorf("must give %s a number of MB, at least %d", name, least)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("names %s twice", name)
		}
		out[name] = mb
	}
	return out, nil
}

func checkMemoryLimits(s string) error {
	_, err := ParseMemoryLimits(s)
	return err
}

// MoreMemory returns the answer memory_limits with the limit of one service set to mb or to
// the least that it needs; "" for a service that has no limit.
func MoreMemory(s, service string, mb int) string {
	limits := map[string]int{}
	if s != "" {
		if have, err := ParseMemoryLimits(s); err == nil {
			limits = have
		}
	}
	least, known := LeastMemory[service]
	if !known {
		return ""
	}
	limits[service] = max(mb, least)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		out = append(out, fmt.Sprintf("%s=%d", name, limits[name]))
	}
	return strings.Join(out, ",")
}
