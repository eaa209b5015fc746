package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// overrideName is the operator's own addition to the Compose file.
const overrideName = "compose.override.yaml"

// An OverrideError says what is wrong with compose.override.yaml.
type OverrideError struct {
	File   string
	Line   int // 0 when it is not known
	Reason string
}

func (e *OverrideError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s line %d: %s", e.File, e.Line, e.Reason)
	}
	return e.File + ": " + e.Reason
}

// Hint says what to do.
func (e *OverrideError) Hint() string { return "correct it, or move it away; then run: appliance up" }

// CheckOverride returns an *OverrideError when there is a compose.override.yaml that
// Compose cannot use together with the Compose file that is on disk.
func (s Compose) CheckOverride(ctx context.Context) error {
	name := s.stack.path(overrideName)
	data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ := strconv.Atoi(m[1])
			return &OverrideError{File: name, Line: line, Reason: m[2]}
		}
		return &OverrideError{File: name, Reason: text}
	}
	if _, err := os.Stat(s.stack.path("compose.yaml")); err != nil {
		return nil //nolint:nilerr // it is about to be written
	}
	reason := s.refuses(ctx)
	if reason == "" || s.refuses(ctx, "-f", "compose.yaml") != "" {
		return nil // or it is not the override that is wrong
	}
	return &OverrideError{File: name, Line: lineOf(&doc, reason), Reason: reason}
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): (.*)`)
	place    = regexp.MustCompile(`^validating [^ ]*: *`)
)

// refuses returns Compose's complaint about the files, or "".
func (s Compose) refuses(ctx context.Context, files ...string) string {
	var said bytes.Buffer
	cmd := s.stack.command(ctx, append(append([]string{"compose"}, files...), "config", "--quiet")...)
	cmd.Stderr = &said
	if err := cmd.Run(); err == nil || ctx.Err() != nil {
		return ""
	}
	text := strings.TrimSuffix(strings.Join(strings.Fields(said.String()), " "), ": invalid compose project")
	text = strings.TrimPrefix(text, "decoding failed due to the following error(s): ")
	text = place.ReplaceAllString(text, "")
	if text == "" {
		return "docker compose cannot use it"
	}
	return text[:min(len(text), 500)]
}

// lineOf returns the line of the key that Compose complains about, by its path, such as
// services.nginx.ports, or by its name in quotes. The longest path wins; 0 means that no key is
// named.
func lineOf(doc *yaml.Node, reason string) int {
	said := strings.NewReplacer("[", ".", "]", "").Replace(reason)
	line, longest := 0, 0
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		if n.Kind != yaml.MappingNode {
			for _, c := range n.Content {
				walk(c, path)
			}
			return
		}
		for k := 0; k+1 < len(n.Content); k += 2 {
			key := n.Content[k]
			at := strings.TrimPrefix(path+"."+key.Value, ".")
			if strings.Contains(said, at) && strings.Contains(at, ".") && len(at) > longest {
				line, longest = key.Line, len(at)
			}
			if (strings.Contains(said, `"`+key.Value+`"`) || strings.Contains(said, `'`+key.Value+`'`)) && longest == 0 {
				line = key.Line
			}
			walk(n.Content[k+1], at)
		}
	}
	walk(doc, "")
	return line
}
