package secrets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/internal/atomicfile"
)

// knownFile, below the installation directory, has the digest of each secret as this
// program wrote it. Servers know that value; a different one was written by hand.
const knownFile = "secrets/.known.json"

// Edited returns the secrets on disk that differ from what this program wrote, sorted. It
// leaves out those that are being replaced, and the administrator's password, which
// people change in Rocket.Chat.
func Edited(dir string) ([]Name, error) {
	known, err := readKnown(dir)
	if err != nil {
		return nil, err
	}
	turn, err := UnderWay(dir)
	if err != nil {
		return nil, err
	}
	var out []Name
	for _, s := range specs {
		was, noted := known[s.name]
		value, err := read(dir, s)
		if _, replaced := turn.Of(s.name); !noted || replaced || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || digest(value) != was { // an empty one is an error, and not a value of ours
			out = append(out, s.name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Remember records the secrets on disk as known: those without a record, such as an
// earlier release wrote, and, if all is set, also those that were edited.
func Remember(dir string, all bool) error {
	known, err := readKnown(dir)
	if err != nil {
		return err
	}
	values := map[Name]string{}
	for _, s := range specs {
		value, err := read(dir, s)
		if _, noted := known[s.name]; err == nil && (all || !noted) {
			values[s.name] = value
		}
	}
	return know(dir, values)
}

// know records the values that secrets will have once they are written.
func know(dir string, values map[Name]string) error {
	delete(values, AdminPassword)
	if len(values) == 0 {
		return nil
	}
	known, err := readKnown(dir)
	if err != nil {
		return err
	}
	for name, value := range values {
		known[name] = digest(value)
	}
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, filepath.FromSlash(knownFile)), append(data, '\n'), 0o600)
}

// readKnown reads the records. A file that cannot be parsed was damaged by hand, and
// nothing is known then.
func readKnown(dir string) (map[Name]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(knownFile))) //nolint:gosec // below the installation directory
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is known of the secrets: %w", err)
	}
	known := map[Name]string{}
	if json.Unmarshal(data, &known) != nil {
		known = map[Name]string{}
	}
	return known, nil
}

func digest(value string) string {
	sum := sha256.Sum256([]byte(strings.TrimRight(value, "\n"))) // as it is read
	return hex.EncodeToString(sum[:])
}
