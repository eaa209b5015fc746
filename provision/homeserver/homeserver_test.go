package homeserver_test

import (
	"io/fs"
	"slices"
	"testing"

	"appliance/bridge/config"
	"appliance/provision/homeserver"
	"appliance/provision/render"
	"appliance/templates"
)

// Each kind of homeserver that the bridge supports has a value here, with templates and an
// image that exist.
func TestEveryKindIsWhole(t *testing.T) {
	for _, name := range config.Homeservers() {
		k := homeserver.Of(name)
		if k.Name != name {
			t.Errorf("%s has no value", name)
			continue
		}
		files := []string{k.AttachSteps}
		if s := k.Stack; s != nil {
			for _, f := range s.Templates {
				files = append(files, f+".tmpl")
			}
			if s.Amend != "" {
				files = append(files, s.Amend)
			}
			if render.Images()[s.ImageKey] == "" || s.Command == "" || s.SigningKey == "" {
				t.Errorf("%s: versions.env has no %q, or there is no command or key", name, s.ImageKey)
			}
		}
		for _, f := range files {
			if _, err := fs.Stat(templates.FS, f); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if got := homeserver.Bundled(); slices.Contains(got, homeserver.Generic) || len(got) != 2 {
		t.Errorf("the stack runs %v", got)
	}
	if k := homeserver.Of("external"); k.Stack != nil || k.Name != "" {
		t.Errorf("external is %+v", k)
	}
}
