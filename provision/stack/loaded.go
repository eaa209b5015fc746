package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"time"

	"github.com/docker/docker/api/types/container"

	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
)

// LoadedFile records the files that the services were started with.
const LoadedFile = ".loaded.json"

// A record is what a service was started with, as far as that is known for sure.
type record struct {
	Start string            `json:"start"` // of the container, see starts
	Files map[string]string `json:"files"` // path -> plan.Identity
}

// A start is one start of a container.
type start struct {
	id string // of the container and its start
	at time.Time
}

// starts returns when each running service that reads files at startup was started.
func (s Loaded) starts(ctx context.Context) (map[string]start, error) {
	services, err := s.stack.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]start{}
	for name := range plan.Reads {
		service, there := services[name]
		if !there || service.State != "running" {
			continue
		}
		info, err := s.stack.api(ctx).ContainerInspect(ctx, service.ID)
		if err != nil || info.ContainerJSONBase == nil || info.State == nil {
			continue // it has just disappeared
		}
		if at, err := time.Parse(time.RFC3339Nano, info.State.StartedAt); err == nil {
			out[name] = start{service.ID + " " + info.State.StartedAt, at}
		}
	}
	return out, nil
}

// Starts identifies the current start of every service that reads files at startup.
func (s Loaded) Starts(ctx context.Context) (map[string]string, error) {
	starts, err := s.starts(ctx)
	out := map[string]string{}
	for name, st := range starts {
		out[name] = st.id
	}
	return out, err
}

// Stale compares the running services with what is on disk, and returns the files that differ
// by service. A service without a record, because something else started it, is taken to have
// read the files that are older than its start.
func (s Loaded) Stale(ctx context.Context) (map[string][]string, error) {
	starts, err := s.starts(ctx)
	if err != nil {
		return nil, err
	}
	known, out := s.records(), map[string][]string{}
	for name, st := range starts {
		files, changed, err := s.reads(name)
		if errors.Is(err, fs.ErrPermission) {
			continue // cannot be determined without permission to read it
		}
		if err != nil {
			return nil, err
		}
		record, remembered := known[name]
		if differ := differing(record.Files, files); remembered && record.Start == st.id {
			if len(differ) > 0 {
				out[name] = differ
			}
			continue
		}
		for _, file := range slices.Sorted(maps.Keys(changed)) {
			// Most of bridge.yaml is reloaded when it is saved.
			live := file == plan.BridgeFile && (!remembered || record.Files[file] == files[file])
			if changed[file].After(st.at) && !live {
				out[name] = append(out[name], file)
			}
		}
	}
	return out, nil
}

// differing returns the files that differ between two sets.
func differing(a, b map[string]string) []string {
	var out []string
	for file := range b {
		if a[file] != b[file] {
			out = append(out, file)
		}
	}
	for file := range a {
		if _, there := b[file]; !there {
			out = append(out, file)
		}
	}
	slices.Sort(out)
	return out
}

// reads returns the identity of each file that a service reads at startup, and when it was last
// changed, including its mode or owner.
func (s Loaded) reads(service string) (files map[string]string, changed map[string]time.Time, err error) {
	files, changed = map[string]string{}, map[string]time.Time{}
	for _, dir := range plan.Reads[service] {
		err := filepath.WalkDir(s.stack.path(dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(s.stack.Dir, name)
			if err != nil {
				return err
			}
			rel = filepath.ToSlash(rel)
			sum := sha256.Sum256([]byte(plan.Identity(rel, data)))
			files[rel], changed[rel] = hex.EncodeToString(sum[:8]), info.ModTime()
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				changed[rel] = time.Unix(st.Ctim.Unix())
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	return files, changed, nil
}

func (s Loaded) records() map[string]record {
	out := map[string]record{}
	if data, err := os.ReadFile(s.stack.path(LoadedFile)); err == nil {
		_ = json.Unmarshal(data, &out) // without records Stale goes by times
	}
	return out
}

// Remember records the files on disk for the services that run them.
func (s Loaded) Remember(ctx context.Context) error {
	stale, err := s.Stale(ctx)
	if err != nil {
		return err
	}
	starts, err := s.starts(ctx)
	if err != nil {
		return err
	}
	known, now := s.records(), map[string]record{}
	for name, st := range starts {
		if len(stale[name]) > 0 {
			if record, ok := known[name]; ok && record.Start == st.id {
				now[name] = record
			}
			continue
		}
		files, _, err := s.reads(name)
		if err != nil {
			return err
		}
		now[name] = record{Start: st.id, Files: files}
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.stack.path(LoadedFile), append(data, '\n'), 0o600)
}

// A RefusedError says that a service would not start with what is on disk.
type RefusedError struct{ Service, Dir, Said string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refuses the configuration in %s and keeps the old one: %s", e.Service, e.Dir, e.Said)
}

// Hint says what to do.
func (e *RefusedError) Hint() string {
	return "correct the file that is named, or discard the edit with: appliance up --overwrite"
}

// Restart restarts the services that have not been started since before was taken, so that they
// read what is on disk, and with wait it waits until they are healthy. A web server that would
// not come up again is left alone.
func (s Loaded) Restart(ctx context.Context, before map[string]string, wait bool, names ...string) error {
	now, err := s.Starts(ctx)
	if err != nil {
		return err
	}
	services, err := s.stack.Services(ctx)
	if err != nil {
		return err
	}
	var restarted []string
	for _, name := range names {
		if now[name] == "" || now[name] != before[name] {
			continue // it has been started since
		}
		if name == "nginx" {
			if err := s.tryNginx(ctx); err != nil {
				return err
			}
		}
		seconds := 30
		if err := s.stack.api(ctx).ContainerRestart(ctx, services[name].ID, container.StopOptions{Timeout: &seconds}); err != nil {
			return fmt.Errorf("restart %s: %w", name, err)
		}
		restarted = append(restarted, name)
	}
	if wait {
		if err := s.stack.AwaitHealthy(ctx, 3*time.Minute, restarted...); err != nil {
			return err
		}
	}
	stale, err := s.Stale(ctx)
	for _, name := range restarted {
		if err == nil && len(stale[name]) > 0 {
			err = fmt.Errorf("%s was restarted, and %s was changed again meanwhile", name, strings.Join(stale[name], ", "))
		}
	}
	return err
}

// tryNginx makes the running web server check what is on disk without using it.
func (s Loaded) tryNginx(ctx context.Context) error {
	var output strings.Builder
	err := s.stack.Exec(ctx, "nginx", nil, &output, "nginx", "-t", "-q", "-e", "/dev/stderr", "-c", "/etc/appliance-nginx/nginx.conf")
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &RefusedError{Service: "nginx", Dir: s.stack.path("config/nginx"), Said: strings.TrimPrefix(err.Error(), "nginx in nginx: ")}
}
