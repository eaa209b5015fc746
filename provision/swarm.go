package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/preflight"
	"appliance/provision/secrets"
	"appliance/provision/site"
	"appliance/provision/swarm"
)

// SwarmOptions say what to render as a Docker Swarm stack, and where to write it.
type SwarmOptions struct {
	Dir     string // of the installation; "" for answers without one, whose secrets are kept in Out
	Answers answers.Answers
	Program string // path of this program, which goes into the image
	Out     string // directory, absolute
	swarm.Options
}

// A LostSecretsError says that secrets are missing that a running stack may depend on.
type LostSecretsError struct {
	Dir   string
	Names []secrets.Name
}

func (e *LostSecretsError) Error() string {
	names := make([]string, len(e.Names))
	for i, n := range e.Names {
		names[i] = string(n)
	}
	return fmt.Sprintf("secrets are missing in %s: %s", filepath.Join(e.Dir, "secrets"), strings.Join(names, ", "))
}

// Hint says what to do.
func (e *LostSecretsError) Hint() string {
	return "put them back from a backup: the running services know their old values"
}

// RenderSwarm writes the installation as a stack. It changes nothing but Out.
func RenderSwarm(ctx context.Context, o SwarmOptions) (swarm.Stack, error) {
	home := cmp.Or(o.Dir, o.Out)
	s, err := site.New(home, o.Answers)
	if err != nil {
		return swarm.Stack{}, err
	}
	p := &Prepared{opts: Options{Dir: home, Answers: o.Answers, Program: o.Program}, site: s, host: preflight.RealHost(s.Stack)}
	defer func() { _ = p.Close() }()
	in, err := p.input(ctx)
	if err != nil {
		return swarm.Stack{}, err
	}
	missing := p.seen.wanted.NewSecrets
	if len(missing) > 0 && (o.Dir != "" || exists(filepath.Join(o.Out, swarm.StackFile))) {
		return swarm.Stack{}, &LostSecretsError{Dir: home, Names: missing}
	}
	if m, err := s.Stack.Tree().Manifest(); err == nil {
		in.Bootstrapped = m.Bootstrapped
	}
	chains, err := p.chains()
	if err != nil {
		return swarm.Stack{}, err
	}
	out, err := swarm.Render(swarm.Input{Render: in, Certificates: chains, Options: o.Options})
	if err != nil {
		return out, err
	}
	if err := atomicfile.Mkdir(o.Out, 0o700, os.Geteuid(), os.Getegid()); err != nil {
		return out, err
	}
	if o.Dir == "" {
		if err := secrets.Write(o.Out, p.seen.set, missing); err != nil {
			return out, err
		}
	}
	return out, writeStack(o.Out, out)
}

// chains returns the certificates of the host names, if nginx reads them from files.
func (p *Prepared) chains() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, host := range p.opts.Answers.Hosts() {
		switch p.opts.Answers.TLS {
		case answers.Files:
			out[host] = p.seen.bundle
		case answers.Internal:
			data, err := os.ReadFile(certs.LivePath(p.site.CertsDir(), host))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			out[host] = data
		}
	}
	return out, nil
}

// writeStack writes the files of a stack. The stack file comes last, after the files it names.
func writeStack(dir string, out swarm.Stack) error {
	names := slices.Sorted(maps.Keys(out.Files))
	slices.SortStableFunc(names, func(a, b string) int {
		return strings.Compare(fmt.Sprint(a == swarm.StackFile), fmt.Sprint(b == swarm.StackFile))
	})
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if old, err := os.ReadFile(file); err == nil && string(old) == string(out.Files[name].Data) { //nolint:gosec // below the directory that the operator named
			continue // keeping its owner
		}
		if err := atomicfile.Write(file, out.Files[name].Data, out.Files[name].Mode); err != nil {
			return err
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
