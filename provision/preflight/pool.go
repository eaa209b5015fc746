package preflight

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/stack"
)

// A route is where this host sends packets for a network.
type route struct {
	to  netip.Prefix
	via string // the interface
}

// routes returns the routes in /proc/net/route, except the default route.
func (h Host) routes() []route {
	data, _ := fs.ReadFile(h.Root, "proc/net/route")
	var out []route
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 8 {
			continue
		}
		to, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		if err1 != nil || err2 != nil || len(to) != 4 || len(mask) != 4 {
			continue // the header line
		}
		var addr, m [4]byte // both are in the processor's byte order
		binary.BigEndian.PutUint32(addr[:], binary.LittleEndian.Uint32(to))
		binary.BigEndian.PutUint32(m[:], binary.LittleEndian.Uint32(mask))
		bits, _ := net.IPMask(m[:]).Size()
		if bits > 0 {
			out = append(out, route{netip.PrefixFrom(netip.AddrFrom4(addr), bits).Masked(), f[0]})
		}
	}
	return out
}

// docksItself are the default pools of Docker.
var docksItself = []stack.Pool{
	{Base: netip.MustParsePrefix("172.17.0.0/16"), Size: 16}, {Base: netip.MustParsePrefix("172.18.0.0/16"), Size: 16},
	{Base: netip.MustParsePrefix("172.19.0.0/16"), Size: 16}, {Base: netip.MustParsePrefix("172.20.0.0/14"), Size: 16},
	{Base: netip.MustParsePrefix("172.24.0.0/14"), Size: 16}, {Base: netip.MustParsePrefix("172.28.0.0/14"), Size: 16},
	{Base: netip.MustParsePrefix("192.168.0.0/16"), Size: 20},
}

// candidates are proposed as docker_subnet, from ranges that few people use.
var candidates = []string{
	"10.213.0.0/24", "10.87.0.0/24", "172.31.213.0/24", "192.168.213.0/24", "10.213.128.0/24", "100.127.213.0/24",
}

// A ground is what the networks of containers must not overlap.
type ground struct {
	routes []route         // of the host, without those that lead to Docker's networks
	others []stack.Network // not of this installation
	ours   []stack.Network
	pools  []stack.Pool
}

func (h Host) ground(ctx context.Context) (ground, error) {
	var g ground
	docker, err := h.Networking(ctx)
	if err != nil {
		return g, err
	}
	g.pools = docker.Pools
	if len(g.pools) == 0 {
		g.pools = docksItself
	}
	for _, n := range docker.Networks {
		if n.Ours {
			g.ours = append(g.ours, n)
		} else {
			g.others = append(g.others, n)
		}
	}
	for _, r := range h.routes() {
		if !slices.ContainsFunc(docker.Networks, func(n stack.Network) bool { return slices.Contains(n.Subnets, r.to) }) {
			g.routes = append(g.routes, r)
		}
	}
	return g, nil
}

// crossed returns what else uses addresses of a subnet, or "". A route for half of the
// internet, with which a VPN captures all traffic, yields to any network of this host.
func (g ground) crossed(subnet netip.Prefix) string {
	for _, r := range g.routes {
		if r.to.Bits() > 4 && r.to.Overlaps(subnet) {
			return fmt.Sprintf("this host reaches %s by %s", r.to, r.via)
		}
	}
	return g.taken(subnet)
}

func (g ground) taken(subnet netip.Prefix) string {
	for _, n := range g.others {
		if slices.ContainsFunc(n.Subnets, subnet.Overlaps) {
			return "Docker's network " + n.Name + " has it"
		}
	}
	return ""
}

// proposal returns an unused subnet.
func (g ground) proposal() string {
	for _, c := range candidates {
		if g.crossed(netip.MustParsePrefix(c)) == "" {
			return c
		}
	}
	return "A.B.C.0/24"
}

// left counts the subnets that Docker can still allocate, up to enough, and names a route that
// is in the way. Docker takes none that overlaps with any route.
func (g ground) left(enough int) (n int, blocked string) {
	for _, pool := range g.pools {
		step := uint64(1) << (32 - pool.Size)
		first := uint64(binary.BigEndian.Uint32(pool.Base.Masked().Addr().AsSlice()))
		for at := first; at < first+uint64(1)<<(32-pool.Base.Bits()) && n < enough; at += step {
			var addr [4]byte
			binary.BigEndian.PutUint32(addr[:], uint32(at)) //nolint:gosec // below 1<<32 as the pool is
			subnet := netip.PrefixFrom(netip.AddrFrom4(addr), pool.Size)
			if i := slices.IndexFunc(g.routes, func(r route) bool { return r.to.Overlaps(subnet) }); i >= 0 {
				blocked = fmt.Sprintf("this host reaches %s by %s", g.routes[i].to, g.routes[i].via)
			} else if g.taken(subnet) == "" {
				n++
			}
		}
	}
	return n, blocked
}

// addressPool checks that the containers get addresses that nothing else uses: if two hosts
// have the same address, one cannot be reached.
func (h Host) addressPool(ctx context.Context, a answers.Answers) finding.Finding {
	g, err := h.ground(ctx)
	if err != nil {
		return finding.Good("Docker does not list its networks") // the check of Docker says why
	}
	set := "with: --set docker_subnet=" + g.proposal()
	if a.DockerSubnet != "" {
		if who := g.crossed(netip.MustParsePrefix(a.DockerSubnet)); who != "" {
			return finding.Failure("docker_subnet "+a.DockerSubnet+" is in use", who+", and one of the two could not be reached", "choose another "+set)
		}
		return finding.Good("the containers use %s, which nothing else uses", a.DockerSubnet)
	}
	for _, n := range g.ours {
		for _, subnet := range n.Subnets {
			if who := g.crossed(subnet); who != "" {
				return finding.Warning(fmt.Sprintf("%s of the containers overlaps with a network of this host", subnet), who+", and one of the two cannot be reached",
					"move the containers with: appliance config set docker_subnet="+g.proposal())
			}
		}
	}
	if len(g.ours) > 0 {
		return finding.Good("no other network uses the addresses of the containers")
	}
	const networks = 3
	if n, blocked := g.left(networks); n < networks {
		if blocked == "" {
			blocked = fmt.Sprintf("other networks of Docker have them (%d; unused ones go with: docker network prune)", len(g.others))
		}
		return finding.Failure(fmt.Sprintf("Docker has addresses for %d more networks, %d required", n, networks), blocked, "give the containers addresses that are free "+set)
	}
	return finding.Good("Docker has free addresses")
}

// matrixPort is where other servers connect without a delegation.
const matrixPort = 8448

// federationPort checks the port for other servers: one that was asked for has to be free, and
// 8448 should not belong to another service.
func (h Host) federationPort(ctx context.Context, a answers.Answers) finding.Finding {
	if a.FederationPort != 0 && a.FederationPort != a.HTTPSPort {
		return h.port(ctx, a.FederationPort)
	}
	f := h.port(ctx, matrixPort)
	if f.Severity == finding.OK {
		return finding.Good("other servers connect to port %d; no other service answers at %d", a.HTTPSPort, matrixPort)
	}
	return finding.Warning(f.Summary, "other servers connect there if they cannot read the delegation, and would reach another service", f.Fix)
}
