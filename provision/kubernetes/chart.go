// Package kubernetes turns an installation into what a cluster takes: the values of the
// Helm chart in templates/kubernetes, plain manifests rendered from that chart, and the
// Secrets that both refer to. The chart is rendered here with text/template and the few
// functions that it uses, so that the program does not include Helm; a test of the tools
// module compares the result with Helm's.
package kubernetes

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"appliance/templates"
)

// chartDir is the directory of the chart in templates.Kubernetes.
const chartDir = "kubernetes"

// A Release is how a chart is installed.
type Release struct {
	Name, Namespace string
	Version         string // of this program; the chart's appVersion
}

// chartFiles gives the chart access to its own files.
type chartFiles struct{}

// Get returns a file of the chart, or "" if there is none, as Helm does.
func (chartFiles) Get(name string) string {
	data, err := templates.Kubernetes.ReadFile(path.Join(chartDir, name))
	if err != nil {
		return ""
	}
	return string(data)
}

// Defaults returns the default values of the chart.
func Defaults() (map[string]any, error) {
	data, err := templates.Kubernetes.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		return nil, err
	}
	return ParseValues("values.yaml", data)
}

// Manifests renders the chart with complete values, as one file of YAML documents. A
// missing value is an error that names it.
func Manifests(r Release, values map[string]any) ([]byte, error) {
	t, names, err := parse()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, name := range names {
		doc, err := execute(t, name, r, values)
		if err != nil {
			return nil, err
		}
		if text := strings.TrimSpace(doc); text != "" {
			fmt.Fprintf(&out, "---\n%s\n", strings.TrimPrefix(text, "---\n"))
		}
	}
	return out.Bytes(), nil
}

// fullName is the prefix of the names of a release's objects.
func fullName(r Release, values map[string]any) (string, error) {
	t, _, err := parse()
	if err != nil {
		return "", err
	}
	return execute(t, "appliance.fullname", r, values)
}

// parse parses the templates of the chart, and returns the names of those that are objects.
func parse() (t *template.Template, objects []string, err error) {
	t = template.New("chart").Option("missingkey=error")
	t.Funcs(functions(t))
	err = fs.WalkDir(templates.Kubernetes, chartDir+"/templates", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "/tests/") || path.Ext(name) == ".txt" {
			return err
		}
		data, err := templates.Kubernetes.ReadFile(name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".yaml" {
			objects = append(objects, name)
		}
		_, err = t.New(name).Parse(string(data))
		return err
	})
	return t, objects, err
}

func execute(t *template.Template, name string, r Release, values map[string]any) (string, error) {
	var b strings.Builder
	err := t.ExecuteTemplate(&b, name, map[string]any{
		"Values": values, "Files": chartFiles{},
		"Chart":   map[string]any{"Name": "appliance", "AppVersion": r.Version},
		"Release": map[string]any{"Name": r.Name, "Namespace": r.Namespace, "Service": "appliance"},
	})
	if err != nil {
		return "", plainly(err)
	}
	return b.String(), nil
}

// A ValueError says which value is missing or cannot be used.
type ValueError struct {
	Reason string
	Fix    string // what to do; "" for the hint about values of the chart
}

func (e *ValueError) Error() string { return e.Reason }

// Hint says what to do.
func (e *ValueError) Hint() string {
	return cmp.Or(e.Fix, "give values of the chart with --value key=value or --values FILE; see: appliance render kubernetes --help")
}

// plainly extracts a template's refusal from the template engine's error.
func plainly(err error) error {
	if refused, ok := errors.AsType[*ValueError](err); ok {
		return refused
	}
	return fmt.Errorf("render the chart: %w", err)
}

// functions are the functions of Helm that the chart uses.
func functions(t *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := t.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"required": func(why string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, &ValueError{Reason: why}
			}
			return v, nil
		},
		"fail": func(why string) (string, error) { return "", &ValueError{Reason: why} },
		"default": func(otherwise, v any) any {
			if truth, ok := template.IsTrue(v); ok && truth {
				return v
			}
			return otherwise
		},
		"toYaml": toYAML,
		"nindent": func(n int, text string) string {
			pad := strings.Repeat(" ", n)
			return "\n" + pad + strings.ReplaceAll(text, "\n", "\n"+pad)
		},
		"quote":      func(v any) string { return strconv.Quote(fmt.Sprint(v)) },
		"trunc":      func(n int, text string) string { return text[:min(n, len(text))] },
		"trimSuffix": func(end, text string) string { return strings.TrimSuffix(text, end) },
		"trim":       strings.TrimSpace,
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"sha256sum": func(text string) string {
			sum := sha256.Sum256([]byte(text))
			return hex.EncodeToString(sum[:])
		},
		"urlParse":        urlParse,
		"regexMatch":      regexp.MatchString,
		"regexFind":       func(pattern, text string) string { return regexp.MustCompile(pattern).FindString(text) },
		"regexReplaceAll": func(pattern, text, by string) string { return regexp.MustCompile(pattern).ReplaceAllString(text, by) },
		"list":            func(v ...any) []any { return v },
		"append":          func(l []any, v any) []any { return append(slices.Clone(l), v) },
		"add":             add,
	}
}

func toYAML(v any) (string, error) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func urlParse(text string) (map[string]any, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, &ValueError{Reason: fmt.Sprintf("%q is not an address", text)}
	}
	return map[string]any{"scheme": u.Scheme, "host": u.Host}, nil
}

func add(numbers ...any) (sum int64, err error) {
	for _, n := range numbers {
		switch n := n.(type) {
		case int:
			sum += int64(n)
		case float64:
			sum += int64(n)
		default:
			return 0, &ValueError{Reason: fmt.Sprintf("%v is not a number", n)}
		}
	}
	return sum, nil
}

// ParseValues parses values as Helm does, with numbers as in JSON.
func ParseValues(name string, data []byte) (map[string]any, error) {
	var v map[string]any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return nil, &ValueError{Reason: fmt.Sprintf("%s: %v", name, err)}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, &ValueError{Reason: fmt.Sprintf("%s: %v", name, err)}
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, &ValueError{Reason: fmt.Sprintf("%s: %v", name, err)}
	}
	return out, nil
}
