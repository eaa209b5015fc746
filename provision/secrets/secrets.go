// Package secrets generates the passwords, tokens and keys of an installation, once, and
// keeps each in a file that only its reader may open. Prepare creates missing ones and
// never replaces any, because data written under a secret is lost without it; a rotation
// tells the server first.
package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"appliance/bridge/secret"
	"appliance/provision/internal/atomicfile"
)

// A Name is the path of a secret below the directory "secrets".
type Name string

// The secrets of an installation.
const (
	AdminPassword      Name = "admin_password"
	PostgresPassword   Name = "postgres_password"
	RegistrationSecret Name = "registration_shared_secret"
	MacaroonSecret     Name = "macaroon_secret"
	FormSecret         Name = "form_secret"
	MatrixKey          Name = "matrix_key.pem"
	MongoRootPassword  Name = "mongo_root_password"
	MongoPassword      Name = "mongo_password"
	MongoKeyfile       Name = "mongo_keyfile"
	HSToken            Name = "bridge/hs_token"
	ASToken            Name = "bridge/as_token"
	RocketChatToken    Name = "bridge/rocketchat_token"
	CreateTokenSecret  Name = "bridge/create_token_secret"
)

// IDs of the users inside the containers who have to read their secrets.
const (
	databaseUser = 999
	bridgeUser   = 10500
)

// A spec says how a secret is generated, who reads it and which data is lost with it.
type spec struct {
	name  Name
	make  func() (string, error)
	uid   int
	guard string // directory below the installation; what is in it needs the secret
}

var specs = []spec{
	{AdminPassword, password, 0, ""},
	{PostgresPassword, token, databaseUser, "data/postgres"},
	{RegistrationSecret, token, 0, ""},
	{MacaroonSecret, token, 0, ""},
	{FormSecret, token, 0, ""},
	{MatrixKey, matrixKey, 0, "data/postgres"},
	{MongoRootPassword, token, databaseUser, "data/mongo"},
	{MongoPassword, token, databaseUser, "data/mongo"},
	{MongoKeyfile, keyfile, databaseUser, "data/mongo"},
	{HSToken, token, bridgeUser, ""},
	{ASToken, token, bridgeUser, ""},
	{RocketChatToken, token, bridgeUser, "data/mongo"},
	{CreateTokenSecret, token, bridgeUser, ""},
}

// A Set holds the value of every secret.
type Set map[Name]secret.String

// An OrphanError says that data exists whose secret is missing.
type OrphanError struct {
	Name      Name
	Guard     string
	Dir       string
	Directory bool // Docker made an empty directory in place of the secret
}

func (e *OrphanError) Error() string {
	return fmt.Sprintf("%s holds data but its secret %s is missing", filepath.Join(e.Dir, e.Guard), filepath.Join(e.Dir, "secrets", string(e.Name)))
}

// Hint says what to do.
func (e *OrphanError) Hint() string {
	hint := fmt.Sprintf("put the secret back from a backup, or move %s away to start without that data", filepath.Join(e.Dir, e.Guard))
	if e.Directory {
		hint = fmt.Sprintf("remove the empty directory that Docker made there with: rmdir '%s'; then %s", Path(e.Dir, e.Name), hint)
	}
	return hint
}

// Prepare reads the secrets below dir and generates those that are missing, in
// memory only: Write puts them on disk. It returns the names of the new ones.
func Prepare(dir string) (Set, []Name, error) {
	set := Set{}
	var missing []Name
	var errs []error
	for _, s := range specs {
		value, err := read(dir, s)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, s.name)
			value, err = s.create(dir)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set[s.name] = secret.New(value)
	}
	return set, missing, errors.Join(errs...)
}

// Missing returns the names of secrets that are not on disk, and which of them existing
// data depends on.
func Missing(dir string) (all, guarding []Name) {
	for _, s := range specs {
		if _, err := os.Lstat(Path(dir, s.name)); !errors.Is(err, fs.ErrNotExist) && !isPlaceholder(Path(dir, s.name)) {
			continue
		}
		all = append(all, s.name)
		if s.guard != "" && holdsData(filepath.Join(dir, s.guard)) {
			guarding = append(guarding, s.name)
		}
	}
	return all, guarding
}

func read(dir string, s spec) (string, error) {
	name := Path(dir, s.name)
	if isPlaceholder(name) {
		return "", fs.ErrNotExist
	}
	data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
	if err == nil && strings.TrimSpace(string(data)) == "" {
		return "", &EmptyError{Name: s.name, File: name, guarded: s.guard != "" && holdsData(filepath.Join(dir, s.guard))}
	}
	return strings.TrimRight(string(data), "\n"), err
}

// isPlaceholder reports whether name is an empty directory. Docker makes one where a file
// that it mounts is missing: when the host boots, it restarts the containers of an
// installation that was deleted.
func isPlaceholder(name string) bool {
	entries, err := os.ReadDir(name)
	return err == nil && len(entries) == 0
}

// An EmptyError says that a secret was emptied by hand.
type EmptyError struct {
	Name    Name
	File    string
	guarded bool // data cannot be read without it
}

func (e *EmptyError) Error() string { return fmt.Sprintf("secret %s is empty", e.File) }

// Hint says what to do.
func (e *EmptyError) Hint() string {
	if e.guarded {
		return "put the secret back from a backup"
	}
	return "have a new one made with: rm '" + e.File + "' && appliance up"
}

// Empty returns an error when a secret on disk is empty.
func Empty(dir string, name Name) *EmptyError {
	for _, s := range specs {
		var empty *EmptyError
		if _, err := read(dir, s); s.name == name && errors.As(err, &empty) {
			return empty
		}
	}
	return nil
}

func (s spec) create(dir string) (string, error) {
	if s.guard != "" && holdsData(filepath.Join(dir, s.guard)) {
		return "", &OrphanError{Name: s.name, Guard: s.guard, Dir: dir, Directory: isPlaceholder(Path(dir, s.name))}
	}
	return s.make()
}

func holdsData(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// Path is where a secret is kept.
func Path(dir string, n Name) string { return filepath.Join(dir, "secrets", string(n)) }

// Write puts the named secrets of set on disk. An existing one is kept.
func Write(dir string, set Set, names []Name) error {
	if err := atomicfile.Mkdir(filepath.Join(dir, "secrets"), 0o700, 0, 0); err != nil {
		return err
	}
	if err := atomicfile.Mkdir(filepath.Join(dir, "secrets", "bridge"), 0o700, bridgeUser, bridgeUser); err != nil {
		return err
	}
	for _, s := range specs {
		if !contains(names, s.name) {
			continue
		}
		if isPlaceholder(Path(dir, s.name)) {
			if err := os.Remove(Path(dir, s.name)); err != nil {
				return fmt.Errorf("secret %s: %w", s.name, err)
			}
		}
		if _, err := os.Lstat(Path(dir, s.name)); err == nil {
			continue
		}
		if err := know(dir, map[Name]string{s.name: set[s.name].Reveal()}); err != nil {
			return err
		}
		if err := atomicfile.WriteOwned(Path(dir, s.name), []byte(set[s.name].Reveal()), 0o600, s.uid, s.uid); err != nil {
			return fmt.Errorf("secret %s: %w", s.name, err)
		}
	}
	return nil
}

func contains(names []Name, n Name) bool {
	for _, m := range names {
		if m == n {
			return true
		}
	}
	return false
}
