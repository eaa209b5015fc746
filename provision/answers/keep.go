package answers

import (
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"appliance/provision/internal/atomicfile"
)

// Asked is the origin of an answer that was given to a question.
const Asked = "the wizard"

// Keep writes the answers given to questions so far to a file that only its owner can
// read, so that nobody has to answer twice. It leaves out what may hold a password, and
// what came from other sources and will come from there again.
func (d *Draft) Keep(name string) error {
	if name == "" {
		return nil
	}
	kept := map[string]string{}
	for _, f := range Fields {
		if d.origin[f.Key] == Asked && !f.Secret {
			kept[f.Key] = f.Get(&d.Answers)
		}
	}
	data, err := yaml.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(name, data, 0o600)
}

// Resume adds the usable answers of a kept draft that no other source sets, and returns
// how many it added. A file that does not exist or cannot be read adds none.
func (d *Draft) Resume(name string) int {
	data, err := os.ReadFile(name) //nolint:gosec // a file of our own
	if err != nil {
		return 0
	}
	var kept map[string]string
	if yaml.Unmarshal(data, &kept) != nil {
		return 0
	}
	resumed := 0
	for _, f := range Fields {
		value, ok := kept[f.Key]
		if !ok || d.Said(f.Key) || f.Secret || f.Check != nil && f.Check(value) != nil {
			continue
		}
		d.Set(f.Key, value, Asked)
		resumed++
	}
	return resumed
}
