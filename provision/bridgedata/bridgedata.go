// Package bridgedata moves the bridge's data from one database to another while the
// bridge is stopped. It finds the databases, as this host reaches them, in the answers;
// the copying is done by the bridge's package store.
package bridgedata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// sqliteFile is where the bridge keeps its data with bridge_database: sqlite.
const sqliteFile = "data/bridge/bridge.db"

// Ends are the two databases of a move, as this host reaches them.
type Ends struct{ From, To secret.String }

// A PasswordError says that a password was given where every user of the host sees it.
type PasswordError struct{}

func (*PasswordError) Error() string {
	return "--to holds a password, which everyone on this host can see in the list of processes"
}

// Hint says what to do.
func (*PasswordError) Hint() string {
	return "write the URL to a file that only you can read, and name that with: --to-file FILE; and change the password, which was seen"
}

// CheckArgument refuses a database with a password on the command line.
func CheckArgument(database string) error {
	u, err := url.Parse(database)
	if err != nil {
		return errors.New("--to is no URL") // its message would show what was given
	}
	if _, set := u.User.Password(); set || u.Query().Has("password") || u.Query().Has("sslpassword") {
		return &PasswordError{}
	}
	return nil
}

// An OpenFileError says that a file with a password can be read by others.
type OpenFileError struct{ File string }

func (e *OpenFileError) Error() string { return e.File + " holds a password and can be read by others" }

// Hint says what to do.
func (e *OpenFileError) Hint() string { return "restrict it with: chmod 600 " + site.Quoted(e.File) }

// maxURL limits the size of a file with a URL, in bytes.
const maxURL = 8 << 10

// ReadURL reads the URL of a database from a file that only its owner can read.
func ReadURL(name string) (string, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", err
	case info.Mode().Perm()&0o077 != 0:
		return "", &OpenFileError{File: name}
	case info.Size() > maxURL:
		return "", fmt.Errorf("%s is no URL: it has %d bytes", name, info.Size())
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	return strings.TrimSpace(string(data)), err
}

// Locate finds the database that the answers name, and the one they would name after the
// move. It starts the bundled PostgreSQL if one of them is there and it is down.
func Locate(ctx context.Context, s *site.Site, after answers.Answers) (e Ends, err error) {
	if e.From, err = locate(ctx, s, s.Answers); err == nil {
		e.To, err = locate(ctx, s, after)
	}
	return e, err
}

func locate(ctx context.Context, s *site.Site, a answers.Answers) (secret.String, error) {
	switch a.BridgeDatabase {
	case answers.SQLite, "":
		return secret.New("sqlite:" + s.Path(sqliteFile)), nil
	case answers.Bundled:
		return bundled(ctx, s)
	}
	return secret.New(render.ExternalDatabase(a, a.BridgeDatabaseCAFile)), nil
}

// bundled is the schema of the bridge in the homeserver's PostgreSQL.
func bundled(ctx context.Context, s *site.Site) (secret.String, error) {
	const service = "postgres"
	services, err := s.Stack.Services(ctx)
	if err != nil {
		return secret.String{}, err
	}
	if services[service].State != "running" {
		if err := s.Stack.Compose().UpOnly(ctx, func(stack.Event) {}, service); err != nil {
			return secret.String{}, err
		}
		if services, err = s.Stack.Services(ctx); err != nil {
			return secret.String{}, err
		}
	}
	if services[service].Address == "" {
		return secret.String{}, &stack.NotRunningError{Service: service}
	}
	set, _, err := secrets.Prepare(s.Dir)
	if err != nil {
		return secret.String{}, err
	}
	return secret.New(render.BundledDatabase(set, net.JoinHostPort(services[service].Address, "5432"))), nil
}

// Run stops the bridge and moves its data. On success the bridge stays stopped: it must
// not start before the answers name the new database. On failure it is started again.
func Run(ctx context.Context, s *site.Site, r plan.Reporter, move func(progress func(what string, done, total int64)) error) error {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	var stopped []plan.Service
	err = plan.Track(r, plan.Step{ID: "pause", Title: "stop the bridge; messages wait on both sides"}, func() (err error) {
		stopped, err = s.Stack.Stop(ctx, "bridge")
		return err
	})
	if err == nil {
		step := plan.Step{ID: "move", Title: "copy the bridge's data, and compare it"}
		err = plan.Track(r, step, func() error {
			return errors.Join(move(func(what string, done, total int64) { r.Progress(step.ID, what, done, total) }), own(s))
		})
	}
	if err != nil {
		err = errors.Join(err, s.Stack.Start(context.WithoutCancel(ctx), stopped))
	}
	return err
}

// own gives the files of an SQLite database that root created to the bridge's user.
func own(s *site.Site) error {
	dir, err := os.Stat(s.Path("data/bridge"))
	if err != nil {
		return err
	}
	owner, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	for _, ending := range []string{"", "-wal", "-shm", ".lock"} {
		if err := os.Lchown(s.Path(sqliteFile)+ending, int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
