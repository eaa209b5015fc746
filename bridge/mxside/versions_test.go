package mxside

import (
	"reflect"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

func TestParseCreation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		event string
		want  model.MXCreation
	}{
		"version 1 names none":      {`{"sender":"@a:x","content":{"creator":"@a:x"}}`, model.MXCreation{}},
		"version 10":                {`{"sender":"@a:x","content":{"creator":"@a:x","room_version":"10","additional_creators":["@b:x"]}}`, model.MXCreation{}},
		"version 11":                {`{"sender":"@a:x","content":{"room_version":"11"}}`, model.MXCreation{HidesRedactions: true}},
		"version 12 has creators":   {`{"sender":"@a:x","content":{"room_version":"12","additional_creators":["@b:x"]}}`, model.MXCreation{HidesRedactions: true, Creators: []ids.MXUser{"@b:x", "@a:x"}}},
		"a version with a name":     {`{"sender":"@a:x","content":{"room_version":"org.example.10"}}`, model.MXCreation{HidesRedactions: true}},
		"a space after another one": {`{"sender":"@a:x","content":{"room_version":"10","type":"m.space","predecessor":{"room_id":"!old:x"}}}`, model.MXCreation{Type: "m.space", Predecessor: "!old:x"}},
		"nothing as expected":       {`{"sender":"@a:x","content":{"room_version":12,"type":[],"predecessor":"x","additional_creators":{}}}`, model.MXCreation{}},
		"creators that are none":    {`{"sender":"@a:x","content":{"room_version":"12","additional_creators":"@b:x"}}`, model.MXCreation{HidesRedactions: true, Creators: []ids.MXUser{"@a:x"}}},
	} {
		if got := parseCreation([]byte(tc.event)); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}
