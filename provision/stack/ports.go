package stack

import (
	"context"

	"github.com/docker/docker/api/types/container"
)

// A Publisher is a container that holds a port of this host.
type Publisher struct {
	Container string
	Ours      bool   // it belongs to this installation
	Dir       string // where its Compose project is, if it has one
}

// Publishers returns the container that holds each port.
func (s Engine) Publishers(ctx context.Context) (map[int]Publisher, error) {
	list, err := s.stack.api(ctx).ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := map[int]Publisher{}
	for _, c := range list {
		p := Publisher{Dir: c.Labels["com.docker.compose.project.working_dir"]}
		p.Ours = c.Labels["com.docker.compose.project"] == s.stack.Project && (p.Dir == "" || sameDir(p.Dir, s.stack.Dir))
		if len(c.Names) > 0 {
			p.Container = c.Names[0][1:]
		}
		for _, port := range c.Ports {
			if port.PublicPort != 0 {
				out[int(port.PublicPort)] = p
			}
		}
	}
	return out, nil
}
