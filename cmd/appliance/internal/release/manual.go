package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra/doc"

	"appliance/cmd/appliance/internal/cli"
	"appliance/provision/answers"
	"appliance/provision/render"
)

// Where the files are below share/, as systems expect them.
const (
	manDir  = "share/man/man1"
	bashDir = "share/bash-completion/completions"
	zshDir  = "share/zsh/site-functions"
	fishDir = "share/fish/vendor_completions.d"
	unitDir = "systemd"
)

// files writes the files that accompany the program to directories of dir, which it creates.
func files(dir, version string, at time.Time) error {
	for _, name := range []string{manDir, bashDir, zshDir, fishDir, unitDir} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { //nolint:gosec // everybody reads it
			return err
		}
	}
	return errors.Join(manual(filepath.Join(dir, manDir), version, at), completion(dir), units(filepath.Join(dir, unitDir)))
}

// manual writes a manual page for every command into a directory, which must exist.
func manual(dir, version string, at time.Time) error {
	root := cli.Tree()
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{
		Section: "1", Source: "appliance " + version, Manual: "Appliance", Date: &at,
	}, dir)
}

// units writes the systemd units of an installation in the proposed directory, for the program
// of a package: what appliance service install writes there, except for the first line.
func units(dir string) error {
	files, err := render.Units{
		Drill:   true,
		Answers: answers.Answers{ServerName: "Rocket.Chat", TLS: answers.ACME},
		Prefix:  render.UnitPrefix("appliance"), Dir: "/opt/appliance", Program: "/usr/bin/appliance", Docker: "/usr/bin/docker", Keep: 7,
	}.Files()
	for name, data := range files {
		_, data, _ = bytes.Cut(data, []byte("\n"))
		data = append([]byte("# Part of the package, and not enabled: appliance service install writes one for this host, which takes its place.\n"), data...)
		err = errors.Join(err, write(filepath.Join(dir, name), data))
	}
	return err
}

// completion writes the shell completion scripts of the program, under the names that
// each shell looks for.
func completion(dir string) error {
	root := cli.Tree()
	for name, generate := range map[string]func(io.Writer) error{
		bashDir + "/appliance":      func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		zshDir + "/_appliance":      root.GenZshCompletion,
		fishDir + "/appliance.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // everybody reads it
		if err != nil {
			return err
		}
		if err := errors.Join(generate(f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// write writes a new file that everybody may read.
func write(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // everybody reads it
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
