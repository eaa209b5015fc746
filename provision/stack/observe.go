package stack

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"appliance/provision/plan"
)

// Observe determines everything that a plan depends on, except certificates and accounts, which
// are observed elsewhere. It changes nothing.
func (s *Stack) Observe(ctx context.Context, w plan.Wanted, images []string) (plan.State, error) {
	var st plan.State
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { st.Manifest, err = s.Tree().Manifest(); return err })
	g.Go(func() (err error) {
		st.MissingDirs = s.Tree().missingDirs(w.Dirs)
		st.Disk, err = s.Tree().disk(w.Files)
		return err
	})
	g.Go(func() (err error) {
		if named := s.Compose().imagesWith(ctx, w.Files[".env"].Data); len(named) > 0 {
			images = slices.DeleteFunc(named, ours) // with the operator's override
		}
		if st.Images, err = s.Images().present(ctx, []string{w.Image}); err != nil {
			return err
		}
		holdings, err := s.Images().holdings(ctx, images)
		for name, h := range holdings {
			st.Images[name] = h.Locked
			if h.Here && !h.Locked {
				st.Strangers = append(st.Strangers, name)
			}
			if !h.Recorded {
				st.Unrecorded = append(st.Unrecorded, name)
			}
		}
		slices.Sort(st.Strangers)
		slices.Sort(st.Unrecorded)
		return err
	})
	g.Go(func() error {
		list, err := s.Runtimes(ctx)
		for _, name := range slices.Sorted(maps.Keys(list)) {
			if r := list[name]; r.Pinned != "" && r.Image != r.Pinned {
				st.Replaced = append(st.Replaced, name)
			}
		}
		return err
	})
	g.Go(func() (err error) { st.Services, err = s.Services(ctx); return err })
	g.Go(func() (err error) { st.Starts, err = s.Loaded().Starts(ctx); return err })
	g.Go(func() (err error) { st.NotLoaded, err = s.Loaded().Stale(ctx); return err })
	g.Go(func() error { st.Hashes = s.Compose().hashes(ctx); return nil })
	return st, g.Wait()
}

func (s *Stack) path(below string) string { return filepath.Join(s.Dir, filepath.FromSlash(below)) }

// containers lists the containers of the project, including stopped ones.
func (s Engine) containers(ctx context.Context) ([]container.Summary, error) {
	list, err := s.stack.api(ctx).ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+s.stack.Project)),
	})
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return list, nil
}

// Services returns the containers of the project by the name of their service.
func (s *Stack) Services(ctx context.Context) (map[string]plan.Service, error) {
	list, err := s.Engine().containers(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]plan.Service{}
	for _, c := range list {
		name := c.Labels["com.docker.compose.service"]
		if c.Labels["com.docker.compose.oneoff"] == "True" {
			continue
		}
		if dir := c.Labels["com.docker.compose.project.working_dir"]; dir != "" && !sameDir(dir, s.Dir) {
			return nil, &ForeignError{Project: s.Project, Dir: dir}
		}
		one := plan.Service{
			Name: name, Image: c.Image, State: c.State, Status: c.Status, Health: health(c.Status), ID: c.ID,
			ConfigHash: c.Labels["com.docker.compose.config-hash"], Address: s.address(c),
		}
		if first, ok := out[name]; ok {
			one = first.Add(one)
		}
		out[name] = one
	}
	return out, nil
}

// health extracts the result of the health check from the status line.
func health(status string) string {
	for _, h := range []string{"unhealthy", "healthy"} {
		if strings.Contains(status, "("+h+")") {
			return h
		}
	}
	if strings.Contains(status, "(health: starting)") {
		return "starting"
	}
	return ""
}

// address returns where this host reaches a container, which works on every network.
func (s *Stack) address(c container.Summary) string {
	if c.NetworkSettings == nil {
		return ""
	}
	for _, name := range []string{s.Project + "_app", s.Project + "_data"} {
		if n, ok := c.NetworkSettings.Networks[name]; ok && n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

func ours(image string) bool { return strings.HasPrefix(image, repository+":") }
