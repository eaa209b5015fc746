// Package kubernetes_test shows the Helm chart to Helm, and what it renders to a real API
// server with controllers and scheduler. make test-kubernetes runs it.
package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigs "sigs.k8s.io/yaml"
)

const (
	chartDir = "../../../templates/kubernetes"
	golden   = "../../../provision/kubernetes/testdata/"
)

// installations are those of which the program's own manifests are kept.
var installations = []string{"beside", "whole"}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	c.Metadata.AppVersion = "v1.2.3" // as the program has it in its own tests
	return c
}

func values(t *testing.T, name string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValuesFile(golden + name + "-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// helmTemplate is what helm template prints, by file, without NOTES and tests.
func helmTemplate(t *testing.T, c *chart.Chart, v map[string]any, name, namespace string) (map[string]string, error) {
	t.Helper()
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: name, Namespace: namespace, IsInstall: true, Revision: 1}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	maps.DeleteFunc(files, func(name, _ string) bool {
		return strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".tpl") || strings.Contains(name, "/tests/")
	})
	return files, err
}

func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := dec.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// helm lint finds nothing to say of the chart.
func TestHelmLintFindsNothing(t *testing.T) {
	for _, name := range installations {
		result := lint.All(chartDir, values(t, name), "chat", true)
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// Helm makes of the chart what the program makes of it, but for who manages the objects.
func TestHelmAndTheProgramRenderTheSame(t *testing.T) {
	for _, name := range installations {
		files, err := helmTemplate(t, loadChart(t), values(t, name), "appliance", "chat")
		if err != nil {
			t.Fatal(err)
		}
		byHelm, own := map[string]any{}, map[string]any{}
		add := func(to map[string]any, o *unstructured.Unstructured) {
			labels := o.GetLabels()
			delete(labels, "app.kubernetes.io/managed-by")
			o.SetLabels(labels)
			settle(t, o)
			to[o.GetKind()+"/"+o.GetName()] = o.Object
		}
		for _, text := range files {
			for _, o := range objects(t, text) {
				add(byHelm, o)
			}
		}
		for _, o := range objects(t, read(t, golden+name+"-manifests.yaml")) {
			add(own, o)
		}
		t.Logf("%s: %d objects", name, len(own))
		if a, b := slices.Sorted(maps.Keys(byHelm)), slices.Sorted(maps.Keys(own)); !slices.Equal(a, b) {
			t.Errorf("%s: Helm has %v, the program %v", name, a, b)
		}
		for key := range own {
			a, _ := json.Marshal(byHelm[key])
			b, _ := json.Marshal(own[key])
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs:\nHelm:    %s\nprogram: %s", name, key, a, b)
			}
		}
	}
}

// settle replaces bridge.yaml by what it says: lists may be indented either way.
func settle(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	text, ok, _ := unstructured.NestedString(o.Object, "data", "bridge.yaml")
	if !ok {
		return
	}
	var v map[string]any
	if err := sigs.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	o.Object["data"] = v
}

// Values that cannot work are refused by the schema or by the chart, with a reason.
func TestValuesAreRefused(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"brigde", "{}", "brigde"},
		{"bridge.replica", "3", "replica"},
		{"bridge.replicas", "many", "integer"},
		{"bridge.replicas", "-1", "minimum"},
		{"bridge.live.typping", "true", "typping"},
		{"bridge.live.log_level", "loud", "log_level"},
		{"bridge.drainSeconds", "0", "drainSeconds"},
		{"homeserver.kind", "conduit", "kind"},
		{"database.url", "postgres://bridge:password@db/bridge", "url"},
		{"database.url", "mysql://bridge@db/bridge", "url"},
		{"image.digest", "sha256:1", "digest"},
		{"image.pullPolicy", "Sometimes", "pullPolicy"},
		{"siteUrl", "chat.example.org", "siteUrl"},
		{"rocketchat.url", "http://rc/path", "url"},
		{"front.trustedProxies", "[everybody]", "trustedProxies"},
		{"gateway.enabled", "true", "parentRefs"},
		{"siteUrl", "''", "siteUrl is missing"},
		{"secret.name", "''", "secret.name is missing"},
		{"database.url", "''", "database.url is missing"},
		{"image.repository", "''", "image.repository is missing"},
		{"homeserver.url", "''", "homeserver.url is missing"},
		{"rocketchat.url", "https://chat.example.org", "would come back"},
		{"dendrite.enabled", "true", "dendrite.host is missing"},
	} {
		v := values(t, "beside")
		set(t, v, c.key, c.value)
		_, err := helmTemplate(t, loadChart(t), v, "appliance", "chat")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, and not %q", c.key, c.value, err, c.want)
		}
	}
}

// set changes one value.
func set(t *testing.T, v map[string]any, key, value string) {
	t.Helper()
	var parsed any
	if err := sigs.Unmarshal([]byte(value), &parsed); err != nil {
		t.Fatal(err)
	}
	path := strings.Split(key, ".")
	for _, p := range path[:len(path)-1] {
		inner, ok := v[p].(map[string]any)
		if !ok {
			inner = map[string]any{}
			v[p] = inner
		}
		v = inner
	}
	v[path[len(path)-1]] = parsed
}

// Two releases beside each other share no object, and select no pod of the other one.
func TestTwoReleasesShareNothing(t *testing.T) {
	seen := map[string]bool{}
	var selectors []map[string]any
	for _, release := range []string{"one", "two"} {
		files, err := helmTemplate(t, loadChart(t), values(t, "beside"), release, "chat")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range files {
			for _, o := range objects(t, text) {
				key := o.GetKind() + "/" + o.GetName()
				if seen[key] {
					t.Errorf("both releases have %s", key)
				}
				seen[key] = true
				if o.GetKind() == "Deployment" {
					m, _, _ := unstructured.NestedMap(o.Object, "spec", "selector", "matchLabels")
					for _, other := range selectors {
						if reflect.DeepEqual(m, other) {
							t.Errorf("%s selects what another one selects", key)
						}
					}
					selectors = append(selectors, m)
				}
			}
		}
	}
}
