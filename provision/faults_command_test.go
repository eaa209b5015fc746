package provision_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/backup"
	"appliance/provision/certs"
	"appliance/provision/certs/acmetest"
	"appliance/provision/plan"
	"appliance/provision/secrets"
	"appliance/provision/stack"
)

// commands is a directory in which commands are run, with a backup beside it, a
// Docker that has no containers, and a certificate authority.
type commands struct {
	t        *testing.T
	dir      string // of the installation
	file     string // a backup of one
	keys     backup.Keys
	acme     *acmetest.Server // created on demand
	host     string           // that needs a certificate
	answered bool             // challenges are answered
	set      []string         // answers
	eab      *certs.Binding
}

func newCommands(t *testing.T) world {
	c := &commands{t: t, dir: filepath.Join(t.TempDir(), "appliance"), file: filepath.Join(t.TempDir(), "saved"), host: "chat.example.test", answered: true}
	c.set = []string{"domain=chat.example.test"}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "sock"))
	if err != nil {
		t.Fatal(err)
	}
	docker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		_, _ = io.WriteString(w, "[]")
	})}
	go func() { _ = docker.Serve(ln) }()
	t.Cleanup(func() { _ = docker.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+ln.Addr().String())
	c.save(backup.Keys{})
	return c
}

// save writes a backup of a small installation.
func (c *commands) save(k backup.Keys) {
	from := c.t.TempDir()
	c.write(filepath.Join(from, "appliance.yaml"), "domain: chat.example.test\n")
	c.write(filepath.Join(from, "data/homeserver/media/a"), strings.Repeat("0123456789", 20_000))
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, backup.Header{Program: "v1"}, k, nil)
	if err == nil {
		err = w.Tree(c.t.Context(), from, ".", nil)
	}
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(c.file, out.String())
}

func (c *commands) write(name, data string) {
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(data), 0o600)); err != nil {
		c.t.Fatal(err)
	}
}

type silent struct{}

func (silent) Step(plan.Step, plan.StepState, string) {}
func (silent) Progress(string, string, int64, int64)  {}
func (c *commands) restored() error { // and removed again
	err := archive.Restore(c.t.Context(), c.dir, archive.RestoreOptions{File: c.file, Keys: c.keys}, silent{})
	if err == nil {
		err = stack.RemoveBut(c.dir)
	}
	return err
}

func (c *commands) look(by string) (verdict, bool) {
	ctx := c.t.Context()
	switch by {
	case "backup verify":
		_, _, err := archive.Verify(ctx, c.file, c.keys, silent{})
		return blame(err)
	case "restore":
		return blame(c.restored())
	case "up":
		_, _, err := secrets.Prepare(c.dir)
		if err == nil {
			err = c.locked()
		}
		if err == nil {
			err = c.answers()
		}
		return blame(err)
	case "certificate":
		return blame(c.certificate())
	}
	return verdict{says: "there is no command " + by}, false
}

func (c *commands) locked() error {
	s := &stack.Stack{Dir: c.dir}
	unlock, err := s.Lock()
	if err == nil {
		unlock()
		_, err = s.Images().Locked()
	}
	return err
}

func (c *commands) answers() error {
	d := answers.NewDraft()
	for _, set := range c.set {
		d.Assign(set)
	}
	_, err := d.Finish()
	return err
}

func (c *commands) certificate() error {
	if c.acme == nil {
		c.acme = acmetest.New(c.t)
	}
	cfg := certs.Config{Hosts: []string{c.host}, Directory: c.acme.Directory, CAFile: c.acme.CAFile, EAB: c.eab, Dir: filepath.Join(c.dir, "data/certs"), Listen: fmt.Sprintf("127.0.0.1:%d", c.acme.HTTPPort)}
	_ = os.RemoveAll(cfg.Dir)
	if c.answered {
		stop, err := certs.Answer(c.t.Context(), cfg.Dir, cfg.Listen)
		if err != nil {
			return err
		}
		defer stop()
	}
	return certs.Obtain(c.t.Context(), cfg, c.host)
}

var differs = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z|pid \d+|127\.0\.0\.1:\d+|http://\S+|damaged: .*`)

func (c *commands) plain(text string) string {
	text = strings.NewReplacer(c.dir, "/opt/appliance", c.file, "FILE", filepath.Dir(c.file), "/root").Replace(text)
	return differs.ReplaceAllStringFunc(text, func(s string) string {
		switch {
		case strings.HasPrefix(s, "damaged"):
			return "damaged: ..."
		case strings.HasPrefix(s, "pid"):
			return "pid 812"
		case strings.HasPrefix(s, "127"):
			return "127.0.0.1"
		case strings.HasPrefix(s, "http"):
			return "http://..."
		}
		return "2026-01-02T03:04:05Z"
	})
}

// damage alters the backup and returns a function that restores it.
func (c *commands) damage(how func([]byte) []byte) func() {
	was, err := os.ReadFile(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(c.file, string(how(bytes.Clone(was))))
	return func() { c.write(c.file, string(was)) }
}

// tiny makes the installation's file system too small.
func (c *commands) tiny() func() {
	if err := errors.Join(os.MkdirAll(c.dir, 0o755), syscall.Mount("tmpfs", c.dir, "tmpfs", 0, "size=64k")); err != nil {
		mustrun.Skip(c.t, "only root can make a full file system: "+err.Error())
	}
	c.t.Cleanup(func() { _ = syscall.Unmount(c.dir, syscall.MNT_DETACH) })
	return func() {
		if err := syscall.Mount("tmpfs", c.dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *commands) hold() func() {
	unlock, err := (&stack.Stack{Dir: c.dir}).Lock()
	if err != nil {
		c.t.Fatal(err)
	}
	return unlock
}

func (c *commands) encrypted() func() {
	phrase := filepath.Join(c.t.TempDir(), "phrase")
	c.write(phrase, "correct horse battery\n")
	var k backup.Keys
	if err := k.Passphrase(phrase); err != nil {
		c.t.Fatal(err)
	}
	c.save(k)
	return func() { c.keys = k }
}

const boundKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

// hmac writes a key to a file and returns its name.
func (c *commands) hmac(name, key string) string {
	name = filepath.Join(filepath.Dir(c.file), name)
	c.write(name, key)
	return name
}

// bound makes the authority require an account binding, and uses a wrong one at
// first and the right one after the repair.
func (c *commands) bound(wrong *certs.Binding) func() {
	c.acme = acmetest.NewBound(c.t, "customer-7", boundKey)
	right := &certs.Binding{KeyID: "customer-7", HMACFile: c.hmac("right", boundKey)}
	if wrong.KeyID == "" {
		wrong = nil
	}
	c.eab = wrong
	return func() { c.eab = right }
}

func (c *commands) faults() []fault {
	file := func(name, data string) func() {
		name = filepath.Join(c.dir, name)
		c.write(name, data)
		return func() { _ = os.RemoveAll(name) }
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	bit := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	return []fault{
		{"a truncated backup", "backup verify", func() func() { return c.damage(half) }, "the backup cannot be used: it is truncated", "use another backup"},
		{"a damaged backup", "backup verify", func() func() { return c.damage(bit) }, "the backup cannot be used: it is damaged", "use another backup"},
		{"a truncated backup is restored", "restore", func() func() { return c.damage(half) }, "the backup cannot be used: it is truncated", "nothing was changed"},
		{"a file that is no backup", "restore", func() func() { return c.damage(func([]byte) []byte { return []byte("PK\x03\x04 something else") }) }, "the backup cannot be used: it is damaged", "use another backup"},
		{"a backup without its key", "restore", c.encrypted, "the backup is encrypted: a key is needed", "--passphrase-file FILE"},
		{"a directory in use", "restore", func() func() { return file("precious", "x") }, c.dir + " is not empty: it has precious", "--dir"},
		{"an installation in the way", "restore", func() func() { return file("appliance.yaml", "domain: a.example.test\n") }, c.dir + " is not empty: it has an installation", "down --purge"},
		{"an interrupted restore in the way", "restore", func() func() {
			a, b := file("appliance.yaml", "domain: a.example.test\n"), file(".restore/databases/postgres", "x")
			return func() { a(); b(); _ = os.RemoveAll(filepath.Join(c.dir, ".restore")) }
		}, "a restore into " + c.dir + " is incomplete", "appliance up"},
		{"a full disk while restoring", "restore", c.tiny, "the disk that holds " + c.dir + " is full", "free some space"},
		{"a lost secret of a database that has data", "up", func() func() { return file("data/postgres/PG_VERSION", "17\n") }, c.dir + "/data/postgres holds data but its secret", "put the secret back from a backup"},
		{"another appliance at work", "up", c.hold, "another appliance process is changing " + c.dir, "wait until it is done"},
		{"a damaged image lock", "up", func() func() { return file("images.lock", "<<<<<<< HEAD\n") }, c.dir + "/images.lock: invalid character '<'", "appliance up"},
		{"a misspelt answer", "up", func() func() { return set(&c.set, []string{"domain=chat.example.test", "http-port=8080"}) }, "http-port: unknown key, did you mean http_port?", ""},
		{"a web address in place of a name", "up", func() func() { return set(&c.set, []string{"domain=https://chat.example.test/home"}) }, "domain: must be a bare name, without https://", ""},
		{"too many tries at the authority", "certificate", func() func() {
			_ = c.certificate() // starts it
			c.acme.Busy(time.Hour)
			return func() { c.acme.Busy(0) }
		}, "no certificate for chat.example.test: the authority says: too many failed authorizations", "wait until"},
		{"an authority that cannot reach port 80", "certificate", func() func() { return set(&c.answered, false) }, "no certificate for chat.example.test: the authority says: ", "port 80 of chat.example.test must reach this host"},
		{"an authority that wants an account of the operator's", "certificate", func() func() { return c.bound(&certs.Binding{}) }, "no certificate for chat.example.test: the authority says: ACME server policy", "acme_eab_key_id"},
		{"a wrong key for the account", "certificate", func() func() {
			return c.bound(&certs.Binding{KeyID: "customer-7", HMACFile: c.hmac("wrong", "AAAA"+boundKey[4:])})
		}, "no certificate for chat.example.test: the authority says: external account binding", "compare acme_eab_key_id"},
		{"a key for the account that everybody can read", "certificate", func() func() {
			name := c.hmac("hmac", boundKey)
			_ = os.Chmod(name, 0o644) //nolint:gosec // on purpose
			c.bound(&certs.Binding{KeyID: "customer-7", HMACFile: name})
			return func() { _ = os.Chmod(name, 0o600) }
		}, "external account: ", "chmod 600"},
		{"a full disk when a certificate is due", "certificate", c.tiny, "no certificate for chat.example.test: " + c.dir + "/data/certs is full", "the renewal is retried automatically"},
		{"a name that the authority does not serve", "certificate", func() func() {
			_ = c.certificate()
			c.acme.Block(c.t, "blocked.example.test")
			return set(&c.host, "blocked.example.test")
		}, "no certificate for blocked.example.test: the authority says: ", "use another name"},
	}
}
