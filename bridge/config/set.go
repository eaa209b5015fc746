package config

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Set returns a file, whose content is data, with new values of live keys, given as people
// type them, and the keys that this has changed. Everything else in the file stays as it is,
// comments included. If values cannot be used, the error is an *InvalidError that names their
// keys; keys that are not live count as problems too. name is used in errors.
func Set(name string, data []byte, values map[string]string) (out []byte, changed []string, err error) {
	was, err := Parse(name, data)
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	out = data
	for _, key := range sortedKeys(values) {
		value, err := valueOf(key, values[key])
		if err == nil {
			out, err = setKey(out, strings.Split(key, "."), value)
		}
		if err != nil {
			problems = append(problems, Problem{Key: key, Reason: err.Error()})
		}
	}
	if len(problems) > 0 {
		return nil, nil, &InvalidError{File: name, Problems: problems}
	}
	now, err := Parse(name, out)
	if err != nil {
		return nil, nil, err
	}
	for _, key := range ChangedFixed(was, now) {
		problems = append(problems, Problem{Key: key, Reason: "is not a live key: change the answer that it comes from"})
	}
	if len(problems) > 0 {
		return nil, nil, &InvalidError{File: name, Problems: problems}
	}
	return out, ChangedLive(was, now), nil
}

// sortedKeys returns the keys in the order of the file, with nonexistent keys last.
func sortedKeys(values map[string]string) []string {
	var out []string
	for _, k := range LiveKeys() {
		if _, ok := values[k.Name]; ok {
			out = append(out, k.Name)
		}
	}
	var others []string
	for key := range values {
		if !slices.Contains(out, key) {
			others = append(others, key)
		}
	}
	slices.Sort(others)
	return append(out, others...)
}

// setKey writes one value. If possible it replaces only the lines of the value; otherwise
// it rewrites the whole file, which keeps comments but not blank lines.
func setKey(data []byte, path []string, value *yaml.Node) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	lines := splice(data, &doc, path, value)
	before := remarks(&doc)
	if err := setNode(&doc, path, value); err != nil {
		return nil, err
	}
	var whole bytes.Buffer
	enc := yaml.NewEncoder(&whole)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return nil, err
	}
	if lines != nil && sameYAML(lines, whole.Bytes()) && keeps(lines, before) {
		return lines, nil
	}
	return whole.Bytes(), nil
}

// setNode puts a value at a path of a document.
func setNode(doc *yaml.Node, path []string, value *yaml.Node) error {
	if len(doc.Content) == 0 {
		doc.Kind = yaml.DocumentNode
		doc.Content = []*yaml.Node{{Kind: yaml.MappingNode, Tag: "!!map"}}
	}
	at := doc.Content[0]
	for _, part := range path {
		if at.Kind != yaml.MappingNode {
			return errors.New("has no keys below it")
		}
		_, below := find(at, part)
		if below == nil {
			below = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: part}, below)
		}
		at = below
	}
	head, line, foot := at.HeadComment, at.LineComment, at.FootComment
	if at.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode {
		value = keepItems(at, value)
	}
	*at = *value
	at.HeadComment, at.LineComment, at.FootComment = head, line, foot
	return nil
}

// keepItems returns a list in the style of the previous one, reusing items that are the
// same, because these may have comments.
func keepItems(was, value *yaml.Node) *yaml.Node {
	out := *value
	out.Style, out.Content = was.Style, nil
	for _, item := range value.Content {
		if i := slices.IndexFunc(was.Content, func(n *yaml.Node) bool { return n.Value == item.Value }); i >= 0 {
			item = was.Content[i]
		}
		out.Content = append(out.Content, item)
	}
	if len(out.Content) == 0 {
		out.Style = yaml.FlowStyle
	}
	return &out
}

// find returns a key of a mapping and its value, or nil.
func find(n *yaml.Node, name string) (key, value *yaml.Node) {
	for k := 0; n.Kind == yaml.MappingNode && k+1 < len(n.Content); k += 2 {
		if n.Content[k].Value == name {
			return n.Content[k], n.Content[k+1]
		}
	}
	return nil, nil
}

// splice returns the file with new lines for one value, or nil if the value does not have
// lines of its own. The result still has to be checked.
func splice(data []byte, doc *yaml.Node, path []string, value *yaml.Node) []byte {
	if len(doc.Content) == 0 {
		return nil
	}
	at, key := doc.Content[0], (*yaml.Node)(nil)
	for _, part := range path {
		if at.Kind != yaml.MappingNode || at.Style&yaml.FlowStyle != 0 {
			return nil
		}
		if key, at = find(at, part); at == nil {
			return nil
		}
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	first, last := key.Line-1, lastLine(at)
	if last < key.Line || last > len(lines) || key.Column < 1 || key.Column-1 > len(lines[first]) {
		return nil
	}
	style := *value
	if at.Kind == yaml.SequenceNode && at.Style&yaml.FlowStyle == 0 && len(value.Content) > 0 {
		style.Style = 0
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if errors.Join(enc.Encode(map[string]*yaml.Node{key.Value: &style}), enc.Close()) != nil {
		return nil
	}
	indent := bytes.Repeat([]byte(" "), key.Column-1)
	var out bytes.Buffer
	out.Write(bytes.Join(lines[:first], nil))
	for line := range bytes.Lines(text.Bytes()) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		out.Write(indent)
		out.Write(line)
		if remark := at.LineComment; remark != "" && !strings.Contains(remark, "\n") && style.Style != 0 || remark != "" && at.Kind == yaml.ScalarNode {
			out.WriteString(" " + remark)
		}
		out.WriteString("\n")
	}
	out.Write(bytes.Join(lines[last:], nil))
	return out.Bytes()
}

// lastLine returns the line on which the last part of a value begins.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// sameYAML reports whether two files have the same values.
func sameYAML(a, b []byte) bool {
	var x, y Config
	if yaml.Unmarshal(a, &x) != nil || yaml.Unmarshal(b, &y) != nil {
		return false
	}
	return len(ChangedFixed(x, y)) == 0 && len(ChangedLive(x, y)) == 0
}

// remarks lists all comments below a node.
func remarks(n *yaml.Node) []string {
	var out []string
	for _, c := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		if c != "" {
			out = append(out, c)
		}
	}
	for _, c := range n.Content {
		out = append(out, remarks(c)...)
	}
	return out
}

// keeps reports whether a file still has all the given comments, as comments.
func keeps(data []byte, comments []string) bool {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil {
		return false
	}
	now := strings.Join(remarks(&doc), "\n")
	for _, c := range comments {
		for line := range strings.SplitSeq(c, "\n") {
			if !strings.Contains(now, line) {
				return false
			}
		}
	}
	return true
}
