package answers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/provision/internal/atomicfile"
)

// A Draft collects answers from several sources. The last source that sets a value wins,
// and each value remembers where it came from.
type Draft struct {
	Answers
	origin   map[string]string
	problems []Problem
}

// NewDraft returns the defaults.
func NewDraft() *Draft {
	d := &Draft{origin: map[string]string{}}
	for _, f := range Fields {
		if f.Default != "" {
			_ = f.Set(&d.Answers, f.Default) // a test sets every default
		}
	}
	return d
}

// File adds the answers of a YAML file. Unknown keys are problems, and so are values that
// are not plain.
func (d *Draft) File(name string) error {
	data, err := os.ReadFile(name) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	d.parse(name, data)
	return nil
}

// Parse reads the answers of one file that is already in memory.
func Parse(name string, data []byte) (Answers, error) {
	d := NewDraft()
	d.parse(name, data)
	return d.Finish()
}

func (d *Draft) parse(name string, data []byte) {
	doc, err := document(data)
	if err != nil {
		d.bad(slip(name, data, err))
		return
	}
	if len(doc.Content) == 0 {
		return
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		d.bad(slip(name, data, errors.New("must be a list of lines such as domain: chat.example.org")))
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		origin := fmt.Sprintf("%s line %d", name, key.Line)
		if stranger(key.Value) {
			d.bad(Problem{Key: key.Value, Reason: "unknown key", Origin: origin, Hint: strangerHint(name, key.Line)})
			continue
		}
		if f, _ := Lookup(key.Value); f.Kind == Settings && value.Kind == yaml.MappingNode {
			d.setMapping(key.Value, value, origin)
			continue
		}
		if value.Kind != yaml.ScalarNode {
			d.bad(Problem{Key: key.Value, Reason: "must be a single value", Origin: origin})
			continue
		}
		text := value.Value
		if value.Tag == "!!null" {
			text = ""
		}
		d.Set(key.Value, text, origin)
	}
}

// stranger reports whether a key of a file resembles none that this release knows.
func stranger(key string) bool {
	_, known := Lookup(key)
	return !known && !strings.HasPrefix(key, RocketChatSettingsKey+".") && suggestion(key) == ""
}

func strangerHint(name string, line int) string {
	return fmt.Sprintf("take it out: ${EDITOR:-vi} +%d %s; or, if a newer release wrote the file, get that one; this release is shown by: appliance version; see: appliance self-update --help", line, quoted(name))
}

// document reads the only document of a file. A line indented less than the first one
// ends the document too, and what follows must not be lost silently.
func document(data []byte) (doc yaml.Node, err error) {
	in := yaml.NewDecoder(bytes.NewReader(data))
	if err = in.Decode(&doc); err == nil {
		if err = in.Decode(new(yaml.Node)); err == nil {
			err = errors.New("it has more than one document")
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return doc, err
}

// setMapping adds an answer that is a mapping.
func (d *Draft) setMapping(key string, value *yaml.Node, origin string) {
	var values map[string]any
	if err := value.Decode(&values); err != nil {
		d.bad(Problem{Key: key, Reason: "must be IDs and values: " + strings.TrimPrefix(err.Error(), "yaml: "), Origin: origin})
		return
	}
	d.Set(key, formatSettings(values), origin)
}

// Environ adds variables named APPLIANCE_<KEY>.
func (d *Draft) Environ(env []string) {
	for _, f := range Fields {
		name := "APPLIANCE_" + strings.ToUpper(f.Key)
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				d.Set(f.Key, v, "environment variable "+name)
			}
		}
	}
}

// Assign adds the argument of --set, key=value.
func (d *Draft) Assign(arg string) {
	key, value, ok := strings.Cut(arg, "=")
	if !ok {
		d.bad(Problem{Key: arg, Reason: "must be written as key=value", Origin: "--set"})
		return
	}
	d.Set(key, value, "--set")
}

// Set adds one answer. Finish reports an answer that cannot be accepted.
func (d *Draft) Set(key, value, origin string) {
	if id, one := strings.CutPrefix(key, RocketChatSettingsKey+"."); one {
		key = RocketChatSettingsKey
		all, err := withSetting(d.RocketChatSettings, id, strings.TrimSpace(value))
		if err != nil {
			d.bad(Problem{Key: key, Value: shown(key, value), Reason: err.Error(), Origin: origin})
			return
		}
		value = all
	}
	f, ok := Lookup(key)
	if !ok {
		d.bad(Problem{Key: key, Reason: "unknown key" + suggestion(key), Origin: origin})
		return
	}
	value = f.Meant(value)
	if value == "" && f.Default != "" {
		value = f.Default
	}
	if err := f.Set(&d.Answers, value); err != nil {
		d.bad(Problem{Key: key, Value: shown(key, value), Reason: err.Error(), Origin: origin})
		return
	}
	d.origin[key] = origin
}

// Said reports whether any source set the key.
func (d *Draft) Said(key string) bool { _, ok := d.origin[key]; return ok }

// Bad reports whether a source gave something that cannot be an answer at all.
func (d *Draft) Bad() bool { return len(d.problems) > 0 }

// Finish returns the answers, with defaults that depend on other answers filled in, or an
// *InvalidError with every problem.
func (d *Draft) Finish() (Answers, error) {
	problems := d.problems
	for _, p := range d.Validate() { // as given: what follows from a bad answer is not a problem of its own
		p.Origin = d.origin[p.Key]
		problems = append(problems, p)
	}
	if len(problems) > 0 {
		return Answers{}, &InvalidError{Problems: problems}
	}
	return d.Normalize(), nil
}

func (d *Draft) bad(p Problem) { d.problems = append(d.problems, p) }

// suggestion names the key that was probably meant.
func suggestion(key string) string {
	squash := func(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }
	for _, f := range Fields {
		if squash(f.Key) == squash(key) || strings.HasPrefix(squash(f.Key), squash(key)) && len(key) > 2 {
			return ", did you mean " + f.Key + "?"
		}
	}
	return ""
}

// Marshal returns the answers file: every answer with its explanation, and the command
// that applies a change.
func (a Answers) Marshal(command string) []byte {
	var b strings.Builder
	b.WriteString("# Answers of this installation. Change them here and run: " + command + "\n")
	for _, f := range Fields {
		fmt.Fprintf(&b, "\n# %s\n", f.Help)
		if f.Permanent {
			b.WriteString("# It cannot change once the installation exists.\n")
		}
		value, _ := yaml.Marshal(map[string]string{f.Key: f.Get(&a)})
		if f.Kind == Int || f.Kind == Bool {
			value = []byte(f.Key + ": " + f.Get(&a) + "\n")
		}
		if f.Kind == Settings {
			value = settingsYAML(f.Key, f.Get(&a))
		}
		b.Write(value)
	}
	return []byte(b.String())
}

// Gist returns what the answers decide, without those left at their defaults: a release that
// knows more answers, or explains them differently, gets the same gist from the same file.
func Gist(a Answers) string {
	var said []string
	for _, f := range Fields {
		if value := f.Get(&a); value != f.Default {
			said = append(said, fmt.Sprintf("%s=%q\n", f.Key, value))
		}
	}
	slices.Sort(said)
	return strings.Join(said, "")
}

// settingsYAML renders an answer that is a mapping as it appears in the file.
func settingsYAML(key, value string) []byte {
	values, _ := parseSettings(value) // they were checked
	data, _ := yaml.Marshal(map[string]any{key: values})
	return data
}

// Save writes the answers to a file from which command installs.
func (a Answers) Save(name, command string) error {
	return atomicfile.Write(name, a.Marshal(command), 0o600)
}
