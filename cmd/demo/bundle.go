package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkBundle makes a support bundle of the installation that has just talked, and
// searches it for every secret and for everything that was said.
func (d inspection) checkBundle(ctx context.Context) error {
	file := d.path("support.tar.gz")
	if err := removeFiles(file); err != nil {
		return err
	}
	if _, err := d.command(ctx, d.program, "support", "bundle", "--dir", d.install(), "--output", file); err != nil {
		return err
	}
	forbidden, err := d.forbidden()
	if err != nil {
		return err
	}
	members, err := untar(file)
	if err != nil {
		return err
	}
	var errs []error
	for name, data := range members {
		for what, value := range forbidden {
			if bytes.Contains(data, []byte(value)) {
				errs = append(errs, fmt.Errorf("the support bundle shows %s in %s", what, name))
			}
		}
	}
	for _, name := range []string{"version.json", "doctor.json", "files/config/bridge/bridge.yaml", "logs/bridge.log", "logs/nginx.log"} {
		if len(members["support/"+name]) == 0 { // unpacked, it is one directory
			errs = append(errs, fmt.Errorf("the support bundle has no %s", name))
		}
	}
	if len(forbidden) < 25 {
		errs = append(errs, fmt.Errorf("only %d secrets and sentences to look for", len(forbidden)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.say("ok    the support bundle has %d files and none of %d secrets and sentences", len(members), len(forbidden))
	return os.Remove(file)
}

// forbidden returns the values that must not leave the host, by description.
func (d inspection) forbidden() (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(d.path("install/secrets"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name) //nolint:gosec // the demo's own files
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); len(line) >= 6 && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "Key-ID") {
				out[fmt.Sprintf("a line of %s (%d)", filepath.Base(name), len(out))] = line
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"alice_password", "bob_password"} {
		if out[name], err = d.secret(name, 0); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(d.path("summary.json"))
	if err != nil {
		return nil, err
	}
	var s summary
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	for _, l := range s.Transcript {
		out[fmt.Sprintf("message %d", l.N)] = l.Body
	}
	return out, nil
}

func untar(file string) (map[string][]byte, error) {
	f, err := os.Open(file) //nolint:gosec // the demo's own file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}
