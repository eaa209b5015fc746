package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Merge overlays more values on base, as Helm does: maps are merged, everything else is
// replaced. It refuses a key that base does not have, or a value of another type, and
// names its path. Any key is allowed where base has an empty map, and below resources.
func Merge(base, more map[string]any) (map[string]any, error) {
	return merge("", base, more)
}

func merge(at string, base, more map[string]any) (map[string]any, error) {
	out := maps.Clone(base)
	for _, key := range slices.Sorted(maps.Keys(more)) {
		path := key
		if at != "" {
			path = at + "." + key
		}
		was, known := base[key]
		switch {
		case !known && len(base) > 0 && !strings.Contains(at, "resources"):
			return nil, &ValueError{Reason: fmt.Sprintf("%s is not a value of the chart; its values are %s", path, strings.Join(slices.Sorted(maps.Keys(base)), ", "))}
		case known && kind(was) != kind(more[key]):
			return nil, &ValueError{Reason: fmt.Sprintf("%s must be %s, and is %s", path, kind(was), kind(more[key]))}
		}
		out[key] = more[key]
		if inner, ok := was.(map[string]any); ok {
			over, _ := more[key].(map[string]any) // of the same kind
			into, err := merge(path, inner, over)
			if err != nil {
				return nil, err
			}
			out[key] = into
		}
	}
	return out, nil
}

func kind(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case bool:
		return "true or false"
	case float64:
		return "a number"
	case string:
		return "text"
	}
	return "empty"
}

// ParseSetting reads "key.of.a.value=VALUE", where VALUE is YAML.
func ParseSetting(text string) (map[string]any, error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return nil, &ValueError{Reason: fmt.Sprintf("%q must be written as key=value", text)}
	}
	var v any
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		return nil, &ValueError{Reason: fmt.Sprintf("%s: %q is no YAML", key, value)}
	}
	if v == nil {
		v = ""
	}
	parts := strings.Split(key, ".")
	for _, part := range slices.Backward(parts) {
		v = map[string]any{part: v}
	}
	data, err := yaml.Marshal(v)
	if err != nil {
		return nil, err
	}
	return ParseValues(key, data)
}
