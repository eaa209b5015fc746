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

// knownFile has the digest of each secret as this program wrote it, below the installation
// directory. Servers know that value; another one in its place was written by hand.
const knownFile = "secrets/.known.json"

// Edited returns the secrets on disk that are not as this program wrote them, sorted. One
// that is being replaced is not among them, and neither is the administrator's password,
// which people change in Rocket.Chat.
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
		if err != nil || digest(value) != was { // an empty one is an error, and no value of ours
			out = append(out, s.name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Remember takes the secrets on disk for known: those of which nothing is known, such as
// an earlier release wrote, and with all of them those that were edited.
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

// know notes what secrets will be once they are written.
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

// readKnown reads what is noted. A file that cannot be read as such was damaged by hand, and
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
