package provision

import (
	"appliance/provision/answers"
	"appliance/provision/preflight"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// An Offer is a change to the host that its operator may want: why, and exactly what would
// be run.
type Offer struct {
	Why      string   `json:"why"`
	Commands []string `json:"commands"`
}

// SwapOffer is the swap file that this host should get for the installation in dir. It
// reports false where there is memory or swap enough, or no swap file can be made.
func SwapOffer(dir string) (Offer, bool) {
	s, err := site.New(dir, answers.Answers{})
	if err != nil {
		return Offer{}, false
	}
	defer func() { _ = s.Close() }()
	return swapOffer(preflight.RealHost(s.Stack), dir)
}

func swapOffer(h preflight.Host, dir string) (Offer, bool) {
	low := preflight.LacksSwap(h)
	if low == "" || preflight.NoSwapFile(h) != "" {
		return Offer{}, false
	}
	return Offer{Why: low, Commands: stack.SwapFileOf(dir).Commands()}, true
}
