package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// demo is one demo, below one directory.
type demo struct {
	dir     string // .demo
	program string // the appliance

	homeserver string        // dendrite or synapse
	replicas   int           // of the bridge, when it is installed
	life       time.Duration // of the authority's certificates
	at         string        // the address of the installation, as this machine sees it
}

func newDemo(dir, program string) *demo {
	return &demo{dir: dir, program: program, life: quarter, at: "127.0.0.1"}
}

// installedHomeserver is the homeserver of the installation, "" when there is none.
func installedHomeserver(d *demo) string {
	data, _ := os.ReadFile(d.path("install/appliance.yaml"))
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "homeserver: "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

func (*demo) say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

func (d *demo) path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

// install is the installation directory.
func (d *demo) install() string { return d.path("install") }

// command runs a program and returns what it wrote to its output.
func (*demo) command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the demo's own arguments
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(errs.String())
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return out.String(), nil
}

// write puts a file in place, if it differs.
func (d *demo) write(name string, data []byte, mode os.FileMode) error {
	file := d.path(name)
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return os.Chmod(file, mode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // containers read it
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(tmp, mode); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// once writes a generated file that belongs to uid, unless it is there.
func (d *demo) once(name string, uid int, generate func() []byte) error {
	if _, err := os.Stat(d.path(name)); err == nil {
		return nil
	}
	if err := d.write(name, generate(), 0o600); err != nil {
		return err
	}
	return os.Chown(d.path(name), uid, uid)
}

// secret returns the content of a secret file, which it creates as needed.
func (d *demo) secret(name string, uid int) (string, error) {
	if err := d.once(name, uid, func() []byte { return []byte(rand.Text()) }); err != nil {
		return "", err
	}
	data, err := os.ReadFile(d.path(name))
	return string(data), err
}

func ownedDir(name string, uid int) error {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	return os.Chown(name, uid, uid)
}

func toJSON(v any) []byte {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // our own types
	}
	return append(data, '\n')
}
