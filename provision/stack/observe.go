package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"appliance/provision/plan"
	"appliance/provision/render"
)

// Observe looks at everything that a plan depends on, but for certificates and
// accounts, which others look at. It changes nothing.
func (s *Stack) Observe(ctx context.Context, w plan.Wanted, images []string) (plan.State, error) {
	var st plan.State
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { st.Manifest, err = s.Manifest(); return err })
	g.Go(func() (err error) {
		st.MissingDirs = s.missingDirs(w.Dirs)
		st.Disk, err = s.disk(w.Files)
		return err
	})
	g.Go(func() (err error) {
		if named := s.composeLines(ctx, "config", "--images"); len(named) > 0 {
			images = slices.DeleteFunc(named, ours) // with the operator's override
		}
		if st.Images, err = s.images(ctx, []string{w.Image}); err != nil {
			return err
		}
		holdings, err := s.holdings(ctx, images)
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
	g.Go(func() (err error) { st.Starts, err = s.Starts(ctx); return err })
	g.Go(func() (err error) { st.NotLoaded, err = s.NotLoaded(ctx); return err })
	g.Go(func() error { st.Hashes = s.hashes(ctx); return nil })
	return st, g.Wait()
}

func (s *Stack) path(below string) string { return filepath.Join(s.Dir, filepath.FromSlash(below)) }

func (s *Stack) missingDirs(dirs []render.Dir) []string {
	var out []string
	for _, d := range dirs {
		if info, err := os.Stat(s.path(d.Path)); err != nil || !info.IsDir() {
			out = append(out, d.Path)
		}
	}
	return out
}

func (s *Stack) disk(files render.Files) (map[string]plan.Disk, error) {
	out := map[string]plan.Disk{}
	for path, want := range files {
		name := s.path(path)
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
		if err != nil {
			return nil, err
		}
		d := plan.Disk{Exists: true, File: render.File{Mode: info.Mode().Perm(), UID: want.UID, GID: want.GID, Data: data}}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			d.UID, d.GID = int(owner.Uid), int(owner.Gid)
		}
		out[path] = d
	}
	return out, nil
}

func (s *Stack) images(ctx context.Context, names []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, name := range names {
		_, err := s.api(ctx).ImageInspect(ctx, name)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		out[name] = err == nil
	}
	return out, nil
}

// Services returns the containers of the project by the name of their service.
func (s *Stack) Services(ctx context.Context) (map[string]plan.Service, error) {
	list, err := s.api(ctx).ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+s.Project)),
	})
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
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
		out[name] = plan.Service{
			Name: name, Image: c.Image, State: c.State, Status: c.Status, Health: health(c.Status), ID: c.ID,
			ConfigHash: c.Labels["com.docker.compose.config-hash"], Address: s.address(c),
		}
	}
	return out, nil
}

// health takes the result of the health check out of the status line.
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

// address is where this host reaches a container, which it can on every network.
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

// hashes asks Compose what every service's configuration amounts to, with the
// operator's override and everything.
func (s *Stack) hashes(ctx context.Context) map[string]string {
	hashes := map[string]string{}
	for _, line := range s.composeLines(ctx, "config", "--hash", "*") {
		if f := strings.Fields(line); len(f) == 2 {
			hashes[f[0]] = f[1]
		}
	}
	return hashes
}

// composeLines returns what a command of Compose prints, or nothing when there
// is no Compose file yet or it cannot be used: then the files are about to be
// rewritten, or Up will say what is wrong.
func (s *Stack) composeLines(ctx context.Context, args ...string) []string {
	if _, err := os.Stat(s.path("compose.yaml")); err != nil {
		return nil
	}
	out, err := s.command(ctx, append([]string{"compose"}, args...)...).Output()
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func ours(image string) bool { return strings.HasPrefix(image, repository+":") }

// Manifest reads what was written last time; it is empty on a new host.
func (s *Stack) Manifest() (plan.Manifest, error) {
	m := plan.Manifest{Version: 1, Files: map[string]plan.Record{}, Permanent: map[string]string{}}
	data, err := os.ReadFile(s.path("manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, fmt.Errorf("%s: %w", s.path("manifest.json"), err)
	}
	return m, nil
}
