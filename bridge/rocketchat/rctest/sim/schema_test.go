package sim

import "testing"

func TestSection0_1_ASchemaSaysWhatIsWrongInAjvsWords(t *testing.T) {
	s := parseSchema("roomId!:s text:s|roomName!:s text:s flag:b")
	for _, c := range []struct {
		body Doc
		want string
	}{
		{Doc{"roomId": "r"}, ""},
		{Doc{"roomName": "r", "flag": true}, ""},
		{Doc{"roomId": "r", "text": nil}, ""},
		{Doc{}, "must have required property 'roomId'\n must match a schema in anyOf"},
		{Doc{"roomId": "r", "flag": true}, "must NOT have additional properties\n must match a schema in anyOf"},
		{Doc{"roomId": 1.0}, "must be string\n must match a schema in anyOf"},
		{Doc{"roomId": nil}, "must be string\n must match a schema in anyOf"},
	} {
		if got := s.check(c.body, true); got != c.want {
			t.Errorf("%v: got %q, want %q", c.body, got, c.want)
		}
	}
	list := parseSchema("members:L note:s")
	for body, want := range map[string]string{"members": "must be array", "note": ""} {
		if got := list.check(Doc{body: nil}, false); got != want {
			t.Errorf("%s as null: got %q, want %q", body, got, want)
		}
	}
	if got := list.check(Doc{"members": nil}, true); got != "" {
		t.Errorf("members as null where that is taken: %q", got)
	}
	if got := parseSchema("a!:s ...").check(Doc{"a": "x", "b": 1.0}, true); got != "" {
		t.Errorf("an open schema said %q", got)
	}
}
