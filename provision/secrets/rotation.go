package secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"appliance/bridge/secret"
	"appliance/provision/internal/atomicfile"
)

// RotationFile holds the rotation in progress, below the installation directory. It is
// written before anything is changed and removed once everything is verified, so that an
// interrupted rotation can be completed.
const RotationFile = "secrets/.rotation.json"

// A Rotation is the replacement of one secret.
type Rotation struct {
	Name Name   `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new,omitempty"` // "" until the server that chooses it has been asked
	// Label is what the server calls the new value, where it chooses it.
	Label string `json:"label,omitempty"`
}

// Rotations are carried out together.
type Rotations []Rotation

// Of returns the rotation of a secret, and whether there is one.
func (r Rotations) Of(name Name) (Rotation, bool) {
	for _, one := range r {
		if one.Name == name {
			return one, true
		}
	}
	return Rotation{}, false
}

// Names returns the secrets that are replaced.
func (r Rotations) Names() []Name {
	var out []Name
	for _, one := range r {
		out = append(out, one.Name)
	}
	return out
}

// Into puts the new values into a set.
func (r Rotations) Into(set Set) {
	for _, one := range r {
		if one.New != "" {
			set[one.Name] = secret.New(one.New)
		}
	}
}

// Back returns the rotations that put the old values back. Where the server never chose a
// new value, there is nothing to go back from.
func (r Rotations) Back() Rotations {
	var out Rotations
	for _, one := range r {
		if one.New != "" {
			out = append(out, Rotation{Name: one.Name, Old: one.New, New: one.Old})
		}
	}
	return out
}

// Begin creates the rotations of the named secrets, in memory only. The new value of
// RocketChatToken is chosen by the server.
func Begin(dir string, names []Name) (Rotations, error) {
	var out Rotations
	for _, s := range specs {
		if !contains(names, s.name) {
			continue
		}
		old, err := read(dir, s)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", s.name, err)
		}
		value, err := s.make()
		if err != nil {
			return nil, err
		}
		one := Rotation{Name: s.name, Old: old, New: value}
		if s.name == RocketChatToken {
			one.New, one.Label = "", "bridge-"+value[:8]
		}
		out = append(out, one)
	}
	return out, nil
}

// UnderWay reads the rotation in progress in dir; usually there is none.
func UnderWay(dir string) (Rotations, error) {
	name := filepath.Join(dir, filepath.FromSlash(RotationFile))
	data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out Rotations
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, &BadRotationError{File: name, Cause: err}
	}
	return out, nil
}

// A BadRotationError says that the record of a rotation cannot be read.
type BadRotationError struct {
	File  string
	Cause error
}

func (e *BadRotationError) Error() string {
	return fmt.Sprintf("the rotation of secrets that is under way: %s cannot be used: %v", e.File, e.Cause)
}

// Unwrap returns the cause.
func (e *BadRotationError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *BadRotationError) Hint() string {
	return "put it back from a backup; or leave it and see which secrets do not sign in: rm '" + e.File + "' && appliance doctor"
}

// Save records that rotations are in progress; with none it removes the record.
func (r Rotations) Save(dir string) error {
	name := filepath.Join(dir, filepath.FromSlash(RotationFile))
	if len(r) == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(name, data, 0o600)
}

// Replace gives a secret a new value on disk.
func Replace(dir string, name Name, value string) error {
	for _, s := range specs {
		if s.name != name {
			continue
		}
		if err := know(dir, map[Name]string{name: value}); err != nil {
			return err
		}
		if err := atomicfile.WriteOwned(Path(dir, name), []byte(value), 0o600, s.uid, s.uid); err != nil {
			return fmt.Errorf("secret %s: %w", name, err)
		}
	}
	return nil
}
