// Package support shows and collects what is needed to find a fault, without secrets and
// without what people wrote.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appliance/bridge/config/configfile"
	"appliance/provision"
	"appliance/provision/checkup"
	"appliance/provision/homeserver"
	"appliance/provision/plan"
	"appliance/provision/preflight"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// bundled returns the files of an installation that show how it is set up.
func bundled() []string {
	files := []string{
		plan.AnswersFile, ".env", "compose.yaml", site.OverrideFile, "manifest.json", stack.ImageLockFile, site.VersionsFile, site.UpgradeFile, site.GrowthFile,
		"config/bridge/bridge.yaml", "config/certs/certs.yaml",
		"config/homeserver/rocketchat-registration.yaml", "config/nginx/nginx.conf", "config/nginx/rocketchat.conf", "config/nginx/slash.conf",
	}
	for _, name := range homeserver.ConfigFiles() {
		files = append(files, "config/homeserver/"+name)
	}
	return files
}

// hostFacts are files that show what kind of host it is.
var hostFacts = []string{"/etc/os-release", "/proc/version", "/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/proc/mounts", "/etc/docker/daemon.json"}

// Bundle collects diagnostics in a new file: versions, findings, configuration and the ends
// of the logs, without secrets and without what people wrote. It changes nothing else.
func Bundle(ctx context.Context, s *site.Site, file string, version any) (err error) {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(file)
		}
	}()
	zip := gzip.NewWriter(out)
	b := bundle{tar: tar.NewWriter(zip), mask: newMask(s), top: topOf(file)}
	b.mask.wipe = true
	b.json("version.json", version)
	status, err := provision.StatusOf(ctx, s)
	b.json("status.json", orText(status, err))
	b.json("doctor.json", checkup.Look(ctx, s))
	b.json("preflight.json", preflight.Run(ctx, preflight.RealHost(s.Stack), s.Answers, s.Dir))
	images, err := s.Stack.Images().IDs(ctx)
	b.json("images.json", orText(images, err))
	for _, name := range bundled() {
		b.file("files/"+name, s.Path(name))
	}
	for _, name := range hostFacts {
		b.file("host"+name, name)
	}
	b.put("host/files.txt", listing(s.Dir))
	for _, service := range status.Services {
		name := service.Name
		var log bytes.Buffer
		if err := s.Stack.Compose().Logs(ctx, &log, &log, false, "2000", "", name); err != nil {
			fmt.Fprintln(&log, err)
		}
		b.put("logs/"+name+".log", log.String())
	}
	return errors.Join(b.err, b.tar.Close(), zip.Close())
}

func orText(v any, err error) any {
	if err != nil {
		return err.Error()
	}
	return v
}

// topOf is the directory in a bundle that holds everything else, so that unpacking it
// leaves one directory behind. It is named after the file, but never the same.
func topOf(file string) string {
	name := filepath.Base(file)
	for _, end := range []string{".tar.gz", ".tgz"} {
		if short, ok := strings.CutSuffix(name, end); ok && short != "" {
			return short
		}
	}
	return name + ".d"
}

type bundle struct {
	tar  *tar.Writer
	top  string
	mask mask
	err  error
}

func (b *bundle) json(name string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	b.err = errors.Join(b.err, err)
	b.put(name, string(data)+"\n")
}

// file adds a file if there is one.
func (b *bundle) file(name, from string) {
	data, err := configfile.Read(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	b.put(name, string(data)+orEmpty(err))
}

func orEmpty(err error) string {
	if err == nil {
		return ""
	}
	return err.Error() + "\n"
}

func (b *bundle) put(name, text string) {
	if b.err != nil {
		return
	}
	text = b.mask.text(text)
	h := &tar.Header{Name: b.top + "/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now().Truncate(time.Second)}
	if b.err = b.tar.WriteHeader(h); b.err == nil {
		_, b.err = b.tar.Write([]byte(text))
	}
}

// listing shows names, modes and sizes of the installation's files, except media.
func listing(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&b, err)
			return nil
		}
		rel, _ := filepath.Rel(dir, name)
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%v %12d %s\n", info.Mode(), info.Size(), rel)
		}
		if d.IsDir() && strings.Count(rel, "/") >= 2 {
			return fs.SkipDir
		}
		return nil
	})
	return b.String()
}
