package answers

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Salvage recovers what it can from unusable answers, so that an installation can be
// inspected and stopped: every line that is a valid answer by itself, the permanent answers
// as the installation remembers them, and defaults for the rest. Never install from it.
func Salvage(data []byte, permanent map[string]string) Answers {
	d := NewDraft()
	for line := range bytes.Lines(data) {
		var one map[string]yaml.Node
		if yaml.Unmarshal(line, &one) != nil {
			continue
		}
		for key, value := range one {
			if value.Kind == yaml.ScalarNode {
				d.try(key, value.Value)
			}
		}
	}
	for key, value := range permanent {
		d.try(key, value)
	}
	return d.Normalize()
}

// try sets an answer if it is valid.
func (d *Draft) try(key, value string) {
	f, ok := Lookup(key)
	if !ok || value == "" || f.Check != nil && f.Check(value) != nil {
		return
	}
	_ = f.Set(&d.Answers, value) // what cannot be set stays as it was
}
