package secrets

import (
	"fmt"
	"os"

	"appliance/provision/internal/atomicfile"
)

// Replace gives a secret a new value and returns what puts the old one back. Only
// CreateTokenSecret can be replaced: no data depends on it, and its two readers take
// the new value when they start.
func Replace(dir string, name Name) (undo func() error, err error) {
	if name != CreateTokenSecret {
		return nil, fmt.Errorf("secret %s cannot be replaced: data depends on it", name)
	}
	file := Path(dir, name)
	old, err := os.ReadFile(file) //nolint:gosec // below the installation directory
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	value, err := token()
	if err != nil {
		return nil, err
	}
	write := func(data []byte) error { return atomicfile.WriteOwned(file, data, 0o600, bridgeUser, bridgeUser) }
	return func() error { return write(old) }, write([]byte(value))
}
