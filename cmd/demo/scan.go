package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// checkTLS has a scanner try what the front door accepts.
func (d inspection) checkTLS(ctx context.Context) error {
	out, err := d.command(ctx, "sslscan", "--no-colour", "--xml=-", "--sni-name="+chatHost, "127.0.0.1:443")
	if err != nil {
		return err
	}
	var scan struct {
		Test struct {
			Protocols []struct {
				Type    string `xml:"type,attr"`
				Version string `xml:"version,attr"`
				Enabled string `xml:"enabled,attr"`
			} `xml:"protocol"`
			Compression struct {
				Supported string `xml:"supported,attr"`
			} `xml:"compression"`
			Renegotiation struct {
				Supported string `xml:"supported,attr"`
			} `xml:"renegotiation"`
			Heartbleed []struct {
				Vulnerable string `xml:"vulnerable,attr"`
			} `xml:"heartbleed"`
			Ciphers []struct {
				Version string `xml:"sslversion,attr"`
				Bits    int    `xml:"bits,attr"`
				Name    string `xml:"cipher,attr"`
			} `xml:"cipher"`
		} `xml:"ssltest"`
	}
	if err := xml.Unmarshal([]byte(out), &scan); err != nil {
		return fmt.Errorf("what sslscan says: %w", err)
	}
	var errs []error
	var spoken []string
	for _, p := range scan.Test.Protocols {
		name := strings.ToUpper(p.Type) + " " + p.Version
		if p.Enabled != "1" {
			continue
		}
		if spoken = append(spoken, name); name != "TLS 1.2" && name != "TLS 1.3" {
			errs = append(errs, fmt.Errorf("the front door speaks %s", name))
		}
	}
	if len(spoken) == 0 || len(scan.Test.Ciphers) == 0 {
		return errors.New("sslscan found no protocol and no cipher")
	}
	for _, c := range scan.Test.Ciphers {
		forward := c.Version == "TLSv1.3" || strings.HasPrefix(c.Name, "ECDHE-")
		sealed := strings.Contains(c.Name, "GCM") || strings.Contains(c.Name, "CHACHA20")
		if c.Bits < 128 || !forward || !sealed {
			errs = append(errs, fmt.Errorf("the front door agrees to %s %s", c.Version, c.Name))
		}
	}
	if scan.Test.Compression.Supported == "1" || scan.Test.Renegotiation.Supported == "1" {
		errs = append(errs, errors.New("the front door compresses, or negotiates again"))
	}
	if slices.ContainsFunc(scan.Test.Heartbleed, func(h struct {
		Vulnerable string `xml:"vulnerable,attr"`
	}) bool {
		return h.Vulnerable == "1"
	}) {
		errs = append(errs, errors.New("the front door is open to Heartbleed"))
	}
	if len(errs) == 0 {
		d.say("ok    sslscan: %s, %d ciphers, each with forward secrecy and authenticated encryption", strings.Join(spoken, " and "), len(scan.Test.Ciphers))
	}
	return errors.Join(errs...)
}

// secrets looks for every secret and every sentence of the conversation where neither may
// appear: in the logs of the services, in the arguments and the environment of their
// processes, in the image of the appliance, and in a backup.
func (d inspection) secrets(ctx context.Context) error {
	forbidden, err := d.forbidden()
	if err != nil {
		return err
	}
	if len(forbidden) < 25 {
		return fmt.Errorf("only %d secrets and sentences to look for", len(forbidden))
	}
	ids, err := d.containers(ctx)
	if err != nil {
		return err
	}
	look := &searched{forbidden: forbidden}
	for _, id := range ids {
		if err := d.searchContainer(ctx, look, id); err != nil {
			return err
		}
	}
	if look.processes < len(ids) || look.logged == 0 {
		return fmt.Errorf("there is too little to search: %d processes, %d bytes of logs", look.processes, look.logged)
	}
	if err := d.searchBackup(ctx, look); err != nil {
		return err
	}
	if len(look.found) > 0 {
		return errors.Join(look.found...)
	}
	d.say("ok    none of %d secrets and sentences in %.1f MB of logs, %d processes, the appliance's image and a backup",
		len(forbidden), float64(look.logged)/1e6, look.processes)
	return nil
}

// searchBackup makes a backup and searches it as it is on disk.
func (d inspection) searchBackup(ctx context.Context, look *searched) error {
	file, key := d.path("searched.tar.zst.age"), d.path("backup_passphrase")
	if err := removeFiles(file); err != nil {
		return err
	}
	if _, err := d.secret("backup_passphrase", 0); err != nil {
		return err
	}
	if _, err := loss(d).backup(ctx, file, key); err != nil {
		return err
	}
	f, err := os.Open(file) //nolint:gosec // the demo's own file
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return errors.Join(look.in("a backup", f), removeFiles(file))
}

// searchContainer searches what a container logs, its processes and, where it runs the
// appliance, its image.
func (d inspection) searchContainer(ctx context.Context, look *searched, id string) error {
	service, err := d.command(ctx, "docker", "inspect", "-f", `{{index .Config.Labels "com.docker.compose.service"}}`, id)
	if err != nil {
		return err
	}
	service = strings.TrimSpace(service)
	n, err := look.output(ctx, "the log of "+service, "logs", id)
	if look.logged += n; err != nil {
		return err
	}
	if service == "bridge" {
		if _, err := look.output(ctx, "the image of "+service, "export", id); err != nil {
			return err
		}
	}
	top, err := d.command(ctx, "docker", "top", id, "-eo", "pid")
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(top)[1:] {
		look.processes++
		for _, file := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(filepath.Join("/proc", pid, file))
			if errors.Is(err, os.ErrNotExist) {
				continue // it has ended
			}
			if err != nil {
				return err
			}
			if file == "environ" {
				data = withoutVariables(data, ownVariables[service])
			}
			if err := look.in(file+" of a process of "+service, bytes.NewReader(data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownVariables are secrets that a service takes from its environment and from nowhere else.
var ownVariables = map[string][]string{"rocketchat": {"MONGO_URL=", "MONGO_OPLOG_URL=", "CREATE_TOKENS_FOR_USERS_SECRET="}}

// withoutVariables removes variables from an environment as /proc shows it.
func withoutVariables(environment []byte, beginnings []string) []byte {
	kept := slices.DeleteFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool {
		return slices.ContainsFunc(beginnings, func(name string) bool { return bytes.HasPrefix(v, []byte(name)) })
	})
	return bytes.Join(kept, []byte{0})
}

// searched is what was searched so far, and what was found.
type searched struct {
	forbidden map[string]string
	found     []error
	logged    int64
	processes int
}

// output searches the output of docker, and returns how much that was.
func (s *searched) output(ctx context.Context, where string, args ...string) (int64, error) {
	cmd := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // the demo's own arguments
	r, w := io.Pipe()
	counted := &counter{Writer: w}
	cmd.Stdout, cmd.Stderr = counted, counted
	done := make(chan error, 1)
	go func() { err := cmd.Run(); _ = w.CloseWithError(err); done <- err }()
	err := s.in(where, r)
	_ = r.CloseWithError(err)
	return counted.n, errors.Join(err, <-done)
}

// in searches one source from beginning to end.
func (s *searched) in(where string, r io.Reader) error {
	longest := 0
	for _, value := range s.forbidden {
		longest = max(longest, len(value))
	}
	found := map[string]bool{}
	buffer := make([]byte, 0, 1<<20+longest)
	for {
		n, err := io.ReadFull(r, buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		for what, value := range s.forbidden {
			if !found[what] && bytes.Contains(buffer, []byte(value)) {
				found[what] = true
				s.found = append(s.found, fmt.Errorf("%s shows %s", where, what))
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kept := copy(buffer[:longest], buffer[len(buffer)-longest:]) // a secret may span two pieces
		buffer = buffer[:kept]
	}
}

// counter counts what is written.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Writer.Write(p)
}
