package answers

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSlipLines bounds the search for a mistake; an answers file has a few hundred lines.
const maxSlipLines = 2000

// slip describes what is wrong with a file that is not YAML, and where: the parser's own
// message names a later line or none, and talks about tokens.
func slip(name string, data []byte, err error) Problem {
	p := Problem{Key: name, Reason: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines) > maxSlipLines {
		return p
	}
	n := firstBad(lines)
	p.Line, p.Reason = n+1, fmt.Sprintf("is not YAML: line %d %s", n+1, mistake(lines[:n+1], p.Reason))
	p.Hint = fmt.Sprintf(`write "key: value" there, from the left edge and with a space after the colon: ${EDITOR:-vi} +%d %s`, p.Line, quoted(name))
	return p
}

// firstBad returns the index of the line at which a file stops being keys and values.
func firstBad(lines [][]byte) int {
	for n := len(lines); n > 0; n-- { // text that a later line completes, such as a quote of two, is no mistake
		doc, err := document(bytes.Join(lines[:n], nil))
		if err == nil && (len(doc.Content) == 0 || doc.Content[0].Kind == yaml.MappingNode) {
			return min(n, len(lines)-1)
		}
	}
	return 0
}

// mistake describes what is wrong with the last of the lines. It does not show the line,
// which may hold a password.
func mistake(lines [][]byte, parser string) string {
	line := string(lines[len(lines)-1])
	text := strings.TrimSpace(line)
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	key, value, colon := strings.Cut(text, ":")
	switch {
	case strings.Contains(indent, "\t"):
		return "begins with a tab"
	case !colon:
		return "has no colon"
	case value != "" && !strings.HasPrefix(value, " ") && !strings.ContainsAny(key, " \"'"):
		return "has no space after its colon"
	case len(lines) > 1 && indent != firstIndent(lines):
		return "is not indented as the first one is"
	}
	return "cannot be read: " + parser[strings.LastIndex(parser, ": ")+2:]
}

// firstIndent is the indentation of the first key.
func firstIndent(lines [][]byte) string {
	for _, l := range lines {
		if text := strings.TrimLeft(string(l), " \t"); strings.TrimSpace(text) != "" && !strings.HasPrefix(text, "#") {
			return string(l[:len(l)-len(text)])
		}
	}
	return ""
}

// quoted quotes the name of a file for a shell where that is needed.
func quoted(name string) string {
	if strings.ContainsAny(name, " '\"$&;()<>|*?\\`\t") {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}
