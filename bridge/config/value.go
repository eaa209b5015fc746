package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valueOf parses the value of a live key as people type it: lists may also be given with
// commas, on separate lines, or as one word, and text without quotes.
func valueOf(key, value string) (*yaml.Node, error) {
	value = strings.TrimSpace(value)
	now := kindOf(key)
	if now == nil {
		return parsed(value)
	}
	if now.Kind == yaml.SequenceNode {
		return listOf(value)
	}
	if now.Kind != yaml.ScalarNode {
		return parsed(value)
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: now.Tag, Value: strings.Trim(value, `"'`)}
	switch now.Tag {
	case "!!bool":
		on, err := strconv.ParseBool(strings.ToLower(value))
		if err != nil {
			return nil, errors.New("must be true or false")
		}
		node.Value = strconv.FormatBool(on)
	case "!!int":
		if _, err := strconv.Atoi(value); err != nil {
			return nil, errors.New("must be a whole number")
		}
	}
	return node, nil
}

// kindOf returns the default value of a live key, which shows its kind, or nil if there
// is no such key.
func kindOf(key string) *yaml.Node {
	var n yaml.Node
	if n.Encode(Default().Live) != nil {
		return nil
	}
	at := &n
	for part := range strings.SplitSeq(key, ".") {
		var next *yaml.Node
		for k := 0; k+1 < len(at.Content) && at.Kind == yaml.MappingNode; k += 2 {
			if at.Content[k].Value == part {
				next = at.Content[k+1]
			}
		}
		if next == nil {
			return nil
		}
		at = next
	}
	return at
}

// listOf parses a list, written as in YAML or as words separated by commas.
func listOf(value string) (*yaml.Node, error) {
	var words []string
	if strings.HasPrefix(value, "[") || strings.HasPrefix(value, "- ") {
		if err := yaml.Unmarshal([]byte(value), &words); err != nil {
			return nil, errors.New("must be a list: words separated by commas, such as admin,owner")
		}
	} else {
		for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			if word = strings.Trim(strings.TrimSpace(word), `"'`); word != "" {
				words = append(words, word)
			}
		}
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, word := range words {
		var n yaml.Node
		if err := n.Encode(word); err != nil {
			return nil, err
		}
		list.Content = append(list.Content, &n)
	}
	return list, nil
}

// parsed parses YAML.
func parsed(value string) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return nil, fmt.Errorf("is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}, nil
	}
	return doc.Content[0], nil
}
