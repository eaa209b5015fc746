package stack

import (
	"context"
	"net/netip"
	"slices"

	"github.com/docker/docker/api/types/network"
)

// A Network is a Docker network.
type Network struct {
	Name    string
	Ours    bool // it belongs to this installation
	Subnets []netip.Prefix
}

// A Pool is an address range from which Docker allocates subnets for new networks.
type Pool struct {
	Base netip.Prefix
	Size int // length of the prefix of each subnet
}

// Networking is what Docker has allocated, and the pools from which it allocates.
type Networking struct {
	Networks []Network
	Pools    []Pool // empty if Docker reports none; then its defaults
}

// Networking asks Docker for its networks and pools, IPv4 only.
func (s Engine) Networking(ctx context.Context) (Networking, error) {
	var out Networking
	info, err := s.stack.api(ctx).Info(ctx)
	if err != nil {
		return out, err
	}
	for _, p := range info.DefaultAddressPools {
		if base, err := netip.ParsePrefix(p.Base); err == nil && base.Addr().Is4() {
			out.Pools = append(out.Pools, Pool{base, p.Size})
		}
	}
	list, err := s.stack.api(ctx).NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return out, err
	}
	for _, n := range list {
		have := Network{Name: n.Name, Ours: n.Labels["com.docker.compose.project"] == s.stack.Project}
		for _, c := range n.IPAM.Config {
			if p, err := netip.ParsePrefix(c.Subnet); err == nil && p.Addr().Is4() {
				have.Subnets = append(have.Subnets, p)
			}
		}
		out.Networks = append(out.Networks, have)
	}
	return out, nil
}

// Elsewhere reports whether a network of the installation lies outside a subnet.
func (s Engine) Elsewhere(ctx context.Context, subnet string) bool {
	whole, err := netip.ParsePrefix(subnet)
	if err != nil {
		return false
	}
	have, err := s.Networking(ctx)
	return err == nil && slices.ContainsFunc(have.Networks, func(n Network) bool {
		return n.Ours && slices.ContainsFunc(n.Subnets, func(p netip.Prefix) bool { return !whole.Contains(p.Addr()) })
	})
}
