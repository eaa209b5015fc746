package render

import "appliance/provision/answers"

// limits are the memory limits of the services in MB.
type limits struct {
	nginx, rocketchat, mongo, homeserver, postgres, bridge, certs int
}

// memory divides the host's memory, except where the operator has set a limit. The smallest
// shares add up to what a host of 2 GB with 2 GB of swap can bear.
func (in Input) memory() limits {
	total := max(in.Host.MemoryMB, 1900)
	share := func(percent, low, high int) int { return min(max(total*percent/100, low), high) }
	m := limits{
		nginx:      share(3, 128, 512),
		rocketchat: share(45, 1024, 4096),
		mongo:      share(25, 640, 8192),
		homeserver: share(18, 384, 4096),
		postgres:   share(12, 256, 4096),
		bridge:     share(5, 128, 1024),
		certs:      64,
	}
	said := map[string]int{}
	if in.Answers.MemoryLimits != "" {
		said, _ = answers.ParseMemoryLimits(in.Answers.MemoryLimits) // already checked
	}
	for name, limit := range map[string]*int{"nginx": &m.nginx, "rocketchat": &m.rocketchat, "mongo": &m.mongo, "homeserver": &m.homeserver, "postgres": &m.postgres, "bridge": &m.bridge} {
		if mb, ok := said[name]; ok {
			*limit = mb
		}
	}
	return m
}

// connections returns how many connections each of nginx's two processes may have: 32 kB for
// each, in what is left beside 64 MB for bodies, which are kept in memory.
func (m limits) connections() int { return (m.nginx - 64) * 16 }

func (m limits) write(v *variables) {
	v.setf("NGINX_MEMORY", "%dm", m.nginx)
	v.setf("ROCKETCHAT_MEMORY", "%dm", m.rocketchat)
	v.setf("MONGO_MEMORY", "%dm", m.mongo)
	v.setf("MONGO_CACHE_GB", "%.2f", max(0.25, float64(m.mongo)/1024*0.4))
	v.setf("HOMESERVER_MEMORY", "%dm", m.homeserver)
	v.setf("HOMESERVER_GOMEMLIMIT", "%dMiB", m.homeserver*9/10)
	v.setf("POSTGRES_MEMORY", "%dm", m.postgres)
	v.setf("POSTGRES_SHARED_BUFFERS", "%dMB", m.postgres/4)
	v.setf("BRIDGE_MEMORY", "%dm", m.bridge)
	v.setf("CERTS_MEMORY", "%dm", m.certs)
}
