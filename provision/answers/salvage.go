package answers

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Salvage returns what can be known of answers that cannot be used, so that an
// installation can be looked at and stopped: every line that is an answer by itself,
// what is permanent as the installation remembers it, and defaults for the rest. Never
// install from it.
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

// try sets an answer if it is one.
func (d *Draft) try(key, value string) {
	f, ok := Lookup(key)
	if !ok || value == "" || f.Check != nil && f.Check(value) != nil {
		return
	}
	_ = f.Set(&d.Answers, value) // what cannot be set stays as it was
}
